package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

func inSteps(o *worker.Options) { o.Step = 300 * time.Millisecond }

const searched = `
  organizations: {count: 2}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {thinkTimeSeconds: {min: 0.01, max: 0.02}, maxTokensPerRequest: {base: 16}, modelPreferences: [{model: sim-small}]}
`

// Every request of a search is in the document and in the truth, and its
// tenants are gone.
func TestSearch(t *testing.T) {
	for name, test := range map[string]struct {
		spec    string
		outcome capacity.Outcome
		status  verdict.Status
		steps   int
		low     float64
	}{
		"all users hold": {"  slo: {ttft: {p95: 1m}, errorRate: 100%}\n", capacity.NotReached, verdict.Passed, 5, 4},
		"a limit":        {"  slo: {ttft: {p95: 1m}}\n  limits: {maxRequests: 5}\n", capacity.Stopped, verdict.Failed, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			// So fast that even a machine that stops for a while makes requests in each step.
			p := target(t, platformsim.Options{Models: platformsim.AtSpeed(platformsim.DefaultModels(), 20)})
			b, err := prepare(t, targets(p)+searched+test.spec, inSteps).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := b.Search
			if s == nil || s.Outcome != test.outcome || b.Verdict.Status != test.status || test.low > 0 && (s.Held != test.low || len(s.Steps) < test.steps) {
				t.Fatalf("%+v, %+v", s, b.Verdict)
			}
			for _, step := range s.Steps {
				if step.OwnLimit != "" {
					continue // this machine was busy; it was made again
				}
				if step.Requests == 0 || step.TTFT == nil || step.Passed != (len(step.Broke) == 0) {
					t.Errorf("%+v", step)
				}
			}
			agree(t, p, b.Summary.Overall().All)
			if p.State().Orgs != 0 || b.Cleanup.Status != "done" {
				t.Errorf("clean-up %+v", b.Cleanup)
			}
		})
	}
}

// What cannot be searched is refused before anything is created.
func TestSearchIsRefused(t *testing.T) {
	const arrivals = "  slo: {errorRate: 1%}\n  loadPattern: {arrival: {model: open, rate: 3}, phases: [{name: steady, duration: 1s}]}\n"
	for spec, want := range map[string]string{
		"":       "there is nothing to search by",
		arrivals: "3 arrivals per second, fewer than 10 requests arrive within a --step of 1s: let that be 4s at least",
	} {
		s, err := config.Parse("test.yaml", []byte(head+searched+spec), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		s.Spec.Seed = new(uint64)
		_, err = worker.New(t.Context(), worker.Options{Scenario: s, RunID: "run-1", Folder: t.TempDir(), Workers: 1, Step: time.Second})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A platform is not blamed for steps in which nobody asked it anything; and
// tests that a search does not make are named.
func TestSearchBlamesNobodyForSilence(t *testing.T) {
	p := target(t, platformsim.Options{})
	b, err := prepare(t, targets(p)+`
  organizations: {count: 2, rateLimit: {requestsPerSecond: 5}}
  userBehavior: {thinkTimeSeconds: {min: 3600, max: 3600}, modelPreferences: [{model: sim-small}]}
  isolation: {rateLimit: {enabled: true}}
  keyLifecycle: {revoke: 1}
  slo: {ttft: {p95: 1m}}
`, inSteps).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := b.Search; s.Outcome != capacity.OwnLimit || b.Verdict.Status != verdict.Broken || !strings.Contains(b.Verdict.Reasons[0], "let --step be longer") {
		t.Errorf("%+v, %+v", s, b.Verdict)
	}
	if got := strings.Join(b.Warnings, "\n"); !strings.Contains(got, "which run does: isolation.rateLimit, keyLifecycle") {
		t.Errorf("%s", got)
	}
}
