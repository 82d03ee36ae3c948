package truthlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/truthlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

const ms = time.Millisecond

func entry(span string, change func(*platformsim.Entry)) platformsim.Entry {
	e := platformsim.Entry{
		ID: "run-" + span, Traceparent: "00-0123-" + span + "-01", Status: 200,
		Arrived: 100 * ms, Chunks: []time.Duration{120 * ms, 130 * ms, 145 * ms}, Done: 146 * ms,
	}
	change(&e)
	return e
}

func TestMatch(t *testing.T) {
	same := func(*platformsim.Entry) {}
	request := func(span string) truthlog.Request {
		return truthlog.Request{SpanID: span, Outcome: "success", Reused: true, Sent: 2 * ms, TTFT: 25 * ms, Gaps: []time.Duration{9 * ms, 15 * ms}, E2E: 50 * ms}
	}
	whole, first := request("b"), request("c")
	whole.TTFT, whole.Gaps = 0, nil
	first.Reused = false
	got, err := truthlog.Match([]platformsim.Entry{
		entry("b", func(e *platformsim.Entry) { e.Chunks = nil }),
		entry("a", same), entry("c", same),
		entry("refused", func(e *platformsim.Entry) { e.Status = 429 }),
		entry("probe", func(e *platformsim.Entry) { e.ID += "-pre-flight" }),
	}, []truthlog.Request{request("a"), whole, first})
	want := truthlog.Errors{
		Connected: 1, TTFT: []time.Duration{5 * ms}, SinceSent: []time.Duration{3 * ms}, ITL: []time.Duration{-ms, 0, -ms, 0}, E2E: []time.Duration{4 * ms, 4 * ms},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}

	failed := request("a")
	failed.Outcome = "failed"
	short := request("a")
	short.Gaps = short.Gaps[:1]
	for want, ours := range map[string][]truthlog.Request{
		"is no success of ours":                             {request("c")},
		"succeeded by the platform's log":                   {failed},
		"3 events by the platform's log and 2 by ours":      {short},
		"the platform's log has no traceparent for the req": nil,
	} {
		e := entry("a", func(e *platformsim.Entry) {
			if ours == nil {
				e.Traceparent = ""
			}
		})
		if _, err := truthlog.Match([]platformsim.Entry{e}, ours); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSpread(t *testing.T) {
	var errs []time.Duration
	for i := range 200 {
		errs = append(errs, time.Duration(i-150)*ms) // −150 to 49 ms
	}
	if p50, p99, most := truthlog.Spread(errs); p50 != -51*ms || p99 != 148*ms || most != 150*ms {
		t.Errorf("%v, %v, %v", p50, p99, most)
	}
	if p50, p99, most := truthlog.Spread(nil); p50 != 0 || p99 != 0 || most != 0 {
		t.Errorf("of nothing: %v, %v, %v", p50, p99, most)
	}
}

func TestRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	line := `{"at":"2026-11-23T22:00:01.5Z","spanId":"a","outcome":"success","sentNs":1,"reused":true,"ttftNs":2,"e2eNs":4,"gapsNs":[1,1],"ignored":true}`
	if err := os.WriteFile(path, []byte(line+"\n"+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := truthlog.Request{
		At: time.Date(2026, 11, 23, 22, 0, 1, 5e8, time.UTC), SpanID: "a", Outcome: "success", Reused: true, Sent: 1, TTFT: 2, E2E: 4, Gaps: []time.Duration{1, 1},
	}
	got, err := truthlog.Requests(path)
	if err != nil || fmt.Sprint(got) != fmt.Sprint([]truthlog.Request{want, want}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(line[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := truthlog.Requests(path); err == nil {
		t.Error("a line that is cut off is read")
	}
}
