package record_test

import (
	"encoding/json"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// The example of the W3C recommendation, section 3.2.
func TestTraceparent(t *testing.T) {
	const header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var trace record.Trace
	if err := trace.ID.UnmarshalText([]byte(header[3:35])); err != nil {
		t.Fatal(err)
	}
	trace.Span, trace.Sampled = record.SpanID{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7}, true
	if got := string(trace.AppendHeader(nil)); got != header {
		t.Errorf("%s instead of %s", got, header)
	}
	trace.Sampled = false
	if got := string(trace.AppendHeader(nil)); got != header[:53]+"00" {
		t.Errorf("not sampled: %s", got)
	}
}

func TestTraceIDAsJSON(t *testing.T) {
	type document struct {
		ID record.TraceID `json:"id,omitzero"`
	}
	for _, want := range []string{`{}`, `{"id":"4bf92f3577b34da6a3ce929d0e0e4736"}`} {
		var d document
		if err := json.Unmarshal([]byte(want), &d); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(d); err != nil || string(got) != want {
			t.Errorf("%s, %v instead of %s", got, err, want)
		}
	}
	for _, wrong := range []string{`{"id":"4bf9"}`, `{"id":"zzf92f3577b34da6a3ce929d0e0e4736"}`} {
		if err := json.Unmarshal([]byte(wrong), new(document)); err == nil {
			t.Errorf("%s is taken for a trace", wrong)
		}
	}
}
