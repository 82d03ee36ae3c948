package live

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// sampleRun plays a run of four phases in five minutes, the same every time,
// and gives each snapshot, half a second apart, to see until the run is over
// at the given moment.
func sampleRun(until time.Duration, see func(at time.Duration, s Snapshot)) {
	c := stats.NewCollector(stats.Objective{})
	rng := rand.New(rand.NewPCG(7, 0))
	phases := []string{"warm-up", "ramp", "steady", "spike"}
	var refused, broken uint64
	for at := time.Duration(0); at <= until; at += poll {
		phase := min(int(at/(75*time.Second)), len(phases)-1)
		users := 10 + 30*phase
		n := int(float64(users) * (0.25 + 0.05*math.Sin(at.Seconds()/9)))
		for i := range n {
			r := &record.Record{
				Org: "a", UserIndex: i, Phase: phases[phase], Measured: phase > 0, Final: true, Endpoint: "chat", Model: "small",
				Stream: true, Scheduled: at, Sent: at + 1, Reused: true,
			}
			ttft := time.Duration(float64(120*time.Millisecond) * (1 + float64(users)/60) * (0.6 + rng.ExpFloat64()/2))
			switch {
			case phase > 1 && rng.IntN(60) == 0:
				r.Outcome, r.Kind, r.Status, r.Message = record.Refused, record.RateLimited, 429, "rate limit of 600 requests a minute reached"
				refused++
			case rng.IntN(700) == 0:
				r.Outcome, r.Kind, r.Message = record.Failed, record.Timeout, "no answer within 30s"
				broken++
			default:
				r.FirstToken, r.Chunks, r.FirstChunkTokens = at+ttft, 60, 1
				r.LastToken = r.FirstToken + time.Duration(60*(18+rng.IntN(8)))*time.Millisecond
				r.UsageKnown, r.PromptTokens, r.CompletionTokens = true, 80, 60
				r.CostKnown, r.CostMicroUSD = true, 600
			}
			r.Done = max(r.LastToken, at+ttft)
			c.Add(r)
		}
		s := Snapshot{
			Elapsed: at, Total: 5 * time.Minute, Stage: Running, Phase: phases[phase], PhaseIndex: phase, Phases: len(phases),
			Users: users - 2, TargetUsers: users, CostLimitMicroUSD: 10_000_000,
		}
		g := c.Overall()
		s.Totals, s.Latency = g.All, &g.Latency
		if refused > 0 {
			s.Errors = append(s.Errors, stats.ErrorCount{Kind: record.RateLimited, Status: 429, Count: refused, Example: "rate limit of 600 requests a minute reached"})
		}
		if broken > 0 {
			s.Errors = append(s.Errors, stats.ErrorCount{Kind: record.Timeout, Count: broken, Example: "no answer within 30s"})
		}
		see(at, s)
	}
}

// sampleTrail is what the view knows at a moment of that run.
func sampleTrail(until time.Duration) *trail {
	t := &trail{window: recently}
	sampleRun(until, t.add)
	return t
}
