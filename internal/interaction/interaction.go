// Package interaction carries out what a scenario describes without code: a
// request made from a template with variables, checks of its answer, and
// numbers to take from it, over one turn or several.
//
// A [Program] is the description, compiled; a [Dialog] is one conversation of
// one user. All randomness comes from the user's generator.
package interaction

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Spec describes an interaction.
type Spec struct {
	Name string
	// Initial is the body of the first request, FollowUp of each further one:
	// JSON with {{.Name}} in it. Without a FollowUp there is one turn.
	Initial, FollowUp string
	MinTurns          int // of a dialog with a FollowUp; 0 means 2
	MaxTurns          int // 0 means MinTurns
	Variables         map[string]Variable
	Documents         []Document
	Checks            []Check
	Metrics           []Metric

	// Models, for {{.Model}}, by weight; MaxTokens and Temperature for the
	// variables of these names.
	Models      func(rng *rand.Rand) string
	MaxTokens   func(rng *rand.Rand) int
	Temperature func(rng *rand.Rand) float64
	// Questions are for {{.Generated}} and {{.GeneratedQuestion}}.
	Questions questions.Source
	// Strategies are the sources of question_generator variables, by strategy.
	Strategies map[string]questions.Source
}

// Who is the user of a dialog.
type Who struct {
	Run, Org, User string
	Seed           uint64
}

// Program is a compiled [Spec]. It is safe for concurrent use.
type Program struct {
	Spec
	// Asked are the models that the requests of a trial named.
	Asked []string

	initial, followUp template
	variables         map[string]variable
	checks            []check
	metrics           []metric
	document          atomic.Uint64 // for sequential document selectors
}

// Compile prepares an interaction, and reports everything that is wrong with it.
func Compile(s Spec) (*Program, error) {
	p := &Program{Spec: s, variables: map[string]variable{}}
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for name, v := range s.Variables {
		made, err := p.compile(v)
		if err != nil {
			err = fmt.Errorf("variable %s: %w", name, err)
		}
		keep(err)
		p.variables[name] = made
	}
	p.initial, p.followUp = parse(s.Initial), parse(s.FollowUp)
	for _, c := range s.Checks {
		made, err := c.compile()
		keep(err)
		p.checks = append(p.checks, made)
	}
	for _, m := range s.Metrics {
		made, err := m.compile()
		keep(err)
		p.metrics = append(p.metrics, made)
	}
	if len(errs) == 0 { // a trial, so that a faulty template is known before the load
		d := p.Begin(Who{Run: "run", Org: "org", User: "user"}, rand.New(rand.NewPCG(1, 2)))
		for range min(2, d.Turns()) {
			req := platform.Request{ID: "id"}
			d.Request(&req)
			if !json.Valid(req.Body) {
				keep(fmt.Errorf("the template makes no JSON, but %.200s", req.Body))
			}
			if req.Model != "" && !slices.Contains(p.Asked, req.Model) {
				p.Asked = append(p.Asked, req.Model)
			}
			d.answered([]byte("An answer."))
		}
		for name, v := range s.Variables { // anew, so that nothing was counted
			p.variables[name], _ = p.compile(v) // it did before
		}
		p.document.Store(0)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("TestScenario %s: %w", s.Name, err)
	}
	return p, nil
}

// Dialog is one conversation. It is used by one goroutine at a time.
type Dialog struct {
	p     *Program
	who   Who
	rng   *rand.Rand
	turns int

	turn     int
	id       string
	values   map[string]string // of this turn
	question string            // the last one that a generator made
	messages []json.RawMessage // of the conversation until now
	previous string            // the last answer
	sums     map[string]float64
}

// Begin starts a dialog.
func (p *Program) Begin(who Who, rng *rand.Rand) *Dialog {
	d := &Dialog{p: p, who: who, rng: rng, turns: 1, sums: map[string]float64{}}
	if p.FollowUp != "" {
		lo := p.MinTurns
		if lo < 1 {
			lo = 2
		}
		d.turns = lo + rng.IntN(max(lo, p.MaxTurns)-lo+1)
	}
	return d
}

// Turns is how many requests the dialog has.
func (d *Dialog) Turns() int { return d.turns }

// Request makes the next request: req.Body, and what it says of model, stream
// and length. req.ID must be set.
func (d *Dialog) Request(req *platform.Request) {
	d.id, d.values = req.ID, map[string]string{}
	t := d.p.initial
	if d.turn > 0 && d.p.FollowUp != "" {
		t = d.p.followUp
	}
	d.turn++
	req.Body = bytes.TrimSpace(d.render(t))
	var said struct {
		Model    string            `json:"model"`
		Stream   bool              `json:"stream"`
		Most     int               `json:"max_tokens"`
		Newer    int               `json:"max_completion_tokens"`
		Messages []json.RawMessage `json:"messages"`
	}
	if json.Unmarshal(req.Body, &said) == nil {
		req.Model, req.Stream, req.MaxTokens, d.messages = said.Model, said.Stream, max(said.Most, said.Newer), said.Messages
	}
}

// answered notes the answer to the last request.
func (d *Dialog) answered(text []byte) {
	d.previous = string(text)
	if len(text) > 0 {
		d.messages = append(d.messages, message("assistant", d.previous))
	}
}

func message(role, content string) json.RawMessage {
	b, _ := json.Marshal(platform.Message{Role: role, Content: content}) // cannot fail
	return b
}

// Judge checks the answer to the last request. err is why there is none, if
// so; then only the status is checked. The error is err, or, if it is nil, one
// of the kind validation that names the first check that failed.
func (d *Dialog) Judge(x *platform.Exchange, took time.Duration, err error) ([]record.Check, []record.Value, error) {
	var answer any
	if len(d.p.checks)+len(d.p.metrics) > 0 {
		answer = document(x)
	}
	var checks []record.Check
	for i := range d.p.checks {
		c := &d.p.checks[i]
		if err != nil && (c.Type != StatusCode || x.Status == 0) {
			continue
		}
		problem := c.problem(x.Status, took, answer)
		checks = append(checks, record.Check{Name: c.name, Problem: problem})
	}
	if err != nil {
		d.answered(nil)
		return checks, nil, err
	}
	d.answered(x.Answer)
	for _, c := range checks {
		if c.Problem != "" {
			return checks, d.measure(answer, took), &platform.Error{
				Op: "check of " + d.p.Name, Kind: record.Validation, Status: x.Status, Message: c.Name + ": " + c.Problem,
			}
		}
	}
	return checks, d.measure(answer, took), nil
}

// document is the answer as JSON; of a stream, what the same answer in one
// piece would say.
func document(x *platform.Exchange) any {
	var out any
	if len(x.Whole) > 0 {
		if json.Unmarshal(x.Whole, &out) != nil {
			return nil
		}
		return out
	}
	return map[string]any{
		"object": "chat.completion",
		"choices": []any{map[string]any{
			"index": 0.0, "finish_reason": x.FinishReason, "text": string(x.Answer),
			"message": map[string]any{"role": "assistant", "content": string(x.Answer)},
		}},
		"usage": map[string]any{
			"prompt_tokens": float64(x.Usage.PromptTokens), "completion_tokens": float64(x.Usage.CompletionTokens),
			"total_tokens": float64(x.Usage.PromptTokens + x.Usage.CompletionTokens),
		},
	}
}

// topic is a word of a text that a follow-up can be about: its longest.
func topic(text string) string {
	longest := ""
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n.,;:!?\"'()[]", r) }) {
		if len(word) > len(longest) {
			longest = word
		}
	}
	if longest == "" {
		return "that"
	}
	return longest
}
