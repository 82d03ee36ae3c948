package live

import (
	"math"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// trail remembers the latest snapshots. It is pure: the time is told.
type trail struct {
	// window is how far back rates and percentiles look.
	window time.Duration
	// points are in order of time. The first is the one that the window is
	// measured from: the latest that is at least a window old, if any is.
	points []point

	// One value a second, the latest last, for sparklines.
	requests, ttft, e2e []float64 // per second; p95 in ns, -1 where unknown
	second              point     // the last that was added to them
}

type point struct {
	at time.Duration
	s  Snapshot
}

// history is how many seconds a sparkline can show.
const history = 200

// add notes the snapshot taken at a moment, on any clock that goes forward.
func (t *trail) add(at time.Duration, s Snapshot) {
	if s.Latency == nil {
		s.Latency = &stats.Latencies{}
	}
	p := point{at, s}
	if s.Stage == Running && t.now().Stage != Running {
		t.points = nil // what came before was no load: not in its rates
	}
	if len(t.points) == 0 {
		t.second = p
	}
	t.points = append(t.points, p)
	for len(t.points) > 2 && t.points[1].at <= at-t.window {
		t.points = t.points[1:]
	}
	// A timer may fire a little early: half a poll is near enough to a second.
	if span := at - t.second.at; span >= time.Second-poll/2 {
		from := t.second.s
		t.requests = keep(t.requests, float64(s.Totals.Requests-from.Totals.Requests)/span.Seconds())
		t.ttft = keep(t.ttft, p95(since(&s.Latency.TTFT, &from.Latency.TTFT)))
		t.e2e = keep(t.e2e, p95(since(&s.Latency.E2E, &from.Latency.E2E)))
		t.second = p
	}
}

func keep(values []float64, v float64) []float64 {
	values = append(values, v)
	return values[max(0, len(values)-history):]
}

func p95(h *stats.Histogram) float64 {
	if h.Count() == 0 {
		return -1
	}
	return float64(h.Quantile(0.95))
}

// now is the latest snapshot, empty if there is none.
func (t *trail) now() Snapshot {
	if len(t.points) == 0 {
		return Snapshot{Latency: &stats.Latencies{}}
	}
	return t.points[len(t.points)-1].s
}

// recent is what happened in the latest window.
type recent struct {
	requests, tokens float64 // per second; NaN if unknown
	errors           float64 // ratio of the answered; NaN if there are none
	ttft, e2e        *stats.Histogram
}

func (t *trail) recent() recent {
	r := recent{requests: math.NaN(), tokens: math.NaN(), errors: math.NaN(), ttft: &stats.Histogram{}, e2e: &stats.Histogram{}}
	if len(t.points) == 0 {
		return r
	}
	first, last := t.points[0], t.points[len(t.points)-1]
	span := (last.at - first.at).Seconds()
	if span < 1 {
		return r // too short to speak of a rate
	}
	a, b := first.s.Totals, last.s.Totals
	r.requests = float64(b.Requests-a.Requests) / span
	// No rate of tokens where every answer came without usage.
	if done := b.Succeeded - a.Succeeded; done == 0 || b.UsageUnknown-a.UsageUnknown < done {
		r.tokens = float64(b.CompletionTokens-a.CompletionTokens) / span
	}
	if answered := b.Answered() - a.Answered(); answered > 0 {
		r.errors = float64(b.Refused+b.Failed-a.Refused-a.Failed) / float64(answered)
	}
	r.ttft = since(&last.s.Latency.TTFT, &first.s.Latency.TTFT)
	r.e2e = since(&last.s.Latency.E2E, &first.s.Latency.E2E)
	return r
}

// since is what was recorded in now but not yet in then, an earlier state of
// the same histogram. Buckets are subtracted, so that its percentiles are as
// exact as theirs.
func since(now, then *stats.Histogram) *stats.Histogram {
	out := &stats.Histogram{}
	if now.Count() <= then.Count() {
		return out
	}
	before := map[time.Duration]uint64{}
	then.Each(func(lo, _ time.Duration, n uint64) { before[lo] = n })
	now.Each(func(lo, hi time.Duration, n uint64) {
		if was := before[lo]; n > was {
			out.RecordN(lo+(hi-lo)/2, n-was)
		}
	})
	return out
}
