package platformsim_test

import (
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

func TestManagement(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), KeepTruth: 10, Seed: 7, RateLimit: platformsim.RateLimit{RequestsPerSecond: 1, Burst: 3}, Quirks: platformsim.Quirks{AnySlug: true}})
	m := tenant(t, p, "acme", map[string]any{"budget": map[string]any{"limitUSD": 1}})
	h := p.Management()
	call := func(method, path, body string) answer { return do(h, method, path, body) }

	if a := call("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("healthz: %d", a.status)
	}
	state := call("GET", "/state", "")
	for path, want := range map[string]any{
		"seed": 7.0, "quirks.0": "any-slug", "orgs": 1.0, "users": 1.0, "activeKeys": 1.0, "slugs.0": "acme", "models.m.Running": 0.0,
	} {
		if got := state.field(t, path); got != want {
			t.Errorf("state: %s is %v, want %v", path, got, want)
		}
	}
	asAdmin(t, p).do("PATCH", "/v1/orgs/acme", `{"status":"suspended"}`)
	if got := call("GET", "/state", "").field(t, "suspended.0"); got != "acme" {
		t.Errorf("suspended: %v", got)
	}
	asAdmin(t, p).do("PATCH", "/v1/orgs/acme", `{"status":"active"}`)

	if a := call("PUT", "/faults", `{"http-503":1,"stall-for":"1s"}`); a.status != 200 || a.field(t, "http-503") != 1.0 || a.field(t, "stall-for") != "1s" || a.field(t, "seed") != 7.0 {
		t.Errorf("set faults: %d %s", a.status, a.body)
	}
	if a := m.ask(p, chatPath, hello, "X-Request-Id", "hit"); a.status != 503 {
		t.Errorf("under faults: %d", a.status)
	}
	for _, body := range []string{`{"stall":3}`, `{"nonsense":1}`, `7`, ``, `{} {}`} {
		if a := call("PUT", "/faults", body); a.status != 400 || a.text(t, "error") == "" {
			t.Errorf("faults %q: %d %s", body, a.status, a.body)
		}
	}
	if a := call("GET", "/faults", ""); a.field(t, "http-503") != 1.0 {
		t.Errorf("a bad PUT changed the faults: %s", a.body)
	}
	call("PUT", "/faults", `{}`)
	if a := call("PUT", "/outages", `{"backends":true}`); a.status != 200 || !p.Outages().Backends {
		t.Errorf("outages: %d %s", a.status, a.body)
	}
	if a := call("PUT", "/outages", `{"backend":true}`); a.status != 400 {
		t.Errorf("misspelt outage: %d", a.status)
	}
	if a := m.ask(p, chatPath, hello); a.status != 503 {
		t.Errorf("without backends: %d", a.status)
	}

	_, entries := readTruth(t, []byte(call("GET", "/truth", "").body))
	if len(entries) != 2 || entries[0].ID != "hit" || entries[0].Fault != platformsim.Unavailable || entries[1].Status != 503 {
		t.Errorf("truth: %+v", entries)
	}
	totals := call("GET", "/truth/totals", "")
	if totals.field(t, "requests") != 2.0 || totals.field(t, "byStatus.503") != 2.0 || totals.field(t, "orgs.acme.requests") != 2.0 ||
		totals.field(t, "faults.http-503") != 1.0 || totals.field(t, "lateness.saturated") != false {
		t.Errorf("totals: %s", totals.body)
	}
	if a := call("DELETE", "/truth", ""); a.status != 204 || len(p.Truth()) != 0 || p.Totals().Requests != 0 {
		t.Errorf("delete truth: %d", a.status)
	}

	key := p.AdminKey()
	if a := call("POST", "/reset", ""); a.status != 204 {
		t.Errorf("reset: %d", a.status)
	}
	if s := p.State(); s.Orgs != 0 || p.Outages().Backends || p.AdminKey() != key {
		t.Errorf("after reset: %+v", s)
	}
	if a := m.ask(p, chatPath, hello); a.status != 401 {
		t.Errorf("an old key after reset: %d", a.status)
	}
	fresh := tenant(t, p, "acme", nil)
	for i, want := range []int{200, 200, 200, 429} { // limits begin anew too
		if a := fresh.ask(p, chatPath, strings.ReplaceAll(hello, "Hello", strings.Repeat("Hello ", i+1))); a.status != want {
			t.Errorf("request %d after reset: %d, want %d", i, a.status, want)
		}
	}
}
