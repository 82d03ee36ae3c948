//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

const chartDir = "../../deploy/helm/loadtest"

// everything is what turns on all that the chart has.
var everything = []string{"--set=nodes.enabled=true", "--set=podMonitor.enabled=true", "--set=example.enabled=true"}

// judge runs a program that install.sh has built beside the cluster's and
// returns what it prints. It must succeed.
func judge(t *testing.T, in, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, installed(t, filepath.Join("cluster", program)), args...) // #nosec G204 -- ours
	cmd.Stdin = strings.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, &out, &said)
	}
	return out.String()
}

// kubeVersion is the version that manifests are made and judged for.
const kubeVersion = "v1.37"

// helmChart installs the chart, wants it to make what kustomize makes, object by
// object, holds all of that against the API server, and takes it away again.
func helmChart(t *testing.T, c *cluster.Cluster) {
	withMonitors(t, c)
	for _, line := range commands(t, "Install") {
		if strings.HasPrefix(line, "helm ") {
			typed(t, c, line)
		}
	}
	defer func() {
		typed(t, c, "helm uninstall loadtest")
		kubectl(t, c, "", "wait", "--for=delete", "namespace/"+namespace, "--timeout=110s")
	}()
	judge(t, "", "helm", append([]string{"lint", "--strict", chartDir}, everything...)...)
	render := func(set ...string) string {
		return judge(t, "", "helm", append([]string{"template", "loadtest", chartDir, "--kube-version=" + kubeVersion}, set...)...)
	}
	var all strings.Builder
	for _, dir := range []string{"", "nodes", "monitoring", "example"} {
		all.WriteString("\n---\n" + kubectl(t, c, "", "kustomize", filepath.Join("../../deploy/k8s", dir)))
		if dir == "" {
			same(t, objects(t, render()), objects(t, all.String()))
		}
	}
	made := render(everything...)
	same(t, objects(t, made), objects(t, all.String()))
	kubectl(t, c, made, "apply", "--dry-run=server", "--validate=strict", "-f", "-")

	// Elsewhere, and less of it.
	text := render(append([]string{"--set=namespace.name=elsewhere", "--set=namespace.create=false", "--set=networkPolicy.enabled=false"}, everything...)...)
	if strings.Contains(text, namespace) {
		t.Errorf("what is meant for elsewhere names %s:\n%s", namespace, text)
	}
	for name := range objects(t, text) {
		if kind, _, _ := strings.Cut(name, " "); kind == "Namespace" || kind == "NetworkPolicy" {
			t.Errorf("%s is there although it is not wanted", name)
		}
	}

	scored(t, all.String())
	for _, name := range []string{"plain", "secretive"} { // what runs bring, as the tests of its builders have it
		run, err := os.ReadFile("../../internal/orchestrator/jobs/testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		// How much disk a run takes follows from its length, and its Service
		// selects by labels that the Job controller gives.
		scored(t, all.String()+"\n---\n"+string(run), "container-ephemeral-storage-request-and-limit", "container-ephemeral-storage-request-equals-limit", "service-targets-pod")
	}
}

// scored judges manifests by every test that kube-score has, but for two things
// that are so on purpose: CPU is not limited (see limits.yaml), and an image
// that a node has is not pulled again.
func scored(t *testing.T, manifests string, but ...string) {
	t.Helper()
	judge(t, manifests, "kube-score", "score", "--kubernetes-version="+kubeVersion, "--exit-one-on-warning", "--ignore-container-cpu-limit",
		"--enable-optional-test=container-memory-requests-equal-limits,container-ephemeral-storage-request-equals-limit,container-ports-check,container-seccomp-profile",
		"--ignore-test="+strings.Join(append(but, "container-image-pull-policy"), ","), "-")
}

func same(t *testing.T, have, want map[string]map[string]any) {
	t.Helper()
	for name, object := range want {
		if !reflect.DeepEqual(have[name], object) {
			t.Errorf("helm makes of %s\n%v\nand kustomize\n%v", name, have[name], object)
		}
	}
	for name := range have {
		if want[name] == nil {
			t.Errorf("helm makes a %s, which kustomize does not", name)
		}
	}
}
