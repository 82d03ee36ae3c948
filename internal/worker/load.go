package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/alarm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// punctual is how late a worker may begin and still begin at the beginning, as one
// whose system was slow to wake it.
const punctual = time.Second

// runLoad lets the users loose until the pattern is done, a limit is reached
// or ctx ends.
func (w *Worker) runLoad(ctx context.Context, users []simulator.Identity, b *export.Bundle) error {
	epoch := time.Now()
	if !w.startAt.IsZero() {
		epoch = epoch.Add(w.startAt.Sub(epoch)) // that moment, with our monotonic reading
	}
	connection := w.job.router
	var harm *chaos.Injector
	if w.job.makeChaos {
		harm = chaos.NewInjector(w.job.chaos, func() time.Duration { return time.Since(epoch) })
		connection.Wrap = harm.Wrap
	}
	client, err := platform.NewClient(connection, epoch)
	if err != nil {
		return err
	}
	defer client.Close()
	if w.alarm, err = alarm.New(); err != nil {
		w.warn("users may begin a request up to 1ms late, which counts as latency: %v", err)
	}
	defer w.alarm.Close()
	// The fleet is made of what can stop it; nobody asks before it runs.
	var fleet *simulator.Fleet
	asker, breaker := w.stack(client, w.sums(false), func(why error) { fleet.Stop(why) }, harm)
	population := w.job.population(w.Workers)
	pattern := w.job.pattern(population, w.Worker)
	if peak, all := w.job.phases.Peak(), sum(population); w.job.open == nil && peak > all {
		w.warn("a phase wants %d active users and the plan has %d: the load will be less than asked for", peak, all)
	}
	options := w.fleetOptions(users, pattern, asker, epoch)
	if w.Attempt > 0 {
		// It must not repeat the earlier one: neither its ids nor its questions,
		// which the platform may have cached.
		options.RunID, options.Seed = fmt.Sprintf("%s.%d", w.RunID, w.Attempt), w.job.seed+uint64(w.Attempt) //nolint:gosec // counts from 1
	}
	if late := time.Since(epoch); late > punctual {
		b.Run.Late, options.Late = late, true
		w.Log.Info("the load began without this worker", zap.Duration("ago", late))
	}
	fleet, err = simulator.New(options)
	if err != nil {
		return err
	}
	if wait := time.Until(epoch); wait > 0 {
		w.alarm.Wake(epoch)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	w.fleet, w.epoch = fleet, epoch
	w.mu.Unlock()
	b.Run.Started = epoch
	w.setStage(live.Running)
	w.Log.Info("load started", zap.Int("users", len(users)))

	w.guard.Begin(b.Run.Late)
	w.guard.Carry(int64(w.carried.Requests+w.carried.Injected), w.carried.CostMicroUSD) //nolint:gosec // no run has so many
	beside := func(context.Context) {}
	if w.keys != nil {
		beside = func(ctx context.Context) { w.keys.run(ctx, client, func(why error) { fleet.Stop(why) }) }
	}
	w.observed, err = w.runFleet(ctx, fleet, beside)

	w.describeLoad(b, fleet)
	w.describeLimits(b, len(users))
	w.describeChaos(b, harm)
	if w.keys != nil {
		w.keys.describe(b)
	}
	if w.spending != nil {
		w.judgeBudget(b)
	}
	if breaker != nil { // under open load there is none
		w.describeBreaker(breaker)
	}
	switch stopped := w.limitStop(err); {
	case stopped.Reason != "":
		b.Stop = stopped
	case err != nil:
		return err
	default:
		b.Stop.Reason = "completed"
		if ran := b.Phases[len(b.Phases)-1].End; ran+time.Second < w.job.planned && b.Stop.Detail == "" {
			w.warn("all users had finished after %s, though the load was meant to last %s: their loops or stopOnErrors sent them home",
				human.Duration(ran), human.Duration(w.job.planned))
		}
	}
	w.Log.Info("load ended", zap.String("reason", b.Stop.Reason), zap.String("detail", b.Stop.Detail))
	return nil
}

// runFleet lets a fleet run until it is done, a limit is reached or ctx ends,
// with something beside it whose context ends with the load, and returns what
// was seen of this process meanwhile.
func (w *Worker) runFleet(ctx context.Context, fleet *simulator.Fleet, beside func(context.Context)) (*health.Observations, error) {
	watched, stopWatching := context.WithCancel(ctx)
	var watching sync.WaitGroup
	guarded := func(who string, do func()) func() {
		return func() {
			if err := crash.Guard(who, func() error { do(); return nil }); err != nil {
				fleet.Stop(err)
			}
		}
	}
	watching.Go(guarded("the watch over the limits", func() { w.watchLimits(watched, fleet) }))
	watching.Go(guarded("what goes on beside the load", func() { beside(watched) }))
	monitor := health.Start(w.inFlight.Load, fleet.Stop)
	w.pulse.Beat()
	err := fleet.Run(ctx)
	w.pulse.Rest()
	observed := monitor.Stop()
	stopWatching()
	watching.Wait()
	return observed, err
}

// fleetOptions are those of a load of that pattern. Under open load the phases
// of the job say when requests arrive.
func (w *Worker) fleetOptions(users []simulator.Identity, pattern loadpattern.Pattern, asker simulator.Asker, epoch time.Time) simulator.Options {
	o := simulator.Options{
		RunID: w.RunID, Seed: w.job.seed, Users: users, Script: w.job.script, Scripts: w.job.scripts(),
		Pattern: pattern, Replace: w.job.replace, Asker: asker, Epoch: epoch, Alarm: w.alarm,
		Watch: w.outside.watch(func(t simulator.Tick) {
			w.collector.Observe(t.Offset, t.Active, t.Phase)
			w.observe(t)
			w.mu.Lock()
			w.tick = t
			w.mu.Unlock()
			w.pulse.Beat()
		}),
	}
	if w.job.open != nil {
		o.Open = w.job.streams(users, w.Worker, w.Workers)
		o.MaxInFlight = int(w.job.limits.Share(w.Worker, w.Workers).Concurrent)
	}
	return o
}

func (w *Worker) describeBreaker(breaker *simulator.Breaker) {
	if shed := breaker.Shed(); shed > 0 {
		w.warn("%d questions were held back while the platform was down (circuit breaker): they are no requests and in no number", shed)
	}
}

// limitStop is the stop of a run that err ended, if a limit did.
func (w *Worker) limitStop(err error) export.Stop {
	var exceeded *limits.Exceeded
	if !errors.As(err, &exceeded) {
		return export.Stop{}
	}
	w.mu.Lock()
	w.breached = exceeded.Limit
	w.mu.Unlock()
	return export.Stop{Reason: "limit", Detail: exceeded.Error()}
}

// watchLimits ends the load when a limit is reached that no single request
// reaches: the error rate, the duration.
func (w *Worker) watchLimits(ctx context.Context, fleet *simulator.Fleet) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var over <-chan time.Time
	if d := w.job.limits.Duration; d > 0 {
		timer := time.NewTimer(d - w.guard.Elapsed())
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
		case <-tick.C:
		}
		if err := w.guard.Check(); err != nil {
			fleet.Stop(err)
			return
		}
	}
}

// describeLimits says in the document what limits did short of ending the run.
func (w *Worker) describeLimits(b *export.Bundle, users int) {
	for _, t := range w.guard.Waits() {
		b.Throttled = append(b.Throttled, export.Throttle{Limit: t.Limit, Requests: t.Requests, Total: t.Total, Longest: t.Longest})
		w.warn("limits.%s held %d requests back, for %v on average and %v at most: send lag and latency count that wait, which is ours and not the platform's",
			t.Limit, t.Requests, (t.Total / time.Duration(t.Requests)).Round(time.Millisecond), t.Longest.Round(time.Millisecond))
	}
	switch done := w.guard.UsersDone(); done {
	case 0:
	case users:
		b.Stop.Detail = fmt.Sprintf("every user sent the %d requests that limits.maxRequestsPerUser allows", w.job.limits.RequestsPerUser)
	default:
		w.warn("%d of %d users went home after the %d requests that limits.maxRequestsPerUser allows", done, users, w.job.limits.RequestsPerUser)
	}
	if n := w.guard.Overruns(); n > 0 && w.job.limits.CostMicroUSD > 0 {
		w.find("answers cost more than they can", "%d answers cost more than their prompt and max_tokens allow: the platform does not keep max_tokens, so limits.maxCostUsd cannot be kept exactly either", n)
	}
}

// describeChaos says in the document what was broken on purpose.
func (w *Worker) describeChaos(b *export.Bundle, harm *chaos.Injector) {
	if harm == nil {
		return
	}
	b.Chaos = &export.Chaos{}
	b.Chaos.Delayed, b.Chaos.DelayTotal = harm.Delayed()
	for _, c := range harm.Counts() {
		b.Chaos.Injected += c.Count
		b.Chaos.Faults = append(b.Chaos.Faults, export.ChaosFault{Fault: string(c.Fault), Requests: c.Count})
	}
	for i, o := range w.recovery.Outages() {
		if o.At >= b.Run.Duration {
			w.warn("the outage at %v was never made: the load ended after %v", o.At, b.Run.Duration.Round(time.Millisecond))
			continue
		}
		outage := export.Outage{At: o.At, Duration: o.Duration}
		for _, r := range w.recovery.Of(i) {
			v := export.Recovery{Org: r.Org, Answers: r.Answers}
			if r.HasFirst {
				v.FirstSuccess = &r.First
			}
			if r.HasRate {
				v.SuccessRate = &r.Rate
			}
			outage.Recoveries = append(outage.Recoveries, v)
		}
		b.Chaos.Outages = append(b.Chaos.Outages, outage)
	}
}

// describeLoad says in the document how the load went.
func (w *Worker) describeLoad(b *export.Bundle, fleet *simulator.Fleet) {
	b.Run.Duration = time.Since(b.Run.Started)
	w.mu.Lock()
	w.took = b.Run.Duration
	w.mu.Unlock()
	w.describePhases(b, fleet)
	if sum := export.SumArrivals(b.Phases); sum != nil && sum.Dropped > 0 {
		w.warn("%d of %d arrivals could not start, since limits of our own left no room for them: the load was less than asked for, and the latency of what was dropped is in no number", sum.Dropped, sum.Intended)
	}
}

// describePhases adds the phases as they ran.
func (w *Worker) describePhases(b *export.Bundle, fleet *simulator.Fleet) {
	for _, p := range fleet.Phases() {
		p.Start = max(p.Start, min(b.Run.Late, p.End)) // nothing was done here before
		phase := export.Phase{Name: p.Name, Start: p.Start, End: p.End, Measured: p.Measured, TargetUsers: p.Target, Constant: w.job.phases.Constant(p.Name)}
		if w.job.open != nil {
			phase.TargetUsers = 0
			phase.Arrivals = &export.Arrivals{Intended: p.Due, Dropped: p.Dropped}
		}
		b.Phases = append(b.Phases, phase)
		if p.Measured {
			b.Run.MeasuredDuration += p.End - p.Start
		}
		if p.Wanted > 0 && p.Active*10 < p.Wanted*9 {
			w.warn("phase %s wanted %d active users and never had more than %d: the load was less than asked for", p.Name, p.Wanted, p.Active)
		}
	}
	if w.job.open != nil {
		arrived := fleet.Arrived()
		b.Orgs = slices.Clone(b.Orgs)
		for i := range b.Orgs {
			a := arrived[b.Orgs[i].Index]
			sum := export.Arrivals{Intended: a.Due, Dropped: a.Dropped}
			if before := b.Orgs[i].Arrivals; before != nil { // in other steps of a search
				sum.Intended, sum.Dropped = sum.Intended+before.Intended, sum.Dropped+before.Dropped
			}
			b.Orgs[i].Arrivals = &sum
		}
	}
}

// Snapshot is what the live view shows.
func (w *Worker) Snapshot() live.Snapshot {
	w.mu.Lock()
	s := live.Snapshot{Stage: w.stage, Total: w.job.planned, CostLimitMicroUSD: w.job.limits.CostMicroUSD, Phases: len(w.job.phases)}
	s.Warnings = append(s.Warnings, w.warnings...)
	if age, expected := w.pulse.Age(); expected {
		s.Beat = time.Now().Add(-age)
	}
	fleet, epoch, tick := w.fleet, w.epoch, w.tick
	w.mu.Unlock()
	if fleet == nil {
		return s
	}
	s.Elapsed = time.Since(epoch)
	s.Phase, s.Users, s.TargetUsers = tick.Phase, tick.Active, tick.Wanted
	s.PhaseIndex = max(0, len(fleet.Phases())-1)
	if w.job.open != nil {
		s.Open = &live.Open{Rate: tick.Rate, Arrivals: tick.Arrivals, Dropped: tick.Dropped}
	}
	group := w.collector.Overall()
	s.Totals, s.Latency, s.Errors = group.All, &group.Latency, group.Errors
	return s
}

func (w *Worker) setStage(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage = fmt.Sprintf(format, args...)
}
