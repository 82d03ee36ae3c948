package platform

import (
	"time"
	"unicode/utf8"
)

// reply is what one JSON document of the platform says: a whole answer, or
// one chunk of a stream. The slices are raw strings of the document, quotes
// included; nil if there is no such string.
//
// Only the first choice counts, since no more than one is ever asked for.
// Where a document names a member twice, the last one counts, as elsewhere.
type reply struct {
	choices   int    // entries in choices
	vectors   int    // entries in data, for embeddings
	listed    bool   // there is data, with or without entries
	content   []byte // delta.content or message.content
	text      []byte // text, for completions
	reasoning []byte // delta.reasoning_content or delta.reasoning
	arguments int    // bytes of arguments in tool calls
	finish    []byte // finish_reason

	usage           Usage
	promptKnown     bool
	completionKnown bool
	cachedKnown     bool

	fault bool // an error in place of an answer; its body tells more
}

// parse reads a document and reports whether it is a JSON object. part is
// "delta" in a stream and "message" in a whole answer.
func (r *reply) parse(doc []byte, part string) bool {
	*r = reply{}
	s := scanner{doc: doc}
	if s.peek() != '{' {
		return false
	}
	object := false
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "choices":
			r.parseChoices(&s, part)
		case "data":
			r.vectors, r.listed = 0, true
			for ok := s.open('['); ok; ok = s.more('[') {
				s.skip()
				r.vectors++
			}
		case "usage":
			r.parseUsage(&s)
		case "error":
			r.fault = !s.null()
		case "object":
			object = string(s.text()) == `"error"`
		default:
			s.skip()
		}
	}
	r.fault = r.fault || object
	return s.end()
}

func (r *reply) parseChoices(s *scanner, part string) {
	r.choices, r.content, r.text, r.reasoning, r.arguments, r.finish = 0, nil, nil, nil, 0, nil
	for ok := s.open('['); ok; ok = s.more('[') {
		if r.choices++; r.choices > 1 {
			s.skip()
			continue
		}
		for ok := s.open('{'); ok; ok = s.more('{') {
			switch key := s.key(); {
			case string(key) == part:
				r.parsePart(s)
			case string(key) == "text":
				r.text = s.text()
			case string(key) == "finish_reason":
				r.finish = s.text()
			default:
				s.skip()
			}
		}
	}
}

func (r *reply) parsePart(s *scanner) {
	var content, thinking, reasoning []byte
	arguments := 0
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "content":
			content = s.text()
		case "reasoning_content":
			thinking = s.text()
		case "reasoning":
			reasoning = s.text()
		case "tool_calls":
			arguments = 0
			for ok := s.open('['); ok; ok = s.more('[') {
				arguments += toolArguments(s)
			}
		default:
			s.skip()
		}
	}
	if !filled(thinking) {
		thinking = reasoning
	}
	r.content, r.reasoning, r.arguments = content, thinking, arguments
}

// toolArguments consumes one tool call and returns how long the arguments in
// it are.
func toolArguments(s *scanner) (n int) {
	for ok := s.open('{'); ok; ok = s.more('{') {
		if string(s.key()) != "function" {
			s.skip()
			continue
		}
		n = 0
		for ok := s.open('{'); ok; ok = s.more('{') {
			if string(s.key()) == "arguments" {
				n = max(0, len(s.text())-2)
			} else {
				s.skip()
			}
		}
	}
	return n
}

func (r *reply) parseUsage(s *scanner) {
	r.usage, r.promptKnown, r.completionKnown, r.cachedKnown = Usage{}, false, false, false
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "prompt_tokens":
			r.usage.PromptTokens, r.promptKnown = s.count()
		case "completion_tokens":
			r.usage.CompletionTokens, r.completionKnown = s.count()
		case "prompt_tokens_details":
			r.usage.CachedTokens = 0
			for ok := s.open('{'); ok; ok = s.more('{') {
				if string(s.key()) == "cached_tokens" {
					r.usage.CachedTokens, r.cachedKnown = s.count()
				} else {
					s.skip()
				}
			}
		default:
			s.skip()
		}
	}
}

func filled(raw []byte) bool { return len(raw) > len(`""`) }

// answer is the string that is the answer, raw: the content of a chat, the
// text of a completion.
func (r *reply) answer() []byte {
	if filled(r.content) {
		return r.content
	}
	return r.text
}

// hasContent reports whether a chunk carries something that a user waits for:
// text, reasoning, or arguments of a tool call. A chunk that only announces
// the role, or only ends the answer, carries none.
func (r *reply) hasContent() bool {
	return filled(r.answer()) || filled(r.reasoning) || r.arguments > 0
}

// finishReason is a string without allocating the common ones.
func (r *reply) finishReason() string {
	switch string(r.finish) {
	case `"stop"`:
		return "stop"
	case `"length"`:
		return "length"
	case `"tool_calls"`:
		return "tool_calls"
	case `"content_filter"`:
		return "content_filter"
	default:
		return string(appendUnquoted(nil, r.finish))
	}
}

// unfold adds to an exchange what a stream says, chunk by chunk.
type unfold struct {
	x          *Exchange
	chars      int // characters of content so far
	firstChars int // of which in the first content chunk
	firstKnown int // tokens in the first content chunk, if it told
}

// add takes a chunk that came at the given time.
func (u *unfold) add(r *reply, at time.Duration) {
	x := u.x
	if filled(r.finish) {
		x.FinishReason = r.finishReason()
	}
	if r.promptKnown && r.completionKnown {
		x.Usage, x.UsageKnown, x.CachedKnown = r.usage, true, r.cachedKnown // it only ever grows; the last one counts
	}
	if !r.hasContent() {
		return
	}
	before := len(x.Answer)
	x.Answer = appendUnquoted(x.Answer, r.answer())
	u.chars += utf8.RuneCount(x.Answer[before:]) + utf8.RuneCount(r.reasoning) + r.arguments
	if x.Chunks == 0 {
		x.FirstToken = at
		u.firstChars = u.chars
		if r.completionKnown {
			u.firstKnown = r.usage.CompletionTokens
		}
	} else {
		x.Gaps = append(x.Gaps, at-x.LastToken)
	}
	x.LastToken = at
	x.Chunks++
}

// finish sets the number of tokens in the first chunk, by the best that is
// known. A server that counts as it goes said it. If there are as many tokens
// as chunks, it was one. Otherwise the first chunk is given its share by
// characters: at least one token, and leaving one for each of the others.
func (u *unfold) finish() {
	x := u.x
	tokens := x.Usage.CompletionTokens
	switch {
	case x.Chunks == 0:
	case u.firstKnown > 0:
		x.FirstChunkTokens = u.firstKnown
	case !x.UsageKnown || tokens <= x.Chunks:
		x.FirstChunkTokens = 1
	default:
		share := (tokens*u.firstChars + u.chars/2) / max(1, u.chars)
		x.FirstChunkTokens = max(1, min(share, tokens-x.Chunks+1))
	}
}
