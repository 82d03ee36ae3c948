package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

const responding = `
  organizations: {count: 2}
  users: {perOrg: {min: 3, max: 3}}
  userBehavior:
    questionsPerSession: {min: 15, max: 15}
    thinkTimeSeconds: {min: 0, max: 0.01}
    maxTokensPerRequest: {base: 24}
    streamingRatio: 0.6
    modelPreferences: [{model: sim-small}]
  testTypes:
    - {name: response, weight: 3, endpoint: responses}
    - {name: cached, weight: 1, endpoint: responses}
`

// Responses, streamed and whole, are counted as the platform counts them.
func TestResponsesAgreeWithTheTruth(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+responding)
	all := b.Summary.Overall()
	if b.Verdict.Status != verdict.Passed {
		t.Errorf("%+v, %+v", b.Verdict, all.Errors)
	}
	agree(t, p, all.All)
	if n := all.Measured.Requests; n != 90 || all.All.Streams < 30 || all.All.Streams > 75 || all.All.UsageUnknown > 0 || all.All.CachedReported != all.All.Requests || all.All.CachedTokens == 0 {
		t.Errorf("%+v", all.All)
	}
	if l := &all.Latency; l.TTFT.Count() != all.Measured.Streams || l.ITL.Count() == 0 || l.TPOT.Count() == 0 || l.TTFT.Mean() >= l.E2E.Mean() {
		t.Errorf("%d TTFT, %d ITL", l.TTFT.Count(), l.ITL.Count())
	}
	for _, e := range p.Truth() {
		if e.Endpoint != "responses" {
			t.Errorf("%+v", e)
		}
	}
}

// Broken streams are failures, of which none is missing.
func TestBrokenResponsesAgreeWithTheTruth(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+strings.Replace(responding, "userBehavior:", "userBehavior:\n    errorHandling: {retryAttempts: 8, retryBackoffMs: 1}", 1))
	if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{
		platformsim.BadGateway: 0.05, platformsim.Truncate: 0.1, platformsim.ResetMidway: 0.05, platformsim.Garbage: 0.05,
	}}); err != nil {
		t.Fatal(err)
	}
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all := b.Summary.Overall().All; int64(all.Requests) != p.Totals().Requests || all.Failed == 0 {
		t.Errorf("%+v; %d in truth", all, p.Totals().Requests)
	}
}

// A router without the call is told from one without the model.
func TestPreflightMissesTheResponsesAPI(t *testing.T) {
	p := target(t, platformsim.Options{Quirks: platformsim.Quirks{FewEndpoints: true}, HashCost: time.Microsecond})
	b, err := prepare(t, targets(p)+responding).Run(t.Context())
	if err == nil || b.Stop.Reason != "broken" || !strings.Contains(b.Stop.Detail, "404") || !strings.Contains(b.Stop.Detail, "no Responses API: leave test types with the endpoint responses out") {
		t.Errorf("%v, %+v", err, b.Stop)
	}
}
