package simulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

// Stream is open load: requests that arrive at moments of their own.
//
// Each goes to the next user in a rotation over orgs and users, and does not
// wait for his previous answer: users are identities here, which many requests
// at a time can bear. Every request has state of its own. One that finds a
// conversation of its user waiting for its next turn continues it, the one
// that has waited longest; else it opens another, which is a session of its
// user. Nobody thinks: the arrivals are the pace. Bounds on sessions, and
// Script.StopAfter, do not apply. A user who meets [ErrEnough] leaves the
// rotation; when all have left, the load is over.
//
// A request counts as due when it arrives. If the dispatcher is late, by the
// system's timers or because it has no more than one processor, that is part
// of the latency.
type Stream struct {
	Arrivals loadpattern.Arrivals
	// Org is the OrgIndex of those whose requests they are; 0 means all orgs
	// that have no stream of their own.
	Org int
}

func checkStreams(o Options) error {
	var errs []error
	own := map[int]bool{}
	for _, s := range o.Open {
		if s.Org != 0 && own[s.Org] {
			errs = append(errs, fmt.Errorf("organization %d has two streams of arrivals", s.Org))
		}
		own[s.Org] = true
	}
	for i, s := range o.Open {
		if err := s.Arrivals.Phases.Check(); err != nil {
			errs = append(errs, err)
		} else if s.Arrivals.Wanted(s.Arrivals.Phases.Duration()) <= 0 {
			errs = append(errs, fmt.Errorf("stream %d has no arrivals: give at least one phase a rate", i+1))
		}
		if len(s.of(pointers(o.Users), own)) == 0 {
			errs = append(errs, fmt.Errorf("stream %d has no users to send its arrivals for", i+1))
		}
	}
	return errors.Join(errs...)
}

// of returns those whose arrivals these are, in order.
func (s Stream) of(users []*Identity, own map[int]bool) (mine []*Identity) {
	for _, id := range users {
		if id.OrgIndex == s.Org || s.Org == 0 && !own[id.OrgIndex] {
			mine = append(mine, id)
		}
	}
	return mine
}

// host is an identity under open load; only the dispatcher touches it.
type host struct {
	*Identity
	lane     *lane
	free     []*visitor // whose conversation is over
	waiting  []*visitor // in the middle of one, the longest waiting first
	visitors int
	sessions int
	requests int
	done     bool // he may ask nothing more
}

// visitor is a host with state of his own, who asks one question at a time.
type visitor struct {
	user
	host  *host
	phase int // that his question was due in
}

// lane is a stream at work.
type lane struct {
	Stream
	*loadpattern.Schedule
	hosts []*host
	turn  int           // whose it is
	able  int           // hosts who may still ask
	at    time.Duration // of the next arrival
	more  bool          // there is one
}

// dispatcher sends arrivals off. One goroutine owns it.
type dispatcher struct {
	fleet    *Fleet
	begin    time.Duration // the offset at which the arrivals' time began
	lanes    []*lane
	exits    chan *visitor // has room for all who are out
	inFlight int

	arrivals, dropped uint64
}

// poissonLane tells the generators of arrivals from those of users: no org
// has this index.
const poissonLane = -1

func newDispatcher(f *Fleet, begin time.Duration) *dispatcher {
	d := &dispatcher{fleet: f, begin: begin, exits: make(chan *visitor, f.opt.MaxInFlight)}
	own := map[int]bool{}
	for _, s := range f.opt.Open {
		own[s.Org] = true
	}
	now := f.now() - begin
	for _, s := range f.opt.Open {
		l := &lane{Stream: s}
		for _, id := range interleave(s.of(pointers(f.opt.Users), own)) {
			l.hosts = append(l.hosts, &host{Identity: id, lane: l})
		}
		l.able = len(l.hosts)
		// The first user's index is of this worker alone, so that two workers
		// do not draw the same arrivals.
		l.Schedule = s.Arrivals.Schedule(questions.Seed(f.opt.Seed, poissonLane, l.hosts[0].UserIndex, s.Org))
		for l.at, l.more = l.Next(); f.opt.Late && l.more && l.at < now; {
			l.at, l.more = l.Next()
		}
		d.lanes = append(d.lanes, l)
	}
	return d
}

// next is the lane of the next arrival, or nil.
func (d *dispatcher) next() (first *lane) {
	for _, l := range d.lanes {
		if l.more && l.able > 0 && (first == nil || l.at < first.at) {
			first = l
		}
	}
	return first
}

// rate is the number of arrivals per second wanted at a moment of the pattern.
func (d *dispatcher) rate(elapsed time.Duration) (sum float64) {
	for _, l := range d.lanes {
		if l.able > 0 {
			sum += l.Arrivals.Rate(elapsed)
		}
	}
	return sum
}

// deserted reports whether nobody may ask any more.
func (d *dispatcher) deserted() bool {
	return !slices.ContainsFunc(d.lanes, func(l *lane) bool { return l.able > 0 })
}

// host is whose turn it is, of those who may still ask; there must be one.
func (l *lane) host() *host {
	for {
		h := l.hosts[l.turn]
		l.turn = (l.turn + 1) % len(l.hosts)
		if !h.done {
			return h
		}
	}
}

// dispatch sends off everything that is due.
func (d *dispatcher) dispatch(ctx, leaving context.Context, elapsed time.Duration) {
	for {
		d.collect()
		l := d.next()
		if l == nil || l.at > elapsed {
			return
		}
		due := l.at
		l.at, l.more = l.Next()
		h := l.host()
		phase := d.note(due, h.OrgIndex)
		if d.inFlight >= d.fleet.opt.MaxInFlight {
			d.drop(phase, h.OrgIndex)
			continue
		}
		d.inFlight++
		v := h.visitor(d.fleet)
		v.phase = phase
		go func() {
			defer func() { d.exits <- v }()
			err := crash.Guard("a simulated user", func() error {
				v.visit(ctx, leaving, d.begin+due)
				return nil
			})
			if err != nil {
				v.hush()
				d.fleet.Stop(err)
			}
		}()
	}
}

// note counts an arrival of an org and returns its phase.
func (d *dispatcher) note(due time.Duration, org int) (phase int) {
	_, phase, _ = d.fleet.opt.Pattern.At(due)
	d.fleet.enter(phase, d.begin)
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	d.arrivals++
	d.fleet.phases[phase].Due++
	a := d.fleet.arrived[org]
	a.Due++
	d.fleet.arrived[org] = a
	return phase
}

// drop counts an arrival that was never sent.
func (d *dispatcher) drop(phase, org int) {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	d.dropped++
	d.fleet.phases[phase].Dropped++
	a := d.fleet.arrived[org]
	a.Dropped++
	d.fleet.arrived[org] = a
}

// collect takes back all visitors who are done, without waiting for others.
func (d *dispatcher) collect() {
	for {
		select {
		case v := <-d.exits:
			d.home(v)
		default:
			return
		}
	}
}

func (d *dispatcher) home(v *visitor) {
	d.inFlight--
	if !v.sent {
		d.drop(v.phase, v.host.OrgIndex)
	}
	if h := v.host; v.enough && !h.done {
		h.done = true
		h.lane.able--
	}
	if v.talk != nil {
		v.host.waiting = append(v.host.waiting, v)
		return
	}
	v.host.free = append(v.host.free, v)
}

// visitor finds the one who asks the next question.
func (h *host) visitor(f *Fleet) (v *visitor) {
	defer func() { v.asked, h.requests = h.requests, h.requests+1 }()
	if len(h.waiting) > 0 {
		v = h.waiting[0]
		h.waiting = append(h.waiting[:0], h.waiting[1:]...)
		return v
	}
	if n := len(h.free); n > 0 {
		v = h.free[n-1]
		h.free = h.free[:n-1]
	} else {
		v = &visitor{user: newUser(f, h.Identity), host: h}
		// As loop −1 of a user's generators, one that belongs to no session.
		h.visitors++
		v.way = questions.Seed(f.opt.Seed, h.OrgIndex, h.UserIndex, -h.visitors)
	}
	h.sessions++
	v.loop = h.sessions
	return v
}

// visit asks one question: the next of a conversation, or the first of another.
func (v *visitor) visit(ctx, leaving context.Context, due time.Duration) {
	if v.talk == nil {
		n := v.loop - 1
		v.rng = questions.Seed(v.fleet.opt.Seed, v.OrgIndex, v.UserIndex, n)
		v.converse(v.types.nth(n), math.MaxInt)
	} else {
		v.followUp()
	}
	v.due = due
	v.ask(ctx, leaving)
	if f := v.fleet.opt.Watch.Session; f != nil && v.talk == nil {
		f(SessionCompleted)
	}
}

// runOpen is Run under open load.
func (f *Fleet) runOpen(ctx context.Context, begin time.Duration) error {
	// Answers outlive ctx by the grace, so they are not cancelled with it.
	answers, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	leaving, goHome := context.WithCancelCause(answers)
	defer cut(nil)
	d := newDispatcher(f, begin)
	ticker, alarm := time.NewTicker(f.opt.Tick), time.NewTimer(time.Hour)
	defer ticker.Stop()
	defer alarm.Stop()

	var (
		reason      error
		over        bool
		ended       time.Duration // when over became true
		deadlines   []*time.Timer
		stop        = f.stop
		interrupted = ctx.Done()
	)
	end := func(why error, grace time.Duration) {
		if !over {
			over, ended = true, f.now()
		}
		goHome(why)
		deadlines = append(deadlines, time.AfterFunc(grace, func() { cut(why) }))
	}
	defer func() {
		for _, t := range deadlines {
			t.Stop()
		}
	}()
	for ticked := true; ; {
		d.collect()
		if elapsed := f.now() - begin; !over {
			d.dispatch(answers, leaving, elapsed)
			_, phase, done := f.opt.Pattern.At(elapsed)
			f.enter(phase, begin)
			if done || d.deserted() {
				_, reason = f.stopped(ctx)
				end(errPatternDone, f.opt.Grace)
			}
		}
		f.active.Store(int64(d.inFlight))
		gone := over && d.inFlight == 0
		if ticked || gone {
			f.observeOpen(d, over)
		}
		if gone {
			f.leaveLastPhase(ended)
			return f.crashed(reason)
		}
		if l := d.next(); l != nil && !over {
			f.wake(begin + l.at)
			alarm.Reset(begin + l.at - f.now())
		} else {
			alarm.Stop()
		}
		ticked = false
		select {
		case <-alarm.C:
		case <-ticker.C:
			ticked = true
		case v := <-d.exits:
			d.home(v)
		case <-stop:
			stop = nil
			if !over {
				reason = f.cause
			}
			end(f.cause, f.opt.Grace)
		case <-interrupted:
			interrupted = nil
			if !over {
				reason = context.Cause(ctx)
			}
			end(context.Cause(ctx), f.opt.InterruptGrace)
		}
	}
}

var errPatternDone = errors.New("the load pattern is done")

// observeOpen publishes the current numbers of open load.
func (f *Fleet) observeOpen(d *dispatcher, over bool) {
	t := Tick{Offset: f.now(), Phase: f.Phase(), Shed: f.Shed(), Arrivals: d.arrivals, Dropped: d.dropped}
	if over {
		t.Leaving = d.inFlight
	} else {
		t.Active, t.Rate = d.inFlight, d.rate(t.Offset-d.begin)
		f.mu.Lock()
		last := &f.phases[len(f.phases)-1]
		last.Active = max(last.Active, d.inFlight)
		f.mu.Unlock()
	}
	if f.opt.Watch.Tick != nil {
		f.opt.Watch.Tick(t)
	}
}

// wake asks for a punctual end of the wait that follows.
func (f *Fleet) wake(offset time.Duration) {
	if a := f.opt.Alarm; a != nil {
		a.Wake(f.opt.Epoch.Add(offset))
	}
}
