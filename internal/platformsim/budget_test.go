package platformsim_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// flat charges a third of a cent for every request, whatever it was.
func flat(string, platform.Usage) (int64, bool) { return 3_333, true }

func TestBudgetIsKeptToTheMicroDollar(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), Cost: flat})
	// Three requests cost 0.009999 USD, so the fourth still passes; it makes 0.013332.
	m := tenant(t, p, "poor", map[string]any{"budget": map[string]any{"limitUSD": 0.01, "warnAtUSD": 0.005}})
	rich := tenant(t, p, "rich", map[string]any{"budget": map[string]any{"limitUSD": 0.013332}})
	a := asAdmin(t, p)
	for i := range 4 {
		if got := m.ask(p, chatPath, hello); got.status != 200 {
			t.Fatalf("request %d: %d %s", i, got.status, got.body)
		}
	}
	got := m.ask(p, chatPath, hello)
	if got.status != 402 || got.text(t, "code") != "BUDGET_EXCEEDED" || got.header.Get("Retry-After") != "" ||
		got.text(t, "error") != "the organization's limitUSD of 0.01 USD is spent" ||
		got.field(t, "limit_context.current_usage") != 0.013332 || got.field(t, "limit_context.limit") != 0.01 ||
		got.text(t, "limit_context.quota_type") != "budget" {
		t.Errorf("fifth request: %d %s", got.status, got.body)
	}
	b := a.do("GET", "/v1/orgs/poor/budget", "")
	want := `{"limitUSD":0.01,"warnAtUSD":0.005,"spentUSD":0.013332,"spentTodayUSD":0.013332,"remainingUSD":0,"warning":true,"exhausted":true}`
	if strings.TrimSpace(b.body) != want {
		t.Errorf("budget: %s", b.body)
	}
	if u := a.do("GET", "/v1/orgs/poor/usage", ""); strings.TrimSpace(u.body) != `{"requests":4,"promptTokens":20,"completionTokens":20,"cachedTokens":0,"spentUSD":0.013332}` {
		t.Errorf("usage: %s", u.body)
	}

	// The budget of another is its own, and met exactly it is spent.
	for range 4 {
		if got := rich.ask(p, chatPath, hello); got.status != 200 {
			t.Errorf("the other org: %d", got.status)
		}
	}
	if got := rich.ask(p, chatPath, hello); got.status != 402 || got.field(t, "limit_context.current_usage") != 0.013332 {
		t.Errorf("budget met exactly: %d %s", got.status, got.body)
	}
	// More money, and it goes on.
	a.do("PATCH", "/v1/orgs/poor", `{"budget":{"limitUSD":0.013333}}`)
	if got := m.ask(p, chatPath, hello); got.status != 200 {
		t.Errorf("after raising the budget: %d", got.status)
	}
	if totals := p.Totals(); totals.CostMicroUSD != 9*3_333 || totals.Orgs["poor"].CostMicroUSD != 5*3_333 || totals.Orgs["poor"].ByStatus[402] != 1 {
		t.Errorf("totals: %+v", totals)
	}
}

func TestDailyBudgetBeginsAnewAtMidnightUTC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		p, err := platformsim.New(platformsim.Options{Models: instant(), Cost: flat})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		m := tenant(t, p, "acme", map[string]any{"budget": map[string]any{"dailyUSD": 0.003333, "limitUSD": 0.009}})
		day := func() (statuses []int) {
			for range 2 {
				statuses = append(statuses, m.ask(p, chatPath, hello).status)
			}
			return statuses
		}
		if s := day(); s[0] != 200 || s[1] != 402 {
			t.Errorf("first day: %v", s)
		}
		time.Sleep(24*time.Hour - time.Nanosecond)
		got := m.ask(p, chatPath, hello)
		if got.status != 402 || got.text(t, "limit_context.quota_type") != "daily_budget" || !strings.Contains(got.text(t, "error"), "dailyUSD of 0.003333 USD") {
			t.Errorf("just before midnight: %d %s", got.status, got.body)
		}
		time.Sleep(time.Nanosecond)
		if s := day(); s[0] != 200 || s[1] != 402 {
			t.Errorf("second day: %v", s)
		}
		time.Sleep(24 * time.Hour)
		if s := day(); s[0] != 200 || s[1] != 402 {
			t.Errorf("third day: %v", s)
		}
		time.Sleep(24 * time.Hour)
		if got := m.ask(p, chatPath, hello); got.text(t, "limit_context.quota_type") != "budget" {
			t.Errorf("fourth day, all spent: %d %s", got.status, got.body)
		}
	})
}

func TestDefaultPriceIsTheModels(t *testing.T) {
	models := instant()
	models[0].Price = platform.Price{PromptPerMillion: 1_000_000, CompletionPerMillion: 10_000_000, PerRequest: 7}
	p := open(t, platformsim.Options{Models: models, KeepTruth: 1})
	m := tenant(t, p, "acme", nil)
	m.ask(p, chatPath, hello)
	if e := p.Truth()[0]; e.CostMicroUSD != 5+50+7 {
		t.Errorf("cost %d micro-USD, want 62", e.CostMicroUSD)
	}
}

func TestSharedBudgetDefect(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), Cost: flat, Defects: platformsim.Defects{SharedBudget: true}})
	budget := map[string]any{"budget": map[string]any{"limitUSD": 0.01}}
	one, two := tenant(t, p, "one", budget), tenant(t, p, "two", budget)
	for range 4 {
		one.ask(p, chatPath, hello)
	}
	if got := two.ask(p, chatPath, hello); got.status != 402 {
		t.Errorf("the other org: %d, want to suffer for the first", got.status)
	}
}

// A client that leaves pays for the prompt and for what it was sent; one that
// was refused pays nothing.
func TestWhatIsCharged(t *testing.T) {
	count := func(_ string, u platform.Usage) (int64, bool) {
		return int64(1000*u.PromptTokens + u.CompletionTokens), true
	}
	p := open(t, platformsim.Options{Models: instant(), Cost: count, KeepTruth: 10})
	m := tenant(t, p, "acme", nil)
	for _, f := range []struct {
		fault platformsim.Fault
		cost  int64
	}{{platformsim.Unavailable, 0}, {platformsim.WrongJSON, 0}, {platformsim.Storm, 0}, {platformsim.Garbage, 5005}} {
		if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{f.fault: 1}}); err != nil {
			t.Fatal(err)
		}
		m.ask(p, chatPath, hello)
		if e := p.Truth(); e[len(e)-1].CostMicroUSD != f.cost {
			t.Errorf("%s: cost %d, want %d", f.fault, e[len(e)-1].CostMicroUSD, f.cost)
		}
	}
	if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.Truncate: 1}}); err != nil {
		t.Fatal(err)
	}
	m.ask(p, chatPath, strings.Replace(hello, "{", `{"stream":true,`, 1))
	if e := p.Truth(); e[len(e)-1].CostMicroUSD != 5000+int64(len(e[len(e)-1].Chunks)) || len(e[len(e)-1].Chunks) >= 5 {
		t.Errorf("truncated: %+v", e[len(e)-1])
	}
}

func TestAmountsOfMoney(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	a := asAdmin(t, p)
	for i, amount := range []string{"0.000001", "0.1", "1", "12.5", "999999.999999", "100000", "1.05"} {
		slug := "org-" + string(rune('a'+i))
		org := a.do("POST", "/v1/orgs", `{"name":"x","slug":"`+slug+`","budget":{"limitUSD":`+amount+`}}`)
		var body struct {
			Budget struct {
				LimitUSD json.Number `json:"limitUSD"`
			} `json:"budget"`
		}
		if err := json.Unmarshal([]byte(org.body), &body); err != nil || body.Budget.LimitUSD.String() != amount {
			t.Errorf("%s came back as %s (%v)", amount, body.Budget.LimitUSD, err)
		}
	}
}
