package platform

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// TestTraceparent: a request's own trace goes on the wire, whoever writes it,
// in place of what the connection says; without one the connection decides.
func TestTraceparent(t *testing.T) {
	var got atomic.Pointer[http.Request]
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r) }))
	defer srv.Close()
	const fixed = "00-11111111111111111111111111111111-2222222222222222-00"
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"plain":    nil,
		"net/http": func(next http.RoundTripper) http.RoundTripper { return next },
	} {
		c := newClient(t, Connection{BaseURL: srv.URL, Headers: map[string]secret.String{"traceparent": secret.New(fixed)}, Wrap: wrap})
		q := askWhole()
		check := func(want string) {
			t.Helper()
			_ = c.Do(t.Context(), q, new(Exchange)) // the answer is empty
			if values := got.Load().Header.Values("Traceparent"); !slices.Equal(values, []string{want}) {
				t.Errorf("%s: %q", name, values)
			}
		}
		check(fixed)
		q.Trace = record.Trace{ID: record.TraceID{0xab}, Span: record.SpanID{0xcd}, Sampled: true}
		check("00-ab000000000000000000000000000000-cd00000000000000-01")
	}
}

// TestTenantCallsAreNamed: a call that is tried again has a name for each try, in
// one trace; whoever looks is told of both, without the names in the path.
func TestTenantCallsAreNamed(t *testing.T) {
	var headers []http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if headers = append(headers, r.Header); len(headers) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"id":"1","slug":"acme"}`))
	}))
	defer srv.Close()
	tenancy, err := NewTenancy(Connection{BaseURL: srv.URL}, Admin{Key: secret.New("k")})
	if err != nil {
		t.Fatal(err)
	}
	var told []record.Record
	tenancy.Name(Naming{Prefix: "run-", Ratio: 1, Epoch: time.Now(), Sink: record.SinkFunc(func(r *record.Record) { told = append(told, *r) })})
	if err := tenancy.ReadOrg(t.Context(), OrgRef{Slug: "acme"}); err != nil {
		t.Fatal(err)
	}
	if len(headers) != 2 || len(told) != 2 {
		t.Fatalf("%d calls, told of %d", len(headers), len(told))
	}
	for i, r := range told {
		if h := headers[i]; r.ID != []string{"run-1", "run-2"}[i] || h.Get("X-Request-Id") != r.ID || h.Get("Traceparent") != string(r.Trace.AppendHeader(nil)) ||
			!r.Trace.Sampled || r.Endpoint != "GET /v1/orgs/*" || r.Done < r.Sent || r.Sent <= 0 {
			t.Errorf("%v: %+v", h, r)
		}
	}
	first, second := told[0], told[1]
	if first.Trace.ID != second.Trace.ID || first.Trace.Span == second.Trace.Span || first.Outcome != record.Refused || first.Status != 503 ||
		second.Outcome != record.Success || second.Status != 200 {
		t.Errorf("%+v\n%+v", first, second)
	}
	if err := tenancy.ReadOrg(Named(t.Context(), "mine", record.Trace{}), OrgRef{Slug: "acme"}); err != nil || len(told) != 2 || headers[2].Get("X-Request-Id") != "mine" {
		t.Errorf("%v, told of %d; %v", err, len(told), headers[2])
	}
	if got := pattern("/v1/orgs/acme/users/7/api-keys/9/revoke"); got != "/v1/orgs/*/users/*/api-keys/*/revoke" {
		t.Error(got)
	}
}
