package limits

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSharesSumToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := Limits{
			CostMicroUSD: rapid.Int64Range(0, 1e9).Draw(t, "cost"), Requests: rapid.Int64Range(0, 1000).Draw(t, "requests"),
			Concurrent: rapid.Int64Range(0, 100).Draw(t, "concurrent"), RequestsPerSecond: rapid.Float64Range(0, 1e4).Draw(t, "rate"),
			RequestsPerUser: 7, Duration: time.Minute, ErrorRate: 0.1, HasErrorRate: true,
		}
		n := rapid.IntRange(1, 60).Draw(t, "workers")
		var sum Limits
		for worker := range n {
			s := whole.Share(worker, n)
			if (s.CostMicroUSD == 0) != (whole.CostMicroUSD == 0) || (s.Requests == 0) != (whole.Requests == 0) || (s.Concurrent == 0) != (whole.Concurrent == 0) {
				t.Fatalf("worker %d of %d has no limit where the run has one, or the reverse: %+v of %+v", worker, n, s, whole)
			}
			if s.RequestsPerUser != 7 || s.Duration != time.Minute || !s.HasErrorRate || s.ErrorRate != 0.1 {
				t.Fatalf("what cannot be split was: %+v", s)
			}
			sum.CostMicroUSD += max(0, s.CostMicroUSD)
			sum.Requests += max(0, s.Requests)
			sum.Concurrent += max(0, s.Concurrent)
			sum.RequestsPerSecond += s.RequestsPerSecond
		}
		if sum.CostMicroUSD != whole.CostMicroUSD || sum.Requests != whole.Requests || sum.Concurrent != whole.Concurrent ||
			math.Abs(sum.RequestsPerSecond-whole.RequestsPerSecond) > 1e-6 {
			t.Fatalf("the shares of %d workers are %+v together, of %+v", n, sum, whole)
		}
	})
}

func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		failed, answered int64
		limit            float64
		want             bool
	}{
		{9, 9, 0.1, false}, // too few to tell anything
		{10, 10, 0.1, true},
		{10, 10, 0.5, true},
		{4, 10, 0.1, false}, // may be chance
		{20, 20, 0.1, true},
		{2, 20, 0.1, false}, // at the limit
		{6, 20, 0.1, false}, // may be chance: once in a hundred
		{9, 20, 0.1, true},
		{15, 100, 0.1, false},
		{25, 100, 0.1, true},
		{120, 1000, 0.1, false},
		{140, 1000, 0.1, true},
		{10_500, 100_000, 0.1, true}, // many answers make a small excess certain
		{0, 20, 0, false},
		{1, 10, 0, true}, // none is allowed
		{1000, 1000, 1, false},
	} {
		if got := tooMany(c.failed, c.answered, c.limit); got != c.want {
			t.Errorf("%d of %d with a limit of %v: %v, want %v", c.failed, c.answered, c.limit, got, c.want)
		}
	}
}

func TestTailIsTheBinomialOne(t *testing.T) {
	for _, c := range []struct {
		x, n int64
		p    float64
		want float64
	}{
		{3, 4, 0.5, 5.0 / 16}, {4, 4, 0.5, 1.0 / 16}, {2, 3, 0.1, 3*0.01*0.9 + 0.001}, {5, 10, 0, 0},
	} {
		if got := tail(c.x, c.n, c.p); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("P(X ≥ %d) of %d at %v = %v, want %v", c.x, c.n, c.p, got, c.want)
		}
	}
}

func TestWindowForgets(t *testing.T) {
	var w window
	for second := range int64(25) {
		w.add(second, second < 5)
		w.add(second, false)
	}
	if answered, failed := w.sum(24); answered != 20 || failed != 0 {
		t.Errorf("the last ten seconds have %d answers and %d failures, want 20 and 0", answered, failed)
	}
	if answered, _ := w.sum(30); answered != 8 {
		t.Errorf("six seconds later %d answers are left, want 8", answered)
	}
	if answered, _ := w.sum(1000); answered != 0 {
		t.Errorf("%d answers are left for ever", answered)
	}
}
