package tracing_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/tracing"
)

// fake is the collector's end of the protocol, by its official messages.
type fake struct {
	mu    sync.Mutex
	calls []*collector.ExportTraceServiceRequest
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	data, err := io.ReadAll(body)
	call := new(collector.ExportTraceServiceRequest)
	if err == nil {
		err = proto.Unmarshal(data, call)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Tenant") != "me" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (f *fake) spans() (spans []*trace.Span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		for _, r := range c.ResourceSpans {
			for _, s := range r.ScopeSpans {
				spans = append(spans, s.Spans...)
			}
		}
	}
	return spans
}

func start(t *testing.T, at string, o tracing.Options) *tracing.Exporter {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", at)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=me")
	e, err := tracing.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func text(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.Key] = time.Duration(v.IntValue).String() // 5 is 5ns
		}
	}
	return out
}

func TestARequestAsASpan(t *testing.T) {
	var f fake
	server := httptest.NewServer(&f)
	defer server.Close()
	e := start(t, server.URL, tracing.Options{Attributes: map[string]string{"loadtest.run": "run-1"}})
	epoch := time.Now()
	names := record.Trace{ID: record.TraceID{1, 2}, Span: record.SpanID{3, 4}, Sampled: true}
	r := &record.Record{
		ID: "run-1-3-4", Trace: names, Org: "acme", User: "ann", Phase: "steady", Attempt: 2, Endpoint: "chat", Model: "m",
		Scheduled: 10, Sent: 20, DNS: 1, Connect: 2, TLS: 3, FirstByte: 40, FirstToken: 50, LastToken: 60, Done: 70,
		Status: 200, UsageKnown: true, PromptTokens: 5, CompletionTokens: 6,
	}
	sink := e.Since(epoch)
	sink.Add(r)
	*r = record.Record{ID: "bad\xff", Trace: names, Outcome: record.Failed, Kind: record.Timeout, Message: "no \xff answer", Endpoint: "completions", Scheduled: 5, Done: 9}
	sink.Add(r)
	r.Trace.Sampled = false
	sink.Add(r)
	if a := e.Close(); a.Sent != 2 || a.Lost() != 0 || a.Err != nil {
		t.Errorf("%+v", a)
	}
	spans := f.spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	s := spans[0]
	if hex.EncodeToString(s.TraceId) != names.ID.String() || hex.EncodeToString(s.SpanId) != names.Span.String() || s.ParentSpanId != nil ||
		s.Name != "chat m" || s.Kind != trace.Span_SPAN_KIND_CLIENT || s.Status != nil {
		t.Errorf("%v", s)
	}
	at := func(nano uint64) int64 { return int64(nano) - epoch.UnixNano() }
	var events []string
	for _, e := range s.Events {
		events = append(events, e.Name+" "+time.Duration(at(e.TimeUnixNano)).String())
	}
	if got, want := strings.Join(events, ", "), "sent 20ns, connected 26ns, first byte 40ns, first token 50ns, last token 60ns"; got != want || at(s.StartTimeUnixNano) != 10 || at(s.EndTimeUnixNano) != 70 {
		t.Errorf("%v: %d to %d: %s", s, at(s.StartTimeUnixNano), at(s.EndTimeUnixNano), got)
	}
	got := text(s.Attributes)
	for name, want := range map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": "5ns", "gen_ai.usage.output_tokens": "6ns",
		"http.response.status_code": "200ns", "loadtest.request_id": "run-1-3-4", "loadtest.org": "acme", "loadtest.user": "ann",
		"loadtest.phase": "steady", "loadtest.outcome": "success", "loadtest.attempt": "2ns",
	} {
		if got[name] != want {
			t.Errorf("%s is %q and not %q", name, got[name], want)
		}
	}
	if got := text(f.calls[0].ResourceSpans[0].Resource.Attributes); got["service.name"] != "loadtest" || got["loadtest.run"] != "run-1" {
		t.Errorf("the resource is %v", got)
	}
	if s := spans[1]; s.Name != "text_completion" || s.Status.GetCode() != trace.Status_STATUS_CODE_ERROR || s.Status.Message != "no \uFFFD answer" || text(s.Attributes)["error.type"] != "timeout" {
		t.Errorf("the failure: %v", s)
	}
}

// TestACollectorThatDoesNotAnswer: nobody waits for it, and every span is accounted for.
func TestACollectorThatDoesNotAnswer(t *testing.T) {
	const n = 20_000
	asked, free := make(chan struct{}, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-free
	}))
	defer server.Close()
	defer close(free)
	e := start(t, server.URL, tracing.Options{Patience: 50 * time.Millisecond})
	sink := e.Since(time.Now())
	for i := range n {
		sink.Add(&record.Record{Trace: record.Trace{ID: record.TraceID{byte(i)}, Sampled: true}})
	}
	<-asked
	a := e.Close()
	if a.Sent != 0 || a.Lost() != n || a.Dropped < n/2 || a.Failed == 0 || a.Err == nil {
		t.Errorf("%+v", a)
	}
}

func TestNoCollector(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	gone := server.URL
	server.Close()
	e := start(t, gone, tracing.Options{})
	sink := e.Since(time.Now())
	for range 1000 {
		sink.Add(&record.Record{Trace: record.Trace{Sampled: true}})
	}
	if a := e.Close(); a.Failed != 1000 || a.Err == nil || !strings.Contains(a.Err.Error(), "refused") {
		t.Errorf("%+v", a)
	}
}

func TestWanted(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, c := range []struct {
		env   map[string]string
		yes   bool
		fault string
	}{
		{nil, false, ""},
		{map[string]string{endpoint: "http://c:4318"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, true, ""},
		{map[string]string{endpoint: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, false, ""},
		{map[string]string{endpoint: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{map[string]string{endpoint: "c:4318"}, false, "no address such as"},
		{map[string]string{endpoint: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "only http/protobuf"},
	} {
		yes, err := tracing.Wanted(func(name string) string { return c.env[name] })
		if yes != c.yes || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%v: %v, %v", c.env, yes, err)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	e, err := tracing.Start(tracing.Options{})
	if err != nil {
		b.Fatal(err)
	}
	sink, r := e.Since(time.Now()), &record.Record{Endpoint: "chat", Model: "m", Trace: record.Trace{ID: record.TraceID{1}, Sampled: true}}
	b.ReportAllocs()
	for b.Loop() {
		sink.Add(r)
	}
	b.StopTimer()
	e.Close()
}
