package platformsim

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// maxWrite is about how many bytes of events are gathered for one write.
const maxWrite = 16 << 10

var noStore = []string{"no-cache"}

// overdue is a context that is done: with it Next returns what is due already
// and does not wait.
var overdue = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// stream sends the answer as server-sent events, in the way of OpenAI and
// vLLM: for chat an event with the role; one event for each delivery of the
// model; one with the finish_reason; one with the usage, if it was asked for;
// and [DONE]. The Responses API has events of its own: see appendStart and
// appendFinish. The head and the role leave as soon as the model has taken the
// prompt, so that the first byte is not the first token.
//
// Deliveries that are due at the same time leave in one write.
func (c *call) stream(seq *llm.Sequence) {
	h := c.w.Header()
	h["Content-Type"], h["Cache-Control"] = asEvents, noStore
	c.head(200)

	var b []byte
	if c.endpoint == responses {
		b = c.appendItem(append(c.out[:0], "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","...), true)
		b = append(b, `"logprobs":[],"sequence_number":`...)
	} else {
		b = c.appendOpening(append(c.out[:0], `data: {"`...), "chat.completion.chunk", "text_completion")
	}
	opening := len(b) // what all events begin with stays in b, in front of them
	head := b[:opening:opening]
	event := func(b []byte, choice string) []byte { return append(append(append(b, head...), choice...), "\n\n"...) }

	switch c.endpoint {
	case chat:
		b = event(b, `{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
	case responses:
		b = c.appendStart(b)
	}
	if len(b) > opening {
		if !c.backend.instant {
			if !c.emit(b[opening:]) || !c.flush() {
				return
			}
			b = b[:opening]
		}
	} else if !c.backend.instant && !c.flush() {
		return
	}
	before, after := `{"index":0,"delta":{"content":"`, `"},"finish_reason":null}]}`+"\n\n"
	switch c.endpoint {
	case responses:
		before, after = `,"delta":"`, `"}`+"\n\n"
	case completions:
		before, after = `{"index":0,"text":"`, `","finish_reason":null}]}`+"\n\n"
	}

	per := c.backend.TokensPerChunk
	cutAfter := 0 // no chunk
	switch c.strike.fault {
	case ResetMidway, Truncate, Stall, Garbage:
		chunks := (len(c.answer) + per - 1) / per
		if c.backend.FirstAlone {
			chunks = 1 + (len(c.answer)+per-2)/per
		}
		cutAfter = c.strike.after(chunks)
	}
	ended := false
	for said := 0; said < len(c.answer); {
		n, _, err := seq.Next(c.r.Context())
		if err != nil {
			c.entry.Aborted = true
			c.cut = errors.Is(err, llm.ErrClosed)
			c.keep(b)
			return
		}
		handed := time.Now()
		c.entry.CachedTokens = seq.CachedTokens()
		batch := 0
		for err == nil {
			b = append(b, head...)
			if c.endpoint == responses {
				b = c.appendNumber(b)
			}
			b = append(b, before...)
			b = appendWords(b, c.answer[said:said+n])
			b = append(b, after...)
			said += n
			batch++
			if said == len(c.answer) || len(c.chunks)+batch == cutAfter || len(b) > maxWrite {
				break
			}
			n, _, err = seq.Next(overdue)
		}
		struck := len(c.chunks)+batch == cutAfter
		c.entry.CompletionTokens = said
		if said == len(c.answer) && !struck {
			b = c.appendEnd(b, event)
			ended = true
		}
		if !c.emit(b[opening:]) || !c.flush() {
			c.keep(b)
			return
		}
		b = b[:opening]
		left := time.Now()
		c.timeWrite(left.Sub(handed))
		for range batch {
			c.chunks = append(c.chunks, left.Sub(c.p.started))
		}
		if !struck {
			continue
		}
		switch c.strike.fault {
		case ResetMidway:
			c.cut = true
			c.keep(b)
			return
		case Truncate:
			c.keep(b)
			return
		case Stall:
			if !pause(c.r.Context(), c.p.faults.Load().StallFor) {
				c.entry.Aborted = true
				c.keep(b)
				return
			}
		case Garbage:
			b = append(append(b, head[:opening/2]...), "\n\n"...)
		}
	}
	if !ended {
		b = c.appendEnd(b, event)
		if c.emit(b[opening:]) {
			c.flush()
		}
	}
	c.keep(b)
}

// emit writes events in the way that the quirks of streams ask for.
func (c *call) emit(b []byte) bool {
	q := &c.p.quirks
	if q.StreamComments {
		b = append([]byte(": keep-alive\n\n"), b...)
	}
	if q.StreamCRLF {
		b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) // the JSON has no line break of its own
	}
	if q.StreamSplits && len(b) > 1 {
		at := 1 + c.emitted%(len(b)-1)
		c.emitted++
		if !c.write(b[:at]) || !c.flush() {
			return false
		}
		b = b[at:]
	}
	return c.write(b)
}

// keep lets the buffer be used again.
func (c *call) keep(b []byte) { c.out = b[:0] }

// appendEnd appends the events that follow the last token, and charges for
// the answer.
func (c *call) appendEnd(b []byte, event func([]byte, string) []byte) []byte {
	c.charge()
	c.entry.FinishReason = c.finish
	if c.endpoint == responses {
		return c.appendFinish(b)
	}
	if c.endpoint == chat {
		b = event(b, `{"index":0,"delta":{},"finish_reason":"`+c.finish+`"}]}`)
	} else {
		b = event(b, `{"index":0,"text":"","finish_reason":"`+c.finish+`"}]}`)
	}
	if c.ask.StreamOptions.IncludeUsage && !c.p.quirks.NoStreamUsage {
		b = event(b, `],`+string(c.appendUsage(nil))+`}`)
	}
	return append(b, "data: [DONE]\n\n"...)
}

// timeWrite notes how long after its tokens were handed over a write had left.
func (c *call) timeWrite(d time.Duration) {
	c.writes++
	c.writeSum += d
	c.writeMax = max(c.writeMax, d)
}
