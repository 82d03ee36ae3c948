package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// A step of few answers, in which this tool was late, is not held against the
// platform; one in which requests failed, or waited much longer than that, is.
func TestWhoBrokeAPromise(t *testing.T) {
	promise := []verdict.Threshold{{Metric: verdict.TTFT, Quantile: 0.95, Latency: 100 * time.Millisecond}, {Metric: verdict.ErrorRate, Ratio: 0.01}}
	for name, c := range map[string]struct {
		ttft, sending, reading time.Duration
		failed                 uint64
		ours                   bool
	}{
		"late in sending":          {504 * time.Millisecond, 235 * time.Millisecond, 0, 0, true},
		"late in reading":          {180 * time.Millisecond, 0, 50 * time.Millisecond, 0, true},
		"punctual":                 {423 * time.Millisecond, 3 * time.Millisecond, time.Millisecond, 0, false},
		"a queue beside lateness":  {10 * time.Second, 235 * time.Millisecond, 50 * time.Millisecond, 0, false},
		"late, and requests fail":  {504 * time.Millisecond, 235 * time.Millisecond, 0, 20, false},
		"late, and few fail alone": {50 * time.Millisecond, 235 * time.Millisecond, 0, 2, false},
	} {
		g, o := new(stats.Group), new(health.Observations)
		for range 50 {
			g.Latency.TTFT.Record(c.ttft)
			g.Latency.SendLag.Record(c.sending)
			o.ReadLag.Record(c.reading)
		}
		g.All.Requests, g.All.Succeeded, g.All.Failed = 50+c.failed, 50, c.failed
		g.Measured = g.All
		v := verdict.Judge(verdict.Input{Overall: g, Streams: g, Thresholds: promise})
		if v.Status == verdict.Passed || ours(v.Checks, promise, g, o) != c.ours {
			t.Errorf("%s: blamed on this tool: %v; %+v", name, !c.ours, v)
		}
	}
}

// A search is judged by its answer, and not as a run without thresholds.
func TestTheVerdictOnASearch(t *testing.T) {
	for _, c := range []struct {
		outcome      capacity.Outcome
		before, want verdict.Status
		reasons      int
	}{
		{capacity.Found, verdict.Passed, verdict.Passed, 1},
		{capacity.NotReached, verdict.Failed, verdict.Failed, 2},
		{capacity.TooLow, verdict.Passed, verdict.Failed, 1},
		{capacity.OwnLimit, verdict.Passed, verdict.Broken, 1},
		{capacity.Stopped, verdict.Interrupted, verdict.Interrupted, 2},
	} {
		s := &capacity.Search{Outcome: c.outcome, Steps: make([]capacity.Step, 1)}
		v := verdict.Verdict{Status: c.before, Reasons: []string{"of a run"}}
		judgeSearch(s, &v)
		if v.Status != c.want || len(v.Reasons) != c.reasons || !slices.Contains(v.Reasons, s.Answer()) {
			t.Errorf("%s: %+v", c.outcome, v)
		}
	}
}
