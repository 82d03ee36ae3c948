package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
)

func TestConversationKeepsItsContext(t *testing.T) {
	for _, tt := range []struct{ context, want int }{{-1, 9}, {0, 0}, {3, 3}, {100, 9}} {
		var c conversation
		c.begin(tt.context, 1<<20)
		var got []platform.Message
		for turn := range 10 {
			got = c.ask(fmt.Sprint("question ", turn))
			if turn < 9 {
				c.answer(fmt.Append(nil, "answer ", turn))
			}
		}
		var want []platform.Message
		for turn := 9 - tt.want; turn < 9; turn++ {
			want = append(want, platform.Message{Role: "user", Content: fmt.Sprint("question ", turn)}, platform.Message{Role: "assistant", Content: fmt.Sprint("answer ", turn)})
		}
		want = append(want, platform.Message{Role: "user", Content: "question 9"})
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("context %d: the tenth turn sends\n%v\nwant\n%v", tt.context, got, want)
		}
	}
}

func TestConversationWithoutAnAnswer(t *testing.T) {
	var c conversation
	c.begin(-1, 1<<20)
	c.ask("one")
	c.answer([]byte("first"))
	c.ask("two")
	c.answer(nil) // failed
	got := fmt.Sprint(c.ask("three"))
	if want := "[{user one} {assistant first} {user three}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.begin(-1, 1<<20)
	if got := fmt.Sprint(c.ask("anew")); got != "[{user anew}]" {
		t.Errorf("a new conversation begins with %s", got)
	}
}

// TestBodiesStayBelowTheLimit builds conversations of any texts and measures
// what goes on the wire.
func TestBodiesStayBelowTheLimit(t *testing.T) {
	text := rapid.Custom(func(t *rapid.T) string {
		unit := rapid.SampledFrom([]string{"a", "é", "\"", "\n", "<", "\x01", "\u2028", "日", "\xff", "word "}).Draw(t, "unit")
		return strings.Repeat(unit, rapid.IntRange(1, 400).Draw(t, "times"))
	})
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(3000, 8000).Draw(t, "limit")
		model, salt := "some/model", "org-1/user-2"
		var c conversation
		c.begin(-1, limit-envelope(model, salt))
		for range rapid.IntRange(1, 25).Draw(t, "turns") {
			question := text.Draw(t, "question")
			if encoded(question) > 1500 {
				question = "short"
			}
			messages := c.ask(question)
			body, err := json.Marshal(map[string]any{
				"model": model, "cache_salt": salt, "messages": messages, "max_tokens": 1 << 30, "temperature": 0.123456789,
				"stream": true, "stream_options": map[string]any{"include_usage": true},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(body) > limit {
				t.Fatalf("a body of %d bytes, above %d, with %d messages", len(body), limit, len(messages))
			}
			if len(messages)%2 != 1 || messages[len(messages)-1].Content != question {
				t.Fatalf("the last of %d messages is not the question", len(messages))
			}
			for i, m := range messages {
				if want := []string{"user", "assistant"}[i%2]; m.Role != want {
					t.Fatalf("message %d is of the %s, want %s", i, m.Role, want)
				}
			}
			if rapid.Bool().Draw(t, "answered") {
				c.answer([]byte(text.Draw(t, "answer")))
			} else {
				c.answer(nil)
			}
			size := 0
			for _, m := range c.messages {
				size += weight(m)
			}
			if size != c.size {
				t.Fatalf("the size is counted as %d and is %d", c.size, size)
			}
		}
	})
}

func TestDroppingNeverGoesFurtherThanNeeded(t *testing.T) {
	var c conversation
	c.begin(-1, 3000)
	for i := range 20 {
		messages := c.ask(strings.Repeat("q", 200))
		if i >= 10 && len(messages) < 9 {
			t.Errorf("turn %d sends only %d messages though more would fit", i, len(messages))
		}
		c.answer([]byte(strings.Repeat("a", 200)))
	}
}
