package platform

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// respond asks the Responses API.
func respond(stream bool) *Request {
	return &Request{Endpoint: Responses, Model: "m", Input: "Hello?", MaxTokens: 20, Stream: stream}
}

const responded = `{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[` +
	`{"type":"reasoning","content":[{"type":"reasoning_text","text":"hm"}],"summary":[]},` +
	`{"type":"message","role":"assistant","content":[{"type":"output_text","annotations":[],"text":"One two"}]}],` +
	`"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":8},"output_tokens":4,"total_tokens":13}}`

func TestResponsesAsAStream(t *testing.T) {
	const ms = time.Millisecond
	said := func(kind, rest string) string {
		return "event: " + kind + "\ndata: {\"type\":\"" + kind + `",` + rest + "}\n\n"
	}
	synctest.Test(t, func(t *testing.T) {
		var asked string
		c := piped(t, 0, func(w wire, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			asked = r.URL.Path + " " + r.Header.Get("Accept") + " " + string(b)
			w.say(streamHead)
			w.chunk(said("response.created", `"response":{"status":"in_progress","output":[],"usage":null,"error":null}`))
			w.chunk(said("response.output_item.added", `"item":{"type":"message","content":[]}`))
			w.chunk(said("response.content_part.added", `"part":{"type":"output_text","text":""}`))
			time.Sleep(100 * ms)
			w.chunk(said("response.output_text.delta", `"delta":"One","sequence_number":3`))
			time.Sleep(20 * ms) // 120
			w.chunk(said("response.output_text.delta", `"delta":" "`) + said("response.output_text.delta", `"delta":"two"`))
			time.Sleep(5 * ms) // 125
			w.chunk(said("response.output_text.done", `"text":"One two"`))
			time.Sleep(5 * ms) // 130
			w.chunk(said("response.completed", `"response":`+responded))
			time.Sleep(7 * ms) // not waited for in Done
			w.chunk("")
		})
		time.Sleep(time.Second)
		var x Exchange
		if err := c.Do(t.Context(), respond(true), &x); err != nil {
			t.Fatal(err)
		}
		if want := `/v1/responses text/event-stream {"model":"m","input":"Hello?","max_output_tokens":20,"stream":true}`; asked != want {
			t.Errorf("asked %s, want %s", asked, want)
		}
		if x.FirstToken != time.Second+100*ms || x.LastToken != time.Second+120*ms || x.Done != time.Second+130*ms || !slices.Equal(x.Gaps, []time.Duration{20 * ms, 0}) {
			t.Errorf("%+v", x)
		}
		if x.Chunks != 3 || string(x.Answer) != "One two" || x.FinishReason != "stop" || !x.UsageKnown || !x.CachedKnown || x.Usage != (Usage{9, 4, 8}) {
			t.Errorf("%+v, answer %q", x, x.Answer)
		}
		if err := c.Do(t.Context(), respond(true), &x); err != nil || !x.Reused {
			t.Errorf("%v; the connection was not used again: %+v", err, x)
		}
		c.Close()
		synctest.Wait()
	})
}

// How an answer can end, as a stream and in one piece.
func TestHowResponsesEnd(t *testing.T) {
	delta := `data: {"type":"response.output_text.delta","delta":"One"}` + "\n\n"
	for _, test := range []struct {
		name, body string
		stream     bool
		kind       record.Kind
		answer     string
		finish     string
		message    string
	}{
		{"complete", responded, false, record.None, "One two", "stop", ""},
		{"too long", strings.NewReplacer(`"completed"`, `"incomplete"`, `"incomplete_details":null`, `"incomplete_details":{"reason":"max_output_tokens"}`).Replace(responded), false, record.None, "One two", "length", ""},
		{"failed", `{"object":"response","status":"failed","error":{"code":"server_error","message":"the model fell over"},"output":[]}`, false, record.HTTPError, "", "", "fell over"},
		{"empty", `{"object":"response","status":"completed","output":[]}`, false, record.InvalidResponse, "", "", ""},
		{"of another call", `{"choices":[{"message":{"content":"x"}}]}`, false, record.InvalidResponse, "", "", ""},
		{"stream too long", delta + `data: {"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"},"status":"incomplete"}}` + "\n\n", true, record.None, "One", "length", ""},
		{"stream filtered", delta + `data: {"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}` + "\n\n", true, record.None, "One", "content_filter", ""},
		{"stream incomplete", delta + `data: {"type":"response.incomplete"}` + "\n\n", true, record.None, "One", "incomplete", ""},
		{"stream failed", delta + `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"the model fell over"}}}` + "\n\n", true, record.HTTPError, "One", "", "fell over"},
		{"stream error", delta + "event: error\n" + `data: {"type":"error","code":"server_error","message":"the model fell over"}` + "\n\n", true, record.HTTPError, "One", "", "fell over"},
		{"stream broken", delta, true, record.StreamInterrupted, "One", "", "without a finish_reason"},
		{"stream garbage", delta + "data: {\"type\n\n", true, record.InvalidResponse, "One", "", ""},
		{"refusal", `data: {"type":"response.refusal.delta","delta":"No"}` + "\n\n" + `data: {"type":"response.completed","response":{}}` + "\n\n", true, record.None, "No", "stop", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, _ *http.Request) {
				if !test.stream {
					w.json(test.body)
					return
				}
				w.say(streamHead)
				w.chunk(test.body)
				w.chunk("")
			})
			var x Exchange
			err := c.Do(t.Context(), respond(test.stream), &x)
			if test.kind == record.None {
				if err != nil {
					t.Fatal(err)
				}
			} else if e := kindOf(t, err); e.Kind != test.kind || !strings.Contains(e.Error(), test.message) {
				t.Errorf("%v is %s, want %s", err, e.Kind, test.kind)
			}
			if string(x.Answer) != test.answer || x.FinishReason != test.finish {
				t.Errorf("answer %q, finish %q", x.Answer, x.FinishReason)
			}
		})
	}
}

// responseDocuments seed the fuzz test and are a test on their own.
var responseDocuments = []string{
	responded,
	`{"type":"response.created","sequence_number":0,"response":{"status":"in_progress","output":[],"usage":null}}`,
	`{"delta":" word","type":"response.output_text.delta"}`, `{"type":"response.output_text.delta","delta":{"text":"x"}}`, `{"type":"response.output_text.delta"}`,
	`{"type":"response.reasoning_text.delta","delta":"hm"}`, `{"type":"response.reasoning_summary_text.delta","delta":"hm"}`, `{"type":"response.function_call_arguments.delta","delta":"{\"a\":"}`,
	`{"type":"response.completed","response":` + responded + `}`, `{"response":` + responded + `,"type":"response.completed","response":{}}`,
	`{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens","reason":"x"}}}`,
	`{"type":"response.failed","response":{"status":"failed","error":{"message":"no"}}}`, `{"type":"error","message":"no"}`, `{"type":"response.created","response":{"status":"failed"}}`,
	`{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2,"input_tokens_details":{"cached_tokens":3},"input_tokens_details":null}}}`,
	`{"output":[{"content":[{"type":"refusal","refusal":"No"},{"type":"output_text","text":"Yes"}],"content":7},{"content":[{"type":"output_text","text":"second"}]}],"status":["completed"]}`,
	`{"error":null,"error":"x"}`, `{"error":{},"error":null}`, `{"ty\u0070e":"response.refusal.delta","delta":"\ud83d"}`, `{"type":"response.completed","response":[]}`,
}

// said is what the parsers should find, by way of encoding/json.
type said struct {
	ok, content, fault bool
	answer, finish     string
	usage              Usage
	prompt, completion bool
	cached             bool
}

func saidByEncodingJSON(doc []byte, event bool) (e said) {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	var top map[string]any
	if !json.Valid(doc) || decoder.Decode(&top) != nil || top == nil {
		return said{}
	}
	e.ok = true
	object := func(v any) map[string]any { m, _ := v.(map[string]any); return m }
	list := func(v any) []any { l, _ := v.([]any); return l }
	text := func(v any) string { s, _ := v.(string); return s }
	count := func(v any) (int, bool) {
		n, _ := v.(json.Number)
		if n == "" || n[0] == '-' {
			return 0, false
		}
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil || f > 1<<50 || f != float64(int(f)) {
			return 0, false
		}
		return int(f), true
	}
	response := top
	if event {
		response = object(top["response"])
		e.fault = top["error"] != nil
	}
	usage := object(response["usage"])
	e.usage.PromptTokens, e.prompt = count(usage["input_tokens"])
	e.usage.CompletionTokens, e.completion = count(usage["output_tokens"])
	e.usage.CachedTokens, e.cached = count(object(usage["input_tokens_details"])["cached_tokens"])
	incomplete := text(object(response["incomplete_details"])["reason"])
	switch incomplete {
	case "max_output_tokens":
		incomplete = "length"
	case "":
		incomplete = "incomplete"
	}
	e.fault = e.fault || response["error"] != nil || response["status"] == "failed"
	if !event {
		e.finish = map[any]string{"completed": "stop", "incomplete": incomplete}[text(response["status"])]
		for _, item := range list(response["output"]) {
			for _, part := range list(object(item)["content"]) {
				p := object(part)
				if s := map[string]string{"output_text": text(p["text"]), "refusal": text(p["refusal"])}[text(p["type"])]; e.answer == "" {
					e.answer = s
				}
			}
		}
		e.content = e.answer != ""
		return e
	}
	delta := text(top["delta"])
	switch text(top["type"]) {
	case "response.output_text.delta", "response.refusal.delta":
		e.answer, e.content = delta, delta != ""
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.function_call_arguments.delta":
		e.content = delta != ""
	case "response.completed":
		e.finish = "stop"
	case "response.incomplete":
		e.finish = incomplete
		if text(response["status"]) != "incomplete" {
			e.finish = "incomplete"
			if text(response["status"]) == "completed" {
				e.finish = "stop"
			}
		}
	case "response.failed", "error":
		e.fault = true
	}
	return e
}

func checkResponses(t *testing.T, doc []byte) {
	t.Helper()
	for _, event := range []bool{false, true} {
		var r reply
		var got said
		parse := r.parseWhole
		if event {
			parse = r.parseEvent
		}
		if parse(doc) {
			got = said{ok: true, content: r.hasContent(), fault: r.fault, answer: string(appendUnquoted(nil, r.answer())), finish: r.finishReason(),
				usage: r.usage, prompt: r.promptKnown, completion: r.completionKnown, cached: r.cachedKnown}
		}
		if want := saidByEncodingJSON(doc, event); got != want {
			t.Fatalf("%q as an event %v:\n got %+v\nwant %+v", doc, event, got, want)
		}
	}
}

func TestResponsesAgreeWithEncodingJSON(t *testing.T) {
	for _, doc := range slices.Concat(responseDocuments, documents) {
		checkResponses(t, []byte(doc))
		for i := range min(len(doc), 200) {
			checkResponses(t, []byte(doc[:i]))
		}
	}
}

func FuzzResponses(f *testing.F) {
	for _, doc := range responseDocuments {
		f.Add([]byte(doc))
	}
	f.Fuzz(checkResponses)
}

func TestParsingEventsAllocatesNothing(t *testing.T) {
	var r reply
	doc := []byte(responseDocuments[2])
	if n := testing.AllocsPerRun(100, func() { r.parseEvent(doc) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
