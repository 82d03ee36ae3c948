package platform

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// way is which of the platform's two faces a call was answered by.
type way int32

const (
	unknown    way = iota
	documented     // as the platform's description says
	observed       // as the services really behave
)

// discovery is one difference between the two faces. The first caller finds
// out while the others wait; afterwards everybody knows.
type discovery struct {
	found atomic.Int32
	gate  chan struct{} // holds one value while somebody finds out
}

func newDiscovery() *discovery { return &discovery{gate: make(chan struct{}, 1)} }

// either calls the documented way and, where lacking says that the platform
// may have no such call, the observed one. If it lacks that too, the first
// answer stands. It returns the way whose answer it is.
func (d *discovery) either(ctx context.Context, lacking func(error) bool, asDocumented, asObserved func() error) (way, error) {
	known := way(d.found.Load())
	if known == unknown {
		select {
		case d.gate <- struct{}{}:
		case <-ctx.Done():
			return unknown, &Error{Op: "wait for the first such call", Kind: record.CancelledKind, Err: context.Cause(ctx)}
		}
		if known = way(d.found.Load()); known != unknown {
			<-d.gate
		} else {
			defer func() { <-d.gate }()
		}
	}
	var first error
	if known != observed {
		first = asDocumented()
		if first == nil {
			d.found.Store(int32(documented))
		}
		if first == nil || known == documented || !lacking(first) {
			return documented, first
		}
	}
	err := asObserved()
	switch {
	case err == nil:
		d.found.Store(int32(observed))
	case first != nil && errors.Is(err, errors.ErrUnsupported):
		return documented, first
	}
	return observed, err
}
