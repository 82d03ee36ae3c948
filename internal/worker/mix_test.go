package worker_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

const mixed = people + `
  userBehavior:
    questionsPerSession: {min: 20, max: 20}
    thinkTimeSeconds: {min: 0, max: 0.01}
    maxTokensPerRequest: {base: 6}
    modelPreferences: [{model: sim-small}]
  cacheSalt: {enabled: true}
  scenarioMix:
    selectionStrategy: %s
    scenarios:
      - {name: simple-question-answering, weight: 4}
      - {name: document-analysis, weight: 2}
      - {name: text-embedding, weight: 2, model: sim-embed}
      - {name: multi-turn-conversation, weight: 2}
      - {name: strict}
---
apiVersion: loadtest.ai-aas.dev/v1
kind: TestScenario
metadata: {name: strict}
spec:
  endpoint: {path: /v1/chat/completions}
  requestTemplate: '{"model": "{{.Model}}", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": {{.Length}}, "messages": [{"role": "user", "content": "{{.Ask}} \"{{.Id}}\""}]}'
  variables:
    Ask: {type: question_generator, strategy: technical}
    Id: {type: uuid}
    Length: {type: random_int, min: 3, max: 5}
  validation:
    - {type: status_code, expected: 200}
    - {type: json_path, path: $.usage.completion_tokens, condition: greater_than, value: 3}
  metrics:
    - {name: asked_for, source: variable, variable: Length}
    - {name: took, source: latency}
`

func TestTheMixOfTestScenarios(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, targets(p)+fmt.Sprintf(mixed, "weighted_random"))
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Verdict.Status != verdict.Passed {
		t.Fatalf("verdict %+v", b.Verdict)
	}
	agreeOnUse(t, p, b.Summary.Overall().All)
	want := map[string]float64{"simple-question-answering": 4, "document-analysis": 2, "text-embedding": 2, "multi-turn-conversation": 2, "strict": 1}
	conversations := 0.0
	for _, g := range b.Summary.Rollup(stats.ByTestType) {
		name := g.Key.TestType
		if name == "" {
			continue
		}
		if want[name] == 0 {
			t.Errorf("there is a type %q", name)
		}
		conversations += want[name]
		values := map[string]stats.ValueSum{}
		for _, v := range g.Values {
			values[v.Name] = v
		}
		for _, c := range g.Checks {
			if c.Passed+c.Failed != g.All.Requests {
				t.Errorf("%s: %s was checked %d times in %d requests", name, c.Name, c.Passed+c.Failed, g.All.Requests)
			}
			if c.Failed > 0 && name != "strict" {
				t.Errorf("%s: %s failed: %s", name, c.Name, c.Example)
			}
		}
		switch name {
		case "strict":
			if g.All.Failed == 0 || g.All.Succeeded == 0 || len(g.Checks) != 2 {
				t.Errorf("of strict, %d failed and %d succeeded: %+v", g.All.Failed, g.All.Succeeded, g.Checks)
			}
			for _, c := range g.Checks {
				if strings.HasPrefix(c.Name, "$.usage") && (c.Failed != g.All.Failed || c.Example != "it is 3") {
					t.Errorf("%+v, and %d requests failed", c, g.All.Failed)
				}
			}
			for _, e := range g.Errors {
				if e.Kind != record.Validation || !strings.Contains(e.Example, "it is 3") {
					t.Errorf("the error %+v", e)
				}
			}
			if g.Latency.E2E.Count() != g.Measured.Succeeded || g.All.Retried > 0 {
				t.Errorf("%d latencies of %d successes, %d tried again", g.Latency.E2E.Count(), g.Measured.Succeeded, g.All.Retried)
			}
			if v := values["asked_for"]; v.Count != g.All.Requests || v.Min < 3 || v.Max > 5 {
				t.Errorf("asked_for %+v", v)
			}
			if v := values["took"]; v.Count != g.All.Requests || v.Min <= 0 {
				t.Errorf("took %+v", v)
			}
		case "text-embedding":
			if v := values["dimensions"]; v.Min != 256 || v.Max != 256 {
				t.Errorf("dimensions %+v", v)
			}
		case "multi-turn-conversation":
			if v := values["turns"]; v.Max < 3 || v.Max > 6 || v.Min != 1 {
				t.Errorf("turns %+v", v)
			}
			if v := values["conversation_tokens"]; v.Max < 3*v.Min {
				t.Errorf("tokens do not accumulate: %+v", v)
			}
		case "document-analysis":
			if g.All.PromptTokens/g.All.Requests < 200 {
				t.Errorf("documents of %d tokens", g.All.PromptTokens/g.All.Requests)
			}
		}
	}
	if conversations != 11 {
		t.Errorf("some types are missing: weights %v", conversations)
	}
}

// agreeOnUse holds the document against the truth where some answers were
// complete and failed a check.
func agreeOnUse(t *testing.T, p *platformsim.Platform, all stats.Totals) {
	t.Helper()
	truth := p.Totals()
	if int64(all.Requests) != truth.Requests || int64(all.PromptTokens) != truth.PromptTokens || all.CostMicroUSD != truth.CostMicroUSD ||
		int64(all.CachedTokens) != truth.CachedTokens || int64(all.CompletionTokens) != truth.CompletionTokens {
		t.Errorf("the result says %+v, in truth %+v", all, truth)
	}
}

func TestTheMixIsSelected(t *testing.T) {
	for _, strategy := range []string{"round_robin", "per_user"} {
		t.Run(strategy, func(t *testing.T) {
			p := target(t, platformsim.Options{})
			w := prepare(t, targets(p)+fmt.Sprintf(mixed, strategy))
			var mu sync.Mutex
			byUser, all := map[string]map[string]int{}, map[string]float64{}
			w.Sinks = append(w.Sinks, record.SinkFunc(func(r *record.Record) {
				mu.Lock()
				defer mu.Unlock()
				if r.TestType == "" || r.Turn > 0 {
					return
				}
				if byUser[r.User] == nil {
					byUser[r.User] = map[string]int{}
				}
				byUser[r.User][r.TestType]++
				all[r.TestType]++
			}))
			if _, err := w.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for user, types := range byUser {
				if strategy == "per_user" && len(types) != 1 {
					t.Errorf("%s asks %v", user, types)
				}
				for name, n := range types {
					if strategy == "round_robin" && math.Abs(float64(n)-float64(types["strict"])) > 1 {
						t.Errorf("%s asks %s %d times: %v", user, name, n, types)
					}
				}
			}
			if len(all) != 5 && strategy == "round_robin" || len(all) < 3 {
				t.Errorf("only %v are asked", all)
			}
		})
	}
}

func TestTestScenariosThatCannotBeRun(t *testing.T) {
	const one = "  scenarioMix: {scenarios: [{name: odd}]}\n---\napiVersion: loadtest.ai-aas.dev/v1\nkind: TestScenario\nmetadata: {name: odd}\nspec: "
	for spec, want := range map[string]string{
		"{endpoint: {path: /v1/images}, requestTemplate: '{}'}":                                                                                                                                  "/v1/images cannot be called",
		"{endpoint: {path: /v1/chat/completions}, requestTemplate: '{}', variables: {F: {type: file_loader, path: /nonexistent/file}}}":                                                          "/nonexistent/file",
		"{endpoint: {path: /v1/chat/completions}, requestTemplate: '{}', documentSource: {type: configmap, name: a, key: b}, variables: {D: {type: document_selector, source: documentSource}}}": "write them inline",
	} {
		s, err := config.Parse("test.yaml", []byte(head+one+spec+"\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := worker.New(t.Context(), worker.Options{Scenario: s, RunID: "r", Workers: 1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

// TestModelsThatTemplatesName are asked before the load, and want a price
// under a limit on cost.
func TestModelsThatTemplatesName(t *testing.T) {
	const named = `
  userBehavior: {modelPreferences: [{model: sim-small}], maxTokensPerRequest: {base: 4}}
%s  scenarioMix: {scenarios: [{name: named}]}
---
apiVersion: loadtest.ai-aas.dev/v1
kind: TestScenario
metadata: {name: named}
spec:
  endpoint: {path: /v1/chat/completions}
  requestTemplate: '{"model": "secret-sauce", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}'
`
	p := target(t, platformsim.Options{})
	b, err := prepare(t, targets(p)+fmt.Sprintf(named, "")).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the pre-flight request") || !strings.Contains(err.Error(), "secret-sauce") || len(b.Phases) > 0 {
		t.Errorf("%v, phases %+v", err, b.Phases)
	}
	s, err := config.Parse("test.yaml", []byte(head+fmt.Sprintf(named, "  limits: {maxCostUsd: 1}\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := worker.New(t.Context(), worker.Options{Scenario: s, RunID: "r", Workers: 1}); err == nil || !strings.Contains(err.Error(), "there is no price for the model secret-sauce") {
		t.Errorf("without a price: %v", err)
	}
}

func TestTheMixUnderOpenLoad(t *testing.T) {
	p := target(t, platformsim.Options{})
	w := prepare(t, strings.Replace(targets(p)+fmt.Sprintf(mixed, "weighted_random"), "\n---\n", `
  loadPattern:
    type: steady
    arrival: {model: open, rate: 60, process: constant}
    phases: [{name: steady, duration: 3s}]
---
`, 1))
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agreeOnUse(t, p, b.Summary.Overall().All)
	seen := map[string]bool{}
	for _, g := range b.Summary.Rollup(stats.ByTestType) {
		seen[g.Key.TestType] = g.All.Succeeded > 0
		for _, c := range g.Checks {
			if c.Failed > 0 && g.Key.TestType != "strict" {
				t.Errorf("%s: %s failed: %s", g.Key.TestType, c.Name, c.Example)
			}
		}
	}
	for _, name := range []string{"simple-question-answering", "document-analysis", "text-embedding", "multi-turn-conversation", "strict"} {
		if !seen[name] {
			t.Errorf("no request of %s succeeded", name)
		}
	}
}
