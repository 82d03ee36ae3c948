package live

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("differs from %s; look, then run with -update:\n%s", file, got)
	}
}

// unknownRun has no total, no streams, no usage and no prices.
func unknownRun() *trail {
	t := &trail{window: recently}
	c := stats.NewCollector(stats.Objective{})
	for at := time.Duration(0); at <= 20*time.Second; at += poll {
		c.Add(&record.Record{Org: "a", Measured: true, Final: true, Scheduled: at, Done: at + 700*time.Millisecond})
		s := Snapshot{Elapsed: at, Stage: Running, Users: 1}
		g := c.Overall()
		s.Totals, s.Latency = g.All, &g.Latency
		t.add(at, s)
	}
	return t
}

func creating() *trail {
	t := &trail{window: recently}
	t.add(0, Snapshot{Total: 5 * time.Minute, Stage: "creating tenants 120/1000"})
	return t
}

func open() *trail {
	t := unknownRun()
	s := t.now()
	s.Users, s.Open = 1234, &Open{Rate: 99.5, Arrivals: 2000, Dropped: 17}
	t.add(21*time.Second, s)
	return t
}

func TestOpenLoad(t *testing.T) {
	frame := ansi.Strip(page{width: 80, height: 30}.draw(open()))
	for _, want := range []string{"in flight 1,234  at 99.5 arrivals/s", "17 of 2,000 arrivals dropped"} {
		if !strings.Contains(frame, want) {
			t.Errorf("the frame does not say %q:\n%s", want, frame)
		}
	}
	if l := line(open()); !strings.Contains(l, " in_flight=1234 arrivals/s=99.5 dropped=17 ") {
		t.Errorf("the line says nothing of open load: %s", l)
	}
}

func TestFrameGolden(t *testing.T) {
	late := sampleTrail(280 * time.Second)
	for _, width := range []int{40, 80, 120} {
		golden(t, fmt.Sprintf("frame-%d", width), page{title: "tenants-chat", keys: true, width: width, height: 30}.draw(late))
	}
	golden(t, "frame-color", page{Ink: human.Ink{Color: true}, title: "tenants-chat", keys: true, interrupts: 1, width: 80, height: 30}.draw(late))
	golden(t, "frame-warm-up", page{title: "tenants-chat", width: 80, height: 30}.draw(sampleTrail(30*time.Second)))
	golden(t, "frame-unknown", page{title: "no-stream", width: 80, height: 30}.draw(unknownRun()))
	golden(t, "frame-creating", page{title: "tenants-chat", keys: true, width: 80, height: 30}.draw(creating()))
	golden(t, "frame-low", page{title: "tenants-chat", keys: true, interrupts: 1, width: 80, height: 8}.draw(late))
}

func TestFrameFits(t *testing.T) {
	trails := map[string]*trail{"late": sampleTrail(280 * time.Second), "unknown": unknownRun(), "creating": creating(), "empty": {}}
	for name, tr := range trails {
		for width := 20; width <= 220; width++ {
			for _, height := range []int{1, 2, 5, 12, 24} {
				p := page{Ink: human.Ink{Color: true}, title: "a scenario with a rather long name", keys: true, interrupts: height % 2, width: width, height: height}
				painted := p.draw(tr)
				lines := strings.Split(painted, "\n")
				if len(lines) > max(1, height-1) {
					t.Fatalf("%s: %d lines on a terminal of %d", name, len(lines), height)
				}
				for _, l := range lines {
					if ansi.StringWidth(l) > width {
						t.Fatalf("%s: a line of %d columns on %d: %q", name, ansi.StringWidth(l), width, l)
					}
				}
				p.Color = false
				if plain := p.draw(tr); strings.Contains(plain, "\x1b") {
					t.Fatalf("%s: escape sequences without colour", name)
				} else if width >= 40 && plain != trimmed(ansi.Strip(painted)) {
					t.Fatalf("%s at %d: colour changes the text:\n%s\n%s", name, width, plain, ansi.Strip(painted))
				}
			}
		}
	}
}

func trimmed(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func TestRecentIsOfTheWindowOnly(t *testing.T) {
	tr := &trail{window: recently}
	c := stats.NewCollector(stats.Objective{})
	add := func(at, latency time.Duration, outcome record.Outcome) {
		for range 50 {
			c.Add(&record.Record{
				Measured: true, Final: true, Scheduled: at, FirstToken: at + latency/2, Done: at + latency, Outcome: outcome,
				UsageKnown: true, CompletionTokens: 3,
			})
		}
		s := Snapshot{Elapsed: at}
		g := c.Overall()
		s.Totals, s.Latency = g.All, &g.Latency
		tr.add(at, s)
	}
	for at := time.Second; at <= 20*time.Second; at += time.Second {
		add(at, 100*time.Millisecond, record.Success)
	}
	for at := 21 * time.Second; at <= 26*time.Second; at += time.Second {
		outcome := record.Success
		if at == 26*time.Second {
			outcome = record.Failed
		}
		add(at, 2*time.Second, outcome)
	}
	r := tr.recent()
	if r.requests != 50 || r.tokens != 150 {
		t.Errorf("rates %v req/s and %v tokens/s, want 50 and 150", r.requests, r.tokens)
	}
	if r.errors != 0.2 {
		t.Errorf("error rate %v, want 0.2", r.errors)
	}
	if n := r.e2e.Count(); n != 200 {
		t.Errorf("%d latencies in the window, want 200", n)
	}
	// All fast answers are older than the window, so that none shows.
	for name, h := range map[string]*stats.Histogram{"e2e": r.e2e, "ttft": r.ttft} {
		want := map[string]float64{"e2e": 2, "ttft": 1}[name]
		if got := h.Quantile(0.01).Seconds(); math.Abs(got-want)/want > 0.01 {
			t.Errorf("recent %s p1 = %vs, want %vs", name, got, want)
		}
	}
	if got := tr.now().Latency.E2E.Quantile(0.5); got > 110*time.Millisecond {
		t.Errorf("whole run p50 = %v, want the old 100ms", got)
	}
}

func TestSinceIsWhatWasAdded(t *testing.T) {
	var then, now, added stats.Histogram
	for i := range 2000 {
		d := time.Duration(i*i) * 977
		now.Record(d)
		if i%3 == 0 {
			then.Record(d)
		} else {
			added.Record(d)
		}
	}
	got := since(&now, &then)
	if got.Count() != added.Count() {
		t.Fatalf("%d values, want %d", got.Count(), added.Count())
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99} {
		if g, w := float64(got.Quantile(q)), float64(added.Quantile(q)); math.Abs(g-w) > 0.01*w {
			t.Errorf("q%v = %v, want %v", q, g, w)
		}
	}
	if n := since(&then, &then).Count(); n != 0 {
		t.Errorf("%d values since the same moment", n)
	}
}

func TestNothingIsKnownBeforeASecondHasPassed(t *testing.T) {
	tr := &trail{window: recently}
	for range 2 {
		if r := tr.recent(); !math.IsNaN(r.requests) || !math.IsNaN(r.tokens) || !math.IsNaN(r.errors) || r.e2e.Count() != 0 {
			t.Errorf("recent = %+v, want nothing known", r)
		}
		tr.add(0, Snapshot{Totals: stats.Totals{Requests: 7, Failed: 7}})
	}
}

// TestRatesAreOfTheLoad: the time and the requests before it are not in them.
func TestRatesAreOfTheLoad(t *testing.T) {
	tr := &trail{window: recently}
	tr.add(0, Snapshot{Stage: "creating tenants"})
	tr.add(2*time.Second, Snapshot{Stage: "checking the target", Totals: stats.Totals{Requests: 6, Failed: 6}})
	tr.add(3*time.Second, Snapshot{Stage: Running, Totals: stats.Totals{Requests: 10, Failed: 6, Succeeded: 4}})
	tr.add(4*time.Second, Snapshot{Stage: Running, Totals: stats.Totals{Requests: 110, Failed: 6, Succeeded: 104}})
	if r := tr.recent(); r.requests != 100 || r.errors != 0 {
		t.Errorf("%v requests a second, %v of them errors; want 100 and none", r.requests, r.errors)
	}
}
