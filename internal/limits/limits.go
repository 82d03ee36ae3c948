// Package limits keeps a run within what it may do and spend.
//
// A limit acts before a request leaves: a [Guard] admits it or does not, so
// that nothing in flight can carry the run over a limit. Money is reserved at
// the worst a request can cost and settled with what it did cost; requests are
// counted at the moment they are let go. Limits on rate and concurrency delay a
// request, and the delay is counted: it stands in send lag and latency, since
// the request was due when its user wanted to ask.
//
// Only the error rate and the duration are looked at from time to time, by
// [Guard.Check]. A limit ends a run early and on purpose; a threshold (package
// verdict) only judges it.
package limits

import (
	"fmt"
	"math"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
)

// Limits of one run, or of one worker's part of it. Zero fields do not limit;
// negative ones, which a share of little can be, allow nothing.
type Limits struct {
	CostMicroUSD      int64
	ErrorRate         float64 // of the answered requests, warm-up included
	HasErrorRate      bool    // an error rate of 0 is a limit too
	Duration          time.Duration
	Requests          int64
	RequestsPerUser   int64
	RequestsPerSecond float64
	Concurrent        int64
}

// Share is one worker's part of the limits of n workers. Sums are split, so
// that they hold without coordination; what concerns one user, time or a ratio
// is the same for all.
func (l Limits) Share(worker, n int) Limits {
	if n <= 1 {
		return l
	}
	split := func(total int64) int64 {
		share := plan.Share(total, worker, n)
		if total > 0 && share == 0 {
			return -1
		}
		return share
	}
	l.CostMicroUSD, l.Requests, l.Concurrent = split(l.CostMicroUSD), split(l.Requests), split(l.Concurrent)
	l.RequestsPerSecond /= float64(n)
	return l
}

// Exceeded says which limit was crossed. It is the cause with which a run is stopped.
type Exceeded struct {
	Limit    string // cost, error rate, duration, request, concurrency
	Allowed  string
	Observed string
	Note     string // what else to know, or nothing
}

// Error implements error.
func (e *Exceeded) Error() string {
	s := fmt.Sprintf("the %s limit was reached: %s of %s", e.Limit, e.Observed, e.Allowed)
	if e.Note != "" {
		s += ", " + e.Note
	}
	return s
}

// Crossed is the limit that sums of a run have reached, or nil: requests, money,
// and the share of errors among the answers. The sums of those who keep their
// [Limits.Share] cannot cross what those together allow.
func (l Limits) Crossed(requests uint64, costMicroUSD int64, answered, failed uint64) *Exceeded {
	switch {
	case l.Requests > 0 && requests >= uint64(l.Requests):
		return &Exceeded{Limit: "request", Allowed: fmt.Sprint(l.Requests), Observed: fmt.Sprint(requests)}
	case l.CostMicroUSD > 0 && costMicroUSD >= l.CostMicroUSD:
		return &Exceeded{Limit: "cost", Allowed: dollars(l.CostMicroUSD), Observed: dollars(costMicroUSD)}
	case l.HasErrorRate && tooMany(int64(failed), int64(answered), l.ErrorRate): //nolint:gosec // no run has so many
		return &Exceeded{
			Limit: "error rate", Allowed: percent(l.ErrorRate), Observed: percent(float64(failed) / float64(answered)),
			Note: fmt.Sprintf("%d of %d answers", failed, answered),
		}
	}
	return nil
}

// The error rate is judged over a window of ten slots of a second, and over
// the whole run.
const (
	windowSlots = 10
	slot        = time.Second
	// fewest answers that an error rate may be judged by. A platform that is down
	// gives few, since the circuit breaker then holds requests back.
	fewest = 10
	// improbable is how unlikely it must be that a platform whose true error
	// rate is the limit had so many errors by chance. Without it, one that
	// fails at 8% would sooner or later break a limit of 10%.
	improbable = 1e-3
)

// tooMany reports whether so many failures of so many answers show an error
// rate above a limit.
func tooMany(failed, answered int64, limit float64) bool {
	return answered >= fewest && float64(failed) > limit*float64(answered) && tail(failed, answered, limit) < improbable
}

// tail is the probability of x or more successes in n trials of probability p,
// for x above the mean n·p: the terms fall from there on.
func tail(x, n int64, p float64) float64 {
	if p <= 0 {
		return 0
	}
	lg := func(v int64) float64 { f, _ := math.Lgamma(float64(v) + 1); return f }
	term := math.Exp(lg(n) - lg(x) - lg(n-x) + float64(x)*math.Log(p) + float64(n-x)*math.Log1p(-p))
	sum := 0.0
	for k := x; k <= n && term > sum*1e-9; k++ {
		sum += term
		term *= float64(n-k) / float64(k+1) * p / (1 - p)
	}
	return sum
}

// window counts answers by the second.
type window struct {
	slots [windowSlots]struct{ second, answered, failed int64 }
}

func (w *window) add(second int64, failed bool) {
	s := &w.slots[second%windowSlots]
	if s.second != second {
		*s = struct{ second, answered, failed int64 }{second: second}
	}
	s.answered++
	if failed {
		s.failed++
	}
}

// sum is over the slots up to and including second.
func (w *window) sum(second int64) (answered, failed int64) {
	for _, s := range w.slots {
		if s.second > second-windowSlots && s.second <= second {
			answered += s.answered
			failed += s.failed
		}
	}
	return answered, failed
}

func dollars(micro int64) string { return fmt.Sprintf("$%d.%06d", micro/1_000_000, micro%1_000_000) }
func percent(r float64) string   { return fmt.Sprintf("%.2f%%", r*100) }
