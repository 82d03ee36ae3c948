package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

func ask(h http.Handler, path string) (code int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

// TestAStuckSchedulerIsNotAlive holds up a tick of a real fleet, and lets it go
// on again.
func TestAStuckSchedulerIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pulse server.Pulse
		s := server.New(server.Options{Age: pulse.Age})
		alive := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if code, body := ask(s, "/healthz"); code != want || (code == 503) != strings.Contains(body, "has stood still for 1") {
				t.Errorf("%s: %d %s", when, code, body)
			}
		}
		alive(200, "before the load")

		source, err := questions.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		script := simulator.Script{
			Source: source, Questions: simulator.Count{Min: 1000, Max: 1000}, Think: simulator.Number{Min: 1, Max: 1},
			Models: []simulator.Model{{Name: "m", Weight: 1}},
		}
		begin, free := time.Now(), make(chan struct{})
		fleet, err := simulator.New(simulator.Options{
			RunID: "run", Users: []simulator.Identity{{Org: "org", User: "user"}},
			Script:  script,
			Pattern: loadpattern.Phases{{Name: "all", Duration: time.Minute, Target: 1}},
			Asker:   simulator.AskerFunc(func(context.Context, *simulator.Call) error { return nil }),
			Watch: simulator.Watch{Tick: func(simulator.Tick) {
				if since := time.Since(begin); since > 20*time.Second && since < 21*time.Second {
					<-free
				}
				pulse.Beat()
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- fleet.Run(t.Context()) }()
		time.Sleep(19 * time.Second) // virtual
		alive(200, "under load")
		time.Sleep(10 * time.Second)
		alive(200, "a short while after a tick got stuck")
		time.Sleep(3 * time.Second)
		alive(503, "long after")
		close(free)
		alive(200, "after it went on")
		if err := <-done; err != nil {
			t.Error(err)
		}
		pulse.Rest()
		time.Sleep(time.Hour)
		alive(200, "after the load")
	})
}

func TestReadyAndStatus(t *testing.T) {
	var pulse server.Pulse
	now := server.Status{Run: "r", Stage: "creating tenants"}
	s := server.New(server.Options{Age: pulse.Age, Status: func() server.Status { return now }})
	s.Handle("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "mine") }))

	if code, body := ask(s, "/readyz"); code != 503 || !strings.Contains(body, "creating tenants") {
		t.Errorf("before the load: %d %s", code, body)
	}
	if _, body := ask(s, "/status"); strings.Contains(body, "heartbeat") {
		t.Errorf("a heartbeat before there is one: %s", body)
	}
	now.Ready, now.Stage, now.Requests = true, "running", server.Requests{Total: 3, Succeeded: 2, Failed: 1}
	pulse.Beat()
	if code, _ := ask(s, "/readyz"); code != 200 {
		t.Errorf("under load: %d", code)
	}
	_, body := ask(s, "/status")
	var got server.Status
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Requests != now.Requests || got.HeartbeatSeconds == nil || *got.HeartbeatSeconds < 0 {
		t.Errorf("%v in %s", err, body)
	}
	if code, body := ask(s, "/metrics"); code != 200 || body != "mine" {
		t.Errorf("another handler: %d %s", code, body)
	}
	if code, _ := ask(s, "/debug/pprof/"); code != 404 {
		t.Errorf("profiles that nobody asked for: %d", code)
	}
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		name, token, host, authorization string
		code                             int
	}{
		{"here", "", "", "", 200},
		{"here, by name", "", "localhost", "", 200},
		{"a page from elsewhere", "", "evil.example", "", 403},
		{"no token", "sesame", "", "", 401},
		{"a wrong token", "sesame", "", "Bearer sesam", 401},
		{"the token", "sesame", "pod.example", "Bearer sesame", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := server.New(server.Options{Age: new(server.Pulse).Age, Profiles: true, Token: secret.New(c.token)})
			l, err := server.Start(t.Context(), ":0", s)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			req, err := http.NewRequestWithContext(t.Context(), "GET", l.URL()+"/debug/pprof/goroutine?debug=1", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host, req.Header["Authorization"] = c.host, []string{c.authorization}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.code || (c.code == 200) != strings.Contains(string(body), "goroutine profile") {
				t.Errorf("%d %.200s", resp.StatusCode, body)
			}
		})
	}
}

func TestWhereToListen(t *testing.T) {
	s := server.New(server.Options{Age: new(server.Pulse).Age, Profiles: true})
	for address, want := range map[string]string{
		"nonsense":  "not host:port",
		"0.0.0.0:0": "open to the network",
	} {
		if l, err := server.Start(t.Context(), address, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", address, l, err)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	l, err := server.Start(t.Context(), ":0", s)
	if err != nil || !strings.HasPrefix(l.URL(), "http://127.0.0.1:") {
		t.Fatalf("on a laptop: %v, %v", l, err)
	}
	if _, err := server.Start(t.Context(), strings.TrimPrefix(l.URL(), "http://"), s); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("at an address that is taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	if l, err = server.Start(t.Context(), ":0", server.New(server.Options{Age: new(server.Pulse).Age})); err != nil || strings.Contains(l.URL(), "127.0.0.1") {
		t.Fatalf("in a pod: %v, %v", l, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
