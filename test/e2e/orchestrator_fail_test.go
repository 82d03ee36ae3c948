//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

// changed is a scenario with something else in it.
func changed(t *testing.T, scenario, old, now string) string {
	t.Helper()
	text, err := os.ReadFile(scenario)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%q is not in the scenario", old)
	}
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// left are the names of what a run has in the namespace.
func left(t *testing.T, c *cluster.Cluster, run string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, c, "", "-n", namespace, "get", "jobs,secrets,configmaps,services", "-l", "loadtest.ai-aas.dev/run="+run, "-o", "name"))
}

// What the cluster lacks is said with what to do about it, and nothing is created.
func refusals(t *testing.T, c *cluster.Cluster) {
	scenario := scenarioOf(t, "http://"+c.Host+":1", "http://"+c.Host+":1")
	big := changed(t, scenario, "workers: {replicas: 3}", "workers: {replicas: 3, resources: {requests: {cpu: 30}}}")
	nobody, somebody := account(t, c, "nobody"), person(t, c)
	env := []string{"PLATFORM_KEY=not-a-real-one"}
	// The name of another run, of which there is a Job.
	k, kubeconfig := newKiller(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k.at, k.kill = 1, cancel
	if out, code := orders(ctx, kubeconfig, env, "start", "--config", scenario, "--run", "taken", "--image", workerImage, "--namespace", namespace); code != -1 {
		t.Fatalf("it was not killed, and ended with %d: %s", code, out)
	}
	other := changed(t, scenario, "duration: 10s", "duration: 11s")
	for _, r := range []struct {
		name, as, scenario string
		args               []string
		code               int
		want               []string
	}{
		{"quota", somebody, big, nil, 1, []string{"the quota loadtest leaves", "of requests.cpu", "3 workers need 90", "nothing was created"}},
		{"namespace", c.Kubeconfig, scenario, []string{"--namespace", "not-there"}, 1, []string{"there is no namespace not-there: create it with kubectl create namespace not-there", "nothing was created"}},
		{"rights", nobody, scenario, nil, 1, []string{"you may not get jobs", "create secrets", "kind: Role", "nothing was created"}},
		{"taken", somebody, other, nil, 1, []string{"there is a run taken in load-testing already, of the scenario three organizations with other contents", "choose another name with --run"}},
		{"kubeconfig", "/not/there", scenario, nil, 2, []string{"no cluster is known here", "/not/there ($KUBECONFIG)", "loadtest run"}},
		{"context", somebody, scenario, []string{"--context", "moon"}, 2, []string{`the kubeconfig has no context "moon"; it has: test`}},
		{"flag", somebody, scenario, []string{"--folow"}, 2, []string{"unknown flag: --folow"}},
	} {
		before := len(left(t, c, r.name))
		args := append([]string{"start", "--config", r.scenario, "--run", r.name, "--image", workerImage, "--namespace", namespace, "--follow", "--output-dir", t.TempDir()}, r.args...)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, code := orders(ctx, r.as, env, args...)
		cancel()
		if code != r.code {
			t.Errorf("%s: exit code %d: %s", r.name, code, out)
		}
		for _, want := range r.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in: %s", r.name, want, out)
			}
		}
		if now := left(t, c, r.name); len(now) != before {
			t.Errorf("%s: created %v", r.name, now)
		}
	}
	for _, args := range [][]string{{"status", "taken"}, {"list"}, {"results", "taken"}, {"stop", "taken"}, {"logs", "taken"}, {"cleanup", "--run", "taken"}} {
		if out, code := orders(t.Context(), nobody, nil, append(args, "--namespace", namespace)...); code != 1 || !strings.Contains(out, "forbidden") {
			t.Errorf("%s without rights: exit code %d: %s", args[0], code, out)
		}
	}
	if out, code := orders(t.Context(), somebody, nil, "cleanup", "--run", "taken", "--namespace", namespace); code != 0 {
		t.Errorf("cleanup: exit code %d: %s", code, out)
	}
}

// Without its image a run ends with the reason, whoever looks, and is taken away
// at once: nothing has begun.
func imageAbsent(t *testing.T, c *cluster.Cluster) {
	const absent = "127.0.0.1:1/not/there:1" // a registry that refuses at once
	scenario := scenarioOf(t, "http://"+c.Host+":1", "http://"+c.Host+":1")
	env := []string{"PLATFORM_KEY=not-a-real-one"}
	as := person(t, c)
	start := func(t *testing.T, run string, more ...string) (string, int) {
		return orders(t.Context(), as, env, append([]string{"start", "--config", scenario, "--run", run, "--image", absent, "--namespace", namespace}, more...)...)
	}
	for run, more := range map[string][]string{"no-image": nil, "no-image-follow": {"--follow", "--output-dir", t.TempDir()}} {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			out, code := start(t, run, more...)
			if code != 1 || !strings.Contains(out, "cannot begin, and is removed") || !strings.Contains(out, "its image "+absent+" is not to be had") {
				t.Errorf("exit code %d: %s", code, out)
			}
			if l := left(t, c, run); len(l) > 0 {
				t.Errorf("left %v", l)
			}
		})
	}
	t.Run("no-image-killed", func(t *testing.T) { // so that its start does not remove it
		t.Parallel()
		const run = "no-image-killed"
		k, kubeconfig := newKiller(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k.at, k.kill = 4, cancel // the release; there is no ConfigMap
		if out, code := orders(ctx, kubeconfig, env, "start", "--config", scenario, "--run", run, "--image", absent, "--namespace", namespace); code != -1 {
			t.Fatalf("it was not killed, and ended with %d: %s", code, out)
		}
		out, code := orders(t.Context(), as, nil, "results", run, "--namespace", namespace, "--follow", "--output-dir", t.TempDir())
		if code != 1 || !strings.Contains(out, "its image "+absent+" is not to be had") {
			t.Errorf("results: exit code %d: %s", code, out)
		}
		began := time.Now()
		if out, code = orders(t.Context(), as, nil, "cleanup", "--run", run, "--namespace", namespace, "--force"); code != 0 {
			t.Errorf("cleanup: exit code %d: %s", code, out)
		}
		t.Logf("removed in %v: %s", time.Since(began), out)
		if l := left(t, c, run); len(l) > 0 {
			t.Errorf("left %v", l)
		}
	})
}

// whole wants the result in a folder to be the platform's truth.
func whole(t *testing.T, dir, run string, p *platformsim.Platform) *export.Bundle {
	t.Helper()
	b, err := export.Read(filepath.Join(dir, run, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	if truth := p.Totals(); b.Headline.Requests != uint64(truth.Requests) || truth.Requests == 0 || len(b.Run.Lost) > 0 {
		t.Errorf("%d requests in the result, %d on the platform; lost %v", b.Headline.Requests, truth.Requests, b.Run.Lost)
	}
	return b
}

// The API server goes away and comes back. The run does not need it, and those
// who look wait.
func serverAway(t *testing.T, c *cluster.Cluster) {
	outage := 6 * time.Second
	if text := os.Getenv("LOADTEST_OUTAGE"); text != "" {
		var err error
		if outage, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	p, dir := platformFor(t, c), t.TempDir()
	scenario := changed(t, scenarioOf(t, p.RouterURL(), p.UserOrgURL()), "duration: 10s", fmt.Sprintf("duration: %s", outage+5*time.Second))
	as := person(t, c)
	var out string
	var code int
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out, code = orders(t.Context(), as, []string{"PLATFORM_KEY=" + p.AdminKey().Reveal()}, "start", "--config", scenario, "--run", "away",
			"--image", workerImage, "--namespace", namespace, "--follow", "--output-dir", dir)
	}()
	until(t, "there is load", func() bool { return p.Totals().Requests > 50 })
	if err := c.KillDaemon("kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	before := p.Totals().Requests
	<-time.After(outage) // it is what this is about
	// More than what each user had under way.
	if now := p.Totals().Requests; now <= before+12 {
		t.Errorf("%d requests before, and %d when it came back", before, now)
	}
	if err := c.StartDaemon("kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	if !strings.Contains(out, "the API server does not answer; the run goes on") {
		t.Errorf("whoever looks on does not hear that it was away: %s", out)
	}
	whole(t, dir, "away", p)
	if s := p.State(); s.Orgs != 0 {
		t.Errorf("%d organizations are left", s.Orgs)
	}
	if out, code := orders(t.Context(), as, nil, "cleanup", "--run", "away", "--namespace", namespace, "--force"); code != 0 {
		t.Errorf("cleanup: exit code %d: %s", code, out)
	}
}

// Who follows may be killed at any point: what comes later goes on from there.
func killedFollowers(t *testing.T, c *cluster.Cluster) {
	p, dir := platformFor(t, c), t.TempDir()
	const run = "killed-follower"
	start := []string{"start", "--config", scenarioOf(t, p.RouterURL(), p.UserOrgURL()), "--run", run, "--image", workerImage, "--namespace", namespace, "--follow", "--output-dir", dir}
	results := []string{"results", run, "--namespace", namespace, "--follow", "--output-dir", dir}
	asks := func(method, path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, "/proxy"+path) }
	}
	for _, point := range []struct {
		name   string
		args   []string
		counts func(*http.Request) bool
		before bool
	}{
		{"while the load goes on", start, func(r *http.Request) bool { return asks(http.MethodGet, "/run")(r) && p.Totals().Requests > 50 }, false},
		{"while it waits", results, asks(http.MethodGet, "/documents"), true},
		{"before a document", results, asks(http.MethodGet, "/documents/"), true},
		{"before a document is kept", results, asks(http.MethodGet, "/documents/"), false},
		{"before the worker hears that it is safe", results, asks(http.MethodPost, "/collected"), true},
		{"when the worker has heard it", results, asks(http.MethodPost, "/collected"), false},
	} {
		k, kubeconfig := newKiller(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		k.counts, k.at, k.before, k.kill = point.counts, 1, point.before, cancel
		if out, code := orders(ctx, kubeconfig, []string{"PLATFORM_KEY=" + p.AdminKey().Reveal()}, point.args...); code != -1 {
			t.Fatalf("%s: it was not killed, and ended with %d: %s", point.name, code, out)
		}
		cancel()
		out, code := orders(t.Context(), c.Kubeconfig, nil, "status", run, "--namespace", namespace, "--output", "json")
		var v struct{ State string }
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.State != "running" && v.State != "completed" {
			t.Errorf("%s: status: exit code %d, %v: %s", point.name, code, err, out)
		}
		if l := left(t, c, run); len(l) != 3 { // no ConfigMap: the scenario has a secret
			t.Errorf("%s: there are %v", point.name, l)
		}
	}
	for _, args := range [][]string{results, {"results", run, "--namespace", namespace, "--output-dir", dir}} { // and again
		if out, code := orders(t.Context(), c.Kubeconfig, nil, args...); code != 0 {
			t.Errorf("exit code %d: %s", code, out)
		}
		whole(t, dir, run, p)
	}
	if s := p.State(); s.Orgs != 0 {
		t.Errorf("%d organizations are left", s.Orgs)
	}
	if out, code := orders(t.Context(), c.Kubeconfig, nil, "cleanup", "--run", run, "--namespace", namespace, "--force"); code != 0 {
		t.Errorf("cleanup: exit code %d: %s", code, out)
	}
	if l := left(t, c, run); len(l) > 0 {
		t.Errorf("left %v", l)
	}
}

// created is how long start says that everything took.
var created = regexp.MustCompile(`everything is created, in (\S+)`)

// One organization, of which each worker has twenty users and is held to 512 MiB:
// as many workers as LOADTEST_SCALE says, or ten.
func scale(t *testing.T, c *cluster.Cluster) {
	workers, think, load := 10, "{min: 3, max: 6}", "15s"
	if text := os.Getenv("LOADTEST_SCALE"); text != "" {
		var err error
		if workers, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		think, load = "{min: 10, max: 20}", "60s"
	}
	p, dir := platformFor(t, c), t.TempDir()
	scenario := scenarioOf(t, p.RouterURL(), p.UserOrgURL())
	for old, now := range map[string]string{
		"count: 3,":              "count: 1,",
		"{min: 4, max: 4}":       fmt.Sprintf("{min: %[1]d, max: %[1]d}", 20*workers),
		"{min: 0.1, max: 0.3}":   think,
		"duration: 10s":          "duration: " + load,
		"workers: {replicas: 3}": "workers: {usersPerWorker: 20, resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 512Mi}}}",
	} {
		scenario = changed(t, scenario, old, now)
	}
	const run = "scale"
	as := person(t, c)
	key := []string{"PLATFORM_KEY=" + p.AdminKey().Reveal()}
	out, code := orders(t.Context(), as, key, "start", "--config", scenario, "--run", run, "--image", workerImage, "--namespace", namespace)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	var took string
	if m := created.FindStringSubmatch(out); m != nil {
		took = m[1]
	}
	if got := kubectl(t, c, "", "-n", namespace, "get", "job/loadtest-"+run, "-o", "jsonpath={.spec.completions}"); got != strconv.Itoa(workers) {
		t.Errorf("%s workers for %d users", got, workers*20)
	}
	pods := strings.Fields(kubectl(t, c, "", "-n", namespace, "get", "pods", "-l", "loadtest.ai-aas.dev/run="+run, "-o", "jsonpath={.items[*].metadata.uid}"))
	if len(pods) != workers {
		t.Errorf("%d pods", len(pods))
	}
	// Their groups are there as long as the load.
	until(t, "there is load", func() bool { return p.Totals().Requests > int64(10*workers) })
	var most int64
	for _, uid := range pods {
		groups, err := filepath.Glob("/sys/fs/cgroup/memory/loadtest-*/kubepods/*/pod" + uid)
		if err != nil || len(groups) != 1 {
			t.Fatalf("the pod %s has the control groups %v (%v)", uid, groups, err)
		}
		read := func(file string) int64 {
			text, err := os.ReadFile(filepath.Join(groups[0], file))
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if limit := read("memory.limit_in_bytes"); limit != 512<<20 {
			t.Errorf("a pod may use %d bytes", limit)
		}
		most = max(most, read("memory.max_usage_in_bytes"))
	}
	out, code = orders(t.Context(), as, key, "results", run, "--namespace", namespace, "--follow", "--output-dir", dir)
	if code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	b := whole(t, dir, run, p)
	if rate := b.Headline.ErrorRate; rate >= 0.1 {
		t.Errorf("error rate %v", rate)
	}
	t.Logf("%d users in %d pods: created after %s; %d requests, error rate %v; began within %v; the greatest pod used %d MiB",
		workers*20, workers, took, b.Headline.Requests, b.Headline.ErrorRate, b.Run.StartSpread, most>>20)
	if out, code := orders(t.Context(), as, nil, "cleanup", "--run", run, "--namespace", namespace, "--force"); code != 0 {
		t.Errorf("cleanup: exit code %d: %s", code, out)
	}
}
