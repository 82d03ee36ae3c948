package platform

import (
	"math"
	"math/bits"
)

// Price is what one model costs. Amounts are non-negative whole numbers of
// micro-dollars, so that no sum of them ever drifts.
type Price struct {
	PromptPerMillion     int64 // micro-USD per million prompt tokens
	CompletionPerMillion int64 // micro-USD per million completion tokens
	CachedPerMillion     int64 // micro-USD per million cached prompt tokens, if HasCached
	PerRequest           int64 // micro-USD for each request
	// HasCached says that CachedPerMillion counts. Without it a cached token
	// costs what any other prompt token does; with it, it may cost nothing.
	HasCached bool
}

// Prices maps a model's exact name to its price.
type Prices map[string]Price

// DefaultPrices are the figures of the simulated platform's models, and those
// by which the platform's router writes cost_usd into its usage records. The
// router charges any other model too (1 and 2 dollars per million), but that
// is a guess about somebody's bill, so here such a model has no price.
func DefaultPrices() Prices {
	return Prices{
		"sim-small":  {PromptPerMillion: 150_000, CompletionPerMillion: 600_000, CachedPerMillion: 75_000, HasCached: true},
		"sim-medium": {PromptPerMillion: 2_500_000, CompletionPerMillion: 10_000_000, CachedPerMillion: 1_250_000, HasCached: true},
		"sim-embed":  {PromptPerMillion: 20_000},

		"gpt-4o":        {PromptPerMillion: 5_000_000, CompletionPerMillion: 15_000_000},
		"gpt-4":         {PromptPerMillion: 5_000_000, CompletionPerMillion: 15_000_000},
		"gpt-3.5-turbo": {PromptPerMillion: 500_000, CompletionPerMillion: 1_500_000},
	}
}

const million = 1_000_000

// Cost is the price of one request in micro-dollars, rounded half up once, and
// whether the model has a price. Unknown is not zero: without a price ok is
// false and the amount means nothing.
//
// Counts that cannot be are mended as a bill would be: negative ones are zero,
// and no more tokens are cached than were in the prompt. An amount beyond
// int64 is the largest int64, so that a limit on money still holds.
func (p Prices) Cost(model string, u Usage) (microUSD int64, ok bool) {
	price, ok := p[model]
	if !ok || price.PromptPerMillion < 0 || price.CompletionPerMillion < 0 ||
		price.CachedPerMillion < 0 || price.PerRequest < 0 {
		return 0, false
	}
	prompt := max(0, u.PromptTokens)
	cached := min(max(0, u.CachedTokens), prompt)
	if !price.HasCached {
		cached = 0
	}

	var sum wide // in millionths of a micro-dollar
	sum.addProduct(prompt-cached, price.PromptPerMillion)
	sum.addProduct(cached, price.CachedPerMillion)
	sum.addProduct(max(0, u.CompletionTokens), price.CompletionPerMillion)
	sum.addProduct(1, million/2) // rounds half up below
	if sum.hi >= million {
		return math.MaxInt64, true // the quotient would not fit in 64 bits
	}
	tokens, _ := bits.Div64(sum.hi, sum.lo, million)
	total, carry := bits.Add64(tokens, uint64(price.PerRequest), 0)
	if carry != 0 || total > math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(total), true
}

// wide is an unsigned 128-bit sum. Three products of two int63 stay below
// 2^128, so it cannot overflow.
type wide struct{ hi, lo uint64 }

func (w *wide) addProduct(n int, price int64) {
	hi, lo := bits.Mul64(uint64(n), uint64(price)) //nolint:gosec // both are checked to be non-negative
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, lo, 0)
	w.hi, _ = bits.Add64(w.hi, hi, carry)
}
