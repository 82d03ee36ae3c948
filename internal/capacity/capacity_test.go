package capacity_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
)

// until is a platform that holds up to a load.
func until(limit float64) func(float64, capacity.Purpose) (capacity.Step, error) {
	return func(load float64, _ capacity.Purpose) (capacity.Step, error) {
		if load <= limit {
			return capacity.Step{Passed: true}, nil
		}
		return capacity.Step{Broke: []string{"ttft p95", "error rate"}}, nil
	}
}

func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		plan      capacity.Plan
		limit     float64
		outcome   capacity.Outcome
		low, high float64 // whole numbers only
	}{
		"rates":         {capacity.Plan{Start: 1, Max: 100}, 37.3, capacity.Found, 0, 0},
		"users":         {capacity.Plan{Start: 1, Max: 100, Whole: true}, 7, capacity.Found, 7, 8},
		"all hold":      {capacity.Plan{Start: 1, Max: 100}, 100, capacity.NotReached, 100, 0},
		"none holds":    {capacity.Plan{Start: 1, Max: 100}, 0.5, capacity.TooLow, 0, 0},
		"one try":       {capacity.Plan{Start: 3, Max: 3, Whole: true}, 3, capacity.NotReached, 3, 0},
		"below the max": {capacity.Plan{Start: 1, Max: 100, Whole: true}, 99, capacity.Found, 96, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := capacity.Find(test.plan, until(test.limit))
			if err != nil || s.Outcome != test.outcome {
				t.Fatalf("%+v, %v", s, err)
			}
			switch {
			case test.outcome != capacity.Found:
				if s.Low != test.low || s.High != test.high || s.Confidence != 0 {
					t.Errorf("%+v", s)
				}
			case s.Low > test.limit || s.High <= test.limit || s.High > s.Low*1.0501 && s.High-s.Low > 1:
				t.Errorf("between %v and %v, want %v", s.Low, s.High, test.limit)
			case test.plan.Whole && (s.Low > test.limit || s.High < test.high && s.High <= test.limit):
				t.Errorf("%+v", s)
			case s.Confidence != 1-2./32 || s.Broke != "ttft p95":
				t.Errorf("%+v", s)
			}
		})
	}
}

// Where the chance to hold falls smoothly, the interval contains the capacity
// about as often as it says.
func TestConfidence(t *testing.T) {
	const runs, limit = 1000, 50.
	inside, claimed := 0, 0.
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s, err := capacity.Find(capacity.Plan{Start: 1, Max: 1000}, func(load float64, _ capacity.Purpose) (capacity.Step, error) {
			chance := 1 / (1 + math.Pow(load/limit, 20))
			return capacity.Step{Passed: rng.Float64() < chance}, nil
		})
		if err != nil || s.Outcome != capacity.Found {
			t.Fatalf("%+v, %v", s, err)
		}
		if s.Low <= limit && limit <= s.High {
			inside++
		}
		claimed += s.Confidence
	}
	t.Logf("%d of %d intervals contain the capacity; %.0f claimed", inside, runs, claimed)
	if float64(inside) < claimed {
		t.Errorf("%d of %d intervals contain the capacity, and they claim %.0f", inside, runs, claimed)
	}
}

func TestFindEndsEarly(t *testing.T) {
	enough := errors.New("enough")
	n := 0
	s, err := capacity.Find(capacity.Plan{Start: 1, Max: 100}, func(load float64, p capacity.Purpose) (capacity.Step, error) {
		if n++; n > 5 {
			return capacity.Step{}, enough
		}
		return until(10)(load, p)
	})
	if !errors.Is(err, enough) || s.Outcome != capacity.Stopped || len(s.Steps) != 5 || s.Low != 8 || s.High != 16 || s.Confidence != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = capacity.Find(capacity.Plan{Start: 1, Max: 100}, func(load float64, p capacity.Purpose) (capacity.Step, error) {
		step, err := until(10)(load, p)
		if load > 10 {
			step.OwnLimit = "requests left late"
		}
		return step, err
	})
	if err != nil || s.Outcome != capacity.OwnLimit || s.Low != 8 || s.Broke != "" {
		t.Errorf("%+v, %v", s, err)
	}
}
