package simulator

import (
	"context"
	"fmt"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
)

// Harm breaks requests on purpose, as an injector decides, and marks them as
// such. It stands below the recorder; the injector must be wrapped around the
// client's transport.
//
// A request that is only delayed is not marked: the delay is taken out of its
// schedule, so that it is in no latency. The request stays in the phase in
// which its user asked.
type Harm struct {
	Asker
	Injector *chaos.Injector
}

var _ Asker = (*Harm)(nil)

// Ask implements [Asker].
func (h *Harm) Ask(ctx context.Context, c *Call) error {
	strike := h.Injector.Next(c.UserIndex, c.Request.Stream)
	if d := strike.Delay(); d > 0 {
		began := time.Now()
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done(): // not earlier: the request is on its way, if slowly
			return fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx))
		}
		waited := time.Since(began)
		strike.Delayed(waited)
		c.Scheduled += waited
	}
	err := h.Asker.Ask(strike.Context(ctx), c)
	c.Exchange.Injected = strike.Hit()
	return err
}
