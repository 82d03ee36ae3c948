package platformsim

import (
	"strconv"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// infer lets the model answer.
func (c *call) infer() {
	if c.endpoint == embeddings {
		c.embed()
		return
	}
	length, finish, seed := c.ask.script(&c.backend.Model, c.prompt, c.p.seed)
	c.finish = finish
	c.answer = llm.Vocabulary{}.Generate(c.answer, length, seed)
	seq, ok := c.submit(llm.Request{MaxTokens: length, OutputTokens: c.answer, PerEmit: c.backend.TokensPerChunk, FirstAlone: c.backend.FirstAlone})
	if !ok {
		return
	}
	defer seq.Cancel() // nothing, if it has ended
	if c.entry.Stream {
		c.stream(seq)
	} else {
		c.whole(seq)
	}
}

// whole waits for the answer and sends it in one piece.
func (c *call) whole(seq *llm.Sequence) {
	for done := false; !done; {
		var n int
		var err error
		if n, done, err = seq.Next(c.r.Context()); err != nil {
			c.gaveUp(err)
			return
		}
		c.entry.CachedTokens = seq.CachedTokens()
		c.entry.CompletionTokens += n
	}
	c.entry.FinishReason = c.finish
	c.charge()
	if c.p.quirks.SlowUsageRecords && !pause(c.r.Context(), time.Second) {
		c.entry.Aborted = true
		return
	}
	b := append(c.out[:0], `{"`...)
	switch c.endpoint {
	case inference:
		b = append(b, `request_id":`...)
		b = jsonstring.Append(b, c.ask.RequestID)
		b = append(b, `,"output":{"text":"`...)
		b = appendWords(b, c.answer)
		b = append(b, `"},"usage":{"tokens_input":`...)
		b = appendInt(b, len(c.ask.Payload))
		b = append(b, `,"tokens_output":`...)
		b = appendInt(b, len(c.answer))
		b = append(b, `,"latency_ms":`...)
		b = strconv.AppendInt(b, time.Since(c.arrived).Milliseconds(), 10)
		b = append(append(b, `,"limit_state":"WITHIN_LIMIT"},"trace_id":"`...), c.trace...)
		b = append(append(b, `","span_id":"`...), c.trace[:16]...)
		b = append(b, '"', '}', '\n')
	case responses:
		b = append(c.appendResponse(b[:len(b)-2], c.status(), true), '\n')
	default:
		b = c.appendOpening(b, "chat.completion", "text_completion")
		if c.endpoint == chat {
			b = append(b, `{"index":0,"message":{"role":"assistant","content":"`...)
			b = appendWords(b, c.answer)
			b = append(b, `"},"finish_reason":"`...)
		} else {
			b = append(b, `{"index":0,"text":"`...)
			b = appendWords(b, c.answer)
			b = append(b, `","finish_reason":"`...)
		}
		b = append(b, c.finish...)
		b = append(b, `"}],`...)
		b = c.appendUsage(b)
		b = append(b, '}', '\n')
	}
	c.out = b
	c.sendStruck()
}

// sendStruck sends the answer in c.out, and on the way the fault that awaits
// it, if any.
func (c *call) sendStruck() {
	half := len(c.out) / 2
	switch c.strike.fault {
	case ResetMidway, Truncate, Stall:
		h := c.w.Header()
		h["Content-Type"] = asJSON
		if c.strike.fault != Truncate { // which ends cleanly, so in chunks
			h["Content-Length"] = []string{strconv.Itoa(len(c.out))}
		}
		c.head(200)
		if !c.write(c.out[:half]) || !c.flush() {
			return
		}
		c.cut = c.strike.fault == ResetMidway
		if c.strike.fault == Stall {
			if pause(c.r.Context(), c.p.faults.Load().StallFor) {
				c.write(c.out[half:])
			} else {
				c.entry.Aborted = true
			}
		}
	case Garbage:
		c.send(200, asHTML, []byte("<html><body><h1>It works!</h1></body></html>\n"))
	default:
		c.send(200, asJSON, c.out)
	}
}

// appendOpening appends the fields that all answers and events of OpenAI's
// API begin with, up to the first choice. The first quotation mark is there.
func (c *call) appendOpening(b []byte, chatObject, textObject string) []byte {
	prefix, object := "chatcmpl-", chatObject
	if c.endpoint == completions {
		prefix, object = "cmpl-", textObject
	}
	b = append(append(append(b, `id":"`...), prefix...), c.trace...)
	b = append(append(b, `","object":"`...), object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, c.arrived.Unix(), 10)
	b = append(b, `,"model":`...)
	b = jsonstring.Append(b, c.ask.Model)
	return append(b, `,"choices":[`...)
}

// appendUsage appends the usage field.
func (c *call) appendUsage(b []byte) []byte {
	prompt, completion := len(c.prompt), c.entry.CompletionTokens
	b = append(b, `"usage":{"prompt_tokens":`...)
	b = appendInt(b, prompt)
	if c.endpoint != embeddings {
		b = append(b, `,"completion_tokens":`...)
		b = appendInt(b, completion)
	}
	b = append(b, `,"total_tokens":`...)
	b = appendInt(b, prompt+completion)
	if !c.p.quirks.PlainUsage && c.endpoint != embeddings {
		b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
		b = appendInt(b, c.entry.CachedTokens)
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendWords appends what tokens say. The vocabulary has no character that
// JSON would have to escape.
func appendWords(b []byte, tokens []llm.Token) []byte {
	for _, t := range tokens {
		b = append(b, llm.Vocabulary{}.Text(t)...)
	}
	return b
}
