package stats_test

import (
	"reflect"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

func TestChecksAndValuesAddUp(t *testing.T) {
	summary := func(n int, problem string, value float64) *stats.Summary {
		c := stats.NewCollector(stats.Objective{})
		for range n {
			c.Add(&record.Record{TestType: "ask", Checks: []record.Check{{Name: "status is 200"}, {Name: "answer is long", Problem: problem}},
				Values: []record.Value{{Name: "tokens", Value: value}}})
		}
		return c.Summary()
	}
	a, b := summary(3, "", 10), summary(2, "it is short", 30)
	ab, ba := stats.NewSummary(), stats.NewSummary()
	ab.Merge(a)
	ab.Merge(b)
	ba.Merge(b)
	ba.Merge(a)
	got := ab.Overall()
	if want := []stats.CheckCount{{Name: "answer is long", Passed: 3, Failed: 2, Example: "it is short"}, {Name: "status is 200", Passed: 5}}; !reflect.DeepEqual(got.Checks, want) {
		t.Errorf("checks %+v, want %+v", got.Checks, want)
	}
	if want := []stats.ValueSum{{Name: "tokens", Count: 5, Sum: 90, Min: 10, Max: 30}}; !reflect.DeepEqual(got.Values, want) || got.Values[0].Mean() != 18 {
		t.Errorf("values %+v, want %+v", got.Values, want)
	}
	if !reflect.DeepEqual(ab.Overall(), ba.Overall()) {
		t.Error("the order of merging matters")
	}
	if (stats.ValueSum{}).Mean() != 0 {
		t.Error("the mean of nothing is not 0")
	}
}
