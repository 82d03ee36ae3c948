//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// targets is the part of a scenario that names a platform.
func (p *simulated) targets() string {
	return fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: \"${ADMIN_KEY}\", timeout: 10s}\n", p.router, p.userOrg)
}

// fifty are fifty users in five organizations, who ask short questions.
const fifty = `
  organizations: {count: 5}
  users: {perOrg: {min: 10, max: 10}}
  userBehavior:
    questionsPerSession: {min: 5, max: 10}
    thinkTimeSeconds: {min: 0.05, max: 0.4}
    modelPreferences: [{model: sim-small, weight: 3}, {model: sim-medium}]
    maxTokensPerRequest: 24
    streamingRatio: 0.5
    conversationStyle: {multiTurnProbability: 0.3}
  looping: {enabled: true}
`

// TestFiftyUsers is the bar: fifty users against a platform in another
// process, few errors, the platform's own numbers, and nothing left behind.
func TestFiftyUsers(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "5"), newFolder(t)
	run := out.run(t, "fifty", p.targets()+fifty+`
  loadPattern:
    phases:
      - {name: ramp, duration: 3s, targetActiveUsers: 50, rampStrategy: linear}
      - {name: steady, duration: 9s, targetActiveUsers: 50}
  slo: {errorRate: 5%}
`)
	run.exits(0)
	b := out.document(t, "fifty")
	if b.Verdict.Status != verdict.Passed || b.Headline.ErrorRate >= 0.05 || b.Headline.MaxUsers != 50 || b.Summary.Overall().All.Streams == 0 {
		t.Errorf("verdict %+v, headline %+v", b.Verdict, b.Headline)
	}
	p.agrees(b)
	p.holdsNothing()
}

const endless = "  loadPattern: {type: steady, phases: [{name: endless, duration: 10m}]}\n"

// TestStoppedMidway ends runs in every way that there is.
func TestStoppedMidway(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "5"), newFolder(t)
	spec := p.targets() + fifty + endless
	midway := func(t *testing.T, name string) *process {
		t.Helper()
		p.manage(http.MethodDelete, "/truth", "", nil)
		run := out.run(t, name, spec)
		p.served(100)
		return run
	}
	kept := func(t *testing.T, name string) {
		t.Helper()
		b := out.document(t, name)
		if b.Stop.Reason != "interrupted" || b.Verdict.Status != verdict.Interrupted || b.Headline.Requests < 100 || b.Cleanup.DeletedOrgs != 5 {
			t.Errorf("%+v, %+v, %d requests, %+v", b.Stop, b.Verdict, b.Headline.Requests, b.Cleanup)
		}
		p.holdsNothing()
	}

	for name, signal := range map[string]syscall.Signal{"term": syscall.SIGTERM, "int": syscall.SIGINT, "hup": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			run := midway(t, name)
			run.signal(signal)
			run.exits(130)
			run.says("■ INTERRUPTED", "5 orgs, 50 users, 50 keys deleted")
			kept(t, name)
			again := out.cleanup(t, name)
			again.exits(0)
			again.says("left nothing behind")
		})
	}

	t.Run("kill", func(t *testing.T) {
		run := midway(t, "kill")
		early := out.cleanup(t, "kill")
		early.exits(2)
		early.says(fmt.Sprintf("started as process %d", run.cmd.Process.Pid))
		run.signal(syscall.SIGKILL)
		run.exits(-1)
		if s := p.state(); s.Orgs != 5 || s.Users != 50 || s.ActiveKeys != 50 {
			t.Errorf("the killed run left %d organizations, %d users and %d keys", s.Orgs, s.Users, s.ActiveKeys)
		}
		first := out.cleanup(t, "kill")
		first.exits(0)
		first.says("removed 5 organizations, 50 users and 50 keys")
		p.holdsNothing()
		again := out.cleanup(t, "kill")
		again.exits(0)
		again.says("left nothing behind")
	})

	t.Run("killed while creating", func(t *testing.T) {
		run := out.run(t, "creating", p.targets()+`
  organizations: {count: 200}
  users: {perOrg: {min: 5, max: 5}}
`)
		until(t, "some tenants are there", func() bool { return p.state().Users > 20 })
		run.signal(syscall.SIGKILL)
		run.exits(-1)
		out.cleanup(t, "creating").exits(0)
		p.holdsNothing()
	})

	// What the load itself creates goes as the tenants do.
	managing := p.targets() + `
  organizations: {count: 2}
  users: {perOrg: {min: 4, max: 4}}
  userBehavior: {thinkTimeSeconds: {min: 0.001, max: 0.005}}
  testTypes:
    - {name: orgs, endpoint: org-create}
    - {name: invites, endpoint: user-invite}
    - {name: keys, endpoint: key-issue}
    - {name: rotations, endpoint: key-rotate}
    - {name: suspensions, endpoint: user-suspend}
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: 1h}]}
`
	busy := func() bool {
		s := p.state()
		return s.Orgs > 30 && s.Users > 40 && s.ActiveKeys > 40
	}
	t.Run("killed while managing", func(t *testing.T) {
		run := out.run(t, "managing", managing)
		until(t, "the load has created things", busy)
		run.signal(syscall.SIGKILL)
		run.exits(-1)
		out.cleanup(t, "managing").exits(0)
		p.holdsNothing()
	})
	t.Run("terminated while managing", func(t *testing.T) {
		run := out.run(t, "managing-2", managing)
		until(t, "the load has created things", busy)
		run.signal(syscall.SIGTERM)
		run.exits(130)
		if b := out.document(t, "managing-2"); b.Cleanup.Status != "done" || b.Cleanup.DeletedOrgs < 30 || b.Cleanup.Remaining != 0 {
			t.Errorf("%+v", b.Cleanup)
		}
		p.holdsNothing()
	})

	t.Run("interrupted while creating", func(t *testing.T) {
		run := out.run(t, "early", p.targets()+`
  organizations: {count: 500}
  users: {perOrg: {min: 5, max: 5}}
`)
		until(t, "some tenants are there", func() bool { return p.state().Users > 20 })
		run.signal(syscall.SIGTERM)
		run.exits(130)
		if b := out.document(t, "early"); b.Verdict.Status != verdict.Interrupted || b.Headline.Requests != 0 {
			t.Errorf("%+v, %d requests", b.Verdict, b.Headline.Requests)
		}
		p.holdsNothing()
	})

	t.Run("Ctrl-C", func(t *testing.T) {
		p.manage(http.MethodDelete, "/truth", "", nil)
		run, screen := onTerminal(t, out, "ctrl-c", spec)
		p.served(100)
		screen.press(t, 0x03)
		run.exits(130)
		screen.isAsBefore(t, run)
		run.says("INTERRUPTED", "5 orgs, 50 users, 50 keys deleted")
		kept(t, "ctrl-c")
	})

	t.Run("SIGTERM on a terminal", func(t *testing.T) {
		p.manage(http.MethodDelete, "/truth", "", nil)
		run, screen := onTerminal(t, out, "term-on-terminal", spec)
		p.served(100)
		run.signal(syscall.SIGTERM)
		run.exits(130)
		screen.isAsBefore(t, run)
		kept(t, "term-on-terminal")
	})

	// The one for those who cannot wait: the first Ctrl-C hangs in a clean-up
	// of a service that is down, the second one ends it.
	t.Run("Ctrl-C twice", func(t *testing.T) {
		p.manage(http.MethodDelete, "/truth", "", nil)
		run, screen := onTerminal(t, out, "twice", spec)
		p.served(100)
		p.manage(http.MethodPut, "/outages", `{"userOrg":true}`, nil)
		screen.press(t, 0x03)
		until(t, "it cleans up", func() bool { return strings.Contains(run.out.String(), "cleaning up") })
		screen.press(t, 0x03)
		run.exits(130)
		screen.isAsBefore(t, run)
		run.says("ended at once; remove what is left with: loadtest cleanup --run twice")
		p.manage(http.MethodPut, "/outages", `{}`, nil)
		out.cleanup(t, "twice").exits(0)
		p.holdsNothing()
	})
}

// screen is the terminal that a process runs on.
type screen struct {
	master, slave *os.File
	before        *term.State
}

// onTerminal starts a run on a terminal of its own.
func onTerminal(t *testing.T, out folder, name, spec string) (*process, *screen) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = slave.Close(), master.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	s := &screen{master: master, slave: slave}
	if s.before, err = term.GetState(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	p := prepare(t, []string{"ADMIN_KEY=" + adminKey, "TERM=xterm-256color"}, "run", out.scenario(t, name, spec), "--output-dir", string(out))
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go func() { _, _ = io.Copy(&p.out, master) }() // until master is closed
	p.flush = func() {
		const mark = "\x00the end\x00"
		if _, err := io.WriteString(slave, mark); err != nil {
			t.Fatal(err)
		}
		until(t, "the screen has caught up", func() bool { return strings.Contains(p.out.String(), mark) })
	}
	p.start()
	until(t, "the live view is there", func() bool { return strings.Contains(p.out.String(), "Ctrl-C stops the run and cleans up") })
	return p, s
}

func (s *screen) press(t *testing.T, key byte) {
	t.Helper()
	if _, err := s.master.Write([]byte{key}); err != nil {
		t.Fatal(err)
	}
}

// isAsBefore requires the terminal to be as it was found before the process
// that has ended.
func (s *screen) isAsBefore(t *testing.T, p *process) {
	t.Helper()
	if out := p.out.String(); strings.LastIndex(out, "\x1b[?25h") < strings.LastIndex(out, "\x1b[?25l") {
		t.Error("the cursor is still hidden")
	}
	after, err := term.GetState(int(s.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *s.before {
		t.Errorf("the terminal's mode is %+v, and was %+v", *after, *s.before)
	}
}

// TestSeveralRunsAtOnce lets runs with the same names for everything share a
// platform. Each must see only its own, also when one of them is killed.
func TestSeveralRunsAtOnce(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "5"), newFolder(t)
	ordinary := p.targets() + fifty + "  loadPattern: {type: steady, phases: [{name: steady, duration: 3s}]}\n"
	killed := out.run(t, "killed", p.targets()+fifty+endless)
	runs := map[string]*process{}
	for _, name := range []string{"one", "two", "three"} {
		runs[name] = out.run(t, name, ordinary)
	}
	begun := map[string]bool{} // by a tenant that was seen: a run may be over before the last one begins
	until(t, "all runs have begun", func() bool {
		for _, slug := range p.state().Slugs {
			begun[slug[strings.LastIndex(slug, "-"):]] = true
		}
		return len(begun) == 4
	})
	until(t, "the run that will be killed has its tenants, and asks", func() bool {
		for slug := range p.truth().Orgs {
			if strings.HasSuffix(slug, "-killed") {
				return true
			}
		}
		return false
	})
	p.served(200)
	killed.signal(syscall.SIGKILL)
	killed.exits(-1)
	for name, run := range runs {
		run.exits(0)
		b := out.document(t, name)
		all := b.Summary.Overall().All
		if all.Succeeded != all.Requests || b.Cleanup.DeletedOrgs != 5 || b.Cleanup.DeletedKeys != 50 {
			t.Errorf("run %s: %+v, clean-up %+v", name, all, b.Cleanup)
		}
		var truth struct{ requests, microUSD int64 }
		for slug, c := range p.truth().Orgs {
			if strings.HasSuffix(slug, "-"+name) {
				truth.requests += c.Requests
				truth.microUSD += c.CostMicroUSD
			}
		}
		if int64(all.Requests) != truth.requests || all.CostMicroUSD != truth.microUSD { // #nosec G115 -- a count
			t.Errorf("run %s counts %d requests for %d, in truth %+v", name, all.Requests, all.CostMicroUSD, truth)
		}
	}
	s := p.state()
	if s.Orgs != 5 || s.ActiveKeys != 50 {
		t.Errorf("%d organizations and %d keys are left, want those of the killed run", s.Orgs, s.ActiveKeys)
	}
	for _, slug := range s.Slugs {
		if !strings.HasSuffix(slug, "-killed") {
			t.Errorf("organization %s is left", slug)
		}
	}
	out.cleanup(t, "killed").exits(0)
	p.holdsNothing()
}

// TestTheObservedPlatform runs against the platform as it really is: what it
// does not do is found and told, and the run is carried out all the same.
func TestTheObservedPlatform(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--as-observed", "--speed", "5"), newFolder(t)
	run := launch(t, []string{"PLATFORM_PASSWORD=" + adminKey}, "run", out.scenario(t, "observed", fmt.Sprintf(`
  targets:
    apiRouterUrl: %q
    userOrgUrl: %q
    adminLogin: {email: admin@platform.invalid, passwordFrom: {env: PLATFORM_PASSWORD}}
  organizations: {count: 2, budget: {limitUSD: 1}}
  users: {perOrg: {min: 3, max: 3}}
  userBehavior:
    questionsPerSession: {min: 5, max: 5}
    thinkTimeSeconds: {min: 0.1, max: 0.3}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 16
  slo: {errorRate: 5%%}
`, p.router, p.userOrg)), "--output-dir", string(out))
	run.exits(0)
	b := out.document(t, "observed")
	var told []string
	for _, f := range b.Findings {
		told = append(told, f.Title+": "+f.Detail)
	}
	for _, want := range []string{"streaming is not supported", "/api-keys", "cannot be deleted", "budget"} {
		if !strings.Contains(strings.Join(told, "\n"), want) {
			t.Errorf("no finding speaks of %q: %q", want, told)
		}
	}
	run.says("Findings about the platform", "streaming is not supported")
	p.agrees(b)
	if s := p.state(); s.ActiveKeys != 0 || len(s.Suspended) != 2 || b.Cleanup.RevokedKeys != 6 || b.Cleanup.Status != "done" {
		t.Errorf("%d keys are good, %v are suspended, clean-up %+v", s.ActiveKeys, s.Suspended, b.Cleanup)
	}
	hides(t, run, out, adminKey)
}

// TestMemory is the other bar: a thousand users who think, listen to streams
// and think again, in less than 150 MB.
func TestMemory(t *testing.T) {
	p, out := startPlatform(t), newFolder(t)
	// A child's peak counts from that of this process, whose memory it shares until
	// it executes: other tests must not be in it. (5 is CLEAR_REFS_MM_HIWATER_RSS.)
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	run := out.run(t, "thousand", p.targets()+`
  organizations: {count: 10}
  users: {perOrg: {min: 100, max: 100}}
  userBehavior:
    questionsPerSession: {min: 3, max: 10}
    thinkTimeSeconds: {base: 4, variance: 1, min: 1, max: 8, distribution: gaussian}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 32
    conversationStyle: {multiTurnProbability: 0.5}
  looping: {enabled: true}
  loadPattern:
    phases:
      - {name: ramp, duration: 5s, targetActiveUsers: 1000, rampStrategy: linear}
      - {name: steady, duration: 15s, targetActiveUsers: 1000}
`)
	run.exits(0)
	b := out.document(t, "thousand")
	all := b.Summary.Overall().All
	if b.Headline.MaxUsers != 1000 || all.Streams != all.Requests || all.Requests < 1000 {
		t.Errorf("%d users, %d of %d requests streamed", b.Headline.MaxUsers, all.Streams, all.Requests)
	}
	usage, ok := run.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("this system does not tell how much memory a process took")
	}
	const most = 150_000 // KB
	t.Logf("%d requests of %d users took at most %d MB", all.Requests, b.Headline.MaxUsers, usage.Maxrss/1000)
	if usage.Maxrss > most {
		t.Errorf("the run took %d KB of memory, more than %d", usage.Maxrss, most)
	}
	p.agrees(b)
	p.holdsNothing()
}

// TestExamples runs the examples that are short, as a person would.
func TestExamples(t *testing.T) {
	t.Parallel()
	out := newFolder(t)
	examples, err := filepath.Abs("../../configs/examples")
	if err != nil {
		t.Fatal(err)
	}
	smoke := launch(t, nil, "run", filepath.Join(examples, "smoke.yaml"), "--output-dir", string(out))
	p := startPlatform(t, "--speed", "5", "--quirk", "dev-keys")
	own := launch(t, []string{"API_URL=" + p.router, "API_KEYS=dev-byo-first-own-key,dev-byo-second-own-key"},
		"run", filepath.Join(examples, "bring-your-own-keys.yaml"), "--output-dir", string(out))
	smoke.exits(0)
	smoke.says("✓ PASSED smoke")
	own.exits(0)
	own.says("✓ PASSED bring-your-own-keys", "nothing was created")
	hides(t, own, out, "dev-byo-first-own-key", "dev-byo-second-own-key")
	results, err := filepath.Glob(filepath.Join(string(out), "*", "result.json"))
	if err != nil || len(results) != 2 {
		t.Fatalf("results %v, %v", results, err)
	}
	for _, r := range results {
		document(t, filepath.Dir(r))
	}
}
