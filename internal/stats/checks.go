package stats

import (
	"cmp"
	"slices"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// CheckCount is how often one of the scenario's checks held.
type CheckCount struct {
	Name   string `json:"name"` // what must be true
	Passed uint64 `json:"passed"`
	Failed uint64 `json:"failed"`
	// Example is why it failed once.
	Example string `json:"example,omitempty"`
}

// ValueSum sums up a number that the scenario takes from answers.
type ValueSum struct {
	Name  string  `json:"name"`
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// Mean is Sum / Count, 0 without values.
func (v ValueSum) Mean() float64 {
	if v.Count == 0 {
		return 0
	}
	return v.Sum / float64(v.Count)
}

func (g *Group) check(r *record.Record) {
	for _, c := range r.Checks {
		one := CheckCount{Name: c.Name, Passed: 1}
		if c.Problem != "" {
			one = CheckCount{Name: c.Name, Failed: 1, Example: c.Problem}
		}
		g.addCheck(one)
	}
	for _, v := range r.Values {
		g.addValue(ValueSum{Name: v.Name, Count: 1, Sum: v.Value, Min: v.Value, Max: v.Value})
	}
}

func (g *Group) mergeChecks(o *Group) {
	for _, c := range o.Checks {
		g.addCheck(c)
	}
	for _, v := range o.Values {
		g.addValue(v)
	}
}

func (g *Group) addCheck(c CheckCount) {
	i, have := slices.BinarySearchFunc(g.Checks, c.Name, func(have CheckCount, name string) int { return cmp.Compare(have.Name, name) })
	if !have {
		g.Checks = slices.Insert(g.Checks, i, c)
		return
	}
	into := &g.Checks[i]
	into.Passed += c.Passed
	into.Failed += c.Failed
	// The least of the examples, so that the order of merging does not matter.
	if into.Example == "" || c.Example != "" && c.Example < into.Example {
		into.Example = c.Example
	}
}

func (g *Group) addValue(v ValueSum) {
	i, have := slices.BinarySearchFunc(g.Values, v.Name, func(have ValueSum, name string) int { return cmp.Compare(have.Name, name) })
	if !have {
		g.Values = slices.Insert(g.Values, i, v)
		return
	}
	into := &g.Values[i]
	into.Count += v.Count
	into.Sum += v.Sum
	into.Min, into.Max = min(into.Min, v.Min), max(into.Max, v.Max)
}
