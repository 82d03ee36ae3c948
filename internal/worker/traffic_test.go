package worker_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// label is what our records say about a request.
type label struct{ testType, strategy, model string }

// runLabelled runs a scenario and keeps what was asked, by request id.
func runLabelled(t *testing.T, spec string) (*export.Bundle, map[string]label) {
	t.Helper()
	var mu sync.Mutex
	labels := map[string]label{}
	w := prepare(t, spec)
	w.Sinks = append(w.Sinks, record.SinkFunc(func(r *record.Record) {
		mu.Lock()
		defer mu.Unlock()
		labels[r.ID] = label{r.TestType, r.Strategy, r.Model}
	}))
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Verdict.Status != verdict.Passed {
		t.Fatalf("verdict %+v", b.Verdict)
	}
	return b, labels
}

// sums adds up the truth by what our records say.
func sums(p *platformsim.Platform, labels map[string]label, by func(label) string) map[string]stats.Totals {
	out := map[string]stats.Totals{}
	for _, e := range p.Truth() {
		l, ours := labels[e.ID]
		if !ours || strings.HasSuffix(e.ID, "-pre-flight") {
			continue
		}
		sum := out[by(l)]
		sum.Requests++
		sum.PromptTokens += uint64(e.PromptTokens)
		sum.CachedTokens += uint64(e.CachedTokens)
		out[by(l)] = sum
	}
	return out
}

const people = `
  organizations: {count: 2}
  users: {perOrg: {min: 5, max: 5}}
`

func TestTestTypesUseTheCacheAsTheySay(t *testing.T) {
	p := target(t, platformsim.Options{})
	b, labels := runLabelled(t, targets(p)+people+`
  userBehavior:
    questionsPerSession: {min: 60, max: 60}
    thinkTimeSeconds: {min: 0, max: 0.02}
    maxTokensPerRequest: {base: 8}
    conversationStyle: {multiTurnProbability: 0.2}
  cacheSalt: {enabled: true, strategy: org_id}
  test_types: {distribution: {random_short: 60, long: 25, cached: 15}}
`)
	truth := sums(p, labels, func(l label) string { return l.testType })
	share := func(name string) float64 {
		return float64(truth[name].CachedTokens) / float64(truth[name].PromptTokens)
	}
	if s := share("random_short"); s >= 0.05 {
		t.Errorf("random_short: %.3f of its prompt tokens were cached, want below 0.05", s)
	}
	if s := share("cached"); s <= 0.8 {
		t.Errorf("cached: %.3f of its prompt tokens were cached, want above 0.8", s)
	}
	if mean := truth["long"].PromptTokens / truth["long"].Requests; mean <= 200 {
		t.Errorf("long: %d tokens a prompt, want above 200", mean)
	}
	for name, want := range map[string]float64{"random_short": 0.60, "long": 0.25, "cached": 0.15} {
		if got := float64(truth[name].Requests) / 600; math.Abs(got-want) > 0.05 {
			t.Errorf("%s has a share of %.3f of the requests, want %.2f", name, got, want)
		}
	}
	for _, g := range b.Summary.Rollup(stats.ByTestType) {
		if real := truth[g.Key.TestType]; g.Key.TestType != "" && (g.All.Requests != real.Requests || g.All.PromptTokens != real.PromptTokens || g.All.CachedTokens != real.CachedTokens) {
			t.Errorf("%s: the result says %+v, in truth %+v", g.Key.TestType, g.All, real)
		}
	}
	for _, e := range p.Truth() {
		if l := labels[e.ID]; l.testType == "long" && e.PromptTokens <= 200 {
			t.Fatalf("a long question has %d tokens", e.PromptTokens)
		}
	}
	agree(t, p, b.Summary.Overall().All)
}

func TestModelTargeting(t *testing.T) {
	p := target(t, platformsim.Options{})
	// The templates' complexity is known, and their length: the closings of the
	// built-in strategies give away neither.
	_, labels := runLabelled(t, targets(p)+people+`
  userBehavior:
    questionsPerSession: {min: 20, max: 20}
    thinkTimeSeconds: {min: 0, max: 0.01}
    maxTokensPerRequest: {base: 4}
    questionStrategies: [{name: plain, weight: 1}, {name: deep, weight: 1}]
    modelPreferences: [{model: nobody-asks-this}]
  modelTargeting: {enabled: true, slmModels: [sim-small], mediumModels: [sim-medium]}
  testTypes:
    - {name: by-complexity}
    - name: by-length
      modelTargeting: {slmModels: [sim-small], mediumModels: [sim-medium], rules: [{condition: query_length >= 30, target: slm}]}
  advanced:
    questionTemplates:
      - {name: plain, template: "Where is {city}?"}
      - {name: deep, template: "Why has {person} been forgotten in {city}, of all places?", complex: true}
`[1:])
	want := map[label]bool{
		{"by-complexity", "plain", "sim-small"}: true, {"by-complexity", "deep", "sim-medium"}: true,
		{"by-length", "plain", "sim-medium"}: true, {"by-length", "deep", "sim-small"}: true,
	}
	seen := map[label]int{}
	for id, l := range labels {
		if strings.HasSuffix(id, "-pre-flight") {
			continue
		}
		if !want[l] {
			t.Fatalf("a question of %+v", l)
		}
		seen[l]++
	}
	for l := range want {
		if seen[l] < 10 {
			t.Errorf("%d questions of %+v", seen[l], l)
		}
	}
}

func TestEndpointsAsLoad(t *testing.T) {
	p := target(t, platformsim.Options{})
	b, labels := runLabelled(t, targets(p)+people+`
  userBehavior:
    questionsPerSession: {min: 20, max: 20}
    thinkTimeSeconds: {min: 0, max: 0.01}
    maxTokensPerRequest: {base: 4}
    modelPreferences: [{model: sim-small}]
  testTypes:
    - {name: chat, weight: 40}
    - {name: complete, weight: 30, endpoint: completions}
    - {name: embed, weight: 20, endpoint: embeddings, modelPreferences: [{model: sim-embed}]}
    - {name: list, weight: 10, endpoint: models}
`)
	truth := map[string]uint64{}
	for _, e := range p.Truth() {
		if l := labels[e.ID]; l.testType != "" {
			truth[e.Endpoint]++
		}
	}
	got := map[string]uint64{}
	for _, g := range b.Summary.Rollup(stats.ByTestType) {
		if g.Key.TestType != "" {
			got[g.Key.TestType] = g.Measured.Succeeded
			if g.Latency.E2E.Count() != g.Measured.Succeeded || g.All.CostUnknown > 0 {
				t.Errorf("%s: %+v", g.Key.TestType, g.All)
			}
		}
	}
	if got["chat"] != truth["chat"] || got["complete"] != truth["completions"] || got["embed"] != truth["embeddings"] {
		t.Errorf("the result has %v, in truth %v", got, truth)
	}
	for name, want := range map[string]float64{"chat": 80, "complete": 60, "embed": 40, "list": 20} {
		if math.Abs(float64(got[name])-want) > 10 {
			t.Errorf("%d requests of %s, want %v", got[name], name, want)
		}
	}
}

// manuals is a document library of three.
func manuals(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for n := 1; n <= 3; n++ {
		text := strings.Repeat(fmt.Sprintf("Sentence of manual %d, which goes on. ", n), 20*n)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("manual-%d.txt", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const reading = `
  organizations: {count: 1}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior: {questionsPerSession: {min: 9, max: 9}, thinkTimeSeconds: {min: 0, max: 0}, maxTokensPerRequest: {base: 4}}
  testTypes: [{name: long}]
  documentLibrary: {enabled: true, storage: {type: file, folder: %q}, documentCount: %d, selectionStrategy: sequential}
`

func TestDocumentsAreReadInSequence(t *testing.T) {
	p := target(t, platformsim.Options{})
	b, labels := runLabelled(t, targets(p)+fmt.Sprintf(reading, manuals(t), 3))
	if len(b.Warnings) > 0 {
		t.Errorf("warnings %q", b.Warnings)
	}
	var sizes []int
	for _, e := range p.Truth() {
		if l := labels[e.ID]; l.testType == "long" {
			if l.strategy != "document" {
				t.Errorf("the strategy is %q", l.strategy)
			}
			sizes = append(sizes, e.PromptTokens)
		}
	}
	if len(sizes) != 9 {
		t.Fatalf("%d questions", len(sizes))
	}
	for i := range 6 {
		if sizes[i]-sizes[i+3] > 60 || sizes[i+3]-sizes[i] > 60 || i%3 > 0 && sizes[i] < sizes[i-1]+60 {
			t.Fatalf("prompts of %v tokens do not come from documents of one, two and three hundred", sizes)
		}
	}
}

func TestLibrariesThatCannotBeReadAreReplacedOnce(t *testing.T) {
	p := target(t, platformsim.Options{})
	for name, spec := range map[string]string{
		"no folder": fmt.Sprintf(reading, filepath.Join(t.TempDir(), "none"), 3),
		"too few":   fmt.Sprintf(reading, manuals(t), 4),
		"a bucket":  strings.ReplaceAll(fmt.Sprintf(reading, "x", 3), "type: file, folder", `endpoint: "http://127.0.0.1:1", bucket: docs, folder`),
	} {
		t.Run(name, func(t *testing.T) {
			b, labels := runLabelled(t, targets(p)+spec)
			if len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "generated texts") {
				t.Errorf("warnings %q, want one", b.Warnings)
			}
			if n := b.Summary.Overall().All.PromptTokens; n < 9*200 {
				t.Errorf("%d prompt tokens: the questions are not long", n)
			}
			if len(labels) != 10 {
				t.Errorf("%d requests", len(labels))
			}
		})
	}
}

func TestADocumentThatVanishesIsReplaced(t *testing.T) {
	p := target(t, platformsim.Options{})
	dir := manuals(t)
	w := prepare(t, targets(p)+fmt.Sprintf(reading, dir, 3))
	if err := os.Remove(filepath.Join(dir, "manual-2.txt")); err != nil {
		t.Fatal(err)
	}
	b, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "document 2") || b.Summary.Overall().All.Succeeded != 10 {
		t.Errorf("warnings %q, %+v", b.Warnings, b.Summary.Overall().All)
	}
}

func TestLoopsRepeatOrDrawAnew(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		same bool
	}{
		"same seed": {"{enabled: true, maxLoops: 3, seedRecalculation: false}", true},
		"new seeds": {"{enabled: true, maxLoops: 3}", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := target(t, platformsim.Options{})
			w := prepare(t, targets(p)+`
  organizations: {count: 1}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior:
    questionsPerSession: {min: 4, max: 4}
    thinkTimeSeconds: {min: 0, max: 0}
    maxTokensPerRequest: {base: 4}
    questionStrategies: [{name: own}]
  advanced: {questionTemplates: [{name: own, template: "Tell {friend} about {event} and {person}.", variables: {friend: [me, my sister, the whole class]}}]}
  looping: `+c.spec+"\n")
			var sizes [3][]int64 // of the requests of each loop; one user asks one after the other
			w.Sinks = append(w.Sinks, record.SinkFunc(func(r *record.Record) {
				if r.Strategy == "own" {
					sizes[r.Session] = append(sizes[r.Session], r.RequestBytes)
				}
			}))
			if _, err := w.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(sizes[0]) != 4 || slices.Equal(sizes[0], sizes[1]) != c.same || slices.Equal(sizes[0], sizes[2]) != c.same {
				t.Errorf("the loops' requests have %v bytes; the same again: %v", sizes, c.same)
			}
		})
	}
}
