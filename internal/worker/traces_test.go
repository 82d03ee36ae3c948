package worker_test

import (
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
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
	if others := len(spans) - len(truth); len(truth) == 0 || others < 3+2*b.Bootstrap.Users {
		t.Errorf("%d spans of %d requests, beside those of the tenants", len(spans), len(truth))
	}
}

// Calls of the User/Org API are found on the platform by the names that our
// records have, those that are load, and all others by names of their own, which
// our spans have.
func TestManagementIsNamed(t *testing.T) {
	p := target(t, platformsim.Options{})
	to, err := url.Parse(p.UserOrgURL())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	sent, named, others := map[[2]string]bool{}, map[[2]string]bool{}, map[[2]string]int{}
	pass := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := [2]string{r.Header.Get("X-Request-Id"), r.Header.Get("Traceparent")}
		mu.Lock()
		if strings.HasPrefix(name[0], "run-1-tenants-0-") {
			others[name]++
		} else {
			named[name] = true
		}
		mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	defer front.Close()
	b, err := prepare(t, strings.Replace(targets(p), p.UserOrgURL(), front.URL, 1)+managed(), func(o *worker.Options) {
		o.TraceRatio = 1
		o.Sinks = append(o.Sinks, record.SinkFunc(func(r *record.Record) {
			if slices.Contains(operations, r.Endpoint) {
				mu.Lock()
				defer mu.Unlock()
				sent[[2]string{r.ID, string(r.Trace.AppendHeader(nil))}] = true
			}
		}))
	}).Run(t.Context())
	if err != nil || b.Verdict.Status != verdict.Passed || len(sent) < 90 || !maps.Equal(named, sent) {
		t.Errorf("%v, %+v: %d operations, %d were named on the platform", err, b.Verdict, len(sent), len(named))
	}
	made, ids, spans := b.Bootstrap, map[string]bool{}, map[string]bool{}
	for name, calls := range others {
		ids[name[0]], spans[name[1]] = true, true
		if calls != 1 || !strings.HasPrefix(name[1], "00-") || !strings.HasSuffix(name[1], "-01") {
			t.Errorf("%d calls are named %q", calls, name)
		}
	}
	if len(others) < made.Orgs+made.Users+made.Keys+b.Cleanup.DeletedOrgs || len(ids) != len(others) || len(spans) != len(others) {
		t.Errorf("%d calls for tenants, with %d ids and %d spans; %+v", len(others), len(ids), len(spans), made)
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
