//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

// onCluster are the tests on a real Kubernetes, one after the other: they share
// it, and its processors.
var onCluster = []struct {
	name string
	test func(*testing.T, *cluster.Cluster)
}{
	{"Chart", helmChart},
	{"Manifests", manifests},
	{"Rights", rights},
	{"Restricted", restricted},
	{"Example", example},
	{"WholeRun", wholeRun},
	{"KilledStarts", killedStarts},
	{"Refusals", refusals},
	{"ImageAbsent", imageAbsent},
	{"ServerAway", serverAway},
	{"KilledFollowers", killedFollowers},
	{"Scale", scale},
	{"Losses", losses},
	{"Detached", detached},
	{"Forced", forced},
	{"InBucket", inBucket},
	{"BucketAway", bucketAway},
	{"Nodes", nodes},
}

// TestKubernetes is not parallel, and ends its cluster, so that nothing of it
// runs beside the tests that measure.
func TestKubernetes(t *testing.T) {
	archive := packed(t)
	c, err := cluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Import(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	for _, on := range onCluster {
		t.Run(on.name, func(t *testing.T) { on.test(t, c) })
	}
}

const namespace = "load-testing"

// kubectl runs kubectl, which must succeed.
func kubectl(t *testing.T, c *cluster.Cluster, in string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := c.Kubectl(ctx, in, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// commands are those of a section of the page on Kubernetes, a line each.
func commands(t *testing.T, section string) []string {
	t.Helper()
	_, text, _ := strings.Cut(page(t), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var lines []string
	for i, part := range strings.Split(text, "\n```") { // every other one is a block
		if block, found := strings.CutPrefix(part, "sh\n"); found && i%2 == 1 {
			lines = append(lines, strings.Split(strings.TrimSpace(block), "\n")...)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("there are no commands below %s", section)
	}
	return lines
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/load-testing/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// typed runs a command of the page as a reader does, and returns what it
// prints. It must succeed.
func typed(t *testing.T, c *cluster.Cluster, line string) string {
	t.Helper()
	if !strings.Contains(page(t), line) {
		t.Fatalf("the page on Kubernetes does not say %s", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line) // #nosec G204 -- ours
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "PATH="+installed(t, "cluster")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// objects are those of a stream of YAML, by kind and name.
func objects(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	all, documents := map[string]map[string]any{}, yaml.NewDecoder(strings.NewReader(text))
	for {
		var o map[string]any
		if err := documents.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		if len(o) == 0 {
			continue
		}
		name := fmt.Sprint(o["kind"], " ", o["metadata"].(map[string]any)["name"])
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = o
	}
}

// manifests holds what kustomize makes against the API server, and applies it.
func manifests(t *testing.T, c *cluster.Cluster) {
	withMonitors(t, c)
	kubectl(t, c, "", "apply", "-f", "../../deploy/k8s/namespace.yaml")
	for _, dir := range []string{"", "nodes", "monitoring", "example"} {
		kubectl(t, c, "", "apply", "--dry-run=server", "--validate=strict", "-k", filepath.Join("../../deploy/k8s", dir))
	}
	for _, line := range commands(t, "Install") {
		if strings.HasPrefix(line, "kubectl ") {
			typed(t, c, line)
		}
	}
}

// withMonitors tells the API server what Prometheus' operator does.
func withMonitors(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	kubectl(t, c, "", "apply", "--server-side", "-f", installed(t, "cluster/podmonitors.yaml"))
	kubectl(t, c, "", "wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "--timeout=60s")
}

// rights are what the Role gives, and nothing else.
func rights(t *testing.T, c *cluster.Cluster) {
	as := "--as=system:serviceaccount:" + namespace + ":loadtest"
	for question, want := range map[string]string{
		"create jobs": "yes", "update jobs": "yes", "patch jobs": "yes", "delete jobs": "yes", "watch jobs": "yes",
		"create secrets": "yes", "get secrets": "yes", "create configmaps": "yes", "create services": "yes",
		"watch pods": "yes", "get pods/log": "yes", "create pods/proxy": "yes", "list events": "yes", "list resourcequotas": "yes",
		"list nodes": "yes",

		"list secrets": "no", "delete secrets": "no", "update configmaps": "no",
		"create pods": "no", "delete pods": "no", "create pods/exec": "no", "create pods/portforward": "no", "create pods/ephemeralcontainers": "no",
		"create deployments": "no", "create cronjobs": "no", "create serviceaccounts": "no", "create serviceaccounts/token": "no",
		"create roles": "no", "create rolebindings": "no", "escalate roles": "no", "bind roles": "no", "impersonate users": "no",
		"delete resourcequotas": "no", "patch networkpolicies": "no", "patch namespaces": "no", "patch nodes": "no", "get nodes/proxy": "no",
		"create jobs -n default": "no", "get secrets -n kube-system": "no", "get pods/log -n kube-system": "no",
	} {
		args := []string{"auth", "can-i", as, "-n", namespace} // of several -n the last counts
		for word := range strings.FieldsSeq(question) {
			resource, part, _ := strings.Cut(word, "/") // pods/exec would be the pod exec
			if args = append(args, resource); part != "" {
				args = append(args, "--subresource="+part)
			}
		}
		if out, err := c.Kubectl(t.Context(), "", args...); strings.TrimSpace(out) != want {
			t.Errorf("may one %s? %q, want %s (%v)", question, out, want, err)
		}
	}
	if token := strings.TrimSpace(typed(t, c, "kubectl create token loadtest -n load-testing")); strings.Count(token, ".") != 2 {
		t.Errorf("the token is %q", token)
	}
	typed(t, c, "kubectl create rolebinding sre --role=loadtest --group=sre -n load-testing")
	for group, want := range map[string]string{"sre": "yes", "others": "no"} {
		if out, _ := c.Kubectl(t.Context(), "", "auth", "can-i", "--as=someone", "--as-group="+group, "-n", namespace, "create", "jobs"); strings.TrimSpace(out) != want {
			t.Errorf("may one of %s create Jobs? %q", group, out)
		}
	}
	workers := "--as=system:serviceaccount:" + namespace + ":default"
	if out, _ := c.Kubectl(t.Context(), "", "auth", "can-i", workers, "-n", namespace, "get", "pods"); strings.TrimSpace(out) != "no" {
		t.Errorf("may workers look at pods? %q", out)
	}
}

// restricted wants the namespace to refuse what is not hardened, or too big.
func restricted(t *testing.T, c *cluster.Cluster) {
	job := objects(t, kubectl(t, c, "", "kustomize", "../../deploy/k8s/example"))["Job loadtest-example"]
	template := job["spec"].(map[string]any)["template"].(map[string]any)
	pod := map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "refused", "namespace": namespace}, "spec": template["spec"],
	}
	text := func(change func(spec, container map[string]any)) string {
		spec := pod["spec"].(map[string]any)
		change(spec, spec["containers"].([]any)[0].(map[string]any))
		out, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	create := []string{"create", "--dry-run=server", "-f", "-"}
	kubectl(t, c, text(func(_, _ map[string]any) {}), create...)
	big := text(func(_, container map[string]any) {
		container["resources"] = map[string]any{"limits": map[string]any{"memory": "8Gi"}}
	})
	soft := text(func(spec, container map[string]any) {
		delete(container, "resources")
		delete(container, "securityContext")
		delete(spec, "securityContext")
	})
	for refused, want := range map[string]string{big: "maximum memory usage per Container is 4Gi", soft: `violates PodSecurity "restricted`} {
		if _, err := c.Kubectl(t.Context(), refused, create...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a refusal because it %s, have %v:\n%s", want, err, refused)
		}
	}
}

// example carries the example out: a Job of the image as it was built, in the
// namespace as it was made.
func example(t *testing.T, c *cluster.Cluster) {
	lines := commands(t, "A first look")
	if len(lines) != 4 {
		t.Fatalf("want one command that creates it, waits for it, shows its log, and takes it away; have %q", lines)
	}
	typed(t, c, lines[0])
	pods := []string{"get", "pods", "-n", namespace, "-l", "loadtest.ai-aas.dev/run=example", "-o"}
	until(t, "the example's pod is ready", func() bool {
		out := kubectl(t, c, "", append(slices.Clone(pods), `jsonpath={.items[*].status.containerStatuses[0].ready}{.items[*].status.phase}`)...)
		if strings.Contains(out, "Failed") {
			t.Fatal(kubectl(t, c, "", "describe", "pods", "-n", namespace))
		}
		return strings.HasPrefix(out, "true") || strings.HasSuffix(out, "Succeeded")
	})
	name := kubectl(t, c, "", append(slices.Clone(pods), "name")...)
	metrics := kubectl(t, c, "", "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+strings.TrimPrefix(strings.TrimSpace(name), "pod/")+":8080/proxy/metrics",
		"--as=system:serviceaccount:"+namespace+":loadtest")
	if !strings.Contains(metrics, "loadtest_user_requests_total") {
		t.Errorf("/metrics says %.200s", metrics)
	}
	typed(t, c, lines[1])
	log := typed(t, c, lines[2])
	if !strings.Contains(log, "2 orgs, 6 users, 6 keys deleted") { // whatever the verdict on a busy machine
		t.Errorf("the example's log is\n%s", log)
	}
	if quota := kubectl(t, c, "", "get", "quota", "loadtest", "-n", namespace, "-o", `jsonpath={.status.used.count/jobs\.batch}`); quota != "1" {
		t.Errorf("the quota counts %q Jobs", quota)
	}
	typed(t, c, lines[3])
}

// nodes that exist in name only take pods, which are running at once.
func nodes(t *testing.T, c *cluster.Cluster) {
	if err := c.AddNodes(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, `
apiVersion: batch/v1
kind: Job
metadata: {name: many, namespace: default}
spec:
  completions: 20
  parallelism: 20
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {type: kwok}
      tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
      containers: [{name: nothing, image: nothing}]
`, "apply", "-f", "-")
	until(t, "20 pods have run", func() bool {
		return kubectl(t, c, "", "get", "job/many", "-n", "default", "-o", "jsonpath={.status.succeeded}") == "20"
	})
	kubectl(t, c, "", "delete", "job/many", "-n", "default")
}
