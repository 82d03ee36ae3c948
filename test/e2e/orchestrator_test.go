//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

// person is the kubeconfig of somebody who has the Role of deploy/k8s and
// nothing else.
func person(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	return account(t, c, "loadtest")
}

// account is the kubeconfig of a ServiceAccount of the namespace.
func account(t *testing.T, c *cluster.Cluster, name string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Impersonate = "system:serviceaccount:" + namespace + ":" + name
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// orders runs the command against the cluster of a kubeconfig.
func orders(ctx context.Context, kubeconfig string, env []string, args ...string) (string, int) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+kubeconfig), env...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// scenarioOf is three organizations in three pods.
func scenarioOf(t *testing.T, router, userOrg string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	text := fmt.Sprintf(`apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: three organizations}
spec:
  organizations: {count: 3, namingPattern: "{run}-{index}"}
  users: {perOrg: {min: 4, max: 4}}
  userBehavior:
    thinkTimeSeconds: {min: 0.1, max: 0.3}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 16
  looping: {enabled: true}
  loadPattern:
    phases: [{name: steady, duration: 10s}]
  workers: {replicas: 3}
  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: "${PLATFORM_KEY}"}
`, router, userOrg)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// platformFor is a platform that the pods reach.
func platformFor(t *testing.T, c *cluster.Cluster) *platformsim.Platform {
	t.Helper()
	p, err := platformsim.New(platformsim.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{Router: c.Host + ":0", UserOrg: c.Host + ":0"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// A scenario goes through the cluster by the command line alone, and its totals
// are those of the platform.
func wholeRun(t *testing.T, c *cluster.Cluster) {
	as, p := person(t, c), platformFor(t, c)
	key := "PLATFORM_KEY=" + p.AdminKey().Reveal()
	dir := t.TempDir()
	out, code := orders(t.Context(), as, []string{key}, "start", "--config", scenarioOf(t, p.RouterURL(), p.UserOrgURL()), "--run", "whole",
		"--image", workerImage, "--namespace", namespace, "--follow", "--output-dir", dir)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	b, err := export.Read(filepath.Join(dir, "whole", "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	if truth := p.Totals(); b.Headline.Requests != uint64(truth.Requests) || truth.Requests == 0 {
		t.Errorf("%d requests in the result, %d on the platform", b.Headline.Requests, truth.Requests)
	}
	t.Logf("workers began within %v", b.Run.StartSpread)
	if objects := kubectl(t, c, "", "-n", namespace, "get", "jobs,configmaps,pods,services", "-o", "yaml"); strings.Contains(objects, p.AdminKey().Reveal()) {
		t.Error("the admin key stands in an object that is not a Secret")
	}
	if out, code := orders(t.Context(), as, nil, "cleanup", "--run", "whole", "--namespace", namespace, "--force"); code != 0 {
		t.Errorf("cleanup: exit code %d: %s", code, out)
	}
}

// killer is the API server as a command sees it that dies at its nth request of
// those that count: before the server hears of it, or before the command hears
// the answer.
type killer struct {
	*httptest.Server
	counts  func(*http.Request) bool
	counted atomic.Int64
	at      int64
	before  bool
	kill    func()
}

// writes are the requests that change something.
func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "authorization.k8s.io") && !r.URL.Query().Has("dryRun")
}

func newKiller(t *testing.T, c *cluster.Cluster) (*killer, string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(c.Server)
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{counts: writes}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(server) }}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !k.counts(r) || k.counted.Add(1) != k.at {
			proxy.ServeHTTP(w, r)
			return
		}
		if k.before {
			_, _ = io.Copy(io.Discard, r.Body) // else nobody sees that the connection ends
		} else {
			proxy.ServeHTTP(httptest.NewRecorder(), r.Clone(context.WithoutCancel(r.Context())))
		}
		k.kill()
		<-r.Context().Done() // the command is dead
	}))
	t.Cleanup(k.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: %q}}],
users: [{name: x, user: {}}], contexts: [{name: x, context: {cluster: x, user: x}}]}`, k.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return k, file
}

// Whenever the command is killed, saying the same again ends in one whole run,
// and removing it leaves nothing.
func killedStarts(t *testing.T, c *cluster.Cluster) {
	const steps = 5 // Job, Secret, ConfigMap or not, Service, release: 4 with a scenario that holds a secret
	scenario := scenarioOf(t, "http://"+c.Host+":1", "http://"+c.Host+":1")
	text, err := os.ReadFile(scenario)
	if err != nil {
		t.Fatal(err)
	}
	// Without a secret in it, so that there is a ConfigMap.
	if err := os.WriteFile(scenario, []byte(strings.Replace(string(text), `, adminApiKey: "${PLATFORM_KEY}"`, "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"LOADTEST_ADMIN_API_KEY=not-a-real-one"}
	for n := 1; n <= steps; n++ {
		for _, before := range []bool{true, false} {
			run := fmt.Sprintf("killed-%d-%t", n, before)
			k, kubeconfig := newKiller(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			k.at, k.before, k.kill = int64(n), before, cancel // CommandContext kills with SIGKILL
			start := []string{"start", "--config", scenario, "--run", run, "--image", workerImage, "--namespace", namespace}
			if out, code := orders(ctx, kubeconfig, env, start...); code != -1 {
				t.Fatalf("%s: it was not killed, and ended with %d: %s", run, code, out)
			}
			cancel()
			want := 0
			if n == 1 && before {
				want = 2 // there is no such run
			}
			if out, code := orders(t.Context(), c.Kubeconfig, nil, "status", run, "--namespace", namespace); code != want {
				t.Errorf("%s: status ends with %d: %s", run, code, out)
			}
			if out, code := orders(t.Context(), c.Kubeconfig, env, start...); code != 0 {
				t.Errorf("%s: said again, it ends with %d: %s", run, code, out)
			}
			selector := "loadtest.ai-aas.dev/run=" + run
			var list struct {
				Items []struct{ Kind string }
			}
			if err := json.Unmarshal([]byte(kubectl(t, c, "", "-n", namespace, "get", "jobs,secrets,configmaps,services", "-l", selector, "-o", "json")), &list); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(list.Items); len(list.Items) != 4 {
				t.Errorf("%s: %s", run, got)
			}
			// The platform is not there, which is what the result says.
			if out, code := orders(t.Context(), c.Kubeconfig, env, "results", run, "--follow", "--namespace", namespace, "--output-dir", t.TempDir()); code != 1 || !strings.Contains(out, "nothing listens at") {
				t.Errorf("%s: results ends with %d: %s", run, code, out)
			}
			if out, code := orders(t.Context(), c.Kubeconfig, nil, "cleanup", "--run", run, "--namespace", namespace, "--force", "--keep-tenants"); code != 0 {
				t.Errorf("%s: cleanup ends with %d: %s", run, code, out)
			}
			if left := kubectl(t, c, "", "-n", namespace, "get", "all,secrets,configmaps", "-l", selector, "-o", "name"); left != "" {
				t.Errorf("%s: left %s", run, left)
			}
		}
	}
}
