package export_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// minutes is a run of 40 seconds with 50 requests in each, after a ramp of 10
// seconds; how long they take is a function of the second.
func minutes(latency func(second int) time.Duration) *export.Bundle {
	c := stats.NewCollector(stats.Objective{})
	rng := rand.New(rand.NewPCG(1, 2))
	for second := range 50 {
		for i := range 50 {
			done := time.Duration(second)*time.Second + time.Duration(i)*20*time.Millisecond
			took := time.Duration(float64(latency(second)) * (0.9 + 0.2*rng.Float64()))
			c.Add(&record.Record{Org: "a", UserIndex: i, Measured: second >= 10, Final: true, Scheduled: done - took, Sent: done - took, Done: done})
		}
	}
	b := &export.Bundle{Summary: c.Summary(), Phases: []export.Phase{
		{Name: "ramp", End: 10 * time.Second, Measured: true},
		{Name: "short", Start: 10 * time.Second, End: 12 * time.Second, Measured: true, Constant: true},
		{Name: "steady", Start: 12 * time.Second, End: 50 * time.Second, Measured: true, Constant: true},
	}}
	b.Headline = export.NewHeadline(b.Summary, 40*time.Second)
	return b
}

func TestARunThatSettles(t *testing.T) {
	q := export.NewQuality(minutes(func(int) time.Duration { return 100 * time.Millisecond }), nil)
	if s := q.Steady; s == nil || !s.Settled || s.Phase != "steady" || s.Points != 38 || s.Interval != time.Second {
		t.Errorf("%+v", s)
	}
	if len(q.Doubts) > 0 {
		t.Errorf("doubts %q", q.Doubts)
	}
}

func TestARunThatNeverSettles(t *testing.T) {
	for how, latency := range map[string]func(int) time.Duration{
		"rising":  func(s int) time.Duration { return time.Duration(100+10*s) * time.Millisecond },
		"falling": func(s int) time.Duration { return time.Duration(900-10*s) * time.Millisecond },
	} {
		q := export.NewQuality(minutes(latency), nil)
		if q.Steady == nil || q.Steady.Settled || !strings.Contains(strings.Join(q.Doubts, "\n"), "the run never settled") ||
			!strings.Contains(strings.Join(q.Doubts, "\n"), how) {
			t.Errorf("%s: %+v, %q", how, q.Steady, q.Doubts)
		}
	}
}

func TestALoadThatChangesIsNotAskedToSettle(t *testing.T) {
	b := minutes(func(s int) time.Duration { return time.Duration(100+10*s) * time.Millisecond })
	for i := range b.Phases {
		b.Phases[i].Constant = false
	}
	if q := export.NewQuality(b, nil); q.Steady != nil || len(q.Doubts) > 0 {
		t.Errorf("%+v, %q", q.Steady, q.Doubts)
	}
}

func TestLittlesLaw(t *testing.T) {
	for _, c := range []struct {
		name  string
		seen  health.Sample
		work  export.Work
		agree bool
	}{
		{"as it should be", health.Sample{Mean: 20.5, Error: 0.1}, export.Work{Requests: 100, Time: 200 * time.Second}, true},
		{"within chance", health.Sample{Mean: 30, Error: 3}, export.Work{Requests: 100, Time: 200 * time.Second}, true},
		{"short requests take longer to prepare", health.Sample{Mean: 1.4}, export.Work{Requests: 10000, Time: 5 * time.Second}, true},
		{"records are missing", health.Sample{Mean: 20, Error: 0.1}, export.Work{Requests: 50, Time: 100 * time.Second}, false},
		{"times are too long", health.Sample{Mean: 10, Error: 0.1}, export.Work{Requests: 100, Time: 200 * time.Second}, false},
	} {
		b := minutes(func(int) time.Duration { return 100 * time.Millisecond })
		b.Generator = &export.Generator{Observed: &health.Observations{Duration: 10 * time.Second, InFlight: &c.seen}}
		q := export.NewQuality(b, &c.work)
		if q.Concurrency == nil || q.Concurrency.Agree != c.agree || strings.Contains(strings.Join(q.Doubts, "\n"), "Little") == c.agree {
			t.Errorf("%s: %+v, %q", c.name, q.Concurrency, q.Doubts)
		}
	}
	if q := export.NewQuality(minutes(func(int) time.Duration { return time.Second }), &export.Work{}); q.Concurrency != nil {
		t.Error("concurrency is known though nobody looked")
	}
}

func TestPercentilesOfTooFewAreUnknown(t *testing.T) {
	h := sample().Headline // 19 values
	if h.E2E.P50 == 0 || h.E2E.P50CI == nil || h.E2E.P95 != 0 || h.E2E.P99 != 0 || h.E2E.P99CI != nil || h.E2E.Max == 0 {
		t.Errorf("%+v", h.E2E)
	}
	if h.ITL.P50 == 0 || h.ITL.P50CI != nil {
		t.Errorf("the gaps of an answer depend on one another: %+v", h.ITL)
	}
	q := export.NewQuality(&export.Bundle{Headline: h}, nil)
	if len(q.Doubts) != 2 || !strings.Contains(q.Doubts[1], "p99 is not shown of TTFT (19), ITL (19), end-to-end latency (19), TPOT (19): with fewer than 368 values") {
		t.Errorf("%q", q.Doubts)
	}
}
