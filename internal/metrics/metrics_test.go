package metrics_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// series is how many series Prometheus makes of a family in its text form.
func series(f *dto.MetricFamily) (n int) {
	for _, m := range f.Metric {
		switch {
		case m.Histogram != nil:
			n += len(m.Histogram.Bucket) + 3
		case m.Summary != nil:
			n += len(m.Summary.Quantile) + 2
		default:
			n++
		}
	}
	return n
}

// gathered are all metrics by name, without the prefix.
func gathered(t *testing.T, g prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range families {
		out[strings.TrimPrefix(f.GetName(), metrics.Prefix)] = f
	}
	return out
}

// sum adds up the values, or the counts, of the series that have the labels,
// given as name=value.
func sum(f *dto.MetricFamily, labels ...string) (total float64) {
	for _, m := range f.GetMetric() {
		have := map[string]bool{}
		for _, l := range m.Label {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
			continue
		}
		switch {
		case m.Counter != nil:
			total += m.Counter.GetValue()
		case m.Gauge != nil:
			total += m.Gauge.GetValue()
		case m.Histogram != nil:
			total += float64(m.Histogram.GetSampleCount())
		case m.Summary != nil:
			total += float64(m.Summary.GetSampleCount())
		}
	}
	return total
}

// TestValues holds every metric that records make against values worked out by
// hand.
func TestValues(t *testing.T) {
	used := 0.25
	m, reg := fresh(t, 2, metrics.Options{
		Labels:    map[string]string{"team": "a"},
		Objective: stats.Objective{TTFT: 30 * ms, E2E: 300 * ms},
		Promises:  []metrics.Promise{{Metric: "ttft", Quantile: 0.95, Latency: 40 * ms}, {Metric: "e2e", Latency: 100 * ms}},
		State: func() metrics.State {
			return metrics.State{
				Stage: metrics.Running, Elapsed: 8 * time.Second, Active: 2, Orgs: 1, CostUsed: &used, ErrorRateUsed: &used, Breached: "error_rate",
				Phases: []metrics.Phase{{Name: "ramp", Elapsed: 4 * time.Second}, {Name: "steady", Elapsed: 2 * time.Second}},
			}
		},
	})
	m.Windows(map[string]int{"sim-small": 1000})
	m.Bootstrapped(3 * time.Second)
	m.Thought(time.Second)
	m.SessionEnded("completed")
	m.Question("math", "1+1?", 2*ms)
	m.Question("math", "1+1?", 4*ms)
	m.Salt("s", 0)
	m.Salt("s", 2)
	stream := record.Record{
		Org: "o", User: "u", UserIndex: 0, Phase: "steady", Attempt: 1, Measured: true, Model: "sim-small", TestType: "long", Backend: "b", Stream: true, Status: 200,
		Scheduled: 100 * ms, Sent: 102 * ms, FirstToken: 120 * ms, LastToken: 220 * ms, Done: 300 * ms, Gaps: []time.Duration{40 * ms, 60 * ms}, Chunks: 3, FirstChunkTokens: 1,
		UsageKnown: true, PromptTokens: 80, CompletionTokens: 20, CachedKnown: true, CachedTokens: 16, CostKnown: true, CostMicroUSD: 50, FinishReason: "stop",
	}
	m.Add(&stream)
	slow := stream
	slow.FirstToken, slow.CachedTokens, slow.FinishReason, slow.Gaps, slow.Chunks = 180*ms, 0, "a new one", nil, 1
	slow.LastToken, slow.Done = slow.FirstToken, 500*ms
	m.Add(&slow)
	early := stream
	early.Phase, early.Measured = "pre-flight", false
	m.BeforeLoad().Add(&early)
	broken := record.Record{
		Org: "o", User: "v", UserIndex: 1, Phase: "steady", Measured: true, Model: "sim-small", TestType: "long", Stream: true, Status: 200,
		Scheduled: ms, Sent: ms, FirstToken: 5 * ms, Done: 9 * ms, Outcome: record.Failed, Kind: record.StreamInterrupted,
	}
	m.Add(&broken)
	refused := record.Record{Org: "o", User: "v", UserIndex: 1, Phase: "steady", Measured: true, Model: "sim-small", Done: ms, Outcome: record.Refused, Kind: record.RateLimited, Status: 429}
	m.Add(&refused)
	cancelled := record.Record{Org: "o", User: "v", UserIndex: 1, Phase: "steady", Model: "sim-small", Done: ms, Outcome: record.Cancelled, Kind: record.CancelledKind}
	m.Add(&cancelled)
	harmed := record.Record{Org: "o", User: "v", UserIndex: 1, Phase: "steady", Measured: true, Model: "sim-small", Done: ms, Outcome: record.Failed, Kind: record.ChaosInjected, CostKnown: true, CostMicroUSD: 1}
	m.Add(&harmed)
	end := m.Begin("sim-small", "o")
	m.Begin("sim-small", "o")()

	const of, user = `backend_id="b",model="sim-small",org_id="o",team="a",test_run_id="run",worker_id="0"`, `org_id="o",team="a",test_run_id="run"`
	with := func(status string) string {
		return `{model="sim-small",org_id="o",status="` + status + `",team="a",test_run_id="run",test_type=`
	}
	for name, want := range map[string][]string{
		"worker_users_active":       {`{team="a",test_run_id="run",worker_id="0"} 2`},
		"worker_orgs_created_total": {`{team="a",test_run_id="run",worker_id="0"} 1`},
		"user_requests_total": {
			with("success") + `"long",user_id="u",worker_id="0"} 3`,
			with("success") + `"long",user_id="v",worker_id="0"} 0`,
			with("failed") + `"long",user_id="v",worker_id="0"} 1`,
			with("success") + `"",user_id="v",worker_id="0"} 0`,
			with("refused") + `"",user_id="v",worker_id="0"} 1`,
			with("cancelled") + `"",user_id="v",worker_id="0"} 1`,
		},
		"user_errors_total": {
			`{error_type="stream_interrupted",http_status="200",` + user + `,user_id="v",worker_id="0"} 1`,
			`{error_type="rate_limited",http_status="429",` + user + `,user_id="v",worker_id="0"} 1`,
			`{error_type="chaos_injected",http_status="0",` + user + `,user_id="v",worker_id="0"} 1`,
		},
		"user_cost_usd":                       {`{` + user + `,user_id="u",worker_id="0"} 0.00015`, `{` + user + `,user_id="v",worker_id="0"} 1e-06`},
		"user_cache_hits_total":               {`{` + user + `,user_id="u",worker_id="0"} 2`, `{` + user + `,user_id="v",worker_id="0"} 0`},
		"user_cache_misses_total":             {`{` + user + `,user_id="u",worker_id="0"} 1`, `{` + user + `,user_id="v",worker_id="0"} 0`},
		"user_cache_hit_ratio":                {`{` + user + `,user_id="u",worker_id="0"} 0.6666666666666666`},
		"user_cache_salt_violations_total":    {`{cache_salt="s",team="a",test_run_id="run",worker_id="0"} 2`},
		"user_top_errors":                     {`{` + user + `,user_id="v",worker_id="0"} 2`},
		"user_top_latency_seconds":            {`{` + user + `,user_id="u",worker_id="0"} 0.3`},
		"run_duration_seconds":                {`{team="a",test_run_id="run",worker_id="0"} 8`},
		"run_cost_total_usd":                  {`{team="a",test_run_id="run",worker_id="0"} 0.000151`},
		"run_error_rate":                      {`{team="a",test_run_id="run",worker_id="0"} 0.4`},
		"run_active_users":                    {`{phase="ramp",team="a",test_run_id="run",worker_id="0"} 0`, `{phase="steady",team="a",test_run_id="run",worker_id="0"} 2`},
		"run_requests_per_second":             {`{phase="ramp",team="a",test_run_id="run",worker_id="0"} 0`, `{phase="steady",team="a",test_run_id="run",worker_id="0"} 2.5`},
		"question_generated_total":            {`{strategy="math",team="a",test_run_id="run",worker_id="0"} 2`},
		"question_uniqueness_ratio":           {`{strategy="math",team="a",test_run_id="run",worker_id="0"} 0.5`},
		"limit_cost_utilization_ratio":        {`{team="a",test_run_id="run",worker_id="0"} 0.25`},
		"limit_error_rate_utilization_ratio":  {`{team="a",test_run_id="run",worker_id="0"} 0.25`},
		"llm_streaming_interruptions_total":   {`{backend_id="b",interruption_reason="stream_interrupted",model="sim-small",` + user + `,worker_id="0"} 1`},
		"llm_cold_start_detections_total":     {`{` + of + `} 0`},
		"llm_backend_requests_in_flight":      {`{backend_id="",model="sim-small",` + user + `,worker_id="0"} 1`},
		"llm_cost_efficiency_tps_per_usd":     {`{` + of + `} 1.5000000000000002e+06`}, // (100 + 50) / 2 tokens a second, 50 micro-dollars
		"llm_finish_reason_total":             {`{backend_id="b",finish_reason="stop",model="sim-small",` + user + `,worker_id="0"} 2`, `{backend_id="b",finish_reason="other",model="sim-small",` + user + `,worker_id="0"} 1`},
		"llm_performance_score":               {`{backend_id="b",metric_type="ttft",model="sim-small",` + user + `,worker_id="0"} 25`, `{backend_id="b",metric_type="e2e",model="sim-small",` + user + `,worker_id="0"} 25`, `{backend_id="b",metric_type="availability",model="sim-small",` + user + `,worker_id="0"} 75`},
		"llm_performance_vs_baseline_percent": {`{backend_id="b",baseline_id="slo",metric="ttft_p95",model="sim-small",` + user + `,worker_id="0"} 99.8847975`, `{backend_id="b",baseline_id="slo",metric="e2e_mean",model="sim-small",` + user + `,worker_id="0"} 200`},
		"llm_cost_per_million_tokens_usd": {
			`{backend_id="b",model="sim-small",` + user + `,token_type="prompt",worker_id="0"} 0.15`, `{backend_id="b",model="sim-small",` + user + `,token_type="completion",worker_id="0"} 0.6`,
			`{backend_id="b",model="sim-small",` + user + `,token_type="cached",worker_id="0"} 0.075`, `{backend_id="b",model="sim-small",` + user + `,token_type="total",worker_id="0"} 0.5`,
		},
	} {
		f := gathered(t, reg)[name]
		kind := strings.ToLower(f.GetType().String())
		expected := fmt.Sprintf("# HELP %s%s %s\n# TYPE %s%s %s\n", metrics.Prefix, name, f.GetHelp(), metrics.Prefix, name, kind)
		for _, w := range want {
			expected += metrics.Prefix + name + w + "\n"
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(expected), metrics.Prefix+name); err != nil {
			t.Error(err)
		}
	}
	end()

	all := gathered(t, reg)
	for name, want := range map[string][2]float64{ // count and sum
		"worker_bootstrap_seconds": {1, 3}, "worker_send_lag_seconds": {4, 0.004}, "worker_send_lag_native_seconds": {4, 0.004}, "user_think_time_seconds": {1, 1},
		"question_generation_milliseconds": {2, 6}, "question_generation_seconds": {2, 0.006},
		"llm_time_to_first_token_milliseconds": {2, 100}, "llm_time_to_first_token_seconds": {2, 0.1},
		"llm_tokens_per_second": {2, 150}, "llm_generation_total_seconds": {2, 0.6}, "llm_generation_seconds": {2, 0.6},
		"llm_decoding_time_per_token_milliseconds": {1, 100.0 / 19}, "llm_decoding_time_per_token_seconds": {1, 0.1 / 19},
		"llm_prompt_tokens": {2, 160}, "llm_token_ratio": {2, 0.5}, "llm_streaming_chunks_per_second": {1, 20},
		"llm_streaming_chunk_latency_milliseconds": {2, 100}, "llm_streaming_chunk_latency_seconds": {2, 0.1},
		"llm_context_window_utilization_percent": {2, 20},
	} {
		if got := all[name].GetMetric(); len(got) != 1 || float64(got[0].Histogram.GetSampleCount()) != want[0] || math.Abs(got[0].Histogram.GetSampleSum()-want[1]) > 1e-6*want[1] {
			t.Errorf("%s: %v, want count and sum %v", name, got, want)
		}
	}
	for kind, want := range map[string]float64{"prompt": 240, "completion": 60, "cached": 32} {
		if got := sum(all["user_tokens_total"], "token_type="+kind); got != want {
			t.Errorf("%v %s tokens of users, want %v", got, kind, want)
		}
		if got := sum(all["run_tokens_total"], "token_type="+kind, "model=sim-small"); got != want {
			t.Errorf("%v %s tokens of the run, want %v", got, kind, want)
		}
	}
	for _, q := range all["user_latency_seconds"].Metric[0].Summary.Quantile {
		if want := map[float64]float64{0.5: 0.2, 0.9: 0.4, 0.95: 0.4, 0.99: 0.4}[q.GetQuantile()]; math.Abs(q.GetValue()-want) > 0.004*want {
			t.Errorf("quantile %v is %v, want %v", q.GetQuantile(), q.GetValue(), want)
		}
	}
	if got := sum(all["worker_status"], "phase=running"); got != 1 || sum(all["worker_status"]) != 1 {
		t.Errorf("status running %v, all %v", got, sum(all["worker_status"]))
	}
	if got := sum(all["limit_breached"], "limit_type=error_rate"); got != 1 || sum(all["limit_breached"]) != 1 {
		t.Errorf("breached: error rate %v, all %v", got, sum(all["limit_breached"]))
	}
	if got := sum(all["user_session_completed"], "completion_reason=completed"); got != 1 || sum(all["user_session_completed"]) != 1 {
		t.Errorf("sessions: completed %v, all %v", got, sum(all["user_session_completed"]))
	}
	if got := sum(all["llm_completion_tokens"], "finish_reason=stop"); got != 1 || sum(all["llm_completion_tokens"]) != 2 {
		t.Errorf("completions: stop %v, all %v", got, sum(all["llm_completion_tokens"]))
	}
	if sum(all["worker_memory_bytes"]) < 1<<20 || sum(all["worker_goroutines"]) < 2 {
		t.Errorf("the process: %v, %v", all["worker_memory_bytes"], all["worker_goroutines"])
	}
	for _, f := range metrics.Families() {
		serverSide := strings.HasPrefix(f.Name, "llm_backend_queue") || strings.HasPrefix(f.Name, "llm_backend_sat") || strings.HasPrefix(f.Name, "llm_gpu")
		if all[f.Name] == nil && !serverSide && f.Name != "worker_export_attempts_total" {
			t.Errorf("there is no %s", f.Name)
		}
	}
}

// TestBuckets holds the buckets of both kinds of histogram against a count of
// the values themselves.
func TestBuckets(t *testing.T) {
	m, reg := fresh(t, 1, metrics.Options{})
	var values []time.Duration
	for i := range 2000 {
		d := time.Duration(math.Pow(1.005, float64(i)) * float64(100*time.Microsecond))
		values = append(values, d)
		m.Add(&record.Record{Org: "o", User: "u", Measured: true, Model: "m", Stream: true, FirstToken: d, Done: d})
	}
	all := gathered(t, reg)
	between := func(lo, hi float64) (n float64) { // of those surely inside, in seconds
		for _, v := range values {
			if s := v.Seconds(); s > lo && s <= hi {
				n++
			}
		}
		return n
	}
	for _, b := range all["llm_time_to_first_token_milliseconds"].Metric[0].Histogram.Bucket {
		le := b.GetUpperBound() / 1000
		if n := float64(b.GetCumulativeCount()); n < between(0, le*0.992) || n > between(0, le*1.008) {
			t.Errorf("%v values up to %v s, want %v", n, le, between(0, le))
		}
	}
	h := all["llm_time_to_first_token_seconds"].Metric[0].Histogram
	var index, n, total int64
	deltas := h.PositiveDelta
	for _, span := range h.PositiveSpan {
		index += int64(span.GetOffset())
		for range span.GetLength() {
			n += deltas[0]
			deltas = deltas[1:]
			total += n
			hi, lo := math.Exp2(float64(index)/8), math.Exp2(float64(index-1)/8)
			if got := float64(n); got < between(lo*1.008, hi*0.992) || got > between(lo*0.992, hi*1.008) {
				t.Errorf("%v values in (%v, %v] s, want %v", got, lo, hi, between(lo, hi))
			}
			index++
		}
	}
	if len(deltas) != 0 || total+int64(h.GetZeroCount()) != int64(len(values)) || h.GetSchema() != 3 {
		t.Errorf("%d values in buckets, %d deltas left over", total, len(deltas))
	}
}

// TestBound is the bar: with however many users, organizations and models, no
// more series than there is room for, and no request lost.
func TestBound(t *testing.T) {
	for _, load := range []struct{ users, orgs, records int }{{1000, 20, 10_000}, {1000, 1000, 4000}, {10_000, 50, 20_000}, {10_000, 5000, 20_000}, {200, 200, 5000}} {
		m, reg := fresh(t, load.users, metrics.Options{Objective: stats.Objective{TTFT: 1, E2E: 1, ITL: 1}})
		var want float64
		for i, r := range traffic(load.users, load.orgs, load.records) {
			r.Status = 200 + i%400 // statuses and models run wild
			if i%97 == 0 {
				r.Model = fmt.Sprintf("model-%d", i)
				r.Backend = r.Model
			}
			m.Add(r)
			want++
		}
		n := 0
		all := gathered(t, reg)
		for _, f := range all {
			n += series(f)
		}
		t.Logf("%d users in %d organizations: %d series", load.users, load.orgs, n)
		if n > metrics.Room {
			t.Errorf("%d users in %d organizations make %d series", load.users, load.orgs, n)
		}
		if got := sum(all["user_requests_total"]); got != want {
			t.Errorf("%v of %v requests are counted", got, want)
		}
		if ttft, e2e := sum(all["llm_time_to_first_token_seconds"]), sum(all["llm_generation_seconds"]); e2e != sum(all["user_latency_seconds"]) || ttft == 0 {
			t.Errorf("%v latencies of models and %v of users", e2e, sum(all["user_latency_seconds"]))
		}
		if top := len(all["user_top_errors"].Metric); top != 10 {
			t.Errorf("%d top users", top)
		}
	}
}

func TestMoreUsersThanSeries(t *testing.T) {
	m, reg := fresh(t, 3, metrics.Options{PerUser: 2})
	for _, r := range traffic(3, 2, 30) {
		m.Add(r)
	}
	all := gathered(t, reg)
	users := map[string]bool{}
	for _, s := range all["user_requests_total"].Metric {
		for _, l := range s.Label {
			if l.GetName() == "user_id" {
				users[l.GetValue()] = true
			}
		}
	}
	if !maps.Equal(users, map[string]bool{metrics.All: true}) {
		t.Errorf("series of %v", users)
	}
	if got := sum(all["user_requests_total"], "org_id=org-0"); got != 20 {
		t.Errorf("%v requests of the first organization, want 20", got)
	}
	if got := all["user_top_latency_seconds"]; len(got.GetMetric()) != 3 {
		t.Errorf("slowest users: %v", got)
	}
}

func TestColdStart(t *testing.T) {
	m, reg := fresh(t, 1, metrics.Options{})
	at := time.Duration(0)
	ask := func(ttft time.Duration) {
		m.Add(&record.Record{Model: "m", Stream: true, Scheduled: at, Sent: at, FirstToken: at + ttft, Done: at + ttft})
		at += ttft
	}
	found := func() float64 { return sum(gathered(t, reg)["llm_cold_start_detections_total"]) }
	warm := func() {
		for range 10 {
			ask(100 * ms)
		}
	}
	ask(3 * time.Second)
	if found() != 0 {
		t.Error("judged before there was anything to compare with")
	}
	if warm(); found() != 1 {
		t.Error("the first was cold")
	}
	ask(3 * time.Second) // slow, but in the middle
	if warm(); found() != 1 {
		t.Error("a slow answer is no cold start")
	}
	at += time.Minute
	ask(500 * ms)
	if warm(); found() != 1 {
		t.Error("half a second is nothing")
	}
	at += time.Minute
	ask(2 * time.Second)
	if warm(); found() != 2 {
		t.Error("after a rest it was cold again")
	}
}

func TestLabelsThatCannotBe(t *testing.T) {
	for name, problem := range map[string]string{"model": "have already", "le": "have already", "worker_id": "have already", "a-b": "cannot be a label", "__x": "cannot be a label"} {
		_, err := metrics.New(metrics.Options{Labels: map[string]string{name: "v"}})
		if err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGatheredUnderLoad looks at metrics while they change, for the race
// detector, and holds the end against the beginning.
func TestGatheredUnderLoad(t *testing.T) {
	m, reg := fresh(t, 50, metrics.Options{})
	records := traffic(50, 5, 2000)
	var busy sync.WaitGroup
	for part := range slices.Chunk(records, 500) {
		busy.Go(func() {
			for _, r := range part {
				defer m.Begin(r.Model, r.Org)()
				m.Add(r)
				m.Question("math", r.User, ms)
			}
		})
	}
	for range 5 {
		gathered(t, reg)
	}
	busy.Wait()
	all := gathered(t, reg)
	if sum(all["user_requests_total"]) != 2000 || sum(all["question_generated_total"]) != 2000 || sum(all["llm_backend_requests_in_flight"]) != 0 {
		t.Errorf("%v requests, %v questions", sum(all["user_requests_total"]), sum(all["question_generated_total"]))
	}
}

// TestDocumented holds the list of the document against what there is.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/load-testing/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, f := range metrics.Families() {
		labels := "–"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, labels, f.Help)
	}
	before, rest, _ := strings.Cut(string(data), "|---|---|---|---|\n")
	_, after, _ := strings.Cut(rest, "\n\n")
	if want := before + "|---|---|---|---|\n" + table.String() + "\n" + after; want != string(data) {
		if os.Getenv("UPDATE_DOCS") == "" {
			t.Fatal("the table is not what there is: run the test with UPDATE_DOCS=1")
		}
		if err := os.WriteFile("../../docs/load-testing/metrics.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
