package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/alarm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

const (
	// startPart is the first load of a search, as a part of the most.
	startPart = 64
	// firmQuantile is the percentile whose number of samples a step should have.
	firmQuantile = 0.95
	// leastArrivals is how many requests under open load make a step: with
	// fewer, Poisson arrivals may leave one empty, which says nothing of the platform.
	leastArrivals = 10
)

// searchable makes the job one of steps in place of the scenario's phases, or
// says why it cannot be.
func (j *job) searchable(step time.Duration, looping bool) error {
	switch {
	case len(j.thresholds) == 0:
		return errors.New("there is nothing to search by: give spec.slo the promises that must hold, such as {ttft: {p95: 1s}, errorRate: 1%}")
	case j.makeChaos:
		return errors.New("a search is about what the platform can do by itself: take advanced.chaos out")
	case j.dryRun:
		return errors.New("a search is nothing without load: take advanced.dryRun out")
	case j.open != nil && j.open.rate*step.Seconds() < leastArrivals:
		return fmt.Errorf("at the most load that is to be tried, %g arrivals per second, fewer than %d requests arrive within a --step of %s: let that be %s at least",
			j.open.rate, leastArrivals, human.Duration(step), human.Duration(seconds(math.Ceil(leastArrivals/j.open.rate))))
	}
	j.replace, j.planned = true, 0
	j.limits.HasErrorRate = false // a step with errors does not end the search, but tells it where to go
	j.script.Stagger = true       // users begin apart, so that a step does not open with all at once
	if !looping {
		j.script.Loop = simulator.Loop{}
	}
	return nil
}

// search is the load of a search: steps instead of phases.
func (w *Worker) search(ctx context.Context, users []simulator.Identity, b *export.Bundle) error {
	s, err := w.newSearcher(users, b)
	if err != nil {
		return err
	}
	defer s.client.Close()
	defer w.alarm.Close()
	if tests := w.Scenario.Spec.Tests(); len(tests) > 0 {
		w.warn("a search does not test how tenants are kept apart, which run does: %s", strings.Join(tests, ", "))
	}
	b.Run.Started = s.epoch
	w.mu.Lock()
	w.epoch = s.epoch
	w.mu.Unlock()
	w.guard.Begin(0)
	plan := capacity.Plan{Unit: "users", Max: float64(len(users)), Whole: true}
	if w.job.open != nil {
		plan = capacity.Plan{Unit: "arrivals per second", Max: w.job.open.rate}
	}
	plan.Start = plan.Max / startPart
	if plan.Whole {
		plan.Start = max(1, math.Round(plan.Start))
	} else {
		plan.Start = max(plan.Start, leastArrivals/w.Step.Seconds())
	}
	b.Search, err = capacity.Find(plan, func(load float64, purpose capacity.Purpose) (capacity.Step, error) {
		return s.step(ctx, load, purpose)
	})
	for _, t := range w.job.thresholds {
		if t.Metric == verdict.TTFT && t.Quantile == firmQuantile {
			b.Search.Limits = append(b.Search.Limits, t.Latency)
		}
	}
	b.Run.Duration = time.Since(s.epoch)
	w.mu.Lock()
	w.took = b.Run.Duration
	w.mu.Unlock()
	w.describeLimits(b, len(users))
	w.describeSteps(b.Search)
	if stopped := w.limitStop(err); stopped.Reason != "" {
		b.Stop = stopped
		return nil
	}
	if err == nil {
		b.Stop = export.Stop{Reason: "completed"}
	}
	return err
}

// searcher makes the steps of a search.
type searcher struct {
	*Worker
	users  []simulator.Identity
	b      *export.Bundle
	client *platform.Client
	epoch  time.Time
	asked  bool // a step had requests to judge by
}

func (w *Worker) newSearcher(users []simulator.Identity, b *export.Bundle) (*searcher, error) {
	s := &searcher{Worker: w, users: users, b: b, epoch: time.Now()}
	var err error
	if s.client, err = platform.NewClient(w.job.router, s.epoch); err != nil {
		return nil, err
	}
	if w.alarm, err = alarm.New(); err != nil {
		w.warn("users may begin a request up to 1ms late, which counts as latency: %v", err)
	}
	return s, nil
}

// sinkOfSteps is where the records of steps go.
func (s *searcher) sinkOfSteps() record.Sink {
	if s.outside == nil {
		return s.collector
	}
	return record.Tee{s.collector, s.outside.sink(false)}
}

// step makes a load, waits until all of it is answered, and judges it.
func (s *searcher) step(ctx context.Context, load float64, purpose capacity.Purpose) (capacity.Step, error) {
	s.steps++
	name := fmt.Sprintf("step %d", s.steps)
	target := len(s.users)
	if s.job.open == nil {
		target = int(load)
	}
	s.job.phases = loadpattern.Phases{
		{Name: name + " warm-up", Duration: s.Step / 4, Target: target, Rate: load},
		{Name: name, Duration: s.Step, Target: target, Rate: load, Measure: true},
	}
	var fleet *simulator.Fleet
	asker, breaker := s.stack(s.client, s.sinkOfSteps(), func(why error) { fleet.Stop(why) }, nil)
	o := s.fleetOptions(s.users, s.job.phases, asker, s.epoch)
	// Steps must not repeat each other: neither their ids nor their questions,
	// which the platform may have cached.
	o.RunID, o.Seed = fmt.Sprintf("%s-%d", s.RunID, s.steps), s.job.seed+uint64(s.steps) //nolint:gosec // counts from 1
	fleet, err := simulator.New(o)
	if err != nil {
		return capacity.Step{}, err
	}
	s.mu.Lock()
	s.fleet = fleet
	s.mu.Unlock()
	s.setStage(live.Running)
	observed, err := s.runFleet(ctx, fleet, func(context.Context) {})
	s.describePhases(s.b, fleet)
	if breaker != nil {
		s.describeBreaker(breaker)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return capacity.Step{}, err
	}
	step := s.judge(name, fleet, observed)
	s.Log.Info("step", zap.Float64("load", load), zap.String("purpose", string(purpose)), zap.Bool("passed", step.Passed), zap.Strings("broke", step.Broke))
	return step, nil
}

// judge holds a step against the scenario's promises, as a run is.
func (s *searcher) judge(name string, fleet *simulator.Fleet, observed *health.Observations) capacity.Step {
	all, streams := new(stats.Group), new(stats.Group)
	for _, g := range s.collector.Summary().Groups {
		if g.Key.Phase != name {
			continue
		}
		all.Merge(g)
		if g.Key.Stream {
			streams.Merge(g)
		}
	}
	v := verdict.Judge(verdict.Input{Overall: all, Streams: streams, Thresholds: s.job.thresholds})
	p := fleet.Phases()[len(fleet.Phases())-1]
	seconds := max(p.End-p.Start, time.Millisecond).Seconds()
	step := capacity.Step{
		Phase: name, Passed: v.Status == verdict.Passed, Requests: all.Measured.Answered(), ErrorRate: all.Measured.ErrorRate(),
		RequestsPerSecond: float64(all.Measured.Succeeded) / seconds, GoodputPerSecond: float64(all.Measured.Good) / seconds,
		TTFT: quantile(&all.Latency.TTFT), E2E: quantile(&all.Latency.E2E),
	}
	if !step.Passed {
		step.Broke = v.Reasons
	}
	if lag := quantile(&all.Latency.SendLag); lag != nil {
		step.SendLag = *lag
	}
	s.asked = s.asked || all.Measured.Requests > 0
	switch {
	case !s.asked: // later that may be the platform's doing, which stalls under load
		step.OwnLimit = "nobody asked anything in its measured part: let --step be longer than an answer takes and users think"
	case p.Name != name:
		step.OwnLimit = "this machine was too busy to begin it"
	case p.Dropped > 0:
		step.OwnLimit = fmt.Sprintf("%d of %d arrivals could not start: as many requests as we allow were under way", p.Dropped, p.Due)
	case !step.Passed && ours(v.Checks, s.job.thresholds, all, observed):
		step.OwnLimit = fmt.Sprintf("this machine was late itself (p95 of the send lag %s), and without that the promise may have been kept", human.Duration(step.SendLag))
	case p.Wanted > 0 && p.Active*10 < p.Wanted*9:
		step.OwnLimit = fmt.Sprintf("%d users were wanted and no more than %d at work", p.Wanted, p.Active)
	}
	return step
}

// ours reports whether every promise that was broken would have been kept
// without what this tool added to the percentile.
func ours(checks []verdict.Check, thresholds []verdict.Threshold, g *stats.Group, o *health.Observations) bool {
	for i, c := range checks {
		if !c.Passed && !blurred(thresholds[i], g, o) {
			return false
		}
	}
	return true
}

// blurred reports whether lateness of our own may have broken a promise. It
// counts twice, since what a stall holds up leaves at once when it is over, and
// queues about as long again. Estimates from few values do: that a step is made
// again costs only time.
func blurred(t verdict.Threshold, g *stats.Group, o *health.Observations) bool {
	h := map[verdict.Metric]*stats.Histogram{verdict.TTFT: &g.Latency.TTFT, verdict.ITL: &g.Latency.ITL, verdict.E2E: &g.Latency.E2E}[t.Metric]
	if h == nil || o == nil || t.Quantile == 0 {
		return false
	}
	value, finite := h.QuantileWithLate(t.Quantile, g.Measured.Refused+g.Measured.Failed)
	added := max(o.ReadLag.Quantile(t.Quantile), o.Scheduling.Quantile(t.Quantile))
	if t.Metric != verdict.ITL { // counts from the scheduled moment
		added += g.Latency.SendLag.Quantile(t.Quantile)
	}
	return finite && h.Count() > 0 && value-2*added <= t.Latency
}

func quantile(h *stats.Histogram) *time.Duration {
	if h.Count() == 0 {
		return nil
	}
	d := h.Quantile(firmQuantile)
	return &d
}

// describeSteps warns of a result that rests on few requests.
func (w *Worker) describeSteps(s *capacity.Search) {
	fewest := uint64(math.MaxUint64)
	for _, step := range s.Steps {
		if step.Purpose == capacity.Narrow {
			fewest = min(fewest, step.Requests)
		}
	}
	if want := verdict.SamplesWanted(firmQuantile); fewest < want {
		w.warn("the deciding steps rest on as few as %d answers each, and a p95 wants about %d: a longer --step makes them firm", fewest, want)
	}
}

// judgeSearch is the verdict on a search, where the load it ended with is the answer.
func judgeSearch(s *capacity.Search, v *verdict.Verdict) {
	if v.Status == verdict.Broken || v.Status == verdict.Interrupted {
		v.Reasons = append(v.Reasons, s.Answer())
		return
	}
	status := map[capacity.Outcome]verdict.Status{
		capacity.Found: verdict.Passed, capacity.NotReached: verdict.Passed, capacity.OwnLimit: verdict.Broken,
	}[s.Outcome]
	if v.Status == verdict.Passed {
		v.Reasons = nil // of a run without thresholds, which this is none of
	}
	if status == "" || v.Status == verdict.Failed && status == verdict.Passed {
		status = verdict.Failed
	}
	v.Status = status
	v.Reasons = append([]string{s.Answer()}, v.Reasons...)
}
