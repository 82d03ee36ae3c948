package platform

import (
	"math"
	"math/big"
	"testing"
	"testing/quick"
)

func TestCostKnownValues(t *testing.T) {
	prices := Prices{
		"dear":    {PromptPerMillion: 2_500_000, CompletionPerMillion: 10_000_000, CachedPerMillion: 1_250_000, HasCached: true},
		"plain":   {PromptPerMillion: 2_500_000, CompletionPerMillion: 10_000_000},
		"free":    {},
		"gift":    {PromptPerMillion: 2_000_000, HasCached: true}, // cached tokens cost nothing
		"fee":     {PerRequest: 10_000},
		"crumb":   {PromptPerMillion: 1},
		"extreme": {PromptPerMillion: math.MaxInt64, CompletionPerMillion: math.MaxInt64},
		"edge":    {PerRequest: math.MaxInt64, PromptPerMillion: million},
		"broken":  {PromptPerMillion: -1},
	}
	for _, test := range []struct {
		name, model string
		usage       Usage
		want        int64
		ok          bool
	}{
		{"a thousand in, five hundred out", "plain", Usage{PromptTokens: 1000, CompletionTokens: 500}, 7_500, true},
		{"cached at its own price", "dear", Usage{PromptTokens: 1000, CachedTokens: 800, CompletionTokens: 500}, 500 + 1_000 + 5_000, true},
		{"cached at the prompt's price", "plain", Usage{PromptTokens: 1000, CachedTokens: 800, CompletionTokens: 500}, 7_500, true},
		{"cached for nothing", "gift", Usage{PromptTokens: 100, CachedTokens: 100}, 0, true},
		{"more cached than asked", "gift", Usage{PromptTokens: 100, CachedTokens: 200}, 0, true},
		{"negative counts", "plain", Usage{PromptTokens: -5, CompletionTokens: -5, CachedTokens: -1}, 0, true},
		{"free is known", "free", Usage{PromptTokens: 100}, 0, true},
		{"a fee without tokens", "fee", Usage{}, 10_000, true},
		{"half a micro-dollar is one", "crumb", Usage{PromptTokens: 500_000}, 1, true},
		{"less than half is none", "crumb", Usage{PromptTokens: 499_999}, 0, true},
		{"one and a half are two", "crumb", Usage{PromptTokens: 1_500_000}, 2, true},
		{"halves are added before rounding", "plain", Usage{PromptTokens: 1, CompletionTokens: 0}, 3, true}, // 2.5
		{"beyond int64", "extreme", Usage{PromptTokens: math.MaxInt, CompletionTokens: math.MaxInt}, math.MaxInt64, true},
		{"the largest that fits", "edge", Usage{}, math.MaxInt64, true},
		{"one more than fits", "edge", Usage{PromptTokens: 1}, math.MaxInt64, true},
		{"no price", "unheard-of", Usage{PromptTokens: 100}, 0, false},
		{"a negative price is none", "broken", Usage{PromptTokens: 100}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := prices.Cost(test.model, test.usage)
			if got != test.want || ok != test.ok {
				t.Errorf("Cost(%q, %+v) = %d, %v; want %d, %v", test.model, test.usage, got, ok, test.want, test.ok)
			}
		})
	}
}

func TestDefaultPricesAgreeWithTheRouter(t *testing.T) {
	// The router writes cost_usd at 0.005 and 0.015 per thousand tokens for
	// gpt-4o and gpt-4, 0.0005 and 0.0015 for gpt-3.5-turbo.
	for model, want := range map[string]int64{"gpt-4o": 20_000, "gpt-4": 20_000, "gpt-3.5-turbo": 2_000} {
		if got, ok := DefaultPrices().Cost(model, Usage{PromptTokens: 1000, CompletionTokens: 1000}); got != want || !ok {
			t.Errorf("%s: %d, %v; want %d", model, got, ok, want)
		}
	}
	for _, model := range []string{"sim-small", "sim-medium", "sim-embed"} {
		if got, ok := DefaultPrices().Cost(model, Usage{PromptTokens: 1_000_000}); !ok || got <= 0 {
			t.Errorf("%s has no price", model)
		}
	}
}

// TestCostAgainstBigIntegers holds the arithmetic against math/big over the
// whole range of prices and counts.
func TestCostAgainstBigIntegers(t *testing.T) {
	law := func(pp, cp, kp, fee int64, prompt, completion, cached int, has bool) bool {
		price := Price{PromptPerMillion: pp & math.MaxInt64, CompletionPerMillion: cp & math.MaxInt64,
			CachedPerMillion: kp & math.MaxInt64, PerRequest: fee & math.MaxInt64, HasCached: has}
		u := Usage{PromptTokens: prompt & math.MaxInt, CompletionTokens: completion & math.MaxInt, CachedTokens: cached & math.MaxInt}

		hit := min(u.CachedTokens, u.PromptTokens)
		if !has {
			hit = 0
		}
		sum := new(big.Int)
		for _, term := range [][2]int64{{int64(u.PromptTokens - hit), price.PromptPerMillion},
			{int64(hit), price.CachedPerMillion}, {int64(u.CompletionTokens), price.CompletionPerMillion}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(term[0]), big.NewInt(term[1])))
		}
		sum.Add(sum, big.NewInt(million/2))
		sum.Div(sum, big.NewInt(million))
		sum.Add(sum, big.NewInt(price.PerRequest))
		want := int64(math.MaxInt64)
		if sum.IsInt64() {
			want = sum.Int64()
		}
		got, ok := Prices{"m": price}.Cost("m", u)
		return ok && got == want
	}
	if err := quick.Check(law, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
	small := func(pp, cp uint16, prompt, completion uint16) bool { // where nothing saturates
		return law(int64(pp)*1000, int64(cp)*1000, 0, 7, int(prompt), int(completion), 0, false)
	}
	if err := quick.Check(small, nil); err != nil {
		t.Error(err)
	}
}
