package export

import (
	"fmt"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Generator is the load generator's judgement of itself, and what it saw.
type Generator struct {
	health.Judgement
	Observed *health.Observations `json:"observed"`
}

// Quality is how far the statistics can be trusted.
type Quality struct {
	// Concurrency holds the requests under way against Little's law; nil where
	// nobody counted them.
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	// Steady is of the longest measured phase with a constant load; nil if there
	// is none, or if it was too short to tell.
	Steady *Steady `json:"steady,omitempty"`
	// Doubts are what weakens the numbers, in sentences.
	Doubts []string `json:"doubts,omitempty"`
}

// Concurrency is the mean number of requests under way, seen and computed.
type Concurrency struct {
	// Seen is from looking at random moments, with its standard error.
	Seen  float64 `json:"seen"`
	Error float64 `json:"error"`
	// Implied is L = λW: requests per second times the mean time from sending to
	// the end, of the records.
	Implied float64 `json:"implied"`
	// Agree is false if they differ by more than chance and a tenth.
	Agree bool `json:"agree"`
}

// Steady says whether a phase came to rest.
type Steady struct {
	Phase    string        `json:"phase"`
	Interval time.Duration `json:"intervalNs"` // of a point: the mean end-to-end latency of its successes
	stats.Steadiness
}

// Work is what records add up to, whatever became of the requests.
type Work struct {
	Requests uint64
	Time     time.Duration // from sending to the end, all together
}

// NewQuality judges the statistics of b, whose summary, headline, phases and
// generator are there. work is nil if the records say nothing of the requests
// under way, as when some were harmed on purpose.
func NewQuality(b *Bundle, work *Work) *Quality {
	q := &Quality{}
	q.count(b.Headline)
	if b.Generator != nil && work != nil {
		q.little(b.Generator.Observed, work)
	}
	q.settle(b)
	return q
}

func (q *Quality) doubt(format string, args ...any) {
	q.Doubts = append(q.Doubts, fmt.Sprintf(format, args...))
}

// count says which percentiles are not shown for want of values.
func (q *Quality) count(h Headline) {
	for _, p := range []struct {
		name string
		q    float64
		of   func(*Quantiles) time.Duration
	}{
		{"p50", 0.50, func(v *Quantiles) time.Duration { return v.P50 }},
		{"p95", 0.95, func(v *Quantiles) time.Duration { return v.P95 }},
		{"p99", 0.99, func(v *Quantiles) time.Duration { return v.P99 }},
	} {
		var few []string
		for _, l := range []struct {
			name string
			v    *Quantiles
		}{{"TTFT", h.TTFT}, {"ITL", h.ITL}, {"end-to-end latency", h.E2E}, {"TPOT", h.TPOT}} {
			if l.v != nil && p.of(l.v) == 0 {
				few = append(few, fmt.Sprintf("%s (%s)", l.name, human.Count(l.v.Count)))
			}
		}
		if len(few) > 0 {
			q.doubt("%s is not shown of %s: with fewer than %d values nobody knows it", p.name, strings.Join(few, ", "), stats.Enough(p.q))
		}
	}
}

// little holds the concurrency against Little's law (J. D. C. Little, "A proof
// for the queuing formula L = λW", 1961).
func (q *Quality) little(o *health.Observations, work *Work) {
	if o == nil || o.InFlight == nil || o.Duration <= 0 {
		return
	}
	c := &Concurrency{Seen: o.InFlight.Mean, Error: o.InFlight.Error, Implied: work.Time.Seconds() / o.Duration.Seconds()}
	// A request is under way a little longer than it is timed: it is prepared
	// and put away, for which it may have a millisecond.
	aside := float64(work.Requests) / o.Duration.Seconds() * time.Millisecond.Seconds()
	off := c.Seen - c.Implied
	c.Agree = max(off, -off) <= 0.1*c.Implied+4*c.Error+aside
	q.Concurrency = c
	if !c.Agree {
		q.doubt("%.2f requests were under way on average, and by Little's law (λW) it should have been %.2f: requests or their times are missing from these numbers",
			c.Seen, c.Implied)
	}
}

// settle looks whether latency came to rest.
func (q *Quality) settle(b *Bundle) {
	var longest *Phase
	for i, p := range b.Phases {
		if p.Measured && p.Constant && (longest == nil || p.End-p.Start > longest.End-longest.Start) {
			longest = &b.Phases[i]
		}
	}
	if longest == nil || b.Summary == nil || b.Summary.Timeline == nil || b.Summary.Timeline.Interval <= 0 {
		return
	}
	t := b.Summary.Timeline
	var series []float64
	for i, in := range t.Intervals {
		begin := time.Duration(i) * t.Interval
		if begin < longest.Start || begin+t.Interval > longest.End {
			continue
		}
		if e2e, _ := in.Latency(); e2e.Count() > 0 {
			series = append(series, e2e.Mean().Seconds())
		}
	}
	s, ok := stats.Steady(series)
	if !ok {
		return
	}
	q.Steady = &Steady{Phase: longest.Name, Interval: t.Interval, Steadiness: s}
	if !s.Settled {
		how := "rising"
		if s.Drift < 0 {
			how = "falling"
		}
		q.doubt("the run never settled: under the constant load of phase %s, end-to-end latency was still %s when it ended, by %s (Mann–Kendall p = %.1g); let it last longer, or ask for less: its percentiles are of no steady state",
			longest.Name, how, human.Percent(max(s.Drift, -s.Drift)), s.P)
	}
}
