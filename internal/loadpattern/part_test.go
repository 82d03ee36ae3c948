package loadpattern_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
)

func TestPartsSumToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		users := rapid.SliceOfN(rapid.IntRange(0, 12), 1, 6).Draw(t, "users")
		all := 0
		for _, n := range users {
			all += n
		}
		whole := loadpattern.Phases{
			{Duration: 100, Target: rapid.IntRange(0, all+3).Draw(t, "target"), Ramp: loadpattern.Linear},
			{Duration: 100, Target: all, Ramp: loadpattern.Linear}, {Duration: 100},
		}
		var parts []loadpattern.Part
		for w := range users {
			parts = append(parts, loadpattern.Split(whole, users, w))
		}
		before := make([]int, len(parts))
		last := 0
		for at := range time.Duration(300) {
			sum := 0
			want, phase, _ := whole.At(at)
			for w, p := range parts {
				n, i, done := p.At(at)
				if n < 0 || n > p.Peak() || want <= all && n > users[w] || i != phase || done {
					t.Fatalf("at %d worker %d of %v is to have %d at work, of at most %d", at, w, users, n, p.Peak())
				}
				if want >= last && n < before[w] {
					t.Fatalf("at %d worker %d goes from %d users to %d, and all from %d to %d", at, w, before[w], n, last, want)
				}
				before[w], sum = n, sum+n
			}
			if last = want; sum != want {
				t.Fatalf("at %d the workers are to have %d users at work, and not %d", at, sum, want)
			}
		}
		targets := 0
		for _, p := range parts {
			targets += p.Phase(0).Target
		}
		if targets != whole[0].Target {
			t.Fatalf("targets sum to %d, and not to %d", targets, whole[0].Target)
		}
	})
	if p := loadpattern.Split(loadpattern.Phases{{Duration: -1}}, []int{1}, 0); p.Check() == nil || !slices.Equal([]int{p.Peak()}, []int{0}) {
		t.Error("a part of what is unusable is usable")
	}
}
