package limits

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

var prices = platform.Prices{"m": {PromptPerMillion: 1_000_000, CompletionPerMillion: 10_000_000}} // 1 and 10 micro-dollars a token

func call(text string) *simulator.Call {
	return &simulator.Call{Request: platform.Request{
		Endpoint: platform.Chat, Model: "m", MaxTokens: 100, Messages: []platform.Message{{Role: "user", Content: text}},
	}}
}

func TestGateSettlesWhatWasCharged(t *testing.T) {
	worst, err := Worst(prices, &call("hello").Request)
	if body := call("hello").Request.BodySize(); err != nil || worst != int64(body+1000) {
		t.Fatalf("worst is %d, %v; want %d bytes of prompt and 100 tokens", worst, err, body)
	}
	broken := func(k record.Kind, err error) error { return &platform.Error{Op: "ask", Kind: k, Err: err} }
	for _, c := range []struct {
		name   string
		err    error
		x      platform.Exchange
		want   int64
		counts Answer
	}{
		{"an answer", nil, platform.Exchange{Status: 200, UsageKnown: true, Usage: platform.Usage{PromptTokens: 7, CompletionTokens: 3}}, 37, Fine},
		{"an answer without usage", nil, platform.Exchange{Status: 200}, worst, Fine},
		{"a broken stream", broken(record.StreamInterrupted, nil), platform.Exchange{Status: 200, Chunks: 3}, worst, Error},
		{"a time-out", broken(record.Timeout, context.DeadlineExceeded), platform.Exchange{}, worst, Error},
		{"given up", broken(record.CancelledKind, context.Canceled), platform.Exchange{}, worst, Ignored},
		{"a refusal", &platform.Error{Status: 429, Kind: record.RateLimited}, platform.Exchange{Status: 429}, 0, Error},
		{"a server error", &platform.Error{Status: 500, Kind: record.HTTPError}, platform.Exchange{Status: 500}, 0, Error},
		{"no such host", broken(record.DNS, nil), platform.Exchange{}, 0, Error},
		{"nobody listens", broken(record.Connection, &net.OpError{Op: "dial", Err: errors.New("refused")}), platform.Exchange{}, 0, Error},
		{"held back below", fmt.Errorf("%w: the load is over", simulator.ErrNotSent), platform.Exchange{}, 0, Ignored},
		{"harmed by us", broken(record.StreamInterrupted, nil), platform.Exchange{Status: 200, Injected: true}, worst, Ignored},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &Gate{
				Asker: simulator.AskerFunc(func(_ context.Context, call *simulator.Call) error { call.Exchange = c.x; return c.err }),
				Guard: NewGuard(Limits{CostMicroUSD: 1_000_000}), Prices: prices,
			}
			if err := g.Ask(t.Context(), call("hello")); !errors.Is(err, c.err) {
				t.Errorf("Ask = %v, want %v", err, c.err)
			}
			if got := g.Guard.Spent(); got != c.want || g.Guard.reserved != 0 {
				t.Errorf("%d was settled and %d stays reserved, want %d and nothing", got, g.Guard.reserved, c.want)
			}
			if answered := g.Guard.answered == 1; answered != (c.counts != Ignored) || (g.Guard.failed == 1) != (c.counts == Error) {
				t.Errorf("%d answered, %d failed", g.Guard.answered, g.Guard.failed)
			}
		})
	}
}

func TestGateStopsTheRun(t *testing.T) {
	unpriced, endless := call("x"), call("x")
	unpriced.Request.Model, endless.Request.MaxTokens = "other", 0
	for _, c := range []struct {
		name   string
		limits Limits
		call   *simulator.Call
		want   string
	}{
		{"requests", Limits{Requests: -1}, call("x"), "the request limit was reached: 0 of 0"},
		{"money", Limits{CostMicroUSD: 500}, call("x"), "the cost limit was reached: $0.000000 of $0.000500, and the next request may cost $0.00"},
		{"no price", Limits{CostMicroUSD: 500}, unpriced, "nobody knows what the next request would cost: the model other has no price"},
		{"no end", Limits{CostMicroUSD: 500}, endless, "nobody knows what the next request would cost: it sets no max_tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cause error
			g := &Gate{
				Asker: simulator.AskerFunc(func(context.Context, *simulator.Call) error { t.Error("it was asked"); return nil }),
				Guard: NewGuard(c.limits), Prices: prices, Stop: func(why error) { cause = why },
			}
			err := g.Ask(t.Context(), c.call)
			var exceeded *Exceeded
			if !errors.Is(err, simulator.ErrNotSent) || !errors.As(err, &exceeded) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Ask = %v, want %q", err, c.want)
			}
			if !errors.As(cause, &exceeded) {
				t.Errorf("the run was stopped with %v", cause)
			}
		})
	}
}

func TestGateSendsTheUserHome(t *testing.T) {
	g := &Gate{
		Asker: simulator.AskerFunc(func(context.Context, *simulator.Call) error { return nil }),
		Guard: NewGuard(Limits{RequestsPerUser: 1}), Stop: func(why error) { t.Errorf("the run was stopped: %v", why) },
	}
	if err := g.Ask(t.Context(), call("x")); err != nil {
		t.Fatal(err)
	}
	if err := g.Ask(t.Context(), call("x")); !errors.Is(err, simulator.ErrNotSent) || !errors.Is(err, simulator.ErrEnough) {
		t.Errorf("Ask = %v, want that he may ask nothing more", err)
	}
	other := call("x")
	other.UserIndex = 1
	if err := g.Ask(t.Context(), other); err != nil {
		t.Errorf("another user: %v", err)
	}
}

func TestTheBodyBoundsThePrompt(t *testing.T) {
	// A tokenizer that makes a token of every byte, and a template that puts
	// eight tokens around each message and forty before the first.
	for _, texts := range [][]string{{""}, {"a"}, {"é\x00\xff\"\\"}, {"", "", "", "", ""}} {
		q := call("").Request
		q.Messages = nil
		tokens := 40
		for i, text := range texts {
			q.Messages = append(q.Messages, platform.Message{Role: []string{"user", "assistant"}[i%2], Content: text})
			tokens += 8 + len(text)
		}
		if q.BodySize() < tokens {
			t.Errorf("%s: a body of %d bytes for %d tokens", fmt.Sprintf("%q", texts), q.BodySize(), tokens)
		}
	}
}
