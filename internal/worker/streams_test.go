package worker

import (
	"math"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// TestSharesOfTheRate: what all workers send together is what was asked for,
// and an organization's own rate goes with its users, wherever they are.
func TestSharesOfTheRate(t *testing.T) {
	for _, orgs := range []string{"count: 7", "count: 2"} { // whole, and split
		t.Run(orgs, func(t *testing.T) { sharesOfTheRate(t, orgs) })
	}
}

func sharesOfTheRate(t *testing.T, orgs string) {
	t.Helper()
	s, err := config.Parse("x.yaml", []byte(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: x}
spec:
  seed: 3
  organizations: {`+orgs+`, overrides: [{index: 2, arrivalRate: 30}]}
  users: {perOrg: {min: 4, max: 9}}
  loadPattern:
    type: steady
    arrival: {model: open, rate: 10, process: constant}
    phases:
      - {name: half, duration: 10s, targetActiveUsers: 4}
      - {name: full, duration: 10s, targetActiveUsers: 8}
      - {name: own, duration: 10s, targetActiveUsers: 8, targetRate: 25}
      - {name: none, duration: 10s, targetActiveUsers: 0}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	const workers = 3
	general, own, streams := 0.0, 0.0, 0
	for w := range workers {
		j, err := translate(t.Context(), Options{Scenario: s, RunID: "run-1", Worker: w, Workers: workers}, func(_, _ string) {})
		if err != nil {
			t.Fatal(err)
		}
		var users []simulator.Identity
		for _, o := range plan.ForWorker(plan.Make(j.plan), w) {
			for _, u := range o.Users {
				users = append(users, simulator.Identity{OrgIndex: o.Index, UserIndex: u.Index})
			}
		}
		if got := j.population(workers)[w]; got != len(users) {
			t.Errorf("worker %d has %d users, and not %d", w, got, len(users))
		}
		j.pattern(j.population(workers), w)
		for i, want := range []float64{5, 10, 25, 0} {
			if got := j.phases[i].Rate; got != want {
				t.Errorf("phase %s has a rate of %v, want %v", j.phases[i].Name, got, want)
			}
		}
		for _, s := range j.streams(users, w, workers) {
			arrivals := s.Arrivals.Wanted(j.phases.Duration())
			if s.Org == 0 {
				general += arrivals
			} else {
				own += arrivals
				streams++
			}
		}
	}
	if split := orgs == "count: 2"; split != (streams > 1) {
		t.Errorf("%d workers send arrivals of the organization with a rate of its own", streams)
	}
	if math.Abs(general-400) > 1e-6 || math.Abs(own-1200) > 1e-6 {
		t.Errorf("%v and %v arrivals of all workers, want 400 and 1200", general, own)
	}
}
