package platformsim

import (
	"strconv"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
)

// What is particular to the Responses API: typed events with numbers, and the
// whole response in the first and the last of them, as OpenAI and vLLM send
// them.

// status is that of a response which has ended.
func (c *call) status() string {
	if c.finish == "length" {
		return "incomplete"
	}
	return "completed"
}

// appendResponse appends the response; with its output and usage, if it has ended.
func (c *call) appendResponse(b []byte, status string, ended bool) []byte {
	b = append(append(append(b, `{"id":"resp_`...), c.trace...), `","object":"response","created_at":`...)
	b = strconv.AppendInt(b, c.arrived.Unix(), 10)
	b = append(append(append(b, `,"status":"`...), status...), `","error":null,"incomplete_details":`...)
	if status == "incomplete" {
		b = append(b, `{"reason":"max_output_tokens"}`...)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"model":`...)
	b = jsonstring.Append(b, c.ask.Model)
	b = append(b, `,"output":[`...)
	if !ended {
		return append(b, `],"usage":null}`...)
	}
	b = c.appendMessage(b, status, true)
	b = append(b, `],"usage":{"input_tokens":`...)
	b = appendInt(b, len(c.prompt))
	if !c.p.quirks.PlainUsage {
		b = append(b, `,"input_tokens_details":{"cached_tokens":`...)
		b = append(appendInt(b, c.entry.CachedTokens), '}')
	}
	b = append(b, `,"output_tokens":`...)
	b = appendInt(b, c.entry.CompletionTokens)
	b = append(b, `,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":`...)
	b = appendInt(b, len(c.prompt)+c.entry.CompletionTokens)
	return append(b, '}', '}')
}

// appendMessage appends the one item of the output, with its text or without.
func (c *call) appendMessage(b []byte, status string, whole bool) []byte {
	b = append(append(append(b, `{"id":"msg_`...), c.trace...), `","type":"message","role":"assistant","status":"`...)
	b = append(append(b, status...), `","content":[`...)
	if whole {
		b = c.appendPart(b, true)
	}
	return append(b, ']', '}')
}

// appendPart appends the one part of the message.
func (c *call) appendPart(b []byte, whole bool) []byte {
	b = append(b, `{"type":"output_text","annotations":[],"text":"`...)
	if whole {
		b = appendWords(b, c.answer)
	}
	return append(b, '"', '}')
}

// appendItem appends the fields that say which item an event is about, and
// with part, which part of it.
func (c *call) appendItem(b []byte, part bool) []byte {
	if part {
		b = append(append(append(b, `"item_id":"msg_`...), c.trace...), `",`...)
	}
	b = append(b, `"output_index":0,`...)
	if part {
		b = append(b, `"content_index":0,`...)
	}
	return b
}

// appendNumber appends the number of the next event.
func (c *call) appendNumber(b []byte) []byte {
	b = appendInt(b, c.events)
	c.events++
	return b
}

// appendEvent appends an event; fields appends what it says beside its type.
func (c *call) appendEvent(b []byte, kind string, fields func([]byte) []byte) []byte {
	b = append(append(append(b, "event: "...), kind...), "\ndata: {\"type\":\""...)
	b = append(append(b, kind...), `","sequence_number":`...)
	b = append(c.appendNumber(b), ',')
	return append(fields(b), "}\n\n"...)
}

// appendStart appends the events before the first token.
func (c *call) appendStart(b []byte) []byte {
	response := func(b []byte) []byte { return c.appendResponse(append(b, `"response":`...), "in_progress", false) }
	b = c.appendEvent(b, "response.created", response)
	b = c.appendEvent(b, "response.in_progress", response)
	b = c.appendEvent(b, "response.output_item.added", func(b []byte) []byte {
		return c.appendMessage(append(c.appendItem(b, false), `"item":`...), "in_progress", false)
	})
	return c.appendEvent(b, "response.content_part.added", func(b []byte) []byte {
		return c.appendPart(append(c.appendItem(b, true), `"part":`...), false)
	})
}

// appendFinish appends the events after the last token.
func (c *call) appendFinish(b []byte) []byte {
	b = c.appendEvent(b, "response.output_text.done", func(b []byte) []byte {
		return append(appendWords(append(c.appendItem(b, true), `"text":"`...), c.answer), '"')
	})
	b = c.appendEvent(b, "response.content_part.done", func(b []byte) []byte {
		return c.appendPart(append(c.appendItem(b, true), `"part":`...), true)
	})
	b = c.appendEvent(b, "response.output_item.done", func(b []byte) []byte {
		return c.appendMessage(append(c.appendItem(b, false), `"item":`...), c.status(), true)
	})
	return c.appendEvent(b, "response."+c.status(), func(b []byte) []byte {
		return c.appendResponse(append(b, `"response":`...), c.status(), true)
	})
}
