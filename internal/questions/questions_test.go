package questions

import (
	"flag"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func mustNew(t testing.TB, weights []Weight, templates ...Template) *Mix {
	t.Helper()
	m, err := New(weights, templates...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGolden pins the exact text: a seed printed by one run must give the same
// questions in the next, on any machine. Changing a list or a template changes
// this file, and with it what recorded seeds mean.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, strategy := range append(slices.Clone(names), Mixed) {
		src := mustNew(t, []Weight{{strategy, 1}})
		rng := Seed(42, 1, 7, 0)
		for range 4 {
			q := src.Next(rng)
			fmt.Fprintf(&b, "%s complex=%v: %s\n", q.Strategy, q.Complex, q.Text)
			fmt.Fprintf(&b, "  then: %s\n", FollowUp(rng, q).Text)
		}
	}
	golden := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the questions of seed 42 have changed; run with -update if that is meant\ngot:\n%s", b.String())
	}
}

// TestUniqueness asks what a run of a thousand users asks: each strategy
// alone, and all of them mixed for several run seeds.
func TestUniqueness(t *testing.T) {
	const users, each = 1000, 100
	hash := maphash.MakeSeed()
	for _, strategy := range append(slices.Clone(names), Mixed) {
		runs := uint64(1)
		if strategy == Mixed {
			runs = 3
		}
		for run := range runs {
			src := mustNew(t, []Weight{{strategy, 1}})
			seen := make(map[uint64]struct{}, users*each)
			for user := range users {
				rng := Seed(run, 1+user%7, user, 0)
				for range each {
					seen[maphash.String(hash, src.Next(rng).Text)] = struct{}{}
				}
			}
			repeats := users*each - len(seen)
			if repeats > users*each/1000 {
				t.Errorf("%s, run seed %d: %d of %d questions repeat an earlier one, more than 0.1%%", strategy, run, repeats, users*each)
			}
		}
	}
}

// size is the number of different texts of t.
func (t *text) size() float64 {
	n := 1.0
	for _, s := range t.slots {
		switch {
		case s.isGivenTopic:
		case s.list != nil:
			n *= float64(len(s.list) - len(s.siblings))
		default:
			n *= float64(s.n)
		}
	}
	return n
}

// TestVariety computes, for every strategy, the number of texts that would
// repeat as often if all were equally likely: 1 / Σp².
func TestVariety(t *testing.T) {
	for name, s := range standard() {
		repeat := 0.0
		for _, b := range s.bodies {
			closings := 0.0
			for _, c := range b.closings {
				closings += 1 / c.size()
			}
			n := float64(len(b.closings))
			repeat += 1 / b.size() * closings / (n * n)
		}
		bodies := float64(len(s.bodies))
		if effective := bodies * bodies / repeat; effective < 1e8 {
			t.Errorf("%s is as varied as %.2g equally likely questions; want at least 1e8", name, effective)
		}
	}
}

// TestEnglish reads a thousand questions of each strategy for what a machine can see.
func TestEnglish(t *testing.T) {
	wrong := regexp.MustCompile(`[{}]|  |\ba [aeio]\w|\ban [bcdfgjklmnpqrstvwxyz]\w|\b(the the|a the|an the|in in)\b| [,.?]|%!`)
	allowed := regexp.MustCompile(`\ba one\b`)
	for _, name := range names {
		src := mustNew(t, []Weight{{name, 1}})
		rng := Seed(1, 1, 1, 1)
		simple := 0
		for range 1000 {
			q := src.Next(rng)
			texts := []string{q.Text, FollowUp(rng, q).Text}
			for _, s := range texts {
				if m := wrong.FindString(s); m != "" && !allowed.MatchString(s) {
					t.Fatalf("%s: %q in %q", name, m, s)
				}
				if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
					t.Fatalf("%s: no end: %q", name, s)
				}
				if r := s[0]; r < 'A' || r > 'Z' {
					t.Fatalf("%s: no capital letter: %q", name, s)
				}
			}
			if !q.Complex {
				simple++
			}
			if q.Strategy != name {
				t.Fatalf("strategy %q, want %q", q.Strategy, name)
			}
		}
		if simple == 0 || simple == 1000 {
			t.Errorf("%s: %d of 1000 questions are simple; a strategy should have both kinds", name, simple)
		}
	}
}

func TestListsHaveNoDoubles(t *testing.T) {
	for name, list := range lists {
		seen := map[string]bool{}
		for _, entry := range list {
			if seen[entry] || strings.TrimSpace(entry) != entry || entry == "" {
				t.Errorf("list %s: %q is doubled or badly spaced", name, entry)
			}
			seen[entry] = true
		}
	}
}

// TestDistribution draws strategies by weight and holds them to χ².
func TestDistribution(t *testing.T) {
	own := Template{Name: "support", Text: "My {thing} is broken.", Variables: map[string][]string{"thing": {"bike", "kettle"}}}
	src := mustNew(t, []Weight{{Historical, 50}, {Technical, 30}, {"support", 15}, {Mixed, 5}, {Hypothetical, 0}}, own)
	want := map[string]float64{Historical: 0.51, Technical: 0.31, "support": 0.15, Mathematical: 0.01, Geographical: 0.01, Hypothetical: 0.01}
	got := map[string]float64{}
	const n = 100_000
	rng := Seed(3, 1, 1, 0)
	for range n {
		got[src.Next(rng).Strategy]++
	}
	chi2 := 0.0
	for name, share := range want {
		chi2 += (got[name] - n*share) * (got[name] - n*share) / (n * share)
	}
	// 99.9th percentile of χ² with 5 degrees of freedom; the seed is fixed.
	if chi2 > 20.5 || len(got) != len(want) {
		t.Errorf("χ² = %.1f; got %v, want shares %v", chi2, got, want)
	}
}

func TestSeed(t *testing.T) {
	same := func(a, b *rand.Rand) bool { return a.Uint64() == b.Uint64() }
	if !same(Seed(1, 2, 3, 4), Seed(1, 2, 3, 4)) {
		t.Error("the same seed gave different numbers")
	}
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(0, 1000)
		type key struct {
			run             uint64
			org, user, loop int
		}
		draw := func(name string) key {
			return key{rapid.Uint64Range(0, 1000).Draw(t, name+" run"), small.Draw(t, name+" org"), small.Draw(t, name+" user"), small.Draw(t, name+" loop")}
		}
		a, b := draw("a"), draw("b")
		if a != b && same(Seed(a.run, a.org, a.user, a.loop), Seed(b.run, b.org, b.user, b.loop)) {
			t.Fatalf("%v and %v share a generator", a, b)
		}
	})
}

func TestTemplates(t *testing.T) {
	vars := map[string][]string{"dish": {"soup", "rice", "stew"}, "one": {"only"}}
	for _, tt := range []struct{ name, text, match string }{
		{"a variable", "How do I cook {dish}?", `^How do I cook (soup|rice|stew)\?$`},
		{"a number", "Serve {2..9}.", `^Serve [2-9]\.$`},
		{"steps", "Bake for {10..30/10} minutes.", `^Bake for [123]0 minutes\.$`},
		{"negative numbers", "{-3..-2}", `^-[23]$`},
		{"a built-in list", "Eat in {city}.", `^Eat in \p{L}+.*\.$`},
		{"braces", "{{{dish}}} }}", `^\{(soup|rice|stew)\} \}$`},
		{"no variables", "Why?", `^Why\?$`},
		{"a range of one", "{7..7}", `^7$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := mustNew(t, []Weight{{"own", 1}}, Template{Name: "own", Text: tt.text, Variables: vars})
			rng := Seed(1, 1, 1, 1)
			for range 50 {
				if q := src.Next(rng); !regexp.MustCompile(tt.match).MatchString(q.Text) {
					t.Fatalf("%q does not match %s", q.Text, tt.match)
				}
			}
		})
	}

	t.Run("the same name is the same value, a numbered one another", func(t *testing.T) {
		src := mustNew(t, []Weight{{"own", 1}}, Template{Name: "own", Text: "{dish} {dish} {dish3} {dish2}", Variables: vars, Complex: true})
		rng := Seed(1, 1, 1, 1)
		orders := map[string]int{}
		for range 6000 {
			q := src.Next(rng)
			f := strings.Fields(q.Text)
			if f[0] != f[1] || f[1] == f[2] || f[2] == f[3] || f[1] == f[3] {
				t.Fatalf("got %q", q.Text)
			}
			if !q.Complex || q.Strategy != "own" {
				t.Fatalf("got %+v", q)
			}
			orders[q.Text]++
		}
		// Drawing without replacement must not favour an order.
		for order, n := range orders {
			if math.Abs(float64(n)-1000) > 150 {
				t.Errorf("%q came %d times in 6000, want about 1000", order, n)
			}
		}
		if len(orders) != 6 {
			t.Errorf("%d orders, want 6", len(orders))
		}
	})

	t.Run("templates of one name take turns, and may replace a strategy", func(t *testing.T) {
		src := mustNew(t, []Weight{{Technical, 1}}, Template{Name: Technical, Text: "A"}, Template{Name: Technical, Text: "B"})
		rng := Seed(1, 1, 1, 1)
		seen := map[string]int{}
		for range 100 {
			seen[src.Next(rng).Text]++
		}
		if len(seen) != 2 || seen["A"] < 25 || seen["B"] < 25 {
			t.Errorf("got %v, want A and B about equally often", seen)
		}
	})

	for _, tt := range []struct{ name, text, want string }{
		{"unknown variable", "Cook {fish}.", "{fish} has no values"},
		{"unclosed", "Cook {dish", "has no }"},
		{"unopened", "Cook dish}", "has no {"},
		{"empty", " ", "is empty"},
		{"backwards range", "{9..2}", "{9..2} cannot be read"},
		{"broken range", "{2..x}", "cannot be read"},
		{"zero step", "{2..9/0}", "cannot be read"},
		{"too few values", "{one} {one2}", "has only 1"},
		{"too many variables", strings.Repeat("{1..2}", maxSlots+1), "more than 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New([]Weight{{"own", 1}}, Template{Name: "own", Text: tt.text, Variables: vars})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New(%q) = %v; want an error with %q", tt.text, err, tt.want)
			}
		})
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	_, err := New([]Weight{{"philosophical", 1}, {Historical, -1}, {Technical, math.NaN()}},
		Template{Name: "a", Text: "{"}, Template{Text: "no name"})
	for _, want := range []string{"philosophical", "historical, mathematical", "-1", "NaN", "template a", "has no name"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; it should mention %q", err, want)
		}
	}
	if _, err := New([]Weight{{Historical, 0}}); err == nil || !strings.Contains(err.Error(), "sum to zero") {
		t.Errorf("New with no weight at all = %v", err)
	}
	if _, err := New(nil); err != nil {
		t.Errorf("New(nil) = %v, want the mixed strategy", err)
	}
}

func TestFollowUpRefersToItsTopic(t *testing.T) {
	src := mustNew(t, []Weight{{"own", 1}}, Template{Name: "own", Text: "What about {animal}?", Complex: true,
		Variables: map[string][]string{"animal": {"the axolotl"}}})
	rng := Seed(1, 1, 1, 1)
	first := src.Next(rng)
	second := FollowUp(rng, first)
	third := FollowUp(rng, second)
	for _, q := range []Question{second, third} {
		if !strings.Contains(q.Text, "the axolotl") || q.Strategy != "own" || !q.Complex {
			t.Errorf("a follow-up of %q is %+v", first.Text, q)
		}
	}
}

// TestAllocations: the text is the one thing that a question costs.
func TestAllocations(t *testing.T) {
	src := mustNew(t, nil)
	rng := Seed(1, 1, 1, 1)
	if n := testing.AllocsPerRun(1000, func() { _ = src.Next(rng) }); n > 1 {
		t.Errorf("a question allocates %v times, want once", n)
	}
	q := src.Next(rng)
	if n := testing.AllocsPerRun(1000, func() { _ = FollowUp(rng, q) }); n > 1 {
		t.Errorf("a follow-up allocates %v times, want once", n)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"{city} {city2}", "{{x}}", "{1..9/2}", "}{", "{-9223372036854775808..9223372036854775807}", "{topic}"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		src, err := New([]Weight{{"own", 1}}, Template{Name: "own", Text: s})
		if err != nil {
			return
		}
		src.Next(Seed(1, 1, 1, 1))
	})
}

func BenchmarkNext(b *testing.B) {
	src := mustNew(b, nil)
	rng := Seed(1, 1, 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		src.Next(rng)
	}
}

func BenchmarkSeed(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Seed(1, 1, i, 0)
	}
}
