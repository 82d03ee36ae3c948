package simulator

import (
	"context"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Tracer gives every question a trace and every attempt at it a span, which
// travel to the platform and stand in the records. It stands below the recorder.
type Tracer struct {
	Asker
	// Ratio is the share of traces that the platform is asked to keep, 0 to 1.
	Ratio float64
}

var _ Asker = (*Tracer)(nil)

// Ask implements [Asker].
func (t *Tracer) Ask(ctx context.Context, c *Call) error {
	trace := &c.Request.Trace
	if c.Attempt <= 1 || trace.ID.IsZero() {
		*trace = record.NewTrace(t.Ratio)
	} else {
		trace.Span = record.NewSpan()
	}
	return t.Asker.Ask(ctx, c)
}
