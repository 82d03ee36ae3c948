package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// retrying is a caller that repeats what may succeed later, waiting in
// between: a random time below a bound that doubles (full jitter), and never
// less than the platform asked for with Retry-After.
//
// A repeated call may have been carried out the first time, its answer lost.
// [Tenancy] is written for that.
type retrying struct {
	next    caller
	tries   uint          // at most, the first included
	first   time.Duration // bound of the first wait
	longest time.Duration // bound of any wait
	patient time.Duration // a longer Retry-After is not waited for
	count   atomic.Int64  // calls repeated so far
	reached atomic.Bool   // the platform has answered something
}

// strangerTries is how often a platform is called that has never answered: a
// wrong address should not take long to say so.
const strangerTries = 3

func newRetrying(next caller) *retrying {
	return &retrying{next: next, tries: 8, first: 100 * time.Millisecond, longest: 5 * time.Second, patient: 2 * time.Minute}
}

func (r *retrying) call(ctx context.Context, c apiCall, into any) error {
	pauses := &waits{patient: r.patient, ExponentialBackOff: backoff.ExponentialBackOff{
		// 1 ± 1 times half the bound is anything from nothing to the bound.
		InitialInterval: r.first / 2, MaxInterval: r.longest / 2, Multiplier: 2, RandomizationFactor: 1,
	}}
	ctx = tries(ctx)
	var last error
	tried, doubtful := 0, false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tried++
		last = r.next.call(ctx, c, into)
		doubtful = doubtful || !turnedDown(last)
		if answered(last) {
			r.reached.Store(true)
		}
		if last != nil && (!worthRepeating(last) || tried >= strangerTries && !r.reached.Load()) {
			return struct{}{}, backoff.Permanent(last)
		}
		pauses.asked = retryAfter(last)
		return struct{}{}, last
	},
		backoff.WithBackOff(pauses),
		backoff.WithMaxTries(r.tries),
		backoff.WithMaxElapsedTime(0), // the tries and the context bound it
		backoff.WithNotify(func(error, time.Duration) { r.count.Add(1) }),
	)
	if c.method == http.MethodPost && !doubtful {
		last = notDone{last}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(last, context.Cause(ctx)):
		return fmt.Errorf("%w (tried %d times, until: %w)", last, tried, context.Cause(ctx))
	case tried > 1:
		return fmt.Errorf("%w (tried %d times)", last, tried)
	default:
		return last
	}
}

// answered reports whether err, which may be nil, shows that somebody is there.
func answered(err error) bool {
	var e *Error
	return err == nil || errors.As(err, &e) && e.Status != 0
}

// ErrNotDone is in the error of a call that surely changed nothing: whenever
// it was tried, it was turned down or never left this machine.
var ErrNotDone = errors.New("nothing was changed")

// notDone adds ErrNotDone to an error and nothing to its text.
type notDone struct{ error }

func (n notDone) Unwrap() []error { return []error{n.error, ErrNotDone} }

// turnedDown reports whether a try that ended with err surely changed
// nothing: no connection came about, or the answer was a plain no.
func turnedDown(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	var op *net.OpError
	switch {
	case e.Status == http.StatusRequestTimeout, e.Status == http.StatusConflict:
		return false
	case e.Status != 0:
		return e.Status >= 300 && e.Status <= 499
	default:
		return e.Kind == record.TLS || errors.As(e.Err, &op) && op.Op == "dial"
	}
}

// waits is exponential backoff that obeys Retry-After; the random part comes
// on top, lest all refused callers return in the same instant.
type waits struct {
	backoff.ExponentialBackOff
	asked, patient time.Duration
}

func (w *waits) NextBackOff() time.Duration {
	if w.asked > w.patient {
		return backoff.Stop
	}
	return w.asked + w.ExponentialBackOff.NextBackOff()
}

// worthRepeating adds to what [Error.Temporary] says that a conflict with
// somebody else's change at the same moment passes, and that a call which
// does not exist will not come to exist.
func worthRepeating(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	return e.Temporary() || e.Status == http.StatusConflict && strings.Contains(strings.ToLower(e.Message), "concurrent")
}

func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
