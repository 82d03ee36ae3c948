package platformsim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// open returns a platform without listeners.
func open(t testing.TB, o platformsim.Options) *platformsim.Platform {
	t.Helper()
	p, err := platformsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// start returns a platform with listeners.
func start(t testing.TB, o platformsim.Options) *platformsim.Platform {
	t.Helper()
	p := open(t, o)
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	return p
}

// instant is one model without delays that answers with five tokens.
func instant() []platformsim.Model {
	return []platformsim.Model{
		{Name: "m", OutputTokens: platformsim.Lengths{Min: 5, Max: 5}, ContextLength: 2000},
		{Name: "e", Dimensions: 8, Backend: llm.Config{CacheBlocks: -1}},
	}
}

// answer is what a handler said.
type answer struct {
	status int
	header http.Header
	body   string
}

// field returns a field of the JSON body; path parts are joined by dots.
func (a answer) field(t testing.TB, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	for _, part := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			if int(part[0]-'0') >= len(at) {
				return nil
			}
			v = at[part[0]-'0']
		default:
			return nil
		}
	}
	return v
}

func (a answer) text(t testing.TB, path string) string {
	t.Helper()
	s, ok := a.field(t, path).(string)
	if !ok {
		t.Fatalf("no text %s in %d %s", path, a.status, a.body)
	}
	return s
}

// do calls a handler directly. headers are names and values in turn.
func do(h http.Handler, method, path, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Result().Header, w.Body.String()} //nolint:bodyclose // a recorder's body needs no closing
}

// admin calls the User/Org API as the administrator, on either face.
type admin struct {
	p     *platformsim.Platform
	token string
}

func asAdmin(t testing.TB, p *platformsim.Platform) admin {
	t.Helper()
	a := do(p.UserOrg(), "POST", "/v1/auth/login",
		`{"email":"`+p.AdminEmail()+`","password":"`+p.AdminPassword().Reveal()+`"}`)
	if a.status != 200 {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	return admin{p, a.text(t, "access_token")}
}

func (a admin) do(method, path, body string) answer {
	return do(a.p.UserOrg(), method, path, body, "Authorization", "Bearer "+a.token)
}

// member is one usable user.
type member struct{ org, orgID, user, keyID, key string }

// tenant creates an organization with a user and a key, on either face. extra
// is added to the body of the organization.
func tenant(t testing.TB, p *platformsim.Platform, slug string, extra map[string]any) member {
	t.Helper()
	a := asAdmin(t, p)
	body := map[string]any{"name": slug, "slug": slug}
	for k, v := range extra {
		body[k] = v
	}
	b, _ := json.Marshal(body)
	org := a.do("POST", "/v1/orgs", string(b))
	if org.status != 201 {
		t.Fatalf("create org: %d %s", org.status, org.body)
	}
	m := member{org: slug, orgID: org.text(t, "orgId")}
	return m.withUser(t, a, "user@"+slug+".invalid")
}

func (m member) withUser(t testing.TB, a admin, email string) member {
	t.Helper()
	inv := a.do("POST", "/v1/orgs/"+m.org+"/invites", `{"email":"`+email+`"}`)
	if inv.status != 202 {
		t.Fatalf("invite: %d %s", inv.status, inv.body)
	}
	m.user = inv.text(t, "inviteId")
	users := "/v1/orgs/" + m.org + "/users/" + m.user
	if inv.text(t, "status") == "pending" {
		if act := a.do("PATCH", users, `{"status":"active"}`); act.status != 200 {
			t.Fatalf("activate: %d %s", act.status, act.body)
		}
	}
	key := a.do("POST", users+"/api-keys", "{}")
	if key.status != 201 {
		t.Fatalf("issue key: %d %s", key.status, key.body)
	}
	m.keyID, m.key = key.text(t, "apiKeyId"), key.text(t, "secret")
	return m
}

// ask sends a body to the router's handler with the member's key.
func (m member) ask(p *platformsim.Platform, path, body string, headers ...string) answer {
	return do(p.Router(), "POST", path, body, append([]string{"X-API-Key", m.key}, headers...)...)
}

const (
	chatPath = "/v1/chat/completions"
	hello    = `{"model":"m","messages":[{"role":"user","content":"Hello there"}]}`
)

// seen is what a plain client saw of one request.
type seen struct {
	id         string
	status     int
	contents   []string // of content chunks
	role       string
	finish     string
	usage      map[string]any
	done       bool
	garbage    int
	chunkBytes int64
	err        error
}

// streamed reads a stream as a plain client would, over a connection.
func streamed(t testing.TB, url, key, id, body string) seen {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+chatPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer "+key)
	req.Header.Set("X-Request-Id", id)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return seen{id: id, err: err}
	}
	defer resp.Body.Close()
	s := seen{id: resp.Header.Get("X-Request-Id"), status: resp.StatusCode}
	body2, err := io.ReadAll(resp.Body)
	s.chunkBytes, s.err = int64(len(body2)), err
	lines := bufio.NewScanner(bytes.NewReader(body2))
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !isData:
			continue
		case data == "[DONE]":
			s.done = true
			continue
		}
		var event struct {
			Choices []struct {
				Delta struct {
					Role    string
					Content string
				}
				FinishReason string `json:"finish_reason"`
			}
			Usage map[string]any
		}
		if json.Unmarshal([]byte(data), &event) != nil {
			s.garbage++
			continue
		}
		if event.Usage != nil {
			s.usage = event.Usage
		}
		for _, c := range event.Choices {
			if c.Delta.Role != "" {
				s.role = c.Delta.Role
			}
			if c.Delta.Content != "" {
				s.contents = append(s.contents, c.Delta.Content)
			}
			if c.FinishReason != "" {
				s.finish = c.FinishReason
			}
		}
	}
	return s
}

// await waits for a condition that another goroutine brings about.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute) // on the slowest machine
	for !condition() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s did not happen", what)
		}
	}
}
