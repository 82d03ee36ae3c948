// Package script tests the command as a person meets it: scripts tell a story
// each, with the flags, files and environment that were given, and hold what
// was printed, the exit code and the files that were left.
//
// Beside the commands of testscript the scripts use
//
//	exits CODE COMMAND…       runs a command, which must exit with the code
//	platform FLAG…            runs `loadtest platform` beside the script, at $ROUTER_URL, $USER_ORG_URL
//	                          and $MANAGEMENT_URL, with the key $ADMIN_KEY
//	platform-ends             interrupts it; it must exit with 0; what it said is in platform.out
//	manage METHOD PATH BODY   calls its management API and prints the answer
//	waitfor FILE REGEXP       waits until the file has a match
//	whole FILE                holds a result.json against its schema and against itself
//	hides FOLDER SECRET…      looks for the secrets in all files of the folder, and in what was printed last;
//	                          also for anything in result.json and the logs that looks like a key
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"loadtest": func() {
			signal.Ignore(syscall.SIGPIPE) // as in cmd/loadtest
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			code := cli.Run(ctx, "v0-script", os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
			stop()
			os.Exit(code)
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ADMIN_KEY", adminKey)
			e.Setenv("GORACE", quickly)
			e.Values[platformKey{}] = &platform{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "platform": startPlatform, "platform-ends": endPlatform,
			"manage": manage, "waitfor": waitFor, "whole": whole, "hides": hides,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" { // for whom no file is out of reach
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// patience is how long a condition may take to come about, on the slowest machine.
const patience = 30 * time.Second

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("%s exited with %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

const adminKey = "admin-key-that-must-not-be-seen"

// quickly keeps a command with the race detector from sleeping for a second
// before it exits.
const quickly = "atexit_sleep_ms=0"

// platform is the `loadtest platform` of a script, a value under platformKey.
type platform struct {
	process *os.Process
	ended   chan error
}

type platformKey struct{}

func startPlatform(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! platform")
	}
	out, err := os.Create(ts.MkAbs("platform.out"))
	ts.Check(err)
	args = append([]string{
		"platform", "--router-addr", "127.0.0.1:0", "--user-org-addr", "127.0.0.1:0", "--management-addr", "127.0.0.1:0",
	}, args...)
	path, err := exec.LookPath("loadtest")
	ts.Check(err)
	cmd := exec.Command(path, args...) // #nosec G204 -- this test's own binary
	cmd.Env = append(os.Environ(), "LOADTEST_ADMIN_API_KEY="+adminKey, "GORACE="+quickly)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = out, out
	ts.Check(cmd.Start())
	p := ts.Value(platformKey{}).(*platform)
	p.process, p.ended = cmd.Process, make(chan error, 1)
	go func() { p.ended <- errors.Join(cmd.Wait(), out.Close()) }()
	ts.Defer(func() { _ = cmd.Process.Kill() }) // unless the script ended it

	waitFor(ts, false, []string{"platform.out", "Ready"})
	said := ts.ReadFile("platform.out")
	for name, label := range map[string]string{"ROUTER_URL": "router", "USER_ORG_URL": "user/org API", "MANAGEMENT_URL": "management"} {
		match := regexp.MustCompile(`(?m)^` + label + ` +(\S+)$`).FindStringSubmatch(said)
		if match == nil {
			ts.Fatalf("the platform does not say where its %s is: %s", label, said)
		}
		ts.Setenv(name, match[1])
	}
}

func endPlatform(ts *testscript.TestScript, neg bool, _ []string) {
	p := ts.Value(platformKey{}).(*platform)
	if neg || p.process == nil {
		ts.Fatalf("platform-ends: there is no platform")
	}
	ts.Check(p.process.Signal(os.Interrupt))
	select {
	case err := <-p.ended:
		ts.Check(err)
	case <-time.After(patience):
		ts.Fatalf("the platform does not end")
	}
}

func manage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: manage METHOD PATH [BODY]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body := ""
	if len(args) == 3 {
		body = args[2]
	}
	req, err := http.NewRequestWithContext(ctx, args[0], ts.Getenv("MANAGEMENT_URL")+args[1], strings.NewReader(body))
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close() //nolint:errcheck // only read from
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode > 299 {
		ts.Fatalf("%s %s: %s: %s", args[0], args[1], resp.Status, answer)
	}
	_, err = ts.Stdout().Write(answer)
	ts.Check(err)
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(data) {
			return
		}
		select {
		case <-look.C:
		case <-late.C:
			ts.Fatalf("%s has no match for %s after %v: %v\n%s", args[0], want, patience, err, data)
		}
	}
}

func whole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: whole FILE")
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(export.JSONSchema))
	ts.Check(err)
	compiler := jsonschema.NewCompiler()
	ts.Check(compiler.AddResource("result.schema.json", schema))
	compiled, err := compiler.Compile("result.schema.json")
	ts.Check(err)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(compiled.Validate(document))

	b, err := export.Read(ts.MkAbs(args[0]))
	ts.Check(err)
	again, err := export.Encode(b)
	ts.Check(err)
	if string(again) != ts.ReadFile(args[0]) {
		ts.Fatalf("%s is not the same when read and written again", args[0])
	}
	for _, g := range append(b.Summary.Groups, b.Summary.Overall()) {
		if a := g.All; a.Requests != a.Succeeded+a.Refused+a.Failed+a.Cancelled {
			ts.Fatalf("%+v: the outcomes do not sum to the requests: %+v", g.Key, a)
		}
		if m := g.Measured; g.Latency.E2E.Count() != m.Succeeded {
			ts.Fatalf("%+v: %d latencies of %d measured successes", g.Key, g.Latency.E2E.Count(), m.Succeeded)
		}
		var errs uint64
		for _, e := range g.Errors {
			if e.Kind == record.None || e.Example == "" {
				ts.Fatalf("%+v: an error without a kind or an example: %+v", g.Key, e)
			}
			errs += e.Count
		}
		if errs != g.All.Refused+g.All.Failed {
			ts.Fatalf("%+v: %d errors by kind, but %d refused and %d failed", g.Key, errs, g.All.Refused, g.All.Failed)
		}
	}
	if len(b.Verdict.Reasons) == 0 {
		ts.Fatalf("%s gives no reason for its verdict", args[0])
	}
}

// keyLike is what the simulated platform's keys look like: 32 bytes in base64url.
var keyLike = regexp.MustCompile(`(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{43}($|[^A-Za-z0-9_=-])`)

func hides(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: hides FOLDER SECRET…")
	}
	texts := map[string]string{"stdout": ts.ReadFile("stdout"), "stderr": ts.ReadFile("stderr")}
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path) // #nosec G304 -- the script's own folder
		texts[path] = string(data)
		return err
	})
	ts.Check(err)
	if len(texts) == 2 {
		ts.Fatalf("%s holds no files", args[0])
	}
	for name, text := range texts {
		for _, secret := range append(args[1:], adminKey) {
			if strings.Contains(text, secret) {
				ts.Fatalf("%s shows %s", name, secret)
			}
		}
		if key := keyLike.FindString(text); key != "" && filepath.Ext(name) != ".html" {
			ts.Fatalf("%s holds what looks like a key: %q", name, key)
		}
	}
}
