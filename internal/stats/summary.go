package stats

import (
	"cmp"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Key names one slice of the traffic. It holds bounded sets only: no users,
// no error texts.
type Key struct {
	Phase    string `json:"phase,omitempty"`
	Org      string `json:"org,omitempty"`
	Model    string `json:"model,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	TestType string `json:"testType,omitempty"`
	Stream   bool   `json:"stream,omitempty"`
}

func compareKeys(a, b Key) int {
	stream := 0
	if a.Stream != b.Stream {
		stream = 1
		if b.Stream {
			stream = -1
		}
	}
	return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Org, b.Org), cmp.Compare(a.Model, b.Model),
		cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.TestType, b.TestType), stream)
}

// Group is everything known about one slice of the traffic.
type Group struct {
	Key Key `json:"key"`
	// All counts every request; Measured those outside warm-up and cool-down.
	All      Totals `json:"all"`
	Measured Totals `json:"measured"`
	// Latency is of the measured requests only.
	Latency Latencies `json:"latency"`
	// Errors are of all requests, most frequent first.
	Errors []ErrorCount `json:"errors,omitempty"`
	// Checks are the scenario's checks of answers, Values the numbers that it
	// takes from them; both of all requests, sorted by name.
	Checks []CheckCount `json:"checks,omitempty"`
	Values []ValueSum   `json:"values,omitempty"`
}

func (g *Group) add(r *record.Record, good bool) {
	g.All.add(r, good)
	if r.Measured {
		g.Measured.add(r, good)
	}
	if r.Injected() {
		return
	}
	if r.Measured {
		g.Latency.add(r)
	}
	g.check(r)
	if r.Kind != record.None && r.Kind != record.CancelledKind {
		g.addError(ErrorCount{Kind: r.Kind, Status: r.Status, Count: 1, Example: r.Message, FirstAt: r.Done, ExampleID: r.ID, TraceID: r.Trace.ID})
	}
}

func (g *Group) addError(e ErrorCount) {
	for i := range g.Errors {
		have := &g.Errors[i]
		if have.Kind == e.Kind && have.Status == e.Status {
			have.Count += e.Count
			// The lesser of two that came at once, so that the order does not matter.
			if e.FirstAt < have.FirstAt || e.FirstAt == have.FirstAt && (e.Example < have.Example || e.Example == have.Example && e.ExampleID < have.ExampleID) {
				have.FirstAt, have.Example, have.ExampleID, have.TraceID = e.FirstAt, e.Example, e.ExampleID, e.TraceID
			}
			return
		}
	}
	g.Errors = append(g.Errors, e)
}

func sortErrors(errs []ErrorCount) {
	slices.SortFunc(errs, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Status, b.Status))
	})
}

// Merge adds o to g; g keeps its key.
func (g *Group) Merge(o *Group) {
	g.All.Merge(o.All)
	g.Measured.Merge(o.Measured)
	g.Latency.Merge(&o.Latency)
	for _, e := range o.Errors {
		g.addError(e)
	}
	sortErrors(g.Errors)
	g.mergeChecks(o)
}

// User is the totals of one simulated user.
type User struct {
	Org    string `json:"org"`
	Name   string `json:"name"`
	Totals Totals `json:"totals"`
	// E2ESum and E2EMax are over the user's measured successes, MeasuredCount of them.
	E2ESum        time.Duration `json:"e2eSumNs"`
	E2EMax        time.Duration `json:"e2eMaxNs"`
	MeasuredCount uint64        `json:"measuredCount"`
}

func (u *User) add(r *record.Record, good bool) {
	u.Totals.add(r, good)
	if r.Measured && r.Outcome == record.Success && !r.Injected() {
		u.E2ESum += r.E2E()
		u.E2EMax = max(u.E2EMax, r.E2E())
		u.MeasuredCount++
	}
}

func (u *User) merge(o *User) {
	u.Totals.Merge(o.Totals)
	u.E2ESum += o.E2ESum
	u.E2EMax = max(u.E2EMax, o.E2EMax)
	u.MeasuredCount += o.MeasuredCount
}

func compareUsers(a, b *User) int {
	return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Name, b.Name))
}

// Summary is all that is kept of a run's requests.
type Summary struct {
	Groups   []*Group  `json:"groups"` // sorted by key
	Users    []*User   `json:"users"`  // sorted by org and name
	Timeline *Timeline `json:"timeline"`
	// Slowest are the measured successes with the longest end-to-end latency,
	// the slowest first, [SlowestKept] at most.
	Slowest []Slow `json:"slowest,omitempty"`
}

// NewSummary returns an empty summary.
func NewSummary() *Summary { return &Summary{Timeline: NewTimeline()} }

// Merge adds o to s. The order in which workers are merged does not matter.
func (s *Summary) Merge(o *Summary) {
	s.Groups = mergeSorted(s.Groups, o.Groups,
		func(a, b *Group) int { return compareKeys(a.Key, b.Key) },
		func(g *Group) *Group { c := &Group{Key: g.Key}; c.Merge(g); return c },
		(*Group).Merge)
	s.Users = mergeSorted(s.Users, o.Users,
		compareUsers,
		func(u *User) *User { c := *u; return &c },
		(*User).merge)
	s.Timeline.Merge(o.Timeline)
	for _, slow := range o.Slowest {
		s.Slowest = addSlow(s.Slowest, slow)
	}
}

// Shift says that the summary's load began by so much later than it counted,
// d ≥ 0. The timeline moves by whole intervals, to the nearest.
func (s *Summary) Shift(d time.Duration) {
	if d <= 0 {
		return
	}
	for _, g := range s.Groups {
		for i := range g.Errors {
			g.Errors[i].FirstAt += d
		}
	}
	for i := range s.Slowest {
		s.Slowest[i].At += d
	}
	t := s.Timeline
	empty := make([]*Interval, (d+t.Interval/2)/t.Interval)
	for i := range empty {
		empty[i] = &Interval{}
	}
	if len(t.Intervals) == 0 {
		return
	}
	t.Intervals = append(empty, t.Intervals...)
	for len(t.Intervals) > maxIntervals {
		t.coarsen()
	}
}

// mergeSorted merges two sorted lists, joining equal elements; what comes from
// b is cloned, so that a shares nothing with it.
func mergeSorted[T any](a, b []*T, compare func(a, b *T) int, clone func(*T) *T, join func(into, from *T)) []*T {
	out := make([]*T, 0, max(len(a), len(b)))
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || (i < len(a) && compare(a[i], b[j]) < 0):
			out = append(out, a[i])
			i++
		case i == len(a) || compare(a[i], b[j]) > 0:
			out = append(out, clone(b[j]))
			j++
		default:
			join(a[i], b[j])
			out = append(out, a[i])
			i++
			j++
		}
	}
	return out
}

// Overall is the sum of all groups.
func (s *Summary) Overall() *Group {
	g := &Group{}
	for _, part := range s.Groups {
		g.Merge(part)
	}
	return g
}

// Rollup sums the groups by a part of their keys: by returns the part to
// keep, and groups whose parts are equal are added up. The result is sorted.
//
//	perOrg := s.Rollup(func(k Key) Key { return Key{Org: k.Org} })
func (s *Summary) Rollup(by func(Key) Key) []*Group {
	sums := map[Key]*Group{}
	for _, part := range s.Groups {
		k := by(part.Key)
		g := sums[k]
		if g == nil {
			g = &Group{Key: k}
			sums[k] = g
		}
		g.Merge(part)
	}
	out := make([]*Group, 0, len(sums))
	for _, g := range sums {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *Group) int { return compareKeys(a.Key, b.Key) })
	return out
}

// By selects parts of a key, for [Summary.Rollup].
var (
	ByOrg      = func(k Key) Key { return Key{Org: k.Org} }
	ByModel    = func(k Key) Key { return Key{Model: k.Model} }
	ByPhase    = func(k Key) Key { return Key{Phase: k.Phase} }
	ByEndpoint = func(k Key) Key { return Key{Endpoint: k.Endpoint, Stream: k.Stream} }
	ByStream   = func(k Key) Key { return Key{Stream: k.Stream} }
	ByTestType = func(k Key) Key { return Key{TestType: k.TestType} }
)
