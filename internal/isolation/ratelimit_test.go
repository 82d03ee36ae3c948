package isolation_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
)

// tokens is a bucket that may be kept in the wrong way.
type tokens struct {
	rate, burst float64
	level       float64
	at          time.Duration
	lossy       bool
}

func (b *tokens) take(now time.Duration) bool {
	came := (now - b.at).Seconds() * b.rate
	if b.lossy {
		came = math.Floor(came)
	}
	b.level, b.at = min(b.burst, b.level+came), now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// meet sends requests to a bucket as the worker does, over a network that takes
// up to far in either direction.
func meet(promised float64, burst int, b tokens, far time.Duration, seed uint64) isolation.Limiter {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	l := isolation.Limiter{Rate: promised, Burst: burst}
	now := time.Duration(0)
	try := func() isolation.Try {
		at := now + time.Duration(rng.Int64N(int64(far)))
		t := isolation.Try{Sent: now, Done: at + time.Duration(rng.Int64N(int64(far)))}
		if t.Passed = b.take(max(at, b.at)); !t.Passed {
			t.Limited, t.RetryAfter = true, time.Second
		}
		return t
	}
	for range 2*burst + int(2*promised) + 10 {
		l.Drain = append(l.Drain, try())
		now += time.Duration(float64(time.Second) / promised / 4)
		if l.Drain[len(l.Drain)-1].Limited {
			break
		}
	}
	for range int(1.5 * promised * 5) {
		l.Steady = append(l.Steady, try())
		now += time.Duration(float64(time.Second) / promised / 1.5)
	}
	return l
}

func TestRate(t *testing.T) {
	const rate, burst = 20, 30
	for name, c := range map[string]struct {
		bucket tokens
		far    time.Duration
		want   isolation.Verdict
		says   string
	}{
		"sound":          {tokens{rate: rate, burst: burst}, 5 * time.Millisecond, isolation.Held, "no Retry-After is given"},
		"sound, far":     {tokens{rate: rate, burst: burst}, 30 * time.Millisecond, isolation.Held, ""},
		"5% too lax":     {tokens{rate: 1.05 * rate, burst: burst}, 5 * time.Millisecond, isolation.Held, ""},
		"20% too lax":    {tokens{rate: 1.2 * rate, burst: burst}, 5 * time.Millisecond, isolation.Violated, "too lax"},
		"20% too strict": {tokens{rate: 0.8 * rate, burst: burst}, 5 * time.Millisecond, isolation.Violated, "starves"},
		"starving":       {tokens{rate: rate, burst: burst, lossy: true}, 5 * time.Millisecond, isolation.Violated, "only 0 passed"},
		"twice at once":  {tokens{rate: rate, burst: 2 * burst}, 5 * time.Millisecond, isolation.Violated, "before the first refusal"},
		"no limit":       {tokens{rate: 1e6, burst: 1e6}, 5 * time.Millisecond, isolation.Violated, "none was refused"},
		"very far":       {tokens{rate: rate, burst: burst}, time.Second, isolation.Undecided, "too vague"},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				b := c.bucket
				b.level = b.burst
				l := meet(rate, burst, b, c.far, seed)
				for i := range l.Steady { // nobody waits here
					l.Steady[i].RetryAfter = 0
				}
				for i := range l.Drain {
					l.Drain[i].RetryAfter = 0
				}
				r := isolation.Rate(l)
				if r.Verdict != c.want || !strings.Contains(r.Reason, c.says) {
					t.Fatalf("seed %d: %+v", seed, r)
				}
				if c.far < 100*time.Millisecond && !b.lossy && r.High > 0 && (r.Low > b.rate || r.High < b.rate) {
					t.Fatalf("seed %d: %v is not from %v to %v", seed, b.rate, r.Low, r.High)
				}
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	l := meet(20, 30, tokens{rate: 20, burst: 30, level: 30}, 5*time.Millisecond, 1)
	for _, c := range []struct {
		passed, limited int
		want            isolation.Verdict
		says            string
	}{
		{3, 0, isolation.Held, "3 of 3 requests passed"},
		{2, 1, isolation.Undecided, "one of 3"},
		{1, 2, isolation.Violated, "Retry-After is wrong: 2 of 3"},
		{0, 0, isolation.Undecided, "could not be tried"},
	} {
		l.Waits = nil
		for i := range c.passed + c.limited {
			l.Waits = append(l.Waits, isolation.Wait{After: isolation.Try{Passed: i < c.passed, Limited: i >= c.passed}})
		}
		if r := isolation.Rate(l); r.Verdict != c.want || !strings.Contains(r.Reason, c.says) {
			t.Errorf("%+v", r)
		}
	}
	l.Steady[0].Limited, l.Steady[0].Passed = false, false
	for i := range 20 {
		l.Steady[i].Limited, l.Steady[i].Passed = false, false
	}
	if r := isolation.Rate(l); r.Verdict != isolation.Undecided || !strings.Contains(r.Reason, "other reasons") {
		t.Errorf("%+v", r)
	}
	if r := isolation.Rate(isolation.Limiter{Rate: 1, Burst: 1}); r.Verdict != isolation.Undecided {
		t.Errorf("nothing was sent: %+v", r)
	}
}
