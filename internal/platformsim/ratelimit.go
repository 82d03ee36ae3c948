package platformsim

import (
	"math"
	"time"
)

// RateLimit is a token bucket. That of an organization holds for all its keys
// together, and for each of them that has none of its own; a request needs a
// token of both.
type RateLimit struct {
	RequestsPerSecond float64 `json:"requestsPerSecond"` // 0: no limit
	Burst             int     `json:"burst"`             // size of the bucket; 0: the rate, at least 1
}

// ObservedRateLimit is what the real router is set to by default.
var ObservedRateLimit = RateLimit{RequestsPerSecond: 100, Burst: 200}

// rate is a RateLimit in whole nanoseconds, so that deciding is exact.
type rate struct {
	rps      float64
	interval int64 // ns that one token takes; 0: no limit
	burst    int64
}

func (l RateLimit) rate(d Defects) rate {
	if l.RequestsPerSecond <= 0 {
		return rate{}
	}
	r := rate{rps: l.RequestsPerSecond, burst: int64(l.Burst)}
	if r.burst <= 0 {
		r.burst = max(1, int64(math.Ceil(l.RequestsPerSecond)))
	}
	enforced := l.RequestsPerSecond
	if d.LaxLimiter {
		enforced *= 1.2
	}
	r.interval = max(1, int64(math.Ceil(float64(time.Second)/enforced)))
	return r
}

// bucket is a token bucket, full at first. Moments are nanoseconds from an
// epoch of the caller's.
//
// Its state is the moment when it will be full (the generic cell rate
// algorithm): that is a bucket refilled continuously, without rounding.
type bucket struct {
	full int64

	// The other way of keeping it, see takeLossy.
	spent, last int64
}

// wait is how long after now a token will be there; 0 if one is.
func (b *bucket) wait(r rate, now int64) int64 {
	return max(0, max(b.full, now)+r.interval-r.interval*r.burst-now)
}

// take removes a token, which must be there.
func (b *bucket) take(r rate, now int64) { b.full = max(b.full, now) + r.interval }

// left is the number of whole tokens in the bucket.
func (b *bucket) left(r rate, now int64) int64 {
	return (r.interval*r.burst - max(0, b.full-now)) / r.interval
}

// takeLossy is the bucket of the real router: every call, refused ones too,
// adds the whole tokens since the call before and throws the fraction away. So
// evenly spaced calls above the rate get the burst and then nothing.
func (b *bucket) takeLossy(r rate, now int64) bool {
	if b.spent > 0 {
		b.spent = max(0, b.spent-(now-b.last)/r.interval)
	}
	b.last = now
	if b.spent >= r.burst {
		return false
	}
	b.spent++
	return true
}

// ruling is what the limiter decided about one request.
type ruling struct {
	limited bool // there is a limit at all
	ok      bool
	rate    rate  // of the bucket with fewer tokens left: the org's, unless the key has a rate of its own
	left    int64 // tokens left in it
	wait    int64 // ns until the same request could pass, if it did not
}

// rule decides about one request of a key. A key without a rate of its own has
// the org's; with lossy the org's token is spent even if the key has none.
func (k *apiKey) rule(now int64, lossy bool) ruling {
	o := k.user.org
	o.mu.Lock()
	defer o.mu.Unlock()
	own := k.rate
	if own.interval == 0 {
		own = o.rate
	}
	buckets := [...]struct {
		*bucket
		rate
	}{{&o.bucket, o.rate}, {&k.bucket, own}}
	r := ruling{ok: true}
	for _, b := range buckets {
		switch {
		case b.interval == 0:
		case lossy:
			if r.ok = r.ok && b.takeLossy(b.rate, now); !r.ok {
				r.wait = b.interval
			}
		default:
			r.wait = max(r.wait, b.wait(b.rate, now))
			r.ok = r.wait == 0
		}
	}
	for _, b := range buckets {
		if b.interval == 0 {
			continue
		}
		left := b.burst - b.spent
		if !lossy {
			if r.ok {
				b.take(b.rate, now)
			}
			left = b.left(b.rate, now)
		}
		if !r.limited || left < r.left {
			r.limited, r.rate, r.left = true, b.rate, left
		}
	}
	return r
}
