// Package verdict decides whether a run kept its promises.
//
// It is pure: the merged summary and the scenario's thresholds in, a verdict
// out. Percentiles are taken from merged histograms, and a failed request
// counts as infinitely late in a percentile that judges an objective.
package verdict

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Status is the verdict in one word.
type Status string

// The verdicts.
const (
	Passed      Status = "passed"      // every threshold held
	Failed      Status = "failed"      // a threshold was crossed, or nothing succeeded
	Interrupted Status = "interrupted" // stopped by the user before the end
	Broken      Status = "broken"      // the run could not be carried out
)

// Metric is what a threshold is about.
type Metric string

// The metrics a threshold can judge.
const (
	TTFT         Metric = "ttft"
	ITL          Metric = "itl"
	TPOT         Metric = "tpot"
	E2E          Metric = "e2e"
	ErrorRate    Metric = "errorRate"
	Availability Metric = "availability"
)

// Threshold is one promise: a percentile of a latency below a duration, an
// error rate below a ratio, an availability above one.
type Threshold struct {
	Metric   Metric
	Quantile float64       // latencies: 0 < q ≤ 1; 0 is the mean
	Latency  time.Duration // latencies: at most this
	Ratio    float64       // errorRate: at most; availability: at least
}

// Check is a threshold held against what was observed.
type Check struct {
	Name     string `json:"name"`     // "ttft p95"
	Limit    string `json:"limit"`    // "≤ 800ms"
	Observed string `json:"observed"` // "612ms", or "no data"
	Passed   bool   `json:"passed"`
	// Samples is the number of requests, or gaps, it was computed from.
	Samples uint64 `json:"samples"`
	// Doubt says why the observed value is weak evidence; empty if it is not.
	Doubt string `json:"doubt,omitempty"`
}

// Verdict is the answer, and why.
type Verdict struct {
	Status  Status   `json:"status"`
	Reasons []string `json:"reasons"` // first the one that decided
	Checks  []Check  `json:"checks"`
	// GeneratorLimited says that this tool itself is a notable part of the
	// numbers; the reasons say of which, and for want of what.
	GeneratorLimited bool `json:"generatorLimited,omitempty"`
}

// Input is what a verdict is made from.
type Input struct {
	Overall *stats.Group
	// Streams is the streamed part of Overall, of which alone a TTFT could have
	// come; nil if that is all of it.
	Streams    *stats.Group
	Thresholds []Threshold
	// DryRun says that no load was meant, so that there is none to judge.
	DryRun bool
	// Stopped is why the run ended early by a limit; empty if it did not.
	Stopped string
	// Interrupted is true if the user ended the run.
	Interrupted bool
	// Broken is why the run could not be carried out; empty if it could.
	Broken string
	// Leaks says where tenants were found not to be kept apart, or those out whose
	// keys were withdrawn, which weighs more than any threshold.
	Leaks []string
	// Missing says what is in no number since whoever measured it was lost, and
	// replaced. It weakens a verdict and does not make it.
	Missing []string
	// Arrivals is how many requests were due under open load, and Dropped how
	// many of these were never sent. They weaken a verdict and do not make it.
	Arrivals, Dropped uint64
	// Generator says what this tool was short of, so that it shows in the
	// numbers. It weakens a verdict and does not make it: the platform was at
	// least as good as the numbers.
	Generator []string
}

// Judge returns the verdict. The order of gravity is broken, interrupted,
// failed, passed; the reasons name everything that spoke against the run.
func Judge(in Input) Verdict {
	v := Verdict{Status: Passed}
	overall := in.Overall
	if overall == nil {
		overall = &stats.Group{}
	}
	worsen := func(s Status, format string, args ...any) {
		rank := []Status{Passed, Failed, Interrupted, Broken}
		if slices.Index(rank, s) > slices.Index(rank, v.Status) {
			v.Status = s
			v.Reasons = append([]string{fmt.Sprintf(format, args...)}, v.Reasons...)
			return
		}
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	streams := in.Streams
	if streams == nil {
		streams = overall
	}
	thresholds := in.Thresholds
	if in.DryRun || in.Broken != "" && overall.Measured.Requests == 0 { // nothing to judge
		thresholds = nil
	}
	for _, leak := range in.Leaks {
		worsen(Failed, "%s", leak)
	}
	for _, t := range thresholds {
		c := check(t, overall, streams)
		v.Checks = append(v.Checks, c)
		switch {
		case c.Passed:
		case c.Observed == noData:
			worsen(Failed, "%s, promised %s: %s", c.Name, c.Limit, c.Doubt)
		default:
			worsen(Failed, "%s was %s, promised %s", c.Name, c.Observed, c.Limit)
		}
	}
	if in.Stopped != "" {
		worsen(Failed, "stopped early: %s", in.Stopped)
	}
	switch {
	case overall.All.Requests == 0 && in.Broken == "":
		worsen(Failed, "not a single request was sent")
	case overall.All.Requests > 0 && overall.All.Succeeded == 0:
		worsen(Failed, "none of %d requests succeeded", overall.All.Requests)
	case in.DryRun || in.Broken != "":
	case overall.Measured.Requests == 0:
		worsen(Failed, "not a single request was measured: all were pre-flight, warm-up or cool-down")
	case overall.Measured.Succeeded == 0:
		worsen(Failed, "none of %d measured requests succeeded", overall.Measured.Requests)
	}
	if in.Interrupted {
		worsen(Interrupted, "interrupted before the end")
	}
	if in.Broken != "" {
		worsen(Broken, "%s", in.Broken)
	}
	if v.Status == Passed {
		switch n := len(v.Checks); {
		case in.DryRun:
			v.Reasons = append(v.Reasons, "a dry run: no load was made and no threshold judged")
		case n == 1:
			v.Reasons = append(v.Reasons, "the one threshold held")
		case n > 0:
			v.Reasons = append(v.Reasons, fmt.Sprintf("all %d thresholds held", n))
		default:
			v.Reasons = append(v.Reasons, fmt.Sprintf("the scenario sets no thresholds; %d of %d requests succeeded",
				overall.Measured.Succeeded, overall.Measured.Answered()))
		}
	}
	for _, missing := range in.Missing {
		v.Reasons = append(v.Reasons, "incomplete: "+missing)
	}
	v.GeneratorLimited = len(in.Generator) > 0
	for _, short := range in.Generator {
		v.Reasons = append(v.Reasons, "generator-limited: "+short)
	}
	if in.Dropped > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("under less load than was asked for: %d of %d arrivals (%s) could not start",
			in.Dropped, in.Arrivals, percent(float64(in.Dropped)/float64(in.Arrivals))))
	}
	return v
}

func check(t Threshold, g, streams *stats.Group) Check {
	m := g.Measured
	switch t.Metric {
	case ErrorRate:
		return Check{
			Name: "error rate", Limit: "≤ " + percent(t.Ratio), Observed: ratio(m, m.ErrorRate()),
			Passed: m.Answered() > 0 && m.ErrorRate() <= t.Ratio, Samples: m.Answered(), Doubt: none(m.Answered()),
		}
	case Availability:
		up := 1 - m.FailureRate()
		return Check{
			Name: "availability", Limit: "≥ " + percent(t.Ratio), Observed: ratio(m, up),
			Passed: m.Answered() > 0 && up >= t.Ratio, Samples: m.Answered(), Doubt: none(m.Answered()),
		}
	}
	h := map[Metric]*stats.Histogram{
		TTFT: &g.Latency.TTFT, ITL: &g.Latency.ITL, TPOT: &g.Latency.TPOT, E2E: &g.Latency.E2E,
	}[t.Metric]
	late := uint64(0) // a request that failed has no tokens to be late between
	switch t.Metric {
	case E2E:
		late = m.Refused + m.Failed
	case TTFT:
		late = streams.Measured.Refused + streams.Measured.Failed
	}
	c := Check{Name: string(t.Metric) + " " + QuantileName(t.Quantile), Limit: "≤ " + t.Latency.String(), Samples: h.Count()}
	switch {
	case h.Count()+late == 0:
		c.Observed, c.Doubt = noData, none(0)
		if t.Metric != E2E && m.Answered() > 0 {
			c.Doubt = "no streamed answers to judge by"
		}
	case h.Count() == 0:
		c.Observed = never
	case t.Quantile == 0:
		c.Observed, c.Passed = Round(h.Mean()).String(), h.Mean() <= t.Latency
	default:
		value, finite := h.QuantileWithLate(t.Quantile, late)
		c.Observed, c.Passed = Round(value).String(), finite && value <= t.Latency
		if !finite {
			c.Observed = never
		}
		c.Doubt = tooFew(t.Quantile, h.Count()+late)
	}
	return c
}

// never is observed where a percentile lies among the requests that failed.
const never = "never (failed requests)"

// noData is observed where there is nothing to judge by: unknown is not zero.
const noData = "no data"

// ratio writes a share of the answered requests.
func ratio(m stats.Totals, r float64) string {
	if m.Answered() == 0 {
		return noData
	}
	return percent(r)
}

func none(n uint64) string {
	if n == 0 {
		return "no requests to judge by"
	}
	return ""
}

// SamplesWanted is how many samples make a quantile firm: a 95% confidence
// interval of ±1 percentage point around p99 wants about 660 (MLPerf LoadGen's
// sizing), scaled to other quantiles: n = z²·q·(1−q)/margin², margin = (1−q)·0.76.
// It is 0 for q = 1, the maximum, which no number of samples makes firm.
func SamplesWanted(q float64) uint64 {
	const z, part = 1.96, 0.76
	margin := (1 - q) * part
	if margin <= 0 {
		return 0
	}
	return uint64(math.Ceil(z * z * q * (1 - q) / (margin * margin)))
}

func tooFew(q float64, n uint64) string {
	want := SamplesWanted(q)
	if n >= want {
		return ""
	}
	return fmt.Sprintf("from %d samples; %s wants about %d", n, QuantileName(q), want)
}

// QuantileName writes 0.95 as p95, 0.999 as p99.9 and 0 as mean.
func QuantileName(q float64) string {
	if q == 0 {
		return "mean"
	}
	return "p" + strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(q*100, 'f', 4, 64), "0"), ".")
}

// Round keeps three significant figures of a duration, for people.
func Round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func percent(r float64) string {
	return strconv.FormatFloat(r*100, 'f', 2, 64) + "%"
}
