package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/heap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/processes"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/results"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// lostCleanup bounds the removal of the tenants of a worker that died.
const lostCleanup = 5 * time.Minute

// workers is how many processes carry the run out.
func (r *localRun) workers(s *config.Scenario) (int, error) {
	wanted := r.processes
	if r.step > 0 { // each step of a search follows from the one before
		return 1, nil
	}
	if wanted < 0 {
		return 0, fmt.Errorf("--workers must be at least 1, not %d", wanted)
	}
	if wanted == 0 {
		wanted = max(1, s.Spec.Workers.Replicas)
	}
	most, what, err := worker.MostWorkers(s)
	if err != nil || wanted <= max(1, most) {
		return wanted, err
	}
	r.say("warning: %s for %s: %s will do, since each is run by one\n",
		human.Plural(wanted, "worker"), human.Plural(most, what), human.Plural(max(1, most), "worker"))
	return max(1, most), nil
}

// startWorkers starts a process for each worker. They do nothing before they
// are run.
func (r *localRun) startWorkers(path string, s *config.Scenario, n int, embedded bool) (*processes.Crew, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it as a worker: %w", err)
	}
	var links []processes.Link
	var orders []processes.Order
	for i := range n {
		cmd := exec.Command(self, "worker") //nolint:gosec,noctx // this program; it ends in order when it is told to, or its input ends
		cmd.Args[0] = os.Args[0]
		cmd.Stderr = r.screen
		link, err := processes.Spawn(cmd)
		if err != nil {
			for _, l := range links { // they have nothing to undo
				_ = l.To.Close()
				_ = l.Wait()
			}
			return nil, fmt.Errorf("start worker %d: %w", i, err)
		}
		links = append(links, link)
		order := processes.Order{
			Name: path, Scenario: r.text, RunID: r.id, Begun: r.began, Seed: *s.Spec.Seed, Folder: r.folder, Worker: i, Workers: n, Metered: r.listen != "", Requests: r.requests,
		}
		if embedded {
			t := s.Spec.Targets
			order.Platform = &processes.Platform{RouterURL: t.APIRouterURL, UserOrgURL: t.UserOrgURL, AdminKey: t.AdminAPIKey.Reveal()}
		}
		orders = append(orders, order)
	}
	return processes.NewCrew(links, orders), nil
}

// runWorkers lets the workers carry the run out, removes what those that died
// left on the platform, and merges what the others measured. w stands for all
// of them: it has made no load.
func (r *localRun) runWorkers(ctx context.Context, s *config.Scenario, w *worker.Worker, crew *processes.Crew) (*export.Bundle, error) {
	documents, lost := crew.Run(ctx)
	whole := w.NewBundle()
	b, err := results.Merge(whole, documents, lost)
	if err != nil { // the documents are in the folder
		whole.Stop = export.Stop{Reason: "broken", Detail: err.Error()}
		b = whole
	}
	for _, l := range lost {
		r.log.Error("worker lost", zap.Int("worker", l.Worker), zap.String("reason", l.Reason))
		if c := r.cleanAfter(context.WithoutCancel(ctx), s, l.Worker); c != nil {
			b.Cleanup = results.AddCleanup(b.Cleanup, c)
		}
	}
	w.Judge(b)
	if b.Stop.Reason == "broken" {
		return b, errors.New(b.Stop.Detail)
	}
	return b, nil
}

// cleanAfter removes what a worker that died left; nil if that was nothing.
func (r *localRun) cleanAfter(ctx context.Context, s *config.Scenario, index int) *export.Cleanup {
	path := worker.LedgerPath(r.folder, index)
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	incomplete := func(err error) *export.Cleanup {
		return &export.Cleanup{Status: "incomplete", Notes: []string{fmt.Sprintf("the tenants of worker %d, which was lost, are still there: %v", index, err)}}
	}
	release, err := ledger.Claim(path)
	if err != nil {
		return incomplete(err)
	}
	defer func() { _ = release() }() // nothing was written by it
	book, err := ledger.Open(path)
	switch {
	case errors.Is(err, ledger.ErrEmpty):
		return nil
	case err != nil:
		return incomplete(err)
	}
	defer func() { _ = book.Close() }() // everything in it is synced
	if !s.Spec.Cleanup.OnCompletion {
		return &export.Cleanup{Status: "retained", Remaining: ledger.Count(book.Outstanding())}
	}
	conn, admin, err := worker.UserOrg(s)
	if err != nil {
		return incomplete(err)
	}
	tenancy, err := platform.NewTenancy(conn, admin)
	if err != nil {
		return incomplete(err)
	}
	nameCleanup(tenancy, book.Header())
	ctx, cancel := context.WithTimeout(ctx, lostCleanup)
	defer cancel()
	defer func() { _ = tenancy.Close(ctx) }() // a token more or less; it expires
	c := worker.RemoveTenants(ctx, tenancy, book, r.log)
	c.Notes = append(c.Notes, fmt.Sprintf("the tenants of worker %d were removed after it was lost", index))
	return c
}

// workerCommand is what `loadtest run --workers` starts. It is told what to do
// on its standard input; see package processes.
func workerCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Short:  "Carry out one worker's part of a run, as the process that started it says",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			child, err := processes.Attend(cmd.InOrStdin(), cmd.OutOrStdout())
			if err != nil {
				return usageError{err}
			}
			b, err := attend(cmd.Context(), version, child, cmd.ErrOrStderr())
			if err != nil {
				child.Fail(err)
				return nil
			}
			child.Finish(b)
			return nil
		},
	}
}

// attend carries out an order. Its error is why there is no document.
func attend(signalled context.Context, version string, child *processes.Child, stderr io.Writer) (*export.Bundle, error) {
	order := child.Order
	heap.Govern(order.Workers)
	scenario, sum, err := parseScenario(order.Name, order.Scenario)
	if err != nil {
		return nil, err
	}
	scenario.Spec.Seed = &order.Seed
	t := &scenario.Spec.Targets
	if p := order.Platform; p != nil {
		t.APIRouterURL, t.UserOrgURL, t.AdminAPIKey = p.RouterURL, p.UserOrgURL, secret.New(p.AdminKey)
	} else if err := administrator(t, adminFromEnv()); err != nil {
		return nil, err
	}
	file := filepath.Join(order.Folder, fmt.Sprintf("worker-%d", order.Worker))
	log, closer, err := newLog(file+".log", scenario.Spec.Advanced.Debug, order.RunID)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = closer.Close() }() // what is missing in it is in the result
	p := part{superior: child, signal: worker.ErrInterrupted, says: live.NewLog(stderr), Options: worker.Options{
		Scenario: scenario, ScenarioSHA256: sum, RunID: order.RunID, Begun: order.Begun, Folder: order.Folder, Cache: cacheFolder(),
		Worker: order.Worker, Workers: order.Workers, Embedded: order.Platform != nil,
		Metrics: order.Metered, Requests: order.Requests, Tool: tool(version), Log: log.With(zap.Int("worker", order.Worker)),
	}}
	p.made = func(w *worker.Worker) error {
		child.Offer(w.Gatherer())
		return nil
	}
	b, err := p.carryOut(signalled)
	if err != nil {
		return nil, err
	}
	if err := export.Write(file+".json", b); err != nil { // the parent gets it all the same
		log.Warn("the worker's own result is not kept", zap.Error(err))
	}
	return b, nil
}

// superior is whom a worker of several obeys: the process that started it, or the
// leader of those on other machines.
type superior interface {
	// Listen begins to hear; stop is called when the run is to end, and why.
	Listen(stop func(export.Stop))
	// Ready waits for the start; see [worker.Options.Start].
	Ready(context.Context) (at time.Time, carried stats.Totals, err error)
	// Follow tells how it goes, until it is stopped.
	Follow(snapshot func() live.Snapshot) (stop func())
}

// part is one worker's part of a run of several.
type part struct {
	superior
	worker.Options
	signal error                      // what a signal means
	says   *live.Log                  // what concerns all is said by the first worker
	made   func(*worker.Worker) error // called before it does anything; may be nil
}

// carryOut returns the document. Its error is why there is none.
func (p part) carryOut(signalled context.Context) (*export.Bundle, error) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(signalled))
	defer end(nil)
	defer context.AfterFunc(signalled, func() { end(p.signal) })()
	p.Listen(func(s export.Stop) { end(&worker.Stopped{Stop: s}) })
	ratio, _ := traceRatio(os.Getenv) // whoever started all has said what is wrong with it
	teller := &localRun{version: p.Tool.Version, id: p.RunID, screen: p.says}
	if p.Worker > 0 {
		teller.screen = live.NewLog(io.Discard)
	}
	var err error
	if p.Traces, err = teller.traces(p.Scenario, ratio); err != nil {
		return nil, err
	}
	p.TraceRatio, p.Start = ratio, p.Ready
	w, err := worker.New(ctx, p.Options)
	if err == nil && p.made != nil {
		err = p.made(w)
	}
	if err != nil {
		if p.Traces != nil {
			p.Traces.Close()
		}
		return nil, err
	}
	defer p.Follow(w.Snapshot)()
	b, _ := w.Run(ctx) // the document says what went wrong
	return b, nil
}
