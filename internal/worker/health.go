package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// inFlight counts the requests under way.
type inFlight struct {
	simulator.Asker
	n *atomic.Int64
}

// Ask implements [simulator.Asker].
func (a inFlight) Ask(ctx context.Context, c *simulator.Call) error {
	a.n.Add(1)
	defer a.n.Add(-1)
	return a.Asker.Ask(ctx, c)
}

// work is a [record.Sink] that adds up how long requests were under way, to
// hold it against how many of them were seen to be.
type work struct{ requests, time atomic.Int64 }

// Add implements [record.Sink].
func (w *work) Add(r *record.Record) {
	w.requests.Add(1)
	w.time.Add(int64(max(0, r.Done-r.Sent)))
}

// userLoad averages the users of the phases, tick by tick.
type userLoad struct {
	phase             string
	wanted, had, seen float64
}

// observe notes a tick; only one goroutine calls it.
func (w *Worker) observe(t simulator.Tick) {
	if t.Wanted == 0 && t.Active == 0 {
		return // the load is over, or pauses
	}
	last := len(w.userLoads) - 1
	if last < 0 || w.userLoads[last].phase != t.Phase {
		w.userLoads = append(w.userLoads, userLoad{phase: t.Phase})
		last++
	}
	u := &w.userLoads[last]
	u.seen++
	u.wanted += float64(t.Wanted)
	u.had += float64(t.Active)
}

// delivered is the closed load of the measured phases; nil if nobody was wanted.
func (w *Worker) delivered(phases []export.Phase) *export.UserLoad {
	var sum userLoad
	for _, u := range w.userLoads {
		for _, p := range phases {
			if p.Name == u.phase && p.Measured {
				sum.seen, sum.wanted, sum.had = sum.seen+u.seen, sum.wanted+u.wanted, sum.had+u.had
				break
			}
		}
	}
	if sum.wanted == 0 {
		return nil
	}
	return &export.UserLoad{Intended: sum.wanted / sum.seen, Delivered: sum.had / sum.seen}
}

// judgeGenerator says whether this tool shows in its own numbers.
func (w *Worker) judgeGenerator(b *export.Bundle) {
	if w.observed == nil {
		return // no load
	}
	overall := b.Summary.Overall()
	e := health.Evidence{Observations: w.observed, Latency: &overall.Latency, Embedded: w.Embedded}
	for _, t := range b.Throttled {
		e.HeldBack = append(e.HeldBack, t.Limit)
	}
	if w.Embedded {
		w.observed.Ports = nil // both ends of each connection are here
	}
	b.Generator = &export.Generator{Judgement: health.Judge(e), Observed: w.observed}
	var work *export.Work
	if b.Chaos == nil { // what we harm has not the times that it seems to have
		work = &export.Work{Requests: uint64(w.work.requests.Load()), Time: time.Duration(w.work.time.Load())}
	}
	b.Quality = export.NewQuality(b, work)
}
