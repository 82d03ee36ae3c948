package platformsim_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// quirky is what a test of one quirk works with.
type quirky struct {
	p *platformsim.Platform
	m member // of an org "acme" with a budget of 1 USD and a rate limit of its own
	a admin
}

func (q quirky) plain(method, path, body string, headers ...string) answer {
	return do(q.p.UserOrg(), method, path, body, headers...)
}

// quirkTests has one test for each quirk. It is run with the quirk off and on and
// says whether it sees the quirk, in a bubble with a clock of its own.
var quirkTests = map[string]func(t *testing.T, q quirky) bool{
	"no-delete": func(_ *testing.T, q quirky) bool {
		d := q.a.do("DELETE", "/v1/orgs/acme/users/"+q.m.user, "")
		return d.status == 405 && strings.Contains(d.body, `"method":"DELETE"`) && q.a.do("DELETE", "/v1/orgs/acme", "").status == 405
	},
	"api-keys-path": func(_ *testing.T, q quirky) bool {
		users := "/v1/orgs/acme/users/" + q.m.user
		missing, empty := q.a.do("POST", users+"/keys", "{}"), q.a.do("POST", users+"/api-keys", "")
		return missing.status == 404 && strings.Contains(missing.body, `"path":`) && empty.status == 400
	},
	"pending-invites": func(t *testing.T, q quirky) bool {
		inv := q.a.do("POST", "/v1/orgs/acme/invites", `{"email":"b@acme.invalid"}`)
		users := "/v1/orgs/acme/users/" + inv.text(t, "inviteId")
		early := q.a.do("POST", users+"/api-keys", "{}")
		q.a.do("PATCH", users, `{"status":"active"}`)
		if late := q.a.do("POST", users+"/api-keys", "{}"); late.status != 201 {
			t.Errorf("key for an active user: %d %s", late.status, late.body)
		}
		return inv.text(t, "status") == "pending" && early.status == 400 && strings.Contains(early.body, "user is not active")
	},
	"text-errors": func(_ *testing.T, q quirky) bool {
		a := q.a.do("POST", "/v1/orgs", `{"name":"x"}`)
		return a.status == 400 && a.body == "name and slug are required\n" && strings.HasPrefix(a.header.Get("Content-Type"), "text/plain")
	},
	"ghost-orgs": func(_ *testing.T, q quirky) bool {
		a := q.a.do("GET", "/v1/orgs/none", "")
		return a.status == 200 && strings.Contains(a.body, `"orgId":"00000000-0000-0000-0000-000000000000","name":"","slug":""`) &&
			q.a.do("PATCH", "/v1/orgs/none", `{}`).status == 409
	},
	"empty-lists": func(_ *testing.T, q quirky) bool {
		return q.a.do("GET", "/v1/orgs", "").body == "[]\n" && q.a.do("GET", "/v1/orgs/acme/users", "").body == "[]\n"
	},
	"login-only": func(_ *testing.T, q quirky) bool {
		key := q.p.AdminKey().Reveal()
		header, bearer := q.plain("GET", "/v1/orgs", "", "X-API-Key", key), q.plain("GET", "/v1/orgs", "", "Authorization", "Bearer "+key)
		return header.status == 401 && strings.Contains(header.body, "missing authorization header") && bearer.status == 401
	},
	"login-org-uuid": func(_ *testing.T, q quirky) bool {
		login := func(org string) int {
			return q.plain("POST", "/v1/auth/login", `{"email":"user@acme.invalid","password":"x","org_id":"`+org+`"}`).status
		}
		return login("acme") == 500 && login(q.m.orgID) == 400
	},
	"login-lockout": func(t *testing.T, q quirky) bool {
		home := q.a.do("GET", "/v1/auth/userinfo", "").text(t, "organization_id")
		login := func(password string) int {
			return q.plain("POST", "/v1/auth/login", `{"email":"`+q.p.AdminEmail()+`","password":"`+password+`","org_id":"`+home+`"}`).status
		}
		var statuses []int
		for range 5 {
			statuses = append(statuses, login("wrong"))
		}
		locked := login(q.p.AdminPassword().Reveal())
		time.Sleep(15 * time.Minute)
		if again := login(q.p.AdminPassword().Reveal()); again != 200 {
			t.Errorf("after a quarter of an hour: %d", again)
		}
		return slices.Equal(statuses, []int{400, 400, 400, 400, 500}) && locked == 400
	},
	"any-slug": func(_ *testing.T, q quirky) bool {
		return q.a.do("POST", "/v1/orgs", `{"name":"x","slug":"A/b c"}`).status == 201 && q.a.do("GET", "/v1/orgs/a/b%20c", "").status == 404
	},
	"patch-drops-fields": func(t *testing.T, q quirky) bool {
		u := q.a.do("PATCH", "/v1/orgs/acme/users/"+q.m.user, `{"status":"active","displayName":"New"}`)
		return u.text(t, "displayName") != "New"
	},
	"revoke-conflicts": func(t *testing.T, q quirky) bool {
		conflicts := 0
		for range 200 { // keys in use
			k := q.a.do("POST", "/v1/orgs/acme/users/"+q.m.user+"/api-keys", "{}")
			(member{key: k.text(t, "secret")}).ask(q.p, chatPath, hello)
			path := "/v1/orgs/acme/api-keys/" + k.text(t, "apiKeyId")
			for a := q.a.do("DELETE", path, ""); a.status != 204; a = q.a.do("POST", path+"/revoke", "") {
				if a.status != 409 || !strings.Contains(a.body, "modified concurrently") {
					t.Fatalf("revoke: %d %s", a.status, a.body)
				}
				conflicts++
			}
		}
		idle := q.a.do("POST", "/v1/orgs/acme/users/"+q.m.user+"/api-keys", "{}").text(t, "apiKeyId")
		q.a.do("DELETE", "/v1/orgs/acme/api-keys/"+idle, "")
		twice := q.a.do("DELETE", "/v1/orgs/acme/api-keys/"+idle, "")
		return conflicts > 5 && conflicts < 50 && twice.status == 409 && strings.Contains(twice.body, "already revoked")
	},
	"invite-races": func(_ *testing.T, q quirky) bool {
		var mu sync.Mutex
		statuses := []int{}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				s := q.a.do("POST", "/v1/orgs/acme/invites", `{"email":"race@acme.invalid"}`).status
				mu.Lock()
				defer mu.Unlock()
				statuses = append(statuses, s)
			})
		}
		wg.Wait()
		slices.Sort(statuses)
		return slices.Equal(statuses, []int{202, 500})
	},
	"slow-invites": func(_ *testing.T, q quirky) bool {
		began := time.Now()
		var wg sync.WaitGroup
		for _, email := range []string{"1", "2", "3"} {
			wg.Go(func() { q.a.do("POST", "/v1/orgs/acme/invites", `{"email":"`+email+`"}`) })
		}
		wg.Wait()
		return time.Since(began) == 3*60*time.Millisecond // at any parallelism
	},
	"no-org-rate-limit": func(t *testing.T, q quirky) bool {
		return q.a.do("GET", "/v1/orgs/acme", "").field(t, "rateLimit") == nil && q.m.ask(q.p, chatPath, hello).header.Get("X-Ratelimit-Limit") == "1000"
	},
	"no-budgets": func(t *testing.T, q quirky) bool {
		q.a.do("PATCH", "/v1/orgs/acme", `{"budget":{"limitUSD":0.000001}}`)
		q.m.ask(q.p, chatPath, hello)
		return q.m.ask(q.p, chatPath, hello).status == 200 && q.a.do("GET", "/v1/orgs/acme/budget", "").status == 404 &&
			q.a.do("GET", "/v1/orgs/acme", "").field(t, "budget") == nil
	},
	"suspend-keeps-keys": func(t *testing.T, q quirky) bool {
		q.a.do("PATCH", "/v1/orgs/acme/users/"+q.m.user, `{"status":"suspended"}`)
		q.a.do("PATCH", "/v1/orgs/acme", `{"status":"suspended"}`)
		v := q.plain("POST", "/v1/auth/validate-api-key", `{"apiKeySecret":"`+q.m.key+`"}`)
		return v.field(t, "valid") == true && q.m.ask(q.p, chatPath, hello).status == 200
	},
	"key-cache": func(t *testing.T, q quirky) bool {
		q.m.ask(q.p, chatPath, hello)
		time.Sleep(30 * time.Second)
		if a := q.a.do("DELETE", "/v1/orgs/acme/api-keys/"+q.m.keyID, ""); a.status != 204 {
			t.Fatalf("revoke: %d", a.status)
		}
		time.Sleep(29 * time.Second)
		late := q.m.ask(q.p, chatPath, hello).status
		time.Sleep(2 * time.Second)
		if dead := q.m.ask(q.p, chatPath, hello).status; dead != 401 {
			t.Errorf("a minute after its last look-up: %d", dead)
		}
		return late == 200
	},
	"outage-is-401": func(_ *testing.T, q quirky) bool {
		q.p.SetOutages(platformsim.Outages{UserOrg: true})
		a := q.m.ask(q.p, chatPath, hello)
		return a.status == 401 && strings.Contains(a.body, "AUTH_INVALID") && strings.Contains(a.body, "user-org-service unavailable")
	},
	"dev-keys": func(_ *testing.T, q quirky) bool {
		ask := func(key string) int { return (member{key: key}).ask(q.p, chatPath, hello).status }
		return ask("dev-acme-1") == 200 && ask("test-x") == 200 && ask("other-x") == 401
	},
	"magic-keys": func(t *testing.T, q quirky) bool {
		budget, quota := (member{key: "dev-exhausted-budget-key"}).ask(q.p, chatPath, hello), (member{key: "dev-exhausted-quota-key"}).ask(q.p, chatPath, hello)
		if budget.status != 402 {
			return false
		}
		if asBearer := do(q.p.Router(), "POST", chatPath, hello, "Authorization", "Bearer dev-exhausted-budget-key"); asBearer.status == 402 {
			t.Error("works as a bearer token too")
		}
		return budget.field(t, "limit_context.limit") == 10000.0 && budget.text(t, "limit_context.quota_type") == "budget" &&
			quota.text(t, "code") == "QUOTA_EXCEEDED" && quota.field(t, "limit_context.current_usage") == 1000.0 && quota.text(t, "limit_context.quota_type") == "daily_quota"
	},
	"hmac-stub": func(_ *testing.T, q quirky) bool {
		return q.m.ask(q.p, chatPath, hello, "X-HMAC-Signature", "x").status == 401
	},
	"head-refuses-all": func(_ *testing.T, q quirky) bool {
		a := q.m.ask(q.p, chatPath, hello)
		return a.status == 401 && strings.HasPrefix(a.body, `{"error":"authentication required","code":"AUTH_INVALID"`) && a.header.Get("X-Ratelimit-Limit") != ""
	},
	"slow-usage-records": func(_ *testing.T, q quirky) bool {
		began := time.Now()
		q.m.ask(q.p, chatPath, hello)
		return time.Since(began) == time.Second
	},
	"no-streaming": func(_ *testing.T, q quirky) bool {
		a := q.m.ask(q.p, chatPath, strings.Replace(hello, "{", `{"stream":true,`, 1))
		return a.status == 502 && strings.Contains(a.body, "BACKEND_ERROR") && strings.Contains(a.body, "invalid character 'd' looking for beginning of value")
	},
	"stream-crlf": func(_ *testing.T, q quirky) bool {
		body := q.m.ask(q.p, chatPath, strings.Replace(hello, "{", `{"stream":true,`, 1)).body
		return strings.HasSuffix(body, "data: [DONE]\r\n\r\n") && strings.Count(body, "\n") == strings.Count(body, "\r\n")
	},
	"stream-comments": func(_ *testing.T, q quirky) bool {
		return strings.HasPrefix(q.m.ask(q.p, chatPath, strings.Replace(hello, "{", `{"stream":true,`, 1)).body, ": keep-alive\n\n")
	},
	"stream-splits": func(_ *testing.T, q quirky) bool {
		r := httptest.NewRequest("POST", chatPath, strings.NewReader(strings.Replace(hello, "{", `{"stream":true,`, 1)))
		r.Header.Set("X-API-Key", q.m.key)
		w := &writes{ResponseRecorder: httptest.NewRecorder()}
		q.p.Router().ServeHTTP(w, r)
		return w.n > 1 && strings.HasPrefix(w.Body.String(), "data: {") && strings.HasSuffix(w.Body.String(), "data: [DONE]\n\n")
	},
	"no-stream-usage": func(_ *testing.T, q quirky) bool {
		body := q.m.ask(q.p, chatPath, strings.Replace(hello, "{", `{"stream":true,"stream_options":{"include_usage":true},`, 1)).body
		return strings.Contains(body, "[DONE]") && !strings.Contains(body, `"usage"`)
	},
	"string-content": func(_ *testing.T, q quirky) bool {
		return q.m.ask(q.p, chatPath, `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`).status == 400 &&
			q.m.ask(q.p, "/v1/completions", `{"model":"m","prompt":["x"]}`).status == 400
	},
	"dropped-fields": func(t *testing.T, q quirky) bool {
		long := `{"model":"m","n":3,"max_tokens":0,"temperature":0,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 40) + `"}],"cache_salt":"`
		one := q.m.ask(q.p, chatPath, long+`a"}`)
		return one.status == 200 && q.m.ask(q.p, chatPath, long+`b"}`).field(t, "usage.prompt_tokens_details.cached_tokens") == 32.0
	},
	"plain-usage": func(t *testing.T, q quirky) bool {
		return q.m.ask(q.p, chatPath, hello).field(t, "usage.prompt_tokens_details") == nil
	},
	"small-bodies": func(t *testing.T, q quirky) bool {
		pad := func(n int) string { return hello + strings.Repeat(" ", n-len(hello)) }
		if a := q.m.ask(q.p, chatPath, pad(65535)); a.status != 200 {
			t.Errorf("65,535 bytes: %d", a.status)
		}
		a := (member{key: "nobody"}).ask(q.p, chatPath, pad(65536))
		return a.status == 413 && a.body == "request body too large\n"
	},
	"few-endpoints": func(_ *testing.T, q quirky) bool {
		for _, path := range []string{"/v1/models", "/v1/usage"} {
			a := do(q.p.Router(), "GET", path, "", "X-API-Key", q.m.key)
			if a.status != 404 || a.body != "404 page not found\n" || do(q.p.Router(), "GET", path, "").status != 401 {
				return false
			}
		}
		post := do(q.p.Router(), "GET", chatPath, "", "X-API-Key", q.m.key)
		return q.m.ask(q.p, "/v1/embeddings", `{"model":"e","input":"x"}`).status == 404 && post.status == 405 && post.body == "" && post.header.Get("Allow") == "POST" &&
			do(q.p.Router(), "GET", "/healthz", "").status == 401
	},
	"backend-faults-502": func(t *testing.T, q quirky) bool {
		if err := q.p.SetFaults(always(platformsim.Unavailable)); err != nil {
			t.Fatal(err)
		}
		a := q.m.ask(q.p, chatPath, hello)
		return a.status == 502 && strings.Contains(a.body, "BACKEND_ERROR") && strings.Contains(a.body, "status 503")
	},
	"unknown-model-500": func(_ *testing.T, q quirky) bool {
		a := q.m.ask(q.p, chatPath, strings.Replace(hello, `"m"`, `"x"`, 1))
		return a.status == 500 && strings.Contains(a.body, "ROUTING_ERROR")
	},
	"blind-readyz": func(_ *testing.T, q quirky) bool {
		q.p.SetOutages(platformsim.Outages{UserOrg: true, Backends: true})
		return do(q.p.Router(), "GET", "/v1/status/readyz", "").status == 200
	},
	"no-request-id": func(_ *testing.T, q quirky) bool {
		return q.m.ask(q.p, chatPath, hello, "X-Request-Id", "x").header.Get("X-Request-Id") == ""
	},
	"limiter-loses-fractions": func(_ *testing.T, q quirky) bool {
		other := tenantOf(q, "steady", 10, 2)
		return passed(q.p, other, 20, every(60*time.Millisecond)) == 2
	},
	"limiter-counts-all": func(_ *testing.T, q quirky) bool {
		other := tenantOf(q, "once", 0.1, 1)
		do(q.p.Router(), "GET", "/v1/models", "", "X-API-Key", other.key)
		return other.ask(q.p, chatPath, hello).status == 429
	},
	"retry-after-one": func(t *testing.T, q quirky) bool {
		other := tenantOf(q, "ten", 10, 1)
		other.ask(q.p, chatPath, hello)
		a := other.ask(q.p, chatPath, hello)
		return a.header.Get("Retry-After") == "1" && a.field(t, "retry_after_seconds") == 1.0
	},
	"limit-header-burst": func(_ *testing.T, q quirky) bool {
		return q.m.ask(q.p, chatPath, hello).header.Get("X-Ratelimit-Limit") == "2000"
	},
}

// tenantOf makes an org with a rate limit of its own.
func tenantOf(q quirky, slug string, rps float64, burst int) member {
	return tenant(panicking{}, q.p, slug, map[string]any{"rateLimit": map[string]any{"requestsPerSecond": rps, "burst": burst}})
}

// panicking is a testing.TB for helpers outside a test.
type panicking struct{ testing.TB }

func (panicking) Helper() {}

// writes counts how often something is written.
type writes struct {
	*httptest.ResponseRecorder
	n int
}

func (w *writes) Write(b []byte) (int, error) {
	w.n++
	return w.ResponseRecorder.Write(b)
}

func TestEveryQuirk(t *testing.T) {
	for _, name := range platformsim.QuirkNames() {
		if name == "cold-key-crash" { // needs connections; tested below
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, on := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					o := platformsim.Options{Models: instant(), Cost: flat, RateLimit: platformsim.RateLimit{RequestsPerSecond: 1000, Burst: 2000}}
					if err := o.Quirks.Set(name, on); err != nil {
						t.Fatal(err)
					}
					if name == "invite-races" {
						o.Quirks.SlowInvites = true // else there is no time to race in
					}
					p, err := platformsim.New(o)
					if err != nil {
						t.Fatal(err)
					}
					defer p.Close(context.Background())
					m := tenant(t, p, "acme", map[string]any{
						"budget": map[string]any{"limitUSD": 1}, "rateLimit": map[string]any{"requestsPerSecond": 500, "burst": 2000},
					})
					test := quirkTests[name]
					if test == nil {
						t.Fatal("the quirk has no test")
					}
					if seen := test(t, quirky{p, m, asAdmin(t, p)}); seen != on {
						t.Errorf("the quirk is on: %v, but seen: %v", on, seen)
					}
				})
			}
		})
	}
}

func TestColdKeyCrash(t *testing.T) {
	models := []platformsim.Model{{Name: "m", Backend: llm.Config{DecodeStep: time.Hour}, OutputTokens: platformsim.Lengths{Min: 1, Max: 1}}}
	o := platformsim.Options{Models: models}
	o.Quirks.ColdKeyCrash = true
	p := open(t, o)
	p.ColdKeysWithin(time.Hour) // however long the requests take here
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	m := tenant(t, p, "acme", nil)
	a := asAdmin(t, p)
	var keys []string
	for range 100 {
		keys = append(keys, a.do("POST", "/v1/orgs/acme/users/"+m.user+"/keys", "{}").text(t, "secret"))
	}
	// The first one waits for its answer; the others come at once.
	first := make(chan error)
	go func() { first <- streamed(t, p.RouterURL(), keys[0], "first", hello).err }()
	await(t, "the first request", func() bool { s := p.State().Models["m"]; return s.Running+s.Waiting == 1 })
	for _, key := range keys[1:] {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.RouterURL()+"/v1/models", nil)
			if err != nil {
				return
			}
			req.Header.Set("X-API-Key", key)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
	}
	if err := <-first; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the request under way: %v, want a reset", err)
	}
}

func TestQuirkNames(t *testing.T) {
	names := platformsim.QuirkNames()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) || slices.Contains(names, "") {
		t.Errorf("names: %v", names)
	}
	observed := platformsim.AsObserved().Names()
	var left []string
	for _, n := range names {
		if !slices.Contains(observed, n) {
			left = append(left, n)
		}
	}
	if !slices.Equal(left, []string{"cold-key-crash", "head-refuses-all", "no-stream-usage", "slow-usage-records", "stream-comments", "stream-crlf", "stream-splits"}) {
		t.Errorf("not in AsObserved: %v", left)
	}
	var q platformsim.Quirks
	if err := q.Set("nonsense", true); err == nil || !strings.Contains(err.Error(), "no-delete") {
		t.Errorf("unknown name: %v", err)
	}
	if q != (platformsim.Quirks{}) || q.Names() != nil {
		t.Errorf("quirks: %v", q.Names())
	}
}
