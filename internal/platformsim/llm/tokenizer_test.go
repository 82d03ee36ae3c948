package llm_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

func tokenize(text string) []llm.Token { return llm.Tokenizer{}.Tokenize(nil, text) }

func TestTokenCounts(t *testing.T) {
	for text, want := range map[string]int{
		"":                                     0,
		"Hello":                                1,
		"Hello, world!":                        4,
		" Hello":                               1,
		"international":                        2,
		"2026-11-23":                           6, // 202 6 - 11 - 23
		"a\n\n    b":                           3,
		"don't":                                3,
		"two  spaces":                          3,
		"trailing ":                            2,
		"x := f(y)":                            7, // x, " :", =, " f", (, y, )
		"Grüße":                                1,
		"\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e": 2, // six characters of three bytes, none cut in two
		"\xff\xfe":                             1,
	} {
		if got := len(tokenize(text)); got != want {
			t.Errorf("%q has %d tokens, want %d", text, got, want)
		}
	}
}

func TestTokenizerDoesNotAllocate(t *testing.T) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 20)
	dst := make([]llm.Token, 0, len(text))
	if n := testing.AllocsPerRun(10, func() { dst = llm.Tokenizer{}.Tokenize(dst[:0], text) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestEnglishIsFourCharactersAToken(t *testing.T) {
	text := `A load test is a rehearsal: it asks the platform the questions of a busy morning before anyone depends
on the answers. What matters is not the average but the slowest answers, since every user meets one of those sooner
or later, and remembers it. So we record each request, keep the whole distribution, and look at its far end first.`
	if got := float64(len(text)) / float64(len(tokenize(text))); got < 3.8 || got > 4.6 {
		t.Errorf("%.2f characters a token, want about 4", got)
	}
}

func TestTokenizerLaws(t *testing.T) {
	some := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c .\n\t0-9é]{0,60}`))
	rapid.Check(t, func(t *rapid.T) {
		head, tail := some.Draw(t, "head"), some.Draw(t, "tail")
		short, long := tokenize(head), tokenize(head+tail)
		if keep := max(0, len(short)-1); len(long) < keep || !slices.Equal(short[:keep], long[:keep]) {
			t.Fatalf("tokens %v of the beginning, %v of the whole", short, long)
		}
		if !slices.Equal(long, tokenize(head+tail)) {
			t.Fatal("two calls differ")
		}
	})
}

func TestVocabulary(t *testing.T) {
	var v llm.Vocabulary
	seen := map[string]bool{}
	for i := range v.Len() {
		text := v.Text(llm.Token(i))
		if seen[text] || text == "" || !utf8.ValidString(text) {
			t.Errorf("token %d is %q, empty, malformed or a duplicate", i, text)
		}
		seen[text] = true
	}
	if v.Len() < 2000 {
		t.Errorf("%d tokens, want some thousands", v.Len())
	}
	if got := v.Text(llm.Token(v.Len())); got != "" {
		t.Errorf("the text of an id beyond the table is %q, want none", got)
	}
}

// TestVocabularyRoundTrip checks that generated text, sent back as history, has
// the tokens it was generated from.
func TestVocabularyRoundTrip(t *testing.T) {
	var v llm.Vocabulary
	rapid.Check(t, func(t *rapid.T) {
		var want []llm.Token
		for _, id := range rapid.SliceOf(rapid.IntRange(0, v.Len()-1)).Draw(t, "tokens") {
			want = append(want, llm.Token(id))
		}
		want = v.Generate(want, rapid.IntRange(0, 50).Draw(t, "n"), rapid.Uint64().Draw(t, "seed"))
		var text strings.Builder
		for _, id := range want {
			text.WriteString(v.Text(id))
		}
		if got := tokenize(text.String()); !slices.Equal(got, want) {
			t.Fatalf("%q has tokens %v, generated from %v", text.String(), got, want)
		}
	})
}

func TestGenerateIsStable(t *testing.T) {
	var v llm.Vocabulary
	long, short := v.Generate(nil, 100, 7), v.Generate(nil, 40, 7)
	if !slices.Equal(long[:40], short) {
		t.Error("fewer tokens of a seed are not the beginning of more")
	}
	if slices.Equal(v.Generate(nil, 40, 8), short) {
		t.Error("two seeds give the same text")
	}
}
