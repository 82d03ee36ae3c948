package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zapio"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/heap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

const (
	indexEnv   = "JOB_COMPLETION_INDEX" // of the pod, as the Job controller says it
	attemptEnv = "LOADTEST_ATTEMPT"     // how many pods had that index before

	secretsFolder = "/etc/loadtest/secret" //nolint:gosec // where they are mounted

	// leaving is what a pod that is taken away may take for everything, within
	// the grace period that its Job gives it.
	leaving = 50 * time.Second
	// handover is how long the leader may need to take a document, before the
	// worker keeps it itself.
	handover = 30 * time.Second
	// progress is how often the log says how it goes.
	progress = 10 * time.Second
	// look is how often somebody who waits looks again.
	look = 200 * time.Millisecond
)

// exitTakenAway is the exit code of a pod that was taken away, as of a process
// that SIGTERM ended.
const exitTakenAway = 143

// pod is a worker in a pod, or wherever its environment says which one it is.
type pod struct {
	version, config, run, leader, listen, output, secrets string
	seed                                                  uint64
	workers                                               int
	started                                               moment
	onLate, onLoss                                        policy
	startTimeout, hold                                    time.Duration

	index, attempt int
	scenario       *config.Scenario
	log            *zap.Logger
	shelf          *rendezvous.Shelf
	led            *rendezvous.Leader // nil: another worker leads
	member         *rendezvous.Member
	server         *server.Listener
	scraped        *metrics.Page // nil before it is served
	token          secret.String
	bucket         *destination // nil: the document goes to the leader

	mu   sync.Mutex
	stop func(export.Stop) // of the load; nil before it is begun
}

// moment is a flag.
type moment struct{ time.Time }

// Set implements [pflag.Value].
func (m *moment) Set(s string) (err error) {
	m.Time, err = time.Parse(time.RFC3339Nano, s)
	return err
}

func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339Nano)
}

// Type implements [pflag.Value].
func (m *moment) Type() string { return "TIME" }

// policy is a flag that is one of a few words.
type policy struct {
	is    string
	oneOf []string
}

// Set implements [pflag.Value].
func (p *policy) Set(s string) error {
	for _, one := range p.oneOf {
		if s == one {
			p.is = s
			return nil
		}
	}
	return fmt.Errorf("say one of %s", strings.Join(p.oneOf, ", "))
}

func (p *policy) String() string { return p.is }

// Type implements [pflag.Value].
func (p *policy) Type() string { return strings.Join(p.oneOf, "|") }

func podCommand(version string) *cobra.Command {
	p := &pod{
		version: version,
		onLate:  policy{is: "fail", oneOf: []string{"fail", "continue"}},
		onLoss:  policy{is: "replace", oneOf: []string{"fail", "continue", "replace"}},
	}
	cmd := &cobra.Command{
		Use:   "pod",
		Short: "Carry out one worker's part of a run in a cluster, as loadtest start says",
		Long: `Pod is what loadtest start lets the pods of a run do. The index of the worker
comes from ` + indexEnv + `, the number of the attempt from ` + attemptEnv + `.
Worker 0 leads. See docs/load-testing/orchestrator-design.md.`,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.main(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.config, "config", "", "the scenario, a `FILE`")
	f.StringVar(&p.run, "run", "", "`ID` of the run")
	f.Uint64Var(&p.seed, "seed", 0, "the run's seed")
	f.Var(&p.started, "started", "when the run began, for names with {timestamp}")
	f.IntVar(&p.workers, "workers", 1, "how many workers there are")
	f.StringVar(&p.leader, "leader", "", "`URL` of worker 0")
	f.StringVar(&p.listen, "listen", ":8080", "`ADDRESS` to answer at")
	f.StringVar(&p.output, "output-dir", "/work", "`FOLDER` for the ledger")
	f.StringVar(&p.secrets, "secrets", secretsFolder, "`FOLDER` of secrets, a file each")
	f.Var(&p.onLate, "on-late-worker", "what to do when the time to get ready is over")
	f.Var(&p.onLoss, "on-worker-loss", "what becomes of a worker's part whose pod is lost")
	f.DurationVar(&p.startTimeout, "start-timeout", 5*time.Minute, "how long after the first worker the last one may be ready")
	f.DurationVar(&p.hold, "hold", time.Hour, "how long to keep documents that nobody collects")
	for _, name := range []string{"config", "run", "seed", "started", "workers"} {
		_ = cmd.MarkFlagRequired(name) // it exists
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return usageError{err}
		}
		return nil
	}
	return cmd
}

// main carries the part out and says in the log why, if it could not.
func (p *pod) main(ctx context.Context, out io.Writer) error {
	heap.Govern(1)
	p.log = logTo(zapcore.Lock(zapcore.AddSync(out)), false, p.run)
	err := p.work(ctx)
	if ctx.Err() != nil && !errors.As(err, &usageError{}) {
		p.log.Info("ends, since its pod is taken away", zap.Error(err))
		err = verdictError{exitTakenAway}
	}
	var silent verdictError
	if err != nil && !errors.As(err, &silent) {
		p.log.Error("the worker could not do its part", zap.Error(err))
		err = verdictError{exitCode(err)}
	}
	_ = p.log.Sync() // whoever does not read it any more has read enough
	return err
}

// prepare reads everything that says what to do. Its errors are about that.
func (p *pod) prepare() (sum string, err error) {
	if p.index, err = number(indexEnv, "0"); err != nil {
		return "", err
	}
	if p.attempt, err = number(attemptEnv, "0"); err != nil {
		return "", err
	}
	switch {
	case p.workers < 1 || p.index >= p.workers:
		return "", fmt.Errorf("%s is %d, of %d workers", indexEnv, p.index, p.workers)
	case p.index > 0 && p.leader == "":
		return "", errors.New("--leader must say where worker 0 is")
	}
	p.log = p.log.With(zap.Int("worker", p.index), zap.Int("attempt", p.attempt))
	if p.scenario, sum, err = planned(p.config, p.secrets, p.seed); err != nil {
		return "", err
	}
	if p.token, err = secretFile(p.secrets, "token"); err == nil && p.token.Empty() {
		err = fmt.Errorf("the run's token is not in %s", filepath.Join(p.secrets, "token"))
	}
	if err != nil {
		return "", err
	}
	p.bucket, err = (&localRun{id: p.run, began: p.started.Time}).destination(p.scenario)
	return sum, err
}

// planned reads the scenario of a run whose secrets are files.
func planned(path, secrets string, seed uint64) (*config.Scenario, string, error) {
	variables, err := os.ReadDir(filepath.Join(secrets, "env"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("read the environment: %w", err)
	}
	for _, v := range variables {
		if strings.HasPrefix(v.Name(), ".") { // where a volume keeps what the names point to
			continue
		}
		value, err := os.ReadFile(filepath.Join(secrets, "env", v.Name())) //nolint:gosec // the run's own secrets
		if err == nil {
			err = os.Setenv(v.Name(), string(value))
		}
		if err != nil {
			return nil, "", fmt.Errorf("read the environment: %w", err)
		}
	}
	s, sum, err := loadScenario(path, nil)
	if err != nil {
		return nil, "", err
	}
	s.Spec.Seed = &seed
	t := &s.Spec.Targets
	if t.Embedded() {
		return nil, "", fmt.Errorf("%s has no targets: the embedded platform is for runs on one machine", path)
	}
	env := adminFromEnv()
	for _, from := range []struct {
		file string
		into func(secret.String)
	}{
		{"admin-api-key", func(v secret.String) { env.Key = v }},
		{"admin-email", func(v secret.String) { env.Email = v.Reveal() }},
		{"admin-password", func(v secret.String) { env.Password = v }},
	} {
		v, err := secretFile(secrets, from.file)
		if err != nil {
			return nil, "", err
		}
		if !v.Empty() { // it goes before what the scenario says
			from.into(v)
			t.AdminAPIKey, t.AdminAPIKeyFrom, t.AdminLogin = secret.String{}, nil, nil
		}
	}
	return s, sum, administrator(t, env)
}

// secretFile is a secret by its name, empty if there is none.
func secretFile(folder, name string) (secret.String, error) {
	data, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // the run's own secrets
	if errors.Is(err, os.ErrNotExist) {
		return secret.String{}, nil
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("read a secret: %w", err)
	}
	return secret.New(string(bytes.TrimSpace(data))), nil
}

func number(variable, otherwise string) (int, error) {
	text := os.Getenv(variable)
	if text == "" {
		text = otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, and should be a number", variable, text)
	}
	return n, nil
}

// work does this worker's part, and returns when its document is in safe hands.
func (p *pod) work(signalled context.Context) error {
	sum, err := p.prepare()
	if err != nil {
		return usageError{err}
	}
	// What comes after the load has a time of its own: less, once the pod is
	// to go.
	ctx, end := context.WithCancel(context.WithoutCancel(signalled))
	defer end()
	defer context.AfterFunc(signalled, func() { time.AfterFunc(leaving, end) })()

	p.shelf = rendezvous.NewShelf()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("learn the name of this pod: %w", err)
	}
	place := rendezvous.Membership{Worker: p.index, Attempt: p.attempt, Host: host, URL: p.leader, Token: p.token, Patience: p.startTimeout}
	if p.index == 0 {
		p.led = rendezvous.NewLeader(rendezvous.Rules{
			Workers: p.workers, Patience: p.startTimeout, GoOn: p.onLate.is == "continue", Again: p.attempt > 0, Limits: worker.Limits(p.scenario),
		}, p.shelf)
		place.Leader = p.led
	}
	p.member = rendezvous.Join(place)
	defer func() {
		if p.server != nil {
			_ = p.server.Close() // whoever still asks has been answered
		}
	}()
	taken := &worker.Stopped{Stop: export.Stop{Reason: "interrupted", Detail: export.TakenAway}}
	b, err := part{
		superior: p, signal: taken, says: live.NewLog(&zapio.Writer{Log: p.log, Level: zap.InfoLevel}), made: func(w *worker.Worker) error { return p.serve(signalled, w) },
		Options: worker.Options{
			Scenario: p.scenario, ScenarioSHA256: sum, RunID: p.run, Begun: p.started.Time, Folder: p.output, Cache: p.output,
			Worker: p.index, Workers: p.workers, Attempt: p.attempt, Tool: tool(p.version), Log: p.log, Metrics: true,
			Retain: func() bool { return signalled.Err() != nil && p.onLoss.is == "replace" },
		},
	}.carryOut(signalled)
	if err != nil { // about the scenario, or what it names
		if signalled.Err() == nil {
			p.member.Fail(err.Error())
		}
		p.member.Leave(ctx, true)
		if errors.Is(err, blob.ErrAway) || signalled.Err() != nil {
			return err
		}
		return usageError{err}
	}
	p.member.Sign(b)
	p.log.Info("done", zap.String("stopped", b.Stop.Reason), zap.String("detail", b.Stop.Detail), zap.Uint64("requests", b.Headline.Requests))
	if b.Stop.Reason == "broken" && len(b.Phases) == 0 {
		p.member.Fail(b.Stop.Detail)
	}
	if err := p.handOver(ctx, b); err != nil {
		return err
	}
	p.member.Leave(ctx, signalled.Err() == nil || p.onLoss.is != "replace")
	return p.linger(ctx, signalled)
}

// Listen implements superior.
func (p *pod) Listen(stop func(export.Stop)) {
	p.mu.Lock()
	p.stop = stop
	p.mu.Unlock()
	p.member.Listen(stop)
}

// Ready implements superior.
func (p *pod) Ready(ctx context.Context) (at time.Time, carried stats.Totals, err error) {
	return p.member.Ready(ctx)
}

// Follow implements superior; the log follows, too.
func (p *pod) Follow(snapshot func() live.Snapshot) (stop func()) {
	unfollow := p.member.Follow(snapshot)
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		tick := time.NewTicker(progress)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s := snapshot()
				p.log.Info("progress", zap.String("stage", s.Stage), zap.String("phase", s.Phase), zap.Int("users", s.Users),
					zap.Uint64("requests", s.Totals.Requests), zap.Float64("errorRate", s.Totals.ErrorRate()))
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		following.Wait()
		unfollow()
	}
}

// serve lets others look at the run, and the workers meet.
func (p *pod) serve(ctx context.Context, w *worker.Worker) error {
	desk := rendezvous.Desk{Token: p.token, Shelf: p.shelf, Leader: p.led, Stop: func(reason string) {
		p.log.Info("somebody asks to stop", zap.String("reason", reason))
		if p.led != nil {
			p.led.Stop(reason)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stop(export.Stop{Reason: "interrupted", Detail: reason})
	}}
	pages := server.New(server.Options{Status: w.Status, Age: w.Pulse().Age})
	meet := desk.Handler()
	for _, pattern := range desk.Patterns() {
		pages.Handle(pattern, meet)
	}
	if g := w.Gatherer(); g != nil {
		p.scraped = metrics.NewPage(g)
		pages.Handle("GET /metrics", p.scraped)
	}
	var err error
	p.server, err = server.Start(ctx, p.listen, pages)
	if err == nil {
		p.log.Info("listening", zap.String("url", p.server.URL()), zap.Bool("leads", p.led != nil))
	}
	return err
}

// handOver puts the document where it is safe, or will be: into the bucket, with
// the leader, or, if neither can be had, on this worker's own shelf.
func (p *pod) handOver(ctx context.Context, b *export.Bundle) error {
	data, err := export.Encode(b)
	if err != nil {
		return err
	}
	name := rendezvous.DocumentName(p.index, p.attempt)
	if p.bucket != nil {
		err := p.upload(ctx, "workers/"+name+".json", data)
		if err == nil {
			return nil
		}
		p.log.Warn("the document did not get into the bucket: the leader gets it", zap.Error(err))
	}
	soon, cancel := context.WithTimeout(ctx, handover)
	defer cancel()
	if err := p.member.Deliver(soon, data); err != nil {
		p.log.Warn("the leader did not take the document: it is kept here", zap.Error(err))
		p.shelf.Put(name, data)
	}
	return nil
}

// upload puts a file into the bucket and reads it back.
func (p *pod) upload(ctx context.Context, file string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, p.hold)
	defer cancel()
	for n := 1; ; n++ {
		key := p.bucket.folder + file
		err := p.bucket.Put(ctx, key, "application/json", data)
		if err == nil {
			var back []byte
			back, err = p.bucket.Get(ctx, blob.Object{Key: key, Size: int64(len(data))})
			if err == nil && !bytes.Equal(back, data) {
				err = fmt.Errorf("%s is not what was put there: %w", p.bucket.url(file), blob.ErrAway)
			}
		}
		if err == nil {
			p.log.Info("the document is in the bucket", zap.String("url", p.bucket.url(file)))
			return nil
		}
		if !errors.Is(err, blob.ErrAway) || n == uploads {
			return err
		}
		p.log.Warn("the bucket does not take the document yet", zap.Error(err))
		wait := time.NewTimer(time.Duration(n) * time.Second)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

// uploads is how often a document is sent to the bucket, beside what the client repeats.
const uploads = 5

// linger waits for one more scrape, if there were any, and until everything on
// the shelf is collected and, if this worker leads, nobody asks any more.
func (p *pod) linger(ctx, signalled context.Context) error {
	if p.scraped != nil && !p.scraped.Linger(signalled) && p.scraped.Patience() > 0 {
		p.log.Info("no last scrape came: whoever scrapes may lack the last numbers")
	}
	ctx, cancel := context.WithTimeout(ctx, p.hold)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		waiting := p.shelf.Waiting()
		if len(waiting) == 0 && (p.led == nil || signalled.Err() != nil || p.led.Over(p.index)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if len(waiting) == 0 {
				return nil
			}
			return fmt.Errorf("nobody collected the documents %s", strings.Join(waiting, ", "))
		}
	}
}
