package isolation

import (
	"math"
	"slices"
	"time"
)

const (
	// Level is the greatest chance with which noise may pass for a difference
	// that accuses.
	Level = 0.001
	// ClearLevel is the greatest chance with which a difference may be
	// overlooked where there is said to be none.
	ClearLevel = 0.05
)

// Faster is the one-sided p of the exact Mann–Whitney test: the chance that
// values of x are below those of y as often as they are, if both come from one
// distribution. Equal values count as not below, which makes p larger.
func Faster(x, y []time.Duration) float64 {
	below := 0
	for _, a := range x {
		for _, b := range y {
			if a < b {
				below++
			}
		}
	}
	ways := orders(len(x), len(y))
	all, extreme := 0.0, 0.0
	for u, w := range ways {
		all += w
		if u >= below {
			extreme += w
		}
	}
	return extreme / all
}

// orders returns for each u from 0 to n·m in how many orders of n values of x
// and m of y an x is below a y u times.
func orders(n, m int) []float64 {
	// ways[k][s] is how many choices of k of the ranks so far sum to s. The rank
	// sum of x is n·m + n(n+1)/2 less the number of times that x is below y.
	largest := n*m + n*(n+1)/2
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, largest+1)
	}
	ways[0][0] = 1
	for rank := 1; rank <= n+m; rank++ {
		for k := min(n, rank); k > 0; k-- {
			for s := largest; s >= rank; s-- {
				ways[k][s] += ways[k-1][s-rank]
			}
		}
	}
	out := make([]float64, n*m+1)
	for u := range out {
		out[u] = ways[n][largest-u]
	}
	return out
}

// shift bounds how much later values lie above earlier ones, by the intervals
// of Hodges and Lehmann: each bound is wrong with a chance of at most level,
// whatever the distribution. Without enough values a bound is infinite.
func shift(before, after []float64, level float64) (low, high float64) {
	n, m := len(before), len(after)
	var d []float64
	for _, a := range before {
		for _, b := range after {
			d = append(d, b-a)
		}
	}
	slices.Sort(d)
	ways := orders(n, m)
	all := 0.0
	for _, w := range ways {
		all += w
	}
	k, sum := 0, 0.0 // the k-th smallest difference is the bound
	for k < len(d) && (sum+ways[k])/all <= level {
		sum += ways[k]
		k++
	}
	if k == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	return d[k-1], d[len(d)-k]
}

// proportions bounds the difference of two proportions, x2/n2 − x1/n1, by
// Newcombe's hybrid score method (1998, method 10) from Wilson's intervals. z
// is the normal quantile of one side.
func proportions(x1, n1, x2, n2 int, z float64) (low, high float64) {
	p1, l1, u1 := wilson(x1, n1, z)
	p2, l2, u2 := wilson(x2, n2, z)
	return p2 - p1 - math.Hypot(p2-l2, u1-p1), p2 - p1 + math.Hypot(u2-p2, p1-l1)
}

func wilson(x, n int, z float64) (p, low, high float64) {
	if n == 0 {
		return 0, 0, 1
	}
	f := float64(n)
	p = float64(x) / f
	middle, half := p+z*z/(2*f), z*math.Sqrt(p*(1-p)/f+z*z/(4*f*f))
	return p, max(0, (middle-half)/(1+z*z/f)), min(1, (middle+half)/(1+z*z/f))
}

// Normal quantiles of the two levels.
const (
	zAccuse = 3.0902
	zClear  = 1.6449
)

func median[T time.Duration | float64](v []T) T {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
