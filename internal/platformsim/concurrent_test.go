package platformsim_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// Many at once overspend by no more than what was in flight, and every
// micro-dollar is accounted for.
func TestBudgetUnderConcurrency(t *testing.T) {
	const workers, each, cost = 16, 50, 3_333
	p := open(t, platformsim.Options{Models: instant(), Cost: func(string, platform.Usage) (int64, bool) { return cost, true }})
	m := tenant(t, p, "acme", map[string]any{"budget": map[string]any{"limitUSD": 1}})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				m.ask(p, chatPath, hello)
			}
		})
	}
	wg.Wait()
	totals := p.Totals()
	spent := totals.Orgs["acme"].CostMicroUSD
	if spent != totals.ByStatus[200]*cost || spent < 1_000_000 || spent > 1_000_000+workers*cost || totals.ByStatus[200]+totals.ByStatus[402] != workers*each {
		t.Errorf("spent %d micro-USD of a million: %v", spent, totals.ByStatus)
	}
	if got := asAdmin(t, p).do("GET", "/v1/orgs/acme/budget", "").field(t, "spentUSD"); got != float64(spent)/1e6 {
		t.Errorf("the budget says %v, the truth %d micro-USD", got, spent)
	}
}

// Everything at once, for the race detector: nothing may break.
func TestConcurrentUse(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), Truth: io.Discard, KeepTruth: 10, Quirks: platformsim.Quirks{DevKeys: true},
		RateLimit: platformsim.RateLimit{RequestsPerSecond: 1000}})
	a := asAdmin(t, p)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				slug := fmt.Sprintf("org-%d-%d", i, n)
				a.do("POST", "/v1/orgs", `{"name":"x","slug":"`+slug+`"}`)
				inv := a.do("POST", "/v1/orgs/"+slug+"/invites", `{"email":"x@y"}`)
				a.do("POST", "/v1/orgs/"+slug+"/users/"+inv.text(t, "inviteId")+"/keys", "{}")
				a.do("PATCH", "/v1/orgs/"+slug, `{"status":"suspended","budget":{"limitUSD":1}}`)
				a.do("GET", "/v1/orgs", "")
				a.do("GET", "/v1/orgs/"+slug+"/budget", "")
				a.do("DELETE", "/v1/orgs/"+slug, "")
			}
		})
		wg.Go(func() {
			dev := member{key: fmt.Sprintf("dev-shared-%d", i)}
			for n := range 50 {
				dev.ask(p, chatPath, hello)
				if n%10 == i {
					if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.Unavailable: 0.5}}); err != nil {
						t.Error(err)
					}
					p.SetOutages(platformsim.Outages{Backends: n > 25})
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				p.State()
				p.Totals()
				p.Truth()
				do(p.Router(), "GET", "/metrics", "")
			}
		})
	}
	wg.Wait()
	if got := p.State(); got.Orgs != 1 || got.Slugs[0] != "shared" {
		t.Errorf("left: %+v", got)
	}
	if got := p.Totals().Requests; got != 4*50 {
		t.Errorf("%d requests in the truth, want 200", got)
	}
	p.Reset()
	if got := p.Totals().Requests; got != 0 {
		t.Errorf("%d after reset", got)
	}
}
