package isolation_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
)

// purse is a platform that refuses a tenant when some amount is booked.
type purse struct {
	at      int64         // refuses from here on; 0: never
	books   time.Duration // after an answer
	errors  float64       // of the others, after the first refusal
	slower  time.Duration // of the others, after the first refusal
	wrongs  bool          // and refuses another
	unknown bool          // costs are not known
}

// load makes 40 s of requests: every tenant 10 a second, a dollar-cent each; the
// first has a budget of two dollars, which is spent halfway.
func (p purse) load(seed uint64) (isolation.Account, []isolation.Account) {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	subject := isolation.Account{Org: "acme", Limit: 2_000_000}
	others := []isolation.Account{{Org: "globex", Limit: 50_000_000}, {Org: "initech"}}
	spent, first := int64(0), time.Duration(-1)
	type booking struct {
		at   time.Duration
		cost int64
	}
	var pending []booking
	for i := range 400 {
		at := time.Duration(i) * 100 * time.Millisecond
		for len(pending) > 0 && pending[0].at <= at {
			spent += pending[0].cost
			pending = pending[1:]
		}
		took := time.Duration(50+rng.IntN(100)) * time.Millisecond
		q := isolation.Spending{Sent: at, Done: at + took, Latency: took, Cost: 10_000, CostKnown: !p.unknown}
		if p.at > 0 && spent >= p.at {
			q.Fate, q.Cost, q.Done = isolation.OverBudget, 0, at+time.Millisecond
			if first < 0 {
				first = at
			}
		} else {
			pending = append(pending, booking{q.Done + p.books, q.Cost})
		}
		subject.Requests = append(subject.Requests, q)
		for j := range others {
			took := time.Duration(50+rng.IntN(100)) * time.Millisecond
			q := isolation.Spending{Sent: at, Latency: took, Cost: 10_000, CostKnown: true}
			if first >= 0 {
				q.Latency += p.slower
				if rng.Float64() < p.errors {
					q.Fate = isolation.Erred
				}
				if p.wrongs && j == 0 {
					q.Fate = isolation.OverBudget
				}
			}
			q.Done = at + q.Latency
			others[j].Requests = append(others[j].Requests, q)
		}
	}
	return subject, others
}

func TestBudget(t *testing.T) {
	const limit = 2_000_000
	whole := []isolation.Span{{End: 40 * time.Second}}
	for name, c := range map[string]struct {
		purse purse
		spans []isolation.Span
		want  isolation.Verdict
		says  string
	}{
		"sound":                    {purse{at: limit}, whole, isolation.Held, "and only it"},
		"a cautious platform":      {purse{at: limit - 40_000}, whole, isolation.Held, "and only it"},
		"books half a second late": {purse{at: limit, books: 500 * time.Millisecond}, whole, isolation.Held, "overspent by"},
		"too early":                {purse{at: limit / 2}, whole, isolation.Violated, "before its budget of $2 was spent"},
		"never":                    {purse{}, whole, isolation.Violated, "overspent by $2 (100.00%)"},
		"books ten seconds late":   {purse{at: limit, books: 10 * time.Second}, whole, isolation.Violated, "went on for"},
		"wrongs another":           {purse{at: limit, wrongs: true}, whole, isolation.Violated, "globex was refused"},
		"others fail":              {purse{at: limit, errors: 0.3}, whole, isolation.Violated, "errors rose"},
		"others fail hardly":       {purse{at: limit, errors: 0.0005}, whole, isolation.Held, ""},
		"others wait":              {purse{at: limit, slower: 300 * time.Millisecond}, whole, isolation.Violated, "latency rose"},
		"others wait hardly":       {purse{at: limit, slower: 20 * time.Millisecond}, whole, isolation.Held, ""},
		"costs are not known":      {purse{unknown: true}, whole, isolation.Undecided, "is not known"},
		"under changing load":      {purse{at: limit}, nil, isolation.Undecided, "could not be compared before and after"},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				subject, others := c.purse.load(seed)
				r := isolation.Budget(subject, others, c.spans)
				if r.Verdict != c.want || !strings.Contains(r.Reason, c.says) {
					t.Fatalf("seed %d: %+v", seed, r)
				}
			}
		})
	}
	if r := isolation.Budget(isolation.Account{Org: "acme", Limit: limit}, nil, whole); r.Verdict != isolation.Undecided || !strings.Contains(r.Reason, "spent only $0") {
		t.Errorf("nothing happened: %+v", r)
	}
}

// Whoever refuses only what is certainly beyond the budget, and answers nothing
// else, is not accused, however requests overlap.
func TestWhoKeepsTheBudgetIsNotAccused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := int64(rapid.IntRange(1, 1000).Draw(t, "limit"))
		a := isolation.Account{Org: "acme", Limit: limit}
		booked, now := int64(0), time.Duration(0)
		for range rapid.IntRange(0, 60).Draw(t, "requests") {
			now += time.Duration(rapid.IntRange(0, 2e9).Draw(t, "pause"))
			q := isolation.Spending{Sent: now, Done: now + time.Duration(rapid.IntRange(0, 5e8).Draw(t, "took")), CostKnown: true}
			if booked >= limit {
				q.Fate = isolation.OverBudget
			} else {
				q.Cost = int64(rapid.IntRange(0, 100).Draw(t, "cost"))
				booked += q.Cost // as soon as it is sent
			}
			a.Requests = append(a.Requests, q)
		}
		if r := isolation.Budget(a, nil, nil); r.Verdict == isolation.Violated || r.Overspent() > 100 {
			t.Fatalf("%+v", r)
		}
	})
}
