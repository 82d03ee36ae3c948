package worker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// finished is the last stage of a worker.
const finished = "finished"

// outside is what others see of a run while it lasts. Nil shows nothing.
type outside struct {
	metrics   *metrics.Metrics
	targets   []metrics.Target
	interval  time.Duration
	exporters []*metrics.Exporter
	server    *metrics.ServerSide
}

// lookFromOutside prepares what the scenario, or the caller, wants to be seen.
func (w *Worker) lookFromOutside() (*outside, error) {
	spec := &w.Scenario.Spec.Metrics
	if !w.Metrics && spec.PushgatewayURL == "" && spec.RemoteWriteURL == "" && spec.OTLPEndpoint == "" {
		return nil, nil
	}
	o := &outside{interval: spec.ExportInterval}
	var promises []metrics.Promise
	for _, t := range w.job.thresholds {
		if t.Latency > 0 {
			promises = append(promises, metrics.Promise{Metric: strings.ToLower(string(t.Metric)), Quantile: t.Quantile, Latency: t.Latency})
		}
	}
	var err error
	o.metrics, err = metrics.New(metrics.Options{
		RunID: w.RunID, Worker: w.Worker, Labels: spec.Labels, PerUser: spec.PerUser,
		Prices: w.job.prices, Objective: w.job.objective, Promises: promises, State: w.state,
	})
	if err != nil {
		return nil, err
	}
	o.targets, err = w.targets(spec)
	return o, err
}

func (w *Worker) targets(spec *config.Metrics) (targets []metrics.Target, err error) {
	add := func(field, address string, make func() (metrics.Target, error)) {
		if address == "" || err != nil {
			return
		}
		t, problem := make()
		if problem != nil {
			err = fmt.Errorf("spec.metrics.%s: %w", field, problem)
			return
		}
		targets = append(targets, t)
	}
	add("pushgatewayUrl", spec.PushgatewayURL, func() (metrics.Target, error) {
		return metrics.Pushgateway(spec.PushgatewayURL, w.RunID, strconv.Itoa(w.Worker), w.Scenario.Spec.Cleanup.RetainMetrics)
	})
	add("remoteWriteUrl", spec.RemoteWriteURL, func() (metrics.Target, error) { return metrics.RemoteWrite(spec.RemoteWriteURL) })
	add("otlpEndpoint", spec.OTLPEndpoint, func() (metrics.Target, error) {
		return metrics.OTLP(context.Background(), spec.OTLPEndpoint)
	})
	return targets, err
}

// Gatherer has the run's metrics; nil if Options.Metrics is false and the
// scenario pushes none.
func (w *Worker) Gatherer() prometheus.Gatherer {
	if w.outside == nil {
		return nil
	}
	return w.outside.metrics
}

// begin starts the exporters.
func (o *outside) begin(w *Worker) {
	if o == nil {
		return
	}
	o.server = o.metrics.WatchServer(w.job.router.BaseURL, o.interval)
	for _, t := range o.targets {
		o.exporters = append(o.exporters, o.metrics.Export(t, o.interval))
	}
}

// end hands over the last numbers, and warns of what could not be.
func (o *outside) end(w *Worker) {
	if o == nil {
		return
	}
	o.server.Stop()
	problems := make([]string, len(o.exporters))
	var last sync.WaitGroup
	for i, x := range o.exporters {
		last.Go(func() { problems[i] = x.Stop(context.Background()) })
	}
	last.Wait()
	for _, p := range problems {
		if p != "" {
			w.warn("%s", p)
		}
	}
	w.Log.Info("metrics handed over", zap.Int("targets", len(o.exporters)))
}

// sink is where records go, of requests before the load or in it.
func (o *outside) sink(before bool) record.Sink {
	if before {
		return o.metrics.BeforeLoad()
	}
	return o.metrics
}

// around counts what is under way.
func (o *outside) around(asker simulator.Asker) simulator.Asker {
	if o == nil {
		return asker
	}
	return simulator.AskerFunc(func(ctx context.Context, c *simulator.Call) error {
		defer o.metrics.Begin(c.Request.Model, c.Org)()
		return asker.Ask(ctx, c)
	})
}

func (o *outside) watch(tick func(simulator.Tick)) simulator.Watch {
	if o == nil {
		return simulator.Watch{Tick: tick}
	}
	return simulator.Watch{
		Tick: tick, Thought: o.metrics.Thought,
		Question: func(q questions.Question, took time.Duration) { o.metrics.Question(q.Strategy, q.Text, took) },
		Session:  func(end simulator.SessionEnd) { o.metrics.SessionEnded(string(end)) },
	}
}

// learn tells how many users there will be, and what the platform says of its
// models, if it does.
func (o *outside) learn(users int, models func() ([]platform.ModelInfo, error)) {
	if o == nil {
		return
	}
	o.metrics.Users(users)
	windows := map[string]int{}
	if listed, err := models(); err == nil {
		for _, m := range listed {
			windows[m.ID] = int(m.ContextLength)
		}
	}
	o.metrics.Windows(windows)
}

func (o *outside) bootstrapped(took time.Duration) {
	if o != nil {
		o.metrics.Bootstrapped(took)
	}
}

// salts tells of the salts that were tested, and of the leaks among the pairs.
func (o *outside) salts(tested []*saltPair, leaks []int, salt simulator.Salt) {
	if o == nil {
		return
	}
	for _, p := range tested {
		o.metrics.Salt(salt.For(p.owner), 0)
	}
	for _, i := range leaks {
		o.metrics.Salt(salt.For(tested[i].owner), 1)
	}
}

// state is what records do not tell.
func (w *Worker) state() metrics.State {
	w.mu.Lock()
	s := metrics.State{Stage: stageName(w.stage), Orgs: w.created, Elapsed: w.took, Breached: limitType(w.breached)}
	fleet, epoch, tick := w.fleet, w.epoch, w.tick
	w.mu.Unlock()
	limits := w.job.limits.Share(w.Worker, w.Workers)
	if limits.CostMicroUSD > 0 {
		used := float64(w.guard.Spent()) / float64(limits.CostMicroUSD)
		s.CostUsed = &used
	}
	if limits.HasErrorRate && limits.ErrorRate > 0 {
		used := w.guard.ErrorRate() / limits.ErrorRate
		s.ErrorRateUsed = &used
	}
	if fleet == nil {
		return s
	}
	if s.Elapsed == 0 {
		s.Elapsed, s.Active = time.Since(epoch), tick.Active
	}
	for _, p := range fleet.Phases() {
		end := p.End
		if end == 0 {
			end = s.Elapsed
		}
		s.Phases = append(s.Phases, metrics.Phase{Name: p.Name, Elapsed: end - p.Start})
	}
	return s
}

// stageName is a stage in the words of the metrics.
func stageName(stage string) string {
	switch {
	case strings.HasPrefix(stage, "creating"):
		return metrics.Bootstrap
	case strings.HasPrefix(stage, "checking"):
		return metrics.Preflight
	case stage == live.Running:
		return metrics.Running
	case strings.HasPrefix(stage, "cleaning"):
		return metrics.Cleanup
	case stage == finished:
		return metrics.Finished
	}
	return metrics.Starting
}

// limitType is a limit in the words of the metrics.
func limitType(limit string) string {
	switch limit {
	case "error rate":
		return "error_rate"
	case "request":
		return "requests"
	}
	return limit
}
