//go:build unix

// Command truth measures how far this tool's numbers are from the truth: it
// runs the tool against the simulated platform, in another process, and holds
// each result against the platform's own log. Run it from the root of the
// repository:
//
//	go run ./bench/truth          # the whole matrix, a quarter of an hour
//	go run ./bench/truth -quick   # a few cells, two minutes
//
// Requests, chunks and tokens must be equal, or it fails. Latencies are the
// work of a machine that others may be using, and are printed: ours minus the
// truth, request by request, and the percentiles of both. Each end has half of
// this machine's CPUs to itself (Linux); where the generator says that it was limited, the line has an
// exclamation mark. Cells with a bar say at the end whether it was kept.
//
// Any other server that writes the same log can be tested, in one cell:
//
//	LOADTEST_ADMIN_API_KEY=… go run ./bench/truth -router URL -user-org URL -truth FILE -model NAME -users 50
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/target"
	"github.com/otherjamesbrown/ai-aas/tests/load/bench/truthlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

var (
	quick   = flag.Bool("quick", false, "a few cells only, and shorter")
	only    = flag.String("only", "", "only cells whose name contains this")
	length  = flag.Duration("duration", 10*time.Second, "how long the load of a cell lasts")
	router  = flag.String("router", "", "router of a server that runs already")
	userOrg = flag.String("user-org", "", "its User/Org API")
	truth   = flag.String("truth", "", "the log that it writes")
	model   = flag.String("model", "sim-small", "its model")
	users   = flag.Int("users", 50, "users who ask it")
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == serveArg {
		exit(serve(context.Background()))
	}
	flag.Parse()
	exit(run(context.Background()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "loadtest-truth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	bin, err := target.Build(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println(eachHead)
	var percentiles, bars []string
	var failed []error
	hold := func(c cell, folder string, s server, stop func() (time.Duration, error)) {
		o, err := c.measure(ctx, bin, folder, s, stop)
		var line, bar string
		if err == nil {
			line, bar, err = c.compare(o)
		}
		if line != "" {
			percentiles = append(percentiles, line)
		}
		if bar != "" {
			bars = append(bars, bar)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.Name, err))
		}
	}
	defer func() {
		fmt.Println(percentilesHead)
		fmt.Println(strings.Join(percentiles, "\n"))
		if len(bars) > 0 {
			fmt.Printf("\n%s\n", strings.Join(bars, "\n"))
		}
	}()
	if *router != "" {
		hold(cell{Name: "given", Users: *users, Tokens: 64, Duration: *length}, filepath.Join(dir, "given"), server{
			Router: *router, UserOrg: *userOrg, AdminKey: os.Getenv("LOADTEST_ADMIN_API_KEY"), Models: []string{*model}, Truth: *truth,
		}, nil)
		return errors.Join(failed...)
	}
	for i, c := range matrix() {
		if *quick && !c.Quick || !strings.Contains(c.Name, *only) {
			continue
		}
		folder := filepath.Join(dir, fmt.Sprintf("cell-%d", i))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		s, stop, err := c.start(ctx, folder)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		hold(c, folder, s, stop)
	}
	return errors.Join(failed...)
}

// server is a platform that is up.
type server struct {
	Router, UserOrg, AdminKey, Truth string
	Models                           []string // each gets as many requests
}

const scenario = `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: truth, testRunId: truth}
spec:
  seed: 11
  organizations: {count: 1}
  users: {perOrg: {min: %[1]d, max: %[1]d}}
  userBehavior:
    questionsPerSession: {min: 10, max: 10}
    thinkTimeSeconds: {min: 0, max: %[2]g}
    modelPreferences: [%[3]s]
    maxTokensPerRequest: %[4]d
    streamingRatio: 1
  looping: {enabled: true}
  limits: {maxConcurrentReqs: 100000}
  loadPattern:
%[5]s
  targets: {apiRouterUrl: %[6]q, userOrgUrl: %[7]q, adminApiKey: "${TRUTH_ADMIN_KEY}", tlsVerify: false, timeout: 2m}
`

// load is how the cell's load is written in a scenario. The users begin one
// after the other, since the log does not know how long connecting took.
func (c cell) load() string {
	if c.Arrivals > 0 {
		return fmt.Sprintf("    arrival: {model: open, rate: %[2]g, process: poisson}\n    phases:\n      - {name: steady, duration: %[1]s, rampStrategy: none, measure: true}", c.Duration, c.Arrivals)
	}
	return fmt.Sprintf("    phases:\n      - {name: ramp, duration: %[1]s, targetActiveUsers: %[3]d, rampStrategy: linear, measure: true}\n      - {name: steady, duration: %[2]s, targetActiveUsers: %[3]d, measure: true}",
		max(2*time.Second, c.Duration/3), c.Duration, c.Users)
}

// measure runs the tool against the server. stop, if there is one, ends the
// server, and with that its log.
func (c cell) measure(ctx context.Context, bin, dir string, s server, stop func() (time.Duration, error)) (o outcome, err error) {
	file := filepath.Join(dir, "scenario.yaml")
	models := make([]string, len(s.Models))
	for i, name := range s.Models {
		models[i] = "{model: " + name + "}"
	}
	text := fmt.Appendf(nil, scenario, c.Users, c.Think.Seconds(), strings.Join(models, ", "), c.Tokens, c.load(), s.Router, s.UserOrg)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return o, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return o, err
	}
	cmd := exec.CommandContext(ctx, bin, "run", file, "--output-dir", dir, "--log-requests") //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "TRUTH_ADMIN_KEY="+s.AdminKey)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	target.OwnPeaks()
	if err = startApart(cmd, 0); err == nil {
		err = cmd.Wait()
	}
	var platform time.Duration
	if stop != nil {
		var stopped error
		platform, stopped = stop()
		err = errors.Join(err, stopped)
	}
	if err != nil {
		return o, fmt.Errorf("%w\n%s", err, &said)
	}
	result := filepath.Join(dir, "truth")
	if o.result, err = export.Read(filepath.Join(result, "result.json")); err != nil {
		return o, err
	}
	if o.requests, err = truthlog.Requests(filepath.Join(result, "requests.jsonl")); err != nil {
		return o, err
	}
	if o.log, err = truthlog.Read(s.Truth); err != nil {
		return o, err
	}
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return o, errors.New("this system does not say what a process used")
	}
	// Before and after the load little is done.
	had := o.result.Run.Duration * time.Duration(runtime.NumCPU())
	o.busy = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + platform).Seconds() / had.Seconds()
	o.memory = used.Maxrss * 1024
	return o, nil
}

// serveArg is how this program calls itself to be the platform.
const serveArg = "serve"

// start runs the cell's platform in a process of its own. stop tells how much
// CPU time it had.
func (c cell) start(ctx context.Context, dir string) (s server, stop func() (time.Duration, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return s, nil, err
	}
	c.Truth = filepath.Join(dir, "truth.jsonl")
	order, err := json.Marshal(c)
	if err != nil {
		return s, nil, err
	}
	cmd := exec.CommandContext(ctx, self, serveArg) //nolint:gosec // ourselves
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // closing it ends the platform
	if err != nil {
		return s, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, nil, err
	}
	if err := startApart(cmd, 1); err != nil {
		return s, nil, err
	}
	stop = func() (time.Duration, error) {
		err := errors.Join(in.Close(), cmd.Wait())
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
	}
	if _, err = in.Write(append(order, '\n')); err == nil {
		err = json.NewDecoder(out).Decode(&s)
	}
	if err != nil {
		_, stopped := stop()
		return s, nil, errors.Join(err, stopped)
	}
	return s, stop, nil
}
