package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
)

// Retry asks again after failures that may pass: those for which
// [platform.Error.Temporary] is true and that are not ignored.
//
// Before the n-th retry it waits for a time drawn from [0, Base·2^(n−1)]
// ("full jitter"), or for the Retry-After of the refusal plus up to Base, so
// that users who were refused together do not come back together. The wait is
// cut short when the user is to leave.
//
// Every attempt is a request of its own, with a record, an X-Request-Id and a
// schedule of its own: it is due when its wait is over, so that backing off
// is not mistaken for latency.
type Retry struct {
	Asker
	RetryPolicy
	// Now is the offset from the run's epoch, on the client's clock.
	Now func() time.Duration
	// Alarm keeps users from oversleeping their waits; nil: they wake as timers do.
	Alarm Alarm
}

// RetryPolicy says how often and how fast to try again.
type RetryPolicy struct {
	// Attempts is the number of retries after the first try; 0 means none.
	Attempts int
	// Base is the longest wait before the first retry; 0 means 1 s.
	Base time.Duration
	// Longest bounds every wait; 0 means 60 s. A Retry-After beyond it is not
	// waited for: the refusal is final.
	Longest time.Duration
	// Ignore lists failures that are not retried.
	Ignore Codes
}

// Codes is a set of failures. Each entry is an HTTP status ("429"), a code of
// the platform ("BUDGET_EXCEEDED") or a kind of error ("rate_limited").
type Codes []string

// Match reports whether the failure is in the set.
func (s Codes) Match(err *platform.Error) bool {
	if len(s) == 0 {
		return false
	}
	return slices.Contains(s, string(err.Kind)) ||
		err.Code != "" && slices.Contains(s, err.Code) ||
		err.Status != 0 && slices.Contains(s, strconv.Itoa(err.Status))
}

var _ Asker = (*Retry)(nil)

// Ask implements [Asker]. The error is that of the last attempt.
func (r *Retry) Ask(ctx context.Context, c *Call) error {
	c.Attempt = 1
	if r.Attempts <= 0 {
		return r.Asker.Ask(ctx, c)
	}
	c.verdict = r
	defer func() { c.verdict = nil }()
	id := c.Request.ID
	last := r.Asker.Ask(ctx, c)
	if c.final(last) {
		return last
	}

	waiting := ctx
	if c.Leaving != nil {
		waiting = c.Leaving
	}
	wait := fullJitter{base: r.base(), longest: r.longest(), rng: c.Rand}
	tried := c.Attempt
	try := func() (struct{}, error) {
		if c.Attempt > tried {
			last, tried = r.Asker.Ask(ctx, c), c.Attempt
		}
		if c.final(last) {
			return struct{}{}, backoff.Permanent(last)
		}
		var perr *platform.Error
		if errors.As(last, &perr) {
			wait.atLeast = perr.RetryAfter
		}
		return struct{}{}, last
	}
	_, _ = backoff.Retry(waiting, try, // the error is in last, whatever ended the retries
		backoff.WithBackOff(&wait),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(_ error, next time.Duration) {
			c.Attempt++
			c.Schedule(r.Now() + next)
			if r.Alarm != nil {
				r.Alarm.Wake(time.Now().Add(next))
			}
			if id != "" {
				c.Request.ID = id + "-" + strconv.Itoa(c.Attempt)
			}
		}))
	return last
}

func (r *Retry) base() time.Duration {
	if r.Base > 0 {
		return r.Base
	}
	return time.Second
}

func (r *Retry) longest() time.Duration {
	if r.Longest > 0 {
		return r.Longest
	}
	return time.Minute
}

// again implements verdict. The recorder and Retry itself both ask, about the
// same error, and get the same answer unless the user was told to leave in
// between; then an attempt stays marked as one to be tried again.
func (r *Retry) again(c *Call, err error) bool {
	var perr *platform.Error
	return c.Attempt <= r.Attempts && !c.leaving() &&
		errors.As(err, &perr) && perr.Temporary() &&
		!errors.Is(err, ErrNotSent) && !r.Ignore.Match(perr) && perr.RetryAfter <= r.longest()
}

// fullJitter is the wait between attempts.
type fullJitter struct {
	base, longest time.Duration
	rng           *rand.Rand
	tries         int
	atLeast       time.Duration // what the platform asked for
}

var _ backoff.BackOff = (*fullJitter)(nil)

// Reset implements [backoff.BackOff].
func (j *fullJitter) Reset() { j.tries = 0 }

// NextBackOff implements [backoff.BackOff].
func (j *fullJitter) NextBackOff() time.Duration {
	ceiling := min(j.base, j.longest)
	for range j.tries {
		if ceiling *= 2; ceiling >= j.longest {
			ceiling = j.longest
			break
		}
	}
	j.tries++
	if j.atLeast > 0 {
		return j.atLeast + j.upTo(j.base)
	}
	return j.upTo(ceiling)
}

func (j *fullJitter) upTo(d time.Duration) time.Duration {
	if j.rng == nil { // a call without a user
		return time.Duration(rand.Int64N(int64(d) + 1))
	}
	return time.Duration(j.rng.Int64N(int64(d) + 1))
}
