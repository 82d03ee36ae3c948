package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// near is a platform in the same bubble of time: its handlers are called
// without a network between, after a little while.
type near struct {
	*platformsim.Platform
	rng *rand.Rand
	mu  sync.Mutex
}

func (n *near) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	there, back := n.rng.IntN(2_000_000), n.rng.IntN(2_000_000)
	n.mu.Unlock()
	time.Sleep(time.Duration(there))
	answer := httptest.NewRecorder()
	n.Router().ServeHTTP(answer, r)
	time.Sleep(time.Duration(back))
	response := answer.Result()
	response.Request = r
	return response, nil
}

func nearby(t *testing.T, o platformsim.Options) *near {
	t.Helper()
	p, err := platformsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &near{Platform: p, rng: rand.New(rand.NewPCG(o.Seed, 2))} //nolint:gosec // a test
}

func (n *near) client(t *testing.T) *platform.Client {
	t.Helper()
	c, err := platform.NewClient(platform.Connection{BaseURL: "http://near.invalid", Wrap: func(http.RoundTripper) http.RoundTripper { return n }}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (n *near) close(t *testing.T) {
	t.Helper()
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

var chatModel = simulator.EndpointModel{Endpoint: platform.Chat, Model: "sim-small"}

// Of 20 limiters of each kind, those with a defect are all found, and the
// sound ones not accused.
func TestRateLimitAccuracy(t *testing.T) {
	for _, kind := range []struct {
		name    string
		quirks  platformsim.Quirks
		defects platformsim.Defects
		want    isolation.Verdict
		says    string
	}{
		{"sound", platformsim.Quirks{}, platformsim.Defects{}, isolation.Held, "after Retry-After 3 of 3"},
		{"lax", platformsim.Quirks{}, platformsim.Defects{LaxLimiter: true}, isolation.Violated, "too lax"},
		{"starving", platformsim.Quirks{LimiterLosesFractions: true, RetryAfterOne: true}, platformsim.Defects{}, isolation.Violated, "starves"},
	} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/%d", kind.name, seed+1), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // a test
				rate := []float64{2, 10, 33.3, 100}[seed%4]
				burst := 2 + rng.IntN(int(3*rate))
				synctest.Test(t, func(t *testing.T) {
					p := nearby(t, platformsim.Options{
						Seed: seed + 1, Quirks: kind.quirks, Defects: kind.defects,
						RateLimit: platformsim.RateLimit{RequestsPerSecond: rate, Burst: burst},
					})
					defer p.close(t)
					client := p.client(t)
					defer client.Close()
					c := &rateCheck{
						asker: simulator.Direct{Client: client}, now: client.Now, runID: "run-1", who: tenant(t, p.Platform, 1), to: chatModel,
						limiter: isolation.Limiter{Rate: rate, Burst: burst},
					}
					if err := c.run(t.Context()); err != nil {
						t.Fatal(err)
					}
					got := c.judge()
					if got.Verdict != string(kind.want) || !strings.Contains(got.Reason, kind.says) {
						t.Errorf("%v per second, burst %d: %s: %s, %+v", rate, burst, got.Verdict, got.Reason, got.RateLimit)
					}
					if truth := p.Totals().Requests; int64(got.RateLimit.Requests) != truth {
						t.Errorf("%d requests, %d in truth", got.RateLimit.Requests, truth)
					}
				})
			})
		}
	}
}

// Of 20 platforms of each kind, those that do not keep budgets apart, or not at
// all, are found, and the sound ones not accused.
func TestBudgetIsolation(t *testing.T) {
	for _, kind := range []struct {
		name    string
		quirks  platformsim.Quirks
		defects platformsim.Defects
		want    isolation.Verdict
		says    string
	}{
		{"sound", platformsim.Quirks{}, platformsim.Defects{}, isolation.Held, "and only it"},
		{"shared", platformsim.Quirks{}, platformsim.Defects{SharedBudget: true}, isolation.Violated, "before its budget"},
		{"not kept", platformsim.Quirks{NoBudgets: true}, platformsim.Defects{}, isolation.Violated, "went on for"},
	} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/%d", kind.name, seed+1), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p := nearby(t, platformsim.Options{Seed: seed + 1, Quirks: kind.quirks, Defects: kind.defects})
					defer p.close(t)
					got := spend(t, p, seed)
					if got.Verdict != string(kind.want) || !strings.Contains(got.Reason, kind.says) {
						t.Errorf("%s: %s, %+v", got.Verdict, got.Reason, got.Budget)
					}
					truth := p.Totals().Orgs["org-1"].CostMicroUSD
					if got.Budget.SpentMicroUSD != truth {
						t.Errorf("spent %d micro-dollars, in truth %d", got.Budget.SpentMicroUSD, truth)
					}
				})
			})
		}
	}
}

// spend lets three tenants ask for 20 s, the first of whom has a budget for
// about half of that.
func spend(t *testing.T, p *near, seed uint64) export.Isolation {
	t.Helper()
	client := p.client(t)
	defer client.Close()
	book := &spending{accounts: map[string][]isolation.Spending{}}
	prices := Prices(&config.Scenario{})
	recorder := &simulator.Recorder{Asker: simulator.Direct{Client: client}, Sink: book.sink(false), Prices: prices, Now: client.Now}
	const lasts, limit, roomy = 20 * time.Second, 570, 1_000_000
	budgets := []int64{limit, roomy, roomy}
	var users sync.WaitGroup
	for n, budget := range budgets {
		who := tenant(t, p.Platform, n+1, fmt.Sprintf(`,"budget":{"limitUSD":%v}`, float64(budget)/1e6))
		for i := range uint64(3) {
			users.Go(func() {
				rng := rand.New(rand.NewPCG(seed, i)) //nolint:gosec // a test
				for client.Now() < lasts {
					call := &simulator.Call{Org: who.Org, Request: platform.Request{
						Endpoint: platform.Chat, Model: chatModel.Model, MaxTokens: 8, Key: who.Keys[0],
						Messages: []platform.Message{{Role: "user", Content: fmt.Sprintf("Question %d: what is new?", rng.IntN(1e6))}},
					}}
					call.Schedule(client.Now())
					_ = recorder.Ask(t.Context(), call) // its record says what came of it
					time.Sleep(time.Duration(100+rng.IntN(300)) * time.Millisecond)
				}
			})
		}
	}
	users.Wait()
	var accounts []isolation.Account
	for n, budget := range budgets {
		org := fmt.Sprint("org-", n+1)
		accounts = append(accounts, isolation.Account{Org: org, Limit: budget, Requests: book.accounts[org]})
	}
	return budgetVerdict(isolation.Budget(accounts[0], accounts[1:], []isolation.Span{{End: lasts}}))
}
