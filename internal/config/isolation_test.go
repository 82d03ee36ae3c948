package config_test

import (
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

// What is tested follows from what is promised.
func TestIsolationIsSettled(t *testing.T) {
	const head = "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: a}\nspec:\n"
	const three = "  organizations: {count: 3, budget: {limitUSD: 1}, overrides: [{index: 2, budget: {limitUSD: 9, dailyUSD: 0.5}}]"
	for _, c := range []struct {
		spec, fault string
		org         int
		rate        float64
		burst       int
	}{
		{spec: three + "}\n  isolation: {budget: {enabled: true}}\n", org: 2},
		{spec: three + "}\n  isolation: {budget: {enabled: true, organization: 3}}\n", org: 3},
		{spec: "  organizations: {count: 3, budget: {limitUSD: 1}}\n  isolation: {budget: {enabled: true}}\n", fault: "no organization has a smaller budget than all others"},
		{spec: "  organizations: {count: 3}\n  isolation: {budget: {enabled: true}}\n", fault: "no organization has a smaller budget"},
		{spec: "  organizations: {count: 3}\n  isolation: {budget: {enabled: true, organization: 1}}\n", fault: "organization 1 has no budget"},
		{spec: "  isolation: {budget: {enabled: true}}\n", fault: "there is only one"},
		{spec: three + "}\n  isolation: {budget: {enabled: true, organization: 4}}\n", fault: "there are only 3 organizations"},
		{spec: three + ", rateLimit: {requestsPerSecond: 5}}\n  isolation: {rateLimit: {enabled: true}}\n", rate: 5, burst: 10},
		{spec: "  isolation: {rateLimit: {enabled: true, requestsPerSecond: 100}}\n", rate: 100, burst: 200},
		{spec: three + ", rateLimit: {requestsPerSecond: 5, burst: 60}}\n  isolation: {rateLimit: {enabled: true, requestsPerSecond: 5}}\n", rate: 5, burst: 60},
		{spec: three + ", rateLimit: {requestsPerSecond: 5, burst: 60}}\n  isolation: {rateLimit: {enabled: true, burst: 7}}\n", rate: 5, burst: 7},
		{spec: three + ", rateLimit: {requestsPerSecond: 5, burst: 20000}}\n  isolation: {rateLimit: {enabled: true, requestsPerSecond: 5}}\n", fault: "10000 at once"},
		{spec: "  isolation: {rateLimit: {enabled: true}}\n", fault: "no rate limit is given"},
		{spec: three + ", rateLimit: {requestsPerSecond: 5000}}\n  isolation: {rateLimit: {enabled: true}}\n", fault: "more than 1000 per second"},
		{spec: three + "}\n  isolation: {rateLimit: {enabled: true, organization: 4, requestsPerSecond: 1}}\n", fault: "there are only 3 organizations"},
	} {
		s, err := config.Parse("a.yaml", []byte(head+c.spec), func(string) (string, bool) { return "", false })
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", c.spec, err, c.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", c.spec, err)
		default:
			i := s.Spec.Isolation
			if i.Budget.Organization != c.org || i.RateLimit.RequestsPerSecond != c.rate || i.RateLimit.Burst != c.burst {
				t.Errorf("%s: %+v", c.spec, i)
			}
		}
	}
}
