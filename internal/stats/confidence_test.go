package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEnough(t *testing.T) {
	for q, want := range map[float64]uint64{0.5: 6, 0.9: 36, 0.95: 72, 0.99: 368, 1: 0, 0: 0} {
		if got := Enough(q); got != want {
			t.Errorf("p%g takes %d values, want %d", q*100, got, want)
		}
		if want == 0 {
			continue
		}
		if _, _, ok := ranks(want, q); !ok {
			t.Errorf("p%g has no interval of %d values", q*100, want)
		}
		if _, _, ok := ranks(want-1, q); ok {
			t.Errorf("p%g has an interval of %d values", q*100, want-1)
		}
	}
}

// The ranks are held against tables: B. Hahn and Meeker have 40 and 61 of 100
// for the median; the rest is by summing the binomial in another way.
func TestRanksAreExact(t *testing.T) {
	if from, to, ok := ranks(100, 0.5); !ok || from != 40 || to != 61 {
		t.Errorf("median of 100: %d to %d", from, to)
	}
	for _, n := range []uint64{6, 72, 368, 1000, 5003} {
		for _, q := range []float64{0.5, 0.95, 0.99} {
			from, to, ok := ranks(n, q)
			if !ok {
				continue
			}
			cdf := func(k int64) (sum float64) { // P(B ≤ k), by recurrence from P(B = 0)
				p := math.Exp(float64(n) * math.Log1p(-q)) // underflows to 0 for none of these
				if p == 0 {
					return math.NaN()
				}
				for i := int64(0); i <= k; i++ {
					sum += p
					p *= float64(int64(n)-i) / float64(i+1) * q / (1 - q)
				}
				return sum
			}
			if math.IsNaN(cdf(0)) {
				continue
			}
			if low := cdf(int64(from) - 1); low > 0.025+1e-9 {
				t.Errorf("p%g of %d: %.4f below rank %d", q*100, n, low, from)
			}
			if next := cdf(int64(from)); next <= 0.025 {
				t.Errorf("p%g of %d: the rank after %d would do", q*100, n, from)
			}
			if high := 1 - cdf(int64(to)-1); high > 0.025+1e-9 {
				t.Errorf("p%g of %d: %.4f above rank %d", q*100, n, high, to)
			}
			if before := 1 - cdf(int64(to)-2); before <= 0.025 {
				t.Errorf("p%g of %d: the rank before %d would do", q*100, n, to)
			}
		}
	}
}

// TestIntervalsHoldTheTruth draws from a known distribution: at least 95% of
// the intervals must hold its quantile. The draws are the same every time.
func TestIntervalsHoldTheTruth(t *testing.T) {
	for _, q := range []float64{0.5, 0.95, 0.99} {
		truth := time.Duration(-math.Log1p(-q) * float64(time.Second))
		held := 0
		const rounds = 400
		for seed := range uint64(rounds) {
			rng := rand.New(rand.NewPCG(seed, 9))
			var h Histogram
			for range 700 {
				h.Record(time.Duration(rng.ExpFloat64() * float64(time.Second)))
			}
			lo, hi, ok := h.Interval(q)
			if !ok {
				t.Fatalf("p%g has no interval", q*100)
			}
			if lo <= truth && truth <= hi {
				held++
			}
		}
		if share := float64(held) / rounds; share < 0.94 {
			t.Errorf("p%g: %.3f of the intervals hold the truth", q*100, share)
		}
	}
}

func TestIntervalOfManyIsNarrow(t *testing.T) {
	var h Histogram
	h.RecordN(time.Millisecond, 50_000_000)
	h.RecordN(time.Second, 50_000_000)
	from, to, ok := ranks(h.Count(), 0.5)
	if !ok || from < 49_990_000 || to > 50_010_000 || !slices.IsSorted([]uint64{from, 50_000_000, to}) {
		t.Errorf("%d to %d", from, to)
	}
}

func TestTooFewAreNotKnown(t *testing.T) {
	var h Histogram
	h.RecordN(time.Millisecond, 367)
	if _, ok := h.Known(0.99); ok {
		t.Error("p99 of 367")
	}
	if _, _, ok := h.Interval(0.99); ok {
		t.Error("interval of 367")
	}
	h.Record(time.Second)
	if d, ok := h.Known(0.99); !ok || d > 2*time.Millisecond {
		t.Errorf("%v %v", d, ok)
	}
	if lo, hi, ok := h.Interval(0.99); !ok || lo != time.Millisecond || hi != time.Second {
		t.Errorf("%v to %v %v", lo, hi, ok)
	}
}
