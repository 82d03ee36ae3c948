package worker

import (
	"slices"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

// Users who bring their keys are dealt out to the workers.
func TestOwnKeysAreSplit(t *testing.T) {
	scenario, err := config.Parse("test.yaml", []byte(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: own}
spec:
  seed: 1
  targets: {apiRouterUrl: "http://router.invalid", credentials: {keys: [
    {org: a, user: ann, key: k1}, {org: a, user: ben, key: k2}, {org: b, user: cid, key: k3}, {org: a, user: ann, key: k4}]}}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if most, err := MostWorkers(scenario); err != nil || most != 3 {
		t.Errorf("%d workers at most, %v", most, err)
	}
	var got []string
	users := 0
	for w := range 2 {
		j, err := translate(t.Context(), Options{Scenario: scenario, RunID: "run", Worker: w, Workers: 2}, func(_, _ string) {})
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, u := range j.ownUsers {
			names = append(names, u.User+strings.Repeat("+", len(u.Keys)-1))
		}
		for _, o := range j.ownOrgs {
			users += o.Users
			names = append(names, o.Name)
		}
		got = append(got, strings.Join(names, " "))
	}
	var j job
	j.ownAll = 3
	if got := j.population(2); !slices.Equal(got, []int{2, 1}) {
		t.Errorf("the workers are said to have %v users", got)
	}
	if want := []string{"ann+ cid a b", "ben a"}; !slices.Equal(got, want) || users != 3 {
		t.Errorf("%q and %d users in the organizations, want %q and 3", got, users, want)
	}
}
