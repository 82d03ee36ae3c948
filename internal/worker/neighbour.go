package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// NeighbourCheck names the phase of the requests that test for noisy neighbours.
const NeighbourCheck = "noisy-neighbour"

// neighbourRounds is how often the aggressor is quiet, and how often loud.
const neighbourRounds = 12

// cutOff is how long requests of the aggressor may go on when it falls quiet.
const cutOff = time.Millisecond

// checkNeighbour tests whether the others are harmed by one organization that
// sends much. Its error is that of ctx or of a limit.
func (w *Worker) checkNeighbour(ctx context.Context, users []simulator.Identity, b *export.Bundle) error {
	spec := w.Scenario.Spec.Isolation.NoisyNeighbour
	if w.Workers > 1 {
		w.warn("isolation.noisyNeighbour was not tested: it wants one process for all organizations, and there are %d", w.Workers)
		return nil
	}
	c := &neighbourCheck{w: w, window: spec.Window, rng: rand.New(rand.NewPCG(w.job.seed, 0x4e015e))} //nolint:gosec // no secret
	for _, u := range users {
		if u.OrgIndex == spec.Aggressor {
			c.aggressors = append(c.aggressors, u)
		} else {
			c.others = append(c.others, u)
		}
	}
	if len(c.aggressors) == 0 || len(c.others) == 0 {
		w.warn("isolation.noisyNeighbour was not tested: it wants users of organization %d and of at least one other", spec.Aggressor)
		return nil
	}
	held := w.heldBack()
	if err := c.run(ctx); err != nil {
		return err
	}
	b.Isolation = append(b.Isolation, c.judge(w.heldBack()-held))
	return nil
}

// heldBack is how many requests limits of our own have made wait.
func (w *Worker) heldBack() (n int64) {
	for _, wait := range w.guard.Waits() {
		n += wait.Requests
	}
	return n
}

// neighbourCheck is the test while it is made.
type neighbourCheck struct {
	w                  *Worker
	window             time.Duration
	rng                *rand.Rand
	aggressors, others []simulator.Identity
	loud               [2 * neighbourRounds]bool // by window; a round is two of them
	sent               atomic.Int64
	dropped            uint64

	mu      sync.Mutex
	answers []neighbourAnswer
}

// neighbourAnswer is what is kept of a request.
type neighbourAnswer struct {
	isolation.Answer
	org             string
	scheduled, done time.Duration
	good            bool
}

// run makes the load: of the others all the time, and of the aggressor in one
// window of every two, in random order, so that what changes with time meets
// both kinds alike.
func (c *neighbourCheck) run(ctx context.Context) error {
	for i := 0; i < len(c.loud); i += 2 {
		c.loud[i+c.rng.IntN(2)] = true
	}
	epoch := time.Now()
	client, err := platform.NewClient(c.w.job.router, epoch)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	gate := c.w.gate(client, record.Tee{c.w.sums(true), c}, stop, nil)
	gate.Nobody = true
	spec := c.w.Scenario.Spec.Isolation.NoisyNeighbour
	options := simulator.Options{RunID: c.w.RunID, Seed: c.w.job.seed, Script: tireless(c.w.job.script), Scripts: c.w.job.scripts(), Epoch: epoch}
	for org, s := range options.Scripts {
		options.Scripts[org] = tireless(s)
	}

	always := options
	always.Users, always.Asker = c.others, c.named(gate)
	phases := loadpattern.Phases{{Name: NeighbourCheck, Duration: time.Duration(len(c.loud)) * c.window, Target: len(c.others), Rate: spec.RequestsPerSecond}}
	always.Pattern = phases
	always.Open = []simulator.Stream{{Arrivals: loadpattern.Arrivals{Phases: phases, Process: loadpattern.Constant}}}
	fleet, err := simulator.New(always)
	if err != nil {
		return err
	}
	var whole sync.WaitGroup
	var failed error
	whole.Go(func() {
		if failed = crash.Guard("the test for noisy neighbours", func() error { return fleet.Run(ctx) }); failed != nil {
			stop(failed) // the aggressor's part is of no use without this one
		}
	})

	sometimes := options
	sometimes.Asker = c.named(&simulator.Retry{Asker: gate, RetryPolicy: c.w.job.retry, Now: client.Now})
	sometimes.Grace, sometimes.InterruptGrace = cutOff, cutOff
	for i := range spec.Concurrency {
		sometimes.Users = append(sometimes.Users, c.aggressors[i%len(c.aggressors)])
	}
	for i, loud := range c.loud {
		c.w.setStage("testing for noisy neighbours, round %d of %d", i/2+1, neighbourRounds)
		left := time.Until(epoch.Add(time.Duration(i+1) * c.window))
		if left <= 0 {
			continue
		}
		if err = c.pass(ctx, loud, left, sometimes); err != nil {
			break
		}
	}
	if err != nil {
		stop(err)
	}
	whole.Wait()
	for _, p := range fleet.Phases() {
		c.dropped += p.Dropped
	}
	if failed != nil {
		return failed
	}
	return err
}

// pass lets a window pass, with the aggressor or without.
func (c *neighbourCheck) pass(ctx context.Context, loud bool, left time.Duration, o simulator.Options) error {
	if loud {
		o.Pattern = loadpattern.Phases{{Name: NeighbourCheck, Duration: left, Target: len(o.Users)}}
		fleet, err := simulator.New(o)
		if err != nil {
			return err
		}
		return fleet.Run(ctx)
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tireless is a script without pauses and without an end.
func tireless(s simulator.Script) simulator.Script {
	s.Think, s.SessionLength, s.Stagger, s.Loop, s.StopAfter = simulator.Number{}, simulator.Number{}, false, simulator.Loop{}, 0
	return s
}

// named gives requests ids of their own, as many are of one user.
func (c *neighbourCheck) named(next simulator.Asker) simulator.Asker {
	return simulator.AskerFunc(func(ctx context.Context, call *simulator.Call) error {
		call.Request.ID = fmt.Sprintf("%s-%s-%d", c.w.RunID, NeighbourCheck, c.sent.Add(1))
		return next.Ask(ctx, call)
	})
}

// Add implements [record.Sink].
func (c *neighbourCheck) Add(r *record.Record) {
	if !r.Final {
		return
	}
	a := neighbourAnswer{org: r.Org, scheduled: r.Scheduled, done: r.Done, good: c.w.job.objective.Met(r)}
	a.Lag = r.SendLag()
	switch {
	case r.Outcome != record.Success:
		a.Failed, a.TTFT = true, max(c.w.job.router.Timeout, r.Done-r.Sent)
	case r.FirstToken > 0:
		a.TTFT = r.FirstToken - r.Sent
	default:
		a.TTFT = r.Done - r.Sent
	}
	c.mu.Lock()
	c.answers = append(c.answers, a)
	c.mu.Unlock()
}

// counted is the window that a moment counts in; the first quarter of each,
// in which the aggressor gets going or its backlog is worked off, counts in none.
func (c *neighbourCheck) counted(at time.Duration) (window int, ok bool) {
	window = int(at / c.window)
	return window, window < len(c.loud) && at%c.window >= c.window/4
}

// judge makes the verdict. heldBack requests waited for limits of our own.
func (c *neighbourCheck) judge(heldBack int64) export.Isolation {
	aggressor := c.aggressors[0].Org
	rounds := make([]isolation.Round, neighbourRounds)
	wanted, goodput := map[string]float64{}, map[string]float64{}
	heard := false
	perSecond := 1 / (neighbourRounds * c.window.Seconds() * 3 / 4)
	for _, a := range c.answers {
		if i, ok := c.counted(a.done); ok && c.loud[i] && a.good {
			goodput[a.org] += perSecond
		}
		i, ok := c.counted(a.scheduled)
		if !ok {
			continue
		}
		if c.loud[i] {
			wanted[a.org] += perSecond
		}
		switch {
		case a.org == aggressor:
			heard = heard || !a.Failed
		case c.loud[i]:
			rounds[i/2].Loud = append(rounds[i/2].Loud, a.Answer)
		default:
			rounds[i/2].Quiet = append(rounds[i/2].Quiet, a.Answer)
		}
	}
	r := isolation.NoisyNeighbour(rounds, c.w.Scenario.Spec.Isolation.NoisyNeighbour.Tolerance)
	doubt := func(format string, args ...any) {
		r.Verdict, r.Reason = isolation.Undecided, fmt.Sprintf(format, args...)
	}
	switch {
	case heldBack > 0:
		doubt("limits of this scenario held %d requests back, so that the times are not the platform's", heldBack)
	case c.dropped > 0:
		doubt("%d requests of the others could not be sent, since too many were under way", c.dropped)
	case !heard:
		doubt("no request of %s was answered, so that nobody knows what others would feel of it", aggressor)
	}
	n := &export.Neighbour{
		Aggressor: aggressor, Requests: int(c.sent.Load()),
		Quiet: r.Quiet, Loud: r.Loud, Ratio: r.Ratio, Low: r.Low, High: r.High, Bar: r.Bar, Rounds: r.Rounds, Lag: r.Lag,
	}
	n.Fairness, n.Orgs = fairness(wanted, goodput)
	out := export.Isolation{
		Kind: export.NoisyNeighbour, Model: c.models(), Verdict: string(r.Verdict), Reason: r.Reason, Neighbour: n,
	}
	c.w.Log.Info("tested for noisy neighbours", zap.String("verdict", out.Verdict), zap.String("reason", out.Reason))
	return out
}

// fairness is Jain's index of goodput over the fair share of it, for whoever wanted any.
func fairness(wanted, goodput map[string]float64) (index float64, orgs []export.NeighbourOrg) {
	var demands, shares []float64
	capacity := 0.0
	for org, rate := range wanted {
		orgs = append(orgs, export.NeighbourOrg{Org: org, Wanted: rate, Goodput: goodput[org]})
		capacity += goodput[org]
	}
	slices.SortFunc(orgs, func(a, b export.NeighbourOrg) int { return strings.Compare(a.Org, b.Org) })
	for _, o := range orgs {
		demands = append(demands, o.Wanted)
	}
	for i, fair := range isolation.FairShares(demands, capacity) {
		orgs[i].Fair = fair
		if fair > 0 {
			shares = append(shares, orgs[i].Goodput/fair)
		}
	}
	return isolation.Jain(shares), orgs
}

// models names what was asked.
func (c *neighbourCheck) models() string {
	var names []string
	for _, call := range c.w.job.calls() {
		if call.Model != "" && !slices.Contains(names, call.Model) {
			names = append(names, call.Model)
		}
	}
	return strings.Join(names, ", ")
}
