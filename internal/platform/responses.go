package platform

import "encoding/json"

// The Responses API differs from the others in what its documents look like,
// not in what they say: both of its parsers fill a [reply] with it. A response
// has an output of items, of which only texts of messages count; a stream is
// made of typed events, ends with the complete response, and says no [DONE].

// parseWhole reads a response and reports whether it is a JSON object. choices
// counts its items.
func (r *reply) parseWhole(doc []byte) bool {
	*r = reply{}
	s := scanner{doc: doc}
	if s.peek() != '{' {
		return false
	}
	r.parseResponse(&s)
	return s.end()
}

// parseEvent reads an event of a stream and reports whether it is a JSON object.
func (r *reply) parseEvent(doc []byte) bool {
	*r = reply{}
	s := scanner{doc: doc}
	if s.peek() != '{' {
		return false
	}
	var kind, delta []byte
	fault := false
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "type":
			kind = s.text()
		case "delta":
			delta = s.text()
		case "response":
			r.parseResponse(&s)
		case "error":
			fault = !s.null()
		default:
			s.skip()
		}
	}
	r.fault = r.fault || fault
	finish := r.finish
	r.content, r.finish = nil, nil // of the response so far: the events have said it
	switch string(kind) {
	case `"response.output_text.delta"`, `"response.refusal.delta"`:
		r.content = delta
	case `"response.reasoning_text.delta"`, `"response.reasoning_summary_text.delta"`:
		r.reasoning = delta
	case `"response.function_call_arguments.delta"`:
		r.arguments = max(0, len(delta)-2)
	case `"response.completed"`:
		r.finish = finishStop
	case `"response.incomplete"`:
		if r.finish = finish; !filled(finish) {
			r.finish = finishIncomplete
		}
	case `"response.failed"`, `"error"`:
		r.fault = true
	}
	return s.end()
}

// What ends an answer, in the words of the other calls, as raw strings.
var (
	finishStop       = []byte(`"stop"`)
	finishLength     = []byte(`"length"`)
	finishIncomplete = []byte(`"incomplete"`)
)

// parseResponse consumes a response.
func (r *reply) parseResponse(s *scanner) {
	*r = reply{}
	var status, reason []byte
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "status":
			status = s.text()
		case "incomplete_details":
			reason = nil
			for ok := s.open('{'); ok; ok = s.more('{') {
				if string(s.key()) == "reason" {
					reason = s.text()
				} else {
					s.skip()
				}
			}
		case "output":
			r.choices, r.content = 0, nil
			for ok := s.open('['); ok; ok = s.more('[') {
				r.choices++
				r.parseItem(s)
			}
		case "usage":
			r.parseResponseUsage(s)
		case "error":
			r.fault = !s.null()
		default:
			s.skip()
		}
	}
	switch string(status) {
	case `"completed"`:
		r.finish = finishStop
	case `"incomplete"`:
		r.finish = reason
		if string(reason) == `"max_output_tokens"` {
			r.finish = finishLength
		}
		if !filled(r.finish) {
			r.finish = finishIncomplete
		}
	case `"failed"`:
		r.fault = true
	}
}

// parseItem consumes an item of the output. The first text that there is counts.
func (r *reply) parseItem(s *scanner) {
	var text []byte
	for ok := s.open('{'); ok; ok = s.more('{') {
		if string(s.key()) != "content" {
			s.skip()
			continue
		}
		text = nil
		for ok := s.open('['); ok; ok = s.more('[') {
			if part := outputText(s); !filled(text) {
				text = part
			}
		}
	}
	if !filled(r.content) {
		r.content = text
	}
}

// outputText consumes a part of an item's content and returns its text.
func outputText(s *scanner) []byte {
	var kind, text, refusal []byte
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "type":
			kind = s.text()
		case "text":
			text = s.text()
		case "refusal":
			refusal = s.text()
		default:
			s.skip()
		}
	}
	switch string(kind) {
	case `"output_text"`:
		return text
	case `"refusal"`:
		return refusal
	default:
		return nil // reasoning
	}
}

func (r *reply) parseResponseUsage(s *scanner) {
	r.usage, r.promptKnown, r.completionKnown, r.cachedKnown = Usage{}, false, false, false
	for ok := s.open('{'); ok; ok = s.more('{') {
		switch string(s.key()) {
		case "input_tokens":
			r.usage.PromptTokens, r.promptKnown = s.count()
		case "output_tokens":
			r.usage.CompletionTokens, r.completionKnown = s.count()
		case "input_tokens_details":
			r.usage.CachedTokens, r.cachedKnown = 0, false
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

// complaintOf is the part of a failed response or event that says why: what
// other calls say under error.
func complaintOf(doc []byte) []byte {
	var event struct {
		Error    json.RawMessage `json:"error"`
		Response struct {
			Error json.RawMessage `json:"error"`
		} `json:"response"`
	}
	if json.Unmarshal(doc, &event) != nil {
		return doc
	}
	for _, e := range []json.RawMessage{event.Error, event.Response.Error} {
		if len(e) > 0 && string(e) != "null" {
			return append(append([]byte(`{"error":`), e...), '}')
		}
	}
	return doc
}
