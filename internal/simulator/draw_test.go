package simulator

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

func moments(xs []float64) (mean, deviation float64) {
	for _, x := range xs {
		mean += x
	}
	mean /= float64(len(xs))
	for _, x := range xs {
		deviation += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(xs)))
}

// kolmogorov is the largest distance between the empirical distribution of xs
// and cdf, times √n; above 1.95 it is a mismatch with 99.9% confidence.
func kolmogorov(xs []float64, cdf func(float64) float64) float64 {
	xs = slices.Clone(xs)
	slices.Sort(xs)
	n, worst := float64(len(xs)), 0.0
	for i, x := range xs {
		p := cdf(x)
		worst = max(worst, math.Abs(p-float64(i)/n), math.Abs(float64(i+1)/n-p))
	}
	return worst * math.Sqrt(n)
}

func (f flat) cdf(x float64) float64 { return (x - f.lo) / (f.hi - f.lo) }

func (e exponential) cdf(x float64) float64 {
	if math.IsInf(e.span, 1) {
		return -math.Expm1(-e.k * (x - e.lo))
	}
	return math.Expm1(-e.k*(x-e.lo)/e.span) / math.Expm1(-e.k)
}

func (n normal) cdf(x float64) float64 { return (phi((x-n.mu)/n.sigma) - n.below) / n.inside }

// TestNumbersKeepWhatWasAskedFor: bounds always, mean and deviation within
// 10% (and they are far closer), and the shape.
func TestNumbersKeepWhatWasAskedFor(t *testing.T) {
	const draws = 50_000
	for _, tt := range []struct {
		n               Number
		mean, deviation float64 // 0: not held to one
	}{
		{Number{Base: 5, Variance: 2, Min: 1, Max: 10, Distribution: Uniform}, 5, 2 / math.Sqrt(3)},
		{Number{Min: 2, Max: 8, Distribution: Uniform}, 5, 6 / math.Sqrt(12)},
		{Number{Base: 5, Min: 2, Max: 8}, 5, 6 / math.Sqrt(12)},
		{Number{Base: 5, Variance: 2, Min: 1, Max: 10, Distribution: Gaussian}, 5, 2},
		{Number{Base: 10, Variance: 5, Min: 2, Max: 30, Distribution: Gaussian}, 10, 5},
		{Number{Base: 3, Variance: 1.5, Distribution: Gaussian}, 3, 1.5},
		{Number{Base: 3, Variance: 2, Min: 1, Max: 20, Distribution: Gaussian}, 3, 1.98}, // the limit
		{Number{Base: 3, Variance: 9, Min: 1, Max: 20, Distribution: Gaussian}, 3, 1.98}, // beyond it
		{Number{Base: 9, Variance: 9, Min: 1, Max: 10, Distribution: Gaussian}, 9, 0},
		{Number{Base: 60, Variance: 4, Min: 55, Max: 120, Distribution: Gaussian}, 60, 4},
		{Number{Min: 5, Max: 60, Distribution: Gaussian}, 32.5, 55.0 / 6},
		{Number{Base: 5, Min: 1, Max: 30, Distribution: Exponential}, 5, 0},
		{Number{Base: 5, Min: 1, Max: 10, Distribution: Exponential}, 5, 0},
		{Number{Base: 5, Distribution: Exponential}, 5, 5},
		{Number{Base: 8, Min: 1, Max: 10, Distribution: Exponential}, 8, 0},
		{Number{Base: 5.5, Min: 1, Max: 10, Distribution: Exponential}, 5.5, 9 / math.Sqrt(12)},
		{Number{Min: 1, Max: 10, Distribution: Exponential}, 4, 0},
		{Number{Base: 0.25, Variance: 0.1, Min: 0.05, Max: 0.5, Distribution: Gaussian}, 0.25, 0.1},
	} {
		t.Run(fmt.Sprintf("%+v", tt.n), func(t *testing.T) {
			if err := tt.n.check("think time"); err != nil {
				t.Fatal(err)
			}
			s := tt.n.sampler()
			rng := questions.Seed(11, 1, 1, 0)
			xs := make([]float64, draws)
			for i := range xs {
				xs[i] = s.draw(rng)
				if xs[i] < tt.n.Min || (tt.n.Max > 0 && xs[i] > tt.n.Max) {
					t.Fatalf("%v is outside %v..%v", xs[i], tt.n.Min, tt.n.Max)
				}
			}
			mean, deviation := moments(xs)
			if tt.mean > 0 && math.Abs(mean/tt.mean-1) > 0.02 {
				t.Errorf("the mean is %.3f, want %.3f", mean, tt.mean)
			}
			if tt.deviation > 0 && math.Abs(deviation/tt.deviation-1) > 0.03 {
				t.Errorf("the deviation is %.3f, want %.3f", deviation, tt.deviation)
			}
			if d := kolmogorov(xs, s.(interface{ cdf(float64) float64 }).cdf); d > 1.95 {
				t.Errorf("the shape is off: √n·D = %.2f", d)
			}
		})
	}
}

func TestNumbersThatAreFixed(t *testing.T) {
	for _, tt := range []struct {
		n    Number
		want float64
	}{
		{Number{}, 0},
		{Number{Base: 4}, 4},
		{Number{Min: 3}, 3},
		{Fixed(7), 7},
		{Number{Base: 4, Min: 1, Max: 9, Distribution: Gaussian}, 4},
		{Number{Base: 20, Min: 1, Max: 9, Distribution: Gaussian}, 9},
		{Number{Base: 1, Min: 1, Max: 9, Distribution: Exponential}, 1},
	} {
		if got := tt.n.sampler().draw(questions.Seed(1, 1, 1, 1)); got != tt.want {
			t.Errorf("%+v gives %v, want %v", tt.n, got, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	const draws = 50_000
	for _, tt := range []struct {
		c               Count
		mean, deviation float64
	}{
		{Count{5, 20, Uniform}, 12.5, math.Sqrt((16*16 - 1) / 12.0)},
		{Count{5, 20, ""}, 12.5, math.Sqrt((16*16 - 1) / 12.0)},
		{Count{5, 20, Gaussian}, 12.5, 2.5},
		{Count{0, 40, Poisson}, 20, math.Sqrt(20)},
		{Count{5, 20, Poisson}, 12.5, math.Sqrt(12.5)},
		{Count{3, 3, Poisson}, 3, 0},
		{Count{3, 3, Gaussian}, 3, 0},
		{Count{1, 2, Uniform}, 1.5, 0.5},
	} {
		t.Run(fmt.Sprintf("%+v", tt.c), func(t *testing.T) {
			if err := tt.c.check("questions", 0); err != nil {
				t.Fatal(err)
			}
			table := tt.c.table()
			rng := questions.Seed(12, 1, 1, 0)
			xs := make([]float64, draws)
			seen := make([]float64, tt.c.Max-tt.c.Min+1)
			for i := range xs {
				n := table.draw(rng)
				if n < tt.c.Min || n > tt.c.Max {
					t.Fatalf("%d is outside %d..%d", n, tt.c.Min, tt.c.Max)
				}
				xs[i] = float64(n)
				seen[n-tt.c.Min]++
			}
			mean, deviation := moments(xs)
			if math.Abs(mean-tt.mean) > 0.1*tt.mean || math.Abs(deviation-tt.deviation) > 0.1*tt.deviation {
				t.Errorf("mean %.2f and deviation %.2f, want %.2f and %.2f within 10%%", mean, deviation, tt.mean, tt.deviation)
			}
			// χ² over the values that should come often enough for it.
			total, chi2, free, before := table.upTo[len(table.upTo)-1], 0.0, 0, 0.0
			for i, n := range seen {
				expected := draws * (table.upTo[i] - before) / total
				before = table.upTo[i]
				if expected >= 10 {
					chi2 += (n - expected) * (n - expected) / expected
					free++
				}
			}
			// Four deviations above the mean of χ².
			if limit := float64(free) + 4*math.Sqrt(2*float64(free)); chi2 > limit {
				t.Errorf("χ² = %.1f with %d values, above %.1f", chi2, free, limit)
			}
		})
	}
}

func TestChecksOfDraws(t *testing.T) {
	for _, n := range []Number{
		{Base: -1}, {Base: math.NaN()}, {Min: math.Inf(1)}, {Min: 3, Max: 2}, {Base: 1, Distribution: Poisson},
	} {
		if n.check("x") == nil {
			t.Errorf("%+v was accepted", n)
		}
	}
	for _, c := range []Count{{-1, 3, Uniform}, {4, 3, Uniform}, {1, 1 << 30, Uniform}, {1, 2, Exponential}} {
		if c.check("x", 0) == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
