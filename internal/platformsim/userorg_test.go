package platformsim_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

func TestDocumentedLifeOfATenant(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	key := p.AdminKey().Reveal()
	call := func(method, path, body string) answer { return do(p.UserOrg(), method, path, body, "X-API-Key", key) }

	org := call("POST", "/v1/orgs", `{"name":"Acme","slug":" ACME ","metadata":{"loadtestRunId":"r1"},
		"budget":{"limitUSD":1.5,"dailyUSD":0.25,"warnAtUSD":1,"enableAlerts":true},"rateLimit":{"requestsPerSecond":5,"burst":7}}`)
	for path, want := range map[string]any{
		"name": "Acme", "slug": "acme", "status": "active", "metadata.loadtestRunId": "r1",
		"budget.limitUSD": 1.5, "budget.dailyUSD": 0.25, "budget.warnAtUSD": 1.0, "budget.enableAlerts": true,
		"rateLimit.requestsPerSecond": 5.0, "rateLimit.burst": 7.0,
	} {
		if got := org.field(t, path); got != want {
			t.Errorf("created org: %s is %v, want %v", path, got, want)
		}
	}
	id := org.text(t, "orgId")
	for _, ref := range []string{id, "acme"} {
		if got := call("GET", "/v1/orgs/"+ref, ""); got.status != 200 || got.text(t, "orgId") != id {
			t.Errorf("GET by %s: %d %s", ref, got.status, got.body)
		}
	}
	if list := call("GET", "/v1/orgs", ""); list.field(t, "0.slug") != "acme" || list.field(t, "1") != nil {
		t.Errorf("list of orgs: %s", list.body)
	}
	patched := call("PATCH", "/v1/orgs/acme", `{"displayName":"Acme 2","budget":{"limitUSD":3},"metadata":{"a":1}}`)
	if patched.status != 200 || patched.field(t, "name") != "Acme 2" || patched.field(t, "budget.limitUSD") != 3.0 ||
		patched.field(t, "budget.dailyUSD") != nil || patched.field(t, "rateLimit.burst") != 7.0 || patched.field(t, "metadata.a") != 1.0 {
		t.Errorf("patched org: %d %s", patched.status, patched.body)
	}

	inv := call("POST", "/v1/orgs/acme/invites", `{"email":"Ann@acme.invalid","metadata":{"x":"y"},"expiresInHours":1}`)
	if inv.status != 202 || inv.text(t, "status") != "active" || inv.text(t, "email") != "ann@acme.invalid" || inv.text(t, "expiresAt") == "" {
		t.Fatalf("invite: %d %s", inv.status, inv.body)
	}
	users := "/v1/orgs/acme/users/" + inv.text(t, "inviteId")
	if u := call("GET", users, ""); u.field(t, "status") != "active" || u.field(t, "orgId") != id || u.field(t, "metadata.x") != "y" {
		t.Errorf("user: %s", u.body)
	}
	if list := call("GET", "/v1/orgs/acme/users", ""); list.field(t, "0.email") != "ann@acme.invalid" {
		t.Errorf("list of users: %s", list.body)
	}
	if u := call("PATCH", users, `{"status":"suspended","displayName":"Ann"}`); u.field(t, "status") != "suspended" || u.field(t, "displayName") != "Ann" {
		t.Errorf("patched user: %s", u.body)
	}
	if k := call("POST", users+"/keys", "{}"); k.status != 400 || k.text(t, "error") != "user is not active" {
		t.Errorf("key for a suspended user: %d %s", k.status, k.body)
	}
	call("PATCH", users, `{"status":"active"}`)
	k := call("POST", users+"/keys", `{"name":"k1","scopes":["a"],"expiresInDays":2}`)
	if k.status != 201 || len(k.text(t, "secret")) != 43 || len(k.text(t, "fingerprint")) != 43 || k.text(t, "status") != "active" || k.text(t, "expiresAt") == "" {
		t.Fatalf("key: %d %s", k.status, k.body)
	}
	if list := call("GET", users+"/keys", ""); list.field(t, "0.apiKeyId") != k.text(t, "apiKeyId") || list.field(t, "0.secret") != nil {
		t.Errorf("list of keys: %s", list.body)
	}
	valid := func() any {
		return do(p.UserOrg(), "POST", "/v1/auth/validate-api-key", `{"apiKeySecret":"`+k.text(t, "secret")+`"}`).field(t, "valid")
	}
	if valid() != true {
		t.Error("a fresh key is not valid")
	}
	keyPath := users + "/keys/" + k.text(t, "apiKeyId")
	for i, want := range []int{204, 404} {
		if d := call("DELETE", keyPath, ""); d.status != want {
			t.Errorf("DELETE %d of the key: %d %s", i+1, d.status, d.body)
		}
	}
	if valid() != false {
		t.Error("a deleted key is still valid")
	}
	k2 := call("POST", users+"/keys", "").text(t, "secret") // no body is fine here
	for i, want := range []int{204, 404} {
		if d := call("DELETE", users, ""); d.status != want {
			t.Errorf("DELETE %d of the user: %d", i+1, d.status)
		}
	}
	m := member{key: k2}
	if got := m.ask(p, chatPath, hello); got.status != 401 {
		t.Errorf("the key of a deleted user: %d", got.status)
	}
	for i, want := range []int{204, 404} {
		if d := call("DELETE", "/v1/orgs/"+id, ""); d.status != want {
			t.Errorf("DELETE %d of the org: %d", i+1, d.status)
		}
	}
	if s := p.State(); s.Orgs != 0 || s.Users != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
	if again := call("POST", "/v1/orgs", `{"name":"Acme","slug":"acme"}`); again.status != 201 {
		t.Errorf("the slug of a deleted org: %d", again.status)
	}
}

func TestDeletingAnOrgTakesUsersAndKeysAlong(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	other := tenant(t, p, "other", nil)
	if a := asAdmin(t, p).do("DELETE", "/v1/orgs/acme", ""); a.status != 204 {
		t.Fatalf("delete: %d", a.status)
	}
	if a := m.ask(p, chatPath, hello); a.status != 401 {
		t.Errorf("key of the deleted org: %d", a.status)
	}
	if a := other.ask(p, chatPath, hello); a.status != 200 {
		t.Errorf("key of the other org: %d", a.status)
	}
	if s := p.State(); s.Orgs != 1 || s.Users != 1 || s.ActiveKeys != 1 || s.Slugs[0] != "other" {
		t.Errorf("state: %+v", s)
	}
}

func TestDocumentedRefusals(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	a := asAdmin(t, p)
	user := "/v1/orgs/acme/users/" + m.user
	for _, c := range []struct {
		method, path, body string
		status             int
		code, error        string
	}{
		{"POST", "/v1/orgs", ``, 400, "INVALID_REQUEST", "a JSON body is required"},
		{"POST", "/v1/orgs", `{`, 400, "INVALID_REQUEST", "the body is not the JSON"},
		{"POST", "/v1/orgs", `{"name":"x"}`, 400, "INVALID_REQUEST", "name and slug are required"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"a b"}`, 400, "INVALID_REQUEST", "a slug is made of"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"y","metadata":[1]}`, 400, "INVALID_REQUEST", "metadata must be an object"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"y","budget":{"limitUSD":-1}}`, 400, "INVALID_REQUEST", "the body is not the JSON"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"y","rateLimit":{"burst":-1}}`, 400, "INVALID_REQUEST", "a rate limit"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"acme"}`, 409, "CONFLICT", "an organization with this slug exists"},
		{"POST", "/v1/orgs", `{"name":"x","slug":"platform"}`, 409, "CONFLICT", "an organization with this slug exists"},
		{"GET", "/v1/orgs/none", ``, 404, "NOT_FOUND", "organization not found"},
		{"PATCH", "/v1/orgs/none", `{}`, 404, "NOT_FOUND", "organization not found"},
		{"PATCH", "/v1/orgs/acme", `{"status":"gone"}`, 400, "INVALID_REQUEST", "invalid status"},
		{"POST", "/v1/orgs/none/invites", `{"email":"a@b"}`, 404, "NOT_FOUND", "organization not found"},
		{"POST", "/v1/orgs/acme/invites", `{}`, 400, "INVALID_REQUEST", "email is required"},
		{"POST", "/v1/orgs/acme/invites", `{"email":"USER@acme.invalid"}`, 409, "CONFLICT", "a user with this e-mail exists"},
		{"GET", "/v1/orgs/acme/users/7", ``, 400, "INVALID_REQUEST", "not a UUID"},
		{"GET", "/v1/orgs/acme/users/" + m.orgID, ``, 404, "NOT_FOUND", "user not found"},
		{"PATCH", user, `{"status":"gone"}`, 400, "INVALID_REQUEST", "invalid status"},
		{"DELETE", user + "/keys/" + m.orgID, ``, 404, "NOT_FOUND", "API key not found"},
		{"GET", "/v1/orgs/acme/api-keys", ``, 501, "NOT_IMPLEMENTED", "not implemented"},
		{"GET", "/v1/nothing", ``, 404, "NOT_FOUND", "no such path"},
		{"PUT", "/v1/orgs", `{}`, 405, "METHOD_NOT_ALLOWED", "no such method"},
		{"POST", "/v1/orgs/acme/users", `{}`, 405, "METHOD_NOT_ALLOWED", "no such method"},
	} {
		got := a.do(c.method, c.path, c.body)
		if got.status != c.status || got.text(t, "code") != c.code || !strings.Contains(got.text(t, "error"), c.error) {
			t.Errorf("%s %s %s: got %d %s, want %d %s %q", c.method, c.path, c.body, got.status, got.body, c.status, c.code, c.error)
		}
		// A thing that is missing must not look like a path that is.
		if missing := strings.HasSuffix(c.error, " not found"); missing && got.field(t, "path") != nil {
			t.Errorf("%s %s: a missing thing is answered like a missing path: %s", c.method, c.path, got.body)
		}
	}
	if got := a.do("PUT", user+"/roles", `{"roles":[]}`); got.status != 501 || got.body != "" {
		t.Errorf("roles: %d %q", got.status, got.body)
	}
}

func TestCredentials(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant(), AdminKey: secret.New("the-admin-key"), AdminPassword: secret.New("the-password")})
	if p.AdminKey().Reveal() != "the-admin-key" || p.AdminPassword().Reveal() != "the-password" || p.AdminEmail() != "admin@platform.invalid" {
		t.Error("credentials given are not the ones in force")
	}
	token := asAdmin(t, p).token
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 401},
		{[]string{"X-API-Key", "the-admin-key"}, 200},
		{[]string{"Authorization", "bearer the-admin-key"}, 200},
		{[]string{"Authorization", "Bearer " + token}, 200},
		{[]string{"X-API-Key", token}, 200},
		{[]string{"X-API-Key", "the-admin-kez"}, 401},
		{[]string{"Authorization", "Basic the-admin-key"}, 401},
		{[]string{"X-API-Key", "the-admin-key", "Authorization", "Bearer expired"}, 200},
	} {
		got := do(p.UserOrg(), "GET", "/v1/auth/userinfo", "", c.headers...)
		if got.status != c.status {
			t.Errorf("%v: %d %s", c.headers, got.status, got.body)
		}
		if got.status == 200 && got.text(t, "email") != "admin@platform.invalid" {
			t.Errorf("%v: %s", c.headers, got.body)
		}
	}
	wrong := do(p.UserOrg(), "POST", "/v1/auth/login", `{"email":"admin@platform.invalid","password":"no"}`)
	if wrong.status != 400 || wrong.text(t, "error") != "invalid_grant" || wrong.text(t, "error_description") == "" {
		t.Errorf("wrong password: %d %s", wrong.status, wrong.body)
	}
	for body, want := range map[string]struct {
		status int
		error  string
	}{
		`{"email":"a","password":"b","client_id":"c"}`: {401, "invalid_client"},
		`{"email":"a","password":"b","scope":"c"}`:     {400, "invalid_scope"},
		`{"email":"a"}`: {400, "email and password are required"},
	} {
		if got := do(p.UserOrg(), "POST", "/v1/auth/login", body); got.status != want.status || got.text(t, "error") != want.error {
			t.Errorf("login with %s: %d %s", body, got.status, got.body)
		}
	}
	if got := do(p.UserOrg(), "POST", "/v1/auth/refresh", `{}`); got.status != 400 || got.text(t, "error") != "invalid_grant" {
		t.Errorf("refresh: %d %s", got.status, got.body)
	}
	for range 2 {
		if out := do(p.UserOrg(), "POST", "/v1/auth/logout", `{"token":"`+token+`"}`); out.status != 200 || out.body != "" {
			t.Errorf("logout: %d %q", out.status, out.body)
		}
	}
	if got := do(p.UserOrg(), "GET", "/v1/orgs", "", "Authorization", "Bearer "+token); got.status != 401 {
		t.Errorf("after logout: %d", got.status)
	}
}

func TestTokensAndKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := platformsim.New(platformsim.Options{Models: instant()})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		m := tenant(t, p, "acme", nil)
		a := asAdmin(t, p)
		k := a.do("POST", "/v1/orgs/acme/users/"+m.user+"/keys", `{"expiresInDays":1}`)
		short := member{key: k.text(t, "secret")}
		time.Sleep(time.Hour - time.Second)
		if got := a.do("GET", "/v1/orgs", ""); got.status != 200 {
			t.Errorf("after 59:59: %d", got.status)
		}
		time.Sleep(time.Second)
		if got := a.do("GET", "/v1/orgs", ""); got.status != 401 {
			t.Errorf("after an hour: %d", got.status)
		}
		if got := short.ask(p, chatPath, hello); got.status != 200 {
			t.Errorf("key on its first day: %d", got.status)
		}
		time.Sleep(24 * time.Hour)
		if got := short.ask(p, chatPath, hello); got.status != 401 || !strings.Contains(got.body, "expired") {
			t.Errorf("key on its second day: %d %s", got.status, got.body)
		}
		if got := m.ask(p, chatPath, hello); got.status != 200 {
			t.Errorf("key without an end: %d", got.status)
		}
	})
}

func TestPasswordOfAnInvitedUser(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	post := func(path, body string) answer { return do(p.UserOrg(), "POST", path, body) }
	token := post("/v1/auth/recover", `{"email":"user@acme.invalid","org_id":"`+m.orgID+`"}`).text(t, "token")
	reset := `{"token":"` + token + `","email":"user@acme.invalid","org_id":"` + m.orgID + `","newPassword":"`
	if a := post("/v1/auth/recover/reset", reset+`short"}`); a.status != 400 {
		t.Errorf("a short password: %d", a.status)
	}
	for i, want := range []int{200, 400} { // the token is good once
		if a := post("/v1/auth/recover/reset", reset+`long enough"}`); a.status != want {
			t.Errorf("reset %d: %d %s", i+1, a.status, a.body)
		}
	}
	if a := post("/v1/auth/login", `{"email":"user@acme.invalid","password":"long enough","org_id":"acme"}`); a.status != 200 {
		t.Errorf("login: %d %s", a.status, a.body)
	}
}

func TestServiceAccountsAndOwnKeys(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	tenant(t, p, "acme", nil)
	a := asAdmin(t, p)
	sa := a.do("POST", "/v1/orgs/acme/service-accounts", `{"name":"robot"}`)
	if sa.status != 201 {
		t.Fatalf("create: %d %s", sa.status, sa.body)
	}
	path := "/v1/orgs/acme/service-accounts/" + sa.text(t, "serviceAccountId")
	if got := a.do("GET", path, ""); got.status != 200 || got.text(t, "name") != "robot" {
		t.Errorf("get: %d %s", got.status, got.body)
	}
	if got := a.do("POST", "/v1/orgs/acme/service-accounts", `{"name":"robot"}`); got.status != 409 {
		t.Errorf("twice: %d", got.status)
	}
	if got := a.do("DELETE", path, ""); got.status != 501 {
		t.Errorf("delete: %d", got.status)
	}
	key := a.do("POST", path+"/api-keys", "{}").text(t, "secret")
	v := do(p.UserOrg(), "POST", "/v1/auth/validate-api-key", `{"apiKeySecret":"`+key+`","orgId":"acme"}`)
	if v.field(t, "valid") != true || v.field(t, "principalType") != "service_account" {
		t.Errorf("validate: %s", v.body)
	}
	if got := (member{key: key}).ask(p, chatPath, hello); got.status != 200 {
		t.Errorf("ask: %d", got.status)
	}
	own := a.do("POST", "/organizations/me/api-keys", "{}")
	if list := a.do("GET", "/organizations/me/api-keys", ""); own.status != 201 || list.field(t, "0.apiKeyId") != own.text(t, "apiKeyId") {
		t.Errorf("own keys: %d %s", own.status, list.body)
	}
	if got := a.do("GET", "/organizations/me/api-keys/"+own.text(t, "apiKeyId"), ""); got.status != 200 {
		t.Errorf("own key: %d", got.status)
	}
}

func TestSuspensionStopsKeys(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	a := asAdmin(t, p)
	for _, path := range []string{"/v1/orgs/acme", "/v1/orgs/acme/users/" + m.user} {
		a.do("PATCH", path, `{"status":"suspended"}`)
		if got := m.ask(p, chatPath, hello); got.status != http.StatusForbidden || got.text(t, "code") != "FORBIDDEN" {
			t.Errorf("%s suspended: %d %s", path, got.status, got.body)
		}
		a.do("PATCH", path, `{"status":"active"}`)
		if got := m.ask(p, chatPath, hello); got.status != 200 {
			t.Errorf("%s active again: %d", path, got.status)
		}
	}
}
