package loadpattern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func all(a Arrivals, seed uint64) (at []time.Duration) {
	s := a.Schedule(rand.New(rand.NewPCG(seed, 1)))
	for {
		next, ok := s.Next()
		if !ok {
			return at
		}
		at = append(at, next)
	}
}

// TestConstantArrivals: at 500 a second, every step is 2 ms, and none drifts.
func TestConstantArrivals(t *testing.T) {
	at := all(Arrivals{Process: Constant, Phases: Phases{{Duration: 10 * time.Minute, Rate: 500}}}, 0)
	if len(at) != 300_000 {
		t.Fatalf("%d arrivals in ten minutes at 500/s, want 300,000", len(at))
	}
	for i, got := range at {
		if want := time.Duration(i) * 2 * time.Millisecond; got < want-1 || got > want+1 {
			t.Fatalf("arrival %d is at %v, want %v", i, got, want)
		}
	}
}

func TestArrivalsOfARamp(t *testing.T) {
	// From nothing to 100 a second in 10 s, arrival k is due where 5·t² = k.
	at := all(Arrivals{Process: Constant, Phases: Phases{{Duration: 10 * time.Second, Rate: 100, Ramp: Linear}}}, 0)
	if len(at) != 500 {
		t.Fatalf("%d arrivals, want 500", len(at))
	}
	for k, got := range at {
		want := time.Duration(math.Sqrt(float64(k)/5) * float64(time.Second))
		if off := got - want; off.Abs() > time.Microsecond {
			t.Fatalf("arrival %d is at %v, want %v", k, got, want)
		}
	}
}

func TestArrivalsAcrossPhases(t *testing.T) {
	at := all(Arrivals{Process: Constant, Phases: Phases{
		{Duration: time.Second, Rate: 2.5},
		{Rate: 1},               // no length: only where the next one starts
		{Duration: time.Second}, // a pause
		{Duration: time.Second, Rate: 2.5},
	}}, 0)
	// Half a step of the first phase is still to go when the pause begins.
	want := []time.Duration{0, 400, 800, 2200, 2600}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(at, want) {
		t.Errorf("arrivals at %v, want %v", at, want)
	}
}

// TestSharesAreTheWhole: constant arrivals of three workers together are those of one.
func TestSharesAreTheWhole(t *testing.T) {
	phases := Phases{{Duration: 20 * time.Second, Rate: 90, Ramp: Smooth}, {Duration: 10 * time.Second, Rate: 30, Ramp: Exponential}}
	var together []time.Duration
	for w := range 3 {
		together = append(together, all(Arrivals{Process: Constant, Phases: phases, Share: 1. / 3, Lead: float64(w) / 3}, 0)...)
	}
	slices.Sort(together)
	whole := all(Arrivals{Process: Constant, Phases: phases}, 0)
	if len(together) != len(whole) {
		t.Fatalf("%d arrivals of three workers, %d of one", len(together), len(whole))
	}
	for i := range whole {
		if (whole[i] - together[i]).Abs() > time.Microsecond {
			t.Fatalf("arrival %d is at %v, alone at %v", i, together[i], whole[i])
		}
	}
}

// TestLawsOfArrivals holds the schedule to its rate, whatever the phases: in
// order, and after every arrival as many as the integrated rate wants.
func TestLawsOfArrivals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Arrivals{Process: Constant, Share: rapid.SampledFrom([]float64{0, 0.25, 1}).Draw(t, "share")}
		for range rapid.IntRange(1, 5).Draw(t, "phases") {
			a.Phases = append(a.Phases, Phase{
				Duration: time.Duration(rapid.IntRange(0, 20_000).Draw(t, "milliseconds")) * time.Millisecond,
				Rate:     float64(rapid.IntRange(0, 400).Draw(t, "rate")) / 4,
				Ramp:     rapid.SampledFrom([]Ramp{None, Linear, Exponential, Smooth, Step}).Draw(t, "ramp"),
				Steps:    rapid.IntRange(0, 7).Draw(t, "steps"),
			})
		}
		last := time.Duration(-1)
		at := all(a, 0)
		for k, now := range at {
			if now < last || now >= a.Phases.Duration() {
				t.Fatalf("arrival %d at %v follows one at %v, of %v", k, now, last, a.Phases.Duration())
			}
			if off := a.Wanted(now) - float64(k); math.Abs(off) > 1e-5 {
				t.Fatalf("arrival %d at %v, when %v were wanted", k, now, a.Wanted(now))
			}
			last = now
		}
		if total := a.Wanted(a.Phases.Duration()); float64(len(at)) < total-1e-5 || float64(len(at)) >= total+1 {
			t.Fatalf("%d arrivals in all, %v wanted", len(at), total)
		}
		// Rate is the derivative of Wanted, but where it jumps.
		span := a.Phases.Duration()
		for i := range 20 {
			now := span * time.Duration(i) / 20
			const h = time.Microsecond
			before, after := a.Rate(now-h), a.Rate(now+h)
			slope := (a.Wanted(now+h) - a.Wanted(now-h)) / (2 * h).Seconds()
			if now > h && now+h < span && (slope < min(before, after)-0.01 || slope > max(before, after)+0.01) {
				t.Fatalf("at %v the rate is between %v and %v and the slope of its integral %v", now, before, after, slope)
			}
		}
	})
}

// TestPoissonArrivals puts the gaps of ten seeds, in units of the integrated
// rate and so over ramps as well, to the Anderson-Darling test of the
// exponential distribution with known mean: A² above 2.492 happens in 5% of
// all cases (Stephens 1974, case 0). Of ten, one may.
func TestPoissonArrivals(t *testing.T) {
	for name, phases := range map[string]Phases{
		"level": {{Duration: time.Minute, Rate: 100}},
		"ramps": {{Duration: 30 * time.Second, Rate: 200, Ramp: Linear}, {Duration: 20 * time.Second, Rate: 20, Ramp: Exponential},
			{Duration: 30 * time.Second, Rate: 100, Ramp: Smooth}, {Duration: 20 * time.Second, Rate: 150, Ramp: Step}},
	} {
		t.Run(name, func(t *testing.T) {
			a := Arrivals{Process: Poisson, Phases: phases}
			failed, sum := 0, 0
			for seed := range uint64(10) {
				at := all(a, seed)
				sum += len(at)
				gaps := make([]float64, len(at))
				last := 0.0
				for i, now := range at {
					wanted := a.Wanted(now)
					gaps[i], last = wanted-last, wanted
				}
				if a2 := andersonDarling(gaps); a2 > 2.492 {
					t.Logf("seed %d: A² = %.3f", seed, a2)
					failed++
				}
			}
			if failed > 1 {
				t.Errorf("the gaps of %d of 10 seeds are not exponential", failed)
			}
			want := 10 * a.Wanted(a.Phases.Duration())
			if math.Abs(float64(sum)-want) > 4*math.Sqrt(want) {
				t.Errorf("%d arrivals in all, want %.0f ± %.0f", sum, want, 4*math.Sqrt(want))
			}
		})
	}
}

// andersonDarling is A² of the exponential distribution with mean 1.
func andersonDarling(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	n, sum := float64(len(x)), 0.0
	for i := range x {
		below := max(1e-300, -math.Expm1(-x[i]))
		sum += (2*float64(i) + 1) * (math.Log(below) - x[len(x)-1-i])
	}
	return -n - sum/n
}

func TestTheTestOfPoissonArrivalsCanFail(t *testing.T) {
	gaps := make([]float64, 2000)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range gaps {
		gaps[i] = 2 * rng.Float64() // mean 1, and uniform
	}
	if a2 := andersonDarling(gaps); a2 < 2.492 {
		t.Errorf("uniform gaps pass for exponential ones: A² = %v", a2)
	}
}

func BenchmarkNext(b *testing.B) {
	s := Arrivals{Process: Poisson, Phases: Phases{{Duration: 1000 * time.Hour, Rate: 1e6, Ramp: Smooth}}}.Schedule(rand.New(rand.NewPCG(1, 1)))
	b.ReportAllocs()
	for b.Loop() {
		s.Next()
	}
}
