// Package limits answers one question: is the run over a limit?
//
// A limit ends a run early and on purpose; a threshold (package verdict) only
// judges it. Money limits are compared with what was spent, so requests that
// are in flight when the limit is reached may still be paid for.
package limits

import (
	"fmt"
	"math"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// An error rate is taken at its word from so many answers on. Below that, one
// early failure would be 100%; but a platform that is down answers little, and
// less once the circuit breaker holds requests back, so that from a few
// answers on it is enough that the true rate is beyond doubt over the limit.
const (
	minAnswered = 50
	fewAnswered = 10
)

// Limits of one run. Zero fields do not limit.
type Limits struct {
	CostMicroUSD int64
	ErrorRate    float64 // of the answered requests, warm-up included
	HasErrorRate bool    // an error rate of 0 is a limit too
	Duration     time.Duration
	Requests     uint64
}

// Exceeded says which limit was crossed. It is the cause with which a run is stopped.
type Exceeded struct {
	Limit    string // cost, error rate, duration, requests
	Allowed  string
	Observed string
}

// Error implements error.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("the %s limit was reached: %s of %s", e.Limit, e.Observed, e.Allowed)
}

// Check returns an *[Exceeded] if the totals at this moment are over a limit.
func (l Limits) Check(t stats.Totals, elapsed time.Duration) error {
	switch {
	case l.CostMicroUSD > 0 && t.CostMicroUSD >= l.CostMicroUSD:
		return &Exceeded{"cost", dollars(l.CostMicroUSD), dollars(t.CostMicroUSD)}
	case l.Requests > 0 && t.Requests >= l.Requests:
		return &Exceeded{"request", fmt.Sprint(l.Requests), fmt.Sprint(t.Requests)}
	case l.Duration > 0 && elapsed >= l.Duration:
		return &Exceeded{"duration", l.Duration.String(), elapsed.Round(100 * time.Millisecond).String()}
	case l.HasErrorRate && l.tooManyErrors(t.Refused+t.Failed, t.Answered()):
		return &Exceeded{"error rate", percent(l.ErrorRate), percent(t.ErrorRate())}
	}
	return nil
}

func (l Limits) tooManyErrors(errors, answered uint64) bool {
	if answered < fewAnswered {
		return false
	}
	rate := float64(errors) / float64(answered)
	if answered < minAnswered {
		rate = atLeast(rate, float64(answered))
	}
	return rate > l.ErrorRate
}

// atLeast is the lower end of Wilson's score interval at three standard
// deviations for a rate that was observed n times.
func atLeast(rate, n float64) float64 {
	const z = 3.0
	return (rate + z*z/(2*n) - z*math.Sqrt(rate*(1-rate)/n+z*z/(4*n*n))) / (1 + z*z/n)
}

func dollars(micro int64) string { return fmt.Sprintf("$%d.%06d", micro/1_000_000, micro%1_000_000) }
func percent(r float64) string   { return fmt.Sprintf("%.2f%%", r*100) }
