//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/metrics/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// daemon starts another program, which does not outlive the test.
func daemon(t *testing.T, program string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: test/e2e/install.sh installs it", err)
	}
	p := &process{t: t, args: args, cmd: exec.Command(path, args...), ended: make(chan struct{})} // #nosec G204 -- ours
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.start()
	return p
}

// installed is a program that install.sh has made.
func installed(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cache, "loadtest-e2e", name)
}

// free is an address on which nothing listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing is waited for
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was sent
	return l.Addr().String()
}

// monitoring is Debian's Prometheus and Pushgateway.
type monitoring struct {
	t                        *testing.T
	prometheus, gateway      *process
	prometheusURL, gatewayAt string
	scraped                  string // where Prometheus looks for a run
}

// observing copies what deploy/observe has for Prometheus, with other addresses
// and intervals, and returns the file to start it with.
func observing(t *testing.T, dir string, other map[string]string) string {
	t.Helper()
	const from = "../../deploy/observe"
	text, err := os.ReadFile(filepath.Join(from, "prometheus.yml"))
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "rules"), os.DirFS(filepath.Join(from, "rules")))
	}
	if err != nil {
		t.Fatal(err)
	}
	settings := string(text)
	for old, now := range other {
		if !strings.Contains(settings, old) {
			t.Fatalf("%s is not in %s", old, settings)
		}
		settings = strings.ReplaceAll(settings, old, now)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startMonitoring starts both, as deploy/observe has them. Prometheus scrapes
// the Pushgateway, and a run under the job "run".
func startMonitoring(t *testing.T) *monitoring {
	t.Helper()
	m := &monitoring{t: t, scraped: free(t)}
	at, gateway, dir := free(t), free(t), t.TempDir()
	m.prometheusURL, m.gatewayAt = "http://"+at, "http://"+gateway
	settings := observing(t, dir, map[string]string{"127.0.0.1:9091": gateway, "127.0.0.1:9464": m.scraped, "_interval: 5s": "_interval: 1s"})
	m.gateway = daemon(t, "prometheus-pushgateway", "--web.listen-address="+gateway)
	m.prometheus = daemon(t, "prometheus", "--config.file="+settings, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at,
		"--enable-feature=native-histograms", "--web.enable-remote-write-receiver")
	for _, ready := range []string{m.prometheusURL, m.gatewayAt} {
		until(t, ready+" is ready", func() bool { return m.get(ready+"/-/ready", nil) == nil })
	}
	return m
}

func (m *monitoring) get(address string, into any) error {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}

// one is the value of a query that has one, and whether it has.
func (m *monitoring) one(q string) (float64, bool) {
	m.t.Helper()
	return m.at(q, float64(time.Now().UnixMilli())/1000)
}

// at is one at a moment, in seconds.
func (m *monitoring) at(q string, moment float64) (float64, bool) {
	m.t.Helper()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := m.get(fmt.Sprintf("%s/api/v1/query?query=%s&time=%.3f", m.prometheusURL, url.QueryEscape(q), moment), &answer); err != nil {
		m.t.Fatalf("%s: %v", q, err)
	}
	if len(answer.Data.Result) == 0 {
		return 0, false
	}
	v, err := strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return v, true
}

// rulesWork wants every rule to have been evaluated without an error.
func (m *monitoring) rulesWork() {
	m.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := m.get(m.prometheusURL+"/api/v1/rules", &answer); err != nil {
		m.t.Fatal(err)
	}
	rules := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if rules++; r.Health != "ok" {
				m.t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if rules < 40 {
		m.t.Errorf("Prometheus has %d rules", rules)
	}
}

// presence is a query that has a value if there is anything of a family.
func presence(f metrics.Family, labels string) string {
	name := metrics.Prefix + f.Name
	switch f.Kind {
	case metrics.Histogram:
		return "count(" + name + "_bucket" + labels + ")"
	case metrics.Native:
		return "sum(histogram_count(" + name + labels + ")) >= 0"
	}
	return "count(" + name + labels + ")"
}

// openTelemetry is a real OpenTelemetry Collector, which writes down what it gets.
type openTelemetry struct {
	*process
	url string // of OTLP over HTTP
	dir string
}

func startCollector(t *testing.T) *openTelemetry {
	t.Helper()
	at := free(t)
	o := &openTelemetry{url: "http://" + at, dir: t.TempDir()}
	settings := filepath.Join(o.dir, "config.yaml")
	text := fmt.Sprintf(`
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {file/metrics: {path: %q}, file/traces: {path: %q}}
service:
  pipelines:
    metrics: {receivers: [otlp], exporters: [file/metrics]}
    traces: {receivers: [otlp], exporters: [file/traces]}
`, at, filepath.Join(o.dir, "metrics"), filepath.Join(o.dir, "traces"))
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.process = daemon(t, installed(t, "collector"), "--config=file:"+settings)
	until(t, "the collector is ready", func() bool {
		conn, err := net.Dial("tcp", at) //nolint:noctx // on this machine
		if err == nil {
			_ = conn.Close() // nothing was said
		}
		return err == nil
	})
	return o
}

// got reads what the collector has written down, message by message.
func got[M proto.Message](o *openTelemetry, signal string, message M, each func(M)) {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(o.dir, signal))
	if err != nil {
		o.t.Fatal(err)
	}
	for from := bytes.NewReader(data); from.Len() > 0; {
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(from, message); err != nil {
			o.t.Fatal(err)
		}
		each(message)
	}
}

// metrics are the latest by name.
func (o *openTelemetry) metrics() map[string]*otlp.Metric {
	latest := map[string]*otlp.Metric{}
	got(o, "metrics", &otlp.MetricsData{}, func(m *otlp.MetricsData) {
		for _, resource := range m.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, m := range scope.Metrics {
					latest[m.Name] = m
				}
			}
		}
	})
	return latest
}

// spans counts those of requests and of other calls, and the traces that they are in.
func (o *openTelemetry) spans() (requests, others int, traces map[string]bool) {
	traces = map[string]bool{}
	got(o, "traces", &otlptrace.TracesData{}, func(m *otlptrace.TracesData) {
		for _, resource := range m.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					if strings.Contains(s.Name, "/v1/") {
						others++
					} else {
						requests++
					}
					traces[hex.EncodeToString(s.TraceId)] = true
				}
			}
		}
	})
	return requests, others, traces
}

// observed is a load of three organizations whose every metric says something:
// there are limits and promises, and salts are checked.
const observed = `
  organizations: {count: 3}
  users: {perOrg: {min: 3, max: 3}}
  userBehavior:
    questionsPerSession: {min: 4, max: 6}
    thinkTimeSeconds: {min: 0.05, max: 0.3}
    modelPreferences: [{model: sim-small, weight: 2}, {model: sim-medium}]
    maxTokensPerRequest: 24
    streamingRatio: 0.7
    errorHandling: {retryAttempts: 1}
  cacheSalt: {enabled: true, strategy: org_id, validation: {enabled: true}}
  looping: {enabled: true}
  slo: {ttft: {p50: 60s}, e2e: {p50: 60s}}
  limits: {maxCostUsd: 5, maxErrorRate: 99%}
`

// TestMetrics is the bar: every name can be asked for within 30 s of the
// start, and at the end the sums in Prometheus equal those of the result,
// exactly, by whichever way they came.
func TestMetrics(t *testing.T) {
	t.Parallel()
	m, p, out, otel := startMonitoring(t), startPlatform(t, "--speed", "5"), newFolder(t), startCollector(t)
	spec := p.targets() + observed + fmt.Sprintf(`
  loadPattern: {type: steady, phases: [{name: steady, duration: 14s}]}
  metrics: {pushgatewayUrl: %q, remoteWriteUrl: %q, otlpEndpoint: %q, exportInterval: 1s, labels: {team: e2e}}
`, m.gatewayAt, m.prometheusURL+"/api/v1/write", otel.url)
	began := time.Now()
	run := launch(t, []string{"ADMIN_KEY=" + adminKey, "OTEL_EXPORTER_OTLP_ENDPOINT=" + otel.url}, "run", out.scenario(t, "metrics", spec), "--output-dir", string(out), "--listen", m.scraped)

	until(t, "the load runs", func() bool { v, _ := m.one(`loadtest_worker_status{job="",phase="running"}`); return v == 1 })
	p.faults("http-500=0.05,truncate=0.05") // so that there are errors to count

	// The ways by which metrics come: they differ in the job.
	ways := map[string]string{"scraped": `{job="run"}`, "pushed": `{job="loadtest"}`, "written": `{job=""}`}
	for way, labels := range ways {
		for _, f := range metrics.Families() {
			switch {
			case f.Name == "llm_backend_queue_time_milliseconds", f.Name == "llm_gpu_memory_utilization_percent":
				continue // this platform does not say
			case f.Kind == metrics.Native && way == "pushed":
				continue // Debian's Pushgateway 1.5 does not know native histograms
			}
			until(t, f.Name+" is "+way, func() bool { _, there := m.one(presence(f, labels)); return there })
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("all names could be asked for after %v", took)
	} else {
		t.Logf("all names can be asked for after %v", took)
	}
	for recorded, least := range map[string]float64{
		`worker:loadtest_load:live{job="run"}`: 1, `run:loadtest_users_active:sum{job="run"}`: 9, `org:loadtest_requests:rate2m{job="loadtest"}`: 0.01,
		`model:loadtest_errors:ratio2m{job=""}`: 0, `run:loadtest_tokens:rate2m{job="run"}`: 0.01, `run:loadtest_cost_usd_per_hour:rate5m{job="run"}`: 1e-9,
		`model:loadtest_ttft_seconds:quantile2m{job="run",quantile="0.5"}`: 1e-9, `org:loadtest_e2e_seconds:quantile2m{job="loadtest",quantile="0.95"}`: 1e-9,
		`model:loadtest_itl_seconds:quantile2m{job="run",quantile="0.99"}`: 1e-9, `run:loadtest_send_lag_seconds:quantile2m{job="run",quantile="0.99"}`: 1e-9,
	} {
		until(t, recorded+" is recorded", func() bool { v, there := m.one("max_over_time(" + recorded + "[5m])"); return there && v >= least })
	}
	m.rulesWork()
	run.exits(0)
	run.says("http://" + m.scraped + "/status and /metrics")

	b := out.document(t, "metrics")
	if len(b.Warnings) > 0 {
		t.Errorf("warnings: %q", b.Warnings)
	}
	p.agrees(b)
	sums := sumsOf(b)
	for way, labels := range ways {
		// What was scraped ends with the run: this is the last moment of it.
		var end float64
		until(t, "the end is "+way, func() (there bool) {
			end, there = m.one(`max_over_time(timestamp(loadtest_worker_status` + labels[:len(labels)-1] + `,phase="finished"} == 1)[5m:1s])`)
			return there
		})
		for q, want := range sums {
			if strings.Contains(q, "histogram_count") && way == "pushed" {
				continue
			}
			q = strings.ReplaceAll(q, "$", labels[1:len(labels)-1])
			if got, there := m.at(q, end); !there || got != want {
				t.Errorf("%s: %s is %v (%v), %v in the result", way, q, got, there, want)
			}
		}
	}
	// Whoever asks for the run gets it once, though it came by several ways.
	asked, err := monitor.NewPrometheus(m.prometheusURL)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := asked.Ask(t.Context(), "metrics"); err != nil || got.Requests != float64(b.Headline.Requests) {
		t.Errorf("%+v (%v), %d requests in the result", got, err, b.Headline.Requests)
	}
	collected, total := otel.metrics(), 0.0
	for _, point := range collected["loadtest_user_requests_total"].GetSum().GetDataPoints() {
		total += point.GetAsDouble()
	}
	if total != float64(b.Headline.Requests) {
		t.Errorf("%v requests by OTLP, %d in the result", total, b.Headline.Requests)
	}
	var count uint64
	for _, point := range collected["loadtest_llm_time_to_first_token_seconds"].GetExponentialHistogram().GetDataPoints() {
		count += point.Count
	}
	if want := b.Summary.Overall().Latency.TTFT.Count(); count != want {
		t.Errorf("%d times to first token by OTLP, %d in the result", count, want)
	}
	spans, others, traces := otel.spans()
	t.Logf("%d spans of requests and %d of tenants, in %d traces", spans, others, len(traces))
	if made := b.Bootstrap; others < made.Orgs+made.Users+made.Keys+b.Cleanup.DeletedOrgs {
		t.Errorf("%d spans of calls that made and removed %+v", others, made)
	}
	if uint64(spans) != b.Headline.Requests { // #nosec G115 -- a count
		t.Errorf("%d spans, %d requests in the result", spans, b.Headline.Requests)
	}
	for _, slow := range b.Summary.Slowest {
		if !traces[slow.TraceID.String()] {
			t.Errorf("the collector has no trace %s, one of the slowest", slow.TraceID)
		}
	}
}

// sumsOf are queries whose value follows from the result; $ stands for labels.
func sumsOf(b *export.Bundle) map[string]float64 {
	o := b.Summary.Overall()
	all, l := o.All, &o.Latency
	sums := map[string]float64{
		`sum(loadtest_user_requests_total{$})`:                                   float64(all.Requests),
		`sum(loadtest_user_requests_total{$,status="success"})`:                  float64(all.Succeeded),
		`sum(loadtest_user_requests_total{$,status="failed"})`:                   float64(all.Failed),
		`sum(loadtest_run_tokens_total{$,token_type="prompt"})`:                  float64(all.PromptTokens),
		`sum(loadtest_user_tokens_total{$,token_type="completion"})`:             float64(all.CompletionTokens),
		`sum(loadtest_run_tokens_total{$,token_type="cached"})`:                  float64(all.CachedTokens),
		`loadtest_run_cost_total_usd{$}`:                                         float64(all.CostMicroUSD) / 1e6,
		`round(sum(loadtest_user_cost_usd{$}) * 1e6)`:                            float64(all.CostMicroUSD),
		`sum(loadtest_llm_finish_reason_total{$})`:                               float64(all.Succeeded),
		`loadtest_run_error_rate{$}`:                                             all.ErrorRate(),
		`sum(loadtest_llm_time_to_first_token_milliseconds_count{$})`:            float64(l.TTFT.Count()),
		`sum(histogram_count(loadtest_llm_time_to_first_token_seconds{$}))`:      float64(l.TTFT.Count()),
		`sum(histogram_count(loadtest_llm_streaming_chunk_latency_seconds{$}))`:  float64(l.ITL.Count()),
		`sum(loadtest_llm_generation_total_seconds_count{$})`:                    float64(l.E2E.Count()),
		`sum(loadtest_user_latency_seconds_count{$})`:                            float64(l.E2E.Count()),
		`loadtest_worker_send_lag_seconds_count{$}`:                              float64(l.SendLag.Count()),
		`loadtest_worker_status{$,phase="finished"}`:                             1,
		`loadtest_worker_orgs_created_total{$}`:                                  3,
		`sum(loadtest_llm_backend_requests_in_flight{$})`:                        0,
		`sum(loadtest_user_cache_salt_violations_total{$})`:                      0,
		`count(count by (user_id) (loadtest_user_requests_total{$,team="e2e"}))`: 9,
	}
	for _, e := range o.Errors {
		sums[fmt.Sprintf(`sum(loadtest_user_errors_total{$,error_type=%q,http_status="%d"})`, e.Kind, e.Status)] = float64(e.Count)
	}
	return sums
}

// TestMonitoringDies kills everything that looks at a run while it lasts. The
// run does not care: nothing is lost, and a warning says who has not all of it.
func TestMonitoringDies(t *testing.T) {
	t.Parallel()
	m, p, out, otel := startMonitoring(t), startPlatform(t, "--speed", "5"), newFolder(t), startCollector(t)
	run := out.run(t, "dies", p.targets()+fifty+fmt.Sprintf(`
  loadPattern: {type: steady, phases: [{name: before, duration: 5s}, {name: after, duration: 7s}]}
  metrics: {pushgatewayUrl: %q, remoteWriteUrl: %q, otlpEndpoint: %q, exportInterval: 500ms}
`, m.gatewayAt, m.prometheusURL+"/api/v1/write", otel.url))
	until(t, "metrics are there", func() bool {
		v, _ := m.one(`sum(loadtest_user_requests_total{job=""})`)
		w, _ := m.one(`sum(loadtest_user_requests_total{job="loadtest"})`)
		return v > 100 && w > 100
	})
	m.gateway.signal(syscall.SIGKILL)
	m.prometheus.signal(syscall.SIGKILL)
	otel.signal(syscall.SIGKILL)
	run.exits(0)
	b := out.document(t, "dies")
	if b.Verdict.Status != verdict.Passed || b.Stop.Reason != "completed" || b.Headline.Requests == 0 || b.Headline.ErrorRate != 0 {
		t.Errorf("%+v, %+v, %+v", b.Verdict, b.Stop, b.Headline)
	}
	p.agrees(b)
	p.holdsNothing()
	warnings := strings.Join(b.Warnings, "\n")
	for _, who := range []string{"pushgateway at " + m.gatewayAt, "remote_write at " + m.prometheusURL, "otlp at " + otel.url} {
		if !strings.Contains(warnings, who) || !strings.Contains(warnings, "attempts failed") {
			t.Errorf("no warning names %s: %q", who, b.Warnings)
		}
	}
	t.Logf("send lag: p99 %v of %d requests", b.Headline.SendLag.P99, b.Headline.SendLag.Count)
}

// TestMetricsAreRemoved wants the Pushgateway to be as it was, if the scenario
// says so, and a Pushgateway that never was to be worth a warning.
func TestMetricsAreRemoved(t *testing.T) {
	t.Parallel()
	m, p, out := startMonitoring(t), startPlatform(t, "--instant"), newFolder(t)
	groups := func() (g struct{ Data []any }) {
		if err := m.get(m.gatewayAt+"/api/v1/metrics", &g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	push := "  metrics: {pushgatewayUrl: %q, exportInterval: 1s}\n  cleanup: {retainMetrics: %v}\n"
	out.run(t, "removed", p.targets()+small+fmt.Sprintf(push, m.gatewayAt, false)).exits(0)
	if g := groups(); len(g.Data) != 0 {
		t.Errorf("left: %v", g)
	}
	out.run(t, "kept", p.targets()+small+fmt.Sprintf(push, m.gatewayAt, true)).exits(0)
	if g := groups(); len(g.Data) != 1 {
		t.Errorf("kept: %v", g)
	}
	m.gateway.signal(syscall.SIGKILL)
	<-m.gateway.ended
	run := out.run(t, "dead", p.targets()+small+fmt.Sprintf(push, m.gatewayAt, true))
	run.exits(0)
	run.says("no metrics reached pushgateway at "+m.gatewayAt, "connection refused")
}

// TestWhoScrapesSeesTheEnd interrupts a run that is scraped: the last numbers are
// seen all the same, and that it ended, so that nobody takes it for gone.
func TestWhoScrapesSeesTheEnd(t *testing.T) {
	t.Parallel()
	m, p, out := startMonitoring(t), startPlatform(t, "--speed", "5"), newFolder(t)
	run := launch(t, []string{"ADMIN_KEY=" + adminKey}, "run", out.scenario(t, "interrupted", p.targets()+fifty+endless), "--output-dir", string(out), "--listen", m.scraped)
	until(t, "it is scraped again and again", func() bool {
		v, _ := m.one(`count_over_time(loadtest_worker_status{phase="running"}[1m:1s]) > 2 and loadtest_worker_status{phase="running"} == 1`)
		return v > 0
	})
	run.signal(syscall.SIGINT)
	run.exits(130)
	run.says("waiting for the last scrape")
	until(t, "Prometheus has the end", func() bool {
		v, _ := m.one(`last_over_time(loadtest_worker_status{phase="finished"}[1m]) == 1 unless on (worker_id) last_over_time(loadtest_worker_status{phase="running"}[1m]) == 1`)
		return v == 1
	})
	want := float64(out.document(t, "interrupted").Headline.Requests)
	if got, _ := m.one(`sum(last_over_time(loadtest_user_requests_total[1m]))`); got != want {
		t.Errorf("Prometheus has %v requests, the result %v", got, want)
	}
}
