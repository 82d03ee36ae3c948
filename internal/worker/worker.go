// Package worker carries out one process's part of a run: it creates its
// tenants, lets their users loose, removes the tenants again, and returns the
// document of what was measured.
//
// Whatever goes wrong on the way, the tenants are removed and the document is
// returned with what was measured until then; its verdict says what broke.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/alarm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/requestlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/tracing"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// cleanupTime bounds the removal of tenants, which goes on after the run's
// own context has ended.
const cleanupTime = 5 * time.Minute

// Stopped is the cause with which a caller cancels the context of [Worker.Run] to
// end the run in order, and what the document then says.
type Stopped struct{ export.Stop }

// Error implements error.
func (s *Stopped) Error() string { return s.Detail }

// ErrInterrupted is that cause when a person asked to stop.
var ErrInterrupted error = &Stopped{export.Stop{Reason: "interrupted", Detail: "stopped by the user"}}

// Options say what to run and where to keep what must survive a crash.
type Options struct {
	Scenario *config.Scenario
	// ScenarioSHA256 identifies the file that the scenario was read from.
	ScenarioSHA256 string
	RunID          string
	// Folder gets the ledger of what was created.
	Folder string
	// Cache is where documents from buckets are kept for the next run; empty
	// means Folder.
	Cache string
	// Worker is this worker's index of Workers.
	Worker, Workers int
	// Attempt is which attempt at this worker's part it is, from 0.
	Attempt int
	// Begun is when the run began, for the names that tell; zero: now.
	Begun time.Time
	// Start, if not nil, is called when everything is ready for the load, and
	// returns the moment at which that is to begin, for all workers the same, and
	// what earlier attempts have used up of this worker's share. If the moment is
	// past, this worker begins at the load's present.
	Start func(context.Context) (at time.Time, carried stats.Totals, err error)
	// Retain, if not nil, is asked when the load is over whether the tenants are
	// left to another attempt.
	Retain func() bool
	// Embedded says that the target is the platform that this program brings.
	Embedded bool
	Tool     export.Tool
	Log      *zap.Logger
	// Step makes the run a search for the most load that keeps the scenario's
	// promises, in steps measured for that long; 0: the load is the scenario's.
	Step time.Duration
	// TraceRatio is the share of requests, 0 to 1, of which the platform is asked
	// to keep the trace.
	TraceRatio float64
	// Traces, unless it is nil, gets the sampled requests; Run closes it.
	Traces *tracing.Exporter
	// Metrics says that somebody will ask for the metrics, though the scenario
	// pushes them nowhere.
	Metrics bool
	// Requests says that every request gets a line in the file [RequestsPath].
	Requests bool
	// Sinks receive every record, beside the worker's own statistics.
	Sinks []record.Sink
}

// Worker is one run in the making.
type Worker struct {
	Options
	job       job
	collector *stats.Collector
	guard     *limits.Guard
	recovery  *chaos.Recovery
	spending  *spending         // nil unless a budget is tested
	tenancy   *platform.Tenancy // nil if the users bring their own keys
	alarm     *alarm.Clock      // nil before the load
	startAt   time.Time         // when the load is to begin; zero: at once
	carried   stats.Totals      // what earlier attempts have used up
	keys      *keyTest          // nil if no keys are withdrawn
	places    map[int]*place    // of the users, by UserIndex; nil as tenancy
	ledger    *ledger.Ledger    // nil as tenancy
	inFlight  atomic.Int64
	pulse     server.Pulse // of the fleet's loop
	work      work
	userLoads []userLoad           // of the fleet's goroutine, until it has ended
	observed  *health.Observations // of this process; nil before the end of the load
	outside   *outside             // nil if nobody looks
	requests  *requestlog.Log      // nil unless Options.Requests

	mu       sync.Mutex // guards what follows
	stage    string
	steps    int              // of a search
	fleet    *simulator.Fleet // nil before the load
	epoch    time.Time        // the load's beginning: the zero of every offset
	tick     simulator.Tick
	warnings []string
	said     map[string]bool
	findings []export.Finding
	created  int           // organizations
	took     time.Duration // of the load, when it is over
	breached string        // the limit that ended the run
}

// New prepares a run, for which it may have to fetch documents. It makes no call
// to the platform; its error is about the scenario or what it names.
func New(ctx context.Context, o Options) (*Worker, error) {
	w := &Worker{Options: o, stage: "starting", said: map[string]bool{}}
	var err error
	if w.job, err = translate(ctx, o, w.warnOnce); err != nil {
		return nil, err
	}
	if o.Step > 0 {
		if err := w.job.searchable(o.Step, o.Scenario.Spec.Looping.Enabled); err != nil {
			return nil, err
		}
	}
	w.collector = stats.NewCollector(w.job.objective)
	w.guard = limits.NewGuard(w.job.limits.Share(o.Worker, o.Workers))
	if o.Scenario.Spec.Isolation.Budget.Enabled {
		w.spending = &spending{accounts: map[string][]isolation.Spending{}}
	}
	w.recovery = chaos.NewRecovery(w.job.chaos.Outages)
	if w.job.createTenants {
		if w.tenancy, err = platform.NewTenancy(w.job.userOrg, w.job.admin); err != nil {
			return nil, err
		}
		w.nameTenants()
	}
	if w.outside, err = w.lookFromOutside(); err != nil {
		return nil, err
	}
	return w, nil
}

// LedgerPath is where the ledger of a run lies in its folder.
func LedgerPath(folder string, worker int) string {
	if worker == 0 {
		return filepath.Join(folder, "ledger.jsonl")
	}
	return filepath.Join(folder, fmt.Sprintf("ledger-%d.jsonl", worker))
}

// RequestsPath is where a line for each request of a worker's is, if they are
// wanted; [requestlog.Partial] is behind it if some are missing.
func RequestsPath(folder string, worker, workers int) string {
	if workers <= 1 {
		return filepath.Join(folder, "requests.jsonl")
	}
	return filepath.Join(folder, fmt.Sprintf("requests-%d.jsonl", worker))
}

// Run carries the run out and returns its document, always. The error is nil
// if the load ran to its planned end, to a limit or to an interrupt.
func (w *Worker) Run(ctx context.Context) (*export.Bundle, error) {
	b := w.NewBundle()
	w.outside.begin(w)
	w.openRequests()
	err := w.load(ctx, b)
	w.close()
	w.closeTraces()
	w.closeRequests()
	w.setStage(finished)
	w.outside.end(w)
	w.conclude(b)
	return b, err
}

// NewBundle is a document that says what is to be run, and nothing of what was.
func (w *Worker) NewBundle() *export.Bundle {
	s := w.Scenario
	return &export.Bundle{
		Schema: export.Schema, Tool: w.Tool,
		Run: export.Run{
			ID: w.RunID, Scenario: s.Metadata.Name, ScenarioSHA256: w.ScenarioSHA256, Labels: s.Metadata.Labels, Annotations: s.Metadata.Annotations, Seed: w.job.seed,
			Target:  export.Target{RouterURL: w.job.router.BaseURL, UserOrgURL: w.job.userOrg.BaseURL, Embedded: w.Embedded},
			Started: time.Now(), Worker: w.Worker, Workers: w.Workers, Attempt: w.Attempt, CostLimitMicroUSD: w.job.limits.CostMicroUSD,
		},
	}
}

// load is a run from the first call to the last: tenants, users, clean-up.
func (w *Worker) load(ctx context.Context, b *export.Bundle) error {
	tenants, err := w.tenants(ctx, b)
	if tenants != nil && tenants.ledger != nil {
		if tenants.release != nil {
			defer func() { _ = tenants.release() }() // nothing was written by it
		}
		defer w.removeTenants(context.WithoutCancel(ctx), tenants.ledger, b)
	}
	if err == nil {
		asking, end := context.WithCancel(ctx) // whoever is still at work after a crash goes home
		err = crash.Guard("this worker", func() error { return w.ask(asking, tenants, b) })
		end()
	}
	// Whatever happens during the clean-up, it did not stop the load.
	var stopped *Stopped
	switch {
	case err == nil:
	case errors.As(context.Cause(ctx), &stopped):
		b.Stop = stopped.Stop
	default:
		b.Stop = export.Stop{Reason: "broken", Detail: err.Error()}
		w.Log.Error("the run could not be carried out", zap.Error(err))
		logCrash(w.Log, err)
	}
	return err
}

// logCrash logs where the fault of this tool is, if err tells of one.
func logCrash(log *zap.Logger, err error) {
	if crashed := (*crash.Error)(nil); errors.As(err, &crashed) {
		log.Error(crashed.Error(), zap.ByteString("stack", crashed.Stack))
	}
}

// ask checks the target and then makes the load.
func (w *Worker) ask(ctx context.Context, tenants *tenants, b *export.Bundle) error {
	if len(tenants.users) == 0 && sum(w.job.population(w.Workers)) > 0 {
		b.Stop = export.Stop{Reason: "completed", Detail: "this worker has no users"}
		return nil
	}
	w.setStage("checking the target")
	if err := w.preflight(ctx, tenants.users); err != nil {
		return w.beforeLoad(err, b)
	}
	if w.job.dryRun {
		if err := w.awaitStart(ctx); err != nil {
			return err
		}
		b.Stop = export.Stop{Reason: "completed", Detail: "dry run: the tenants were created and a request was sent to each model"}
		return nil
	}
	if w.Step > 0 {
		return w.search(ctx, tenants.users, b) // which makes no tests of isolation
	}
	if w.Scenario.Spec.CacheSalt.Validation.Enabled {
		if err := w.checkSalts(ctx, tenants.users, b); err != nil {
			return w.beforeLoad(err, b)
		}
	}
	if w.Scenario.Spec.Isolation.NoisyNeighbour.Enabled {
		if err := w.checkNeighbour(ctx, tenants.users, b); err != nil {
			return w.beforeLoad(err, b)
		}
	}
	if w.Scenario.Spec.Isolation.RateLimit.Enabled {
		if err := w.checkRateLimit(ctx, tenants.users, b); err != nil {
			return w.beforeLoad(err, b)
		}
	}
	if err := w.awaitStart(ctx); err != nil {
		return err
	}
	return w.runLoad(ctx, tenants.users, b)
}

// awaitStart waits until the other workers are ready too, and learns when all begin.
func (w *Worker) awaitStart(ctx context.Context) (err error) {
	if w.Start == nil {
		return nil
	}
	w.setStage(live.Waiting)
	w.startAt, w.carried, err = w.Start(ctx)
	return err
}

// beforeLoad notes a limit that ended the run before the load, and returns
// any other error.
func (w *Worker) beforeLoad(err error, b *export.Bundle) error {
	stopped := w.limitStop(err)
	if stopped.Reason == "" {
		return err
	}
	b.Stop = stopped
	w.Log.Info("no load was made", zap.String("reason", stopped.Reason), zap.String("detail", stopped.Detail))
	return nil
}

// conclude fills in what follows from everything before.
func (w *Worker) conclude(b *export.Bundle) {
	b.Summary = w.collector.Summary()
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
	b.Headline.Arrivals, b.Headline.Users = export.MeasuredArrivals(b.Phases), w.delivered(b.Phases)
	w.judgeGenerator(b)
	if detail := unenforced(b.Orgs, b.Summary.Rollup(stats.ByOrg)); detail != "" {
		w.find(overBudget, "%s", detail)
	}
	for _, i := range b.Isolation { // so that nobody takes a run that passed for one that cleared the platform
		if i.Verdict == string(isolation.Undecided) {
			w.warn("%s on %s is undecided: %s", i.Kind, cmp.Or(i.Model, i.Org), i.Reason)
		}
	}
	w.mu.Lock()
	b.Warnings = append(b.Warnings, w.warnings...)
	b.Findings = append(b.Findings, w.findings...)
	w.mu.Unlock()
	w.Judge(b)
	w.setStage("finished")
}

// Judge gives a document, of this worker or merged from those of all, its verdict.
func (w *Worker) Judge(b *export.Bundle) { w.job.judge(b, w.Step > 0) }

// Judge gives a document that was merged from those of all workers its verdict,
// by what the scenario says that the platform promised.
func Judge(s *config.Scenario, b *export.Bundle) {
	j := job{dryRun: s.Spec.Advanced.DryRun}
	j.judgement(&s.Spec)
	j.judge(b, false)
}

func (j *job) judge(b *export.Bundle, search bool) {
	// One that several workers had the users of may have kept to its budget with each.
	said := slices.ContainsFunc(b.Findings, func(f export.Finding) bool { return f.Title == overBudget })
	if detail := unenforced(b.Orgs, b.Summary.Rollup(stats.ByOrg)); detail != "" && !said {
		b.Findings = append(b.Findings, export.Finding{Title: overBudget, Detail: detail})
	}
	in := verdict.Input{Overall: b.Summary.Overall(), Streams: &stats.Group{}, Thresholds: j.thresholds, DryRun: j.dryRun}
	for _, g := range b.Summary.Rollup(stats.ByStream) {
		if g.Key.Stream {
			in.Streams = g
		}
	}
	if sum := export.SumArrivals(b.Phases); sum != nil {
		in.Arrivals, in.Dropped = sum.Intended, sum.Dropped
	}
	for _, i := range b.Isolation {
		if isolation.Verdict(i.Verdict).Bad() {
			in.Leaks = append(in.Leaks, fmt.Sprintf("%s: %s on %s: %s", i.Kind, strings.ToUpper(i.Verdict), cmp.Or(i.Model, i.Org), i.Reason))
		}
	}
	for _, k := range b.KeyLifecycle {
		if isolation.Verdict(k.Verdict).Bad() {
			in.Leaks = append(in.Leaks, fmt.Sprintf("key lifecycle: keys OUTLIVE %s: %s", outlived[k.Action], k.Reason))
		}
	}
	if b.Generator != nil {
		in.Generator = b.Generator.Reasons
	}
	_, in.Missing = b.Run.Losses()
	switch b.Stop.Reason {
	case "limit":
		in.Stopped = b.Stop.Detail
	case "interrupted":
		in.Interrupted = true
	case "broken":
		in.Broken = b.Stop.Detail
	}
	if search {
		in.Thresholds, in.Arrivals, in.Dropped = nil, 0, 0 // each step was judged by them
	}
	b.Verdict = verdict.Judge(in)
	if b.Search != nil {
		judgeSearch(b.Search, &b.Verdict)
	}
}

func (w *Worker) warn(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	w.warnings = append(w.warnings, text)
	w.Log.Warn("warning about the run", zap.String("text", text))
}

// warnOnce warns the first time that it is called with a topic.
func (w *Worker) warnOnce(topic, text string) {
	w.mu.Lock()
	said := w.said[topic]
	w.said[topic] = true
	w.mu.Unlock()
	if !said {
		w.warn("%s", text)
	}
}

func (w *Worker) find(title, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := export.Finding{Title: title, Detail: fmt.Sprintf(format, args...)}
	w.findings = append(w.findings, f)
	w.Log.Warn("finding about the platform", zap.String("title", f.Title), zap.String("detail", f.Detail))
}

func (w *Worker) close() {
	if w.tenancy != nil {
		for _, note := range w.tenancy.Notes() {
			w.find("the User/Org API is not as documented", "%s", note)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.tenancy.Close(ctx); err != nil {
			w.Log.Warn("logging out failed", zap.Error(err))
		}
	}
}
