package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
)

// labelled are the variables that choose among several values, by the label
// that they choose by.
var labelled = []struct{ label, variable string }{{"org_id", "org"}, {"model", "model"}}

// of selects the series of a metric that the dashboard's variables choose,
// and of them those with the further matchers.
func of(name string, more ...string) string {
	matchers := []string{`test_run_id="$run"`, `job="$job"`, `worker_id=~"$worker"`}
	for _, f := range metrics.Families() {
		if f.Name != family(name) {
			continue
		}
		for _, l := range labelled {
			if slices.Contains(f.Labels, l.label) {
				matchers = append(matchers, l.label+`=~"$`+l.variable+`"`)
			}
		}
	}
	return metrics.Prefix + name + "{" + strings.Join(append(matchers, more...), ",") + "}"
}

// family is the name of the metric that a series belongs to.
func family(series string) string {
	for _, f := range metrics.Families() {
		if f.Name == series {
			return series
		}
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		series = strings.TrimSuffix(series, suffix)
	}
	return series
}

// sum adds up what else stands in an expression, for each value of the labels
// in by, which may be empty.
func sum(by, what string) string { return aggregate("sum", by, what) }

func aggregate(how, by, what string) string {
	if by == "" {
		return how + "(" + what + ")"
	}
	return how + " by (" + by + ") (" + what + ")"
}

// rate is how much a counter grows a second.
func rate(by, name string, more ...string) string {
	return sum(by, "rate("+of(name, more...)+"[$__rate_interval])")
}

// total is a counter in the end, or so far.
func total(by, name string, more ...string) string {
	return sum(by, last(name, more...))
}

// last is a metric's last value in the time range: of a run that is over too.
func last(name string, more ...string) string {
	return "last_over_time(" + of(name, more...) + "[$__range])"
}

// fresh is by how much a counter has grown since the point before, exactly.
// A rate does not know that a series which begins at 1 was 0 before.
func fresh(by, name string, more ...string) string {
	now := sum(by, of(name, more...))
	return now + " - (" + sum(by, of(name, more...)+" offset $__interval") + " or " + now + " * 0)"
}

// errorRatio is the share of the requests answered that failed or were
// refused: what is left of the successes, whose series are there from the
// first request on.
func errorRatio(by string, count func(by, name string, more ...string) string) string {
	return "1 - " + count(by, "user_requests_total", `status="success"`) + " / " + count(by, "user_requests_total", `status!="cancelled"`)
}

// duration is a pair of histograms of the same values.
type duration struct {
	classic string
	native  string // in seconds
	scale   int    // of the classic one to seconds
}

var (
	e2e     = duration{"llm_generation_total_seconds", "llm_generation_seconds", 1}
	ttft    = duration{"llm_time_to_first_token_milliseconds", "llm_time_to_first_token_seconds", 1000}
	itl     = duration{"llm_streaming_chunk_latency_milliseconds", "llm_streaming_chunk_latency_seconds", 1000}
	tpot    = duration{"llm_decoding_time_per_token_milliseconds", "llm_decoding_time_per_token_seconds", 1000}
	sendLag = duration{"worker_send_lag_seconds", "worker_send_lag_native_seconds", 1}
	asking  = duration{"question_generation_milliseconds", "question_generation_seconds", 1000}
)

// over is the percentile q, in seconds, over time.
func (d duration) over(q float64, by string) string { return d.quantile(q, by, rate) }

// all is the percentile q, in seconds, of the whole run so far.
func (d duration) all(q float64, by string) string { return d.quantile(q, by, total) }

func (d duration) quantile(q float64, by string, count func(by, name string, more ...string) string) string {
	classic := fmt.Sprintf("histogram_quantile(%v, %s)", q, count(and(by, "le"), d.classic+"_bucket"))
	if d.scale != 1 {
		classic += fmt.Sprintf(" / %d", d.scale)
	}
	return fmt.Sprintf("histogram_quantile(%v, %s) or %s", q, count(by, d.native), classic)
}

// quantile is a percentile of a histogram that is only classic.
func quantile(q float64, by, name string, count func(by, name string, more ...string) string) string {
	return fmt.Sprintf("histogram_quantile(%v, %s)", q, count(and(by, "le"), name+"_bucket"))
}

func and(by, label string) string {
	if by == "" {
		return label
	}
	return by + ", " + label
}

// percentiles are one query for each percentile over time.
func (d duration) percentiles(qs ...float64) (all []query) {
	for _, q := range qs {
		all = append(all, query{expr: d.over(q, ""), legend: fmt.Sprintf("p%g", q*100)})
	}
	return all
}

// mean is of all that a histogram holds, and exact. It is for values whose
// buckets are too coarse for more, and never for latencies.
func mean(by, name string, count func(by, name string, more ...string) string) string {
	return count(by, name+"_sum") + " / " + count(by, name+"_count")
}

// buckets are what came into each bucket.
func buckets(name, window string) string {
	if window == "" {
		return total("le", name+"_bucket")
	}
	return sum("le", "increase("+of(name+"_bucket")+"["+window+"])")
}
