package worker_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/tracing"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

func tracedTo(t *testing.T, endpoint string) func(*worker.Options) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	e, err := tracing.Start(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *worker.Options) { o.Traces, o.TraceRatio = e, 1 }
}

// TestEveryRequestHasASpan: the collector has a span for each request that the
// platform saw, under the name that the platform was given.
func TestEveryRequestHasASpan(t *testing.T) {
	p := target(t, platformsim.Options{})
	var mu sync.Mutex
	spans := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		call := new(collector.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(data, call)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range call.ResourceSpans[0].ScopeSpans[0].Spans {
			spans["00-"+hex.EncodeToString(s.TraceId)+"-"+hex.EncodeToString(s.SpanId)+"-01"]++
		}
	}))
	defer server.Close()
	b, err := prepare(t, targets(p)+busy, tracedTo(t, server.URL)).Run(t.Context())
	if err != nil || len(b.Warnings) > 0 {
		t.Fatal(err, b.Warnings)
	}
	truth := p.Truth()
	for _, e := range truth {
		if spans[e.Traceparent] != 1 {
			t.Errorf("%s has %d spans", e.Traceparent, spans[e.Traceparent])
		}
	}
	if len(truth) == 0 || len(spans) != len(truth) {
		t.Errorf("%d spans of %d requests", len(spans), len(truth))
	}
}

func TestADeadCollectorChangesNothing(t *testing.T) {
	p := target(t, platformsim.Options{})
	server := httptest.NewServer(http.NotFoundHandler())
	gone := server.URL
	server.Close()
	b, err := prepare(t, targets(p)+busy, tracedTo(t, gone)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	overall := b.Summary.Overall()
	agree(t, p, overall.All)
	if b.Verdict.Status != verdict.Passed || !strings.Contains(strings.Join(b.Warnings, "\n"), "spans are missing from the OpenTelemetry collector") {
		t.Errorf("%+v; %q", b.Verdict, b.Warnings)
	}
}
