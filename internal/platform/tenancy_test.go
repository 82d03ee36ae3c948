package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const testKey = "the-admin-key"

// serve starts a User/Org API of the given routes and returns a client of it
// that does not wait long between tries, and a list of the calls it got.
func serve(t *testing.T, routes map[string]http.HandlerFunc) (*Tenancy, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var calls []string
	mux := http.NewServeMux()
	for pattern, h := range routes {
		mux.HandleFunc(pattern, h)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls = append(calls, r.Method+" "+r.URL.Path)
		mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	tenancy, err := NewTenancy(Connection{BaseURL: server.URL}, Admin{Key: secret.New(testKey)})
	if err != nil {
		t.Fatal(err)
	}
	tenancy.retries.first, tenancy.retries.longest = time.Millisecond, time.Millisecond
	t.Cleanup(func() { _ = tenancy.Close(context.WithoutCancel(t.Context())) })
	return tenancy, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(calls)
	}
}

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// loses does the work of h and then breaks the connection, the first time.
func loses(h http.HandlerFunc) http.HandlerFunc {
	var lost atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) {
		if lost.Swap(true) {
			h(w, r)
			return
		}
		h(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// noRoute is how the real platform answers for a path it does not know.
func noRoute(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "not found", "method": r.Method, "path": r.URL.Path})
	}
}

var acme = OrgRef{ID: "11111111-1111-4111-8111-111111111111", Slug: "acme"}

const acmeJSON = `{"orgId":"11111111-1111-4111-8111-111111111111","slug":"acme","status":"active","metadata":{"loadtestRunId":"r1"}}`

func TestNewTenancyAsksForCredentials(t *testing.T) {
	for _, a := range []Admin{{}, {Email: "a@b"}, {Password: secret.New("x")}} {
		if _, err := NewTenancy(Connection{BaseURL: "http://x"}, a); err == nil {
			t.Errorf("%v: no error", a)
		}
	}
	if _, err := NewTenancy(Connection{BaseURL: "x:1"}, Admin{Key: secret.New("k")}); err == nil || !strings.Contains(err.Error(), "User/Org API") {
		t.Errorf("bad address: err = %v", err)
	}
}

// creates keeps organizations in memory by slug.
func creates() http.HandlerFunc {
	taken := false
	return func(w http.ResponseWriter, _ *http.Request) {
		if taken {
			says(409, "slug already taken")(w, nil)
			return
		}
		taken = true
		says(201, acmeJSON)(w, nil)
	}
}

func TestCreateOrg(t *testing.T) {
	for _, c := range []struct {
		name      string
		post, get http.HandlerFunc
		run       any
		err       string
	}{
		{"new", creates(), nil, "r1", ""},
		{"answer lost", loses(creates()), says(200, acmeJSON), "r1", ""},
		{"somebody else's", says(409, "slug already taken"), says(200, acmeJSON), "r2", "did not make"},
		{"without a run id nothing is adopted", says(409, "slug already taken"), says(200, acmeJSON), nil, "did not make"},
		{"suspended by a clean-up", says(409, "taken"), says(200, strings.Replace(acmeJSON, `"active"`, `"suspended"`, 1)), "r1", "use a new run id"},
		{"an answer without id", says(201, `{}`), nil, "r1", "no organization id"},
		{"refused as text", says(400, "name and slug are\nrequired\n"), nil, "r1", "400 Bad Request: name and slug are required"},
		{"refused as JSON", says(400, `{"error":"bad slug","code":"INVALID"}`), nil, "r1", "400 Bad Request (INVALID): bad slug"},
		{"refused as nested JSON", says(422, `{"error":{"message":"bad slug","code":"invalid"}}`), nil, "r1", "(invalid): bad slug"},
		{"refused as OAuth", says(401, `{"error":"invalid_client","error_description":"who?"}`), nil, "r1", "(invalid_client): who?"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere/", http.StatusTemporaryRedirect)
		}, nil, "r1", "redirects to https://elsewhere/"},
		{"a web page", says(201, "<html>"), nil, "r1", "not the JSON expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := map[string]http.HandlerFunc{"POST /v1/orgs": c.post}
			if c.get != nil {
				routes["GET /v1/orgs/acme"] = c.get
			}
			tenancy, _ := serve(t, routes)
			o := NewOrg{Name: "Acme", Slug: "acme", Metadata: map[string]any{}}
			if c.run != nil {
				o.Metadata[RunKey] = c.run
			}
			ref, err := tenancy.CreateOrg(t.Context(), o)
			switch {
			case c.err == "" && (err != nil || ref != acme):
				t.Fatalf("ref = %v, err = %v", ref, err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Fatalf("err = %v, want %q", err, c.err)
			}
		})
	}
	tenancy, calls := serve(t, nil)
	if _, err := tenancy.CreateOrg(t.Context(), NewOrg{Name: "x", Slug: "a/b"}); err == nil || len(calls()) > 0 {
		t.Fatalf("a slug that cannot be reached: err = %v, calls %v", err, calls())
	}
}

func TestBudgetIsSentAndChecked(t *testing.T) {
	var sent map[string]any
	var kept bool
	routes := map[string]http.HandlerFunc{
		"POST /v1/orgs": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewDecoder(r.Body).Decode(&sent)
			if kept {
				says(201, `{"orgId":"1","slug":"acme","budget":{"limitUSD":12.5,"dailyUSD":1.000001}}`)(w, r)
			} else {
				says(201, acmeJSON)(w, r)
			}
		},
		"GET /v1/orgs/acme": says(200, acmeJSON),
	}
	o := NewOrg{Name: "Acme", Slug: "acme", Budget: Budget{LimitMicroUSD: 12_500_000, DailyMicroUSD: 1_000_001}, RateLimit: RateLimit{RequestsPerSecond: 5}}
	for _, kept = range []bool{true, false} {
		tenancy, _ := serve(t, routes)
		if _, err := tenancy.CreateOrg(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(sent); string(got) != `{"budget":{"dailyUSD":1.000001,"limitUSD":12.5},"name":"Acme","rateLimit":{"requestsPerSecond":5},"slug":"acme"}` {
			t.Errorf("sent %s", got)
		}
		if noted := strings.Contains(fmt.Sprint(tenancy.Notes()), "budgets are not kept"); noted == kept {
			t.Errorf("kept %v, notes %v", kept, tenancy.Notes())
		}
	}
}

func TestFindOrg(t *testing.T) {
	for _, c := range []struct {
		name     string
		get      http.HandlerFunc
		notFound bool
		err      bool
	}{
		{"there", says(200, acmeJSON), false, false},
		{"404", says(404, `{"error":"organization not found","code":"NOT_FOUND"}`), true, true},
		{"a zero id", says(200, `{"orgId":"00000000-0000-0000-0000-000000000000","name":"","slug":""}`), true, true},
		{"not an organization", says(200, `{}`), false, true},
		{"no such call", noRoute(404), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tenancy, _ := serve(t, map[string]http.HandlerFunc{"GET /v1/orgs/acme": c.get})
			o, err := tenancy.FindOrg(t.Context(), "acme")
			if errors.Is(err, ErrNotFound) != c.notFound || (err != nil) != c.err {
				t.Fatalf("err = %v", err)
			}
			if err == nil && (o.OrgRef != acme || o.Metadata[RunKey] != "r1" || o.Status != "active") {
				t.Fatalf("org = %+v", o)
			}
		})
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	tenancy, _ := serve(t, map[string]http.HandlerFunc{
		"GET /v1/orgs/acme": func(w http.ResponseWriter, r *http.Request) {
			says(401, "invalid key "+r.Header.Get("X-API-Key")+" or "+r.Header.Get("Authorization")+strings.Repeat(" and more", 100))(w, r)
		},
	})
	_, err := tenancy.FindOrg(t.Context(), "acme")
	var e *Error
	if !errors.As(err, &e) || e.Kind != record.AuthError || strings.Contains(err.Error(), testKey) || !strings.Contains(e.Message, "invalid key [redacted] or Bearer [redacted]") || len(e.Message) > 200 {
		t.Fatalf("err = %v", err)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		says(400, "cannot parse "+string(b))(w, r)
	}))
	defer server.Close()
	tenancy, err = NewTenancy(Connection{BaseURL: server.URL}, Admin{Email: "a@b", Password: secret.New("hunter2")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tenancy.FindOrg(t.Context(), "acme")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "log in as a@b") {
		t.Fatalf("err = %v", err)
	}
}

func TestTimeoutAndCancellation(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(block)
	wire, err := newUserOrg(Connection{BaseURL: server.URL, Timeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := wire.call(t.Context(), apiCall{method: "GET", path: "/x"}, nil); !errors.As(err, &e) || e.Kind != record.Timeout || !e.Temporary() || !strings.Contains(err.Error(), "within 10ms") {
		t.Errorf("slow service: err = %v", err)
	}
	wire.timeout, wire.http.Timeout = time.Hour, time.Hour
	why := errors.New("the run is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := wire.call(ctx, apiCall{method: "GET", path: "/x"}, nil); !errors.As(err, &e) || e.Kind != record.CancelledKind || !errors.Is(err, why) {
		t.Errorf("cancelled: err = %v", err)
	}
	server.Close()
	if err := wire.call(t.Context(), apiCall{method: "GET", path: "/x"}, nil); !errors.As(err, &e) || e.Kind != record.Connection {
		t.Errorf("nobody there: err = %v", err)
	}
}

// A creation that is under way when the run is stopped is waited for, so that
// clean-up knows of what it made; none is begun afterwards, and the wait ends.
func TestCreationOutlastsAStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	created := 0
	x, calls := serve(t, map[string]http.HandlerFunc{"POST /v1/orgs": func(w http.ResponseWriter, r *http.Request) {
		stop()
		created++
		says(http.StatusCreated, acmeJSON)(w, r)
	}})
	if ref, err := x.CreateOrg(ctx, NewOrg{Slug: "acme"}); err != nil || ref.ID != acme.ID {
		t.Errorf("%+v, err = %v", ref, err)
	}
	if _, err := x.CreateOrg(ctx, NewOrg{Slug: "acme"}); !errors.Is(err, context.Canceled) || created != 1 {
		t.Errorf("after the stop: err = %v, %v", err, calls())
	}
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the run is over")
		ctx, stop := context.WithCancelCause(t.Context())
		finish, done := patient(ctx, time.Minute)
		defer done()
		time.AfterFunc(time.Second, func() { stop(why) })
		start := time.Now()
		<-finish.Done()
		if waited := time.Since(start); waited != time.Minute+time.Second || !errors.Is(context.Cause(finish), why) {
			t.Errorf("ended after %v by %v", waited, context.Cause(finish))
		}
	})
}

const (
	userID  = "22222222-2222-4222-8222-222222222222"
	invites = "POST /v1/orgs/{org}/invites"
	patch   = "PATCH /v1/orgs/{org}/users/{user}"
)

func TestInviteUser(t *testing.T) {
	invited := func(status string) http.HandlerFunc {
		return says(202, `{"inviteId":"`+userID+`","email":"u@x","status":"`+status+`"}`)
	}
	var taken sync.Map
	once := func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Email string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		if _, there := taken.LoadOrStore(in.Email, true); there {
			says(409, "e-mail exists")(w, r)
			return
		}
		invited("active")(w, r)
	}
	list := says(200, `[{"userId":"`+userID+`","email":"U@x","status":"active"}]`)
	for _, c := range []struct {
		name   string
		routes map[string]http.HandlerFunc
		email  string
		calls  string
		err    string
	}{
		{"active at once", map[string]http.HandlerFunc{invites: invited("active")}, "u@x", "POST invites", ""},
		{"activated", map[string]http.HandlerFunc{invites: invited("pending"), patch: says(200, `{}`)}, "u@x", "POST invites, PATCH user, PATCH user", ""},
		{"activated, metadata kept", map[string]http.HandlerFunc{invites: invited("pending"), patch: says(200, `{"metadata":{"a":1}}`)}, "u@x", "POST invites, PATCH user", ""},
		{"cannot be activated", map[string]http.HandlerFunc{invites: invited("pending"), patch: noRoute(405)}, "u@x", "POST invites, PATCH user", ""},
		{"activation refused", map[string]http.HandlerFunc{invites: invited("pending"), patch: says(400, "no")}, "", "POST invites, PATCH user", "activate the invited user u@x"},
		{"answer lost, found", map[string]http.HandlerFunc{invites: loses(once), "GET /v1/orgs/{org}/users": list}, "U@x", "POST invites, POST invites, GET users", ""},
		{"answer lost, lists empty", map[string]http.HandlerFunc{invites: loses(once), "GET /v1/orgs/{org}/users": says(200, `[]`)}, "u-2@x", "POST invites, POST invites, GET users, POST invites", ""},
		{"always taken", map[string]http.HandlerFunc{invites: says(409, "e-mail exists"), "GET /v1/orgs/{org}/users": says(200, `{"users":[]}`)}, "", "", "8 variants of the email u@x"},
		{"no id", map[string]http.HandlerFunc{invites: says(202, `{}`)}, "", "POST invites", "no user id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken.Clear()
			tenancy, calls := serve(t, c.routes)
			user, err := tenancy.InviteUser(t.Context(), acme, "u@x", []string{"member"}, map[string]any{"a": 1})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("err = %v, want %q", err, c.err)
				}
			} else if err != nil || user.ID != userID || user.Email != c.email {
				t.Fatalf("user = %+v, err = %v", user, err)
			}
			got := strings.Join(calls(), ", ")
			for _, r := range [][2]string{{"/v1/orgs/acme/", ""}, {"/v1/orgs/" + acme.ID + "/", ""}, {"users/" + userID, "user"}} {
				got = strings.ReplaceAll(got, r[0], r[1])
			}
			if c.calls != "" && got != c.calls {
				t.Errorf("calls = %s, want %s", got, c.calls)
			}
		})
	}
}

// TestInvitesInFlight checks that two invitations are in flight at most until
// one is answered as documented.
func TestInvitesInFlight(t *testing.T) {
	for _, c := range []struct {
		status   string
		together int32 // how many must be in flight before any but the first is answered
	}{{"active", 10}, {"pending", 2}} {
		t.Run(c.status, func(t *testing.T) {
			const users = 20
			var calls, inFlight, most atomic.Int32
			met := make(chan struct{})
			var once sync.Once
			tenancy, _ := serve(t, map[string]http.HandlerFunc{
				invites: func(w http.ResponseWriter, r *http.Request) {
					n := inFlight.Add(1)
					defer inFlight.Add(-1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					if n >= c.together {
						once.Do(func() { close(met) })
					}
					if calls.Add(1) > 1 {
						select {
						case <-met:
						case <-r.Context().Done():
						}
					}
					says(202, `{"inviteId":"`+userID+`","status":"`+c.status+`"}`)(w, r)
				},
				patch: says(200, `{}`),
			})
			var wg sync.WaitGroup
			for i := range users {
				wg.Go(func() {
					if _, err := tenancy.InviteUser(t.Context(), acme, fmt.Sprint("u", i, "@x"), nil, nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if m := most.Load(); m < c.together || c.status == "pending" && m > 2 {
				t.Fatalf("%d invitations in flight at most", m)
			}
		})
	}
}

const keyJSON = `{"apiKeyId":"k1","secret":"s3cret"}`

// TestKeysPathIsFoundOnce checks that of many callers one tries the documented
// path and the others learn from it.
func TestKeysPathIsFoundOnce(t *testing.T) {
	tenancy, calls := serve(t, map[string]http.HandlerFunc{
		"POST /v1/orgs/{org}/users/{user}/api-keys": func(w http.ResponseWriter, r *http.Request) {
			if b, _ := io.ReadAll(r.Body); string(b) != "{}" {
				says(400, "body "+string(b))(w, r)
				return
			}
			says(201, keyJSON)(w, r)
		},
		"/": noRoute(404),
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			k, err := tenancy.IssueKey(t.Context(), acme, UserRef{ID: userID}, NewKey{})
			if err != nil || k.ID != "k1" || k.Secret.Reveal() != "s3cret" {
				t.Errorf("key = %v, err = %v", k, err)
			}
		})
	}
	wg.Wait()
	tried := 0
	for _, c := range calls() {
		if strings.HasSuffix(c, "/keys") {
			tried++
		}
	}
	if tried != 1 || len(calls()) != 21 {
		t.Fatalf("%d calls, %d of them to /keys; want 21 and 1", len(calls()), tried)
	}
	if n := tenancy.Notes(); len(n) != 1 || n[0] != "keys are issued at /api-keys" {
		t.Fatalf("notes = %q", n)
	}
}

func TestIssueKey(t *testing.T) {
	var active atomic.Bool
	sleepy := func(w http.ResponseWriter, r *http.Request) {
		if !active.Load() {
			says(400, "user is not active\n")(w, r)
			return
		}
		says(201, keyJSON)(w, r)
	}
	wakes := func(w http.ResponseWriter, r *http.Request) { active.Store(true); says(200, `{}`)(w, r) }
	const keys = "POST /v1/orgs/{org}/users/{user}/keys"
	for _, c := range []struct {
		name   string
		routes map[string]http.HandlerFunc
		err    string
	}{
		{"documented", map[string]http.HandlerFunc{keys: says(201, keyJSON)}, ""},
		{"answer lost", map[string]http.HandlerFunc{keys: loses(says(201, keyJSON))}, ""},
		{"other names", map[string]http.HandlerFunc{keys: says(201, `{"id":"k1","key":"s3cret"}`)}, ""},
		{"inactive user", map[string]http.HandlerFunc{keys: sleepy, patch: wakes}, ""},
		{"no such user", map[string]http.HandlerFunc{keys: says(404, `{"error":"user not found"}`), "/": noRoute(404)}, "user not found"},
		{"no secret", map[string]http.HandlerFunc{keys: says(201, `{"apiKeyId":"k1"}`)}, "no secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			active.Store(false)
			tenancy, _ := serve(t, c.routes)
			k, err := tenancy.IssueKey(t.Context(), acme, UserRef{ID: userID}, NewKey{Name: "n", ExpiryDays: 3})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("err = %v, want %q", err, c.err)
				}
			} else if err != nil || k.ID != "k1" || k.Secret.Reveal() != "s3cret" {
				t.Fatalf("key = %v, err = %v", k, err)
			}
		})
	}
}

func TestRateLimitOfAKeyIsSentAndChecked(t *testing.T) {
	var sent struct{ RateLimit json.RawMessage }
	for answer, kept := range map[string]bool{
		`{"id":"k1","key":"s","rateLimit":{"requestsPerSecond":2.5,"burst":5}}`: true,
		`{"id":"k1","key":"s","rateLimit":{"requestsPerSecond":2,"burst":5}}`:   false,
		keyJSON: false,
	} {
		tenancy, _ := serve(t, map[string]http.HandlerFunc{"POST /v1/orgs/{org}/users/{user}/keys": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewDecoder(r.Body).Decode(&sent)
			says(201, answer)(w, r)
		}})
		if _, err := tenancy.IssueKey(t.Context(), acme, UserRef{ID: userID}, NewKey{RateLimit: RateLimit{RequestsPerSecond: 2.5, Burst: 5}}); err != nil {
			t.Fatal(err)
		}
		if string(sent.RateLimit) != `{"requestsPerSecond":2.5,"burst":5}` {
			t.Errorf("sent %s", sent.RateLimit)
		}
		if noted := strings.Contains(fmt.Sprint(tenancy.Notes()), "rate limits of single keys are not kept"); noted == kept {
			t.Errorf("kept %v, notes %v", kept, tenancy.Notes())
		}
	}
}

func TestRemovals(t *testing.T) {
	user := UserRef{ID: userID, Email: "u@x"}
	key := func(ctx context.Context, x *Tenancy) (Removal, error) { return x.RemoveKey(ctx, acme, user, "k1") }
	person := func(ctx context.Context, x *Tenancy) (Removal, error) { return x.RemoveUser(ctx, acme, user) }
	org := func(ctx context.Context, x *Tenancy) (Removal, error) { return x.RemoveOrg(ctx, acme) }
	onlyDelete := func(ctx context.Context, x *Tenancy) (Removal, error) { return x.DeleteOrg(ctx, acme) }
	var conflicts atomic.Int32
	inUse := func(w http.ResponseWriter, r *http.Request) {
		if conflicts.Add(1) < 3 {
			says(409, "API key was modified concurrently")(w, r)
			return
		}
		says(204, "")(w, r)
	}
	const (
		delKey     = "DELETE /v1/orgs/{org}/users/{user}/keys/{key}"
		delAPIKey  = "DELETE /v1/orgs/{org}/api-keys/{key}"
		revokeKey  = "POST /v1/orgs/{org}/api-keys/{key}/revoke"
		delUser    = "DELETE /v1/orgs/{org}/users/{user}"
		delOrg     = "DELETE /v1/orgs/{org}"
		getOrg     = "GET /v1/orgs/{org}"
		patchOrg   = "PATCH /v1/orgs/{org}"
		everywhere = "/"
	)
	type routes = map[string]http.HandlerFunc
	for _, c := range []struct {
		name   string
		remove func(context.Context, *Tenancy) (Removal, error)
		routes routes
		want   Removal
		err    string
		note   string
	}{
		{"key deleted", key, routes{delKey: says(204, "")}, Deleted, "", ""},
		{"key gone", key, routes{delKey: says(404, "API key not found"), everywhere: noRoute(404)}, Gone, "", ""},
		{"key revoked", key, routes{delAPIKey: says(204, ""), everywhere: noRoute(404)}, Disabled, "", "revoked"},
		{"key revoked by POST", key, routes{revokeKey: says(204, ""), everywhere: noRoute(405)}, Disabled, "", "revoked"},
		{"key in use", key, routes{delAPIKey: inUse, everywhere: noRoute(404)}, Disabled, "", "revoked"},
		{"key revoked before", key, routes{delAPIKey: says(409, "API key already revoked"), everywhere: noRoute(404)}, Disabled, "", ""},
		{"key of no face", key, routes{everywhere: noRoute(404)}, 0, "404", ""},
		{"user deleted", person, routes{delUser: says(204, "")}, Deleted, "", ""},
		{"user gone", person, routes{delUser: says(404, "user not found")}, Gone, "", ""},
		{"user suspended", person, routes{patch: says(200, `{}`), everywhere: noRoute(405)}, Disabled, "", "users cannot be deleted"},
		{"user gone, cannot be deleted", person, routes{patch: says(404, "user not found"), everywhere: noRoute(405)}, Gone, "", ""},
		{"user refused", person, routes{delUser: says(403, "no")}, 0, "403", ""},
		{"org deleted", org, routes{delOrg: says(204, "")}, Deleted, "", ""},
		{"org gone", org, routes{delOrg: says(404, "organization not found")}, Gone, "", ""},
		{"org suspended", org, routes{getOrg: says(200, acmeJSON), patchOrg: says(200, acmeJSON), everywhere: noRoute(405)}, Disabled, "", "organizations cannot be deleted"},
		{"org missing, cannot be deleted", org, routes{getOrg: says(200, `{"orgId":"00000000-0000-0000-0000-000000000000"}`), patchOrg: says(409, "modified concurrently"), everywhere: noRoute(405)}, Gone, "", ""},
		{"org must not be suspended", onlyDelete, routes{getOrg: says(200, acmeJSON), everywhere: noRoute(405)}, 0, "cannot be deleted", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conflicts.Store(0)
			tenancy, _ := serve(t, c.routes)
			for n := range 2 { // found out, then known
				if c.name == "key in use" && n == 1 {
					break
				}
				got, err := c.remove(t.Context(), tenancy)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Fatalf("err = %v, want %q", err, c.err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				if got != c.want {
					t.Fatalf("%v, want %v", got, c.want)
				}
			}
			if !strings.Contains(strings.Join(tenancy.Notes(), "; "), c.note) {
				t.Errorf("notes = %q, want %q", tenancy.Notes(), c.note)
			}
		})
	}
	tenancy, _ := serve(t, routes{everywhere: noRoute(405)})
	if _, err := tenancy.DeleteOrg(t.Context(), acme); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("DeleteOrg: err = %v, want ErrUnsupported", err)
	}
}

// TestPathsByFace checks that organizations are addressed by slug, as
// documented, and by id once the platform has shown its other face.
func TestPathsByFace(t *testing.T) {
	tenancy, calls := serve(t, map[string]http.HandlerFunc{
		invites: says(202, `{"inviteId":"`+userID+`","status":"pending"}`), patch: says(200, `{}`),
	})
	if _, err := tenancy.InviteUser(t.Context(), acme, "u@x", nil, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"POST /v1/orgs/acme/invites", "PATCH /v1/orgs/" + acme.ID + "/users/" + userID}
	if got := calls(); !slices.Equal(got, want) {
		t.Fatalf("calls = %q, want %q", got, want)
	}
}

func TestHasUser(t *testing.T) {
	for _, c := range []struct {
		get  http.HandlerFunc
		want bool
		err  bool
	}{
		{says(200, `{"userId":"`+userID+`"}`), true, false},
		{says(404, "user not found"), false, false},
		{says(403, "no"), false, true},
	} {
		tenancy, _ := serve(t, map[string]http.HandlerFunc{"GET /v1/orgs/{org}/users/{user}": c.get})
		got, err := tenancy.HasUser(t.Context(), acme, UserRef{ID: userID})
		if got != c.want || (err != nil) != c.err {
			t.Errorf("HasUser = %v, %v; want %v, err %v", got, err, c.want, c.err)
		}
	}
}

func TestAskedToWait(t *testing.T) {
	in := func(v string) time.Duration { return askedToWait(http.Header{"Retry-After": {v}}) }
	if d := in("7"); d != 7*time.Second {
		t.Errorf("seconds: %v", d)
	}
	if d := in(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); d < 59*time.Minute || d > time.Hour {
		t.Errorf("date: %v", d)
	}
	for _, v := range []string{"", "soon", "-3"} {
		if d := in(v); d != 0 {
			t.Errorf("%q: %v", v, d)
		}
	}
}
