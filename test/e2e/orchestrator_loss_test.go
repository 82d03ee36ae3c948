//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.yaml.in/yaml/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

// clusterRun is a run of two workers that somebody follows.
type clusterRun struct {
	*platformsim.Platform
	t         *testing.T
	c         *cluster.Cluster
	name, dir string
	as, file  string
	env       []string
	looking   *looker
}

// looker is a command that follows a run.
type looker struct {
	cmd  *exec.Cmd
	said transcript
}

// The tenants of two workers: an organization for each, or one for both.
const (
	twoOrganizations = "  organizations: {count: 2, namingPattern: \"{run}-{index}\"}\n  users: {perOrg: {min: 2, max: 2}}\n"
	oneOrganization  = "  organizations: {count: 1, namingPattern: \"{run}-{index}\"}\n  users: {perOrg: {min: 4, max: 4}}\n"
)

// begin starts a run against a platform of its own.
func begin(t *testing.T, c *cluster.Cluster, as, name, spec string, env []string, more ...string) *clusterRun {
	t.Helper()
	p, err := platformsim.New(platformsim.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{Router: c.Host + ":0", UserOrg: c.Host + ":0"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	dir := t.TempDir()
	r := &clusterRun{
		Platform: p, t: t, c: c, name: name, dir: dir, as: as, file: filepath.Join(dir, "scenario.yaml"),
		env: append(env, "PLATFORM_KEY="+p.AdminKey().Reveal()),
	}
	tenants := twoOrganizations
	if strings.Contains(spec, "organizations:") {
		tenants = ""
	}
	text := fmt.Sprintf(`apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: losses}
spec:
%s  userBehavior:
    thinkTimeSeconds: {min: 0.2, max: 0.4}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 8
  looping: {enabled: true}
  workers: {replicas: 2}
  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: "${PLATFORM_KEY}"}
%s`, tenants, p.RouterURL(), p.UserOrgURL(), spec)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.follow(append([]string{"start", "--config", r.file, "--run", name, "--image", workerImage, "--follow"}, more...)...)
	return r
}

// follow lets a command look on, which ends with the test.
func (r *clusterRun) follow(args ...string) {
	r.t.Helper()
	l := &looker{cmd: exec.Command(binary, append(args, "--namespace", namespace, "--output-dir", r.dir)...)} // #nosec G204 -- ours
	l.cmd.Env = append(append(os.Environ(), "KUBECONFIG="+r.as), r.env...)
	l.cmd.Stdout, l.cmd.Stderr = &l.said, &l.said
	if err := l.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	r.looking = l
}

// ends waits for the command that looks on.
func (r *clusterRun) ends(want int) string {
	r.t.Helper()
	late := time.AfterFunc(3*patience, func() { _ = r.looking.cmd.Process.Signal(syscall.SIGQUIT) }) // where does it hang?
	defer late.Stop()
	_ = r.looking.cmd.Wait() // its code says more
	said := r.looking.said.String()
	if code := r.looking.cmd.ProcessState.ExitCode(); code != want {
		r.t.Errorf("%s ends with %d, want %d: %s", r.name, code, want, said)
	}
	return said
}

// result is what following has left.
func (r *clusterRun) result() *export.Bundle {
	r.t.Helper()
	b, err := export.Read(filepath.Join(r.dir, r.name, "result.json"))
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.looking.said.String())
	}
	return b
}

// say runs a command about the run to its end.
func (r *clusterRun) say(want int, args ...string) string {
	r.t.Helper()
	out, code := orders(r.t.Context(), r.as, r.env, append(args, "--namespace", namespace)...)
	if code != want {
		r.t.Errorf("%v ends with %d, want %d: %s", args, code, want, out)
	}
	return out
}

func (r *clusterRun) stop() {
	r.t.Helper()
	r.say(0, "stop", r.name, "--reason", "enough seen")
}

// agrees requires that every request that the platform got is in the result.
func (r *clusterRun) agrees(b *export.Bundle) {
	r.t.Helper()
	if truth := r.Totals(); b.Headline.Requests != uint64(truth.Requests) || truth.Requests == 0 { // #nosec G115 -- a count
		r.t.Errorf("%s: %d requests in the result, %d on the platform", r.name, b.Headline.Requests, truth.Requests)
	}
}

func (r *clusterRun) holdsNothing() {
	r.t.Helper()
	if s := r.State(); s.Orgs != 0 || s.Users != 0 || s.ActiveKeys != 0 {
		r.t.Errorf("%s: %d organizations, %d users and %d keys are left: %v", r.name, s.Orgs, s.Users, s.ActiveKeys, s.Slugs)
	}
}

// stands waits until the run is seen to stand in some way.
func (r *clusterRun) stands(what string, so func(monitor.View) bool) (v monitor.View) {
	r.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", r.c.Kubeconfig)
	if err != nil {
		r.t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		r.t.Fatal(err)
	}
	until(r.t, r.name+": "+what, func() bool {
		s, err := client.CoreV1().Secrets(namespace).Get(r.t.Context(), jobs.ObjectName(r.name), metav1.GetOptions{})
		if err != nil {
			return false
		}
		m := monitor.Monitor{ID: r.name, Workers: monitor.Workers{Client: client, Namespace: namespace, Token: secret.New(string(s.Data[jobs.TokenKey]))}}
		v, err = m.Look(r.t.Context())
		return err == nil && so(v)
	})
	return v
}

// made waits until an attempt at the part of a worker has made some requests,
// beyond so many.
func (r *clusterRun) made(worker, attempt int, beyond uint64) {
	r.t.Helper()
	r.stands(fmt.Sprintf("attempt %d of worker %d makes load", attempt, worker), func(v monitor.View) bool {
		if v.Leader == nil || len(v.Leader.Workers) != 2 {
			return false
		}
		w := v.Leader.Workers[worker]
		return w.Attempt == attempt && w.Requests >= w.Before+beyond+5
	})
}

// kill ends the process of a pod, which hears nothing of it. Its control group
// bears the pod's UID: other runs on this machine may have our name.
func (r *clusterRun) kill(pod string) {
	r.t.Helper()
	uid := kubectl(r.t, r.c, "", "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	killed := 0
	for _, file := range processes {
		line, _ := os.ReadFile(file) // it may have ended
		if !bytes.Contains(line, []byte("\x00--run="+r.name+"\x00")) {
			continue
		}
		if groups, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup")); !bytes.Contains(groups, []byte("/pod"+uid+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		killed++
	}
	if killed != 1 {
		r.t.Fatalf("%s: %d processes of the pod %s were killed", r.name, killed, pod)
	}
}

// losses takes the pod of a worker away, or kills it, under each policy, at the
// same time, and requires the outcome that docs/load-testing/orchestrator.md tells.
// Those whose worker is killed share one organization.
func losses(t *testing.T, c *cluster.Cluster) {
	type loss struct {
		*clusterRun
		policy string
		killed bool
	}
	as := person(t, c)
	var all []loss
	for _, policy := range []string{"fail", "continue", "replace"} {
		all = append(all, loss{begin(t, c, as, policy+"-taken", endless, nil, "--on-worker-loss", policy), policy, false},
			loss{begin(t, c, as, policy+"-killed", oneOrganization+endless, nil, "--on-worker-loss", policy), policy, true})
	}
	for _, l := range all {
		l.made(1, 0, 0)
		pods := l.stands("worker 1 has a pod", func(v monitor.View) bool { return len(v.Pods) == 2 }).Pods
		remove := []string{"-n", namespace, "delete", "pod", pods[1].Name, "--wait=false"}
		if l.killed {
			l.kill(pods[1].Name)
			remove = append(remove, "--force", "--grace-period=0", "--ignore-not-found")
		}
		kubectl(t, c, "", remove...)
	}
	for _, l := range all {
		switch l.policy {
		case "continue":
			v := l.stands("worker 1 is lost", func(v monitor.View) bool { return slices.Equal(v.Lost, []int{1}) && v.Leader != nil })
			l.made(0, 0, v.Leader.Workers[0].Requests)
			l.stop()
		case "replace":
			l.made(1, 1, 0)
			l.stop()
		}
	}
	for _, l := range all {
		code := 130
		if l.policy == "fail" || l.policy == "continue" && l.killed {
			code = 1
		}
		said := l.ends(code)
		b := l.result()
		if broken := b.Stop.Reason == "broken"; broken != (code == 1) || !broken && !strings.Contains(b.Stop.Detail, "enough seen") {
			t.Errorf("%s: stopped %+v", l.name, b.Stop)
		}
		if !l.killed {
			l.agrees(b)
			if len(b.Run.Lost) > 0 {
				t.Errorf("%s: lost %+v", l.name, b.Run.Lost)
			}
		} else if len(b.Run.Lost) != 1 || b.Run.Lost[0].Worker != 1 || b.Run.Lost[0].Attempt != 0 || b.Run.Lost[0].Requests < 5 || b.Run.Lost[0].Replaced != (l.policy == "replace") {
			t.Errorf("%s: lost %+v: %s", l.name, b.Run.Lost, said)
		} else if lost, replaced := b.Run.Losses(); l.policy != "replace" && !strings.Contains(said, lost[0]) ||
			l.policy == "replace" && (!slices.Contains(b.Verdict.Reasons, "incomplete: "+replaced[0]) || !strings.Contains(said, "incomplete: attempt 0 of worker 1 of 2 was lost and replaced")) {
			t.Errorf("%s: nobody says that requests are missing: %q, %s", l.name, b.Verdict.Reasons, said)
		} else if ours, real := b.Headline.Requests, uint64(l.Totals().Requests); ours >= real || ours+b.Run.Lost[0].Requests > real { // #nosec G115 -- a count
			t.Errorf("%s: %d requests and %d that were lost, %d on the platform", l.name, ours, b.Run.Lost[0].Requests, real)
		}
		gap := "worker 1 made no load for "
		if l.killed {
			gap = "worker 1 was lost; attempt 1 at its part began "
		}
		if told := strings.Contains(strings.Join(b.Warnings, "\n"), gap); told != (l.policy == "replace") {
			t.Errorf("%s: warnings %q", l.name, b.Warnings)
		}
		if l.policy == "continue" && !l.killed && !strings.Contains(b.Stop.Detail, "its pod was taken away (worker 1)") {
			t.Errorf("%s: nobody says who is missing: %+v", l.name, b.Stop)
		}
		if l.killed && l.policy == "continue" { // nobody has removed its tenants
			l.say(0, "cleanup", "--run", l.name, "--force")
		}
		if !l.killed || l.policy != "fail" {
			l.holdsNothing()
		}
	}
	for _, l := range all {
		if !l.killed || l.policy != "continue" {
			l.say(0, "cleanup", "--run", l.name, "--force", "--keep-tenants")
		}
	}
}

// detached leaves a run alone, comes back to it, and stops it.
func detached(t *testing.T, c *cluster.Cluster) {
	r := begin(t, c, person(t, c), "left", endless, nil)
	r.made(0, 0, 0)
	if err := r.looking.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if said := r.ends(130); !strings.Contains(said, "run left goes on; come back with: loadtest results left --follow --namespace "+namespace) {
		t.Errorf("nothing says how to come back: %s", said)
	}
	v := r.stands("nobody looks on", func(v monitor.View) bool { return v.Leader != nil })
	r.made(1, 0, v.Leader.Workers[1].Requests) // it goes on
	r.follow("results", "left", "--follow")
	r.stop()
	r.ends(130)
	b := r.result()
	if b.Stop.Reason != "interrupted" || b.Stop.Detail != "enough seen (each of 2 workers)" || len(b.Run.Lost) > 0 {
		t.Errorf("stopped %+v, lost %v", b.Stop, b.Run.Lost)
	}
	r.agrees(b)
	r.holdsNothing()
	r.stands("the Job is complete", func(v monitor.View) bool { return v.State == monitor.Completed })
	if said := r.say(0, "stop", "left"); !strings.Contains(said, "is over already: completed") {
		t.Errorf("a second stop says %s", said)
	}
	r.say(0, "cleanup", "--run", "left", "--keep-tenants")
}

// forced removes a run whose documents nobody has fetched: its pods do not wait
// for that.
func forced(t *testing.T, c *cluster.Cluster) {
	r := begin(t, c, person(t, c), "forced", endless, nil)
	r.made(0, 0, 0)
	if err := r.looking.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.ends(-1)
	r.stop()
	r.stands("documents wait", func(v monitor.View) bool { return v.Leader != nil && len(v.Leader.Documents) == 2 })
	log := exec.Command(binary, "logs", "forced", "--worker", "0", "--follow", "--namespace", namespace) // #nosec G204 -- ours
	log.Env = append(os.Environ(), "KUBECONFIG="+r.as)
	var said transcript
	log.Stdout, log.Stderr = &said, &said
	if err := log.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the log is followed", func() bool { return strings.Contains(said.String(), "listening") })
	r.say(0, "cleanup", "--run", "forced", "--force")
	_ = log.Wait() // the pod is gone
	// That it was taken away may be cut off.
	if text := said.String(); strings.Contains(text, "nobody collected the documents") {
		t.Errorf("worker 0 says %s", text)
	}
	r.holdsNothing()
}

// inBucket lets the workers put what they measured into a bucket, from which the
// result is made, and looks at the run in every other way.
func inBucket(t *testing.T, c *cluster.Cluster) {
	s := startStoreAt(t, c.Host)
	env := []string{"AWS_ENDPOINT_URL=" + s.url, "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey}
	r := begin(t, c, person(t, c), "exported", `  loadPattern: {type: steady, phases: [{name: steady, duration: 3s}]}
  cleanup: {exportResultsTo: "s3://docs/runs/{testRunId}"}
`, env)
	if said := r.ends(0); !strings.Contains(said, "s3://docs/runs/exported/manifest.json") {
		t.Errorf("nothing says where the results are: %s", said)
	}
	r.agrees(r.result())
	r.holdsNothing()

	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(at.Host, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	token := kubectl(t, c, "", "-n", namespace, "get", "secret", jobs.ObjectName("exported"), "-o", `go-template={{.data.token | base64decode}}`)
	sums := map[string]string{}
	var manifest struct {
		Run    string            `json:"run"`
		SHA256 map[string]string `json:"sha256"`
	}
	var written, others int64
	for o := range client.ListObjects(t.Context(), "docs", minio.ListObjectsOptions{Prefix: "runs/exported/", Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		object, err := client.GetObject(t.Context(), "docs", o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{r.AdminKey().Reveal(), secretKey, accessKey, token} {
			if hidden == "" || bytes.Contains(data, []byte(hidden)) {
				t.Errorf("%s shows a secret", o.Key)
			}
		}
		name := strings.TrimPrefix(o.Key, "runs/exported/")
		if name == "manifest.json" {
			written = o.LastModified.UnixNano()
			if err := json.Unmarshal(data, &manifest); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if name == "scenario.yaml" {
			if _, err := config.Parse(name, data, nil); err != nil {
				t.Errorf("the scenario cannot be loaded again: %v", err)
			}
		}
		others = max(others, o.LastModified.UnixNano())
		sum := sha256.Sum256(data)
		sums[name] = hex.EncodeToString(sum[:])
	}
	if written < others || manifest.Run != "exported" || len(sums) != 5 || fmt.Sprint(sums) != fmt.Sprint(manifest.SHA256) {
		t.Errorf("the manifest, of %d after %d, says %v, and there is %v", written, others, manifest, sums)
	}

	r.stands("the Job is complete", func(v monitor.View) bool { return v.State == monitor.Completed })
	var list []monitor.View
	if err := json.Unmarshal([]byte(r.say(0, "list", "--output", "json")), &list); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(list, func(v monitor.View) bool {
		return v.Run == "exported" && v.State == monitor.Completed && v.Workers == 2
	}) {
		t.Errorf("the list is %+v", list)
	}
	var json1, yaml1 map[string]any
	if err := json.Unmarshal([]byte(r.say(0, "status", "exported", "--output", "json")), &json1); err != nil {
		t.Error(err)
	}
	if err := yaml.Unmarshal([]byte(r.say(0, "status", "--output", "yaml")), &yaml1); err != nil { // the latest
		t.Error(err)
	}
	for _, one := range []map[string]any{json1, yaml1} {
		if one["run"] != "exported" || one["state"] != "completed" || fmt.Sprint(one["ended"]) != "2" {
			t.Errorf("the status is %v", one)
		}
	}
	if said := r.say(0, "logs", "exported", "--worker", "1"); !strings.Contains(said, "the document is in the bucket") || strings.Contains(said, "worker 0") {
		t.Errorf("the log of worker 1 is %s", said)
	}
	r.say(0, "cleanup", "--run", "exported", "--keep-tenants")
}

// bucketAway takes the bucket away from workers that are to put what they measured
// there: nothing is lost, and all is there when the bucket is back.
func bucketAway(t *testing.T, c *cluster.Cluster) {
	s := startStoreAt(t, c.Host)
	env := []string{"AWS_ENDPOINT_URL=" + s.url, "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey}
	r := begin(t, c, person(t, c), "kept", endless+"  cleanup: {exportResultsTo: \"s3://docs/runs/{testRunId}\"}\n", env)
	r.made(0, 0, 0)
	r.made(1, 0, 0)
	s.stop()
	r.stop()
	if said := r.ends(1); !strings.Contains(said, "the workers kept what they measured, and it is here") || !strings.Contains(said, "say the same again to go on") {
		t.Errorf("nothing says what became of the results: %s", said)
	}
	r.agrees(r.result())
	r.holdsNothing()
	if said := r.say(0, "logs", "kept", "--worker", "1"); !strings.Contains(said, "the leader gets it") {
		t.Errorf("the log of worker 1 is %s", said)
	}
	s.start(t)
	until(t, "the S3 server is back", func() bool { _, err := s.List(t.Context(), ""); return err == nil })
	r.follow("results", "kept", "--follow")
	if said := r.ends(130); !strings.Contains(said, "s3://docs/runs/kept/manifest.json") {
		t.Errorf("nothing says where the results are: %s", said)
	}
	r.agrees(r.result())
	want := []string{"manifest.json", "report.html", "result.json", "scenario.yaml"}
	if keys := s.keys(t, "runs/kept/"); !slices.Equal(keys, want) {
		t.Errorf("in the bucket are %v, want %v", keys, want)
	}
	if keys := s.keys(t, "runs/kept/workers/"); !slices.Equal(keys, []string{"0-0.json", "1-0.json"}) {
		t.Errorf("of the workers there are %v", keys)
	}
	r.say(0, "cleanup", "--run", "kept", "--keep-tenants")
}
