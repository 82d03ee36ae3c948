package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
)

// page is a writer that may be read meanwhile.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// until waits for a condition.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

func TestRunShowsItself(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var out, err page
	var code int
	var running sync.WaitGroup
	running.Go(func() {
		code = cli.Run(ctx, "test", []string{"run", "-", "--output-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--pprof"}, cli.Streams{In: strings.NewReader(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: shown, testRunId: shown-1}
spec:
  userBehavior: {thinkTimeSeconds: {min: 0.01, max: 0.02}, maxTokensPerRequest: 2}
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: long, duration: 1h}]}
`), Out: &out, Err: &err})
	})
	defer running.Wait()
	defer interrupt()

	var url string
	until(t, "the address", func() bool {
		m := regexp.MustCompile(`(http://127.0.0.1:\d+)/status`).FindStringSubmatch(err.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	get := func(path string) (int, []byte) {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	until(t, "load", func() bool { code, _ := get("/readyz"); return code == 200 })
	var s server.Status
	until(t, "answers", func() bool {
		_, body := get("/status")
		s = server.Status{}
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatal(err)
		}
		return s.Requests.Succeeded > 2 && s.Users.Active > 0
	})
	if s.Run != "shown-1" || s.Scenario != "shown" || !s.Ready || s.Phase != "long" || s.PlannedSeconds != 3600 || s.HeartbeatSeconds == nil {
		t.Errorf("%+v", s)
	}
	if code, body := get("/healthz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("/debug/pprof/heap?debug=1"); code != 200 || !bytes.HasPrefix(body, []byte("heap profile")) {
		t.Errorf("%d %.100s", code, body)
	}
	interrupt()
	running.Wait()
	if code != 130 {
		t.Errorf("exit %d\n%s%s", code, out.String(), err.String())
	}
	if resp, err := http.Get(url + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Error("the server outlives the run")
	}
}

// A search shows itself as a run does, from its first step to its last.
func TestSearchShowsItself(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var out, err page
	var running sync.WaitGroup
	running.Go(func() {
		cli.Run(ctx, "test", []string{"find", "-", "--output-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--step", "1h"}, cli.Streams{In: strings.NewReader(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: sought, testRunId: sought-1}
spec:
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {thinkTimeSeconds: {min: 0.01, max: 0.02}, maxTokensPerRequest: 2}
  slo: {errorRate: 50%}
`), Out: &out, Err: &err})
	})
	defer running.Wait()
	defer interrupt()
	var url string
	until(t, "the address", func() bool {
		m := regexp.MustCompile(`(http://127.0.0.1:\d+)/status and /metrics`).FindStringSubmatch(err.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	get := func(path string) string {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	until(t, "answers", func() bool {
		var s server.Status
		if err := json.Unmarshal([]byte(get("/status")), &s); err != nil {
			t.Fatal(err)
		}
		return s.Run == "sought-1" && s.Ready && s.Requests.Succeeded > 2
	})
	for _, want := range []string{`loadtest_worker_status{phase="running",test_run_id="sought-1",worker_id="0"} 1`, `loadtest_user_requests_total{model="sim-`} {
		if got := get("/metrics"); !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestWhereToListenIsChecked(t *testing.T) {
	for want, args := range map[string][]string{
		"--pprof needs --listen":   {"--pprof"},
		"set LOADTEST_PPROF_TOKEN": {"--pprof", "--listen", "0.0.0.0:0"},
		"not host:port":            {"--listen", "9090"},
	} {
		var out, err bytes.Buffer
		in := strings.NewReader("apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: x}\n")
		args = append([]string{"run", "-", "--output-dir", t.TempDir()}, args...)
		if code := cli.Run(t.Context(), "test", args, cli.Streams{In: in, Out: &out, Err: &err}); code != 2 || !strings.Contains(err.String(), want) {
			t.Errorf("%v: exit %d, %s", args, code, err.String())
		}
	}
}
