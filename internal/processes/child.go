package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// every is how often a child says how far it is.
const every = 500 * time.Millisecond

// Child is this process as the child of another.
type Child struct {
	Order Order

	in    *json.Decoder
	start chan time.Time

	mu  sync.Mutex // guards out
	out *json.Encoder

	metering sync.Mutex // guards metered, and keeps what is said of it in order
	metered  prometheus.Gatherer
}

// Attend waits for the order.
func Attend(in io.Reader, out io.Writer) (*Child, error) {
	c := &Child{in: json.NewDecoder(in), out: json.NewEncoder(out), start: make(chan time.Time, 1)}
	if err := c.in.Decode(&c.Order); err != nil {
		return nil, fmt.Errorf("no order came: %w; this command is for loadtest itself: say loadtest run --workers N", err)
	}
	return c, nil
}

// Listen hears what the parent says from now on. It calls stop when the
// parent says so, or is gone.
func (c *Child) Listen(stop func(export.Stop)) {
	go func() {
		defer stop(export.Stop{Reason: "interrupted", Detail: "stopped by the user"})
		for {
			var said command
			if err := c.in.Decode(&said); err != nil || said.Stop {
				return
			}
			if said.Gather {
				c.sayMetrics()
			}
			if said.Start != nil {
				select {
				case c.start <- *said.Start:
				default: // it was said before
				}
			}
		}
	}()
}

// Ready says that everything is ready for the load, and waits until the parent
// says when that begins, which it does when all children are ready. No child
// comes in another's place, so nothing is carried.
func (c *Child) Ready(ctx context.Context) (at time.Time, carried stats.Totals, err error) {
	c.say(report{Ready: true})
	select {
	case at = <-c.start:
		return at, carried, nil
	case <-ctx.Done():
		return at, carried, context.Cause(ctx)
	}
}

// Follow reports snapshots until it is stopped, and a last one then.
func (c *Child) Follow(snapshot func() live.Snapshot) (stop func()) {
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for over := false; !over; {
			s := snapshot()
			c.say(report{Snapshot: &s})
			select {
			case <-tick.C:
			case <-ended:
				over = true
			}
		}
	})
	return func() {
		close(ended)
		following.Wait()
		s := snapshot()
		c.say(report{Snapshot: &s})
	}
}

// Finish hands over what was measured, after the last metrics.
func (c *Child) Finish(b *export.Bundle) {
	data, err := export.Encode(b)
	if err != nil {
		c.Fail(err)
		return
	}
	if c.Order.Metered {
		c.sayMetrics()
	}
	c.say(report{Document: data})
}

// Fail says why there is nothing to hand over.
func (c *Child) Fail(why error) { c.say(report{Failed: why.Error()}) }

// say tells the parent; whoever is gone cannot be told.
func (c *Child) say(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(r) // as above
}
