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

// model makes pairs: TTFT in ms and cached tokens of each kind of request.
type model struct {
	cold, warm, cross       float64 // ms
	fresh, repeated, leaked int     // cached tokens
	silent                  bool    // reports none of them
	noise                   float64 // relative
}

func (m model) pairs(n int, seed uint64) []isolation.Pair {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	probe := func(ms float64, cached int) isolation.Probe {
		p := isolation.Probe{TTFT: time.Duration(ms * math.Exp(m.noise*rng.NormFloat64()) * float64(time.Millisecond))}
		if !m.silent {
			p.Cached, p.CachedKnown = cached, true
		}
		return p
	}
	out := make([]isolation.Pair, n)
	for i := range out {
		out[i] = isolation.Pair{Cold: probe(m.cold, m.fresh), Warm: probe(m.warm, m.repeated), Cross: probe(m.cross, m.leaked), Control: probe(m.cold, m.fresh)}
	}
	return out
}

func TestSalt(t *testing.T) {
	sound := model{cold: 80, warm: 20, cross: 80, repeated: 592, noise: 0.1}
	change := func(f func(*model)) model { m := sound; f(&m); return m }
	for name, c := range map[string]struct {
		model model
		n     int
		want  isolation.Verdict
		leaks int
		says  string
	}{
		"sound":                     {sound, 12, isolation.NoLeak, 0, "in none of 12 pairs"},
		"shared boilerplate":        {change(func(m *model) { m.fresh, m.leaked = 64, 64 }), 12, isolation.NoLeak, 0, "in none of 12"},
		"less than a block":         {change(func(m *model) { m.leaked = 15 }), 12, isolation.NoLeak, 0, ""},
		"a block":                   {change(func(m *model) { m.leaked = 16 }), 12, isolation.Leak, 12, "up to 16 tokens"},
		"leaky":                     {change(func(m *model) { m.leaked, m.cross = 592, 20 }), 12, isolation.Leak, 12, "in 12 of 12 pairs"},
		"leaky, boilerplate":        {change(func(m *model) { m.fresh, m.leaked, m.cross = 64, 592, 20 }), 12, isolation.Leak, 12, "show at most 64"},
		"leaky and silent":          {change(func(m *model) { m.silent, m.cross = true, 20 }), 12, isolation.Leak, 12, "cached tokens are not reported"},
		"leaky and lying":           {change(func(m *model) { m.cross = 20 }), 12, isolation.Leak, 12, "no cached tokens are reported for it"},
		"sound and silent":          {change(func(m *model) { m.silent = true }), 12, isolation.NoLeak, 0, "as slow as a new one"},
		"no cache":                  {change(func(m *model) { m.warm, m.repeated = 80, 0 }), 12, isolation.Undecided, 0, "no prefix cache"},
		"a gain too small":          {change(func(m *model) { m.silent, m.warm, m.noise = true, 76, 0.001 }), 12, isolation.Undecided, 0, "too small"},
		"a reader who is half fast": {change(func(m *model) { m.silent, m.cross, m.noise = true, 60, 0.01 }), 12, isolation.NoLeak, 0, ""},
		"says all is cached":        {change(func(m *model) { m.fresh, m.leaked = 592, 592 }), 12, isolation.NoLeak, 0, "by time"},
		"too few":                   {sound, isolation.MinPairs - 1, isolation.Undecided, 0, "only 7 pairs"},
		"none":                      {sound, 0, isolation.Undecided, 0, "only 0 pairs"},
	} {
		t.Run(name, func(t *testing.T) {
			r := isolation.Salt(c.model.pairs(c.n, 1))
			if r.Verdict != c.want || len(r.Leaks) != c.leaks || !strings.Contains(r.Reason, c.says) {
				t.Errorf("%+v; want %s, %d leaks, %q", r, c.want, c.leaks, c.says)
			}
		})
	}
}

// One hit under another salt is a leak, whatever the other pairs show.
func TestOneHitIsEnough(t *testing.T) {
	pairs := model{cold: 80, warm: 20, cross: 80, repeated: 592, noise: 0.1}.pairs(12, 1)
	pairs[5].Cross.Cached = 592
	if r := isolation.Salt(pairs); r.Verdict != isolation.Leak || len(r.Leaks) != 1 || r.Leaks[0] != 5 {
		t.Errorf("%+v", r)
	}
}

// Without a difference between readers' prompts and controls, accusations are
// rarer than the level, however noisy the platform; with a large one that is
// not noisy, none is missed.
func TestAccusationsByTime(t *testing.T) {
	for _, noise := range []float64{0.05, 0.3, 1} {
		accused := 0
		const runs = 2000
		for seed := range uint64(runs) {
			if isolation.Salt(model{cold: 80, warm: 20, cross: 80, silent: true, noise: noise}.pairs(12, seed)).Verdict == isolation.Leak {
				accused++
			}
		}
		if accused > 4 { // 2 expected at most; fixed seeds
			t.Errorf("noise %v: %d of %d sound platforms accused", noise, accused, runs)
		}
	}
	for seed := range uint64(200) {
		if r := isolation.Salt(model{cold: 80, warm: 20, cross: 20, silent: true, noise: 0.2}.pairs(12, seed)); r.Verdict != isolation.Leak {
			t.Errorf("seed %d: missed: %+v", seed, r)
		}
	}
}

// A reader whose numbers are the controls' is never accused, whatever the
// rest looks like.
func TestTheControlIsNeverAccused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		probe := rapid.Custom(func(t *rapid.T) isolation.Probe {
			return isolation.Probe{
				TTFT: time.Duration(rapid.IntRange(0, 1e9).Draw(t, "ttft")), Cached: rapid.IntRange(0, 1000).Draw(t, "cached"),
				CachedKnown: rapid.Bool().Draw(t, "known"),
			}
		})
		pairs := make([]isolation.Pair, rapid.IntRange(0, 20).Draw(t, "pairs"))
		for i := range pairs {
			pairs[i] = isolation.Pair{Cold: probe.Draw(t, "cold"), Warm: probe.Draw(t, "warm"), Control: probe.Draw(t, "control")}
			pairs[i].Cross = pairs[i].Control
		}
		r := isolation.Salt(pairs)
		if r.Verdict == isolation.Leak || len(r.Leaks) > 0 {
			t.Fatalf("accused: %+v", r)
		}
		if r.Reason == "" || r.PLeak < 0 || r.PLeak > 1 || r.PClean < 0 || r.PClean > 1 {
			t.Fatalf("%+v", r)
		}
	})
}

func TestFaster(t *testing.T) {
	d := func(v ...time.Duration) []time.Duration { return v }
	for _, c := range []struct {
		x, y []time.Duration
		want float64
	}{
		{d(1, 2, 3), d(4, 5, 6), 1.0 / 20}, // the most extreme of C(6,3) orders
		{d(4, 5, 6), d(1, 2, 3), 1},
		{d(1, 2, 4), d(3, 5, 6), 2.0 / 20},
		{d(1), d(2), 0.5},
		{d(1, 1), d(1, 1), 1}, // ties speak for nobody
		{nil, d(1), 1},
	} {
		if p := isolation.Faster(c.x, c.y); math.Abs(p-c.want) > 1e-12 {
			t.Errorf("%v before %v: p = %v, want %v", c.x, c.y, p, c.want)
		}
	}
}
