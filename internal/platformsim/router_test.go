package platformsim_test

import (
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

func TestWholeAnswers(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)

	a := m.ask(p, chatPath, hello, "X-Request-Id", "my-1")
	if a.status != 200 || a.header.Get("X-Request-Id") != "my-1" || a.header.Get("Content-Type") != "application/json" ||
		a.header.Get("X-Routing-Backend") != "m-0" || a.header.Get("X-Routing-Decision") != "PRIMARY" {
		t.Fatalf("chat: %d %v %s", a.status, a.header, a.body)
	}
	// Prompt: user (1) Hello there (2) assistant (2: seven letters a token).
	for path, want := range map[string]any{
		"object": "chat.completion", "model": "m", "choices.0.index": 0.0, "choices.0.message.role": "assistant",
		"choices.0.finish_reason": "stop", "usage.prompt_tokens": 5.0, "usage.completion_tokens": 5.0,
		"usage.total_tokens": 10.0, "usage.prompt_tokens_details.cached_tokens": 0.0,
	} {
		if got := a.field(t, path); got != want {
			t.Errorf("chat: %s is %v, want %v", path, got, want)
		}
	}
	text := a.text(t, "choices.0.message.content")
	if tokens := (llm.Tokenizer{}).Tokenize(nil, text); len(tokens) != 5 {
		t.Errorf("the answer %q has %d tokens, usage says 5", text, len(tokens))
	}
	if again := m.ask(p, chatPath, hello); again.text(t, "choices.0.message.content") != text || again.text(t, "id") == a.text(t, "id") {
		t.Error("the same prompt must be answered alike, under another id")
	}
	if id := m.ask(p, chatPath, hello).header.Get("X-Request-Id"); !strings.HasPrefix(id, "req-") {
		t.Errorf("made-up request id %q", id)
	}

	a = m.ask(p, "/v1/completions", `{"model":"m","prompt":["Once upon a time"],"max_tokens":3}`)
	for path, want := range map[string]any{
		"object": "text_completion", "choices.0.finish_reason": "length", "usage.prompt_tokens": 4.0, "usage.completion_tokens": 3.0,
	} {
		if got := a.field(t, path); got != want {
			t.Errorf("completions: %s is %v, want %v in %s", path, got, want, a.body)
		}
	}
	if a.text(t, "choices.0.text") == "" {
		t.Error("completions: no text")
	}
	a = m.ask(p, chatPath, `{"model":"m","max_tokens":9,"ignore_eos":true,"messages":[{"role":"user","content":[{"type":"text","text":"Hello"},{"type":"text","text":" there"}]}]}`)
	if a.field(t, "usage.completion_tokens") != 9.0 || a.field(t, "usage.prompt_tokens") != 5.0 {
		t.Errorf("parts and ignore_eos: %s", a.body)
	}

	a = m.ask(p, "/v1/inference", `{"request_id":"`+m.orgID+`","model":"m","payload":"Hello there"}`)
	if a.field(t, "usage.tokens_input") != 11.0 || a.field(t, "usage.tokens_output") != 5.0 || a.text(t, "request_id") != m.orgID || a.text(t, "output.text") == "" {
		t.Errorf("inference: %s", a.body)
	}
}

func TestEmbeddings(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	vector := func(a answer, i string) (v []float64) {
		for _, x := range a.field(t, "data."+i+".embedding").([]any) {
			v = append(v, x.(float64))
		}
		return v
	}
	a := m.ask(p, "/v1/embeddings", `{"model":"e","input":["red green blue","red green grey","seven zebras jumped"]}`)
	if a.status != 200 || a.field(t, "usage.prompt_tokens") != 9.0 || a.field(t, "usage.total_tokens") != 9.0 || a.field(t, "data.2.index") != 2.0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	first := vector(a, "0")
	norm := 0.0
	for _, x := range first {
		norm += x * x
	}
	if len(first) != 8 || math.Abs(norm-1) > 1e-4 {
		t.Errorf("vector %v has length² %v", first, norm)
	}
	one := m.ask(p, "/v1/embeddings", `{"model":"e","input":"red green blue"}`)
	for i, x := range vector(one, "0") {
		if x != first[i] {
			t.Fatal("the same text has two vectors")
		}
	}
}

func TestModels(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	get := func(path string) answer { return do(p.Router(), "GET", path, "", "Authorization", "Bearer "+m.key) }
	if a := get("/v1/models"); a.status != 200 || a.field(t, "data.0.id") != "m" || a.field(t, "data.1.id") != "e" || a.field(t, "data.0.max_model_len") != 2000.0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get("/v1/models/e"); a.status != 200 || a.text(t, "id") != "e" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get("/v1/models/x"); a.status != 404 || a.text(t, "code") != "NOT_FOUND" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{"/healthz", "/v1/status/healthz", "/v1/status/readyz", "/metrics"} {
		if a := do(p.Router(), "GET", path, ""); a.status != 200 {
			t.Errorf("%s without a key: %d", path, a.status)
		}
	}
	if a := get("/metrics"); !strings.Contains(a.body, `vllm:num_requests_running{model_name="m"} 0`) {
		t.Errorf("metrics: %s", a.body)
	}
	for _, path := range []string{"/v1/admin/routing/backends", "/v1/admin/routing/backends/m-0/health", "/v1/admin/routing/decisions", "/v1/admin/routing/policies/o/m"} {
		if a := get(path); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestRouterRefusals(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	long := strings.Repeat("word ", 2000)
	for _, c := range []struct {
		path, body string
		status     int
		code, text string
	}{
		{chatPath, `{`, 400, "INVALID_REQUEST", "invalid request body"},
		{chatPath, `{"model":7}`, 400, "INVALID_REQUEST", "model is of the wrong type (number)"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":7}]}`, 400, "INVALID_REQUEST", "a text must be a string"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, 400, "INVALID_REQUEST", "parts of type text"},
		{chatPath, `{"messages":[{"role":"user","content":"x"}]}`, 400, "VALIDATION_ERROR", "model is required"},
		{chatPath, `{"model":"m"}`, 400, "VALIDATION_ERROR", "messages is required"},
		{chatPath, `{"model":"m","messages":[{"content":"x"}]}`, 400, "VALIDATION_ERROR", "messages[0].role is required"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}`, 400, "VALIDATION_ERROR", "max_tokens must be at least 1"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"n":2}`, 400, "VALIDATION_ERROR", "n must be 1"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":3}`, 400, "VALIDATION_ERROR", "temperature"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1998}`, 400, "CONTEXT_LENGTH_EXCEEDED", "is 2000 tokens"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"` + long + `"}]}`, 400, "CONTEXT_LENGTH_EXCEEDED", "is 2000 tokens"},
		{chatPath, `{"model":"none","messages":[{"role":"user","content":"x"}]}`, 404, "NOT_FOUND", "there is no model none"},
		{chatPath, `{"model":"e","messages":[{"role":"user","content":"x"}]}`, 400, "VALIDATION_ERROR", "does not serve this endpoint"},
		{"/v1/completions", `{"model":"m"}`, 400, "VALIDATION_ERROR", "prompt is required"},
		{"/v1/completions", `{"model":"m","prompt":["a","b"]}`, 400, "INVALID_REQUEST", "a list of one string"},
		{"/v1/embeddings", `{"model":"e"}`, 400, "VALIDATION_ERROR", "input is required"},
		{"/v1/embeddings", `{"model":"m","input":"x"}`, 400, "VALIDATION_ERROR", "does not serve this endpoint"},
		{"/v1/inference", `{"model":"m","payload":"x"}`, 400, "VALIDATION_ERROR", "request_id must be a UUID"},
		{"/v1/inference", `{"model":"m","request_id":"` + m.orgID + `"}`, 400, "VALIDATION_ERROR", "payload is required"},
		{"/v1/nothing", `{}`, 404, "NOT_FOUND", "there is no path"},
		{"/v1/audit/requests/7", ``, 405, "METHOD_NOT_ALLOWED", "this path takes GET"},
		{chatPath, strings.Repeat(" ", 16<<20+1), 413, "REQUEST_TOO_LARGE", "larger than 16777216 bytes"},
	} {
		got := m.ask(p, c.path, c.body)
		body := c.body[:min(60, len(c.body))]
		if got.status != c.status || got.text(t, "code") != c.code || !strings.Contains(got.text(t, "error"), c.text) {
			t.Errorf("%s %s: got %d %s, want %d %s %q", c.path, body, got.status, got.body, c.status, c.code, c.text)
		}
		if c.status != 405 && len(got.text(t, "trace_id")) != 32 {
			t.Errorf("%s %s: trace_id is missing: %s", c.path, body, got.body)
		}
	}
	for _, c := range []struct{ key, text string }{{"", "missing X-API-Key header"}, {"nonsense", "invalid API key: API key not found"}} {
		got := (member{key: c.key}).ask(p, chatPath, hello)
		if got.status != 401 || got.text(t, "code") != "AUTH_INVALID" || got.text(t, "error") != c.text {
			t.Errorf("key %q: %d %s", c.key, got.status, got.body)
		}
	}
	if got := do(p.Router(), "GET", chatPath, "", "X-API-Key", m.key); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET chat: %d %v", got.status, got.header)
	}
}

func TestOutages(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	p.SetOutages(platformsim.Outages{UserOrg: true})
	if a := m.ask(p, chatPath, hello); a.status != 503 || a.text(t, "code") != "SERVICE_UNAVAILABLE" {
		t.Errorf("keys cannot be checked: %d %s", a.status, a.body)
	}
	if a := do(p.UserOrg(), "GET", "/healthz", ""); a.status != 503 {
		t.Errorf("User/Org down: %d", a.status)
	}
	if a := do(p.Router(), "GET", "/v1/status/readyz", ""); a.status != 503 || a.text(t, "status") != "degraded" {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
	p.SetOutages(platformsim.Outages{Backends: true})
	if a := m.ask(p, chatPath, hello); a.status != 503 || a.text(t, "code") != "BACKEND_UNAVAILABLE" || a.header.Get("Retry-After") != "1" {
		t.Errorf("no backends: %d %s", a.status, a.body)
	}
	p.SetOutages(platformsim.Outages{})
	if a := m.ask(p, chatPath, hello); a.status != 200 {
		t.Errorf("up again: %d", a.status)
	}
}

func TestPrefixCacheAndSalt(t *testing.T) {
	// 64 tokens of history, so that whole blocks of 16 are there to be found.
	history := strings.TrimSpace(strings.Repeat("word ", 64))
	first := `{"model":"m","messages":[{"role":"user","content":"` + history + `"}]`
	cached := func(a answer) float64 { return a.field(t, "usage.prompt_tokens_details.cached_tokens").(float64) }
	for _, c := range []struct {
		name   string
		defect platformsim.Defects
		leaks  bool
	}{{"sound", platformsim.Defects{}, false}, {"leaky", platformsim.Defects{LeakyCache: true}, true}} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t, platformsim.Options{Models: instant(), Defects: c.defect})
			m := tenant(t, p, "acme", nil)
			a := m.ask(p, chatPath, first+`,"cache_salt":"a"}`)
			if cached(a) != 0 {
				t.Errorf("nothing can be cached yet: %s", a.body)
			}
			if b := m.ask(p, chatPath, first+`,"cache_salt":"b"}`); (cached(b) > 0) != c.leaks {
				t.Errorf("another salt finds %v tokens", cached(b))
			}
			// The next turn of the conversation continues prompt and answer.
			next := `{"model":"m","cache_salt":"a","messages":[{"role":"user","content":"` + history + `"},{"role":"assistant","content":"` +
				a.text(t, "choices.0.message.content") + `"},{"role":"user","content":"And then?"}]}`
			if b := m.ask(p, chatPath, next); cached(b) != 64 { // 67 + 5 tokens known, whole blocks only, the last answer token not computed
				t.Errorf("the next turn finds %v tokens: %s", cached(b), b.body)
			}
		})
	}
}

func TestClosedPlatformRefuses(t *testing.T) {
	p, err := platformsim.New(platformsim.Options{Models: instant()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := do(p.Router(), "POST", chatPath, hello); a.status != http.StatusServiceUnavailable {
		t.Errorf("router: %d", a.status)
	}
	if a := do(p.UserOrg(), "GET", "/healthz", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("User/Org: %d", a.status)
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]platformsim.Options{
		"two models named m":  {Models: []platformsim.Model{{Name: "m"}, {Name: "m"}}},
		"has no name":         {Models: []platformsim.Model{{}}},
		"must not be":         {RateLimit: platformsim.RateLimit{RequestsPerSecond: -1}},
		"a rate is from":      {Faults: platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.Stall: 2}}},
		"no request fails tw": {Faults: platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.Stall: 0.6, platformsim.Reset: 0.6}}},
		"there is no fault":   {Faults: platformsim.Faults{Rates: map[platformsim.Fault]float64{"x": 0.6}}},
	} {
		if _, err := platformsim.New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
	p := open(t, platformsim.Options{})
	if err := p.Start(platformsim.Listen{Management: "0.0.0.0:0"}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("management for everybody: %v", err)
	}
	if err := p.Start(platformsim.Listen{Router: "no address"}); err == nil || !strings.Contains(err.Error(), "listen for the router") {
		t.Errorf("bad address: %v", err)
	}
	if p.RouterURL() != "" {
		t.Errorf("listens at %s after a failed start", p.RouterURL())
	}
}
