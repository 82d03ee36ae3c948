package simulator

import (
	"context"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
)

// Client makes one inference call; [*platform.Client] does.
type Client interface {
	Do(ctx context.Context, req *platform.Request, ex *platform.Exchange) error
}

// Direct asks the platform itself.
type Direct struct{ Client Client }

var _ Asker = Direct{}

// Ask implements [Asker].
func (d Direct) Ask(ctx context.Context, c *Call) error {
	return d.Client.Do(ctx, &c.Request, &c.Exchange)
}
