package jobs_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// golden holds objects against the file of a name.
func golden(t *testing.T, name string, objects ...any) {
	t.Helper()
	var text strings.Builder
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\n" + string(data))
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("%s (-update writes it): %s", file, diff)
	}
}

func plain() *jobs.Run {
	return &jobs.Run{
		ID: "20261123-101500-4f2a", Namespace: "load-testing", Scenario: "three orgs", SHA256: "abc", Seed: 1<<64 - 1,
		Started: time.Date(2026, 11, 23, 10, 15, 0, 123456789, time.UTC), Workers: 3, Image: "load-test-worker:v1",
		OnLoss: jobs.ReplaceOnLoss, OnLate: jobs.FailOnLate, StartTimeout: 5 * time.Minute, Deadline: 3 * time.Hour,
		Resources: jobs.Size(50), Text: []byte("kind: LoadTestScenario\n"), Token: secret.New("the-token"),
		Admin: jobs.Admin{Key: secret.New("the-admin-key")},
	}
}

// secretive has everything that a run can have.
func secretive() *jobs.Run {
	r := plain()
	r.Secretive, r.OnLoss, r.OnLate, r.Export = true, jobs.FailOnLoss, jobs.ContinueOnLate, "s3://bucket/{testRunId}/"
	r.StartTimeout = 90 * time.Second
	r.Text = []byte("adminApiKey: in-the-text\n")
	r.Files = []jobs.File{{Path: "certs/ca.pem", Data: []byte("PEM")}}
	r.Variables = []jobs.Variable{{Name: "AWS_SECRET_ACCESS_KEY", Value: secret.New("the-s3-key")}}
	r.Env = []jobs.Variable{{Name: "GOMEMLIMIT", Value: secret.New("200MiB")}, {Name: "HTTPS_PROXY", Value: secret.New("http://me:pass@proxy")}}
	r.Regions = []string{"eu-1", "eu-2"}
	r.Admin = jobs.Admin{Email: "root@example.com", From: &jobs.KeyRef{Secret: "platform", Key: "password"}}
	r.Resources.CPULimit = resource.MustParse("2")
	return r
}

func TestObjects(t *testing.T) {
	for name, r := range map[string]*jobs.Run{"plain": plain(), "secretive": secretive()} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		job := r.Job()
		job.UID = "the-uid"
		service := r.Service(job)
		service.Spec.ClusterIP = "10.96.0.7"
		objects := []any{job, r.Secret(job), service}
		if m := r.ConfigMap(job); m != nil {
			objects = append(objects, m)
		}
		golden(t, name, objects...)

		released := jobs.Release(job, service)
		clean, err := jobs.CleanupJob(released)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+"-later", released.Spec.Suspend, released.Spec.Template.Annotations, clean)
		if !*job.Spec.Suspend {
			t.Error("Release changed the Job that it was given")
		}
	}
}

// What is secret stands in the Secret and in no other object.
func TestSecretsAreInTheSecretAlone(t *testing.T) {
	for _, r := range []*jobs.Run{plain(), secretive()} {
		job := r.Job()
		clean, err := jobs.CleanupJob(job)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal([]any{job, r.ConfigMap(job), r.Service(job), clean})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"the-token", "the-admin-key", "in-the-text", "the-s3-key", "200MiB", "me:pass", "root@example.com"} {
			if strings.Contains(string(text), s) {
				t.Errorf("%q is in an object that is not the Secret", s)
			}
		}
	}
}

// A run is remembered by its Job alone.
func TestARunIsReadBackFromItsJob(t *testing.T) {
	for _, r := range []*jobs.Run{plain(), secretive()} {
		back, err := jobs.FromJob(r.Job())
		if err != nil {
			t.Fatal(err)
		}
		want := &jobs.Run{
			ID: r.ID, Namespace: r.Namespace, Scenario: r.Scenario, SHA256: r.SHA256, Seed: r.Seed, Started: r.Started, Workers: r.Workers,
			Image: r.Image, OnLoss: r.OnLoss, OnLate: r.OnLate, StartTimeout: r.StartTimeout, Deadline: r.Deadline, Export: r.Export,
		}
		if diff := cmp.Diff(want, back, cmp.Comparer(func(a, b secret.String) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
	}
	for want, change := range map[string]func(*batchv1.Job){
		"is not that of a run":    func(j *batchv1.Job) { delete(j.Labels, jobs.RunLabel) },
		"not that of a run":       func(j *batchv1.Job) { j.Name = "loadtest-other" },
		"what cannot be read: st": func(j *batchv1.Job) { delete(j.Annotations, jobs.SeedAnnotation) },
		"parsing time":            func(j *batchv1.Job) { j.Annotations[jobs.StartedAnnotation] = "now" },
		"invalid duration":        func(j *batchv1.Job) { j.Annotations[jobs.StartTimeoutAnnotation] = "soon" },
	} {
		job := plain().Job()
		change(job)
		if _, err := jobs.FromJob(job); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	for policy, want := range map[jobs.LossPolicy][2]int32{jobs.FailOnLoss: {0, 0}, jobs.ContinueOnLoss: {0, 3}, jobs.ReplaceOnLoss: {3, 3}} {
		r := plain()
		r.OnLoss = policy
		spec := r.Job().Spec
		if got := [2]int32{*spec.BackoffLimitPerIndex, *spec.MaxFailedIndexes}; got != want {
			t.Errorf("%s: %v, want %v", policy, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*jobs.Run){
		`"Big" cannot name a run`:                    func(r *jobs.Run) { r.ID = "Big" },
		"cannot name a run in a cluster":             func(r *jobs.Run) { r.ID = strings.Repeat("a", 41) },
		"at least one worker, not 0":                 func(r *jobs.Run) { r.Workers = 0 },
		"no image is named":                          func(r *jobs.Run) { r.Image = "" },
		`--on-worker-loss is fail, continue or repl`: func(r *jobs.Run) { r.OnLoss = "cry" },
		"--on-late-worker is fail or continue":       func(r *jobs.Run) { r.OnLate = "" },
		"--start-timeout must be more than nothing":  func(r *jobs.Run) { r.StartTimeout = 0 },
		`"a-b" cannot name an environment variable`:  func(r *jobs.Run) { r.Env = []jobs.Variable{{Name: "a-b"}} },
		"asks for 256Mi of memory and may use no":    func(r *jobs.Run) { r.Resources.MemoryLimit = resource.MustParse("1Mi") },
		"are 1024 KiB together":                      func(r *jobs.Run) { r.Files = []jobs.File{{Data: make([]byte, 1<<20)}} },
	} {
		r := plain()
		change(r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestWorkers(t *testing.T) {
	for _, c := range []struct {
		wanted jobs.Wanted
		n      int
		remark string
	}{
		{jobs.Wanted{Replicas: 3, Users: 1000, UsersPerWorker: 50, Most: 3, Each: "organization"}, 3, ""},
		{jobs.Wanted{Users: 1000, UsersPerWorker: 20, Most: 50, Each: "organization"}, 50, "50 workers for up to 1,000 users, 20 each"},
		{jobs.Wanted{Users: 101, UsersPerWorker: 50, Most: 100}, 3, "3 workers for up to 101 users"},
		{jobs.Wanted{UsersPerWorker: 50}, 1, "1 worker for up to 0 users"},
		{jobs.Wanted{Users: 1000, UsersPerWorker: 20, Most: 4, Each: "organization"}, 4, "4 workers and no more: each needs at least one organization, and there are 4; 50 had been asked for"},
		{jobs.Wanted{Replicas: 5, UsersPerWorker: 20, Most: 1, Each: "user"}, 1, "1 worker and no more"},
	} {
		n, remark := c.wanted.Workers()
		if n != c.n || !strings.HasPrefix(remark, c.remark) || (remark == "") != (c.remark == "") {
			t.Errorf("%+v: %d, %q", c.wanted, n, remark)
		}
	}
}

// A worker is never given more than half a GiB for the users that it has by default.
func TestSize(t *testing.T) {
	for users, want := range map[int]string{0: "256Mi", 50: "256Mi", 1000: "320Mi", 2000: "448Mi", 100000: "13632Mi"} {
		if got := jobs.Size(users); got.MemoryLimit.Cmp(resource.MustParse(want)) != 0 || !got.CPULimit.IsZero() {
			t.Errorf("%d users: %s, want %s", users, got.MemoryLimit.String(), want)
		}
	}
}
