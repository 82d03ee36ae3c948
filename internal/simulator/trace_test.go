package simulator

import (
	"context"
	"math"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// A question has one trace, and every attempt at it a span of its own.
func TestTracer(t *testing.T) {
	var seen []record.Trace
	tracer := &Tracer{Asker: AskerFunc(func(_ context.Context, c *Call) error {
		seen = append(seen, c.Request.Trace)
		return nil
	}), Ratio: 1}
	call := &Call{}
	for _, attempt := range []int{1, 2, 1, 0} {
		call.Attempt = attempt
		if err := tracer.Ask(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	spans := map[record.SpanID]bool{}
	for _, s := range seen {
		if spans[s.Span] = true; s.ID.IsZero() || s.Span == (record.SpanID{}) || !s.Sampled {
			t.Errorf("%+v", s)
		}
	}
	if seen[0].ID != seen[1].ID || seen[1].ID == seen[2].ID || seen[2].ID == seen[3].ID || len(spans) != 4 {
		t.Errorf("%+v", seen)
	}
}

func TestTracerAsksForAShare(t *testing.T) {
	const n = 10_000
	for _, ratio := range []float64{0, 0.25, 1} {
		kept := 0
		tracer := &Tracer{Ratio: ratio, Asker: AskerFunc(func(_ context.Context, c *Call) error {
			if c.Request.Trace.Sampled {
				kept++
			}
			return nil
		})}
		for range n {
			if err := tracer.Ask(t.Context(), &Call{}); err != nil {
				t.Fatal(err)
			}
		}
		// Eight standard errors.
		if d := math.Abs(float64(kept) - ratio*n); d > 8*math.Sqrt(n*ratio*(1-ratio)) {
			t.Errorf("kept %d of %d at %v", kept, n, ratio)
		}
	}
}
