package stats

import (
	"math/rand/v2"
	"testing"
)

// noise is a stationary series around 100: each point depends on the one before by phi.
func noise(seed uint64, n int, phi float64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 5))
	x, v := make([]float64, n), 0.0
	for i := range x {
		v = phi*v + rng.NormFloat64()
		x[i] = 100 + 20*v
	}
	return x
}

// The rate of false alarms is stated in measurement.md.
func TestSteadyNoiseRaisesNoAlarm(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		phi     float64
		allowed int // of 1000
	}{
		{"white, short", 30, 0, 3}, {"white", 120, 0, 3}, {"white, long", 1800, 0, 3},
		{"correlated", 120, 0.5, 10}, {"correlated, long", 1800, 0.8, 3},
	} {
		alarms := 0
		for seed := range uint64(1000) {
			s, ok := Steady(noise(seed, c.n, c.phi))
			if !ok {
				t.Fatalf("%s: too few points", c.name)
			}
			if !s.Settled {
				alarms++
			}
		}
		t.Logf("%s: %d false alarms of 1000", c.name, alarms)
		if alarms > c.allowed {
			t.Errorf("%s: %d false alarms of 1000, more than %d", c.name, alarms, c.allowed)
		}
	}
}

func TestARampNeverSettles(t *testing.T) {
	for seed := range uint64(40) {
		x := noise(seed, 120, 0.3)
		for i := range x {
			x[i] += float64(i) * 2 // 100 to 340
		}
		if s, _ := Steady(x); s.Settled || s.Drift <= 0 {
			t.Errorf("seed %d: %+v", seed, s)
		}
	}
}

func TestATransientIsCutOff(t *testing.T) {
	for seed := range uint64(40) {
		x := noise(seed, 120, 0)
		for i := range 20 {
			x[i] += 400 - 20*float64(i)
		}
		if s, _ := Steady(x); !s.Settled || s.From < 10 || s.From > 60 {
			t.Errorf("seed %d: %+v", seed, s)
		}
	}
}

func TestSteadyWithoutVariation(t *testing.T) {
	if _, ok := Steady(make([]float64, 29)); ok {
		t.Error("29 points are enough")
	}
	for _, level := range []float64{0, 7} {
		x := make([]float64, 50)
		for i := range x {
			x[i] = level
		}
		if s, ok := Steady(x); !ok || !s.Settled || s.From != 0 || s.P != 1 {
			t.Errorf("level %v: %+v", level, s)
		}
	}
}
