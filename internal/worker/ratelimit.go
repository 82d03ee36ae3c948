package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// RateCheck names the phase of the requests that try a rate limit.
const RateCheck = "rate-limit-check"

const (
	drainFactor  = 4.0             // times the rate, until a request is refused
	steadyFactor = 1.5             // times the rate, evenly spaced
	steadyTokens = 50              // that the limit allows while that lasts, within
	steadyLeast  = 3 * time.Second // or limiters that ask to wait a second look like such that starve
	steadyMost   = time.Minute
	rateWaits    = 3                // for a Retry-After
	longestWait  = 30 * time.Second // for one
)

// checkRateLimit tries the limit of one organization. Its error is that of ctx
// or of a limit of the run.
func (w *Worker) checkRateLimit(ctx context.Context, users []simulator.Identity, b *export.Bundle) error {
	spec := w.Scenario.Spec.Isolation.RateLimit
	var who *simulator.Identity
	for i := range users {
		if users[i].OrgIndex == spec.Organization {
			who = &users[i]
			break
		}
	}
	var to simulator.EndpointModel
	for _, call := range w.job.script.Calls() {
		if call.Generates() {
			to = call
			break
		}
	}
	switch {
	case who == nil:
		if w.Workers <= 1 { // else it is another worker's
			w.warn("isolation.rateLimit was not tried: organization %d has no users", spec.Organization)
		}
		return nil
	case to.Model == "":
		w.warn("isolation.rateLimit was not tried: the scenario asks no model for texts")
		return nil
	}
	client, err := platform.NewClient(w.job.router, time.Now())
	if err != nil {
		return err
	}
	defer client.Close()
	w.setStage("trying the rate limit of %s", who.Org)
	c := &rateCheck{
		asker: w.gate(client, w.sums(true), nil, nil), now: client.Now, runID: w.RunID, who: *who, to: to,
		limiter: isolation.Limiter{Rate: spec.RequestsPerSecond, Burst: spec.Burst},
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	v := c.judge()
	b.Isolation = append(b.Isolation, v)
	w.Log.Info("rate limit tried", zap.String("org", v.Org), zap.String("verdict", v.Verdict), zap.String("reason", v.Reason))
	return nil
}

// rateCheck is the test of one limit.
type rateCheck struct {
	asker   simulator.Asker
	now     func() time.Duration
	runID   string
	who     simulator.Identity
	to      simulator.EndpointModel
	limiter isolation.Limiter
	sent    atomic.Int64
}

// run makes the requests: far above the rate until one is refused, then evenly
// above it, then some that wait as they are told. At the end the bucket is left to
// fill again, since the load is not to suffer.
func (c *rateCheck) run(ctx context.Context) error {
	l := &c.limiter
	most := 2*l.Burst + int(math.Ceil(2*l.Rate)) + 10
	var err error
	if l.Drain, err = c.send(ctx, drainFactor*l.Rate, most, true); err != nil || !refused(l.Drain) {
		return err
	}
	lasts := min(max(seconds(steadyTokens/l.Rate), steadyLeast), steadyMost)
	if l.Steady, err = c.send(ctx, steadyFactor*l.Rate, int(steadyFactor*l.Rate*lasts.Seconds())+1, false); err != nil {
		return err
	}
	for range rateWaits {
		tries, err := c.send(ctx, drainFactor*l.Rate, most, true)
		if err != nil {
			return err
		}
		wait, err := c.wait(ctx, tries)
		if err != nil {
			return err
		}
		if wait == nil {
			break
		}
		l.Waits = append(l.Waits, *wait)
	}
	pause(ctx, min(seconds(float64(l.Burst)/l.Rate), 10*time.Second))
	return ctx.Err()
}

// wait takes the last refusal, waits as long as it says and asks again; nil if
// that cannot be done. What may have passed after the refusal has taken tokens
// that it did not know of, so they are waited for as well.
func (c *rateCheck) wait(ctx context.Context, tries []isolation.Try) (*isolation.Wait, error) {
	var last isolation.Try
	for _, t := range tries {
		if t.Limited && t.Done > last.Done {
			last = t
		}
	}
	if last.RetryAfter == 0 || last.RetryAfter > longestWait {
		return nil, nil
	}
	after := 0
	for _, t := range tries {
		if t.Passed && t.Done > last.Sent {
			after++
		}
	}
	if !pause(ctx, last.RetryAfter+seconds(float64(after)/c.limiter.Rate)) {
		return nil, ctx.Err()
	}
	next, err := c.try(ctx)
	return &isolation.Wait{Refused: last, After: next}, err
}

// send makes at most n requests at a rate, whatever becomes of those before;
// until one is refused, if that is wanted. It returns when all are answered, in the
// order in which they were sent.
func (c *rateCheck) send(ctx context.Context, rate float64, n int, untilRefused bool) ([]isolation.Try, error) {
	tries, errs := make([]isolation.Try, n), make([]error, n)
	var done atomic.Bool
	var all sync.WaitGroup
	begin, made := time.Now(), 0
	for ; made < n && (!untilRefused || !done.Load()); made++ {
		if !pause(ctx, time.Until(begin.Add(seconds(float64(made)/rate)))) {
			break
		}
		i := made
		all.Go(func() {
			errs[i] = crash.Guard("the test of the rate limit", func() (err error) {
				tries[i], err = c.try(ctx)
				return err
			})
			if tries[i].Limited || errs[i] != nil {
				done.Store(true)
			}
		})
	}
	all.Wait()
	return tries[:made], errors.Join(ctx.Err(), errors.Join(errs...))
}

// try makes one request. Its error is that of ctx or of a limit of the run.
func (c *rateCheck) try(ctx context.Context) (isolation.Try, error) {
	call := &simulator.Call{
		Org: c.who.Org, User: c.who.User, UserIndex: c.who.UserIndex, Phase: RateCheck,
		Request: smallRequest(c.to, false, 1),
	}
	call.Request.ID = fmt.Sprintf("%s-%s-%d", c.runID, RateCheck, c.sent.Add(1))
	if len(c.who.Keys) > 0 {
		call.Request.Key = c.who.Keys[0]
	}
	call.Schedule(c.now())
	err := c.asker.Ask(ctx, call)
	var exceeded *limits.Exceeded
	if ctx.Err() != nil {
		return isolation.Try{}, ctx.Err()
	} else if errors.As(err, &exceeded) {
		return isolation.Try{}, err
	}
	t := isolation.Try{Sent: call.Exchange.Sent, Done: call.Exchange.Done, Passed: err == nil}
	var perr *platform.Error
	if errors.As(err, &perr) && perr.Kind == record.RateLimited {
		t.Limited, t.RetryAfter = true, perr.RetryAfter
	}
	return t, nil
}

func (c *rateCheck) judge() export.Isolation {
	r, l := isolation.Rate(c.limiter), c.limiter
	e := &export.RateEvidence{
		Requests: int(c.sent.Load()), PerSecond: l.Rate, Burst: l.Burst, AtOnce: r.AtOnce, Offered: r.Offered, Allowed: r.Allowed, Over: r.Over,
		Low: r.Low, High: r.High, Waits: r.Waits, WrongWaits: r.WrongWaits, RetryAfter: r.RetryAfter,
	}
	if r.High > 0 {
		e.OvershootLow, e.OvershootHigh = r.Overshoot(l.Rate)
	}
	return export.Isolation{Kind: export.RateLimit, Org: c.who.Org, Verdict: string(r.Verdict), Reason: r.Reason, RateLimit: e}
}

func refused(tries []isolation.Try) bool {
	for _, t := range tries {
		if t.Limited {
			return true
		}
	}
	return false
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
