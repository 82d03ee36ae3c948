package record_test

import (
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

func TestDerivedTimes(t *testing.T) {
	const ms = time.Millisecond
	r := &record.Record{
		Scheduled: 100 * ms, Sent: 130 * ms, FirstToken: 180 * ms, LastToken: 480 * ms, Done: 500 * ms,
		Chunks: 5, FirstChunkTokens: 2, CompletionTokens: 12, UsageKnown: true,
	}
	if got := r.E2E(); got != 400*ms {
		t.Errorf("E2E %v: it counts from the schedule", got)
	}
	if got, ok := r.TTFT(); !ok || got != 80*ms {
		t.Errorf("TTFT %v, %v: it counts from the schedule", got, ok)
	}
	if got, ok := r.TPOT(); !ok || got != 30*ms {
		t.Errorf("TPOT %v, %v: want 300 ms over the 10 tokens after the first chunk", got, ok)
	}
	if got := r.SendLag(); got != 30*ms {
		t.Errorf("send lag %v", got)
	}
	early := &record.Record{Scheduled: 5 * ms, Sent: 4 * ms}
	if got := early.SendLag(); got != 0 {
		t.Errorf("who leaves early has no lag, not %v", got)
	}
}

func TestUnknownIsNotZero(t *testing.T) {
	for name, r := range map[string]*record.Record{
		"a whole answer":           {Done: 9, CompletionTokens: 9, UsageKnown: true},
		"no usage":                 {FirstToken: 1, LastToken: 9, Chunks: 5, CompletionTokens: 9},
		"everything in one chunk":  {FirstToken: 1, LastToken: 1, Chunks: 1, FirstChunkTokens: 9, CompletionTokens: 9, UsageKnown: true},
		"all tokens in the first":  {FirstToken: 1, LastToken: 9, Chunks: 2, FirstChunkTokens: 9, CompletionTokens: 9, UsageKnown: true},
		"fewer tokens than chunks": {FirstToken: 1, LastToken: 9, Chunks: 5, FirstChunkTokens: 3, CompletionTokens: 2, UsageKnown: true},
	} {
		if got, ok := r.TPOT(); ok {
			t.Errorf("%s: TPOT %v", name, got)
		}
	}
	if _, ok := (&record.Record{Done: 9}).TTFT(); ok {
		t.Error("a TTFT without a stream")
	}
}

func TestTeeFeedsEverySink(t *testing.T) {
	var got []string
	sink := func(name string) record.Sink {
		return record.SinkFunc(func(r *record.Record) { got = append(got, name+r.ID) })
	}
	record.Tee{sink("a"), sink("b")}.Add(&record.Record{ID: "1"})
	if len(got) != 2 || got[0] != "a1" || got[1] != "b1" {
		t.Errorf("%q", got)
	}
}

func TestOutcomeNames(t *testing.T) {
	for o, want := range map[record.Outcome]string{record.Success: "success", record.Refused: "refused", record.Failed: "failed", record.Cancelled: "cancelled", 9: "unknown"} {
		if got := o.String(); got != want {
			t.Errorf("outcome %d is %q, want %q", o, got, want)
		}
	}
}
