package rendezvous

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
)

// Rules are what a leader decides by.
type Rules struct {
	Workers int
	// Patience is how long after the first worker was ready the last one may be;
	// then GoOn says whether the others begin without it, or nobody does.
	Patience time.Duration
	GoOn     bool
	// Again says that this leader took an earlier one's place: if it finds nobody
	// else, the run is over, and is not begun anew.
	Again bool
	// Limits are those of all workers together.
	Limits limits.Limits
}

// Leader is the worker that all others ask. It does nothing by itself: what
// follows is decided whenever somebody asks. It is safe for concurrent use.
type Leader struct {
	rules Rules
	shelf *Shelf
	tally *live.Tally
	began time.Time // to listen

	mu    sync.Mutex // guards what follows
	seats []seat
	ready time.Time // when the first worker was; zero: none is
	start time.Time // zero: not yet set
	name  time.Time // of the start
	stop  *export.Stop
}

// seat is a worker.
type seat struct {
	attempt int
	count   int       // of the latest beat
	heard   time.Time // zero: never
	ready   bool
	began   bool
	ended   bool
	failed  string
}

// NewLeader leads a run that has not begun, or, if the workers say otherwise, one
// that has.
func NewLeader(r Rules, shelf *Shelf) *Leader {
	return &Leader{rules: r, shelf: shelf, tally: live.NewTally(r.Workers), began: time.Now(), seats: make([]seat, r.Workers)}
}

// Beat hears a worker.
func (l *Leader) Beat(b Beat) (Answer, error) {
	if b.Worker < 0 || b.Worker >= l.rules.Workers || b.Attempt < 0 {
		return Answer{}, fmt.Errorf("attempt %d of worker %d is none of this run, which has %s", b.Attempt, b.Worker, human.Plural(l.rules.Workers, "worker"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, s := time.Now(), &l.seats[b.Worker]
	switch heard := !s.heard.IsZero(); {
	case heard && b.Attempt < s.attempt:
		return Answer{Stop: &export.Stop{Reason: "interrupted", Detail: fmt.Sprintf("attempt %d has taken its place", s.attempt)}}, nil
	case heard && b.Attempt > s.attempt:
		l.tally.Replace(b.Worker)
		*s = seat{}
	case heard && b.Count < s.count:
		return l.answer(b, now), nil
	}
	if b.Carried != nil {
		l.tally.Carry(b.Worker, *b.Carried)
	}
	if b.Snapshot != nil {
		l.tally.Note(b.Worker, *b.Snapshot)
	}
	if b.Ended {
		l.tally.Gone(b.Worker)
	}
	*s = seat{attempt: b.Attempt, count: b.Count, heard: now, ready: b.Ready, began: b.Began != nil, ended: b.Ended, failed: b.Failed}
	if b.Began != nil && l.start.IsZero() {
		l.start, l.name = now.Add(-*b.Began), b.Start
	}
	if b.Ready && l.ready.IsZero() {
		l.ready = now
	}
	l.settle(now)
	return l.answer(b, now), nil
}

func (l *Leader) answer(b Beat, now time.Time) (a Answer) {
	a.Stop = l.stop
	if !l.start.IsZero() {
		in := l.start.Sub(now)
		a.StartIn, a.Start = &in, l.name
	}
	if b.Attempt > 0 {
		if before, any := l.tally.Before(b.Worker); any {
			a.Carried = &before
		}
	}
	return a
}

// settle decides what can be decided now.
func (l *Leader) settle(now time.Time) {
	switch {
	case l.stop != nil:
	case l.start.IsZero():
		l.begin(now)
	default:
		t := l.tally.Snapshot().Totals
		if over := l.rules.Limits.Crossed(t.Requests, t.CostMicroUSD, t.Answered(), t.Refused+t.Failed); over != nil {
			l.stop = &export.Stop{Reason: "limit", Detail: over.Error() + ", of all workers together"}
		}
	}
}

// begin sets the start if all are ready, or those that are need wait no longer
// for the others.
func (l *Leader) begin(now time.Time) {
	var missing []string
	ready := 0
	for i, s := range l.seats {
		switch {
		case s.failed != "":
			l.stop = &export.Stop{Reason: "interrupted", Detail: fmt.Sprintf("worker %d could not begin: %s", i, s.failed)}
			return
		case s.ended: // it had nothing to do
		case s.ready && now.Sub(s.heard) < silence:
			ready++
		default:
			missing = append(missing, fmt.Sprintf("worker %d (%s)", i, l.stage(i, now)))
		}
	}
	switch {
	case ready == 0 || len(missing) > 0 && now.Sub(l.ready) < l.rules.Patience:
	case len(missing) > 0 && (!l.rules.GoOn || l.rules.Again && ready == 1):
		l.stop = &export.Stop{Reason: "broken", Detail: fmt.Sprintf("%s not ready %s after the first: %s",
			was(len(missing)), human.Duration(l.rules.Patience), strings.Join(missing, ", "))}
	default:
		l.start = now.Add(notice)
		l.name = l.start.Round(0).UTC()
	}
}

func was(n int) string {
	if n == 1 {
		return "one worker was"
	}
	return fmt.Sprintf("%d workers were", n)
}

// stage is what a worker that is missing does, in words.
func (l *Leader) stage(worker int, now time.Time) string {
	s := l.seats[worker]
	if s.heard.IsZero() {
		return "never heard of"
	}
	if quiet := now.Sub(s.heard); quiet >= silence {
		return "last heard of " + human.Duration(quiet) + " ago"
	}
	return cmp.Or(l.tally.Stage(worker), "starting")
}

// Stop ends the run for all; the first reason is the one that counts.
func (l *Leader) Stop(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == nil {
		l.stop = &export.Stop{Reason: "interrupted", Detail: reason}
	}
}

// Over reports whether no worker but one will ask any more: all others have
// ended, or have said nothing for so long that nobody will come in their place.
// Who was never heard of has as long from when this leader began to listen: its
// pod may still be on its way, and would find nobody.
func (l *Leader) Over(but int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.seats {
		if s.heard.IsZero() {
			s.heard = l.began
		}
		if i != but && !s.ended && time.Since(s.heard) < forsaken {
			return false
		}
	}
	return true
}

// View is how the run stands.
func (l *Leader) View() View {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.settle(now)
	v := View{Snapshot: l.tally.Snapshot(), Documents: l.shelf.Waiting()}
	if l.stop != nil {
		v.Stop = l.stop.Detail
	}
	if !l.start.IsZero() {
		v.Start = &l.name
	}
	for i, s := range l.seats {
		before, _ := l.tally.Before(i)
		w := WorkerView{
			Worker: i, Attempt: s.attempt, Ready: s.ready, Stage: l.tally.Stage(i), Requests: l.tally.Totals(i).Requests, Before: before.Requests,
			Ended: s.ended, Failed: s.failed,
		}
		if s.began {
			w.Began = v.Start
		}
		if !s.heard.IsZero() {
			ago := now.Sub(s.heard).Seconds()
			w.HeardSecondsAgo = &ago
		}
		v.Workers = append(v.Workers, w)
	}
	return v
}
