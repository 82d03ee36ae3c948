package simulator

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

// threeTypes is a script with a type of every sort.
func threeTypes(t *testing.T) Script {
	s := once(script(t))
	s.MultiTurn, s.Turns, s.Context = 0.5, Count{Min: 2, Max: 4}, -1
	whole := 0.0
	s.StreamingRatio = 1
	s.Salt = Salt{Strategy: SaltOrg}
	s.Types = []Type{
		{Name: "short", Weight: 6, Single: true},
		{Name: "never", Weight: 0},
		{Name: "talk", Weight: 3, StreamingRatio: &whole, Salt: Salt{Strategy: SaltCustom, Custom: "pepper"}},
		{Name: "vectors", Weight: 1, Endpoint: platform.Embeddings, Models: []Model{{"embed", 1}}},
	}
	return s
}

func TestTypesHaveTheirShares(t *testing.T) {
	// From one long session, and from many short ones.
	for name, c := range map[string]struct{ users, questions int }{"long": {1, 1000}, "short": {400, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := threeTypes(t)
				s.Questions = Count{Min: c.questions, Max: c.questions}
				_, got := runOnce(t, &llm{}, Options{Users: population(1, c.users), Script: s})
				shares := map[string]float64{}
				for _, a := range got {
					shares[a.TestType] += 1 / float64(len(got))
					if talk := a.TestType == "talk"; a.Turn > 0 && !talk || talk == a.Request.Stream && a.TestType != "vectors" {
						t.Fatalf("turn %d, stream %v of type %s", a.Turn, a.Request.Stream, a.TestType)
					}
					want := platform.Request{Endpoint: platform.Chat, Model: "m", CacheSalt: "org-a"}
					switch a.TestType {
					case "talk":
						want.CacheSalt = "pepper"
					case "vectors":
						want.Endpoint, want.Model = platform.Embeddings, "embed"
						if a.Request.Input == "" || len(a.Request.Messages) > 0 || a.Request.Stream || a.Request.MaxTokens > 0 {
							t.Fatalf("embedding request %+v", a.Request)
						}
					}
					if a.Request.Endpoint != want.Endpoint || a.Request.Model != want.Model || a.Request.CacheSalt != want.CacheSalt {
						t.Fatalf("type %s asks %s of %s with the salt %q", a.TestType, a.Request.Endpoint, a.Request.Model, a.Request.CacheSalt)
					}
				}
				for name, want := range map[string]float64{"short": 0.6, "talk": 0.3, "vectors": 0.1, "never": 0} {
					if math.Abs(shares[name]-want) > 0.05 {
						t.Errorf("%s has a share of %.3f, want %.2f", name, shares[name], want)
					}
				}
			})
		})
	}
}

func TestTargetsDecideTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Questions = Count{Min: 2000, Max: 2000}
		s.Models = []Model{{"other", 1}}
		s.Targets = []Target{
			{func(q questions.Question) bool { return len(q.Text) > 400 }, []Model{{"long", 1}}},
			{func(q questions.Question) bool { return q.Complex }, []Model{{"medium", 1}}},
			{func(q questions.Question) bool { return !q.Complex && strings.Contains(q.Text, "a") }, []Model{{"slm", 1}}},
		}
		var mu sync.Mutex
		var invented []questions.Question
		_, got := runOnce(t, &llm{}, Options{Users: population(1, 1), Script: s, Watch: Watch{Question: func(q questions.Question, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			invented = append(invented, q)
		}}})
		seen := map[string]int{}
		for i, a := range got {
			want := "other"
			for _, target := range s.Targets {
				if target.Fits(invented[i]) {
					want = target.Models[0].Name
					break
				}
			}
			if a.Request.Model != want {
				t.Fatalf("question %d (complex %v, %d bytes) went to %s, not %s", i, invented[i].Complex, len(invented[i].Text), a.Request.Model, want)
			}
			seen[want]++
		}
		if seen["medium"] < 200 || seen["slm"] < 200 {
			t.Errorf("models %v: both kinds should be frequent", seen)
		}
	})
}

func TestTypesThatCannotBe(t *testing.T) {
	s := script(t)
	half := math.NaN()
	s.Types = []Type{{Name: "odd", Weight: math.NaN(), StreamingRatio: &half, Endpoint: "images", Salt: Salt{Strategy: "pepper"}, Models: []Model{{"", 1}}}}
	err := s.Check()
	for _, want := range []string{`the type "odd"`, "weight", "share of streams", `"images"`, `"pepper"`, "cannot be chosen", "sum to zero"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() = %v\nit should mention %q", err, want)
		}
	}
	s.Source, s.Models = nil, nil
	s.Types = []Type{{Name: "bare", Weight: 1}}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "no model") || !strings.Contains(err.Error(), "no source") {
		t.Errorf("a type without anything: %v", err)
	}
}

func TestCallsAreWhatUsersMayAsk(t *testing.T) {
	s := threeTypes(t)
	s.Types = append(s.Types, Type{Name: "list", Weight: 1, Endpoint: platform.ModelList},
		Type{Name: "all", Weight: 1, Endpoint: platform.Completions, Targets: []Target{{Models: []Model{{"rest", 1}, {"none", 0}}}}})
	want := []EndpointModel{{platform.Chat, "m"}, {platform.Completions, "rest"}, {platform.Embeddings, "embed"}, {platform.ModelList, ""}}
	if got := s.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if !s.Streams() {
		t.Error("it streams")
	}
	s.StreamingRatio = 0
	if s.Streams() {
		t.Error("it does not stream")
	}
}

func TestOpenLoadHasItsTypes(t *testing.T) {
	v := turnstile{kinds: (&Script{Models: []Model{{"m", 1}}, Types: []Type{{Name: "a", Weight: 6}, {Name: "b", Weight: 3}, {Name: "c", Weight: 1}}}).kinds()}
	shares := map[string]float64{}
	for v.user = range 50 {
		for n := range 8 {
			shares[v.nth(n).Name] += 1. / 400
		}
	}
	for name, want := range map[string]float64{"a": 0.6, "b": 0.3, "c": 0.1} {
		if math.Abs(shares[name]-want) > 0.03 {
			t.Errorf("%s has a share of %.3f, want %.2f", name, shares[name], want)
		}
	}
}
