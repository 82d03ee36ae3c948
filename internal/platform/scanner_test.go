package platform

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documents seed the fuzz test and are a test on their own.
var documents = []string{
	`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}`,
	`{"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}}`,
	`{"choices":[{"text":"a\"b\\c\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d \ude00\ud83dx","finish_reason":"length"}]}`,
	`{"choices":[{"delta":{"reasoning_content":"hm"}},{"delta":{"content":"not this one"}}]}`,
	`{"choices":[{"delta":{"reasoning":"hm","reasoning_content":""}}]}`,
	`{"choices":[{"delta":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":"}},{"function":null},7]}}]}`,
	`{"choices":[{"delta":{"content":"first"}}],"choices":[{"delta":{"content":"second"}}]}`,
	`{"choices":[{"delta":{"content":"first","content":"second"},"delta":{}}]}`,
	`{"ch\u006fices":[{"d\u0065lta":{"\u0063ontent":"escaped names"}}]}`,
	` { "usage" : { "prompt_tokens" : 12.0 , "completion_tokens" : 1e2 } , "choices" : [ ] } `,
	`{"usage":{"prompt_tokens":-1,"completion_tokens":1.5,"prompt_tokens_details":{"cached_tokens":99999999999999999999}}}`,
	`{"usage":{"prompt_tokens":"7","completion_tokens":1125899906842624}}`,
	`{"data":[{"embedding":[0.1,-2e-3],"index":0},{}]}`,
	`{"error":{"message":"broken","code":500}}`, `{"error":null}`, `{"error":"text"}`,
	`{"object":"error","message":"no"}`, `{"object":["error"]}`,
	`{"choices":"none","usage":[],"data":{},"object":1}`, `{"choices":[[],{"delta":{"content":"x"}}]}`,
	`{}`, `[]`, `null`, `"text"`, `7`, ``, ` `, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[,]`, `{"a":1}x`, `{"a":1}{}`,
	`{"a":01}`, `{"a":-}`, `{"a":-0}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":1E-07}`, `{"a":+1}`, `{"a":tru}`, `{"a":nul`, `{"a":truex}`,
	`{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"unended}`, `{"a":"\`, "{\"a\":\"line\nbreak\"}", "{\"a\":\"\x00\"}", "{\"choices\":[{\"text\":\"bad \xff\xc3 utf8\"}]}", "{\"choices\":[{\"te\xffxt\":\"x\"}]}",
	"\ufeff{}", "\x00{}", `{"a":[[[[{"b":[]}]]]]}`, `{"a":[}`, `{"a":{]}`, `{1:2}`, `{"a" "b"}`, `{"a":1 "b":2}`,
}

// expected is what parse should say, by way of encoding/json.
type expected struct {
	ok                       bool
	choices, vectors         int
	answer, finish           string
	content                  bool
	usage                    Usage
	prompt, completion, fail bool
}

func byEncodingJSON(doc []byte, part string) (e expected) {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	var top map[string]any
	if !json.Valid(doc) || decoder.Decode(&top) != nil || top == nil {
		return expected{}
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
	choices := list(top["choices"])
	e.choices, e.vectors = len(choices), len(list(top["data"]))
	if len(choices) > 0 {
		first := object(choices[0])
		p := object(first[part])
		e.answer = text(p["content"])
		if e.answer == "" {
			e.answer = text(first["text"])
		}
		e.finish = text(first["finish_reason"])
		e.content = e.answer != "" || text(p["reasoning"]) != "" || text(p["reasoning_content"]) != ""
		for _, t := range list(p["tool_calls"]) {
			e.content = e.content || text(object(object(t)["function"])["arguments"]) != ""
		}
	}
	usage := object(top["usage"])
	e.usage.PromptTokens, e.prompt = count(usage["prompt_tokens"])
	e.usage.CompletionTokens, e.completion = count(usage["completion_tokens"])
	e.usage.CachedTokens, _ = count(object(usage["prompt_tokens_details"])["cached_tokens"])
	errorValue, named := top["error"]
	e.fail = named && errorValue != nil || top["object"] == "error"
	return e
}

func checkScanner(t *testing.T, doc []byte) {
	t.Helper()
	s := scanner{doc: doc}
	s.skip()
	if got, want := s.end(), json.Valid(doc); got != want {
		t.Fatalf("%q: JSON is %v, want %v", doc, got, want)
	}
	for _, part := range []string{"delta", "message"} {
		want := byEncodingJSON(doc, part)
		var r reply
		var got expected
		if r.parse(doc, part) {
			got = expected{true, r.choices, r.vectors, string(appendUnquoted(nil, r.answer())), r.finishReason(), r.hasContent(),
				r.usage, r.promptKnown, r.completionKnown, r.fault}
		}
		if got != want {
			t.Fatalf("%q by %s:\n got %+v\nwant %+v", doc, part, got, want)
		}
	}
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for _, doc := range slices.Concat(documents, []string{deep(maxDepth - 1), deep(maxDepth), deep(maxDepth + 1)}) {
		checkScanner(t, []byte(doc))
		// A document cut off anywhere is no document, or at least the same one.
		if len(doc) < 1000 {
			for i := range len(doc) {
				checkScanner(t, []byte(doc[:i]))
			}
		}
	}
}

func FuzzChunkScanner(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(checkScanner)
}

func TestParseAllocatesNothing(t *testing.T) {
	var r reply
	buf := make([]byte, 0, 64)
	for _, doc := range documents[:12] {
		d := []byte(doc)
		if allocs := testing.AllocsPerRun(100, func() {
			r.parse(d, "delta")
			buf = appendUnquoted(buf[:0], r.answer())
			_ = r.finishReason()
		}); allocs != 0 && !bytes.ContainsAny(d, ".e+") {
			t.Errorf("%s: %v allocations", doc, allocs)
		}
	}
}
