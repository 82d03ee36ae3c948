package loadpattern

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPhasesAt(t *testing.T) {
	tenToHundred := Phases{
		{Name: "warm", Duration: time.Minute, Target: 10},
		{Name: "ramp", Duration: 5 * time.Minute, Target: 100, Ramp: Linear, Measure: true},
		{Name: "hold", Duration: 10 * time.Minute, Target: 100, Measure: true},
		{Name: "down", Duration: time.Minute, Target: 0, Ramp: Linear},
	}
	spike := Phases{
		{Name: "base", Duration: time.Minute, Target: 10},
		{Name: "spike", Duration: 30 * time.Second, Target: 200},
		{Name: "after", Duration: time.Minute, Target: 10},
	}
	steps := Phases{{Name: "up", Duration: 100 * time.Second, Target: 50, Ramp: Step}}
	three := Phases{
		{Duration: time.Second, Target: 10},
		{Duration: 90 * time.Second, Target: 40, Ramp: Step, Steps: 3},
	}
	exponential := Phases{{Duration: 10 * time.Second, Target: 1023, Ramp: Exponential}}
	smooth := Phases{{Duration: 10 * time.Second, Target: 100, Ramp: Smooth}}
	instant := Phases{{Target: 20}, {Duration: 10 * time.Second, Target: 40, Ramp: Linear}}

	for _, tt := range []struct {
		name    string
		pattern Pattern
		at      time.Duration
		users   int
		phase   int
		done    bool
	}{
		{"the first phase holds from its first moment", tenToHundred, 0, 10, 0, false},
		{"before the beginning is the beginning", tenToHundred, -time.Second, 10, 0, false},
		{"a ramp begins where the last phase was", tenToHundred, time.Minute, 10, 1, false},
		{"a third of a linear ramp", tenToHundred, time.Minute + 100*time.Second, 40, 1, false},
		{"half of it", tenToHundred, time.Minute + 150*time.Second, 55, 1, false},
		{"the last moment of a ramp", tenToHundred, 6*time.Minute - 1, 100, 1, false},
		{"hold", tenToHundred, 6 * time.Minute, 100, 2, false},
		{"half of the way down", tenToHundred, 16*time.Minute + 30*time.Second, 50, 3, false},
		{"the last moment", tenToHundred, 17*time.Minute - 1, 0, 3, false},
		{"done", tenToHundred, 17 * time.Minute, 0, 3, true},
		{"done for ever", tenToHundred, 1000 * time.Hour, 0, 3, true},

		{"before the spike", spike, time.Minute - 1, 10, 0, false},
		{"a spike is instant", spike, time.Minute, 200, 1, false},
		{"and instantly over", spike, 90 * time.Second, 10, 2, false},

		{"the first step comes at once", steps, 0, 10, 0, false},
		{"a step holds", steps, 20*time.Second - 1, 10, 0, false},
		{"the second step", steps, 20 * time.Second, 20, 0, false},
		{"the last step is the target", steps, 80 * time.Second, 50, 0, false},
		{"and holds to the end", steps, 100*time.Second - 1, 50, 0, false},
		{"as many steps as asked for", three, 31 * time.Second, 30, 1, false},

		{"exponential from nobody", exponential, 0, 0, 0, false},
		{"doubles every second", exponential, 5 * time.Second, 31, 0, false},
		{"and again", exponential, 6 * time.Second, 63, 0, false},

		{"a smooth ramp starts gently", smooth, time.Second, 2, 0, false},
		{"is half way in the middle", smooth, 5 * time.Second, 50, 0, false},
		{"and ends gently", smooth, 9 * time.Second, 98, 0, false},

		{"a phase of no length sets the start", instant, 0, 20, 1, false},
		{"of the next", instant, 5 * time.Second, 30, 1, false},

		{"no phases are done at once", Phases{}, 0, 0, 0, true},
		{"always", Always(7), 0, 7, 0, false},
		{"always, for ever", Always(7), 1000 * time.Hour, 7, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, phase, done := tt.pattern.At(tt.at)
			if users != tt.users || phase != tt.phase || done != tt.done {
				t.Errorf("At(%v) = %d users, phase %d, done %v; want %d, %d, %v",
					tt.at, users, phase, done, tt.users, tt.phase, tt.done)
			}
		})
	}
	if got := spike.Peak(); got != 200 {
		t.Errorf("Peak() = %d, want 200", got)
	}
	if got := tenToHundred.Start(3); got != 16*time.Minute {
		t.Errorf("Start(3) = %v, want 16m", got)
	}
	if got := Always(7).Phase(0).Name; got != Steady {
		t.Errorf("the phase of Always is called %q, want %q", got, Steady)
	}
}

func TestCheck(t *testing.T) {
	good := Phases{{Name: "a", Target: 3}, {Name: "b", Duration: time.Second, Target: 4, Ramp: Exponential}}
	if err := good.Check(); err != nil {
		t.Errorf("Check of good phases: %v", err)
	}
	bad := Phases{
		{Name: "early", Duration: -time.Second, Target: 1},
		{Name: "few", Duration: time.Second, Target: -1},
		{Name: "shape", Duration: time.Second, Ramp: "cubic"},
		{Name: "stairs", Duration: time.Second, Ramp: Step, Steps: -2},
	}
	err := bad.Check()
	for _, want := range []string{"phase 1 (early)", "phase 2 (few)", `phase 3 (shape): the ramp "cubic" is unknown`, "phase 4 (stairs)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() = %v; it should mention %q", err, want)
		}
	}
	if err := (Phases{{Name: "nothing", Target: 3}}).Check(); err == nil {
		t.Error("phases that last no time were accepted")
	}
}

// TestLaws holds every ramp to what its documentation promises.
func TestLaws(t *testing.T) {
	shapes := []Ramp{Linear, Exponential, Smooth, Step}
	rapid.Check(t, func(t *rapid.T) {
		ramp := rapid.SampledFrom(shapes).Draw(t, "ramp")
		from := rapid.IntRange(0, 5000).Draw(t, "from")
		to := rapid.IntRange(0, 5000).Draw(t, "to")
		length := time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "length"))
		steps := rapid.IntRange(0, 20).Draw(t, "steps")
		p := Phases{
			{Duration: time.Second, Target: from},
			{Duration: length, Target: to, Ramp: ramp, Steps: steps},
			{Duration: time.Second, Target: to},
		}
		if users, phase, done := p.At(time.Second + length); users != to || phase != 2 || done {
			t.Fatalf("the ramp ends at %d users in phase %d (done %v), want %d in phase 2", users, phase, done, to)
		}
		if last, _, _ := p.At(time.Second + length - 1); ramp == Step && length > 1000 && last != to {
			t.Fatalf("the last step is %d, want %d", last, to)
		}
		lo, hi := min(from, to), max(from, to)
		previous := from
		for i := range 50 {
			at := time.Duration(float64(length-1) * float64(i) / 49)
			users, phase, done := p.At(time.Second + at)
			if phase != 1 || done {
				t.Fatalf("%v is in phase %d (done %v), want 1", at, phase, done)
			}
			if users < lo || users > hi {
				t.Fatalf("%d users at %v are outside %d..%d", users, at, lo, hi)
			}
			if (to >= from && users < previous) || (to <= from && users > previous) {
				t.Fatalf("from %d to %d users at %v: not monotone from %d to %d", previous, users, at, from, to)
			}
			previous = users
			exact := ramp.value(float64(from), float64(to), float64(at)/float64(length), steps)
			if off := math.Abs(float64(users) - exact); off > 0.5+1e-6 {
				t.Fatalf("%d users at %v are %.3f away from %.3f", users, at, off, exact)
			}
		}
	})
}

// TestEveryMomentBelongsToOnePhase walks random patterns: phases come in
// order, each for exactly its duration, and done comes once.
func TestEveryMomentBelongsToOnePhase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Phases
		for i := range rapid.IntRange(1, 6).Draw(t, "phases") {
			p = append(p, Phase{
				Name:     fmt.Sprint(i),
				Duration: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "duration")),
				Target:   rapid.IntRange(0, 100).Draw(t, "target"),
				Ramp:     rapid.SampledFrom([]Ramp{None, Linear, Exponential, Step}).Draw(t, "ramp"),
			})
		}
		for i, ph := range p {
			if ph.Duration == 0 {
				continue
			}
			for _, at := range []time.Duration{p.Start(i), p.Start(i) + ph.Duration/2, p.Start(i) + ph.Duration - 1} {
				users, phase, done := p.At(at)
				if phase != i || done {
					t.Fatalf("%v is in phase %d (done %v), want %d", at, phase, done, i)
				}
				if users > p.Peak() {
					t.Fatalf("%d users at %v are above the peak of %d", users, at, p.Peak())
				}
			}
		}
		if _, _, done := p.At(p.Duration()); !done {
			t.Fatal("not done at the end")
		}
	})
}

func BenchmarkAt(b *testing.B) {
	p := Phases{
		{Duration: time.Minute, Target: 10},
		{Duration: time.Minute, Target: 100, Ramp: Linear},
		{Duration: time.Minute, Target: 1000, Ramp: Exponential},
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.At(time.Duration(i%180) * time.Second)
	}
}

func TestConstantPhases(t *testing.T) {
	p := Phases{
		{Name: "ramp", Duration: time.Second, Target: 5, Rate: 2, Ramp: Linear},
		{Name: "flat", Duration: time.Second, Target: 5, Rate: 2, Ramp: Linear},
		{Name: "jump", Duration: time.Second, Target: 9, Rate: 2},
		{Name: "faster", Duration: time.Second, Target: 9, Rate: 3, Ramp: Smooth},
		{Name: "empty", Target: 1},
		{Name: "twice", Duration: time.Second, Target: 1},
		{Name: "twice", Duration: time.Second, Target: 2, Ramp: Step},
	}
	for name, want := range map[string]bool{"ramp": false, "flat": true, "jump": true, "faster": false, "empty": false, "twice": false, "nobody": false} {
		if got := p.Constant(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
