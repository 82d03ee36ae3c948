package jsonstring_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
)

// What is appended by hand reads as what encoding/json would have written.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{"", "plain", "\"quoted\" \\ /", "\x00\x1f\x7f\b\f\n\r\t", "Grüße 世界 😀", "\xff", "a\xc3", "\xed\xa0\x80", "\xf0\x9f\x98", "\ufffd\u2028\u2029<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, found := strings.CutPrefix(string(jsonstring.Append([]byte("before"), s)), "before")
		if !found {
			t.Fatalf("%q: what was there is gone: %q", s, got)
		}
		reference, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var ours, theirs string
		if err := json.Unmarshal([]byte(got), &ours); err != nil {
			t.Fatalf("%q became %q: %v", s, got, err)
		}
		if err := json.Unmarshal(reference, &theirs); err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Fatalf("%q arrives as %q, by encoding/json as %q", s, ours, theirs)
		}
	})
}
