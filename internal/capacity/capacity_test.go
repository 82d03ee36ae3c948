package capacity_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
)

type measure = func(float64, capacity.Purpose) (capacity.Step, error)

// until is a platform that holds up to a load.
func until(limit float64) measure { return noisy(limit, 0, 1) }

// noisy holds with a chance that falls along a normal curve, not along the one
// that the search supposes.
func noisy(limit, spread float64, seed uint64) measure {
	rng := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test
	return func(load float64, _ capacity.Purpose) (capacity.Step, error) {
		if math.Log(load)+spread*rng.NormFloat64() <= math.Log(limit) {
			return capacity.Step{Passed: true}, nil
		}
		return capacity.Step{Broke: []string{"ttft p95", "error rate"}}, nil
	}
}

func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		plan    capacity.Plan
		limit   float64
		outcome capacity.Outcome
		most    int // steps
	}{
		"rates":         {capacity.Plan{Start: 1, Max: 100}, 37.3, capacity.Found, 25},
		"users":         {capacity.Plan{Start: 1, Max: 100, Whole: true}, 7, capacity.Found, 25},
		"all hold":      {capacity.Plan{Start: 1, Max: 100}, 100, capacity.NotReached, 10},
		"none holds":    {capacity.Plan{Start: 1, Max: 100}, 0.5, capacity.TooLow, 3},
		"one try":       {capacity.Plan{Start: 3, Max: 3, Whole: true}, 3, capacity.NotReached, 3},
		"below the max": {capacity.Plan{Start: 1, Max: 100, Whole: true}, 96, capacity.Found, 30},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := capacity.Find(test.plan, until(test.limit))
			if err != nil || s.Outcome != test.outcome || len(s.Steps) > test.most {
				t.Fatalf("%d steps, %+v, %v", len(s.Steps), s, err)
			}
			if test.outcome != capacity.Found {
				if s.Limit != 0 || s.Level != 0 {
					t.Errorf("%+v", s)
				}
				return
			}
			if s.Low > test.limit || s.High < test.limit || math.Abs(s.Limit/test.limit-1) > 0.05 && s.Limit != test.limit || s.Broke != "ttft p95" || s.Level != capacity.Level {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The interval has the limit in it as often as it says, within what 100
// searches can tell, and the limit is seldom far off.
func TestIntervalCovers(t *testing.T) {
	for _, spread := range []float64{0, 0.02, 0.05, 0.1} {
		const searches = 100
		covered, steps, far := 0, 0, 0
		for seed := range uint64(searches) {
			limit := 20 * math.Exp(3*rand.New(rand.NewPCG(seed, 1)).Float64()) //nolint:gosec // a test
			s, err := capacity.Find(capacity.Plan{Start: 16, Max: 1024}, noisy(limit, spread, seed))
			if err != nil || s.Outcome != capacity.Found {
				t.Fatalf("spread %v, seed %d: %+v, %v", spread, seed, s, err)
			}
			steps += len(s.Steps)
			if s.Low <= limit && limit <= s.High {
				covered++
			}
			if math.Abs(s.Limit/limit-1) > 0.1 {
				far++
			}
		}
		t.Logf("spread %v: %d of %d intervals have the limit in them, %d limits are off by more than 10%%, %.1f steps", spread, covered, searches, far, float64(steps)/searches)
		if covered < 90 { // of 95 expected
			t.Errorf("spread %v: %d of %d intervals have the limit in them", spread, covered, searches)
		}
		if spread <= 0.05 && far > 1 {
			t.Errorf("spread %v: %d of %d limits are off by more than 10%%", spread, far, searches)
		}
	}
}

// Whatever a platform does, a search ends, keeps within its bounds, and has its
// limit in its interval.
func TestAnyPlatform(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := capacity.Plan{Start: rapid.Float64Range(0.01, 100).Draw(t, "start"), Whole: rapid.Bool().Draw(t, "whole")}
		p.Max = p.Start * rapid.Float64Range(1, 100).Draw(t, "range")
		if p.Whole {
			p.Start, p.Max = math.Ceil(p.Start), math.Ceil(p.Max)
		}
		s, err := capacity.Find(p, func(load float64, _ capacity.Purpose) (capacity.Step, error) {
			if load < p.Start || load > p.Max || p.Whole && load != math.Trunc(load) {
				t.Fatalf("a step at %v of %+v", load, p)
			}
			return capacity.Step{Passed: rapid.Bool().Draw(t, "passed")}, nil
		})
		if err != nil || len(s.Steps) > capacity.MostSteps || !(s.Low <= s.Limit && s.Limit <= s.High) {
			t.Fatalf("%+v, %v", s, err)
		}
	})
}

// What ends a search early is not lost on it.
func TestFindEndsEarly(t *testing.T) {
	enough := errors.New("enough")
	n := 0
	s, err := capacity.Find(capacity.Plan{Start: 1, Max: 100}, func(load float64, _ capacity.Purpose) (capacity.Step, error) {
		if n++; n == 3 {
			return capacity.Step{}, enough
		}
		return capacity.Step{Passed: true}, nil
	})
	if !errors.Is(err, enough) || s.Outcome != capacity.Stopped || s.Held != 2 || len(s.Steps) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = capacity.Find(capacity.Plan{Start: 1, Max: 100}, func(load float64, _ capacity.Purpose) (capacity.Step, error) {
		if load > 8 {
			return capacity.Step{OwnLimit: "we were late"}, nil
		}
		return capacity.Step{Passed: true}, nil
	})
	if err != nil || s.Outcome != capacity.OwnLimit || s.Held != 8 || len(s.Steps) != 4+3 {
		t.Errorf("%+v, %v", s, err)
	}
}
