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
	if most, each, err := MostWorkers(scenario); err != nil || most != 3 || each != "user" {
		t.Errorf("%d workers at most, each with a %s, %v", most, each, err)
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

// A large organization is split among as many workers as there are users, unless
// a test wants it whole.
func TestMostWorkers(t *testing.T) {
	for _, tt := range []struct {
		spec, each string
		most       int
		users      []int // of three workers
	}{
		{"organizations: {count: 1}\n  users: {perOrg: {min: 10, max: 10}}", "user", 10, []int{4, 3, 3}},
		{"organizations: {count: 2, overrides: [{index: 2, users: {min: 5, max: 5}}]}\n  users: {perOrg: {min: 2, max: 4, distribution: uniform}}", "user", 8, []int{3, 3, 2}},
		{"organizations: {count: 4}\n  users: {perOrg: {min: 1, max: 1}}", "organization", 4, []int{2, 1, 1}},
		{"organizations: {count: 2, overrides: [{index: 1, budget: {limitUSD: 1}}]}\n  users: {perOrg: {min: 6, max: 6}}\n  isolation: {budget: {enabled: true, organization: 1}}", "organization", 2, []int{6, 6, 0}},
	} {
		s, err := config.Parse("test.yaml", []byte("apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: x}\nspec:\n  seed: 1\n  "+tt.spec+"\n"),
			func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		if most, each, err := MostWorkers(s); err != nil || most != tt.most || each != tt.each {
			t.Errorf("%s: %d workers at most, one for each %s, %v", tt.spec, most, each, err)
		}
		j, err := translate(t.Context(), Options{Scenario: s, RunID: "run", Workers: 3}, func(_, _ string) {})
		if err != nil {
			t.Fatal(err)
		}
		if got := j.population(3); !slices.Equal(got, tt.users) {
			t.Errorf("%s: the workers have %v users, want %v", tt.spec, got, tt.users)
		}
	}
}
