package simulator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// Distribution is the shape of a random quantity.
type Distribution string

// The distributions. Uniform is what an empty one means.
const (
	Uniform     Distribution = "uniform"
	Gaussian    Distribution = "gaussian"
	Exponential Distribution = "exponential" // of a Number
	Poisson     Distribution = "poisson"     // of a Count
)

// Number is a random quantity, such as a think time in seconds. The zero
// Number is always 0.
//
//   - Uniform: Base ± Variance, as far as that lies within Min and Max;
//     without a Variance, from Min to Max.
//   - Gaussian: mean Base, standard deviation Variance, within Min and Max.
//   - Exponential: mean Base, from Min to Max; Variance has no meaning.
//
// Cutting off a bell or an exponential at its bounds would move its mean and
// narrow it: a mean of 5 s cut at 1 s gives 5.9 s. So the parent distribution
// is chosen such that what is left after cutting has the mean and deviation
// asked for. Where the bounds leave no room for so wide a bell, the mean is
// kept, which sets the load, and the deviation is as large as can be: the
// bell has then flattened into an exponential.
//
// With neither Base nor Variance, a Gaussian has its mean halfway between Min
// and Max and six deviations between them, and an Exponential its mean at a
// third of the way.
type Number struct {
	Base, Variance float64
	Min            float64
	Max            float64 // 0: no upper bound
	Distribution   Distribution
}

// Fixed is the Number that is always x.
func Fixed(x float64) Number { return Number{Base: x, Min: x, Max: x} }

func (n Number) check(what string) error {
	for _, x := range [...]float64{n.Base, n.Variance, n.Min, n.Max} {
		// The negation also catches NaN.
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("%s: base, variance, min and max must be finite numbers from 0 up, not %v", what, x)
		}
	}
	if n.Max > 0 && n.Max < n.Min {
		return fmt.Errorf("%s: max %v is below min %v", what, n.Max, n.Min)
	}
	switch n.Distribution {
	case "", Uniform, Gaussian, Exponential:
		return nil
	default:
		return fmt.Errorf("%s: the distribution %q is unknown: use %s, %s or %s", what, n.Distribution, Uniform, Gaussian, Exponential)
	}
}

// sampler draws from a distribution in constant time, using one number of the
// generator, so that a user's stream of random numbers keeps its step.
type sampler interface {
	draw(rng *rand.Rand) float64
}

// Draw draws one number. Whoever draws many of the same is better off with a
// script, which works the distribution out once.
func (n Number) Draw(rng *rand.Rand) float64 { return n.sampler().draw(rng) }

func (n Number) sampler() sampler {
	lo, hi := n.Min, n.Max
	if hi == 0 {
		hi = math.Inf(1)
	}
	base, spread := n.Base, n.Variance
	if base == 0 && spread == 0 {
		switch {
		case n.Max == 0:
			return flat{lo, lo}
		case n.Distribution == Gaussian:
			base, spread = (lo+hi)/2, (hi-lo)/6
		case n.Distribution == Exponential:
			base = lo + (hi-lo)/3
		default:
			return flat{lo, hi}
		}
	}
	base = min(max(base, lo), hi)
	switch {
	case n.Distribution == Exponential:
		return newExponential(base, lo, hi)
	case n.Distribution == Gaussian:
		return newNormal(base, spread, lo, hi)
	case spread > 0:
		return flat{max(base-spread, lo), min(base+spread, hi)}
	case n.Max > 0:
		return flat{lo, hi}
	default:
		return flat{base, base}
	}
}

// flat is uniform on [lo, hi].
type flat struct{ lo, hi float64 }

func (f flat) draw(rng *rand.Rand) float64 { return f.lo + (f.hi-f.lo)*rng.Float64() }

// exponential has density ~ e^(−k·x/span) on lo + [0, span]. With an infinite
// span, it is lo plus the exponential distribution with mean 1/k.
type exponential struct{ lo, span, k float64 }

// newExponential finds the k for which the mean is as wanted: the mean of the
// unit case, 1/k − 1/(e^k − 1), falls from 1 to 0 as k goes from −∞ to ∞.
func newExponential(mean, lo, hi float64) sampler {
	if mean <= lo || mean >= hi {
		return flat{mean, mean}
	}
	if math.IsInf(hi, 1) {
		return exponential{lo, hi, 1 / (mean - lo)}
	}
	want := (mean - lo) / (hi - lo)
	left, right := -600.0, 600.0
	for range 100 {
		k := (left + right) / 2
		if unitMean(k) > want {
			left = k
		} else {
			right = k
		}
	}
	return exponential{lo, hi - lo, (left + right) / 2}
}

func unitMean(k float64) float64 {
	if math.Abs(k) < 1e-4 {
		return 0.5 - k/12
	}
	return 1/k - 1/math.Expm1(k)
}

func (e exponential) draw(rng *rand.Rand) float64 {
	u := rng.Float64()
	switch {
	case math.IsInf(e.span, 1):
		return e.lo - math.Log1p(-u)/e.k
	case math.Abs(e.k) < 1e-9:
		return e.lo + e.span*u
	default:
		return e.lo - e.span*math.Log1p(u*math.Expm1(-e.k))/e.k
	}
}

// normal is the normal distribution with mean mu and deviation sigma cut off
// outside [lo, hi]; below and inside are its probabilities under lo and
// within the bounds.
type normal struct{ mu, sigma, lo, hi, below, inside float64 }

func cut(mu, sigma, lo, hi float64) normal {
	below := phi((lo - mu) / sigma)
	return normal{mu, sigma, lo, hi, below, phi((hi-mu)/sigma) - below}
}

// newNormal looks for the parent whose remainder has the wanted moments, by
// moving the parent by what the remainder misses. As the deviation grows,
// that parent flattens, and in the limit what is left is the exponential of
// that mean.
func newNormal(mean, deviation, lo, hi float64) sampler {
	if deviation == 0 || lo == hi {
		return flat{mean, mean}
	}
	const near = 0.005
	n := cut(mean, deviation, lo, hi)
	for range 500 {
		m, d := n.moments()
		if math.Abs(m-mean) < near*deviation && math.Abs(d-deviation) < near*deviation {
			return n
		}
		mu, sigma := n.mu+0.7*(mean-m), n.sigma*math.Pow(deviation/d, 0.7)
		n = cut(mu, sigma, lo, hi)
		// Far away from its bounds a normal is lost in rounding.
		if !(n.inside > 1e-6) || !(sigma < 100*deviation) {
			break
		}
	}
	return newExponential(mean, lo, hi)
}

// moments are the mean and the standard deviation of what is within the bounds.
func (n normal) moments() (mean, deviation float64) {
	a, b := (n.lo-n.mu)/n.sigma, (n.hi-n.mu)/n.sigma
	da, db := density(a), density(b)
	edge := 0.0 // b·φ(b) vanishes at infinity
	if !math.IsInf(b, 1) {
		edge = b * db
	}
	shift := (da - db) / n.inside
	return n.mu + n.sigma*shift, n.sigma * math.Sqrt(max(1+(a*da-edge)/n.inside-shift*shift, 0))
}

func (n normal) draw(rng *rand.Rand) float64 {
	p := n.below + n.inside*rng.Float64()
	return min(max(n.mu+n.sigma*math.Sqrt2*math.Erfinv(2*p-1), n.lo), n.hi)
}

func phi(x float64) float64     { return 0.5 * math.Erfc(-x/math.Sqrt2) }
func density(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }

// seconds draws a duration from a sampler of seconds.
func seconds(s sampler, rng *rand.Rand) time.Duration {
	return time.Duration(s.draw(rng) * float64(time.Second))
}

// Count is a random whole number from Min to Max, both included.
//
//   - Uniform: each equally likely.
//   - Gaussian: around the middle, with six deviations between Min and Max.
//   - Poisson: with the middle as its mean, cut off outside Min and Max.
type Count struct {
	Min, Max     int
	Distribution Distribution
}

// largestCount bounds what a Count may reach, as it is drawn from a table.
const largestCount = 100_000

func (c Count) check(what string, least int) error {
	switch {
	case c.Min < least:
		return fmt.Errorf("%s: min %d is below %d", what, c.Min, least)
	case c.Max < c.Min:
		return fmt.Errorf("%s: max %d is below min %d", what, c.Max, c.Min)
	case c.Max > largestCount:
		return fmt.Errorf("%s: max %d is above %d", what, c.Max, largestCount)
	}
	switch c.Distribution {
	case "", Uniform, Gaussian, Poisson:
		return nil
	default:
		return fmt.Errorf("%s: the distribution %q is unknown: use %s, %s or %s", what, c.Distribution, Uniform, Gaussian, Poisson)
	}
}

// table draws a whole number by its cumulative probabilities.
type table struct {
	least int
	upTo  []float64
}

func (c Count) table() table {
	t := table{least: c.Min, upTo: make([]float64, c.Max-c.Min+1)}
	middle, sigma := float64(c.Min+c.Max)/2, float64(c.Max-c.Min)/6
	sum := 0.0
	for i := range t.upTo {
		k, p := float64(c.Min+i), 1.0
		switch {
		case c.Max == c.Min:
		case c.Distribution == Gaussian:
			p = phi((k+0.5-middle)/sigma) - phi((k-0.5-middle)/sigma)
		case c.Distribution == Poisson:
			factorial, _ := math.Lgamma(k + 1)
			p = math.Exp(k*math.Log(middle) - middle - factorial)
		}
		sum += p
		t.upTo[i] = sum
	}
	return t
}

func (t table) draw(rng *rand.Rand) int {
	x := rng.Float64() * t.upTo[len(t.upTo)-1]
	i := sort.Search(len(t.upTo), func(i int) bool { return t.upTo[i] > x })
	return t.least + min(i, len(t.upTo)-1)
}
