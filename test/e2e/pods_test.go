//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/results"
)

const runToken = "token-that-must-not-be-seen"

// podRun is a run in pods, without a cluster around them.
type podRun struct {
	t                 *testing.T
	id, dir, scenario string
	started           time.Time
	ports             []string // of the workers
	documents         map[string]*export.Bundle
}

// podsScenario has three organizations, one a worker.
const podsScenario = `
  seed: 5
  organizations: {count: 3}
  users: {perOrg: {min: 4, max: 4}}
  userBehavior:
    thinkTimeSeconds: {min: 0.05, max: 0.2}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: {base: 24, variance: 8}
  looping: {enabled: true}
`

func newPodRun(t *testing.T, out folder, id, spec string) *podRun {
	t.Helper()
	r := &podRun{t: t, id: id, dir: filepath.Join(string(out), id+"-pods"), started: time.Now(), documents: map[string]*export.Bundle{}}
	secrets := filepath.Join(r.dir, "secret", "env")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{filepath.Join(r.dir, "secret", "token"): runToken + "\n", filepath.Join(secrets, "ADMIN_KEY"): adminKey} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.scenario = out.scenario(t, id, spec)
	for range 3 {
		at, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.ports = append(r.ports, at.Addr().String())
		if err := at.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *podRun) plan(command string, more ...string) []string {
	return append([]string{command, "--config", r.scenario, "--run", r.id, "--seed", "5", "--started", r.started.Format(time.RFC3339Nano),
		"--workers", "3", "--secrets", filepath.Join(r.dir, "secret")}, more...)
}

// pod starts an attempt at a worker's part, in a folder of its own, as a pod's is.
func (r *podRun) pod(worker, attempt int, more ...string) *process {
	r.t.Helper()
	work := filepath.Join(r.dir, rendezvous.DocumentName(worker, attempt))
	if err := os.Mkdir(work, 0o700); err != nil {
		r.t.Fatal(err)
	}
	return launch(r.t, []string{fmt.Sprintf("JOB_COMPLETION_INDEX=%d", worker), fmt.Sprintf("LOADTEST_ATTEMPT=%d", attempt)},
		r.plan("pod", append([]string{"--leader", "http://" + r.ports[0], "--listen", r.ports[worker], "--output-dir", work}, more...)...)...)
}

// ask asks a worker over HTTP; nil if it does not answer, or not with what is asked for.
func (r *podRun) ask(worker int, method, path, body string) ([]byte, http.Header) {
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.ports[worker]+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set(rendezvous.TokenHeader, runToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		return nil, nil
	}
	return data, resp.Header
}

func (r *podRun) view() (v rendezvous.View) {
	if data, _ := r.ask(0, http.MethodGet, "/run", ""); data != nil {
		if err := json.Unmarshal(data, &v); err != nil {
			r.t.Fatal(err)
		}
	}
	return v
}

// made waits until so many requests were made by a worker.
func (r *podRun) made(worker int, n uint64) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("worker %d has made %d requests", worker, n), func() bool {
		v := r.view()
		return len(v.Workers) == 3 && v.Workers[worker].Requests >= n
	})
}

// collect fetches the documents that a worker has until there are so many of the run.
func (r *podRun) collect(from, n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d documents are collected", n), func() bool {
		var names []string
		if data, _ := r.ask(from, http.MethodGet, "/documents", ""); data != nil {
			if err := json.Unmarshal(data, &names); err != nil {
				r.t.Fatal(err)
			}
		}
		for _, name := range names {
			data, header := r.ask(from, http.MethodGet, "/documents/"+name, "")
			if data == nil || r.documents[name] != nil {
				continue
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256(data)); header.Get(rendezvous.ChecksumHeader) != sum {
				r.t.Fatalf("%s has the checksum %s, and says %s", name, sum, header.Get(rendezvous.ChecksumHeader))
			}
			b, err := export.Decode(data)
			if err != nil {
				r.t.Fatal(err)
			}
			r.documents[name] = b
		}
		if len(r.documents) < n {
			return false
		}
		names = slices.Collect(func(yield func(string) bool) {
			for name := range r.documents {
				if !yield(name) {
					return
				}
			}
		})
		said, err := json.Marshal(names)
		if err != nil {
			r.t.Fatal(err)
		}
		r.ask(from, http.MethodPost, "/collected", string(said))
		return true
	})
}

// stop ends the load, as loadtest stop does.
func (r *podRun) stop() {
	r.t.Helper()
	if data, _ := r.ask(0, http.MethodPost, "/stop", `{"reason": "enough seen"}`); data == nil {
		r.t.Fatal("the leader does not take it that the run is to stop")
	}
}

func (r *podRun) merged() *export.Bundle {
	r.t.Helper()
	var parts []*export.Bundle
	for _, b := range r.documents {
		parts = append(parts, b)
	}
	b, err := results.Merge(parts[0], parts, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// TestPods: processes that meet as pods do are one run, whatever becomes of them.
func TestPods(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "5"), newFolder(t)
	begin := func(t *testing.T, id, load string) *podRun {
		t.Helper()
		p.manage(http.MethodDelete, "/truth", "", nil)
		return newPodRun(t, out, id, p.targets()+podsScenario+load)
	}
	t.Run("a pod is taken away", func(t *testing.T) {
		r := begin(t, "taken", endless)
		pods := []*process{r.pod(0, 0), r.pod(1, 0), r.pod(2, 0)}
		r.made(1, 30)
		pods[1].signal(syscall.SIGTERM)
		pods[1].exits(143)
		again := r.pod(1, 1)
		r.made(1, 90) // by both attempts
		r.stop()
		r.collect(0, 4)
		for _, pod := range []*process{pods[0], again, pods[2]} {
			pod.exits(0)
		}
		b := r.merged()
		p.agrees(b)
		p.holdsNothing()
		if spread := b.Run.StartSpread; spread > 100*time.Millisecond || b.Stop.Reason != "interrupted" || b.Stop.Detail != "enough seen (each of 3 workers)" || len(b.Run.Lost) > 0 || len(b.Orgs) != 3 || len(b.Summary.Users) < 9 {
			t.Errorf("began within %v; %+v; lost %v; %d organizations, %d users", spread, b.Stop, b.Run.Lost, len(b.Orgs), len(b.Summary.Users))
		}
		if late := r.documents["1-1"]; late.Run.Late == 0 || late.Run.Carried < 30 || late.Headline.Requests == 0 || late.Run.Late < r.documents["1-0"].Run.Duration {
			t.Errorf("the second attempt: %+v, %d requests", late.Run, late.Headline.Requests)
		}
		if !strings.Contains(strings.Join(b.Warnings, "\n"), "worker 1 made no load for ") {
			t.Errorf("the gap is not told: %q", b.Warnings)
		}
	})

	t.Run("a pod is killed", func(t *testing.T) {
		r := begin(t, "killed", endless)
		pods := []*process{r.pod(0, 0), r.pod(1, 0), r.pod(2, 0)}
		r.made(2, 30)
		pods[2].signal(syscall.SIGKILL)
		pods[2].exits(-1)
		again := r.pod(2, 1)
		r.made(2, 90)
		r.stop()
		r.collect(0, 3)
		for _, pod := range []*process{pods[0], pods[1], again} {
			pod.exits(0)
		}
		b := r.merged()
		if len(b.Run.Lost) != 1 || b.Run.Lost[0].Worker != 2 || b.Run.Lost[0].Attempt != 0 || b.Run.Lost[0].Requests < 30 || !b.Run.Lost[0].Replaced || b.Stop.Reason != "interrupted" {
			t.Fatalf("lost %+v, stop %+v", b.Run.Lost, b.Stop)
		}
		ours, real := b.Headline.Requests, uint64(p.truth().Requests) //nolint:gosec // a count
		// What was made after the last beat nobody knows.
		if lost := b.Run.Lost[0].Requests; ours >= real || ours+lost > real {
			t.Errorf("%d requests and %d that were lost, %d in truth", ours, lost, real)
		}
		p.holdsNothing() // the second attempt took the tenants over
	})

	t.Run("the leader is killed", func(t *testing.T) {
		r := begin(t, "headless", endless)
		pods := []*process{r.pod(0, 0), r.pod(1, 0), r.pod(2, 0)}
		r.made(0, 30)
		before := r.view().Start
		pods[0].signal(syscall.SIGKILL)
		pods[0].exits(-1)
		pods[0] = r.pod(0, 1)
		r.made(0, 30)
		if now := r.view().Start; now == nil || !now.Equal(*before) {
			t.Errorf("the load began at %v, and to the next leader at %v", before, now)
		}
		r.stop()
		r.collect(0, 3)
		for _, pod := range pods {
			pod.exits(0)
		}
		if b := r.merged(); len(b.Run.Lost) != 1 || b.Run.Lost[0].Worker != 0 || !b.Run.Lost[0].Replaced || r.documents["0-1"].Run.Late == 0 {
			t.Errorf("lost %+v; %+v", b.Run.Lost, r.documents["0-1"].Run)
		}
		p.holdsNothing()
	})

	t.Run("the leader is gone for good", func(t *testing.T) {
		r := begin(t, "orphans", endless)
		pods := []*process{r.pod(0, 0), r.pod(1, 0), r.pod(2, 0)}
		r.made(1, 10)
		pods[0].signal(syscall.SIGKILL)
		pods[0].exits(-1)
		for _, i := range []int{1, 2} {
			pods[i].signal(syscall.SIGTERM)
		}
		for n, i := range []int{1, 2} { // when nobody has taken them
			r.collect(i, n+1)
			pods[i].exits(143)
		}
		if b := r.merged(); b.Headline.Requests == 0 || len(b.Run.Lost) != 1 || b.Run.Lost[0].Worker != 0 {
			t.Errorf("%d requests, lost %+v", b.Headline.Requests, b.Run.Lost)
		}
		launch(t, nil, r.plan("cleanup", "--by-plan", "--output-dir", t.TempDir())...).exits(0)
		p.holdsNothing()
	})

	t.Run("nobody comes in its place", func(t *testing.T) {
		r := begin(t, "gone", endless)
		pods := []*process{r.pod(0, 0, "--on-worker-loss", "continue"), r.pod(1, 0, "--on-worker-loss", "continue"), r.pod(2, 0, "--on-worker-loss", "continue")}
		r.made(1, 10)
		pods[1].signal(syscall.SIGKILL)
		pods[1].exits(-1)
		r.stop()
		r.collect(0, 2)
		pods[2].exits(0)
		pods[0].signal(syscall.SIGTERM) // it waits for the lost one
		pods[0].exits(143)
		if b := r.merged(); len(b.Run.Lost) != 1 || b.Run.Lost[0].Replaced || b.Stop.Reason != "broken" || !strings.Contains(r.documents["2-0"].Stop.Detail, "enough seen") {
			t.Errorf("lost %+v, stop %+v", b.Run.Lost, r.documents["2-0"].Stop)
		}
		if s := p.state(); s.Orgs != 1 {
			t.Errorf("%d organizations are left, of one worker", s.Orgs)
		}
		for range 2 { // the second time there is nothing to do
			clean := launch(t, nil, r.plan("cleanup", "--by-plan", "--output-dir", t.TempDir())...)
			clean.exits(0)
		}
		p.holdsNothing()
	})
}
