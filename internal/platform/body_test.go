package platform

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

func TestBody(t *testing.T) {
	conversation := []Message{{"system", "Be brief."}, {"user", "What is \"1 < 2\"?\n"}}
	for _, test := range []struct {
		name string
		q    Request
		want string
	}{
		{"chat", Request{Endpoint: Chat, Model: "m", Messages: conversation},
			`{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is \"1 < 2\"?\n"}]}`},
		{"chat with everything", Request{Endpoint: Chat, Model: "m", Messages: conversation[:1], MaxTokens: 50, Temperature: 0.7, HasTemperature: true, Stream: true, CacheSalt: "org-1"},
			`{"model":"m","messages":[{"role":"system","content":"Be brief."}],"max_tokens":50,"temperature":0.7,"stream":true,"stream_options":{"include_usage":true},"cache_salt":"org-1"}`},
		{"a temperature of zero is one", Request{Endpoint: Completions, Model: "m", Input: "x", HasTemperature: true}, `{"model":"m","prompt":"x","temperature":0}`},
		{"a tiny temperature", Request{Endpoint: Completions, Model: "m", Input: "x", Temperature: 1e-9, HasTemperature: true}, `{"model":"m","prompt":"x","temperature":1e-09}`},
		{"embeddings", Request{Endpoint: Embeddings, Model: "e", Input: "text", MaxTokens: 5, HasTemperature: true, CacheSalt: "s"}, `{"model":"e","input":"text","cache_salt":"s"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.q.check(); err != nil {
				t.Fatal(err)
			}
			if got := string(test.q.appendBody(nil)); got != test.want {
				t.Errorf(" got %s\nwant %s", got, test.want)
			} else if !json.Valid([]byte(got)) {
				t.Errorf("%s is not JSON", got)
			}
		})
	}
}

func TestBodyAllocatesNothing(t *testing.T) {
	q := Request{Endpoint: Chat, Model: "m", Messages: []Message{{"user", "Grüße\n"}}, Stream: true, Temperature: 0.7, HasTemperature: true, CacheSalt: "s"}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = q.appendBody(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRequestsThatAreNotSent(t *testing.T) {
	for want, q := range map[string]Request{
		"endpoint":         {Endpoint: "images", Model: "m"},
		"no model":         {Endpoint: Chat, Messages: []Message{{"user", "x"}}},
		"one message":      {Endpoint: Chat, Model: "m"},
		"streamed":         {Endpoint: Embeddings, Model: "m", Stream: true},
		"not a number":     {Endpoint: Completions, Model: "m", HasTemperature: true, Temperature: math.Inf(1)},
		"the key holds":    {Endpoint: Completions, Model: "m", Key: secret.New("k\n")},
		"request id holds": {Endpoint: Completions, Model: "m", ID: "a\r\nX: y"},
	} {
		if err := q.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzAppendUnquoted(f *testing.F) {
	for _, s := range []string{"", "plain", "\"quoted\" \\ /", "\x00\x1f\x7f\b\f\n\r\t", "Grüße 世界 😀", "a\xc3", "\ufffd\u2028\u2029<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want string
		quoted := jsonstring.Append(nil, s)
		if err := json.Unmarshal(quoted, &want); err != nil {
			t.Fatal(err)
		}
		if got := string(appendUnquoted(nil, quoted)); got != want {
			t.Fatalf("%s is read as %q, want %q", quoted, got, want)
		}
	})
}
