package simulator

import (
	"context"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
)

// Client makes one inference call; [*platform.Client] does.
type Client interface {
	Do(ctx context.Context, req *platform.Request, ex *platform.Exchange) error
}

// Direct asks the platform itself, and lets the call judge the answer.
type Direct struct{ Client Client }

var _ Asker = Direct{}

// Ask implements [Asker].
func (d Direct) Ask(ctx context.Context, c *Call) error {
	err := d.Client.Do(ctx, &c.Request, &c.Exchange)
	if c.Judge != nil {
		c.Checks, c.Values, err = c.Judge(&c.Exchange, c.Exchange.Done-c.Scheduled, err)
	}
	return err
}
