package worker_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// A budget that others spend fails the run.
func TestASharedBudgetFailsTheRun(t *testing.T) {
	p := target(t, platformsim.Options{Defects: platformsim.Defects{SharedBudget: true}, Models: platformsim.AtSpeed(platformsim.DefaultModels(), 20)})
	const limit = 200 // micro-dollars; the others spend some nine times as much
	var spent atomic.Int64
	all := make(chan struct{})
	w := prepare(t, targets(p)+fmt.Sprintf(`
  organizations: {count: 3, overrides: [{index: 2, budget: {limitUSD: %v}}]}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior:
    questionsPerSession: {min: 40, max: 40}
    thinkTimeSeconds: {min: 0.005, max: 0.01}
    maxTokensPerRequest: {base: 8}
    modelPreferences: [{model: sim-small}]
    errorHandling: {retryAttempts: 0}
  isolation: {budget: {enabled: true}}
`, limit/1e6), func(o *worker.Options) {
		o.Sinks = append(o.Sinks, record.SinkFunc(func(r *record.Record) {
			if r.Org == "loadtest-org-2" && r.Phase != worker.PreFlight {
				<-all // its users wait after their first question until the others have spent its budget
			} else if n := spent.Add(r.CostMicroUSD); n >= limit && n-r.CostMicroUSD < limit {
				close(all)
			}
		}))
	})
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Isolation) != 1 {
		t.Fatalf("%+v", b.Isolation)
	}
	got := b.Isolation[0]
	if got.Verdict != "violated" || got.Org != "loadtest-org-2" || got.Budget.Early == 0 || got.Budget.SpentMicroUSD >= limit {
		t.Errorf("%s: %s, %+v", got.Verdict, got.Reason, got.Budget)
	}
	if b.Verdict.Status != verdict.Failed || !strings.HasPrefix(b.Verdict.Reasons[0], "budget isolation: VIOLATED on loadtest-org-2: ") {
		t.Errorf("%+v", b.Verdict)
	}
}

// A limit that is not kept fails the run; what tried it is in no measured number.
func TestALimitThatIsNotKeptFailsTheRun(t *testing.T) {
	p := target(t, platformsim.Options{Quirks: platformsim.Quirks{NoOrgRateLimit: true}})
	b := run(t, targets(p)+salted+"  isolation: {rateLimit: {enabled: true, requestsPerSecond: 2, burst: 2}}\n")
	if len(b.Isolation) != 1 {
		t.Fatalf("%+v", b.Isolation)
	}
	got := b.Isolation[0]
	if got.Verdict != "violated" || got.Org != "loadtest-org-1" || !strings.Contains(got.Reason, "none was refused") || got.RateLimit.Requests != 18 {
		t.Errorf("%s: %s, %+v", got.Verdict, got.Reason, got.RateLimit)
	}
	if b.Verdict.Status != verdict.Failed || !strings.HasPrefix(b.Verdict.Reasons[0], "rate limit accuracy: VIOLATED on loadtest-org-1: ") {
		t.Errorf("%+v", b.Verdict)
	}
	for _, g := range b.Summary.Rollup(func(k stats.Key) stats.Key { return stats.Key{Phase: k.Phase} }) {
		if g.Key.Phase == worker.RateCheck && (g.All.Requests != 18 || g.Measured.Requests != 0) {
			t.Errorf("%+v", g.All)
		}
	}
	agree(t, p, b.Summary.Overall().All)
}

// A limit of the run holds for the test of a limit too, and a test that cannot
// be made is said not to have been.
func TestTheRateCheckKeepsLimits(t *testing.T) {
	p := target(t, platformsim.Options{})
	const tried = "  isolation: {rateLimit: {enabled: true, requestsPerSecond: 100, burst: 50}}\n"
	if b := run(t, targets(p)+salted+tried+"  limits: {maxRequests: 20}\n"); b.Stop.Reason != "limit" || len(b.Isolation) != 0 || p.Totals().Requests != 20 {
		t.Errorf("%+v, %d requests, %+v", b.Stop, p.Totals().Requests, b.Isolation)
	}
	b := run(t, targets(p)+salted+tried+"  testTypes: [{name: list, endpoint: models}]\n")
	if len(b.Isolation) != 0 || !strings.Contains(strings.Join(b.Warnings, "\n"), "asks no model for texts") {
		t.Errorf("%+v, %q", b.Isolation, b.Warnings)
	}
}
