package platformsim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

const responsesPath = "/v1/responses"

// A response says what the chat with the same prompt would have said.
func TestResponses(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	text := m.ask(p, chatPath, hello).text(t, "choices.0.message.content")

	for _, input := range []string{`"Hello there"`, `[{"role":"user","content":"Hello there"}]`, `[{"role":"user","content":[{"type":"input_text","text":"Hello there"}]}]`} {
		a := m.ask(p, responsesPath, `{"model":"m","input":`+input+`}`)
		for path, want := range map[string]any{
			"object": "response", "status": "completed", "error": nil, "incomplete_details": nil, "model": "m",
			"output.0.type": "message", "output.0.role": "assistant", "output.0.status": "completed", "output.0.content.0.type": "output_text", "output.0.content.0.text": text,
			"usage.input_tokens": 5.0, "usage.output_tokens": 5.0, "usage.total_tokens": 10.0, "usage.input_tokens_details.cached_tokens": 0.0,
		} {
			if got := a.field(t, path); got != want {
				t.Errorf("%s: %s is %v, want %v", input, path, got, want)
			}
		}
	}
	a := m.ask(p, responsesPath, `{"model":"m","max_output_tokens":2,"input":"Hello there"}`)
	if a.text(t, "status") != "incomplete" || a.text(t, "incomplete_details.reason") != "max_output_tokens" || a.field(t, "usage.output_tokens") != 2.0 {
		t.Errorf("%s", a.body)
	}
	for body, want := range map[string]string{`{"model":"m"}`: "input is required", `{"model":"m","input":7}`: "must be a string", `{"model":"e","input":"x"}`: "does not serve"} {
		if a := m.ask(p, responsesPath, body); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	few := open(t, platformsim.Options{Models: instant(), Quirks: platformsim.Quirks{FewEndpoints: true}})
	if a := tenant(t, few, "acme", nil).ask(few, responsesPath, `{"model":"m","input":"x"}`); a.status != 404 || !strings.Contains(a.body, "404 page not found") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A stream's events are named, numbered without gaps, and end with the whole.
func TestResponsesAreStreamed(t *testing.T) {
	p := open(t, platformsim.Options{Models: instant()})
	m := tenant(t, p, "acme", nil)
	whole := m.ask(p, responsesPath, `{"model":"m","input":"Hello there"}`)
	a := m.ask(p, responsesPath, `{"model":"m","input":"Hello there","stream":true}`)
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || strings.Contains(a.body, "[DONE]") {
		t.Fatalf("%d %v\n%s", a.status, a.header, a.body)
	}
	var kinds, said []string
	for n, one := range strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(one, "\ndata: ")
		var event struct {
			Type     string
			Number   int `json:"sequence_number"`
			Delta    string
			Response json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil || name != "event: "+event.Type || event.Number != n {
			t.Fatalf("event %d is %s: %v", n, one, err)
		}
		kinds = append(kinds, strings.TrimPrefix(event.Type, "response."))
		if event.Type == "response.output_text.delta" {
			said = append(said, event.Delta)
		}
		if event.Type == "response.completed" {
			last := answer{body: string(event.Response)}
			for _, path := range []string{"status", "output.0.content.0.text", "usage.output_tokens", "usage.input_tokens"} {
				if got, want := last.field(t, path), whole.field(t, path); got != want {
					t.Errorf("%s is %v, want %v", path, got, want)
				}
			}
		}
	}
	if got, want := strings.Join(kinds, " "), "created in_progress output_item.added content_part.added "+strings.Repeat("output_text.delta ", len(said))+
		"output_text.done content_part.done output_item.done completed"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if text := strings.Join(said, ""); text != whole.text(t, "output.0.content.0.text") || len(said) != 5 {
		t.Errorf("%q", said)
	}
}
