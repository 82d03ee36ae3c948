package simulator

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
)

// Tracer gives every question a trace and every attempt at it a span, which
// travel to the platform and stand in the records. Their names are random, and
// not from the seed: a platform that saw the same run twice would otherwise
// have its answers to both in one trace. It stands below the recorder.
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
		chance := rand.Uint64()
		binary.BigEndian.PutUint64(trace.ID[:8], rand.Uint64()|1) // all zeros are no name
		binary.BigEndian.PutUint64(trace.ID[8:], chance)
		trace.Sampled = float64(chance>>11) < t.Ratio*(1<<53) // as OpenTelemetry does, by the trace's own digits
	}
	binary.BigEndian.PutUint64(trace.Span[:], rand.Uint64()|1)
	return t.Asker.Ask(ctx, c)
}
