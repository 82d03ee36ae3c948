package metrics

import (
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Prefix begins every name.
const Prefix = "loadtest_"

// Kind is a type of metric.
type Kind string

// The kinds. A native histogram has exponential buckets in one series.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Summary   Kind = "summary"
	Histogram Kind = "histogram"
	Native    Kind = "native histogram"
)

// Family is a metric by its name, without [Prefix].
type Family struct {
	Name   string
	Kind   Kind
	Labels []string // beside those of every metric
	Help   string
}

var (
	ofUser    = []string{"org_id", "user_id"}
	ofBackend = []string{"model", "backend_id", "org_id"}
)

func with(labels []string, more ...string) []string { return append(slices.Clone(labels), more...) }

// families is the list of what there is, in the order of the documents.
var families = []Family{
	{"worker_status", Gauge, []string{"phase"}, "1 for the stage that the worker is in, 0 for the others."},
	{"worker_users_active", Gauge, nil, "Users at work; under open load, requests under way."},
	{"worker_orgs_created_total", Counter, nil, "Organizations created for this run."},
	{"worker_bootstrap_seconds", Histogram, nil, "How long creating the tenants took."},
	{"worker_memory_bytes", Gauge, nil, "Memory that the worker's process has from the system."},
	{"worker_goroutines", Gauge, nil, "Goroutines of the worker's process."},
	{"worker_cpu_ratio", Gauge, nil, "CPU used since the last look, as a share of what the process may use."},
	{"worker_send_lag_seconds", Histogram, nil, "How late measured requests left, compared with their schedule."},
	{"worker_send_lag_native_seconds", Native, nil, "worker_send_lag_seconds with exponential buckets."},
	{"worker_export_attempts_total", Counter, []string{"exporter", "result"}, "Attempts to hand metrics over: ok or failed."},

	{"user_requests_total", Counter, with(ofUser, "status", "model", "test_type"), "Requests by outcome: success, refused, failed or cancelled. Those harmed by chaos are not among them."},
	{"user_latency_seconds", Summary, ofUser, "End-to-end latency of measured successes."},
	{"user_tokens_total", Counter, with(ofUser, "token_type", "model"), "Tokens by type: prompt, completion, and cached, which are part of prompt."},
	{"user_cost_usd", Gauge, ofUser, "Cost so far."},
	{"user_errors_total", Counter, with(ofUser, "error_type", "http_status"), "Errors by type and status; status 0 if none arrived."},
	{"user_think_time_seconds", Histogram, nil, "Think times."},
	{"user_session_completed", Counter, []string{"completion_reason"}, "Sessions that ended, by reason: completed, time_up, retired, errors or limit."},
	{"user_cache_hits_total", Counter, ofUser, "Requests of whose prompt a part came from the platform's cache, where it says so."},
	{"user_cache_misses_total", Counter, ofUser, "Requests of whose prompt nothing came from the cache, where the platform says so."},
	{"user_cache_hit_ratio", Gauge, ofUser, "Hits among hits and misses."},
	{"user_cache_salt_violations_total", Counter, []string{"cache_salt"}, "Prompts sent under this salt that were found in the cache under another."},
	{"user_top_errors", Gauge, ofUser, "Errors of the users with the most of them."},
	{"user_top_latency_seconds", Gauge, ofUser, "Mean latency of the users who wait longest."},

	{"run_duration_seconds", Gauge, nil, "How long the load lasts so far."},
	{"run_cost_total_usd", Gauge, nil, "Cost so far."},
	{"run_requests_per_second", Gauge, []string{"phase"}, "Requests of a phase divided by its time so far."},
	{"run_error_rate", Gauge, nil, "(refused + failed) / (requests − cancelled), of all requests."},
	{"run_active_users", Gauge, []string{"phase"}, "Users at work in the phase; 0 when it is over."},
	{"run_tokens_total", Counter, []string{"token_type", "model"}, "Tokens by type: prompt, completion, and cached, which are part of prompt."},

	{"question_generation_milliseconds", Histogram, []string{"strategy", "batch_size"}, "The time that making a question took."},
	{"question_generation_seconds", Native, []string{"strategy", "batch_size"}, "question_generation_milliseconds with exponential buckets."},
	{"question_uniqueness_ratio", Gauge, []string{"strategy"}, "Different texts among the questions; of the first 20,000."},
	{"question_generated_total", Counter, []string{"strategy"}, "Questions made."},

	{"limit_cost_utilization_ratio", Gauge, nil, "Money spent of limits.maxCostUsd; absent without that limit."},
	{"limit_error_rate_utilization_ratio", Gauge, nil, "The error rate that limits.maxErrorRate looks at, divided by it; absent without that limit."},
	{"limit_breached", Gauge, []string{"limit_type"}, "1 if the limit ended the run."},

	{"llm_time_to_first_token_milliseconds", Histogram, ofBackend, "TTFT of measured successes that stream."},
	{"llm_time_to_first_token_seconds", Native, ofBackend, "llm_time_to_first_token_milliseconds with exponential buckets."},
	{"llm_tokens_per_second", Histogram, ofBackend, "Completion tokens of a measured success divided by its end-to-end latency."},
	{"llm_generation_total_seconds", Histogram, ofBackend, "End-to-end latency of measured successes."},
	{"llm_generation_seconds", Native, ofBackend, "llm_generation_total_seconds with exponential buckets."},
	{"llm_decoding_time_per_token_milliseconds", Histogram, ofBackend, "TPOT of measured successes that stream."},
	{"llm_decoding_time_per_token_seconds", Native, ofBackend, "llm_decoding_time_per_token_milliseconds with exponential buckets."},
	{"llm_prompt_tokens", Histogram, ofBackend, "Prompt tokens of measured successes."},
	{"llm_completion_tokens", Histogram, with(ofBackend, "finish_reason"), "Completion tokens of measured successes."},
	{"llm_token_ratio", Histogram, ofBackend, "Completion tokens divided by prompt tokens, of measured successes."},
	{"llm_backend_requests_in_flight", Gauge, ofBackend, "Requests under way, as this side sees them; which backend has them is known only afterwards."},
	{"llm_streaming_chunk_latency_milliseconds", Histogram, ofBackend, "Every gap between content chunks (ITL) of measured successes."},
	{"llm_streaming_chunk_latency_seconds", Native, ofBackend, "llm_streaming_chunk_latency_milliseconds with exponential buckets."},
	{"llm_streaming_chunks_per_second", Histogram, ofBackend, "Content chunks after the first divided by the time they took, of measured successes."},
	{"llm_streaming_interruptions_total", Counter, with(ofBackend, "interruption_reason"), "Streams that broke off after the first token, by error type."},
	{"llm_cold_start_detections_total", Counter, ofBackend, "First tokens, at the beginning or after 30 s without requests, that took at least 3 times the median of the 10 that followed, and 0.5 s more."},
	{"llm_context_window_utilization_percent", Histogram, ofBackend, "Tokens of a measured success as a share of the model's context window, where the platform's list of models says how long that is."},
	{"llm_finish_reason_total", Counter, with(ofBackend, "finish_reason"), "Successes by finish reason."},
	{"llm_cost_per_million_tokens_usd", Gauge, with(ofBackend, "token_type"), "Price of prompt, completion and cached tokens; total is what was paid for prompt and completion together."},
	{"llm_cost_efficiency_tps_per_usd", Gauge, ofBackend, "Mean generation speed of a request, in tokens a second, divided by the mean cost of a request."},
	{"llm_performance_score", Gauge, with(ofBackend, "metric_type"), "Share of measured requests that kept the scenario's objective for ttft, itl and e2e, and that did not fail (availability), times 100."},
	{"llm_performance_vs_baseline_percent", Gauge, with(ofBackend, "metric", "baseline_id"), "How much more (+) or less (−) a percentile is than its baseline; the baseline called slo is what the scenario promises."},

	{"llm_backend_queue_time_milliseconds", Gauge, []string{"model", "backend_id"}, "Mean queue time since the start, where the platform exposes vLLM's metrics."},
	{"llm_backend_saturation_ratio", Gauge, []string{"model", "backend_id"}, "Waiting among running and waiting requests, where the platform exposes vLLM's metrics."},
	{"llm_gpu_memory_utilization_percent", Gauge, []string{"gpu", "backend_id"}, "Framebuffer memory in use, where the platform exposes NVIDIA DCGM's metrics."},
}

// Families lists every metric, in the order of the documents.
func Families() []Family { return slices.Clone(families) }

// described is a family ready to be emitted.
type described struct {
	Family
	kind  dto.MetricType
	name  string // whole
	fixed []*dto.LabelPair
	order []int // of the labels by name: an index into fixed, or after them into Labels
}

func describe(fixed map[string]string) map[string]*described {
	var pairs []*dto.LabelPair
	for name, value := range fixed {
		pairs = append(pairs, &dto.LabelPair{Name: &name, Value: &value})
	}
	all := make(map[string]*described, len(families))
	for _, f := range families {
		d := &described{Family: f, kind: f.Kind.wire(), name: Prefix + f.Name, fixed: pairs}
		for i := range len(pairs) + len(f.Labels) {
			d.order = append(d.order, i)
		}
		slices.SortFunc(d.order, func(i, j int) int { return strings.Compare(d.label(i), d.label(j)) })
		all[f.Name] = d
	}
	return all
}

func (k Kind) wire() dto.MetricType {
	switch k {
	case Counter:
		return dto.MetricType_COUNTER
	case Summary:
		return dto.MetricType_SUMMARY
	case Histogram, Native:
		return dto.MetricType_HISTOGRAM
	default:
		return dto.MetricType_GAUGE
	}
}

func (d *described) label(i int) string {
	if i < len(d.fixed) {
		return *d.fixed[i].Name
	}
	return d.Labels[i-len(d.fixed)]
}

// emitter makes metrics of numbers, family by family.
type emitter struct {
	families map[string]*described
	made     map[string]*dto.MetricFamily
}

func (e emitter) send(name string, data *dto.Metric, values []string) {
	f := e.families[name]
	own := make([]dto.LabelPair, len(values))
	for i := range values {
		own[i].Name, own[i].Value = &f.Labels[i], &values[i]
	}
	data.Label = make([]*dto.LabelPair, len(f.order))
	for to, from := range f.order {
		if from < len(f.fixed) {
			data.Label[to] = f.fixed[from]
		} else {
			data.Label[to] = &own[from-len(f.fixed)]
		}
	}
	family := e.made[name]
	if family == nil {
		family = &dto.MetricFamily{Name: &f.name, Help: &f.Help, Type: &f.kind}
		e.made[name] = family
	}
	family.Metric = append(family.Metric, data)
}

// all are the families that have metrics, by name.
func (e emitter) all() []*dto.MetricFamily {
	out := slices.Collect(maps.Values(e.made))
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// number emits a counter or a gauge.
func (e emitter) number(name string, v float64, labels ...string) {
	if e.families[name].Kind == Counter {
		e.send(name, &dto.Metric{Counter: &dto.Counter{Value: &v}}, labels)
		return
	}
	e.send(name, &dto.Metric{Gauge: &dto.Gauge{Value: &v}}, labels)
}

func (e emitter) histogram(name string, h *dto.Histogram, labels ...string) {
	e.send(name, &dto.Metric{Histogram: h}, labels)
}
