//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// binary is the command under test, as make build leaves it.
const binary = "../../bin/loadtest"

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if signal.Ignored(syscall.SIGHUP) { // under nohup; what is handled here is not ignored by children
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(m.Run())
}

// build makes the binary if there is none, or one that is older than its source.
func build() error {
	stale := true
	if made, err := os.Stat(binary); err == nil {
		stale = false
		for _, dir := range []string{"../../internal", "../../cmd"} {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err == nil && !d.IsDir() && !strings.HasSuffix(path, "_test.go") && info.ModTime().After(made.ModTime()) {
					stale = true
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if !stale {
		return nil
	}
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/loadtest").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", binary, err, out)
	}
	return nil
}

// patience is how long something that must happen may take on a slow machine.
const patience = 2 * time.Minute

// until waits for a condition, looking at it often.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

// within waits as until does, so long.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-late.C:
			t.Fatalf("after %v it is still not so: %s", limit, what)
		}
	}
}

// transcript is what a process has written so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// process is a loadtest at work.
type process struct {
	t        *testing.T
	args     []string
	cmd      *exec.Cmd
	out, err transcript
	ended    chan struct{}
	flush    func() // waits until all that was written is in out; nil if it is
}

// launch starts loadtest. It does not outlive the test.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := prepare(t, env, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.start()
	return p
}

func prepare(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, args: args, cmd: exec.Command(path, args...), ended: make(chan struct{})} // #nosec G204 -- ours
	p.cmd.Env = append(os.Environ(), env...)
	return p
}

func (p *process) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has mostly ended
		<-p.ended
	})
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code, -1 after a signal that was not handled.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT) // where does it hang?
		<-p.ended
		p.t.Fatalf("loadtest %s does not end:\n%s\n%s", strings.Join(p.args, " "), &p.out, &p.err)
	}
	if p.flush != nil {
		p.flush()
	}
	for _, text := range []string{p.out.String(), p.err.String()} {
		for _, trace := range []string{"panic:", "goroutine 1 [", "fatal error:", "DATA RACE"} {
			if strings.Contains(text, trace) {
				p.t.Errorf("loadtest %s broke down:\n%s", strings.Join(p.args, " "), text)
			}
		}
	}
	return p.cmd.ProcessState.ExitCode()
}

// exits waits for the end, which must be with the code.
func (p *process) exits(code int) {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Errorf("loadtest %s exited with %d, want %d:\n%s\n%s", strings.Join(p.args, " "), got, code, &p.out, &p.err)
	}
}

// says requires texts on either output.
func (p *process) says(texts ...string) {
	p.t.Helper()
	said := strings.Join(strings.Fields(p.out.String()+"\n"+p.err.String()), " ") // whatever the lines
	for _, text := range texts {
		if !strings.Contains(said, text) {
			p.t.Errorf("loadtest %s does not say %q, but:\n%s\n%s", strings.Join(p.args, " "), text, &p.out, &p.err)
		}
	}
}

// adminKey opens every platform of these tests. No output may show it.
const adminKey = "the-administrator-of-these-tests-0123456789"

// simulated is a `loadtest platform` in a process of its own.
type simulated struct {
	*process
	router, userOrg, management string
}

// startPlatform runs the simulated platform on free ports until the test ends.
func startPlatform(t *testing.T, flags ...string) *simulated {
	t.Helper()
	p := &simulated{process: launch(t, []string{"LOADTEST_ADMIN_API_KEY=" + adminKey}, append([]string{
		"platform", "--router-addr", "127.0.0.1:0", "--user-org-addr", "127.0.0.1:0", "--management-addr", "127.0.0.1:0",
	}, flags...)...)}
	until(t, "the platform is ready", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("the platform ended: %s %s", &p.out, &p.err)
		default:
		}
		return strings.Contains(p.out.String(), "Ready")
	})
	for label, to := range map[string]*string{"router": &p.router, "user/org API": &p.userOrg, "management": &p.management} {
		match := regexp.MustCompile(`(?m)^` + label + ` +(\S+)$`).FindStringSubmatch(p.out.String())
		if match == nil {
			t.Fatalf("the platform does not say where its %s is: %s", label, &p.out)
		}
		*to = match[1]
	}
	return p
}

// manage calls the platform's management API.
func (p *simulated) manage(method, path, body string, into any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.management+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *simulated) truth() (t platformsim.Totals) {
	p.t.Helper()
	p.manage(http.MethodGet, "/truth/totals", "", &t)
	return t
}

func (p *simulated) state() (s platformsim.State) {
	p.t.Helper()
	p.manage(http.MethodGet, "/state", "", &s)
	return s
}

func (p *simulated) faults(text string) {
	p.t.Helper()
	f, err := platformsim.ParseFaults(text)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := f.MarshalJSON()
	if err != nil {
		p.t.Fatal(err)
	}
	p.manage(http.MethodPut, "/faults", string(body), nil)
}

// holdsNothing requires that no tenants are left.
func (p *simulated) holdsNothing() {
	p.t.Helper()
	if s := p.state(); s.Orgs != 0 || s.Users != 0 || s.ActiveKeys != 0 {
		p.t.Errorf("%d organizations, %d users and %d keys are left: %v", s.Orgs, s.Users, s.ActiveKeys, s.Slugs)
	}
}

// served waits until the platform has answered some requests.
func (p *simulated) served(n int64) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%d requests are served", n), func() bool { return p.truth().Requests >= n })
}

// folder is the output of a test's runs, and their scenarios.
type folder string

func newFolder(t *testing.T) folder { return folder(t.TempDir()) }

// scenario writes a scenario and returns its path. spec is what stands below
// spec, indented by two; the run has the scenario's name.
func (f folder) scenario(t *testing.T, name, spec string) string {
	t.Helper()
	path := filepath.Join(string(f), name+".yaml")
	text := "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: " + name + ", testRunId: " + name + "}\nspec:\n" +
		strings.TrimPrefix(spec, "\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a run of a scenario.
func (f folder) run(t *testing.T, name, spec string) *process {
	t.Helper()
	return launch(t, []string{"ADMIN_KEY=" + adminKey}, "run", f.scenario(t, name, spec), "--output-dir", string(f))
}

// cleanup removes what a run left.
func (f folder) cleanup(t *testing.T, name string) *process {
	t.Helper()
	return launch(t, []string{"LOADTEST_ADMIN_API_KEY=" + adminKey}, "cleanup", "--run", name, "--output-dir", string(f))
}

// document returns the result of a run, and requires that it and the report
// are whole and honest.
func (f folder) document(t *testing.T, name string) *export.Bundle {
	t.Helper()
	return document(t, filepath.Join(string(f), name))
}

var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(export.JSONSchema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("result.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("result.schema.json")
})

func document(t *testing.T, dir string) *export.Bundle {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(dir, "report.html")) // #nosec G304 -- the test's own folder
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(page), []byte("</html>")) {
		t.Fatalf("the report is not whole: %v", err)
	}
	path := filepath.Join(dir, "result.json")
	data, err := os.ReadFile(path) // #nosec G304 -- as above
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = compiled.Validate(doc)
	}
	if err != nil {
		t.Fatalf("the result does not fit its schema: %v", err)
	}
	b, err := export.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	overall := b.Summary.Overall()
	all, measured := overall.All, overall.Measured
	if all.Requests != all.Succeeded+all.Refused+all.Failed+all.Cancelled {
		t.Errorf("the outcomes do not sum to the requests: %+v", all)
	}
	if n := overall.Latency.E2E.Count(); n != measured.Succeeded {
		t.Errorf("%d latencies of %d measured successes: failures must not be among them", n, measured.Succeeded)
	}
	var errs uint64
	for _, e := range overall.Errors {
		if e.Kind == record.None || e.Example == "" {
			t.Errorf("an error without a kind or an example: %+v", e)
		}
		errs += e.Count
	}
	if errs != all.Refused+all.Failed {
		t.Errorf("%d errors by kind, but %d refused and %d failed", errs, all.Refused, all.Failed)
	}
	if temporary, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(temporary) > 0 {
		t.Errorf("temporary files are left: %v %v", temporary, err)
	}
	return b
}

// agrees holds the counts of a run that had the platform for itself against
// what the platform says it did.
func (p *simulated) agrees(b *export.Bundle) {
	p.t.Helper()
	all := b.Summary.Overall().All
	var truth platformsim.Totals
	until(p.t, "the platform has ended all requests", func() bool {
		truth = p.truth()
		return truth.Requests >= int64(all.Requests) // #nosec G115 -- a count
	})
	for _, c := range []struct {
		what       string
		ours, real int64
	}{
		{"requests", int64(all.Requests), truth.Requests},                          // #nosec G115 -- counts, as below
		{"completion tokens", int64(all.CompletionTokens), truth.CompletionTokens}, // #nosec G115
		{"prompt tokens", int64(all.PromptTokens), truth.PromptTokens},             // #nosec G115
		{"cost in micro-dollars", all.CostMicroUSD, truth.CostMicroUSD},
	} {
		if c.ours != c.real && (c.what == "requests" || all.Succeeded == all.Requests) { // usage of broken answers is not told
			p.t.Errorf("%s: %d in the result, %d in truth", c.what, c.ours, c.real)
		}
	}
}
