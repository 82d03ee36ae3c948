package limits

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// Gate asks only what its guard admits. It stands around whatever sends one
// request, below retries: each attempt is a request.
//
// What is not admitted returns an error that wraps [simulator.ErrNotSent] and
// the reason, which for a limit on the run is an *[Exceeded].
type Gate struct {
	simulator.Asker
	Guard  *Guard
	Prices simulator.Prices
	// Stop ends the run when a limit is exceeded; nil if that is left to the caller.
	Stop func(cause error)
	// Nobody says that the requests are no user's: limits per user do not hold.
	Nobody bool
}

var _ simulator.Asker = (*Gate)(nil)

// Ask implements [simulator.Asker].
func (g *Gate) Ask(ctx context.Context, c *simulator.Call) error {
	worst, err := g.worst(&c.Request)
	if err == nil {
		waiting := ctx
		if c.Leaving != nil {
			waiting = c.Leaving
		}
		user := c.UserIndex
		if g.Nobody {
			user = nobody
		}
		err = g.Guard.Admit(waiting, user, worst)
	}
	if err != nil {
		var exceeded *Exceeded
		switch {
		case errors.Is(err, ErrUserDone):
			return fmt.Errorf("%w: %w: %w", simulator.ErrNotSent, simulator.ErrEnough, err)
		case errors.As(err, &exceeded) && g.Stop != nil:
			g.Stop(exceeded)
		}
		return fmt.Errorf("%w: %w", simulator.ErrNotSent, err)
	}
	err = g.Asker.Ask(ctx, c)
	actual, known := g.actual(c, worst, err)
	g.Guard.Settle(worst, actual, known, answer(c, err))
	return err
}

// Worst is the most that a request can cost, in micro-dollars. No tokenizer
// makes more tokens of a text than it has bytes, and the body's JSON around
// the texts is longer than what a chat template puts in its place, so the body's
// bytes bound the prompt; max_tokens bounds the answer. It is unknown for a
// model without a price, and for an answer without a bound.
func Worst(prices simulator.Prices, q *platform.Request) (microUSD int64, err error) {
	if !q.Endpoint.Infers() {
		return 0, nil // nobody charges for it
	}
	if q.Endpoint != platform.Embeddings && q.MaxTokens < 1 {
		return 0, errors.New("it sets no max_tokens")
	}
	prompt := q.BodySize()
	for _, cached := range []int{0, prompt} { // a cache may be dearer
		cost, ok := prices.Cost(q.Model, platform.Usage{PromptTokens: prompt, CompletionTokens: max(0, q.MaxTokens), CachedTokens: cached})
		if !ok {
			return 0, fmt.Errorf("the model %s has no price", q.Model)
		}
		microUSD = max(microUSD, cost)
	}
	return microUSD, nil
}

func (g *Gate) worst(q *platform.Request) (int64, error) {
	most := g.Guard.limits.CostMicroUSD
	if most == 0 {
		return 0, nil
	}
	worst, err := Worst(g.Prices, q)
	if err != nil {
		return 0, &Exceeded{
			Limit: "cost", Allowed: dollars(max(0, most)), Observed: dollars(g.Guard.Spent()),
			Note: fmt.Sprintf("and nobody knows what the next request would cost: %v", err),
		}
	}
	return worst, nil
}

// actual is what a request cost. An answer that broke off may have been
// charged in full, so it counts as its worst; a request that never reached the
// platform, or that it answered with an error status, cost nothing.
func (g *Gate) actual(c *simulator.Call, worst int64, err error) (microUSD int64, known bool) {
	if worst == 0 && g.Guard.limits.CostMicroUSD == 0 {
		return 0, true
	}
	if x := &c.Exchange; x.UsageKnown {
		if cost, ok := g.Prices.Cost(c.Request.Model, x.Usage); ok {
			return cost, true
		}
	}
	if !c.Request.Endpoint.Infers() {
		return 0, true
	}
	// An answer that failed a check did arrive, and was charged.
	if err != nil && (c.Exchange.Status >= http.StatusBadRequest || c.Exchange.Status == 0 && neverArrived(err)) {
		return 0, true
	}
	return worst, false
}

// neverArrived reports whether a request failed before it was sent.
func neverArrived(err error) bool {
	if errors.Is(err, simulator.ErrNotSent) {
		return true
	}
	var perr *platform.Error
	if errors.As(err, &perr) {
		switch perr.Kind {
		case record.DNS, record.TLS, record.Validation:
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// answer says what an outcome means to a limit on the error rate.
func answer(c *simulator.Call, err error) Answer {
	var perr *platform.Error
	switch {
	case c.Exchange.Injected, c.Aside != record.None:
		return Ignored
	case err == nil:
		return Fine
	case errors.Is(err, simulator.ErrNotSent), errors.Is(err, context.Canceled), errors.As(err, &perr) && perr.Outcome() == record.Cancelled:
		return Ignored
	default:
		return Error
	}
}
