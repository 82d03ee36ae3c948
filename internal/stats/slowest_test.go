package stats_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// TestSlowest: however records are spread over workers and in whatever order
// these are merged, the slowest ten stay.
func TestSlowest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latencies := rapid.SliceOfN(rapid.IntRange(1, 40), 0, 60).Draw(t, "latencies")
		workers := []*stats.Collector{stats.NewCollector(stats.Objective{}), stats.NewCollector(stats.Objective{}), stats.NewCollector(stats.Objective{})}
		all := stats.NewCollector(stats.Objective{})
		var want []int
		for i, l := range latencies {
			r := &record.Record{
				ID: fmt.Sprint(i), Trace: record.Trace{ID: record.TraceID{byte(i + 1)}}, UserIndex: i % 7, Measured: true,
				Scheduled: time.Duration(i), Done: time.Duration(i) + time.Duration(l)*time.Millisecond,
			}
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				r.Measured = false
			case 1:
				r.Outcome, r.Kind = record.Failed, record.Timeout
			case 2:
				r.Kind = record.ChaosInjected
			default:
				want = append(want, l)
			}
			workers[rapid.IntRange(0, 2).Draw(t, "worker")].Add(r)
			all.Add(r)
		}
		slices.Sort(want)
		slices.Reverse(want)
		want = want[:min(len(want), stats.SlowestKept)]
		list := func(s *stats.Summary) string {
			data, err := json.Marshal(s.Slowest)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		merge := func(order ...int) *stats.Summary {
			sum := stats.NewSummary()
			for _, w := range order {
				sum.Merge(workers[w].Summary())
			}
			return sum
		}
		got := all.Summary()
		if a, b := list(merge(0, 1, 2)), list(merge(2, 0, 1)); a != list(got) || b != a {
			t.Errorf("merged %s and %s, at once %s", a, b, list(got))
		}
		for i, s := range got.Slowest {
			if s.E2E != time.Duration(want[i])*time.Millisecond || s.TraceID.IsZero() || s.ID == "" {
				t.Errorf("the %d. of %v is %+v", i+1, want, s)
			}
		}
		if len(got.Slowest) != len(want) {
			t.Errorf("%d instead of %d", len(got.Slowest), len(want))
		}
	})
}
