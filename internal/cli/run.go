package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/heap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/processes"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/tracing"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// defaultOutput is where runs are kept, a folder each.
const defaultOutput = "loadtest-results"

// The files of a run, in its folder.
const (
	resultFile = "result.json"
	reportFile = "report.html"
	logFile    = "run.log"
)

func runCommand(version string) *cobra.Command {
	r := &localRun{version: version}
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario on this machine",
		Long: `Run creates the scenario's tenants, lets their users ask questions, measures
every answer, and removes the tenants again. A scenario without targets runs
against an embedded, simulated platform.

With --workers N, or spec.workers.replicas in the scenario, N processes share
the organizations, the users and the limits, begin at one moment, and leave one
result. An organization that is too large for one of them is split.

It leaves a folder with result.json, report.html and run.log, and prints the
verdict; with --log-requests also requests.jsonl, a line of JSON for each
request. Ctrl-C ends the run in order: what was measured is kept, the tenants
are removed. A second Ctrl-C ends it at once; then loadtest cleanup --run ID
removes what is left.

What opens the platform's User/Org API comes from the scenario, or if that says
nothing, from the environment: ` + adminKeyEnv + `, or
` + adminEmailEnv + ` and ` + adminPasswordEnv + `.

With --listen, the run can be looked at over HTTP while it goes on: /healthz,
/readyz, /status as JSON, and /metrics for Prometheus. Profiles are open to this
machine alone, or to whoever has the token in ` + server.TokenEnv + `.`,
		Example: `  loadtest run configs/examples/smoke.yaml
  loadtest run configs/examples/smoke.yaml --listen :9464
  loadtest run - < scenario.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.in, r.out, r.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return r.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&r.output, "output-dir", defaultOutput, "folder in which the run gets a folder of its own")
	cmd.Flags().IntVar(&r.processes, "workers", 0, "let `N` processes make the load (default spec.workers.replicas, or else 1)")
	cmd.Flags().BoolVar(&r.requests, "log-requests", false, "also leave requests.jsonl, a line of JSON for each request: ids, outcome, moments, tokens, cost")
	r.showFlags(cmd)
	return cmd
}

// localRun is one `loadtest run`.
type localRun struct {
	version   string
	output    string
	processes int           // 0: as the scenario says
	step      time.Duration // of a search; 0: a run
	requests  bool          // each gets a line in a file
	listen    string        // an address; empty for none
	profiles  bool
	scraped   *metrics.Page // nil without listen
	in        io.Reader
	out, err  io.Writer

	text   []byte // of the scenario
	id     string
	folder string
	began  time.Time
	bucket *destination // where copies of the results go; nil if to none
	log    *zap.Logger
	closer io.Closer        // of the log
	server *server.Listener // nil if there is none
	screen *live.Log        // stderr, kept out of the live view's way
}

func (r *localRun) run(ctx context.Context, path string) error {
	heap.Govern(1)
	var err error
	if r.text, err = readScenario(r.in, path); err != nil {
		return err
	}
	scenario, sum, err := parseScenario(path, r.text)
	if err != nil {
		return err
	}
	r.screen = live.NewLog(r.err)
	for _, w := range scenario.Warnings() {
		r.say("warning: %s\n", w)
	}
	for _, u := range scenario.Unsupported() {
		r.say("warning: %s has no effect yet: %s\n", u.Path, u.Sentence)
	}
	embedded := scenario.Spec.Targets.Embedded()
	if !embedded {
		if err := administrator(&scenario.Spec.Targets, adminFromEnv()); err != nil {
			return usageError{fmt.Errorf("%s: %w", path, err)}
		}
	}
	if err := r.prepare(scenario); err != nil {
		return err
	}
	defer r.closeLog()

	if embedded {
		stop, err := r.startPlatform(scenario)
		if err != nil {
			return err
		}
		defer stop()
	}
	workers, err := r.workers(scenario)
	if err != nil {
		r.forget()
		return usageError{err}
	}
	ratio, warning := traceRatio(os.Getenv)
	if warning != "" {
		r.say("warning: %s\n", warning)
	}
	var traces *tracing.Exporter
	if workers == 1 { // else each sends its own
		if traces, err = r.traces(scenario, ratio); err != nil {
			r.forget()
			return usageError{err}
		}
	}
	w, err := worker.New(ctx, worker.Options{
		Scenario: scenario, ScenarioSHA256: sum, RunID: r.id, Begun: r.began, Folder: r.folder, Cache: cacheFolder(), Workers: workers,
		Step: r.step, Embedded: embedded, Tool: tool(r.version), Log: r.log, Metrics: r.listen != "", TraceRatio: ratio, Traces: traces, Requests: r.requests,
	})
	var crew atomic.Pointer[processes.Crew] // nil: the load is made here
	snapshot := func() live.Snapshot {
		if c := crew.Load(); c != nil {
			return c.Snapshot()
		}
		return w.Snapshot()
	}
	if err == nil {
		err = r.openBucket(ctx, scenario)
	}
	if err == nil {
		metered := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			if c := crew.Load(); c != nil {
				return c.Gather()
			}
			return w.Gatherer().Gather()
		})
		age := func() (time.Duration, bool) {
			if c := crew.Load(); c != nil {
				return c.Age()
			}
			return w.Pulse().Age()
		}
		err = r.serve(ctx, func() server.Status { return w.StatusOf(snapshot()) }, age, metered)
	}
	if err != nil {
		if traces != nil {
			traces.Close()
		}
		r.forget()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return usageError{err}
	}
	if r.server != nil {
		defer r.linger(ctx)
	}
	r.say("run %s, seed %d\n", r.id, *scenario.Spec.Seed)
	carryOut := w.Run
	if workers > 1 {
		started, err := r.startWorkers(path, scenario, workers, embedded)
		if err != nil {
			return err
		}
		crew.Store(started)
		carryOut = func(ctx context.Context) (*export.Bundle, error) { return r.runWorkers(ctx, scenario, w, started) }
	}
	bundle, runErr := r.watch(ctx, scenario, snapshot, carryOut)
	kept, end := r.keep(context.WithoutCancel(ctx), path, scenario, bundle), outcome(bundle, runErr, r.cleanupCommand(path))
	if kept == nil && end != nil && isTerminal(r.out) && isTerminal(r.err) {
		return verdictError{exitCode(end)} // the summary has just said it, on the same screen
	}
	return gravest(kept, end)
}

// linger closes the server about the run, after one more scrape of its metrics
// if somebody scraped them regularly: whoever looks learns how the run ended,
// though a signal may have ended it. The next one ends the wait.
func (r *localRun) linger(ctx context.Context) {
	defer r.server.Close() //nolint:errcheck // whoever still looked has seen it
	if r.scraped == nil {
		return
	}
	if p := r.scraped.Patience(); p > 0 {
		if ctx.Err() != nil {
			ctx = context.WithoutCancel(ctx) // the next signal ends this process
		}
		r.say("waiting for the last scrape of %s/metrics, for %v at most; Ctrl-C ends it\n", r.server.URL(), p.Round(time.Second))
		if !r.scraped.Linger(ctx) {
			r.say("warning: no scrape came: whoever scrapes %s/metrics may lack the last numbers\n", r.server.URL())
		}
	}
}

// say tells the user something, without spoiling the live view. There is
// nobody to tell if it fails.
func (r *localRun) say(format string, args ...any) { _, _ = fmt.Fprintf(r.screen, format, args...) }

// loadScenario reads the file, or standard input if it is called "-".
func loadScenario(path string, stdin io.Reader) (*config.Scenario, string, error) {
	data, err := readScenario(stdin, path)
	if err != nil {
		return nil, "", err
	}
	return parseScenario(path, data)
}

func parseScenario(path string, data []byte) (*config.Scenario, string, error) {
	name := path
	if path == "-" {
		name = "standard input"
	}
	s, err := config.Parse(name, data, os.LookupEnv)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(data)
	return s, hex.EncodeToString(sum[:]), nil
}

// administrator sees to it that something opens the User/Org API, if tenants
// are to be created: what the scenario says, else what the environment has.
func administrator(t *config.Targets, env platform.Admin) error {
	switch {
	case t.Credentials != nil, !t.AdminAPIKey.Empty(), t.AdminAPIKeyFrom != nil, t.AdminLogin != nil:
	case !env.Key.Empty():
		t.AdminAPIKey = env.Key
	case env.Email != "" && !env.Password.Empty():
		t.AdminLogin = &config.AdminLogin{Email: env.Email, Password: env.Password}
	default:
		return fmt.Errorf("nothing here opens the User/Org API, which creates the tenants: give spec.targets.adminApiKey, adminApiKeyFrom or adminLogin, or set %s, or %s and %s; a server without that API is tested with spec.targets.credentials",
			adminKeyEnv, adminEmailEnv, adminPasswordEnv)
	}
	return nil
}

// prepare settles the run's name and seed, and makes its folder and log: what
// cannot be written is found out before anything is created anywhere.
func (r *localRun) prepare(s *config.Scenario) error {
	r.id, r.began = s.Metadata.TestRunID, time.Now()
	if r.id == "" {
		r.id = NewRunID(r.began)
	}
	if s.Spec.Seed == nil {
		seed := randomSeed()
		s.Spec.Seed = &seed
	}
	r.folder = filepath.Join(r.output, r.id)
	if err := os.MkdirAll(r.output, 0o755); err != nil { //nolint:gosec // a folder of results; the files inside are 0600
		return usageError{fmt.Errorf("make the output folder: %w; choose another with --output-dir", err)}
	}
	if err := os.Mkdir(r.folder, 0o755); err != nil { //nolint:gosec // as above
		if errors.Is(err, os.ErrExist) {
			return usageError{fmt.Errorf("the folder %s exists already: a run's results are never overwritten; choose another metadata.testRunId or --output-dir", r.folder)}
		}
		return usageError{fmt.Errorf("make the run's folder: %w; choose another with --output-dir", err)}
	}
	var err error
	if r.log, r.closer, err = newLog(filepath.Join(r.folder, logFile), s.Spec.Advanced.Debug, r.id); err != nil {
		r.forget()
		return usageError{fmt.Errorf("open the log: %w; choose another folder with --output-dir", err)}
	}
	return nil
}

// forget removes the folder of a run that has not begun: the corrected
// scenario may use its name.
func (r *localRun) forget() {
	_ = os.Remove(filepath.Join(r.folder, logFile))
	_ = os.Remove(r.folder) // fails if there is more in it, as it should
}

func (r *localRun) closeLog() {
	if err := r.closer.Close(); err != nil {
		_, _ = fmt.Fprintf(r.err, "warning: the log is not complete: %v\n", err)
	}
}

// startPlatform starts the embedded platform and makes it the target.
func (r *localRun) startPlatform(s *config.Scenario) (stop func(), err error) {
	prices := worker.Prices(s)
	p, err := platformsim.New(platformsim.Options{Seed: *s.Spec.Seed, Cost: prices.Cost, Models: r.models(s)})
	if err != nil {
		return nil, fmt.Errorf("prepare the embedded platform: %w", err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		return nil, fmt.Errorf("start the embedded platform: %w", err)
	}
	s.Spec.Targets.APIRouterURL, s.Spec.Targets.UserOrgURL, s.Spec.Targets.AdminAPIKey = p.RouterURL(), p.UserOrgURL(), p.AdminKey()
	r.say("no targets in the scenario: using the embedded, simulated platform\n")
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			r.log.Warn("the embedded platform did not stop cleanly", zap.Error(err))
		}
	}, nil
}

// models are the embedded platform's own, and whatever others the scenario
// asks: a file that was written for a real platform runs without one.
func (r *localRun) models(s *config.Scenario) []platformsim.Model {
	models := platformsim.DefaultModels()
	for _, m := range s.Spec.UserBehavior.ModelPreferences {
		if slices.ContainsFunc(models, func(have platformsim.Model) bool { return have.Name == m.Model }) {
			continue
		}
		standIn := models[0]
		r.say("the embedded platform has no model %s: one like %s stands in for it\n", m.Model, standIn.Name)
		standIn.Name = m.Model
		models = append(models, standIn)
	}
	if places := s.Spec.Targets.EmbeddedPlaces; places > 0 {
		models = platformsim.WithPlaces(models, places)
	}
	return models
}

// watch carries the run out under the live view.
func (r *localRun) watch(ctx context.Context, s *config.Scenario, snapshot func() live.Snapshot,
	carryOut func(context.Context) (*export.Bundle, error),
) (*export.Bundle, error) {
	// A signal cancels ctx without saying why; the run wants to know.
	signalled := ctx
	ctx, interrupt := context.WithCancelCause(context.WithoutCancel(signalled))
	defer interrupt(nil)
	defer context.AfterFunc(signalled, func() { interrupt(worker.ErrInterrupted) })()

	viewing, stopView := context.WithCancel(context.Background())
	var view sync.WaitGroup
	// The owner waits for the view, so that it restores the terminal.
	defer view.Wait()
	defer stopView()
	keyboard, _ := r.in.(*os.File)
	pressed := 0
	view.Go(func() {
		err := crash.Guard("the live view", func() error {
			return live.Run(viewing, live.Options{
				Snapshot: snapshot,
				Interrupt: func() { // in raw mode Ctrl-C is a key and no signal
					if pressed++; pressed > 1 {
						stopView()
						return
					}
					interrupt(worker.ErrInterrupted)
				},
				Title: s.Metadata.Name, Out: r.err, In: keyboard, Color: colored(r.err), Log: r.screen,
			})
		})
		if err != nil {
			r.log.Warn("the live view failed", zap.Error(err))
		}
		if pressed > 1 {
			_, _ = fmt.Fprintf(r.err, "ended at once; remove what is left with: loadtest cleanup --run %s --output-dir %s\n", r.id, r.output)
			os.Exit(exitInterrupted)
		}
	})
	return carryOut(ctx)
}

// keep writes the result and the report and prints the summary. A disk that
// takes no more must not cost the measurements: they go to the temporary
// folder instead, and the summary is printed in any case.
func (r *localRun) keep(ctx context.Context, path string, s *config.Scenario, b *export.Bundle) error {
	var page bytes.Buffer
	drawErr := report.HTML(&page, b)
	files, err := r.write(r.folder, b, page.Bytes())
	if err != nil {
		if dir, tempErr := os.MkdirTemp("", "loadtest-"+r.id+"-"); tempErr == nil {
			more, tempErr := r.write(dir, b, page.Bytes())
			files = append(files, more...)
			if tempErr == nil {
				err = fmt.Errorf("%w; the results are in %s instead", err, dir)
			} else {
				err = fmt.Errorf("%w; nor could they be kept in %s; the summary above is all there is", err, dir)
			}
		}
	}
	lists, _ := fs.Glob(os.DirFS(r.folder), "requests*.jsonl*") // the pattern is good
	for _, name := range lists {
		files = append(files, filepath.Join(r.folder, name))
	}
	err = errors.Join(drawErr, err, r.exportTo(s, b, page.Bytes(), &files), r.upload(ctx, b, page.Bytes(), &files))
	printErr := report.Terminal(r.out, b, report.TerminalOptions{
		Width: columns(r.out), Color: colored(r.out), CostLimitMicroUSD: b.Run.CostLimitMicroUSD, Files: files,
		CleanupCommand: r.cleanupCommand(path),
	})
	if errors.Is(printErr, syscall.EPIPE) {
		printErr = nil // whoever read it has read enough
	}
	return errors.Join(printErr, err)
}

// cleanupCommand is what to type to remove what the run left.
func (r *localRun) cleanupCommand(path string) string {
	command := "loadtest cleanup --run " + r.id
	if path != "-" {
		command += " --config " + path
	}
	if r.output != defaultOutput {
		command += " --output-dir " + r.output
	}
	return command
}

// write puts both files into dir, as far as possible, and returns those that are there.
func (r *localRun) write(dir string, b *export.Bundle, page []byte) (files []string, err error) {
	result := filepath.Join(dir, resultFile)
	if err = export.Write(result, b); err == nil {
		files = append(files, result)
	}
	if len(page) > 0 {
		html := filepath.Join(dir, reportFile)
		pageErr := export.WriteFile(html, page)
		if pageErr == nil {
			files = append(files, html)
		}
		err = errors.Join(err, pageErr)
	}
	return files, err
}

// exportTo copies the files to cleanup.exportResultsTo, if that is a folder.
func (r *localRun) exportTo(s *config.Scenario, b *export.Bundle, page []byte, files *[]string) error {
	dir, isFile := strings.CutPrefix(s.Spec.Cleanup.ExportResultsTo, "file://")
	if !isFile {
		return nil
	}
	dir = r.placed(s, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user names the folder
		return fmt.Errorf("export the results: %w", err)
	}
	more, err := r.write(dir, b, page)
	*files = append(*files, more...)
	if err != nil {
		return fmt.Errorf("export the results: %w", err)
	}
	return nil
}

// placed fills in the placeholders of cleanup.exportResultsTo.
func (r *localRun) placed(s *config.Scenario, to string) string {
	return strings.NewReplacer("{testRunId}", r.id, "{name}", s.Metadata.Name,
		"{timestamp}", r.began.UTC().Format("20060102T150405Z")).Replace(to)
}

// outcome turns the verdict into the exit code. cleanup is what to type if
// tenants are left.
func outcome(b *export.Bundle, err error, cleanup string) error {
	switch b.Verdict.Status {
	case verdict.Passed:
		if b.Cleanup != nil && b.Cleanup.Status == "incomplete" {
			return fmt.Errorf("the run passed, but its clean-up is incomplete: finish it with: %s", cleanup)
		}
		return nil
	case verdict.Failed:
		return verdictError{exitThreshold}
	case verdict.Interrupted:
		return verdictError{exitInterrupted}
	default:
		if err == nil {
			err = errors.New("the run could not be carried out")
			if b.Search != nil {
				err = errors.New(b.Search.Answer())
			}
		}
		return err
	}
}

// tool describes this program.
func tool(version string) export.Tool {
	return export.Tool{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0)}
}

// colored reports whether w is a terminal that wants colours.
func colored(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// columns is the width of the terminal that w is, 0 if it is none.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 0
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                        // never fails, by its documentation
	return binary.LittleEndian.Uint64(b[:]) >> 11 // exact in JSON and in every spreadsheet
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // as above
	return hex.EncodeToString(b)
}
