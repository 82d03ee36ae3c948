package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// charts is the data that the page's script draws. Times are in seconds since
// the run's start, latencies in milliseconds.
type charts struct {
	Started   int64        `json:"started"`   // Unix milliseconds
	UTCOffset int          `json:"utcOffset"` // seconds east of UTC
	Interval  float64      `json:"interval"`
	Phases    []chartPhase `json:"phases"`
	Time      []timeChart  `json:"time"`
	Dist      []distChart  `json:"dist"`
}

type chartPhase struct {
	Name     string  `json:"name"`
	Start    float64 `json:"start"`
	End      float64 `json:"end"`
	Measured bool    `json:"measured"`
}

type timeChart struct {
	ID     string   `json:"id"`
	Unit   string   `json:"unit"`
	Style  string   `json:"style"` // line, stack or step
	Series []series `json:"series"`
	Limits []mark   `json:"limits,omitempty"`
}

type series struct {
	Label  string `json:"label"`
	Color  string `json:"color"` // a CSS variable
	Values values `json:"values"`
}

type distChart struct {
	ID string `json:"id"`
	// Low is the decimal logarithm of the first bin's lower edge in
	// milliseconds, Step the width of a bin on that axis.
	Low  float64 `json:"low"`
	Step float64 `json:"step"`
	// Share is the percentage of all values in each bin.
	Share  values `json:"share"`
	Marks  []mark `json:"marks"`
	Limits []mark `json:"limits,omitempty"`
}

type mark struct {
	Label string  `json:"label"`
	Value float64 `json:"value"`
}

// values are numbers of a chart; NaN is a gap.
type values []float64

// MarshalJSON implements json.Marshaler: four significant figures, null for a gap.
func (v values) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, 6*len(v)+2), '[')
	for i, f := range v {
		if i > 0 {
			out = append(out, ',')
		}
		switch {
		case math.IsNaN(f) || math.IsInf(f, 0):
			out = append(out, "null"...)
		case f >= 1000:
			out = strconv.AppendFloat(out, math.Round(f), 'f', 0, 64)
		default:
			out = strconv.AppendFloat(out, f, 'g', 4, 64)
		}
	}
	return append(out, ']'), nil
}

// peak is the largest value and the interval it stands in; NaN if all are gaps.
func (v values) peak() (best float64, at int) {
	best = math.NaN()
	for i, f := range v {
		if !math.IsNaN(f) && (math.IsNaN(best) || f > best) {
			best, at = f, i
		}
	}
	return best, at
}

func (v values) gaps() int {
	n := 0
	for _, f := range v {
		if math.IsNaN(f) {
			n++
		}
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// over is the timeline as columns.
type over struct {
	interval             time.Duration
	e2e, ttft            [3]values // p50, p95, p99
	ok, refused, failed  values    // per second
	cancelled            values
	tokens               values // completion tokens per second
	refusedOf, failedOf  values // percent of the answered
	users                values
	anyRefused, anyOther bool
	anyCancelled         bool
}

var percentiles = [3]float64{0.50, 0.95, 0.99}

// The charts aim at points that stand for enough requests to have percentiles,
// but not so few points that nothing is left to see.
const (
	minPerPoint = 20
	minPoints   = 40
	maxPoints   = 600
)

// drawable joins intervals until a point is worth drawing. Histograms are
// merged before a percentile is taken, so that nothing is averaged.
func drawable(t *stats.Timeline) *stats.Timeline {
	n := len(t.Intervals)
	var requests uint64
	for _, in := range t.Intervals {
		requests += in.Totals.Requests
	}
	join := 1
	for _, k := range []int{2, 5, 10, 15, 30, 60} {
		points := (n + join - 1) / join
		enough := requests >= uint64(points)*minPerPoint
		if points <= maxPoints && (enough || (n+k-1)/k < minPoints) {
			break
		}
		join = k
	}
	if join == 1 {
		return t
	}
	out := &stats.Timeline{Interval: t.Interval * time.Duration(join)}
	for i := 0; i < n; i += join {
		point := &stats.Interval{E2E: new(stats.Histogram), TTFT: new(stats.Histogram)}
		for _, in := range t.Intervals[i:min(i+join, n)] {
			e2e, ttft := in.Latency()
			point.E2E.Merge(e2e)
			point.TTFT.Merge(ttft)
			point.Totals.Merge(in.Totals)
			point.Users = max(point.Users, in.Users)
			if in.Phase != "" {
				point.Phase = in.Phase
			}
		}
		out.Intervals = append(out.Intervals, point)
	}
	return out
}

// columns reads the timeline. A latency is a gap where nothing succeeded, a
// share where nothing was answered, the users where nobody looked. A rate is
// a count over the interval's length; of the last interval only as much
// counts as the run lasted, and less than half is left out.
func columns(t *stats.Timeline, run time.Duration) over {
	n := len(t.Intervals)
	o := over{interval: t.Interval}
	all := []*values{&o.ok, &o.refused, &o.failed, &o.cancelled, &o.tokens, &o.refusedOf, &o.failedOf, &o.users}
	for i := range percentiles {
		all = append(all, &o.e2e[i], &o.ttft[i])
	}
	for _, v := range all {
		*v = make(values, n)
	}
	for i, in := range t.Intervals {
		e2e, ttft := in.Latency()
		for k, q := range percentiles {
			o.e2e[k][i], o.ttft[k][i] = quantile(e2e, q), quantile(ttft, q)
		}
		length := t.Interval
		if rest := run - time.Duration(i)*t.Interval; i == n-1 && rest > 0 && rest < length {
			length = rest
		}
		seconds := length.Seconds()
		if length < t.Interval/2 && n > 1 {
			seconds = math.NaN()
		}
		c := in.Totals
		o.ok[i] = float64(c.Succeeded) / seconds
		o.refused[i] = float64(c.Refused) / seconds
		o.failed[i] = float64(c.Failed) / seconds
		o.cancelled[i] = float64(c.Cancelled) / seconds
		o.tokens[i] = float64(c.CompletionTokens) / seconds
		o.anyRefused = o.anyRefused || c.Refused > 0
		o.anyOther = o.anyOther || c.Failed > 0
		o.anyCancelled = o.anyCancelled || c.Cancelled > 0
		o.refusedOf[i], o.failedOf[i] = math.NaN(), math.NaN()
		if a := float64(c.Answered()); a > 0 {
			o.refusedOf[i], o.failedOf[i] = 100*float64(c.Refused)/a, 100*float64(c.Failed)/a
		}
		o.users[i] = float64(in.Users)
		if in.Users == 0 && in.Phase == "" {
			o.users[i] = math.NaN()
		}
	}
	return o
}

func quantile(h *stats.Histogram, q float64) float64 {
	if h.Count() == 0 {
		return math.NaN()
	}
	return ms(h.Quantile(q))
}

// limits finds the promises about a metric among the checks. A check carries
// its limit in words, the same that all reports print; one that is not a
// duration is no line in a chart.
func limits(checks []verdict.Check, metric verdict.Metric) []mark {
	var out []mark
	for _, c := range checks {
		name, which, _ := strings.Cut(c.Name, " ")
		d, err := time.ParseDuration(strings.TrimPrefix(c.Limit, "≤ "))
		if name != string(metric) || err != nil {
			continue
		}
		out = append(out, mark{Label: which + " " + apart(c.Limit), Value: ms(d)})
	}
	return out
}

// leftmost is where a logarithmic axis begins at the earliest. Chunks that are
// read together are 0 apart, and zero is infinitely far to the left: a few of
// them would press all that matters against the right edge.
const leftmost = 10 * time.Microsecond

// spread bins a histogram on a logarithmic axis. The bins get finer as the
// range gets narrower and the values more; what is shorter than leftmost is in
// the first. A bucket of the histogram that lies across an edge is shared out,
// so that the two grids do not beat against each other.
func spread(id string, h *stats.Histogram) distChart {
	log := func(d time.Duration) float64 { return math.Log10(ms(max(d, leftmost))) }
	low, high := log(h.Min()), log(h.Max())
	bins := min(max(2*math.Sqrt(float64(h.Count())), 12), 80)
	step := 1.0 / 96
	for _, perDecade := range []float64{96, 48, 24, 16, 12, 8, 4} {
		step = 1 / perDecade
		if high-low <= bins*step {
			break
		}
	}
	first := math.Floor(low / step)
	d := distChart{ID: id, Low: first * step, Step: step, Share: make(values, int(math.Floor(high/step)-first)+1)}
	h.Each(func(lo, hi time.Duration, n uint64) {
		// The histogram knows the extremes exactly: no value lies outside.
		a, b := log(max(lo, h.Min())), log(min(hi+1, h.Max()+1))
		share := 100 * float64(n) / float64(h.Count())
		for i := int((a - d.Low) / step); i < len(d.Share); i++ {
			edge := d.Low + float64(i+1)*step
			if i == len(d.Share)-1 || b <= edge {
				d.Share[i] += share
				return
			}
			part := share * (edge - a) / (b - a)
			d.Share[i] += part
			share -= part
			a = edge
		}
	})
	for i, s := range d.Share {
		if s == 0 {
			d.Share[i] = math.NaN() // no bar
		}
	}
	for _, q := range percentiles {
		if v, known := h.Known(q); known {
			d.Marks = append(d.Marks, mark{Label: verdict.QuantileName(q) + " " + latency(v), Value: ms(max(v, leftmost))})
		}
	}
	return d
}

// figure is a chart's frame: its heading, and in words what it shows.
type figure struct {
	ID, Title, Unit string
	Alt             string
	Log             bool   // offers a logarithmic axis
	Empty           string // why there is no chart; empty if there is one
}

// addTime fills the charts over time.
func (p *page) addTime(b *export.Bundle, t *stats.Timeline, all *stats.Group) {
	_, offset := b.Run.Started.Zone()
	p.Charts = charts{
		Started: b.Run.Started.UnixMilli(), UTCOffset: offset, Interval: t.Interval.Seconds(),
		Phases: []chartPhase{}, Time: []timeChart{}, Dist: []distChart{},
	}
	for _, ph := range b.Phases {
		p.Charts.Phases = append(p.Charts.Phases, chartPhase{ph.Name, ph.Start.Seconds(), ph.End.Seconds(), ph.Measured})
	}
	o := columns(t, b.Run.Duration)
	at := func(i int) string { return human.Clock(time.Duration(i) * o.interval) }
	add := func(f figure, c timeChart, draw bool) {
		if draw {
			f.Empty = ""
			c.ID = f.ID
			p.Charts.Time = append(p.Charts.Time, c)
		}
		p.Time = append(p.Time, f)
	}
	requests := all.All.Requests > 0

	latencyChart := func(id, title string, metric verdict.Metric, v [3]values, empty string) {
		top, i := v[2].peak()
		f := figure{ID: id, Title: title, Unit: "p50, p95, p99 of each interval", Log: true, Empty: empty}
		if !math.IsNaN(top) {
			f.Alt = fmt.Sprintf("Highest p99 %s at %s.", latency(time.Duration(top*1e6)), at(i))
			if n := v[2].gaps(); n > 0 {
				f.Alt += fmt.Sprintf(" Gaps: %s in which nothing succeeded.", human.Plural(n, "interval"))
			}
		}
		add(f, timeChart{Unit: "ms", Style: "line", Limits: limits(b.Verdict.Checks, metric), Series: []series{
			{"p50", "p50", v[0]}, {"p95", "p95", v[1]}, {"p99", "p99", v[2]},
		}}, !math.IsNaN(top))
	}
	latencyChart("e2e", "End-to-end latency", verdict.E2E, o.e2e, noE2E(all.All))
	latencyChart("ttft", "Time to first token", verdict.TTFT, o.ttft, noTTFT(all.All))

	rates := timeChart{Unit: "req/s", Style: "stack", Series: []series{{"succeeded", "ok", o.ok}}}
	shares := timeChart{Unit: "%", Style: "stack"}
	if o.anyRefused {
		rates.Series = append(rates.Series, series{"refused", "refused", o.refused})
		shares.Series = append(shares.Series, series{"refused", "refused", o.refusedOf})
	}
	if o.anyOther {
		rates.Series = append(rates.Series, series{"failed", "failed", o.failed})
		shares.Series = append(shares.Series, series{"failed", "failed", o.failedOf})
	}
	if o.anyCancelled {
		rates.Series = append(rates.Series, series{"cancelled", "cancelled", o.cancelled})
	}
	f := figure{ID: "requests", Title: "Requests", Unit: "per second, by outcome", Empty: "No request was sent."}
	if top, i := sum(o.ok, o.refused, o.failed, o.cancelled).peak(); !math.IsNaN(top) {
		f.Alt = fmt.Sprintf("Peak %s req/s at %s.", significant(top), at(i))
	}
	add(f, rates, requests)

	f = figure{ID: "tokens", Title: "Output tokens", Unit: "per second, counted when an answer ends", Empty: noTokens(all.All)}
	if top, i := o.tokens.peak(); !math.IsNaN(top) {
		f.Alt = fmt.Sprintf("Peak %s tok/s at %s.", significant(top), at(i))
	}
	add(f, timeChart{Unit: "tok/s", Style: "stack", Series: []series{{"tokens", "tokens", o.tokens}}}, f.Empty == "")

	f = figure{ID: "active", Title: "Active users", Unit: "highest in each interval", Empty: "Nobody counted the users."}
	users, user := "users", "user"
	if export.SumArrivals(b.Phases) != nil {
		f.Title, f.Empty, users, user = "Requests under way", "Nobody counted them.", "requests", "request"
	}
	top, i := o.users.peak()
	if !math.IsNaN(top) {
		f.Alt = fmt.Sprintf("Up to %s, first at %s.", human.Plural(int(top), user), at(i))
		for _, ph := range b.Phases {
			if !ph.Measured {
				f.Alt += " Hatched phases are not measured."
				break
			}
		}
	}
	add(f, timeChart{Unit: users, Style: "step", Series: []series{{"users", "active", o.users}}}, !math.IsNaN(top))

	f = figure{ID: "errors-over-time", Title: "Errors", Unit: "share of answered requests", Empty: "No request failed or was refused."}
	if !requests {
		f.Empty = "No request was sent."
	}
	if top, i := sum(o.refusedOf, o.failedOf).peak(); !math.IsNaN(top) {
		f.Alt = fmt.Sprintf("Worst %s at %s.", human.Percent(top/100), at(i))
	}
	add(f, shares, len(shares.Series) > 0)
}

// sum adds columns; a gap in one is a gap in the sum.
func sum(columns ...values) values {
	out := make(values, len(columns[0]))
	for _, c := range columns {
		for i, f := range c {
			out[i] += f
		}
	}
	return out
}

// addSpread fills the distributions.
func (p *page) addSpread(checks []verdict.Check, all *stats.Group) {
	for _, d := range []struct {
		id, title, unit, empty string
		metric                 verdict.Metric
		h                      *stats.Histogram
	}{
		{"e2e-spread", "End-to-end latency", "share of answers", noE2E(all.Measured), verdict.E2E, &all.Latency.E2E},
		{"ttft-spread", "Time to first token", "share of streams", noTTFT(all.Measured), verdict.TTFT, &all.Latency.TTFT},
		{"itl-spread", "Inter-token latency", "share of gaps", noITL(all.Measured), verdict.ITL, &all.Latency.ITL},
	} {
		f := figure{ID: d.id, Title: d.title, Unit: d.unit, Empty: d.empty}
		if h := d.h; h.Count() > 0 {
			f.Empty = ""
			f.Alt = fmt.Sprintf("%s from %s to %s; p50 %s, p95 %s, p99 %s.", human.Count(h.Count()), latency(h.Min()), latency(h.Max()),
				marked(h, 0.5, false), marked(h, 0.95, false), marked(h, 0.99, false))
			if h.Min() < leftmost {
				f.Alt += " What is shorter than " + latency(leftmost) + " is in the first bar."
			}
			c := spread(d.id, h)
			c.Limits = limits(checks, d.metric)
			p.HasLimits = p.HasLimits || len(c.Limits) > 0
			p.Charts.Dist = append(p.Charts.Dist, c)
		}
		p.Dist = append(p.Dist, f)
	}
}

// The words for what was not measured.

func noE2E(t stats.Totals) string {
	if t.Requests == 0 {
		return "No request was measured, so there is no latency."
	}
	return "No request succeeded, and only successes have a latency."
}

func noTTFT(t stats.Totals) string {
	switch {
	case t.Requests == 0:
		return "No request was measured, so there is no TTFT."
	case t.Streams == 0:
		return "No streams were requested, so there is no TTFT."
	default:
		return "No stream succeeded with content, so there is no TTFT."
	}
}

func noITL(t stats.Totals) string {
	switch {
	case t.Requests == 0:
		return "No request was measured, so there is no inter-token latency."
	case t.Streams == 0:
		return "No streams were requested, so there is no inter-token latency."
	default:
		return "No stream delivered a second chunk, so there is no inter-token latency."
	}
}

func noTokens(t stats.Totals) string {
	switch {
	case t.Requests == 0:
		return "No request was sent."
	case t.Succeeded == 0:
		return "No request succeeded."
	case t.UsageUnknown == t.Succeeded:
		return "The platform reported no usage, so tokens are unknown."
	}
	return ""
}
