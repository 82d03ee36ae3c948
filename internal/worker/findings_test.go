package worker

import (
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Of an organization whose users two workers have, each sees less spent than its
// budget, and only the sum is more.
func TestABudgetIsJudgedByTheSum(t *testing.T) {
	part := func(requests int) *export.Bundle {
		c := stats.NewCollector(stats.Objective{})
		for range requests {
			c.Add(&record.Record{Org: "large", User: "u", Outcome: record.Success, CostMicroUSD: 10, CostKnown: true})
		}
		return &export.Bundle{Orgs: []export.Org{{Index: 1, Name: "large", Users: 1, BudgetMicroUSD: 800}}, Summary: c.Summary()}
	}
	for _, tt := range []struct {
		requests, findings int
	}{{60, 0}, {120, 1}} {
		b := part(tt.requests)
		for range 2 { // judged again, it is said once
			new(job).judge(b, false)
		}
		if len(b.Findings) != tt.findings {
			t.Errorf("%d requests: %+v", tt.requests, b.Findings)
		}
	}
}
