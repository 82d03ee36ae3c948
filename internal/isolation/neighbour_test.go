package isolation_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
)

// street makes rounds: TTFT in ms.
type street struct {
	quiet  float64
	factor float64 // with the aggressor
	noise  float64 // of single requests, relative
	drift  float64 // of whole windows, relative: what requests of a window have in common
	failed float64 // share with the aggressor
	broken float64 // share without
	lag    time.Duration
}

func (m street) rounds(n int, seed uint64) []isolation.Round {
	rng := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test
	window := func(ms, failed float64, lag time.Duration) (out []isolation.Answer) {
		ms *= math.Exp(m.drift * rng.NormFloat64())
		for range 30 {
			a := isolation.Answer{TTFT: time.Duration(ms * math.Exp(m.noise*rng.NormFloat64()) * float64(time.Millisecond)), Lag: lag}
			if rng.Float64() < failed {
				a.TTFT, a.Failed = time.Minute, true
			}
			out = append(out, a)
		}
		return out
	}
	out := make([]isolation.Round, n)
	for i := range out {
		out[i] = isolation.Round{Quiet: window(m.quiet, m.broken, 0), Loud: window(m.quiet*m.factor, m.failed, m.lag)}
	}
	return out
}

func TestNoisyNeighbour(t *testing.T) {
	sound := street{quiet: 400, factor: 1, noise: 0.2, drift: 0.05}
	change := func(f func(*street)) street { m := sound; f(&m); return m }
	for name, c := range map[string]struct {
		street street
		n      int
		want   isolation.Verdict
		says   string
	}{
		"sound":                     {change(func(m *street) { m.drift, m.noise = 0.02, 0.1 }), 12, isolation.NotHarmed, "times as long"},
		"harmed":                    {change(func(m *street) { m.factor = 3 }), 12, isolation.Harmed, "where harm begins at 1.20"},
		"at the bar":                {change(func(m *street) { m.factor = 1.2 }), 12, isolation.Undecided, "cannot be told"},
		"half as long again, noisy": {change(func(m *street) { m.factor, m.drift = 1.5, 0.5 }), 12, isolation.Undecided, "cannot be told"},
		"milliseconds":              {change(func(m *street) { m.quiet, m.factor = 10, 2 }), 12, isolation.NotHarmed, "where harm begins at"},
		"milliseconds become many":  {change(func(m *street) { m.quiet, m.factor = 10, 20 }), 12, isolation.Harmed, ""},
		"failing":                   {change(func(m *street) { m.failed = 0.5 }), 12, isolation.Harmed, "1m"},
		"failing anyway":            {change(func(m *street) { m.failed, m.broken = 0.5, 0.2 }), 12, isolation.Undecided, "failed without the aggressor"},
		"our own fault":             {change(func(m *street) { m.factor, m.lag = 3, time.Second }), 12, isolation.Undecided, "this tool was itself up to 1s late"},
		"too few rounds":            {change(func(m *street) { m.factor = 3 }), 9, isolation.Undecided, "only 9 rounds"},
		"nothing":                   {sound, 0, isolation.Undecided, "only 0 rounds"},
	} {
		t.Run(name, func(t *testing.T) {
			r := isolation.NoisyNeighbour(c.street.rounds(c.n, 1), 0.2)
			if r.Verdict != c.want || !strings.Contains(r.Reason, c.says) {
				t.Errorf("%+v; want %s, %q", r, c.want, c.says)
			}
		})
	}
}

// However windows drift, a platform just at the bar is accused in at most one of a
// thousand cases, and acquitted in as few; one far from it is told for what it is.
func TestErrorsAboutNeighbours(t *testing.T) {
	for _, drift := range []float64{0.02, 0.5} {
		accused, acquitted := 0, 0
		const runs = 1000
		for seed := range uint64(runs) {
			switch isolation.NoisyNeighbour(street{quiet: 400, factor: 1.2, noise: 0.2, drift: drift}.rounds(12, seed), 0.2).Verdict {
			case isolation.Harmed:
				accused++
			case isolation.NotHarmed:
				acquitted++
			}
		}
		if accused > 4 || acquitted > 4 { // 1 expected of each at most; fixed seeds
			t.Errorf("drift %v: %d of %d accused, %d acquitted", drift, accused, runs, acquitted)
		}
	}
	for seed := range uint64(200) {
		if r := isolation.NoisyNeighbour(street{quiet: 400, factor: 3, noise: 0.3, drift: 0.1}.rounds(12, seed), 0.2); r.Verdict != isolation.Harmed {
			t.Errorf("seed %d: missed: %+v", seed, r)
		}
		if r := isolation.NoisyNeighbour(street{quiet: 400, factor: 1, noise: 0.1, drift: 0.02}.rounds(12, seed), 0.2); r.Verdict != isolation.NotHarmed {
			t.Errorf("seed %d: not acquitted: %+v", seed, r)
		}
	}
}

// Whatever the numbers, they are finite and in order, and the verdict is what they say.
func TestTheIntervalHoldsTheEstimate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) isolation.Answer {
			return isolation.Answer{TTFT: time.Duration(rapid.IntRange(1, 1e9).Draw(t, "ttft")), Failed: rapid.IntRange(0, 30).Draw(t, "failed") == 0}
		}), 18, 24)
		rounds := make([]isolation.Round, rapid.IntRange(0, 14).Draw(t, "rounds"))
		for i := range rounds {
			rounds[i] = isolation.Round{Quiet: window.Draw(t, "quiet"), Loud: window.Draw(t, "loud")}
		}
		r := isolation.NoisyNeighbour(rounds, 0.2)
		if len(r.Rounds) < isolation.MinRounds {
			if r.Verdict != isolation.Undecided || r.Ratio != 0 {
				t.Fatalf("%+v", r)
			}
			return
		}
		if !(0 < r.Low && r.Low <= r.Ratio && r.Ratio <= r.High) || math.IsInf(r.High, 0) || r.Bar < 1.2 || r.Reason == "" {
			t.Fatalf("%+v", r)
		}
		if r.Verdict == isolation.Harmed && r.Low <= r.Bar || r.Verdict == isolation.NotHarmed && r.High >= r.Bar {
			t.Fatalf("%+v", r)
		}
		// The same windows with and without are no harm.
		for i := range rounds {
			rounds[i].Loud = rounds[i].Quiet
		}
		if same := isolation.NoisyNeighbour(rounds, 0.2); same.Verdict == isolation.Harmed || len(same.Rounds) >= isolation.MinRounds && same.Ratio != 1 {
			t.Fatalf("%+v", same)
		}
	})
}

func TestFairShares(t *testing.T) {
	for _, c := range []struct {
		wanted   []float64
		capacity float64
		want     []float64
	}{
		{[]float64{10, 2, 10}, 12, []float64{5, 2, 5}},
		{[]float64{1, 2}, 12, []float64{1, 2}},
		{[]float64{5, 5}, 0, []float64{0, 0}},
		{[]float64{2, 2.6, 4, 5}, 10, []float64{2, 2.6, 2.7, 2.7}},
	} {
		got := isolation.FairShares(c.wanted, c.capacity)
		for i := range c.want {
			if math.Abs(got[i]-c.want[i]) > 1e-12 {
				t.Errorf("%v of %v: %v, want %v", c.wanted, c.capacity, got, c.want)
				break
			}
		}
	}
}

func TestJain(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want float64
	}{{[]float64{3, 3, 3}, 1}, {[]float64{1, 0, 0, 0}, 0.25}, {[]float64{1, 3, 5}, 81.0 / 105}, {nil, 1}, {[]float64{0, 0}, 1}} {
		if got := isolation.Jain(c.x); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.x, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 9).Draw(t, "x")
		if j := isolation.Jain(x); j < 1/float64(len(x))-1e-9 || j > 1+1e-9 {
			t.Fatalf("%v: %v", x, j)
		}
	})
}
