package simulator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

// Options describe a fleet.
type Options struct {
	// RunID begins every X-Request-Id: run id, user index and a counter.
	RunID string
	// Seed is the run's; with it, everything random can be repeated.
	Seed uint64
	// Users is the population. Who of them works is up to the pattern.
	Users []Identity
	// Script is what each of them does.
	Script Script
	// Scripts are what the users of single orgs do instead, by OrgIndex.
	Scripts map[int]Script
	// Pattern says how many are wanted when; its time begins with Run. Under
	// open load it only says which phase a moment belongs to.
	Pattern loadpattern.Pattern
	// Replace sends a fresh user for each who has done all he will ever do: the
	// same identity, with its next sessions. Those who have waited longest come
	// first. The load then ends with the pattern and not before, unless all have
	// met [ErrEnough], after which nobody is replaced.
	Replace bool
	// Open, unless it is empty, makes the load open: requests arrive at moments
	// of their own, whatever became of those before; see [Stream].
	Open []Stream
	// MaxInFlight is how many requests may be under way at a time under open
	// load; 0 means 10,000. An arrival that finds as many is dropped and counted.
	MaxInFlight int
	// Asker takes the questions, from many goroutines at once.
	Asker Asker
	// Epoch is the moment that all offsets count from, with its monotonic
	// reading. The client, the Recorder and Retry must count from the same
	// one. Zero means the call of New.
	Epoch time.Time
	// Late says that the pattern's time began at Epoch and not with Run: the load
	// begins where it would be by now. Arrivals that were due before are not made
	// up for, and not counted.
	Late bool
	// Tick is how often wanted and actual numbers are compared; 0 means 50 ms.
	// Ticks follow an absolute schedule and do not drift.
	Tick time.Duration
	// Grace is how long a user who is no longer wanted may go on reading the
	// answer that is under way; 0 means 30 s. Then it is cancelled.
	Grace time.Duration
	// InterruptGrace is the same when Run's context is cancelled; 0 means 1 s.
	InterruptGrace time.Duration
	// Alarm keeps users from oversleeping; nil: they wake as timers do.
	Alarm Alarm
	// Watch is told what happens.
	Watch Watch
}

// Alarm is told of a moment before somebody waits for it with a timer, and sees
// to it that the timer goes off on time. Package alarm has one.
type Alarm interface{ Wake(at time.Time) }

// Watch are functions told of what happens in a fleet. Any may be nil. They
// must be quick; all but Tick are called from many goroutines at once.
type Watch struct {
	// Tick is called at every tick, and once when the load is over.
	Tick func(Tick)
	// Thought is called with every think time, before it passes.
	Thought func(time.Duration)
	// Question is called with every question and the time it took to make.
	Question func(q questions.Question, took time.Duration)
	// Session is called whenever a session ends.
	Session func(SessionEnd)
}

// Tick is the state of a fleet at a moment.
type Tick struct {
	Offset time.Duration // from the epoch
	Phase  string
	// Wanted users are what the pattern asks for, Active ones are at work.
	// They differ for long only if the population is too small or has finished.
	// Under open load nobody is wanted, and Active is the requests under way.
	Wanted, Active int
	// Leaving users are reading their last answer and not counted as Active.
	Leaving int
	// Shed is how many questions were held back so far; see [ErrNotSent].
	Shed uint64
	// Rate is the arrivals per second that open load wants at the moment.
	// Arrivals is how many were due so far, and Dropped how many of these were
	// not sent and will not be.
	Rate              float64
	Arrivals, Dropped uint64
}

// PhaseRun is a phase as it ran.
type PhaseRun struct {
	Name       string
	Start, End time.Duration // offsets from the epoch; End is 0 while it lasts
	Measured   bool
	Target     int
	// Wanted and Active are the highest numbers seen at a tick. An Active
	// below Wanted says that the load was less than asked for.
	Wanted, Active int
	Arrivals
}

// Arrivals are requests under open load.
type Arrivals struct {
	// Due is how many there were to be, and Dropped how many of these were
	// never sent: too many were under way, or they were held back until it was
	// too late ([ErrNotSent]).
	Due, Dropped uint64
}

// Fleet is a population of users and the reconciler that sends them to work
// and home again. Make one with [New], and run it once.
type Fleet struct {
	opt     Options
	script  *compiled
	scripts map[int]*compiled // of single orgs, by index
	roster  []*member         // in the order in which they are called to work
	exits   chan *member
	answers context.Context //nolint:containedctx // of Run: what answers are read with, which outlive Run's by the grace
	stop    chan struct{}
	once    sync.Once
	cause   error                              // why Stop was called; read after stop is closed
	phaseOf func(time.Duration) (string, bool) // phaseAt, made a value once

	begin  atomic.Int64 // offset at which the pattern's time began
	active atomic.Int64
	phase  atomic.Pointer[string]
	shed   atomic.Uint64

	mu      sync.Mutex
	phases  []PhaseRun
	arrived map[int]Arrivals // by OrgIndex
}

// member is a user as the reconciler sees him. While he thinks he has no
// goroutine.
type member struct {
	user
	deadline *time.Timer   // will call cut; this and what follows, only Run touches
	by       time.Duration // when
	lives    int           // how often he was replaced
	state    state
	done     bool // he has done all he will ever do; set before he exits

	mu     sync.Mutex              // guards what follows
	asleep bool                    // nothing works for him until clock rings
	clock  *time.Timer             // calls ring
	why    error                   // he is to leave, if he is
	goHome context.CancelCauseFunc // asks him to begin nothing new; nil while he is asleep
	cut    context.CancelCauseFunc // breaks his answer off; likewise
}

type state uint8

const (
	idle state = iota
	working
	leaving
	finished // has done all he will ever do
)

var errRetired = errors.New("the load pattern wants fewer users")

// New returns a fleet, or everything that is wrong with the options.
func New(o Options) (*Fleet, error) {
	var errs []error
	if len(o.Users) == 0 {
		errs = append(errs, errors.New("there are no users"))
	}
	if o.Pattern == nil {
		errs = append(errs, errors.New("there is no load pattern"))
	} else if phases, ok := o.Pattern.(interface{ Check() error }); ok {
		errs = append(errs, phases.Check())
	} else if o.Pattern.Peak() < 1 {
		errs = append(errs, errors.New("the load pattern never wants a user"))
	}
	if o.Asker == nil {
		errs = append(errs, errors.New("there is nobody to ask"))
	}
	errs = append(errs, o.Script.Check())
	for org, script := range o.Scripts {
		if err := script.Check(); err != nil {
			errs = append(errs, fmt.Errorf("organization %d: %w", org, err))
		}
	}
	errs = append(errs, checkStreams(o))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("the simulation cannot start: %w", err)
	}
	if o.Epoch.IsZero() {
		o.Epoch = time.Now()
	}
	if o.Tick <= 0 {
		o.Tick = 50 * time.Millisecond
	}
	if o.Grace <= 0 {
		o.Grace = 30 * time.Second
	}
	if o.InterruptGrace <= 0 {
		o.InterruptGrace = time.Second
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 10_000
	}
	f := &Fleet{
		opt:     o,
		script:  compile(o.Script),
		scripts: map[int]*compiled{},
		exits:   make(chan *member, len(o.Users)),
		stop:    make(chan struct{}),
		arrived: map[int]Arrivals{},
	}
	f.phaseOf = f.phaseAt
	for org, script := range o.Scripts {
		f.scripts[org] = compile(script)
	}
	f.phase.Store(new(string))
	for _, id := range interleave(pointers(o.Users)) {
		f.roster = append(f.roster, &member{user: newUser(f, id)})
	}
	return f, nil
}

// interleave puts the users in the order in which they are called: the first
// of every org, and then such that at any time all orgs have about the same
// share of their users at work.
func interleave(users []*Identity) []*Identity {
	type place struct {
		id         *Identity
		rank, size int
	}
	sizes := map[int]int{}
	places := make([]place, len(users))
	for i, id := range users {
		places[i] = place{id: id, rank: sizes[id.OrgIndex]}
		sizes[id.OrgIndex]++
	}
	for i := range places {
		places[i].size = sizes[places[i].id.OrgIndex]
	}
	slices.SortStableFunc(places, func(a, b place) int {
		if d := a.rank*b.size - b.rank*a.size; d != 0 {
			return d
		}
		return a.id.OrgIndex - b.id.OrgIndex
	})
	out := make([]*Identity, len(places))
	for i, p := range places {
		out[i] = p.id
	}
	return out
}

// pointers are to the identities as the caller has them: no fleet copies them.
func pointers(users []Identity) []*Identity {
	out := make([]*Identity, len(users))
	for i := range users {
		out[i] = &users[i]
	}
	return out
}

// Run keeps as many users at work as the pattern wants, until it is done, all
// users have finished, [Fleet.Stop] is called or ctx is cancelled, and returns
// when every user has gone home. The error is nil if the load ran its course,
// else the cause of the stop or of the cancellation.
func (f *Fleet) Run(ctx context.Context) error {
	if stopped, why := f.stopped(ctx); stopped {
		return why
	}
	begin := f.now()
	if f.opt.Late {
		begin = 0
	}
	f.begin.Store(int64(begin))
	f.enter(0, begin)
	if len(f.opt.Open) > 0 {
		return f.runOpen(ctx, begin)
	}

	// Answers outlive ctx by the grace, so they are not cancelled with it.
	f.answers = context.WithoutCancel(ctx)
	ticker := time.NewTicker(f.opt.Tick)
	defer ticker.Stop()

	var (
		reason      error
		over        bool
		end         time.Duration // when over became true
		stop        = f.stop
		interrupted = ctx.Done()
	)
	sendHome := func(why error, grace time.Duration) {
		if !over {
			over, end = true, f.now()
		}
		for _, m := range f.roster {
			m.retire(why, grace)
		}
	}
	for ticked := true; ; {
		if now := f.now(); !over {
			wanted, phase, done := f.opt.Pattern.At(now - begin)
			f.enter(phase, begin)
			if done {
				_, reason = f.stopped(ctx)
				sendHome(errRetired, f.opt.Grace)
			} else {
				f.reconcile(wanted)
			}
		}
		n := f.census()
		f.active.Store(int64(n[working]))
		gone := n[working]+n[leaving] == 0 && (over || n[idle] == 0)
		if ticked || gone {
			f.observe(n, over)
		}
		if gone {
			if !over { // all have finished
				end = f.now()
				_, reason = f.stopped(ctx) // which the last one may have asked for
			}
			f.leaveLastPhase(end)
			return f.crashed(reason)
		}
		ticked = false
		select {
		case <-ticker.C:
			ticked = true
		case m := <-f.exits:
			m.home()
		case <-stop:
			stop = nil
			if !over {
				reason = f.cause
			}
			sendHome(f.cause, f.opt.Grace)
		case <-interrupted:
			interrupted = nil
			if !over {
				reason = context.Cause(ctx)
			}
			sendHome(context.Cause(ctx), f.opt.InterruptGrace)
		}
	}
}

// Stop ends the load gracefully: users begin nothing new and finish the answer
// that they are reading within the grace time. Run returns cause. Only the
// first call counts; it does not wait.
func (f *Fleet) Stop(cause error) {
	f.once.Do(func() {
		f.cause = cause
		close(f.stop)
	})
}

// stopped reports whether the load was asked to end before its time, and why.
// Whoever finds it over has to look: the pattern may have ended, or the last
// user finished, before the request to stop was noticed.
func (f *Fleet) stopped(ctx context.Context) (yes bool, why error) {
	select {
	case <-f.stop:
		return true, f.cause
	default:
	}
	return ctx.Err() != nil, context.Cause(ctx)
}

// crashed is why the load ended: for reason, unless somebody crashed, which may
// have been after that.
func (f *Fleet) crashed(reason error) error {
	select {
	case <-f.stop:
		if e := (*crash.Error)(nil); errors.As(f.cause, &e) {
			return e
		}
	default:
	}
	return reason
}

// Active is the number of users at work, without those about to leave.
func (f *Fleet) Active() int { return int(f.active.Load()) }

// Phase is the name of the current phase, or the last one.
func (f *Fleet) Phase() string { return *f.phase.Load() }

// Shed is the number of questions that were held back on this side: no
// requests, therefore in no record.
func (f *Fleet) Shed() uint64 { return f.shed.Load() }

// Phases are the phases that have begun so far.
func (f *Fleet) Phases() []PhaseRun {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.phases)
}

// Arrived are the arrivals of single orgs so far, by OrgIndex.
func (f *Fleet) Arrived() map[int]Arrivals {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.arrived)
}

// scriptOf is what the users of an org do.
func (f *Fleet) scriptOf(org int) *compiled {
	if s := f.scripts[org]; s != nil {
		return s
	}
	return f.script
}

func (f *Fleet) now() time.Duration { return time.Since(f.opt.Epoch) }

// phaseAt names the phase of a moment.
func (f *Fleet) phaseAt(offset time.Duration) (name string, measured bool) {
	_, i, _ := f.opt.Pattern.At(offset - time.Duration(f.begin.Load()))
	p := f.opt.Pattern.Phase(i)
	return p.Name, p.Measure
}

// overAt reports whether the pattern is done at a moment, even if no tick has
// noticed yet.
func (f *Fleet) overAt(offset time.Duration) bool {
	_, _, done := f.opt.Pattern.At(offset - time.Duration(f.begin.Load()))
	return done
}

// reconcile brings the number of users at work to wanted, as far as there are
// any: the first idle ones in the roster start, the last ones at work leave.
func (f *Fleet) reconcile(wanted int) {
	missing := wanted - f.census()[working]
	if missing > 0 {
		rested := slices.DeleteFunc(slices.Clone(f.roster), func(m *member) bool { return m.state != idle })
		slices.SortStableFunc(rested, func(a, b *member) int { return a.lives - b.lives })
		for _, m := range rested[:min(missing, len(rested))] {
			m.start()
		}
		return
	}
	for i := len(f.roster) - 1; missing < 0 && i >= 0; i-- {
		if m := f.roster[i]; m.state == working {
			m.retire(errRetired, f.opt.Grace)
			missing++
		}
	}
}

// census counts the users by state.
func (f *Fleet) census() (n [finished + 1]int) {
	for _, m := range f.roster {
		n[m.state]++
	}
	return n
}

// start sends a user to work. What he does ends in f.exits, or in retire.
func (m *member) start() {
	m.mu.Lock()
	m.state, m.done, m.why = working, false, nil
	m.mu.Unlock()
	m.come()
	go m.run()
}

// run works for a user until he thinks or has gone home.
func (m *member) run() {
	ctx, cut := context.WithCancelCause(m.fleet.answers)
	defer cut(nil)
	leaving, goHome := context.WithCancelCause(ctx)
	m.mu.Lock()
	m.cut, m.goHome = cut, goHome
	if m.why != nil {
		goHome(m.why)
	}
	m.mu.Unlock()
	for {
		var next respite
		err := crash.Guard("a simulated user", func() error {
			next = m.work(ctx, leaving)
			return nil
		})
		if err != nil {
			next = retired // who knows in what state he is
			m.fleet.Stop(err)
		}
		if next == thinking {
			if m.fallAsleep() {
				return
			}
			continue // told to leave at the last moment
		}
		m.mu.Lock()
		m.cut, m.goHome = nil, nil
		m.mu.Unlock()
		m.done = next == retired
		m.fleet.exits <- m
		return
	}
}

// fallAsleep has the user's clock ring when his next question is due, unless
// he is to leave. If it reports true, he is not the caller's any more.
func (m *member) fallAsleep() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.why != nil {
		return false
	}
	m.cut, m.goHome = nil, nil
	m.asleep = true
	m.fleet.wake(m.due)
	wait := m.due - m.fleet.now()
	if m.clock == nil {
		m.clock = time.AfterFunc(wait, m.ring)
	} else {
		m.clock.Reset(wait)
	}
	return true
}

// ring wakes the user, unless he was sent home at this very moment.
func (m *member) ring() {
	m.mu.Lock()
	woken := m.asleep
	m.asleep = false
	m.mu.Unlock()
	if woken {
		m.run()
	}
}

// retire asks a user who is at work to leave within grace; a second call can
// only bring the deadline forward. Who thinks leaves at once.
func (m *member) retire(why error, grace time.Duration) {
	if m.state != working && m.state != leaving {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asleep {
		m.asleep = false
		m.clock.Stop()
		m.endSession(SessionRetired)
		m.home()
		return
	}
	by := m.fleet.now() + grace
	switch {
	case m.deadline == nil:
		m.deadline = time.AfterFunc(grace, func() { m.breakOff(why) })
	case by < m.by:
		m.deadline.Reset(grace)
	default:
		return
	}
	m.by, m.state = by, leaving
	if m.why == nil {
		m.why = why
	}
	if m.goHome != nil {
		m.goHome(why)
	}
}

// breakOff ends the answer that the user is reading.
func (m *member) breakOff(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut != nil && m.why != nil { // or he has gone home since, and come back
		m.cut(why)
	}
}

// home is called when nothing works for the user any more.
func (m *member) home() {
	if m.deadline != nil {
		m.deadline.Stop()
		m.deadline = nil
	}
	m.state = idle
	switch {
	case m.done && m.fleet.opt.Replace && !m.enough:
		m.lives++
		m.renew()
	case m.done:
		m.state = finished
	}
}

// observe publishes the current numbers.
func (f *Fleet) observe(n [finished + 1]int, over bool) {
	now, wanted := f.now(), 0
	if !over {
		wanted, _, _ = f.opt.Pattern.At(now - time.Duration(f.begin.Load()))
		f.mu.Lock()
		last := &f.phases[len(f.phases)-1]
		last.Wanted, last.Active = max(last.Wanted, wanted), max(last.Active, n[working])
		f.mu.Unlock()
	}
	if f.opt.Watch.Tick != nil {
		f.opt.Watch.Tick(Tick{Offset: now, Phase: f.Phase(), Wanted: wanted, Active: n[working], Leaving: n[leaving], Shed: f.Shed()})
	}
}

// enter notes that phase i has been reached. Its beginning is the pattern's,
// not that of the tick which noticed; phases that no tick saw are noted too.
func (f *Fleet) enter(i int, begin time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := len(f.phases); n <= i; n++ {
		start := begin
		if n > 0 {
			last := &f.phases[n-1]
			last.End = last.Start + f.opt.Pattern.Phase(n-1).Duration
			start = last.End
		}
		p := f.opt.Pattern.Phase(n)
		f.phases = append(f.phases, PhaseRun{Name: p.Name, Start: start, Measured: p.Measure, Target: p.Target})
		f.phase.Store(&p.Name)
	}
}

// leaveLastPhase notes the end of the load: the moment from which nobody began
// anything new. The answers that were still read belong to when they were asked for.
func (f *Fleet) leaveLastPhase(end time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := &f.phases[len(f.phases)-1]
	last.End = end
	if d := f.opt.Pattern.Phase(len(f.phases) - 1).Duration; d > 0 {
		last.End = min(end, last.Start+d)
	}
}
