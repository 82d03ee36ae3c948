package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Breaker stops asking a platform that is down. After a number of failures in
// a row, over all users of one target, the circuit opens: for a while
// questions come back at once, unsent, and their users go back to thinking.
// Then one request is let through; if it succeeds, so may all others.
//
// Only what a broken platform does opens it: time-outs, connections, broken
// answers, 5xx. A platform that refuses (402, 403, 429, 503) or finds fault
// with a request (4xx) is up, and a load test wants to see it under load.
//
// An unsent question is no request and makes no record. Each returns a
// [*platform.Error] of kind circuit_open which wraps [ErrNotSent] and whose
// RetryAfter is the time until the next attempt; Shed counts them.
type Breaker struct {
	next    Asker
	circuit *gobreaker.CircuitBreaker[struct{}]
	wait    time.Duration
	until   atomic.Int64 // Unix nanoseconds at which an open circuit will try again
	shed    atomic.Uint64
}

var _ Asker = (*Breaker)(nil)

// BreakerOptions tell a Breaker when to open and for how long.
type BreakerOptions struct {
	// Failures in a row open the circuit; 0 means 10.
	Failures int
	// Wait is how long it stays open before one request may try; 0 means 5 s.
	Wait time.Duration
	// Changed is called with the old and new state, closed, half-open or
	// open, if it is not nil. It must return quickly.
	Changed func(from, to string)
}

// NewBreaker returns a breaker in front of next. Users of one target share it.
func NewBreaker(next Asker, o BreakerOptions) *Breaker {
	if o.Failures <= 0 {
		o.Failures = 10
	}
	if o.Wait <= 0 {
		o.Wait = 5 * time.Second
	}
	b := &Breaker{next: next, wait: o.Wait}
	b.circuit = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:      o.Wait,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return int64(n.ConsecutiveFailures) >= int64(o.Failures) },
		IsSuccessful: func(err error) bool { return !isDown(err) },
		IsExcluded:   saysNothing,
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.until.Store(time.Now().Add(b.wait).UnixNano())
			}
			if o.Changed != nil {
				o.Changed(from.String(), to.String())
			}
		},
	})
	return b
}

// Ask implements [Asker].
func (b *Breaker) Ask(ctx context.Context, c *Call) error {
	_, err := b.circuit.Execute(func() (struct{}, error) { return struct{}{}, b.next.Ask(ctx, c) })
	if !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests) {
		return err
	}
	b.shed.Add(1)
	// While the one request that may try is out, there is no telling when.
	wait := max(time.Until(time.Unix(0, b.until.Load())), time.Millisecond)
	return &platform.Error{
		Op:         "ask the platform",
		Kind:       record.CircuitOpen,
		Message:    fmt.Sprintf("it failed too often in a row; held back, next attempt in %v", wait.Round(time.Millisecond)),
		RetryAfter: wait,
		Err:        ErrNotSent,
	}
}

// Shed is the number of questions held back so far.
func (b *Breaker) Shed() uint64 { return b.shed.Load() }

// isDown reports whether err is what a platform that is down would cause.
func isDown(err error) bool {
	var perr *platform.Error
	if !errors.As(err, &perr) || perr.Outcome() != record.Failed {
		return false
	}
	switch perr.Kind {
	case record.Timeout, record.Connection, record.DNS, record.TLS, record.StreamInterrupted, record.InvalidResponse, record.ChaosInjected:
		return true
	default:
		return perr.Status >= http.StatusInternalServerError
	}
}

// saysNothing reports whether err tells nothing about the platform, because
// this side gave up or never asked.
func saysNothing(err error) bool {
	if err == nil {
		return false
	}
	var perr *platform.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, ErrNotSent) ||
		errors.As(err, &perr) && perr.Outcome() == record.Cancelled
}
