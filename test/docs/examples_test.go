package docs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob/blobtest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// asWritten are the examples that are run as they are; the others are run
// with shorter phases and pauses.
var asWritten = []string{"smoke.yaml", "strategy-mixed.yaml", "think-time-gaussian.yaml"}

// atALimit are the examples that show how a limit ends a run.
var atALimit = []string{"cost-limit.yaml"}

// verb is what an example is for.
func verb(name string) string {
	if name == "find.yaml" {
		return "find"
	}
	return "run"
}

func examples(t *testing.T) []string {
	t.Helper()
	var files []string
	root := os.DirFS(at("configs/examples"))
	for _, pattern := range []string{"*.yaml", "isolation/*.yaml"} {
		found, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 10 {
		t.Fatalf("%d examples", len(files))
	}
	return files
}

// The comment at the head of an example says how it is run.
func TestExamplesSayHow(t *testing.T) {
	for _, name := range examples(t) {
		head, _, _ := strings.Cut(read(t, "configs/examples/"+name), "\napiVersion:")
		says := false
		for line := range strings.Lines(head) {
			if typed, ok := strings.CutPrefix(line, "#   "); ok {
				args := words(strings.NewReplacer("make demo          or", "").Replace(typed))
				if err := checkCommand(args, read(t, "Makefile")); err != nil {
					t.Errorf("%s: %s: %v", name, strings.TrimSpace(typed), err)
				}
				says = says || len(args) >= 3 && slices.Equal(args[:3], []string{"loadtest", verb(name), "configs/examples/" + name})
			}
		}
		if !says {
			t.Errorf("the head of %s does not say loadtest %s configs/examples/%s", name, verb(name), name)
		}
	}
}

// Every example runs and passes, but for those that end at a limit: against the platform that is built in, or,
// where it names targets, against one that serves the models it names.
func TestExamplesRun(t *testing.T) {
	t.Parallel()
	for _, name := range examples(t) {
		if verb(name) != "run" {
			continue // its outcome depends on the machine; the packages test the command
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := []byte(read(t, "configs/examples/"+name))
			env := environment(t, data)
			lookup := func(key string) (string, bool) {
				for _, e := range env {
					if k, v, _ := strings.Cut(e, "="); k == key {
						return v, true
					}
				}
				return "", false
			}
			s, err := config.Parse(name, data, lookup)
			if err != nil {
				t.Fatal(err)
			}
			l := newTool(t, env...)
			file := "configs/examples/" + name
			if !slices.Contains(asWritten, name) {
				file = filepath.Join(l.dir, filepath.Base(name))
				if err := os.WriteFile(file, shortened(t, data), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(filepath.Join(l.dir, "documents"), os.DirFS(at("configs/examples/documents"))); err != nil {
					t.Fatal(err)
				}
			}
			output, exit := l.run(t, "run", file, "--output-dir", "out")
			want := 0
			if slices.Contains(atALimit, name) {
				want = 99
			}
			if exit != want {
				t.Fatalf("exit %d:\n%s", exit, output)
			}
			results, err := filepath.Glob(filepath.Join(l.dir, "out", "*", "result.json"))
			if err != nil || len(results) != 1 {
				t.Fatalf("%d results, %v:\n%s", len(results), err, output)
			}
			b, err := export.Read(results[0])
			if err != nil {
				t.Fatal(err)
			}
			if b.Stop.Reason == "limit" != (want == 99) {
				t.Errorf("it ended by %+v", b.Stop)
			}
			orgs := s.Spec.Organizations.Count
			if s.Spec.Targets.Credentials != nil {
				orgs = 1
			}
			if asked := b.Summary.Rollup(stats.ByOrg); len(b.Orgs) != orgs || len(asked) != orgs {
				t.Errorf("%d organizations, of which %d asked; want %d", len(b.Orgs), len(asked), orgs)
			}
			if all := strings.Join(b.Warnings, "\n"); strings.Contains(all, "generated texts") {
				t.Errorf("the documents were not found: %s", all)
			}
			if b.Cleanup.Remaining != 0 {
				t.Errorf("%d things were left behind", b.Cleanup.Remaining)
			}
			for _, e := range env {
				if key, value, _ := strings.Cut(e, "="); strings.Contains(key, "KEY") || strings.Contains(key, "PASSWORD") {
					if strings.Contains(output, value) {
						t.Errorf("the output contains %s", key)
					}
				}
			}
		})
	}
}

// environment starts what an example needs, and returns the variables that say
// where it is.
func environment(t *testing.T, data []byte) []string {
	t.Helper()
	var env []string
	for mark, bucket := range map[string]string{"s3://": "loadtest-results", "bucketName:": "load-test-documents"} {
		if !strings.Contains(string(data), mark) {
			continue
		}
		s := blobtest.New(t, bucket)
		for n := range 10 {
			s.Put(fmt.Sprintf("technical/%d.md", n+1), strings.Repeat("A sentence of a manual. ", 50))
		}
		env = append(env, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=who", "AWS_SECRET_ACCESS_KEY=a-key-of-this-test-alone")
	}
	if !strings.Contains(string(data), "\n  targets:") {
		return env
	}
	admin := secret.New("an-admin-key-of-this-test-alone")
	models := platformsim.DefaultModels()
	for _, name := range []string{"gpt-4o", "gpt-3.5-turbo"} {
		m := models[0]
		m.Name = name
		models = append(models, m)
	}
	p, err := platformsim.New(platformsim.Options{
		Seed: 1, AdminKey: admin, AdminEmail: "admin@example.com", AdminPassword: admin, Models: models,
		Quirks: platformsim.Quirks{DevKeys: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return append(env,
		"API_URL="+p.RouterURL(), "API_ROUTER_URL="+p.RouterURL(), "USER_ORG_URL="+p.UserOrgURL(),
		"API_KEYS=dev-first-key,dev-second-key", "LOADTEST_ADMIN_API_KEY="+admin.Reveal(),
		"ADMIN_EMAIL=admin@example.com", "ADMIN_PASSWORD="+admin.Reveal(),
	)
}

// shortened returns a scenario whose phases take a second each, whose users
// hardly think, and which promises nothing.
func shortened(t *testing.T, data []byte) []byte {
	t.Helper()
	const separator = "\n---\n"
	load, tests, mixed := strings.Cut(string(data), separator) // TestScenarios follow, and stay as they are
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(load), &doc); err != nil {
		t.Fatal(err)
	}
	spec := doc["spec"].(map[string]any)
	behavior := spec["userBehavior"].(map[string]any)
	behavior["thinkTimeSeconds"] = map[string]any{"min": 0.1, "max": 0.3}
	behavior["maxTokensPerRequest"] = 16
	delete(spec, "slo") // a machine that is busy with other tests keeps no promises
	if pattern, ok := spec["loadPattern"].(map[string]any); ok {
		for _, p := range pattern["phases"].([]any) {
			p.(map[string]any)["duration"] = "1s"
		}
	} else {
		behavior["questionsPerSession"] = map[string]any{"min": 1, "max": 2}
	}
	if tests, ok := spec["isolation"].(map[string]any); ok {
		if n, ok := tests["noisyNeighbour"].(map[string]any); ok { // one more request at a time is no noise, however busy the machine
			n["window"], n["requestsPerSecond"], n["concurrency"] = "200ms", 140, 1
		}
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if mixed {
		out = append(out, separator+tests...)
	}
	return out
}

// command starts a program that ends with the test; interrupted, so that it
// cleans up, and killed if that takes too long.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
