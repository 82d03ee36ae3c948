package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// target is a platform fast enough for tests.
func target(t *testing.T, o platformsim.Options) *platformsim.Platform {
	t.Helper()
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Models == nil {
		o.Models = platformsim.AtSpeed(platformsim.DefaultModels(), 5)
	}
	o.KeepTruth = 100_000
	p, err := platformsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

const head = `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: test, testRunId: run-1}
spec:
  seed: 7
`

func targets(p *platformsim.Platform) string {
	return fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: %q}\n", p.RouterURL(), p.UserOrgURL(), p.AdminKey().Reveal())
}

// prepare makes a worker of a scenario: spec is the part below spec, indented by two.
func prepare(t *testing.T, spec string, change ...func(*worker.Options)) *worker.Worker {
	t.Helper()
	s, err := config.Parse("test.yaml", []byte(head+spec), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	o := worker.Options{
		Scenario: s, RunID: "run-1", Folder: t.TempDir(), Workers: 1,
		Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
	}
	for _, f := range change {
		f(&o)
	}
	w, err := worker.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func run(t *testing.T, spec string) *export.Bundle {
	t.Helper()
	b, err := prepare(t, spec).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const busy = `
  organizations: {count: 3}
  users: {perOrg: {min: 4, max: 6}}
  userBehavior:
    questionsPerSession: {min: 3, max: 6}
    thinkTimeSeconds: {min: 0.01, max: 0.05}
    maxTokensPerRequest: {base: 40}
    streamingRatio: 0.5
    modelPreferences: [{model: sim-small, weight: 3}, {model: sim-medium}]
    conversationStyle: {multiTurnProbability: 0.5}
  cacheSalt: {enabled: true}
`

// agree holds the document against what the platform says it did.
func agree(t *testing.T, p *platformsim.Platform, all stats.Totals) {
	t.Helper()
	truth := p.Totals()
	for _, c := range []struct {
		what       string
		ours, real int64
	}{
		{"requests", int64(all.Requests), truth.Requests},
		{"successes", int64(all.Succeeded), truth.ByStatus[200] - truth.Aborted},
		{"prompt tokens", int64(all.PromptTokens), truth.PromptTokens},
		{"completion tokens", int64(all.CompletionTokens), truth.CompletionTokens},
		{"cached tokens", int64(all.CachedTokens), truth.CachedTokens},
		{"chunks", int64(all.Chunks), truth.Chunks},
		{"cost in micro-dollars", all.CostMicroUSD, truth.CostMicroUSD},
	} {
		if c.ours != c.real {
			t.Errorf("%s: %d in the result, %d in truth", c.what, c.ours, c.real)
		}
	}
}

func TestRunAgreesWithTheTruth(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy)
	if b.Verdict.Status != verdict.Passed {
		t.Errorf("verdict %+v", b.Verdict)
	}
	overall := b.Summary.Overall()
	agree(t, p, overall.All)
	if overall.All.Requests < 3*4*3 || overall.All.Streams == 0 || overall.All.Streams == overall.All.Requests || overall.All.CachedTokens == 0 || overall.All.CachedReported != overall.All.Requests {
		t.Errorf("the load was not what the scenario says: %+v", overall.All)
	}
	for slug, truth := range p.Totals().Orgs {
		name := strings.TrimSuffix(slug, "-run-1")
		for _, g := range b.Summary.Rollup(stats.ByOrg) {
			if g.Key.Org == name && (g.All.CostMicroUSD != truth.CostMicroUSD || int64(g.All.Requests) != truth.Requests) {
				t.Errorf("org %s: %d requests for %d, in truth %d for %d", name, g.All.Requests, g.All.CostMicroUSD, truth.Requests, truth.CostMicroUSD)
			}
		}
	}
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 || b.Cleanup.Status != "done" || b.Cleanup.DeletedOrgs != 3 {
		t.Errorf("left behind: %+v; clean-up says %+v", s, b.Cleanup)
	}
}

func TestFailuresAgreeWithTheTruth(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+busy)
	if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{
		platformsim.InternalError: 0.1, platformsim.Truncate: 0.05, platformsim.ResetMidway: 0.05, platformsim.Garbage: 0.05,
	}}); err != nil {
		t.Fatal(err)
	}
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, truth := b.Summary.Overall().All, p.Totals()
	if int64(all.Requests) != truth.Requests {
		t.Errorf("%d requests in the result, %d in truth", all.Requests, truth.Requests)
	}
	if all.Failed == 0 || all.Retried == 0 {
		t.Errorf("no failures were seen: %+v", all)
	}
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestInterruptKeepsWhatWasMeasuredAndCleansUp(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+busy+"  loadPattern: {type: steady, phases: [{name: long, duration: 10m}]}\n")
	ctx, interrupt := context.WithCancelCause(t.Context())
	go func() {
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		for p.Totals().Requests < 30 {
			<-poll.C
		}
		interrupt(worker.ErrInterrupted)
	}()
	b, err := w.Run(ctx)
	if !errors.Is(err, worker.ErrInterrupted) || b.Verdict.Status != verdict.Interrupted || b.Stop.Reason != "interrupted" {
		t.Errorf("%v, %+v, %+v", err, b.Verdict, b.Stop)
	}
	if n := b.Summary.Overall().All.Requests; n < 30 {
		t.Errorf("%d requests were kept", n)
	}
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

// TestAnInterruptOfTheCleanUpIsNoneOfTheLoad: what was measured to its end
// keeps its verdict.
func TestAnInterruptOfTheCleanUpIsNoneOfTheLoad(t *testing.T) {
	p := target(t, platformsim.Options{})
	ctx, interrupt := context.WithCancelCause(t.Context())
	w := prepare(t, targets(p)+busy, func(o *worker.Options) {
		o.Log = zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel), zaptest.WrapOptions(zap.Hooks(func(e zapcore.Entry) error {
			if e.Message == "load ended" {
				interrupt(worker.ErrInterrupted)
			}
			return nil
		})))
	})
	b, err := w.Run(ctx)
	if err != nil || b.Verdict.Status != verdict.Passed || b.Stop.Reason != "completed" || b.Cleanup.Status != "done" {
		t.Errorf("%v, %+v, %+v, %+v", err, b.Verdict, b.Stop, b.Cleanup)
	}
}

// TestACrashKeepsWhatWasMeasuredAndCleansUp: a fault of this tool costs one
// user his life, and neither the results nor the platform's cleanliness.
func TestACrashKeepsWhatWasMeasuredAndCleansUp(t *testing.T) {
	p := target(t, platformsim.Options{})
	var n atomic.Int32
	w := prepare(t, targets(p)+busy, func(o *worker.Options) {
		o.Sinks = []record.Sink{record.SinkFunc(func(*record.Record) {
			if n.Add(1) == 20 {
				panic("a fault of this tool")
			}
		})}
	})
	b, err := w.Run(t.Context())
	if err == nil || b.Verdict.Status != verdict.Broken || !strings.Contains(b.Stop.Detail, "a fault of this tool") || strings.Contains(b.Stop.Detail, "\n") {
		t.Errorf("%v, %+v, %+v", err, b.Verdict, b.Stop)
	}
	agree(t, p, b.Summary.Overall().All)
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

// TestACrashOfTheWorkerItself leaves a document and no tenants, too.
func TestACrashOfTheWorkerItself(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+busy, func(o *worker.Options) {
		o.Start = func(context.Context) (time.Time, stats.Totals, error) { panic("a fault of this tool") }
	})
	b, err := w.Run(t.Context())
	if err == nil || b.Verdict.Status != verdict.Broken || !strings.Contains(b.Stop.Detail, "this worker crashed") || b.Cleanup == nil || b.Cleanup.Status != "done" {
		t.Errorf("%v, %+v, %+v, %+v", err, b.Verdict, b.Stop, b.Cleanup)
	}
	if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestADryRunPassesWithPromises(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy+"  slo: {e2e: {p95: 1s}, ttft: {p95: 1s}, errorRate: 1%, availability: 99%}\n  advanced: {dryRun: true}\n")
	if got := b.Summary.Overall().All; b.Verdict.Status != verdict.Passed || got.Requests != 2 || len(b.Verdict.Checks) != 0 {
		t.Errorf("%+v after %+v", b.Verdict, got)
	}
}

// TestPhases: two of one name are told apart, a limit of the phases' own
// length does not end them, and users who finish early are a warning.
func TestPhases(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy+`
  loadPattern: {type: steady, phases: [{name: hold, duration: 0.3s, measure: false}, {name: hold, duration: 0.3s}, {name: pre-flight, duration: 0.3s}]}
  limits: {maxDuration: 0.9s}
`)
	var names []string
	for _, ph := range b.Phases {
		names = append(names, ph.Name)
	}
	if got := strings.Join(names, ", "); got != "hold, hold (2), pre-flight (2)" || b.Stop.Reason != "completed" || b.Verdict.Status != verdict.Passed {
		t.Errorf("phases %s, %+v, %+v", got, b.Stop, b.Verdict)
	}
	for _, g := range b.Summary.Rollup(stats.ByPhase) {
		if g.Key.Phase == "hold" && g.Measured.Requests != 0 || g.Key.Phase == "hold (2)" && g.Measured != g.All {
			t.Errorf("phase %s has %d requests, %d of them measured", g.Key.Phase, g.All.Requests, g.Measured.Requests)
		}
	}

	b = run(t, targets(p)+busy+"  loadPattern: {type: steady, phases: [{name: hold, duration: 10m}]}\n  looping: {enabled: true, maxLoops: 1}\n")
	if b.Stop.Reason != "completed" || !strings.Contains(strings.Join(b.Warnings, "\n"), "all users had finished") {
		t.Errorf("%+v, warnings %q", b.Stop, b.Warnings)
	}
}

func TestThePreFlightIsNotOnTheTimeline(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+busy)
	var charted uint64
	for _, in := range b.Summary.Timeline.Intervals {
		charted += in.Totals.Requests
	}
	if all := b.Summary.Overall().All.Requests; charted != all-2 { // one to each model
		t.Errorf("%d requests on the timeline, %d in all", charted, all)
	}
}

// TestRequestsAreFoundOnThePlatform: the examples of the result and the lines
// of the log name requests as the platform's own log does.
func TestRequestsAreFoundOnThePlatform(t *testing.T) {
	p := target(t, platformsim.Options{})
	if err := p.SetFaults(platformsim.Faults{Rates: map[platformsim.Fault]float64{platformsim.InternalError: 0.3}}); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	var mu sync.Mutex
	recorded := map[string]record.Record{}
	b, err := prepare(t, targets(p)+busy, func(o *worker.Options) {
		o.Log, o.TraceRatio = zap.New(core), 1
		o.Sinks = []record.Sink{record.SinkFunc(func(r *record.Record) {
			mu.Lock()
			defer mu.Unlock()
			recorded[string(r.Trace.AppendHeader(nil))] = *r
		})}
	}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type name struct{ id, trace string }
	platform := map[name]int{} // statuses
	for _, e := range p.Truth() {
		r, ok := recorded[e.Traceparent]
		if !ok || r.ID != e.ID || !r.Trace.Sampled {
			t.Fatalf("the platform saw %s %q, which is recorded as %+v", e.ID, e.Traceparent, r)
		}
		platform[name{r.ID, r.Trace.ID.String()}] = e.Status
	}
	all := b.Summary.Overall()
	if len(platform) == 0 || uint64(len(recorded)) != all.All.Requests {
		t.Errorf("%d requests have %d traceparents; the platform saw %d", all.All.Requests, len(recorded), len(platform))
	}
	failed := logs.FilterMessage("request failed")
	if got := uint64(failed.Len()); got == 0 || got != all.All.Failed {
		t.Errorf("%d lines about %d failures", got, all.All.Failed)
	}
	for _, line := range failed.All() {
		says := line.ContextMap()
		if status := platform[name{says["id"].(string), says["traceId"].(string)}]; status != 500 || says["kind"] != string(record.HTTPError) {
			t.Errorf("%v, for which the platform has %d", says, status)
		}
	}
	for _, e := range all.Errors {
		if platform[name{e.ExampleID, e.TraceID.String()}] != e.Status {
			t.Errorf("%+v, which the platform does not know", e)
		}
	}
	if len(b.Summary.Slowest) == 0 {
		t.Error("nothing was slow")
	}
	for _, s := range b.Summary.Slowest {
		if platform[name{s.ID, s.TraceID.String()}] != 200 {
			t.Errorf("%+v, which the platform does not know", s)
		}
	}
}

func TestDebugLogsEveryRequest(t *testing.T) {
	p := target(t, platformsim.Options{})
	core, logs := observer.New(zap.DebugLevel)
	b, err := prepare(t, targets(p)+busy, func(o *worker.Options) { o.Log = zap.New(core) }).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := logs.FilterMessage("request")
	if got, want := lines.Len(), b.Summary.Overall().All.Requests; uint64(got) != want {
		t.Errorf("%d lines for %d requests", got, want)
	}
	if first := lines.All()[0].ContextMap(); first["id"] != "run-1-pre-flight" || first["outcome"] != "success" {
		t.Errorf("the first line says %v", first)
	}
}

func TestAServerThatDoesNotStream(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"choices":[{"message":{"content":"no"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
	}))
	defer server.Close()
	b := run(t, fmt.Sprintf(`
  targets: {apiRouterUrl: %q, credentials: {keys: [none]}}
  userBehavior: {questionsPerSession: {min: 2, max: 2}, thinkTimeSeconds: {min: 0, max: 0.01}, modelPreferences: [{model: m}]}
`, server.URL))
	if len(b.Findings) != 1 || b.Findings[0].Title != "streaming is not supported" || !strings.Contains(b.Findings[0].Detail, "in one piece") {
		t.Errorf("findings %+v", b.Findings)
	}
	if got := b.Summary.Overall().All; got.Streams != 1 || got.Succeeded != 3 || got.CachedReported != 0 {
		t.Errorf("%+v: want the pre-flight alone to have asked for a stream, and nobody to speak of a cache", got)
	}
}

func TestBudgetsThatAreNotEnforced(t *testing.T) {
	spec := `
  organizations: {count: 2, budget: {limitUSD: 1}, overrides: [{index: 2, budget: {limitUSD: 0.0002}}]}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {questionsPerSession: {min: 20, max: 20}, thinkTimeSeconds: {min: 0, max: 0.001}, maxTokensPerRequest: {base: 40}, errorHandling: {retryAttempts: 0}}
  pricing: {sim-small: {completionPerMillionUSD: 2}}
`
	for _, broken := range []bool{true, false} {
		p := target(t, platformsim.Options{Quirks: platformsim.Quirks{NoBudgets: broken}, Models: platformsim.Instant(platformsim.DefaultModels())})
		b := run(t, targets(p)+spec)
		found := false
		for _, f := range b.Findings {
			found = found || f.Title == "budgets are not enforced" && strings.Contains(f.Detail, "loadtest-org-2 spent")
		}
		if found != broken {
			t.Errorf("budgets are ignored: %v; findings %+v, errors %+v", broken, b.Findings, b.Summary.Overall().Errors)
		}
	}
}

func TestLimitsEndTheRun(t *testing.T) {
	for name, c := range map[string]struct{ limits, detail string }{
		"requests": {"{maxRequests: 40}", "the request limit was reached"},
		"cost":     {"{maxCostUsd: 0.0005}", "the cost limit was reached"},
		"duration": {"{maxDuration: 1s}", "the duration limit was reached"},
	} {
		t.Run(name, func(t *testing.T) {
			p := target(t, platformsim.Options{})
			b := run(t, targets(p)+busy+"  looping: {enabled: true}\n  limits: "+c.limits+"\n")
			if b.Stop.Reason != "limit" || !strings.Contains(b.Stop.Detail, c.detail) || b.Verdict.Status != verdict.Failed {
				t.Errorf("%+v, %+v", b.Stop, b.Verdict)
			}
			agree(t, p, b.Summary.Overall().All)
		})
	}
}

func TestOwnKeysNeedNoTenancy(t *testing.T) {
	p := target(t, platformsim.Options{Quirks: platformsim.Quirks{DevKeys: true}})
	b := run(t, fmt.Sprintf(`
  targets: {apiRouterUrl: %q, credentials: {keys: [{org: a, user: u1, key: dev-a-1}, {org: a, user: u2, key: dev-a-2}, {org: b, key: dev-b-1}]}}
  userBehavior: {questionsPerSession: {min: 2, max: 2}, thinkTimeSeconds: {min: 0, max: 0.01}, modelPreferences: [{model: sim-small}]}
`, p.RouterURL()))
	if got := b.Summary.Overall().All; got.Requests != 7 || got.Succeeded != 7 {
		t.Errorf("%+v, want 3 users' 2 questions and the pre-flight", got)
	}
	if len(b.Orgs) != 2 || b.Orgs[0].Users != 2 || b.Cleanup.Status != "unneeded" || b.Bootstrap != nil {
		t.Errorf("%+v, %+v, %+v", b.Orgs, b.Cleanup, b.Bootstrap)
	}
}

func TestTheObservedPlatform(t *testing.T) {
	p := target(t, platformsim.Options{Quirks: platformsim.AsObserved(), AdminEmail: "a@example.com", HashCost: time.Millisecond})
	b := run(t, fmt.Sprintf(`
  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminLogin: {email: a@example.com, password: %q}}
  organizations: {count: 2, budget: {limitUSD: 1}}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {questionsPerSession: {min: 2, max: 2}, thinkTimeSeconds: {min: 0, max: 0.01}, modelPreferences: [{model: sim-small}]}
`, p.RouterURL(), p.UserOrgURL(), p.AdminPassword().Reveal()))
	if b.Verdict.Status != verdict.Passed {
		t.Errorf("verdict %+v", b.Verdict)
	}
	var titles []string
	for _, f := range b.Findings {
		titles = append(titles, f.Title+": "+f.Detail)
	}
	for _, want := range []string{"streaming is not supported", "/api-keys", "organizations cannot be deleted"} {
		if !strings.Contains(strings.Join(titles, "\n"), want) {
			t.Errorf("no finding says %q: %q", want, titles)
		}
	}
	if s := p.State(); s.ActiveKeys != 0 || b.Cleanup.RevokedKeys != 4 || b.Cleanup.Suspended != 6 {
		t.Errorf("%+v, clean-up %+v", s, b.Cleanup)
	}
	agree(t, p, b.Summary.Overall().All)
}

func TestBrokenRunsSayWhy(t *testing.T) {
	p := target(t, platformsim.Options{})
	for name, c := range map[string]struct{ spec, want string }{
		"wrong admin key": {fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: wrong-key}\n", p.RouterURL(), p.UserOrgURL()), "401"},
		"nothing listens": {"  targets: {apiRouterUrl: \"http://127.0.0.1:1\", userOrgUrl: \"http://127.0.0.1:1\", adminApiKey: k}\n", "127.0.0.1:1"},
		"wrong own key": {fmt.Sprintf("  targets: {apiRouterUrl: %q, credentials: {keys: [nonsense-key]}}\n  userBehavior: {modelPreferences: [{model: sim-small}]}\n",
			p.RouterURL()), "401"},
		"unknown model of one organization": {targets(p) + "  organizations: {count: 2, overrides: [{index: 2, models: [{model: nonsense}]}]}\n  userBehavior: {modelPreferences: [{model: sim-small}]}\n", "nonsense"},
		"unknown model":                     {targets(p) + "  userBehavior: {modelPreferences: [{model: nonsense}]}\n", "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := prepare(t, c.spec).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if b == nil || b.Verdict.Status != verdict.Broken || b.Stop.Reason != "broken" {
				t.Fatalf("document %+v", b)
			}
			if strings.Contains(err.Error(), "wrong-key") || strings.Contains(err.Error(), "nonsense-key") {
				t.Errorf("the key is in the error: %v", err)
			}
			if s := p.State(); s.Orgs != 0 || s.ActiveKeys != 0 {
				t.Errorf("left behind: %+v", s)
			}
		})
	}
}

// TestOneFailureDoesNotEndStreaming lets only the very first request fail: a
// platform that fails now and then must not be taken for one that cannot stream.
func TestOneFailureDoesNotEndStreaming(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a short body shows below
		switch {
		case calls.Add(1) == 1:
			w.WriteHeader(http.StatusInternalServerError)
		case strings.Contains(string(body), `"stream":true`):
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, `data: {"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}`)
		}
	}))
	defer server.Close()
	b := run(t, fmt.Sprintf(`
  targets: {apiRouterUrl: %q, credentials: {keys: [some-key]}}
  userBehavior:
    questionsPerSession: {min: 3, max: 3}
    thinkTimeSeconds: {min: 0, max: 0}
    modelPreferences: [{model: m}]
    errorHandling: {retryAttempts: 0}
`, server.URL))
	all := b.Summary.Overall()
	if len(b.Findings) > 0 || all.Measured.Streams != 3 || all.All.Requests != 6 {
		t.Errorf("%d of %d requests streamed; findings %+v", all.Measured.Streams, all.All.Requests, b.Findings)
	}
}

func TestOpenLoad(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+`
  organizations: {count: 2, overrides: [{index: 2, models: [{model: sim-medium}], arrivalRate: 80}]}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {maxTokensPerRequest: {base: 8}, modelPreferences: [{model: sim-small}]}
  loadPattern:
    type: steady
    arrival: {model: open, rate: 40, process: constant}
    phases:
      - {name: warm-up, duration: 500ms, targetRate: 20}
      - {name: open, duration: 1s}
`)
	agree(t, p, b.Summary.Overall().All)
	a := b.Headline.Arrivals
	if a == nil || a.Intended != 120 || a.Dropped != 0 || a.IntendedPerSecond != 120 || a.DeliveredPerSecond != 120 {
		t.Errorf("headline %+v, want 120 arrivals in a second", a)
	}
	if w := b.Phases[0].Arrivals; w == nil || w.Intended != 30 {
		t.Errorf("warm-up %+v, want 30 arrivals: half the rate, half the time", w)
	}
	got := map[string]uint64{}
	for _, g := range b.Summary.Rollup(func(k stats.Key) stats.Key { return stats.Key{Org: k.Org, Model: k.Model, Phase: k.Phase} }) {
		got[g.Key.Phase+" "+g.Key.Org+" "+g.Key.Model] = g.All.Requests
	}
	if got["open loadtest-org-1 sim-small"] != 40 || got["open loadtest-org-2 sim-medium"] != 80 || got["warm-up loadtest-org-2 sim-medium"] != 20 {
		t.Errorf("requests by phase, org and model: %v", got)
	}
}

func TestWhatOpenLoadCannotStart(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+`
  userBehavior: {maxTokensPerRequest: {base: 8}, modelPreferences: [{model: sim-small}]}
  limits: {maxConcurrentReqs: 2}
  loadPattern: {type: steady, arrival: {model: open, rate: 2000}, phases: [{name: open, duration: 500ms}]}
`)
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agree(t, p, b.Summary.Overall().All)
	a := b.Headline.Arrivals
	if a.Dropped == 0 || a.Intended-a.Dropped+1 != b.Headline.Requests { // and the pre-flight
		t.Errorf("%+v of %d requests", a, b.Headline.Requests)
	}
	if o := b.Orgs[0].Arrivals; o == nil || o.Intended != a.Intended || o.Dropped != a.Dropped {
		t.Errorf("%+v of the only organization, %+v of all", o, a.Arrivals)
	}
	for what, said := range map[string][]string{"warnings": b.Warnings, "verdict": b.Verdict.Reasons} {
		if !strings.Contains(strings.Join(said, "\n"), fmt.Sprintf("%d of %d arrivals", a.Dropped, a.Intended)) {
			t.Errorf("the %s do not mention them: %q", what, said)
		}
	}
}

// TestOpenLoadUnderLimits: an arrival that a limit held back until the load
// was over is dropped, and not one that was made.
func TestOpenLoadUnderLimits(t *testing.T) {
	for limit, reason := range map[string]string{
		"maxRequestsPerSecond: 20": "completed", "maxRequestsPerUser: 3": "completed",
		"maxRequests: 30": "limit", "maxCostUsd: 0.0005": "limit",
	} {
		t.Run(limit, func(t *testing.T) {
			length := "1s"
			if reason == "limit" {
				length = "1m" // the limit ends it, however slow this machine is
			}
			p := target(t, platformsim.Options{})
			b := run(t, targets(p)+`
  users: {perOrg: {min: 4, max: 4, distribution: uniform}}
  userBehavior: {maxTokensPerRequest: {min: 8, max: 8}, modelPreferences: [{model: sim-small}]}
  pricing: {sim-small: {promptPerMillionUSD: 0.15, completionPerMillionUSD: 0.60}}
  loadPattern: {type: steady, arrival: {model: open, rate: 100, process: constant}, phases: [{name: open, duration: `+length+`}]}
  limits: {`+limit+`}
`)
			agree(t, p, b.Summary.Overall().All)
			a := b.Headline.Arrivals
			if a == nil || a.Dropped == 0 || a.Intended-a.Dropped+1 != b.Headline.Requests { // and the pre-flight
				t.Errorf("%+v of %d requests", a, b.Headline.Requests)
			}
			if b.Stop.Reason != reason {
				t.Errorf("%+v, want %s", b.Stop, reason)
			}
		})
	}
}

func TestAnOrgThatDiffers(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+`
  organizations: {count: 2, overrides: [{index: 2, users: {perOrg: {min: 3, max: 3}}, models: [{model: sim-medium}], thinkTimeSeconds: {min: 0, max: 0.001}}]}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior: {questionsPerSession: {min: 4, max: 4}, thinkTimeSeconds: {base: 60}, maxTokensPerRequest: {base: 8}, modelPreferences: [{model: sim-small}]}
  loadPattern: {type: sustained, phases: [{name: hold, duration: 1s}]}
  looping: {enabled: true, maxLoops: 1}
`)
	agree(t, p, b.Summary.Overall().All)
	got := map[string]uint64{}
	for _, g := range b.Summary.Rollup(stats.ByOrg) {
		got[g.Key.Org] = g.All.Requests
	}
	// One thinks for a minute after his first question, three hardly at all. Each
	// org has sent a pre-flight request, to its own model.
	if quiet, loud := got["loadtest-org-1"], got["loadtest-org-2"]; quiet != 2 || loud < 1+3+1 {
		t.Errorf("requests by org: %v", got)
	}
	for _, g := range b.Summary.Rollup(func(k stats.Key) stats.Key { return stats.Key{Org: k.Org, Model: k.Model} }) {
		if g.Key.Org == "loadtest-org-2" && g.Key.Model != "sim-medium" {
			t.Errorf("%s asked %s", g.Key.Org, g.Key.Model)
		}
	}
	// One loop each would be 16 questions; sustained load sends them again.
	if b.Headline.MaxUsers != 4 || b.Stop.Reason != "completed" || b.Run.MeasuredDuration != time.Second {
		t.Errorf("%d users, %+v, %v measured", b.Headline.MaxUsers, b.Stop, b.Run.MeasuredDuration)
	}
}

// TestRateLimitsOfKeys: the limit is the platform's, asked for with each key.
func TestRateLimitsOfKeys(t *testing.T) {
	p := target(t, platformsim.Options{})
	b, err := prepare(t, targets(p)+`
  users: {perOrg: {min: 1, max: 1}, apiKeys: {perUser: 2, rateLimit: {requestsPerSecond: 0.001, burst: 3}}}
  userBehavior:
    questionsPerSession: {min: 10, max: 10}
    thinkTimeSeconds: {min: 0, max: 0}
    maxTokensPerRequest: {base: 5}
    errorHandling: {retryAttempts: 0}
`).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	passed := map[string]int{}
	for _, e := range p.Truth() {
		if e.Status == http.StatusOK {
			passed[e.Key]++
		}
	}
	if len(passed) != 2 {
		t.Errorf("%d keys were let through", len(passed))
	}
	for key, n := range passed {
		if n != 3 {
			t.Errorf("key %s was let through %d times, want 3", key, n)
		}
	}
	if len(b.Findings) > 0 {
		t.Errorf("findings: %+v", b.Findings)
	}
}
