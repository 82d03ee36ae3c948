package worker_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

const endless = "  looping: {enabled: true}\n"

func TestCostIsNeverOverItsLimit(t *testing.T) {
	for _, c := range []struct {
		micro  int64
		faults platformsim.Faults
	}{
		{micro: 20_000},
		{micro: 3_000}, // few of the requests fit at once
		{micro: 20_000, faults: platformsim.Faults{Rates: map[platformsim.Fault]float64{
			platformsim.InternalError: 0.1, platformsim.ResetMidway: 0.1, platformsim.Truncate: 0.1, platformsim.Garbage: 0.1,
		}}},
	} {
		t.Run(fmt.Sprintf("%d, %d faults", c.micro, len(c.faults.Rates)), func(t *testing.T) {
			p := target(t, platformsim.Options{})
			if err := p.SetFaults(c.faults); err != nil {
				t.Fatal(err)
			}
			b := run(t, targets(p)+busy+endless+fmt.Sprintf("  limits: {maxCostUsd: %.6f}\n", float64(c.micro)/1e6))
			if b.Stop.Reason != "limit" || !strings.Contains(b.Stop.Detail, "the cost limit was reached") || b.Verdict.Status != verdict.Failed {
				t.Errorf("%+v, %+v", b.Stop, b.Verdict)
			}
			truth := p.Totals().CostMicroUSD
			if truth > c.micro || truth == 0 {
				t.Errorf("the platform charged %d, the limit was %d", truth, c.micro)
			}
			if len(c.faults.Rates) == 0 {
				agree(t, p, b.Summary.Overall().All)
				_, next, _ := strings.Cut(b.Stop.Detail, "the next request may cost $")
				if dollars, err := strconv.ParseFloat(next, 64); err != nil || truth+int64(math.Round(dollars*1e6)) <= c.micro {
					t.Errorf("it stopped at %d of %d, where the next request fitted: %s (%v)", truth, c.micro, b.Stop.Detail, err)
				}
			}
		})
	}
}

func TestRequestsAreExactlyAsManyAsAllowed(t *testing.T) {
	for _, n := range []int64{1, 2, 97} {
		p := target(t, platformsim.Options{})
		b := run(t, targets(p)+busy+endless+fmt.Sprintf("  limits: {maxRequests: %d}\n", n))
		if got := p.Totals().Requests; got != n || b.Stop.Reason != "limit" || b.Stop.Detail != fmt.Sprintf("the request limit was reached: %d of %d", n, n) {
			t.Errorf("%d requests arrived of %d allowed: %+v", got, n, b.Stop)
		}
		if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
			t.Errorf("left behind: %+v", s)
		}
	}
}

func TestRequestsPerUser(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy+endless+"  limits: {maxRequestsPerUser: 3}\n")
	if b.Stop.Reason != "completed" || !strings.Contains(b.Stop.Detail, "every user sent the 3 requests") || b.Verdict.Status != verdict.Passed {
		t.Errorf("%+v, %+v", b.Stop, b.Verdict)
	}
	for _, g := range b.Summary.Rollup(stats.ByPhase) {
		if want := uint64(3 * len(b.Summary.Users)); g.Key.Phase != worker.PreFlight && g.All.Requests != want {
			t.Errorf("%d users sent %d requests, want %d", len(b.Summary.Users), g.All.Requests, want)
		}
	}
	agree(t, p, b.Summary.Overall().All)
}

func TestWaitingForOurOwnLimitsIsVisible(t *testing.T) {
	for name, limit := range map[string]string{"maxConcurrentReqs": "2", "maxRequestsPerSecond": "100"} {
		t.Run(name, func(t *testing.T) {
			p := target(t, platformsim.Options{})
			b := run(t, targets(p)+busy+fmt.Sprintf("  limits: {%s: %s}\n", name, limit))
			if len(b.Throttled) != 1 || b.Throttled[0].Limit != name || b.Throttled[0].Requests == 0 || b.Throttled[0].Total <= 0 {
				t.Fatalf("%+v", b.Throttled)
			}
			if !strings.Contains(strings.Join(b.Warnings, "\n"), "limits."+name+" held") {
				t.Errorf("no warning says so: %q", b.Warnings)
			}
			lag := b.Headline.SendLag.Max
			if longest := b.Throttled[0].Longest; lag < longest*98/100 || b.Headline.E2E.Max < longest*98/100 {
				t.Errorf("a request waited for %v, yet send lag is at most %v and latency %v", longest, lag, b.Headline.E2E.Max)
			}
			agree(t, p, b.Summary.Overall().All)
		})
	}
}

func TestErrorRateEndsTheRun(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+busy+endless+"  limits: {maxErrorRate: 10%}\n")
	var broken sync.WaitGroup
	broken.Go(func() { // once the load has begun
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		for p.Totals().Requests < 10 {
			<-poll.C
		}
		if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.InternalError: 0.6}}); err != nil {
			t.Error(err)
		}
	})
	b, err := w.Run(t.Context())
	if broken.Wait(); err != nil {
		t.Fatal(err)
	}
	if b.Stop.Reason != "limit" || !strings.Contains(b.Stop.Detail, "the error rate limit was reached") {
		t.Errorf("%+v", b.Stop)
	}
}

func TestACostLimitWantsPricesAndBounds(t *testing.T) {
	for name, c := range map[string]struct{ spec, want string }{
		"no price":                     {"  userBehavior: {modelPreferences: [{model: sim-small}, {model: secret-sauce}]}\n", "there is no price for the model secret-sauce; give one under spec.pricing"},
		"no price in one organization": {"  organizations: {count: 2, overrides: [{index: 2, models: [{model: secret-sauce}]}]}\n", "there is no price for the model secret-sauce"},
		"no bound":                     {"  userBehavior: {maxTokensPerRequest: {min: 0, max: 10}}\n", "maxTokensPerRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := config.Parse("test.yaml", []byte(head+c.spec+"  limits: {maxCostUsd: 1}\n"), func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatal(err)
			}
			_, err = worker.New(t.Context(), worker.Options{Scenario: s, RunID: "run-1", Folder: t.TempDir(), Workers: 1, Log: zap.NewNop()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
