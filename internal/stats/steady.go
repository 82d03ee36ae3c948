package stats

import (
	"math"
	"slices"
)

// Steadiness is what became of a series under a constant load.
type Steadiness struct {
	// Points is the length of the series; fewer than 30 are too few to tell.
	Points int `json:"points"`
	// Settled is false if it still drifted when it ended.
	Settled bool `json:"settled"`
	// From is the point from which on it was steady; the ones before it are the
	// transient.
	From int `json:"from"`
	// Drift is by how much of its median the series moved from From to its end
	// (Sen's slope), and P the two-sided p of there being no trend.
	Drift float64 `json:"drift"`
	P     float64 `json:"p"`
}

// What it takes to say that a series never settles: a trend that chance makes
// once in a thousand times, and one that matters.
const (
	steadyP     = 0.001
	steadyDrift = 0.10
	leastPoints = 30
	// mostBatches bounds how finely a series is looked at: means of several
	// neighbours depend less on one another than the points do, and the test
	// supposes that they do not.
	mostBatches = 20
)

// Steady says whether a series of equally long intervals came to rest: the
// mean latencies of each second of a phase whose load does not change. It
// reports false if there are too few points.
//
// First the transient is cut off, where that makes the mean of the rest most
// certain (MSER: K. P. White, "An effective truncation heuristic for bias
// reduction in simulation output", Simulation 69, 1997), but at most half of
// the series. A trend in the rest is found by the test of Mann (1945) and
// Kendall (1975), which supposes no distribution, and measured by Sen's slope
// (1968), the median of all slopes. Both look at means of batches of points.
func Steady(series []float64) (s Steadiness, ok bool) {
	s = Steadiness{Points: len(series), Settled: true}
	if len(series) < leastPoints {
		return s, false
	}
	size := (len(series) + 2*mostBatches - 1) / (2 * mostBatches) // half of the series may be cut off
	var means []float64
	for batch := range slices.Chunk(series, size) {
		if len(batch) == size { // the last one may be too short to compare
			means = append(means, mean(batch))
		}
	}
	cut := mser(means)
	s.From = cut * size
	means = means[cut:]
	s.P, s.Drift = trend(means)
	s.Settled = s.P >= steadyP || math.Abs(s.Drift) < steadyDrift
	return s, true
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// mser returns how many of the first values to leave out, at most half.
func mser(x []float64) (cut int) {
	best := math.Inf(1)
	var n, sum, squares float64
	for i := len(x) - 1; i >= 0; i-- {
		n, sum, squares = n+1, sum+x[i], squares+x[i]*x[i]
		if i > len(x)/2 {
			continue
		}
		if score := (squares - sum*sum/n) / (n * n); score <= best {
			best, cut = score, i
		}
	}
	return cut
}

// trend is the test of Mann and Kendall, and Sen's slope over the whole length
// as a share of the median.
func trend(x []float64) (p, drift float64) {
	n := len(x)
	score := 0
	slopes := make([]float64, 0, n*(n-1)/2)
	for i := range x {
		for j := i + 1; j < n; j++ {
			switch {
			case x[j] > x[i]:
				score++
			case x[j] < x[i]:
				score--
			}
			slopes = append(slopes, (x[j]-x[i])/float64(j-i))
		}
	}
	// Ties make the variance smaller: t(t−1)(2t+5) for each group of t.
	variance := float64(n * (n - 1) * (2*n + 5))
	sorted := slices.Sorted(slices.Values(x))
	for i := 0; i < n; {
		j := i
		for j < n && sorted[j] == sorted[i] {
			j++
		}
		t := j - i
		variance -= float64(t * (t - 1) * (2*t + 5))
		i = j
	}
	variance /= 18
	middle := median(sorted)
	if variance <= 0 || middle == 0 {
		return 1, 0
	}
	slices.Sort(slopes)
	z := max(0, math.Abs(float64(score))-1) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2), median(slopes) * float64(n-1) / middle
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
