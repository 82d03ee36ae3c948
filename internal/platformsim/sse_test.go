package platformsim_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

var variable = regexp.MustCompile(`(cmpl-)[0-9a-f]{32}|"created":\d+`)

// The bytes of a stream, but for its id and time.
func TestStreamFormat(t *testing.T) {
	models := instant()
	models[0].TokensPerChunk = 2
	p := open(t, platformsim.Options{Models: models})
	m := tenant(t, p, "acme", nil)
	whole := m.ask(p, chatPath, hello).text(t, "choices.0.message.content")
	words := regexp.MustCompile(` ?[a-z]+|[.,;:!?]`).FindAllString(whole, -1)
	if len(words) != 5 {
		t.Fatalf("%q is not five tokens: %q", whole, words)
	}
	parts := []string{words[0] + words[1], words[2] + words[3], words[4]}

	chat := `data: {"id":"chatcmpl-","object":"chat.completion.chunk",,"model":"m","choices":[`
	want := chat + `{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	for _, part := range parts {
		want += chat + `{"index":0,"delta":{"content":"` + part + `"},"finish_reason":null}]}` + "\n\n"
	}
	want += chat + `{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usage := chat + `],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0}}}` + "\n\n"
	done := "data: [DONE]\n\n"

	for body, want := range map[string]string{
		`{"stream":true,`: want + done,
		`{"stream":true,"stream_options":{"include_usage":true},`: want + usage + done,
	} {
		a := m.ask(p, chatPath, strings.Replace(hello, "{", body, 1))
		if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || a.header.Get("Content-Length") != "" {
			t.Errorf("%d %v", a.status, a.header)
		}
		if got := variable.ReplaceAllString(a.body, "$1"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}

	a := m.ask(p, "/v1/completions", `{"model":"m","stream":true,"max_tokens":1,"prompt":"Once"}`)
	text := `data: {"id":"cmpl-","object":"text_completion",,"model":"m","choices":[`
	got := variable.ReplaceAllString(a.body, "$1")
	if events := strings.Split(got, "\n\n"); len(events) != 4 || !strings.HasPrefix(events[0], text+`{"index":0,"text":"`) ||
		events[1] != text+`{"index":0,"text":"","finish_reason":"length"}]}` || events[2] != "data: [DONE]" {
		t.Errorf("completions: %s", got)
	}
}

// The first token of a model may have an event of its own.
func TestFirstTokenAlone(t *testing.T) {
	models := instant()
	models[0].TokensPerChunk, models[0].FirstAlone = 2, true
	p := open(t, platformsim.Options{Models: models, KeepTruth: 2})
	m := tenant(t, p, "acme", nil)
	whole := m.ask(p, chatPath, hello).text(t, "choices.0.message.content")
	a := m.ask(p, chatPath, strings.Replace(hello, "{", `{"stream":true,`, 1))
	var said []string
	for _, match := range regexp.MustCompile(`"content":"([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
		said = append(said, match[1])
	}
	truth := p.Truth()
	if len(said) != 3 || strings.Join(said, "") != whole || len(truth[1].Chunks) != 3 || truth[1].CompletionTokens != 5 ||
		regexp.MustCompile(` ?[a-z]+|[.,;:!?]`).FindString(whole) != said[0] {
		t.Errorf("%q in events %q; %+v", whole, said, truth)
	}
}

// The texts are appended to JSON as they are.
func TestVocabularyNeedsNoEscapes(t *testing.T) {
	var v llm.Vocabulary
	for i := range v.Len() {
		if text := v.Text(llm.Token(i)); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			t.Errorf("token %d is %q", i, text)
		}
	}
}

// Whatever a model takes its time over, stream and truth agree on its pace.
func TestStreamKeepsTheModelsPace(t *testing.T) {
	step := 2 * time.Millisecond
	p := start(t, platformsim.Options{KeepTruth: 1, Models: []platformsim.Model{{
		Name: "m", Backend: llm.Config{DecodeStep: step}, OutputTokens: platformsim.Lengths{Min: 10, Max: 10},
	}}})
	m := tenant(t, p, "acme", nil)
	s := streamed(t, p.RouterURL(), m.key, "r1", strings.Replace(hello, "{", `{"stream":true,`, 1))
	if s.err != nil || !s.done || len(s.contents) != 10 || s.role != "assistant" || s.finish != "stop" {
		t.Fatalf("%+v", s)
	}
	await(t, "the entry", func() bool { return len(p.Truth()) == 1 })
	e := p.Truth()[0]
	if len(e.Chunks) != 10 || e.FirstByte > e.Chunks[0] || e.Arrived > e.FirstByte || e.Done < e.Chunks[9] {
		t.Errorf("%+v", e)
	}
	for i, c := range e.Chunks {
		if due := e.Arrived + time.Duration(i+1)*step; c < due {
			t.Errorf("chunk %d left %v before the model had it", i, due-c)
		}
	}
	if l := p.Totals().Lateness; l.Writes == 0 || l.WriteMax <= 0 || l.WriteSum < l.WriteMax {
		t.Errorf("lateness: %+v", l)
	}
}
