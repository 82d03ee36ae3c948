package capacity_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// TestKnownCapacity finds the capacity of a model that works on 4 requests at a
// time, each for 8 to 24 steps of 6 ms: 41.67 requests a second. Time is
// virtual; nothing but the lengths of the answers is random.
func TestKnownCapacity(t *testing.T) {
	const places, shortest, longest, decode = 4, 8, 24, 6 * time.Millisecond
	known := places / ((shortest + longest) / 2 * decode.Seconds())
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			source, err := questions.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			n := seed * 1000
			s, err := capacity.Find(capacity.Plan{Start: 2, Max: 128}, func(load float64, _ capacity.Purpose) (capacity.Step, error) {
				n++
				engine := llm.New(llm.Config{MaxRunning: places, DecodeStep: decode, CacheBlocks: -1})
				defer engine.Close()
				rng := rand.New(rand.NewPCG(n, 1))
				g, mu, epoch := new(stats.Group), sync.Mutex{}, time.Now()
				phases := loadpattern.Phases{
					{Name: "warm-up", Duration: 2 * time.Second, Target: 1, Rate: load},
					{Name: "step", Duration: 10 * time.Second, Target: 1, Rate: load, Measure: true},
				}
				fleet, err := simulator.New(simulator.Options{
					RunID: "find", Seed: n, Users: []simulator.Identity{{Org: "o", OrgIndex: 1, User: "u"}},
					Script:  simulator.Script{Source: source, Questions: simulator.Count{Min: 1, Max: 1}, Models: []simulator.Model{{Name: "m", Weight: 1}}},
					Pattern: phases, Open: []simulator.Stream{{Arrivals: loadpattern.Arrivals{Phases: phases, Process: loadpattern.Constant}}}, Epoch: epoch,
					Asker: simulator.AskerFunc(func(ctx context.Context, c *simulator.Call) error {
						mu.Lock()
						answer := shortest + rng.IntN(longest-shortest+1)
						mu.Unlock()
						seq, err := engine.Submit(ctx, llm.Request{Prompt: []llm.Token{1}, MaxTokens: answer})
						if err != nil {
							return err
						}
						for first, done := true, false; !done; first = false {
							if _, done, err = seq.Next(ctx); err != nil {
								return err
							}
							if first && c.Measured {
								mu.Lock()
								g.Latency.TTFT.Record(time.Since(epoch) - c.Scheduled)
								g.All.Requests++
								g.All.Succeeded++
								g.Measured = g.All
								mu.Unlock()
							}
						}
						return nil
					}),
				})
				if err != nil {
					return capacity.Step{}, err
				}
				if err := fleet.Run(t.Context()); err != nil {
					return capacity.Step{}, err
				}
				v := verdict.Judge(verdict.Input{Overall: g, Thresholds: []verdict.Threshold{{Metric: verdict.TTFT, Quantile: 0.95, Latency: 200 * time.Millisecond}}})
				return capacity.Step{Passed: v.Status == verdict.Passed, Broke: v.Reasons, Requests: g.Measured.Requests}, nil
			})
			if err != nil || s.Outcome != capacity.Found {
				t.Fatalf("%+v, %v", s, err)
			}
			t.Logf("seed %d: %.2f (%.2f to %.2f) of %.2f (%+.1f%%), %d steps", seed, s.Limit, s.Low, s.High, known, 100*(s.Limit/known-1), len(s.Steps))
			if math.Abs(s.Limit/known-1) > 0.1 {
				t.Errorf("seed %d: %v, want %v within 10%%", seed, s.Limit, known)
			}
		})
	}
}
