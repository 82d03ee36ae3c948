//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// work is what all tools do alike.
type work struct {
	url         string
	connections int // users, one connection each
	duration    time.Duration
	stream      bool
	think       time.Duration // pause between requests; only for us and k6
	rate        int           // requests a second; 0: as many as there can be
	report      string        // a file or folder to report latencies in, where a tool prints none
	ramp        bool          // users come one after the other, the last at the end; only for us and k6
}

func (w work) body() string {
	rest := `}`
	if w.stream {
		rest = `,"stream":true,"stream_options":{"include_usage":true}}`
	}
	return `{"model":"bench","messages":[{"role":"user","content":"What is the tallest mountain of the Alps?"}],"max_tokens":100` + rest
}

// tool is something that makes requests.
type tool struct {
	name    string
	path    string // "": not there
	missing error
	command func(w work) (args, env []string)
	latency func(ctx context.Context, w work, said []byte) (percentiles, error) // of paced work
}

const (
	endpoint      = "/v1/chat/completions"
	contentType   = "Content-Type: application/json"
	authorization = "Authorization: Bearer bench"
)

//go:embed wrk.lua
var wrkScript []byte

//go:embed k6.js
var k6Script []byte

//go:embed ours.yaml
var scenario []byte

// peers are what others wrote, and how to install them; wrk comes with the system.
var peers = map[string]string{
	"hey":    "github.com/rakyll/hey@v0.1.4",
	"vegeta": "github.com/tsenart/vegeta/v12@v12.12.0",
	"k6":     "go.k6.io/k6@v1.8.1",
}

// find builds what is ours and finds, or installs into cache, what is not.
// Files that the tools need go to dir. A peer that cannot be had is left out.
func find(ctx context.Context, cache, dir string) (ours, reader, wrk, hey, vegeta, k6 *tool, err error) {
	for name, data := range map[string][]byte{"wrk.lua": wrkScript, "k6.js": k6Script, "ours.yaml": scenario} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	build := func(name, pkg string) string {
		bin := filepath.Join(dir, name)
		out, failed := exec.CommandContext(ctx, "go", "build", "-o", bin, pkg).CombinedOutput() //nolint:gosec // our own paths
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("build %s: %w\n%s", pkg, failed, out))
		}
		return bin
	}
	build("server", "./bench/server")
	ours = &tool{name: "loadtest", path: build("loadtest", "./cmd/loadtest"), command: func(w work) (args, env []string) {
		streamed, ramp, model, into := "0%", "none", "closed", w.report
		if w.stream {
			streamed = "100%"
		}
		if w.ramp {
			ramp = "linear"
		}
		if w.rate > 0 {
			model = "open"
		}
		if into == "" {
			into = filepath.Join(dir, "results-"+strconv.FormatInt(time.Now().UnixNano(), 36))
		}
		return []string{"run", filepath.Join(dir, "ours.yaml"), "--output-dir", into},
			[]string{"ARRIVAL=" + model, "RATE=" + strconv.Itoa(max(1, w.rate)), "URL=" + w.url, "THINK=" + seconds(w.think), "STREAMED=" + streamed, "RAMP=" + ramp, "DURATION=" + w.duration.String(), "KEYS=" + filepath.Join(dir, keys(w.connections))}
	}}
	reader = &tool{name: "bare reader", path: build("reader", "./bench/reader"), command: func(w work) (args, env []string) {
		return []string{"-address", strings.TrimPrefix(w.url, "http://"), "-body", w.body(),
			"-connections", strconv.Itoa(w.connections), "-duration", w.duration.String(), "-rate", strconv.Itoa(w.rate)}, nil
	}}
	wrk = &tool{name: "wrk", command: func(w work) (args, env []string) {
		return []string{"-t1", "-c" + strconv.Itoa(w.connections), "-d" + seconds(w.duration) + "s", "-s", filepath.Join(dir, "wrk.lua"), w.url}, []string{"BODY=" + w.body()}
	}}
	wrk.path, wrk.missing = exec.LookPath("wrk")
	if wrk.missing != nil && os.Getuid() == 0 {
		if out, failed := exec.CommandContext(ctx, "apt-get", "install", "-y", "wrk").CombinedOutput(); failed != nil {
			wrk.missing = fmt.Errorf("%w\n%s", failed, out)
		} else {
			wrk.path, wrk.missing = exec.LookPath("wrk")
		}
	}
	install := func(name string, command func(w work) (args, env []string)) *tool {
		t := &tool{name: name, path: filepath.Join(cache, name), command: command}
		if _, absent := os.Stat(t.path); absent == nil {
			return t
		}
		fmt.Fprintf(os.Stderr, "installing %s into %s\n", peers[name], cache)
		cmd := exec.CommandContext(ctx, "go", "install", peers[name]) //nolint:gosec // from the list above
		cmd.Dir, cmd.Env = cache, append(os.Environ(), "GOBIN="+cache, "GOFLAGS=")
		if out, failed := cmd.CombinedOutput(); failed != nil {
			t.path, t.missing = "", fmt.Errorf("%w\n%s", failed, out)
		}
		return t
	}
	hey = install("hey", func(w work) (args, env []string) {
		args = []string{"-z", w.duration.String(), "-c", strconv.Itoa(w.connections), "-m", "POST", "-H", contentType, "-H", authorization, "-d", w.body()}
		if w.rate > 0 {
			args = append(args, "-q", strconv.Itoa(w.rate/w.connections), "-o", "csv")
		}
		return append(args, w.url+endpoint), nil
	})
	vegeta = install("vegeta", func(w work) (args, env []string) {
		n, target := strconv.Itoa(w.connections), filepath.Join(dir, "target")
		text := "POST " + w.url + endpoint + "\n" + contentType + "\n" + authorization + "\n@" + target + ".json\n"
		err := errors.Join(os.WriteFile(target, []byte(text), 0o600), os.WriteFile(target+".json", []byte(w.body()), 0o600))
		if err != nil {
			return []string{err.Error()}, nil // which it will complain of
		}
		into := os.DevNull
		if w.report != "" {
			into = w.report
		}
		return []string{"attack", "-rate", strconv.Itoa(w.rate), "-workers", n, "-max-workers", n, "-connections", n, "-duration", w.duration.String(), "-targets", target, "-output", into}, nil
	})
	k6 = install("k6", func(w work) (args, env []string) {
		users := []string{"--vus", strconv.Itoa(w.connections), "--duration", w.duration.String()}
		if w.ramp {
			users = []string{"--stage", w.duration.String() + ":" + strconv.Itoa(w.connections)}
		}
		if w.rate > 0 {
			users = []string{"--summary-export", w.report, "--summary-trend-stats", "med,p(99)"}
		}
		return slices.Concat([]string{"run", "--quiet"}, users, []string{filepath.Join(dir, "k6.js")}),
			[]string{"URL=" + w.url + endpoint, "BODY=" + w.body(), "THINK=" + seconds(w.think), "RATE=" + strconv.Itoa(w.rate), "DURATION=" + w.duration.String(), "K6_NO_USAGE_REPORT=true"}
	})
	ours.latency, reader.latency, hey.latency, vegeta.latency, k6.latency = oursLatency, listed, listed, vegeta.vegetaLatency, k6Latency
	return ours, reader, wrk, hey, vegeta, k6, err
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// keys names the file with the keys of n users.
func keys(n int) string { return fmt.Sprintf("keys-%d.csv", n) }

func writeKeys(dir string, n int) error {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "bench,user-%d,key-%d\n", i, i)
	}
	return os.WriteFile(filepath.Join(dir, keys(n)), []byte(b.String()), 0o600)
}

// cost is what a process used.
type cost struct {
	cpu    time.Duration // user and system, by rusage
	memory int64         // bytes resident, at most
	said   []byte        // on standard output and standard error
}

// run has a tool do the work.
func (t *tool) run(ctx context.Context, w work) (cost, error) {
	args, env := t.command(w)
	cmd := exec.CommandContext(ctx, t.path, args...) //nolint:gosec // that is the point
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%.2000s", t.name, err, out)
	}
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}, errors.New("this system does not say what a process used")
	}
	return cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), memory: used.Maxrss * 1024, said: out}, nil
}
