//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// hides requires that no secret is in what a process printed, nor in any file
// of the folder, the scenarios aside.
func hides(t *testing.T, p *process, out folder, secrets ...string) {
	t.Helper()
	texts := map[string]string{"stdout": p.out.String(), "stderr": p.err.String()}
	err := filepath.WalkDir(string(out), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".yaml" {
			return err
		}
		data, err := os.ReadFile(path) // #nosec G304 -- the test's own folder
		texts[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"result.json", "report.html", "run.log"} {
		if files, err := filepath.Glob(filepath.Join(string(out), "*", want)); err != nil || len(files) == 0 {
			t.Errorf("there is no %s to look into: %v", want, err)
		}
	}
	for name, text := range texts {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows the secret %q: …%s", name, secret, text[max(0, i-100):i+len(secret)])
			}
		}
	}
}

// listener is a proxy before a platform that learns every secret that passes,
// and answers some requests by quoting them.
type listener struct {
	mu      sync.Mutex
	secrets map[string]bool
	calls   int
}

var issued = regexp.MustCompile(`"(?:secret|access_token)"\s*:\s*"([^"]+)"`)

func (l *listener) learn(secret string) {
	if secret != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.secrets[secret] = true
	}
}

func (l *listener) known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for s := range l.secrets {
		all = append(all, s)
	}
	return all
}

// before returns the address of the proxy before a service.
func (l *listener) before(t *testing.T, service string, quotes bool) string {
	t.Helper()
	to, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that have heard enough
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		for _, match := range issued.FindAllSubmatch(body, -1) {
			l.learn(string(match[1]))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		key := r.Header.Get("X-Api-Key")
		l.learn(bearer)
		l.learn(key)
		if quotes && l.quote(w, r, bearer+key) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// quote answers every other request in one of several ways that repeat the key.
func (l *listener) quote(w http.ResponseWriter, r *http.Request, key string) bool {
	l.mu.Lock()
	l.calls++
	n := l.calls
	l.mu.Unlock()
	if n < 4 || n%2 == 0 { // let the pre-flight request through
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	write := func(status int, kind, format string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, format, key)
	}
	switch n / 2 % 8 {
	case 0:
		write(401, "application/json", `{"error":"invalid API key: %[1]s","code":"%[1]s"}`)
	case 1:
		write(400, "text/plain", "cannot accept "+r.Header.Get("Authorization")+" or %s")
	case 2:
		write(500, "text/html", "<pre>cannot use the header Authorization: Bearer %s</pre>")
	case 3:
		write(200, "text/event-stream", "data: {\"error\":{\"message\":\"the key %s is spent\",\"code\":\"server_error\"}}\n\n")
	case 4:
		write(200, "text/event-stream", "data: this is no JSON but %s\n\n")
	case 5:
		write(200, "application/json", `{"choices":[],"key":"%s"}`)
	case 6:
		w.Header().Set("Location", "http://127.0.0.1:1/?key="+key)
		write(307, "text/plain", "see %s")
	default:
		write(429, "application/json", `{"error":{"message":"slow down, %s"},"retry_after_seconds":0.01}`)
	}
	return true
}

// TestSecretsStayInside looks for every key of a run, which a proxy has seen,
// in everything that the run leaves.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const load = `
  organizations: {count: 2}
  users: {perOrg: {min: 4, max: 4}}
  userBehavior:
    questionsPerSession: {min: 12, max: 12}
    thinkTimeSeconds: {min: 0, max: 0.01}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 8
    errorHandling: {retryAttempts: 1, retryBackoffMs: 5}
  advanced: {debug: true}
`
	for _, c := range []struct {
		name  string
		flags []string
		admin string
		env   []string
	}{
		{name: "keys", admin: `adminApiKey: "${ADMIN_KEY}"`, env: []string{"ADMIN_KEY=" + adminKey}},
		{name: "password", flags: []string{"--as-observed", "--quirk", "no-streaming=off"},
			admin: `adminLogin: {email: admin@platform.invalid, password: "${ADMIN_PASSWORD}"}`, env: []string{"ADMIN_PASSWORD=" + adminKey}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, out, l := startPlatform(t, append(c.flags, "--instant")...), newFolder(t), &listener{secrets: map[string]bool{}}
			run := launch(t, c.env, "run", out.scenario(t, c.name, fmt.Sprintf(
				"  targets: {apiRouterUrl: %q, userOrgUrl: %q, %s, headers: {X-Trace-Secret: header-secret-0123456789}}\n",
				l.before(t, p.router, true), l.before(t, p.userOrg, false), c.admin)+load), "--output-dir", string(out), "--log-requests")
			if code := run.wait(); code != 0 {
				t.Errorf("exit code %d: %s %s", code, &run.out, &run.err)
			}
			b := out.document(t, c.name)
			all := b.Summary.Overall().All
			if all.Failed == 0 || all.Refused == 0 || all.Succeeded == 0 {
				t.Errorf("the proxy did not do its part: %+v", all)
			}
			secrets := append(l.known(), adminKey, "header-secret-0123456789")
			if len(secrets) < 8+2 {
				t.Errorf("the proxy has seen only %d secrets of 8 users", len(secrets)-2)
			}
			hides(t, run, out, secrets...)
			if file := filepath.Join(string(out), c.name, "requests.jsonl"); countLines(t, file) == 0 {
				t.Errorf("%s is empty", file)
			}
			if s := p.state(); s.ActiveKeys != 0 {
				t.Errorf("%d keys are left", s.ActiveKeys)
			}
		})
	}

	t.Run("wrong key", func(t *testing.T) {
		p, out, l := startPlatform(t, "--instant"), newFolder(t), &listener{secrets: map[string]bool{}, calls: 4}
		run := launch(t, []string{"OWN=a-key-that-nobody-knows-0123456789"}, "run", out.scenario(t, "wrong", fmt.Sprintf(
			"  targets: {apiRouterUrl: %q, credentials: {env: OWN}}\n", l.before(t, p.router, true))+load), "--output-dir", string(out))
		run.exits(1)
		hides(t, run, out, append(l.known(), "a-key-that-nobody-knows-0123456789")...)
	})
}
