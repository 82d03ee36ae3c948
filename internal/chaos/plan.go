// Package chaos breaks requests on purpose, on this side of the network, so
// that a run shows what users see when the way to the platform is bad.
//
// A [Plan] decides, purely and from a seed, what happens to each request; an
// [Injector] does it, in the HTTP transport, so that the client meets the same
// errors as from a real network; a [Recovery] measures how long each
// organization takes to get over an outage. Whatever was harmed is marked, and
// counts neither for nor against the platform.
package chaos

import (
	"math/rand/v2"
	"time"
)

// Fault is one way to harm a request.
type Fault string

// The faults, in the order in which a request's lot is drawn.
const (
	None       Fault = ""
	Outage     Fault = "outage"     // nothing gets through; by the clock, not by lot
	DNSFailure Fault = "dns"        // the name is not found
	Failure    Fault = "failure"    // the connection is refused
	Reset      Fault = "reset"      // the connection is reset while the answer is read
	Truncation Fault = "truncation" // the stream ends too early, as if complete
	SlowRead   Fault = "slow_read"  // the answer is read slowly
)

// Plan says what to do to whom. The shares are of all requests, Truncations of
// the streams; each request suffers at most one of them, so they sum to 1 at most.
type Plan struct {
	Seed                                                  uint64
	DNSFailures, Failures, Resets, Truncations, SlowReads float64
	// Every request is delayed by Latency, give or take up to Variance.
	Latency, Variance time.Duration
	// Outages are times at which nothing gets through, from the start of the
	// load. Requests fail, and answers being read are cut off.
	Outages []Span
}

// Span is a time, as offsets from the start of the load.
type Span struct{ At, Duration time.Duration }

// End is the first moment after the span.
func (s Span) End() time.Duration { return s.At + s.Duration }

// Fate is what is to happen to one request.
type Fate struct {
	Fault Fault
	Delay time.Duration // before it leaves
	After int           // bytes of the answer that arrive before a reset or truncation
}

// earliest break of an answer is within so many bytes: a few chunks of a
// stream, so that it lies inside all but the shortest answers.
const earliest = 600

// Fate decides about a user's n-th request, n from 0. The same plan always
// decides alike.
func (p *Plan) Fate(user, n int, stream bool) Fate {
	rng := rand.New(rand.NewPCG(p.Seed^0xc4a05, uint64(user)<<32|uint64(n)&0xffffffff)) //nolint:gosec // a seed, not a number
	lot, spread, after := rng.Float64(), 2*rng.Float64()-1, rng.IntN(earliest)
	f := Fate{After: after}
	if p.Latency > 0 || p.Variance > 0 {
		f.Delay = max(0, p.Latency+time.Duration(spread*float64(p.Variance)))
	}
	for _, s := range []struct {
		fault   Fault
		share   float64
		applies bool
	}{
		{DNSFailure, p.DNSFailures, true}, {Failure, p.Failures, true}, {Reset, p.Resets, true},
		{SlowRead, p.SlowReads, true}, {Truncation, p.Truncations, stream},
	} {
		if lot < s.share {
			if s.applies {
				f.Fault = s.fault
			}
			break
		}
		lot -= s.share
	}
	return f
}

// Down reports whether a moment lies in an outage.
func (p *Plan) Down(at time.Duration) bool {
	for _, o := range p.Outages {
		if at >= o.At && at < o.End() {
			return true
		}
	}
	return false
}
