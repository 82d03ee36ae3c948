package platform

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

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
