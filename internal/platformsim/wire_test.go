package platformsim

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestAppendUnit(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000000", 1: "1.000000", -1: "-1.000000", 0.5: "0.500000", -0.0000004: "-0.000000", 0.9999999: "1.000000", 0.012345678: "0.012346"} {
		if got := string(appendUnit(nil, v)); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		v := rng.Float64()*2 - 1
		if got, err := strconv.ParseFloat(string(appendUnit(nil, v)), 64); err != nil || math.Abs(got-v) > 5.1e-7 {
			t.Fatalf("%v is %v", v, got)
		}
	}
}

// Lengths stay within their bounds and have the mean that they promise.
func TestLengths(t *testing.T) {
	for _, l := range []Lengths{{1, 1, 1}, {16, 120, 400}, {10, 10, 20}, {10, 20, 20}, {1, 2, 1000}} {
		rng := rand.NewPCG(1, 2)
		const n = 200_000
		sum, squares := 0.0, 0.0
		for range n {
			x := l.draw(rng)
			if x < l.Min || x > l.Max {
				t.Fatalf("%+v drew %d", l, x)
			}
			sum += float64(x)
			squares += float64(x) * float64(x)
		}
		mean := sum / n
		deviation := math.Sqrt(max(0, squares/n-mean*mean) / n) // of the mean
		if math.Abs(mean-float64(l.Mean)) > 4*deviation+1e-9 {
			t.Errorf("%+v has a mean of %v ± %v", l, mean, deviation)
		}
	}
	if got := (Lengths{}).draw(rand.NewPCG(1, 1)); got != 1 {
		t.Errorf("nothing said: %d tokens, want 1", got)
	}
}

// A strike leaves something before it and, where there is room, after it.
func TestStrikeIsInTheMiddle(t *testing.T) {
	for n := 1; n <= 50; n++ {
		for _, where := range []float64{0, 0.3, 0.999999} {
			at := strike{where: where}.after(n)
			if at < 1 || at > n || n > 1 && at == n {
				t.Errorf("after %d of %d chunks (where %v)", at, n, where)
			}
		}
	}
}
