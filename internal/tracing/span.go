package tracing

import (
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// operations are the names that OpenTelemetry's conventions for generative AI
// give to the endpoints.
var operations = map[string]string{"completions": "text_completion"}

// span tells a request as a span: from the moment at which it was due to the
// complete answer, with what happened in between as events.
func (q *request) span() *trace.Span {
	operation := q.Endpoint
	if name, ok := operations[operation]; ok {
		operation = name
	}
	s := &trace.Span{
		TraceId: q.Trace.ID[:], SpanId: q.Trace.Span[:], Flags: 1, // sampled
		Name: operation, Kind: trace.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: q.nano(q.Scheduled), EndTimeUnixNano: q.nano(max(q.Done, q.Scheduled)),
	}
	if q.Model != "" {
		s.Name += " " + q.Model
	}
	a := attributes{}
	if q.Model != "" { // else it is of the User/Org API, or asks what models there are
		a = a.text("gen_ai.operation.name", operation).text("gen_ai.request.model", q.Model)
	}
	a = a.text("loadtest.request_id", q.ID).text("loadtest.org", q.Org).text("loadtest.user", q.User).
		text("loadtest.phase", q.Phase).text("loadtest.test_type", q.TestType).text("loadtest.outcome", q.Outcome.String()).
		text("error.type", string(q.Kind)).number("loadtest.attempt", int64(q.Attempt))
	if q.Status != 0 {
		a = a.number("http.response.status_code", int64(q.Status))
	}
	if q.UsageKnown {
		a = a.number("gen_ai.usage.input_tokens", int64(q.PromptTokens)).number("gen_ai.usage.output_tokens", int64(q.CompletionTokens))
	}
	s.Attributes = a
	event := func(name string, at time.Duration) {
		if at != 0 {
			s.Events = append(s.Events, &trace.Span_Event{Name: name, TimeUnixNano: q.nano(at)})
		}
	}
	event("sent", q.Sent)
	if dialled := q.DNS + q.Connect + q.TLS; dialled > 0 && !q.Reused {
		event("connected", q.Sent+dialled)
	}
	event("first byte", q.FirstByte)
	event("first token", q.FirstToken)
	event("last token", q.LastToken)
	if q.Outcome == record.Failed || q.Outcome == record.Refused {
		s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: valid(q.Message)}
	}
	return s
}

// valid is text that protobuf takes: one wrong byte would cost a whole batch.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (q *request) nano(offset time.Duration) uint64 { return uint64(q.epoch.Add(offset).UnixNano()) }

// attributes grow; what is empty is left out.
type attributes []*common.KeyValue

func (a attributes) text(name, value string) attributes {
	if value == "" {
		return a
	}
	return append(a, &common.KeyValue{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(value)}}})
}

func (a attributes) number(name string, value int64) attributes {
	return append(a, &common.KeyValue{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}})
}
