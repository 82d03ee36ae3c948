package worker_test

import (
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
			p := target(t, platformsim.Options{})
			b, err := prepare(t, targets(p)+searched+test.spec, inSteps).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := b.Search
			if s == nil || s.Outcome != test.outcome || b.Verdict.Status != test.status || test.low > 0 && (s.Held != test.low || len(s.Steps) != test.steps) {
				t.Fatalf("%+v, %+v", s, b.Verdict)
			}
			for _, step := range s.Steps {
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

func TestSearchNeedsPromises(t *testing.T) {
	s, err := config.Parse("test.yaml", []byte(head+searched), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := worker.New(t.Context(), worker.Options{Scenario: s, RunID: "run-1", Folder: t.TempDir(), Workers: 1, Step: time.Second}); err == nil {
		t.Error("a search without promises was begun")
	}
}
