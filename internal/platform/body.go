package platform

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
)

var endpointPaths = map[Endpoint]string{
	Chat:        "/v1/chat/completions",
	Completions: "/v1/completions",
	Embeddings:  "/v1/embeddings",
	Responses:   "/v1/responses",
	ModelList:   "/v1/models",
}

// check refuses what no server could answer, before anything is sent.
func (q *Request) check() error {
	switch {
	case endpointPaths[q.Endpoint] == "":
		return fmt.Errorf("the endpoint %q is not one of chat, completions, embeddings, responses, models", string(q.Endpoint))
	case q.Model == "" && q.Endpoint != ModelList && q.Body == nil:
		return errors.New("no model is named")
	case q.Endpoint == Chat && len(q.Messages) == 0 && q.Body == nil:
		return errors.New("a chat needs at least one message")
	case q.Stream && !q.Endpoint.Generates():
		return fmt.Errorf("%s cannot be streamed", q.Endpoint)
	case q.HasTemperature && (math.IsNaN(q.Temperature) || math.IsInf(q.Temperature, 0)):
		return errors.New("the temperature is not a number")
	case !headerSafe(q.Key.Reveal()):
		return errors.New("the key holds a line break or another character that no header may carry")
	case !headerSafe(q.ID):
		return errors.New("the request id holds a line break or another character that no header may carry")
	}
	return nil
}

func headerSafe[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// BodySize is the length in bytes of the body that a request is sent with.
func (q *Request) BodySize() int {
	b := pool.Get().(*buffers)
	defer b.release()
	b.request = q.appendBody(b.request[:0])
	return len(b.request)
}

// appendBody appends the JSON of a request that was checked.
func (q *Request) appendBody(b []byte) []byte {
	if q.Body != nil {
		b = append(b, q.Body...)
		if end := len(b) - 1; q.CacheSalt != "" && end > 0 && b[end] == '}' && !bytes.Contains(q.Body, []byte(`"cache_salt"`)) {
			b = append(b[:end], `,"cache_salt":`...)
			b = append(jsonstring.Append(b, q.CacheSalt), '}')
		}
		return b
	}
	b = append(b, `{"model":`...)
	b = jsonstring.Append(b, q.Model)
	switch q.Endpoint {
	case Chat:
		b = append(b, `,"messages":[`...)
		for i := range q.Messages {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"role":`...)
			b = jsonstring.Append(b, q.Messages[i].Role)
			b = append(b, `,"content":`...)
			b = jsonstring.Append(b, q.Messages[i].Content)
			b = append(b, '}')
		}
		b = append(b, ']')
	case Completions:
		b = append(b, `,"prompt":`...)
		b = jsonstring.Append(b, q.Input)
	case Embeddings, Responses:
		b = append(b, `,"input":`...)
		b = jsonstring.Append(b, q.Input)
	}
	if q.Endpoint != Embeddings {
		if q.MaxTokens != 0 {
			if q.Endpoint == Responses {
				b = append(b, `,"max_output_tokens":`...)
			} else {
				b = append(b, `,"max_tokens":`...)
			}
			b = strconv.AppendInt(b, int64(q.MaxTokens), 10)
		}
		if q.HasTemperature {
			b = append(b, `,"temperature":`...)
			b = strconv.AppendFloat(b, q.Temperature, 'g', -1, 64)
		}
		if q.Stream {
			b = append(b, `,"stream":true`...)
			if q.Endpoint != Responses { // whose last event always tells
				b = append(b, `,"stream_options":{"include_usage":true}`...)
			}
		}
	}
	if q.CacheSalt != "" {
		b = append(b, `,"cache_salt":`...)
		b = jsonstring.Append(b, q.CacheSalt)
	}
	return append(b, '}')
}
