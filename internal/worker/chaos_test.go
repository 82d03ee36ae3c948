package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// What we break is not held against the platform, and the platform's count of
// what arrived is ours plus what we broke on its way back.
func TestChaosIsCountedApart(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy+`
  slo: {errorRate: 0, availability: 1}
  limits: {maxErrorRate: 0, maxCostUsd: 1}
  advanced: {chaos: {enabled: true, failureRate: 10%, dnsFailures: 5%, resets: 10%, truncatedStreams: 20%, slowReads: 5%, networkLatency: {base: 5ms, variance: 2ms}}}
`)
	if b.Verdict.Status != verdict.Passed || b.Stop.Reason != "completed" {
		t.Errorf("%+v, %+v", b.Verdict, b.Stop)
	}
	all := b.Summary.Overall()
	if all.All.Failed+all.All.Refused > 0 || len(all.Errors) > 0 || b.Headline.ErrorRate != 0 {
		t.Errorf("the platform is blamed: %+v, %+v", all.All, all.Errors)
	}
	faults := map[string]uint64{}
	for _, f := range b.Chaos.Faults {
		faults[f.Fault] = f.Requests
	}
	for _, f := range []string{"failure", "dns", "reset", "truncation", "slow_read"} {
		if faults[f] == 0 {
			t.Errorf("there was no %s: %+v", f, b.Chaos)
		}
	}
	if all.All.Injected != b.Chaos.Injected {
		t.Errorf("%d requests were harmed, %d are recorded", b.Chaos.Injected, all.All.Injected)
	}
	if b.Chaos.Delayed == 0 || b.Chaos.DelayTotal < time.Duration(b.Chaos.Delayed)*3*time.Millisecond {
		t.Errorf("delayed: %+v", b.Chaos)
	}
	arrived := all.All.Requests + all.All.Injected - faults["failure"] - faults["dns"]
	if got := uint64(p.Totals().Requests); got != arrived {
		t.Errorf("%d requests arrived, we know of %d", got, arrived)
	}
	if p.Totals().CostMicroUSD < all.All.CostMicroUSD {
		t.Errorf("we count %d, the platform charged %d", all.All.CostMicroUSD, p.Totals().CostMicroUSD)
	}
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

// An outage opens the circuit; half-open, one request finds out that it is
// over; then everybody is served as before, and how long that took is known.
func TestRecoveryFromAnOutage(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy+`
  looping: {enabled: true}
  loadPattern: {type: custom, phases: [{name: steady, duration: 10s, targetActiveUsers: 12, rampStrategy: step}]}
  advanced: {chaos: {enabled: true, outages: [{at: 1s, duration: 2s}, {at: 1h, duration: 1m}]}}
`)
	if b.Verdict.Status != verdict.Passed || b.Headline.ErrorRate != 0 {
		t.Errorf("%+v, error rate %v", b.Verdict, b.Headline.ErrorRate)
	}
	warnings := strings.Join(b.Warnings, "\n")
	if !strings.Contains(warnings, "held back for a while") || !strings.Contains(warnings, "outage at 1h0m0s was never made") {
		t.Errorf("warnings %q", b.Warnings)
	}
	if len(b.Chaos.Outages) != 1 || len(b.Chaos.Outages[0].Recoveries) != 3 || b.Chaos.Faults[0].Fault != "outage" {
		t.Fatalf("%+v", b.Chaos)
	}
	for _, r := range b.Chaos.Outages[0].Recoveries {
		if r.FirstSuccess == nil || *r.FirstSuccess < 0 || r.Answers == 0 {
			t.Errorf("%+v", r)
			continue
		}
		if r.Answers >= 20 && (r.SuccessRate == nil || *r.SuccessRate < *r.FirstSuccess) {
			t.Errorf("%s had %d answers after the outage, first after %v, and was never as before", r.Org, r.Answers, *r.FirstSuccess)
		}
	}
}

// Retries get users through faults that pass.
func TestRetriesRideOutFaults(t *testing.T) {
	const faulty = "  advanced: {chaos: {enabled: true, failureRate: 30%%}}\n  userBehavior: {questionsPerSession: {min: 5, max: 5}, thinkTimeSeconds: {min: 0, max: 0.01}, " +
		"modelPreferences: [{model: sim-small}], maxTokensPerRequest: {base: 10}, errorHandling: {retryAttempts: %d, retryBackoffMs: 1}}\n  users: {perOrg: {min: 6, max: 6}}\n"
	answered := map[int]uint64{}
	for _, attempts := range []int{0, 6} {
		p := target(t, platformsim.Options{})
		b := run(t, targets(p)+fmt.Sprintf(faulty, attempts))
		answered[attempts] = b.Summary.Overall().All.Succeeded
		if b.Chaos.Injected == 0 {
			t.Errorf("with %d retries nothing was harmed", attempts)
		}
	}
	if answered[0] >= answered[6]*9/10 {
		t.Errorf("without retries %d questions were answered, with them %d", answered[0], answered[6])
	}
}
