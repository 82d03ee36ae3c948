package platformsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// ask is the body of an inference request, of any endpoint.
type ask struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	Prompt              oneText   `json:"prompt"`
	Input               input     `json:"input"`
	MaxTokens           *int      `json:"max_tokens"`
	MaxCompletionTokens *int      `json:"max_completion_tokens"`
	MaxOutputTokens     *int      `json:"max_output_tokens"` // /v1/responses
	Temperature         *float64  `json:"temperature"`
	N                   *int      `json:"n"`
	Stream              bool      `json:"stream"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	CacheSalt string `json:"cache_salt"` // vLLM's
	IgnoreEOS bool   `json:"ignore_eos"` // vLLM's: answer max_tokens tokens, no less
	RequestID string `json:"request_id"` // /v1/inference
	Payload   string `json:"payload"`    // /v1/inference
}

// message is one turn of a conversation.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is the text of a message: a string, or a list of parts of text.
type content struct {
	text  string
	parts bool // it was a list
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *content) UnmarshalJSON(b []byte) (err error) {
	if len(b) == 0 || b[0] != '[' {
		c.text, err = unquote(b)
		return err
	}
	c.parts = true
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(b, &parts); err != nil {
		return errors.New("content must be a string or a list of parts")
	}
	for _, p := range parts {
		if p.Type != "text" && p.Type != "input_text" && p.Type != "output_text" {
			return errors.New("the models read only parts of type text")
		}
		c.text += p.Text
	}
	return nil
}

// oneText is a string, or a list with one string in it.
type oneText struct {
	text string
	list bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *oneText) UnmarshalJSON(b []byte) (err error) {
	if len(b) == 0 || b[0] != '[' {
		t.text, err = unquote(b)
		return err
	}
	t.list = true
	var list []string
	if json.Unmarshal(b, &list) != nil || len(list) != 1 {
		return errors.New("prompt must be a string or a list of one string")
	}
	t.text = list[0]
	return nil
}

// input is a string, a list of strings, or, of the Responses API, a list of
// messages.
type input struct {
	texts    []string
	messages []message
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *input) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		if json.Unmarshal(b, &t.texts) == nil {
			return nil
		}
		t.texts = nil
		if json.Unmarshal(b, &t.messages) != nil {
			return errors.New("input must be a string or a list of strings, or for responses of messages")
		}
		return nil
	}
	s, err := unquote(b)
	if string(b) != "null" {
		t.texts = []string{s}
	}
	return err
}

// unquote reads a JSON string, the usual one without escapes in one copy.
func unquote(b []byte) (string, error) {
	if len(b) >= 2 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return "", errors.New("a text must be a string")
	}
	return s, nil
}

// complaint is why a request is refused with 400.
type complaint struct{ code, text string }

const (
	codeInvalid    = "INVALID_REQUEST"
	codeValidation = "VALIDATION_ERROR"
	codeContext    = "CONTEXT_LENGTH_EXCEEDED"
)

// parse reads the body and checks it for the endpoint.
func (a *ask) parse(body []byte, e endpoint, q *Quirks) *complaint {
	*a = ask{}
	if err := json.Unmarshal(body, a); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return &complaint{codeInvalid, "invalid request body: " + wrong.Field + " is of the wrong type (" + wrong.Value + ")"}
		}
		return &complaint{codeInvalid, "invalid request body: " + err.Error()}
	}
	missing := func(field string) *complaint { return &complaint{codeValidation, field + " is required"} }
	if e == inference && !isID(a.RequestID) {
		return &complaint{codeValidation, "request_id must be a UUID"}
	}
	if a.Model == "" {
		return missing("model")
	}
	switch e {
	case chat:
		if len(a.Messages) == 0 {
			return missing("messages")
		}
		for i := range a.Messages {
			if a.Messages[i].Role == "" {
				return missing("messages[" + strconv.Itoa(i) + "].role")
			}
			if q.StringContent && a.Messages[i].Content.parts {
				return &complaint{codeInvalid, "invalid request body: messages.content is of the wrong type (array)"}
			}
		}
	case completions:
		if a.Prompt.text == "" {
			return missing("prompt")
		}
		if q.StringContent && a.Prompt.list {
			return &complaint{codeInvalid, "invalid request body: prompt is of the wrong type (array)"}
		}
	case embeddings:
		if len(a.Input.texts) == 0 {
			return missing("input")
		}
	case responses:
		if len(a.Input.texts)+len(a.Input.messages) == 0 {
			return missing("input")
		}
		a.MaxTokens, a.MaxCompletionTokens = a.MaxOutputTokens, nil
	case inference:
		if a.Payload == "" {
			return missing("payload")
		}
	}
	if a.MaxTokens == nil {
		a.MaxTokens = a.MaxCompletionTokens
	}
	if q.DroppedFields {
		// What the router does not know it does not pass on; nor zeros.
		a.CacheSalt, a.IgnoreEOS, a.N, a.StreamOptions.IncludeUsage = "", false, nil, false
		if a.MaxTokens != nil && *a.MaxTokens == 0 {
			a.MaxTokens = nil
		}
		if a.Temperature != nil && *a.Temperature == 0 {
			a.Temperature = nil
		}
	}
	switch {
	case a.MaxTokens != nil && *a.MaxTokens < 1:
		return &complaint{codeValidation, "max_tokens must be at least 1"}
	case a.N != nil && *a.N != 1:
		return &complaint{codeValidation, "n must be 1: the models give one answer"}
	case a.Temperature != nil && (*a.Temperature < 0 || *a.Temperature > 2):
		return &complaint{codeValidation, "temperature must be from 0 to 2"}
	}
	return nil
}

// appendPrompt appends the tokens of the prompt. For a conversation they are,
// for each message, those of its role and of its text, and in the end the role
// of the answer; so that an answer sent back as history continues the prompt
// that it answered.
func (a *ask) appendPrompt(dst []llm.Token, e endpoint) []llm.Token {
	var t llm.Tokenizer
	switch e {
	case chat:
		for i := range a.Messages {
			dst = t.Tokenize(dst, a.Messages[i].Role)
			dst = t.Tokenize(dst, a.Messages[i].Content.text)
		}
		return t.Tokenize(dst, "assistant")
	case embeddings:
		for _, text := range a.Input.texts {
			dst = t.Tokenize(dst, text)
		}
		return dst
	case responses: // the same prompt as that of the chat
		for _, text := range a.Input.texts {
			dst = t.Tokenize(t.Tokenize(dst, "user"), text)
		}
		for i := range a.Input.messages {
			dst = t.Tokenize(t.Tokenize(dst, a.Input.messages[i].Role), a.Input.messages[i].Content.text)
		}
		return t.Tokenize(dst, "assistant")
	case inference:
		return t.Tokenize(dst, a.Payload)
	default:
		return t.Tokenize(dst, a.Prompt.text)
	}
}

// script decides how long the answer is, why it ends and, by its seed, what it
// says: the same prompt to the same model is answered alike.
func (a *ask) script(m *Model, prompt []llm.Token, seed uint64) (length int, finish string, textSeed uint64) {
	h := seed
	for i := range len(m.Name) {
		h = scramble(h ^ uint64(m.Name[i]))
	}
	for _, t := range prompt {
		h = scramble(h ^ uint64(t))
	}
	var rng rand.PCG
	rng.Seed(seed, h)
	length, finish = m.OutputTokens.draw(&rng), "stop"
	room := min(m.ContextLength-len(prompt), maxOutput)
	if a.MaxTokens != nil {
		room = min(room, *a.MaxTokens)
	}
	if length > room || a.IgnoreEOS && a.MaxTokens != nil {
		length, finish = room, "length"
	}
	return length, finish, h
}

// fits returns a complaint if prompt and answer exceed the model's context.
func (a *ask) fits(m *Model, prompt int) *complaint {
	answer := 1
	if a.MaxTokens != nil {
		answer = *a.MaxTokens
	}
	if answer <= m.ContextLength-prompt {
		return nil
	}
	return &complaint{codeContext, "the maximum context length of " + m.Name + " is " + strconv.Itoa(m.ContextLength) +
		" tokens, but " + strconv.Itoa(prompt) + " in the prompt and " + strconv.Itoa(answer) + " to answer were asked for"}
}
