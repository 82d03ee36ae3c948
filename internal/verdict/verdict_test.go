package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// group has n successes of 100 ms, of which slow took 1 s, and failed failures.
func group(n, slow, failed uint64) *stats.Group {
	g := &stats.Group{}
	g.All = stats.Totals{Requests: n + failed, Succeeded: n, Failed: failed}
	g.Measured = g.All
	g.Latency.E2E.RecordN(100*time.Millisecond, n-slow)
	g.Latency.E2E.RecordN(time.Second, slow)
	return g
}

func TestJudge(t *testing.T) {
	p95 := Threshold{Metric: E2E, Quantile: 0.95, Latency: 500 * time.Millisecond}
	rate := Threshold{Metric: ErrorRate, Ratio: 0.01}
	up := Threshold{Metric: Availability, Ratio: 0.99}
	for _, c := range []struct {
		name   string
		in     Input
		want   Status
		reason string // the first
	}{
		{"all hold", Input{Overall: group(1000, 10, 0), Thresholds: []Threshold{p95, rate, up}}, Passed, "all 3 thresholds held"},
		{"no thresholds", Input{Overall: group(10, 0, 0)}, Passed, "the scenario sets no thresholds; 10 of 10 requests succeeded"},
		{"slow", Input{Overall: group(1000, 60, 0), Thresholds: []Threshold{p95}}, Failed, "e2e p95 was 1s, promised ≤ 500ms"},
		{"failures are late", Input{Overall: group(940, 0, 60), Thresholds: []Threshold{p95}}, Failed,
			"e2e p95 was never (failed requests), promised ≤ 500ms"},
		{"errors", Input{Overall: group(980, 0, 20), Thresholds: []Threshold{rate}}, Failed, "error rate was 2.00%, promised ≤ 1.00%"},
		{"down", Input{Overall: group(980, 0, 20), Thresholds: []Threshold{up}}, Failed, "availability was 98.00%, promised ≥ 99.00%"},
		{"nothing sent", Input{Overall: group(0, 0, 0)}, Failed, "not a single request was sent"},
		{"nothing succeeded", Input{Overall: group(0, 0, 7)}, Failed, "none of 7 requests succeeded"},
		{"no data for a promise", Input{Overall: group(10, 0, 0), Thresholds: []Threshold{{Metric: TTFT, Quantile: 0.5, Latency: time.Second}}},
			Failed, "ttft p50, promised ≤ 1s: no streamed answers to judge by"},
		{"only the warm-up succeeded", Input{Overall: &stats.Group{
			All: stats.Totals{Requests: 8, Succeeded: 1, Failed: 7}, Measured: stats.Totals{Requests: 7, Failed: 7}}}, Failed, "none of 7 measured requests succeeded"},
		{"nothing but warm-up", Input{Overall: &stats.Group{All: stats.Totals{Requests: 8, Succeeded: 8}}}, Failed,
			"not a single request was measured: all were pre-flight, warm-up or cool-down"},
		{"a dry run", Input{DryRun: true, Overall: &stats.Group{All: stats.Totals{Requests: 1, Succeeded: 1}}, Thresholds: []Threshold{p95, rate, up}}, Passed,
			"a dry run: no load was made and no threshold judged"},
		{"a mean of failures", Input{Overall: group(0, 0, 7), Thresholds: []Threshold{{Metric: E2E, Latency: time.Hour}}}, Failed,
			"e2e mean was never (failed requests), promised ≤ 1h0m0s"},
		{"a leak", Input{Overall: group(1000, 60, 0), Thresholds: []Threshold{p95}, Leaks: []string{"cache salt isolation: LEAK"}}, Failed, "cache salt isolation: LEAK"},
		{"limit", Input{Overall: group(10, 0, 0), Stopped: "the cost limit was reached"}, Failed, "stopped early: the cost limit was reached"},
		{"interrupted", Input{Overall: group(10, 0, 0), Interrupted: true}, Interrupted, "interrupted before the end"},
		{"interrupted and slow", Input{Overall: group(10, 10, 0), Thresholds: []Threshold{p95}, Interrupted: true}, Interrupted, "interrupted before the end"},
		{"broken", Input{Broken: "the target is down", Interrupted: true}, Broken, "the target is down"},
	} {
		v := Judge(c.in)
		if v.Status != c.want || len(v.Reasons) == 0 || v.Reasons[0] != c.reason {
			t.Errorf("%s: %s %q, want %s %q first", c.name, v.Status, v.Reasons, c.want, c.reason)
		}
	}
}

func TestChecksSayWhenTheyAreWeak(t *testing.T) {
	p99 := []Threshold{{Metric: E2E, Quantile: 0.99, Latency: 2 * time.Second}}
	if d := Judge(Input{Overall: group(658, 0, 0), Thresholds: p99}).Checks[0].Doubt; !strings.Contains(d, "from 658 samples; p99 wants about 659") {
		t.Errorf("p99 of 658 samples: doubt %q", d)
	}
	if d := Judge(Input{Overall: group(659, 0, 0), Thresholds: p99}).Checks[0].Doubt; d != "" {
		t.Errorf("p99 of 659 samples: doubt %q, want none", d)
	}
}

func TestPromisesWithoutDataAreNotKept(t *testing.T) {
	for _, m := range []Threshold{{Metric: ErrorRate, Ratio: 1}, {Metric: Availability}, {Metric: ITL, Latency: time.Hour}} {
		if c := Judge(Input{Overall: &stats.Group{}, Thresholds: []Threshold{m}}).Checks[0]; c.Passed {
			t.Errorf("%s passed without a single request", c.Name)
		}
	}
}

// TestOnlyStreamsCanBeLateWithTheirFirstToken: failures of requests that asked
// for no stream say nothing about TTFT.
func TestOnlyStreamsCanBeLateWithTheirFirstToken(t *testing.T) {
	all, streams := group(900, 0, 100), group(500, 0, 5)
	all.Latency.TTFT.RecordN(10*time.Millisecond, 500)
	promise := []Threshold{{Metric: TTFT, Quantile: 0.95, Latency: time.Second}}
	if c := Judge(Input{Overall: all, Streams: streams, Thresholds: promise}).Checks[0]; !c.Passed {
		t.Errorf("5 of 505 streams failed: %+v", c)
	}
	if c := Judge(Input{Overall: all, Streams: group(500, 0, 50), Thresholds: promise}).Checks[0]; c.Passed {
		t.Errorf("50 of 550 streams failed: %+v", c)
	}
}

func TestABrokenRunJudgesNothingItDidNotMeasure(t *testing.T) {
	v := Judge(Input{Broken: "the target is down", Thresholds: []Threshold{{Metric: E2E, Quantile: 0.5, Latency: time.Second}}})
	if v.Status != Broken || len(v.Checks) != 0 || len(v.Reasons) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestDroppedArrivalsAreSaid(t *testing.T) {
	g := &stats.Group{}
	g.All.Requests, g.All.Succeeded = 90, 90
	g.Measured = g.All
	v := Judge(Input{Overall: g, Arrivals: 100, Dropped: 10})
	if v.Status != Passed || len(v.Reasons) != 2 || v.Reasons[1] != "under less load than was asked for: 10 of 100 arrivals (10.00%) could not start" {
		t.Errorf("%+v", v)
	}
}

// What was lost weakens a verdict that was made without it.
func TestMissingNumbersAreSaid(t *testing.T) {
	g := &stats.Group{}
	g.All.Requests, g.All.Succeeded = 90, 90
	g.Measured = g.All
	v := Judge(Input{Overall: g, Missing: []string{"attempt 0 of worker 1 of 2 was lost and replaced"}})
	if v.Status != Passed || len(v.Reasons) != 2 || v.Reasons[1] != "incomplete: attempt 0 of worker 1 of 2 was lost and replaced" {
		t.Errorf("%+v", v)
	}
}

func TestQuantileName(t *testing.T) {
	for q, want := range map[float64]string{0: "mean", 0.5: "p50", 0.9: "p90", 0.95: "p95", 0.999: "p99.9", 0.9999: "p99.99", 1: "p100"} {
		if got := QuantileName(q); got != want {
			t.Errorf("QuantileName(%v) = %s, want %s", q, got, want)
		}
	}
}

func TestAGeneratorThatIsShortOfSomethingIsNamed(t *testing.T) {
	g := &stats.Group{}
	g.All.Requests, g.All.Succeeded, g.Measured.Requests, g.Measured.Succeeded = 1, 1, 1, 1
	v := Judge(Input{Overall: g, Generator: []string{"it had no CPU"}})
	if v.Status != Passed || !v.GeneratorLimited || v.Reasons[len(v.Reasons)-1] != "generator-limited: it had no CPU" {
		t.Errorf("%+v", v)
	}
	if v := Judge(Input{Overall: g}); v.GeneratorLimited {
		t.Errorf("%+v", v)
	}
}
