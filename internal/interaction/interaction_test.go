package interaction_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/interaction"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// fixed asks one question.
type fixed string

func (f fixed) Next(*rand.Rand) questions.Question { return questions.Question{Text: string(f)} }

// spec has what every spec needs.
func spec() interaction.Spec {
	return interaction.Spec{
		Name: "s", Initial: `{}`, Questions: fixed(`What is a "quote"?`),
		Strategies:  map[string]questions.Source{"technical": fixed("Which database?")},
		Models:      func(*rand.Rand) string { return "m" },
		MaxTokens:   func(*rand.Rand) int { return 64 },
		Temperature: func(*rand.Rand) float64 { return 0.5 },
	}
}

func begin(t *testing.T, s interaction.Spec) *interaction.Dialog {
	t.Helper()
	p, err := interaction.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p.Begin(interaction.Who{Run: "run-1", Org: "acme", User: "ann", Seed: 9}, rand.New(rand.NewPCG(3, 4)))
}

// body makes the next request of a dialog and reads its body.
func body(t *testing.T, d *interaction.Dialog) (map[string]any, platform.Request) {
	t.Helper()
	req := platform.Request{ID: "id-7"}
	d.Request(&req)
	var out map[string]any
	if err := json.Unmarshal(req.Body, &out); err != nil {
		t.Fatalf("%v: %s", err, req.Body)
	}
	return out, req
}

func TestVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.txt")
	if err := os.WriteFile(file, []byte("a \"file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		v    interaction.Variable
		want string // a pattern for the whole of every value
		many bool   // it must differ between requests
	}{
		"selector":     {interaction.Variable{Type: "selector", Values: []string{"a", "b", "never"}, Weights: []float64{1, 1, 0}}, `a|b`, true},
		"alike":        {interaction.Variable{Type: "selector", Values: []string{"a", "b"}}, `a|b`, true},
		"int":          {interaction.Variable{Type: "random_int", Min: -2, Max: 3}, `-[12]|[0-3]`, true},
		"float":        {interaction.Variable{Type: "random_float", Min: 1, Max: 2, Precision: 3}, `1\.\d{3}|2\.000`, true},
		"question":     {interaction.Variable{Type: "question_generator", Strategy: "technical", Seed: "{{.UserSeed}}"}, `Which database\?`, false},
		"documents":    {interaction.Variable{Type: "document_selector", Strategy: "weighted"}, `one|two`, true},
		"in sequence":  {interaction.Variable{Type: "document_selector", Strategy: "sequential"}, `one|two|none`, true},
		"text":         {interaction.Variable{Type: "text_generator", Method: "lorem", MinWords: 2, MaxWords: 4}, `\w+( \w+){1,3}`, true},
		"file":         {interaction.Variable{Type: "file_loader", Path: file}, "a \"file\"\n", false},
		"base64":       {interaction.Variable{Type: "file_loader", Path: file, Encoding: "base64"}, `YSAiZmlsZSIK`, false},
		"template":     {interaction.Variable{Type: "template", Value: "{{.UserID}} of {{ .OrgID }} in {{.TestRunID}} asks {{.Model}} as {{.RequestID}}"}, `ann of acme in run-1 asks m as id-7`, false},
		"timestamp":    {interaction.Variable{Type: "timestamp", Format: time.RFC3339}, `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`, false},
		"uuid 4":       {interaction.Variable{Type: "uuid", Version: 4}, `[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}`, true},
		"uuid 7":       {interaction.Variable{Type: "uuid", Version: 7}, `0[\da-f]{7}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}`, true},
		"counter":      {interaction.Variable{Type: "counter", Start: 10, Step: 5}, `\d+[05]`, true},
		"itself":       {interaction.Variable{Type: "template", Value: "x{{.V}}"}, `x`, false},
		"given number": {interaction.Variable{Type: "template", Value: "{{.MaxTokens}} {{.Temperature}}"}, `64 0\.50`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			s.Initial = `{"v": "{{.V}}", "again": "{{.V}}"}`
			s.Variables = map[string]interaction.Variable{"V": c.v}
			s.Documents = []interaction.Document{{Content: "one", Weight: 2}, {Content: "two", Weight: 1}, {Content: "none"}}
			pattern := regexp.MustCompile(`\A(?:` + c.want + `)\z`)
			d := begin(t, s)
			seen := map[string]bool{}
			for range 40 {
				got, _ := body(t, d)
				v, _ := got["v"].(string)
				if !pattern.MatchString(v) || got["again"] != v {
					t.Fatalf("%q and %q, want one text like %s", v, got["again"], c.want)
				}
				seen[v] = true
			}
			if c.many != (len(seen) > 1) {
				t.Errorf("%d different values", len(seen))
			}
		})
	}
}

func TestValuesAreWrittenAsTheirPlaceWants(t *testing.T) {
	s := spec()
	s.Initial = `{"model": "{{.Model}}", "stream": {{.Yes}}, "max_tokens": {{.MaxTokens}}, "temperature": {{.Temperature}}, "bare": {{.Word}}, "text": "say \"{{.Generated}}\""}`
	s.Variables = map[string]interaction.Variable{"Yes": {Type: "selector", Values: []string{"true"}}, "Word": {Type: "selector", Values: []string{"a word"}}}
	got, req := body(t, begin(t, s))
	if got["max_tokens"] != 64.0 || got["temperature"] != 0.5 || got["bare"] != "a word" || got["text"] != `say "What is a "quote"?"` {
		t.Errorf("%v", got)
	}
	if req.Model != "m" || !req.Stream {
		t.Errorf("the request says model %q, stream %v", req.Model, req.Stream)
	}
}

func answer(text string) *platform.Exchange {
	whole, _ := json.Marshal(map[string]any{
		"object": "chat.completion", "choices": []any{map[string]any{"message": map[string]any{"content": text}}}, "list": []any{1, 2, 3},
		"usage": map[string]any{"total_tokens": 20},
	})
	return &platform.Exchange{Status: 200, Answer: []byte(text), Whole: whole}
}

func TestConversations(t *testing.T) {
	for name, followUp := range map[string]string{
		"as a list":       `{"messages": {{.ConversationHistory}}}`,
		"among the items": `{"messages": [{{.ConversationHistory}}, {"role": "user", "content": "{{.Next}}"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			s.Initial, s.FollowUp, s.MinTurns, s.MaxTurns = `{"messages": [{"role": "user", "content": "{{.Generated}}"}]}`, followUp, 3, 3
			s.Variables = map[string]interaction.Variable{"Next": {Type: "follow_up_generator", Templates: []string{"Why {{.ExtractedTopic}}?"}}}
			s.Metrics = []interaction.Metric{{Name: "turn", Source: interaction.FromDepth}, {Name: "tokens", Source: interaction.FromAccumulated, Path: "$.usage.total_tokens"}}
			d := begin(t, s)
			if d.Turns() != 3 {
				t.Errorf("%d turns", d.Turns())
			}
			body(t, d)
			for turn := 1; turn <= 2; turn++ {
				_, values, err := d.Judge(answer("It is the weather, again."), time.Second, nil)
				if err != nil || len(values) != 2 || values[0].Value != float64(turn) || values[1].Value != float64(20*turn) {
					t.Fatalf("turn %d: %v, %v", turn, values, err)
				}
				got, _ := body(t, d)
				messages, _ := got["messages"].([]any)
				if len(messages) != 2*turn+1 {
					t.Fatalf("turn %d carries %d messages: %v", turn, len(messages), messages)
				}
				for i, want := range []string{`What is a "quote"?`, "It is the weather, again.", "Why weather?"} {
					if m := messages[i].(map[string]any); m["content"] != want || (m["role"] == "user") != (i%2 == 0) {
						t.Errorf("message %d is %v, want %q", i, m, want)
					}
				}
			}
		})
	}
}

func TestChecks(t *testing.T) {
	const content = "$.choices[0].message.content"
	for name, c := range map[string]struct {
		check   interaction.Check
		problem string
	}{
		"status":       {interaction.Check{Type: "status_code", Expected: []int{200, 201}}, ""},
		"other status": {interaction.Check{Type: "status_code", Expected: []int{201}}, "it is 200"},
		"fast":         {interaction.Check{Type: "response_time", Max: time.Second}, ""},
		"slow":         {interaction.Check{Type: "response_time", Max: time.Millisecond}, "it took 20ms"},
		"filled":       {interaction.Check{Type: "json_path", Path: content, Condition: "not_empty"}, ""},
		"missing":      {interaction.Check{Type: "json_path", Path: "$.nothing", Condition: "not_empty"}, "nothing at this path"},
		"equal":        {interaction.Check{Type: "json_path", Path: "$.object", Condition: "equals", Value: "chat.completion"}, ""},
		"unequal":      {interaction.Check{Type: "json_path", Path: "$.usage.total_tokens", Condition: "equals", Value: 3.0}, "it is 20"},
		"greater":      {interaction.Check{Type: "json_path", Path: "$.usage.total_tokens", Condition: "greater_than", Value: 19.0}, ""},
		"not greater":  {interaction.Check{Type: "json_path", Path: "$.usage.total_tokens", Condition: "greater_than", Value: 20.0}, "it is 20"},
		"no number":    {interaction.Check{Type: "json_path", Path: "$.object", Condition: "greater_than", Value: 20.0}, "it is chat.completion"},
		"long":         {interaction.Check{Type: "json_path", Path: content, Condition: "min_length", Value: 4.0}, ""},
		"short":        {interaction.Check{Type: "json_path", Path: content, Condition: "min_length", Value: 5.0}, "a length of 4"},
		"no length":    {interaction.Check{Type: "json_path", Path: "$.usage.total_tokens", Condition: "min_length", Value: 5.0}, "a number has no length"},
		"list":         {interaction.Check{Type: "json_path", Path: "$.list", Condition: "is_array"}, ""},
		"no list":      {interaction.Check{Type: "json_path", Path: "$.usage", Condition: "is_array"}, "it is an object"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			s.Checks = []interaction.Check{c.check}
			d := begin(t, s)
			body(t, d)
			checks, _, err := d.Judge(answer("süß!"), 20*time.Millisecond, nil)
			if len(checks) != 1 || checks[0].Name == "" || !strings.Contains(checks[0].Problem, c.problem) || (c.problem == "") != (checks[0].Problem == "") {
				t.Fatalf("%+v, want the problem %q", checks, c.problem)
			}
			var perr *platform.Error
			if failed := errors.As(err, &perr); failed != (c.problem != "") || failed && (perr.Kind != record.Validation || perr.Temporary() || perr.Outcome() != record.Failed) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAnswersThatFailedAreCheckedForTheirStatusOnly(t *testing.T) {
	s := spec()
	s.Checks = []interaction.Check{{Type: "status_code", Expected: []int{200}}, {Type: "json_path", Path: "$.a", Condition: "not_empty"}}
	d := begin(t, s)
	body(t, d)
	failure := &platform.Error{Kind: record.HTTPError, Status: 500}
	checks, values, err := d.Judge(&platform.Exchange{Status: 500}, time.Second, failure)
	if !errors.Is(err, failure) || len(checks) != 1 || checks[0].Problem != "it is 500" || values != nil {
		t.Errorf("%v, %v, %v", checks, values, err)
	}
	if checks, _, _ := d.Judge(&platform.Exchange{}, time.Second, failure); len(checks) != 0 {
		t.Errorf("without an answer: %v", checks)
	}
}

func TestMetricsAndStreams(t *testing.T) {
	s := spec()
	s.Initial = `{"prompt": "{{.N}}"}`
	s.Variables = map[string]interaction.Variable{"N": {Type: "selector", Values: []string{"12"}}}
	s.Metrics = []interaction.Metric{
		{Name: "tokens", Source: interaction.FromResponse, Path: "$.usage.total_tokens"},
		{Name: "length", Source: interaction.FromResponse, Path: "$.choices[0].message.content", Transform: "length"},
		{Name: "choices", Source: interaction.FromResponse, Path: "$.choices", Transform: "array_length"},
		{Name: "ms", Source: interaction.FromLatency},
		{Name: "n", Source: interaction.FromVariable, Variable: "N"},
		{Name: "digits", Source: interaction.FromVariable, Variable: "N", Transform: "length"},
		{Name: "missing", Source: interaction.FromResponse, Path: "$.nothing"},
		{Name: "no number", Source: interaction.FromResponse, Path: "$.object"},
	}
	d := begin(t, s)
	body(t, d)
	streamed := &platform.Exchange{Status: 200, Answer: []byte("four"), Usage: platform.Usage{PromptTokens: 5, CompletionTokens: 2}, UsageKnown: true}
	_, values, err := d.Judge(streamed, 1500*time.Microsecond, nil)
	want := []record.Value{{Name: "tokens", Value: 7}, {Name: "length", Value: 4}, {Name: "choices", Value: 1}, {Name: "ms", Value: 1.5}, {Name: "n", Value: 12}, {Name: "digits", Value: 2}}
	if err != nil || len(values) != len(want) {
		t.Fatalf("%v, %v", values, err)
	}
	for i := range want {
		if values[i] != want[i] {
			t.Errorf("%+v, want %+v", values[i], want[i])
		}
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	s := spec()
	s.Name = "odd"
	s.Variables = map[string]interaction.Variable{
		"A": {Type: "selector"}, "B": {Type: "odd"}, "C": {Type: "file_loader", Path: "/nonexistent"}, "D": {Type: "document_selector"},
		"E": {Type: "question_generator", Strategy: "none"}, "F": {Type: "follow_up_generator"}, "G": {Type: "random_int", Min: 2, Max: 1},
	}
	s.Checks = []interaction.Check{{Type: "odd"}, {Type: "json_path", Path: "$[", Condition: "not_empty"}, {Type: "json_path", Condition: "odd"}}
	s.Metrics = []interaction.Metric{{Name: "m", Source: interaction.FromResponse, Path: "["}}
	_, err := interaction.Compile(s)
	for _, want := range []string{"TestScenario odd", "variable A", "variable B", "/nonexistent", "variable D", `"none"`, "variable F", "max is below min",
		`type of check "odd"`, "the path $[", `condition "odd"`, "the metric m"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile() = %v\nit should mention %q", err, want)
		}
	}
	s = spec()
	s.Initial = `{"a": {{.OrgID}} {{.UserID}}}`
	if _, err := interaction.Compile(s); err == nil || !strings.Contains(err.Error(), "no JSON") {
		t.Errorf("a template that makes no JSON: %v", err)
	}
}

func TestCountersBeginAtTheirStart(t *testing.T) {
	s := spec()
	s.Initial = `{"n": {{.N}}, "d": "{{.D}}"}`
	s.Variables = map[string]interaction.Variable{"N": {Type: "counter", Start: 10, Step: 5}, "D": {Type: "document_selector", Strategy: "sequential"}}
	s.Documents = []interaction.Document{{Content: "one"}, {Content: "two"}}
	d := begin(t, s)
	for i, want := range []string{"one", "two", "one"} {
		if got, _ := body(t, d); got["n"] != float64(10+5*i) || got["d"] != want {
			t.Errorf("request %d has %v", i, got)
		}
	}
}
