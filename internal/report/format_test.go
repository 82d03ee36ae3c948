package report

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{latency(0), "0 ms"},
		{latency(17), "17.0 ns"},
		{latency(850 * time.Microsecond), "850 µs"},
		{latency(61_230 * time.Microsecond), "61.2 ms"},
		{latency(999_600 * time.Microsecond), "1.00 s"},
		{latency(9_999 * time.Millisecond), "10.0 s"},
		{latency(1240 * time.Millisecond), "1.24 s"},
		{latency(1234 * time.Second), "1,234 s"},
		{significant(0.0123456), "0.0123"},
		{significant(0.9996), "1.00"},
		{significant(0.0028), "0.00280"},
		{significant(0), "0"},
		{significant(99.96), "100"},
		{significant(16.0), "16.0"},
		{significant(1476.2), "1,476"},
		{money(12_345_678_900), "$12,345.6789"},
		{money(344_649), "$0.3446"},
		{money(1), "<$0.0001"},
		{money(0), "$0.0000"},
		{span(281 * time.Second), "4m 41s"},
		{span(3725 * time.Second), "1h 02m 05s"},
		{span(2 * time.Second), "2 s"},
		{span(1840 * time.Millisecond), "1.84 s"},
		{apart("≤ 800ms"), "≤ 800 ms"},
		{apart("≥ 99.50%"), "≥ 99.50%"},
		{apart("≤ 1m30s"), "≤ 1m30s"},
		{apart("never (failed requests)"), "never (failed requests)"},
		{apart("no data"), "no data"},
		{checkName("availability"), "Availability"},
		{metricName("ttft p95 was 2s"), "TTFT p95 was 2s"},
		{metricName("https://x is down"), "https://x is down"},
	} {
		if got := plain(c.got); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// plain has ordinary spaces.
func plain(s string) string {
	out := []rune(s)
	for i, r := range out {
		if string(r) == space {
			out[i] = ' '
		}
	}
	return string(out)
}

func TestValuesHaveGaps(t *testing.T) {
	got, err := json.Marshal(values{0, 1.23456, math.NaN(), 123456.7, math.Inf(1), 0.000123456})
	if err != nil {
		t.Fatal(err)
	}
	if want := `[0,1.235,null,123457,null,0.0001235]`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, err := json.Marshal(values(nil)); err != nil || string(got) != "[]" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestLimits(t *testing.T) {
	got := limits([]verdict.Check{
		{Name: "ttft p95", Limit: "≤ 800ms"}, {Name: "e2e p95", Limit: "≤ 4s"}, {Name: "error rate", Limit: "≤ 1.00%"}, {Name: "ttft mean", Limit: "≤ 0.5s"},
	}, verdict.TTFT)
	if len(got) != 2 || got[0].Value != 800 || plain(got[0].Label) != "p95 ≤ 800 ms" || got[1].Value != 500 {
		t.Errorf("got %+v", got)
	}
}

func TestSpreadSharesOutEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := new(stats.Histogram)
		base := rapid.Float64Range(2, 10).Draw(t, "decade")
		width := rapid.Float64Range(0, 6).Draw(t, "decades")
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			h.RecordN(time.Duration(math.Pow(10, base+width*rapid.Float64Range(0, 1).Draw(t, "v"))), uint64(rapid.IntRange(1, 50).Draw(t, "times")))
		}
		d := spread("x", h)
		if len(d.Share) == 0 || len(d.Share) > 82 {
			t.Fatalf("%d bins", len(d.Share))
		}
		var sum, median float64
		found := false
		for i, s := range d.Share {
			if math.IsNaN(s) {
				continue
			}
			if s <= 0 {
				t.Fatalf("bin %d has %g%%", i, s)
			}
			sum += s
			if !found && sum >= 50-1e-9 { // shares are floating
				found, median = true, d.Low+float64(i)*d.Step
			}
		}
		if math.Abs(sum-100) > 1e-6 {
			t.Fatalf("the bins add up to %g%%", sum)
		}
		// The bins agree with the histogram about where the middle is.
		if p50 := math.Log10(ms(max(h.Quantile(0.5), leftmost))); p50 < median-d.Step-0.01 || p50 > median+2*d.Step+0.01 {
			t.Fatalf("p50 is at %g, the bins say %g", p50, median)
		}
	})
}

func TestSpreadIsNotPressedAsideByZeros(t *testing.T) {
	h := new(stats.Histogram)
	h.RecordN(0, 3)
	h.RecordN(6*time.Millisecond, 97)
	d := spread("x", h)
	if d.Low != -2 || math.Abs(d.Share[0]-3) > 1e-9 || math.Abs(d.Share[len(d.Share)-1]-97) > 1e-9 {
		t.Errorf("the axis begins at 10^%g ms, with %v", d.Low, d.Share)
	}
	h = new(stats.Histogram)
	h.RecordN(time.Microsecond, 10)
	if d := spread("x", h); d.Low != -2 || len(d.Share) != 1 || d.Share[0] != 100 || d.Marks[0].Value != 0.01 {
		t.Errorf("got %+v", d)
	}
}

func TestDrawableLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tl := &stats.Timeline{Interval: time.Second}
		each := rapid.Uint64Range(0, 60).Draw(t, "requests an interval")
		n := rapid.IntRange(0, 1800).Draw(t, "intervals")
		for i := range n {
			in := &stats.Interval{E2E: new(stats.Histogram), Users: i}
			in.Totals.Requests = each
			in.E2E.RecordN(time.Duration(i+1)*time.Millisecond, each)
			tl.Intervals = append(tl.Intervals, in)
		}
		got := drawable(tl)
		join := int(got.Interval / tl.Interval)
		points := len(got.Intervals)
		if points > maxPoints || points != (n+join-1)/join {
			t.Fatalf("%d points of %s from %d intervals", points, got.Interval, n)
		}
		if points < minPoints && join > 1 {
			t.Fatalf("only %d points left of %d", points, n)
		}
		all := new(stats.Histogram)
		var requests uint64
		for i, in := range got.Intervals {
			e2e, _ := in.Latency()
			all.Merge(e2e)
			requests += in.Totals.Requests
			if last := min((i+1)*join, n) - 1; in.Users != last {
				t.Fatalf("point %d has %d users, want %d", i, in.Users, last)
			}
		}
		if requests != each*uint64(n) || all.Count() != requests {
			t.Fatalf("%d requests and %d latencies of %d are left", requests, all.Count(), each*uint64(n))
		}
	})
}

func TestColumnsOfAPartialInterval(t *testing.T) {
	timeline := func(counts ...uint64) *stats.Timeline {
		tl := stats.NewTimeline()
		for _, n := range counts {
			in := &stats.Interval{}
			in.Totals.Requests, in.Totals.Succeeded = n, n
			tl.Intervals = append(tl.Intervals, in)
		}
		return tl
	}
	// A run of 1.8 s: the second interval lasted 0.8 s.
	if o := columns(timeline(10, 8), 1800*time.Millisecond); math.Abs(o.ok[1]-10) > 1e-9 {
		t.Errorf("8 requests in 0.8 s are %g/s", o.ok[1])
	}
	// Of 1.2 s: 0.2 s say too little.
	if o := columns(timeline(10, 8), 1200*time.Millisecond); !math.IsNaN(o.ok[1]) {
		t.Errorf("8 requests in 0.2 s are %g/s", o.ok[1])
	}
	// Nothing answered is no error rate; nobody looking is no number of users.
	o := columns(timeline(0, 3), 2*time.Second)
	if !math.IsNaN(o.failedOf[0]) || o.failedOf[1] != 0 || !math.IsNaN(o.users[0]) || o.ok[0] != 0 {
		t.Errorf("failed %v, users %v, ok %v", o.failedOf, o.users, o.ok)
	}
}
