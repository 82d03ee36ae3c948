package simulator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
)

// Whoever comes late begins where the load is by then.
func TestComingLate(t *testing.T) {
	phases := loadpattern.Phases{
		{Name: "ramp", Duration: 10 * time.Second, Target: 10, Rate: 10, Ramp: loadpattern.Linear},
		{Name: "hold", Duration: 10 * time.Second, Target: 10, Rate: 10, Measure: true},
		{Name: "down", Duration: 10 * time.Second, Target: 2, Rate: 2, Measure: true},
	}
	const late = 15 * time.Second
	for name, o := range map[string]Options{"closed": {Pattern: phases}, "open": open(phases, loadpattern.Constant)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Users, o.Script = population(1, 10), script(t)
				o.Script.Think = Number{Base: 1}
				o.Epoch = time.Now()
				time.Sleep(late)
				o.Late = true
				var first Tick
				o.Watch.Tick = func(tick Tick) {
					if first.Offset == 0 {
						first = tick
					}
				}
				f, got := runOnce(t, &llm{service: 100 * time.Millisecond}, o)
				if open := o.Open != nil; !open && (first.Active != 10 || first.Wanted != 10) || first.Phase != "hold" {
					t.Errorf("at first %+v", first)
				}
				for _, a := range got {
					want := "hold"
					if a.Scheduled >= 20*time.Second {
						want = "down"
					}
					if a.Phase != want || a.Scheduled < late || !a.Measured {
						t.Fatalf("a question due at %v is labelled %q", a.Scheduled, a.Phase)
					}
				}
				var due uint64
				for i, p := range f.Phases() {
					if p.Name != phases[i].Name || p.Start != phases.Start(i) || p.End != phases.Start(i)+phases[i].Duration {
						t.Errorf("phase %d ran as %+v", i, p)
					}
					due += p.Due
				}
				// 50 of the hold that is left, 60 or so of the way down.
				whole := loadpattern.Arrivals{Phases: phases}
				if want := whole.Wanted(phases.Duration()) - whole.Wanted(late); o.Open != nil && (float64(due) < want-1 || float64(due) > want+1 || len(got) != int(due)) {
					t.Errorf("%d arrivals were due and %d sent, want %.0f", due, len(got), want)
				}
			})
		})
	}
}

func TestComingWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Pattern: loadpattern.Phases{{Name: "hold", Duration: 10 * time.Second, Target: 10}}, Users: population(1, 10), Script: script(t), Epoch: time.Now()}
		time.Sleep(time.Minute)
		o.Late = true
		if _, got := runOnce(t, &llm{service: time.Second}, o); len(got) > 0 {
			t.Errorf("%d requests after the end", len(got))
		}
	})
}
