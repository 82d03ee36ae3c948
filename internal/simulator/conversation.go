package simulator

import (
	"unicode/utf8"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
)

// conversation is what has been said so far, as far as it is still sent along.
// A chat API remembers nothing: every turn carries its whole context.
type conversation struct {
	messages []platform.Message // question, answer, question, answer, …
	size     int                // bytes of messages in a request body, at most
	context  int                // earlier turns to keep; below zero, all
	limit    int                // bytes that messages may take
}

// envelope is an upper bound for all of a request body that is not messages:
// model, salt and options.
func envelope(model, salt string) int { return 512 + encoded(model) + encoded(salt) }

// begin starts a conversation anew.
func (t *conversation) begin(context, limit int) {
	clear(t.messages) // lets go of the texts
	t.messages, t.size = t.messages[:0], 0
	t.context, t.limit = context, limit
}

// ask adds a question and returns what to send: the question after as many of
// the earlier turns as are to be kept and fit. The slice is valid until the
// next call.
func (t *conversation) ask(question string) []platform.Message {
	t.add("user", question)
	drop := 0 // messages, two a turn
	if earlier := len(t.messages) / 2; t.context >= 0 && earlier > t.context {
		drop = 2 * (earlier - t.context)
	}
	for i := range drop {
		t.size -= weight(t.messages[i])
	}
	for ; t.size > t.limit && drop+2 < len(t.messages); drop += 2 {
		t.size -= weight(t.messages[drop]) + weight(t.messages[drop+1])
	}
	n := copy(t.messages, t.messages[drop:])
	clear(t.messages[n:])
	t.messages = t.messages[:n]
	return t.messages
}

// answer adds the answer to the question that was asked last. Without one,
// the question is taken back: a context has to alternate.
func (t *conversation) answer(text []byte) {
	if len(text) > 0 {
		t.add("assistant", string(text))
		return
	}
	last := len(t.messages) - 1
	t.size -= weight(t.messages[last])
	t.messages[last] = platform.Message{}
	t.messages = t.messages[:last]
}

func (t *conversation) add(role, content string) {
	m := platform.Message{Role: role, Content: content}
	t.messages = append(t.messages, m)
	t.size += weight(m)
}

// weight is an upper bound for the bytes of m in a request body.
func weight(m platform.Message) int {
	return len(`{"role":"","content":""},`) + len(m.Role) + encoded(m.Content)
}

// encoded is an upper bound for the bytes of s in JSON, without its quotes,
// whichever of the optional escapes the encoder likes.
func encoded(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
			n++
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			n += 5 // \u00xx
		case c == 0xe2:
			n += 3 // U+2028 and U+2029 may become \u2028
		}
	}
	if !utf8.ValidString(s) {
		n += 5 * len(s) // each bad byte may become \ufffd
	}
	return n
}
