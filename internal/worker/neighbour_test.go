package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// wire takes requests to a handler without a network, so that time can be virtual.
type wire struct{ http.Handler }

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, send := io.Pipe()
	a := &answering{header: http.Header{}, body: send, head: make(chan int, 1)}
	ctx, gone := context.WithCancel(r.Context())
	context.AfterFunc(ctx, func() { _ = body.CloseWithError(context.Canceled) })
	go func() {
		defer gone()
		w.ServeHTTP(a, r.WithContext(ctx))
		a.WriteHeader(http.StatusOK)
		_ = send.Close()
	}()
	select {
	case status := <-a.head:
		return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(), Body: body, ContentLength: -1, Request: r}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answering is the handler's end of an exchange.
type answering struct {
	header http.Header
	body   *io.PipeWriter
	head   chan int
	begun  bool
}

func (a *answering) Header() http.Header { return a.header }
func (a *answering) Flush()              { a.WriteHeader(http.StatusOK) }

func (a *answering) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

func (a *answering) WriteHeader(status int) {
	if !a.begun {
		a.begun = true
		a.head <- status
	}
}

// small is a model with few places, which serves 2 tokens in 0.2 s.
func small(running int) []platformsim.Model {
	return []platformsim.Model{{
		Name: "sim-small", OutputTokens: platformsim.Lengths{Min: 2, Max: 2},
		Backend: llm.Config{MaxRunning: running, PrefillPerSecond: 20_000, DecodeStep: 100 * time.Millisecond},
	}}
}

// tenant has an organization made, with more fields than its name if they are
// given as JSON, and a user with a key in it.
func tenant(t *testing.T, p *platformsim.Platform, index int, more ...string) simulator.Identity {
	t.Helper()
	do := func(path, body string) (answer map[string]any) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("X-API-Key", p.AdminKey().Reveal())
		w := httptest.NewRecorder()
		p.UserOrg().ServeHTTP(w, r)
		if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&answer); err != nil || w.Code >= 300 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return answer
	}
	slug := fmt.Sprint("org-", index)
	do("/v1/orgs", fmt.Sprintf(`{"name":%q,"slug":%q%s}`, slug, slug, strings.Join(more, "")))
	users := "/v1/orgs/" + slug + "/users/" + do("/v1/orgs/"+slug+"/invites", fmt.Sprintf(`{"email":"u@%s.invalid"}`, slug))["inviteId"].(string)
	key := do(users+"/api-keys", "{}")["secret"].(string)
	return simulator.Identity{Org: slug, OrgIndex: index, User: "u-" + slug, UserIndex: index, Keys: []secret.String{secret.New(key)}}
}

// neighbours tests three organizations of one user each, in virtual time.
func neighbours(t *testing.T, o platformsim.Options, spec string, change func(*Worker)) (b *export.Bundle, err error) {
	t.Helper()
	return neighboursOf(t, o, fmt.Sprintf(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: test}
spec:
  organizations: {count: 3}
  userBehavior: {maxTokensPerRequest: {base: 2}, modelPreferences: [{model: sim-small}], errorHandling: {retryAttempts: 0}}
  isolation: {noisyNeighbour: {enabled: true, aggressor: 3, concurrency: 20, requestsPerSecond: 9, window: 3s}}
%s`, spec), change)
}

func neighboursOf(t *testing.T, o platformsim.Options, scenario string, change func(*Worker)) (b *export.Bundle, err error) {
	t.Helper()
	scenario = strings.Replace(scenario, "\nspec:\n", fmt.Sprintf(`
spec:
  seed: %d
  targets: {apiRouterUrl: "http://router.invalid", userOrgUrl: "http://users.invalid", adminApiKey: unused}
`, o.Seed), 1)
	synctest.Test(t, func(t *testing.T) {
		p, newErr := platformsim.New(o)
		if newErr != nil {
			t.Fatal(newErr)
		}
		s, parseErr := config.Parse("test.yaml", []byte(scenario), func(string) (string, bool) { return "", false })
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		w, newErr := New(t.Context(), Options{Scenario: s, RunID: "run-1", Folder: t.TempDir(), Workers: 1, Log: zap.NewNop()})
		if newErr != nil {
			t.Fatal(newErr)
		}
		w.job.router.Wrap = func(http.RoundTripper) http.RoundTripper { return wire{p.Router()} }
		if change != nil {
			change(w)
		}
		b = w.NewBundle()
		err = w.checkNeighbour(t.Context(), []simulator.Identity{tenant(t, p, 1), tenant(t, p, 2), tenant(t, p, 3)}, b)
		w.conclude(b)
		if closeErr := p.Close(context.Background()); closeErr != nil {
			t.Error(closeErr)
		}
		if got, want := p.Totals().Requests, int64(b.Summary.Overall().All.Requests); got != want {
			t.Errorf("%d requests, %d in truth", want, got)
		}
	})
	return b, err
}

// Of 20 unfair platforms none gets away, and of 20 fair ones none is accused:
// those are all acquitted, as time here is virtual.
func TestNoisyNeighbour(t *testing.T) {
	for name, unfair := range map[string]bool{"fair": false, "unfair": true} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/%d", name, seed+1), func(t *testing.T) {
				b, err := neighbours(t, platformsim.Options{Seed: seed + 1, Models: small(4), Defects: platformsim.Defects{UnfairScheduler: unfair}}, "", nil)
				if err != nil || len(b.Isolation) != 1 || b.Isolation[0].Neighbour == nil {
					t.Fatalf("%v, %+v", err, b.Isolation)
				}
				got, n := b.Isolation[0], b.Isolation[0].Neighbour
				t.Logf("%s %.3f %+v", got.Reason, n.Fairness, n.Orgs)
				if want := map[bool]string{false: "not harmed", true: "harmed"}[unfair]; got.Verdict != want {
					t.Errorf("%s, want %s: %s", got.Verdict, want, got.Reason)
				}
				if fair := n.Fairness > 0.95; fair == unfair {
					t.Errorf("Jain's index is %.3f: %+v", n.Fairness, n.Orgs)
				}
				if len(n.Rounds) != neighbourRounds || len(n.Orgs) != 3 || n.Lag != 0 || n.Aggressor != "org-3" {
					t.Errorf("%+v", n)
				}
				if accused := strings.HasPrefix(b.Verdict.Reasons[0], "noisy neighbour: HARMED on sim-small"); accused != unfair {
					t.Errorf("%+v", b.Verdict)
				}
				if b.Summary.Overall().Measured.Requests != 0 {
					t.Error("requests of the test are measured")
				}
			})
		}
	}
}

// The example finds what its head says.
func TestTheNeighbourExample(t *testing.T) {
	scenario, err := os.ReadFile("../../configs/examples/isolation/noisy-neighbour.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		places int
		unfair bool
		want   string
	}{{256, false, "not harmed, undecided"}, {12, false, "not harmed"}, {12, true, "harmed"}} {
		b, err := neighboursOf(t, platformsim.Options{
			Seed: 1, Models: platformsim.WithPlaces(platformsim.DefaultModels(), c.places), Defects: platformsim.Defects{UnfairScheduler: c.unfair},
		}, string(scenario), nil)
		if err != nil || len(b.Isolation) != 1 || !slices.Contains(strings.Split(c.want, ", "), b.Isolation[0].Verdict) {
			t.Errorf("%+v: %v, %+v", c, err, b.Isolation)
		} else {
			t.Logf("%+v: %s %+v", c, b.Isolation[0].Reason, b.Isolation[0].Neighbour)
		}
	}
}

// A model with places for all harms nobody, however it is scheduled.
func TestRoomForAllHarmsNobody(t *testing.T) {
	b, err := neighbours(t, platformsim.Options{Seed: 1, Models: small(64), Defects: platformsim.Defects{UnfairScheduler: true}}, "", nil)
	if err != nil || b.Isolation[0].Verdict != "not harmed" || math.Abs(b.Isolation[0].Neighbour.Fairness-1) > 0.02 {
		t.Errorf("%v, %+v", err, b.Isolation)
	}
}

// What is of our own making is not held against the platform.
func TestNeighboursAreNotAccusedForUs(t *testing.T) {
	for spec, says := range map[string]string{
		"  limits: {maxConcurrentReqs: 6}":     "limits of this scenario held",
		"  limits: {maxRequestsPerSecond: 12}": "limits of this scenario held",
	} {
		b, err := neighbours(t, platformsim.Options{Seed: 1, Models: small(4), Defects: platformsim.Defects{UnfairScheduler: true}}, spec, nil)
		if err != nil || b.Isolation[0].Verdict != "undecided" || !strings.Contains(b.Isolation[0].Reason, says) {
			t.Errorf("%s: %v, %+v", spec, err, b.Isolation)
		}
	}
	b, err := neighbours(t, platformsim.Options{Seed: 1, Models: small(4), Faults: platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.InternalError: 0.3}}}, "", nil)
	if err != nil || b.Isolation[0].Verdict != "undecided" || !strings.Contains(b.Isolation[0].Reason, "failed without the aggressor") {
		t.Errorf("%v, %+v", err, b.Isolation)
	}
}

// A limit ends the test, and no verdict comes of it.
func TestTheNeighbourTestKeepsLimits(t *testing.T) {
	b, err := neighbours(t, platformsim.Options{Seed: 1, Models: small(4)}, "  limits: {maxRequests: 200}", nil)
	var exceeded *limits.Exceeded
	if !errors.As(err, &exceeded) || len(b.Isolation) != 0 || b.Summary.Overall().All.Requests != 200 {
		t.Errorf("%v, %+v, %d requests", err, b.Isolation, b.Summary.Overall().All.Requests)
	}
}

// Where it cannot be made, a warning says so.
func TestTheNeighbourTestWantsNeighbours(t *testing.T) {
	for says, change := range map[string]func(*Worker){
		"one process for all organizations":    func(w *Worker) { w.Workers = 2 },
		"wants users of organization 9 and of": func(w *Worker) { w.Scenario.Spec.Isolation.NoisyNeighbour.Aggressor = 9 },
	} {
		b, err := neighbours(t, platformsim.Options{Seed: 1, Models: small(4)}, "", change)
		if err != nil || len(b.Isolation) != 0 || len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], says) {
			t.Errorf("%v, %+v, %q", err, b.Isolation, b.Warnings)
		}
		if b.Verdict.Status == verdict.Broken {
			t.Errorf("%+v", b.Verdict)
		}
	}
}
