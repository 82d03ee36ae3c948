package live

import (
	"slices"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Tally adds up what the workers of a run say of themselves. It is safe for
// concurrent use.
type Tally struct {
	mu       sync.Mutex
	parts    []part
	warnings []string
}

// part is one worker's: what it said last, and what those counted whose place it took.
type part struct {
	Snapshot
	before   *stats.Group // nil: nobody
	arrivals Open         // without a rate
}

// NewTally is of so many workers, of which nothing is known yet.
func NewTally(workers int) *Tally {
	t := &Tally{parts: make([]part, workers)}
	for i := range t.parts {
		t.parts[i].Stage = "starting"
	}
	return t
}

// Note keeps the latest snapshot of a worker, and its warnings in the order in
// which they came.
func (t *Tally) Note(worker int, s Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts[worker].Snapshot = s
	for _, text := range s.Warnings {
		if !slices.Contains(t.warnings, text) {
			t.warnings = append(t.warnings, text)
		}
	}
}

// Gone keeps the counts of a worker that has ended.
func (t *Tally) Gone(worker int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.parts[worker]
	p.Stage, p.Users, p.TargetUsers, p.Beat = "finished", 0, 0, time.Time{}
}

// Beat is that of the sum.
func (t *Tally) Beat() (oldest time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.parts {
		if b := t.parts[i].Beat; !b.IsZero() && (oldest.IsZero() || b.Before(oldest)) {
			oldest = b
		}
	}
	return oldest
}

// Replace says that somebody else begins in a worker's place: what was counted
// stays in the sum.
func (t *Tally) Replace(worker int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.parts[worker]
	arrivals := p.arrivals
	if p.Open != nil {
		arrivals.Arrivals += p.Open.Arrivals
		arrivals.Dropped += p.Open.Dropped
	}
	*p = part{before: p.group(), arrivals: arrivals, Snapshot: Snapshot{Stage: "starting"}}
}

// Carry says what was counted in a worker's place before it, unless that is
// known already.
func (t *Tally) Carry(worker int, before stats.Totals) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := &t.parts[worker]; p.before == nil {
		p.before = &stats.Group{All: before}
	}
}

// Before is what was counted in a worker's place before it, if anybody was there.
func (t *Tally) Before(worker int) (stats.Totals, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := t.parts[worker].before; before != nil {
		return before.All, true
	}
	return stats.Totals{}, false
}

// Stage is what a worker does, as its [Snapshot] says.
func (t *Tally) Stage(worker int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parts[worker].Stage
}

// Totals are a worker's, with those of all who had its place before.
func (t *Tally) Totals(worker int) stats.Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parts[worker].group().All
}

// group is what was counted in a worker's place.
func (p *part) group() *stats.Group {
	g := &stats.Group{}
	if p.before != nil {
		g.Merge(p.before)
	}
	now := &stats.Group{All: p.Totals, Errors: p.Errors}
	if p.Latency != nil {
		now.Latency = *p.Latency
	}
	g.Merge(now)
	return g
}

// Snapshot is the sum of what all workers said last.
func (t *Tally) Snapshot() Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := Snapshot{Warnings: slices.Clone(t.warnings)}
	all := &stats.Group{}
	for i := range t.parts {
		p := &t.parts[i]
		s := p.Snapshot
		if i == 0 || further(s.Stage) < further(sum.Stage) {
			sum.Stage = s.Stage
		}
		if i == 0 || s.PhaseIndex > sum.PhaseIndex {
			sum.Phase, sum.PhaseIndex = s.Phase, s.PhaseIndex
		}
		if sum.Phase == "" {
			sum.Phase = s.Phase
		}
		sum.Elapsed, sum.Total = max(sum.Elapsed, s.Elapsed), max(sum.Total, s.Total)
		sum.Phases, sum.CostLimitMicroUSD = max(sum.Phases, s.Phases), max(sum.CostLimitMicroUSD, s.CostLimitMicroUSD)
		sum.Users += s.Users
		sum.TargetUsers += s.TargetUsers
		if s.Open != nil {
			if sum.Open == nil {
				sum.Open = &Open{}
			}
			sum.Open.Rate += s.Open.Rate
			sum.Open.Arrivals += s.Open.Arrivals + p.arrivals.Arrivals
			sum.Open.Dropped += s.Open.Dropped + p.arrivals.Dropped
		}
		all.Merge(p.group())
	}
	sum.Totals, sum.Errors = all.All, all.Errors
	if sum.Stage == Running || all.All.Requests > 0 {
		sum.Latency = &all.Latency
	}
	return sum
}

// further orders stages by what is most worth knowing: what is done before the
// load, the load, what is waited for, what comes after.
func further(stage string) int {
	switch stage {
	case Running:
		return 1
	case Waiting:
		return 2
	case "finished", "cleaning up":
		return 3
	}
	return 0
}
