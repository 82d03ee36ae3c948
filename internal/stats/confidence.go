package stats

import (
	"math"
	"time"
)

// Confidence is that of every confidence interval here.
const Confidence = 0.95

// Enough is how many values it takes for a quantile to be known at all: with
// fewer, the exact confidence interval around it ([Histogram.Interval]) has an
// open end, so that no duration that was seen says how large it may be. It is
// 6 for the median, 72 for p95 and 368 for p99; 0 for the maximum, which is
// what it is.
func Enough(q float64) uint64 {
	if q <= 0 || q >= 1 {
		return 0
	}
	const alpha = 1 - Confidence
	return uint64(math.Ceil(math.Log(alpha/2) / math.Log(max(q, 1-q))))
}

// Known is [Histogram.Quantile], and false where there are not [Enough] values.
func (h *Histogram) Known(q float64) (time.Duration, bool) {
	if h.count == 0 || h.count < Enough(q) {
		return 0, false
	}
	return h.Quantile(q), true
}

// Interval is a 95% confidence interval of the quantile q: the values of two
// ranks, with the histogram's rounding outwards. It is exact and supposes no
// distribution: of n independent values B are below the quantile, where B is
// binomial (n, q), and the ranks are those that cut off at most 2.5% of B on
// either side (H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed.,
// section 7.1; G. J. Hahn and W. Q. Meeker, Statistical Intervals, 5.2). Where
// values depend on one another, as neighbours in time do, it is too narrow.
// It reports false where there are not [Enough] values.
func (h *Histogram) Interval(q float64) (lo, hi time.Duration, ok bool) {
	from, to, ok := ranks(h.count, q)
	if !ok {
		return 0, 0, false
	}
	lo, _ = h.at(from)
	_, hi = h.at(to)
	return h.clamp(lo), h.clamp(hi), true
}

// ranks returns the ranks between which the quantile of n values lies.
func ranks(n uint64, q float64) (from, to uint64, ok bool) {
	if n == 0 || q <= 0 || q >= 1 || n < Enough(q) {
		return 0, 0, false
	}
	const tail = (1 - Confidence) / 2
	// The tails are summed from the ends of what is not negligible.
	mean, deviation := float64(n)*q, math.Sqrt(float64(n)*q*(1-q))
	first := uint64(max(0, mean-9*deviation-9))
	last := uint64(min(float64(n), mean+9*deviation+9))
	for sum, k := 0.0, first; ; k++ { // P(B ≤ k); the rank k+1 is the first whose lower tail is more
		if sum += binomial(n, k, q); sum > tail || k == last {
			from = k
			break
		}
	}
	for sum, k := 0.0, last; ; k-- { // P(B ≥ k)
		if sum += binomial(n, k, q); sum > tail || k == first {
			to = k + 1
			break
		}
	}
	return from, to, from >= 1 && to <= n
}

// binomial is the probability of k among n.
func binomial(n, k uint64, q float64) float64 {
	return math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) + float64(k)*math.Log(q) + float64(n-k)*math.Log1p(-q))
}

func logFactorial(n uint64) float64 {
	v, _ := math.Lgamma(float64(n) + 1)
	return v
}
