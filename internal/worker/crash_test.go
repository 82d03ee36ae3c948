package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// What watches the load, or goes on beside it, ends it in order when it crashes.
func TestACrashBesideTheLoad(t *testing.T) {
	source, err := questions.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(context.Context) {}
	for who, c := range map[string]struct {
		worker *Worker
		beside func(context.Context)
	}{
		"the watch over the limits":    {&Worker{job: job{limits: limits.Limits{Duration: time.Hour}}}, nothing}, // and no guard
		"what goes on beside the load": {&Worker{guard: limits.NewGuard(limits.Limits{})}, func(context.Context) { panic("a fault of this tool") }},
	} {
		fleet, err := simulator.New(simulator.Options{
			RunID: "r", Users: []simulator.Identity{{Org: "acme", OrgIndex: 1, User: "ann", Keys: []secret.String{secret.New("k")}}},
			Script: simulator.Script{
				Source: source, Questions: simulator.Count{Min: 1, Max: 1}, Models: []simulator.Model{{Name: "m", Weight: 1}}, MaxTokens: simulator.Fixed(1),
			},
			Pattern: loadpattern.Phases{{Name: "long", Duration: time.Hour, Target: 1}},
			Asker: simulator.AskerFunc(func(ctx context.Context, _ *simulator.Call) error {
				<-ctx.Done()
				return ctx.Err()
			}),
			Grace: time.Millisecond, InterruptGrace: time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := c.worker.runFleet(t.Context(), fleet, c.beside)
		if crashed := (*crash.Error)(nil); !errors.As(err, &crashed) || !strings.HasPrefix(err.Error(), who+" crashed") {
			t.Errorf("%s: the load ended with %v", who, err)
		}
		if seen == nil || seen.Duration <= 0 {
			t.Errorf("%s: this process was not observed until the end", who)
		}
	}
}
