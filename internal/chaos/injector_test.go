package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// server answers every question at once, streamed or whole, with about 3 KB.
func server(t *testing.T) (url string, arrived *atomic.Int64) {
	t.Helper()
	arrived = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"choices":[{"message":{"content":%q},"finish_reason":"stop"}]}`, strings.Repeat("word ", 600))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 40 {
			fmt.Fprint(w, `data: {"choices":[{"delta":{"content":"some words of an answer"}}]}`, "\n\n")
		}
		fmt.Fprint(w, `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}`, "\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL, arrived
}

func TestTheClientMeetsRealErrors(t *testing.T) {
	down := []chaos.Span{{Duration: time.Hour}}
	for _, c := range []struct {
		fault   chaos.Fault
		plan    chaos.Plan
		stream  bool
		kind    record.Kind // None: it succeeds
		arrives int64
	}{
		{chaos.DNSFailure, chaos.Plan{DNSFailures: 1}, true, record.DNS, 0},
		{chaos.Failure, chaos.Plan{Failures: 1}, true, record.Connection, 0},
		{chaos.Outage, chaos.Plan{Outages: down}, true, record.Connection, 0},
		{chaos.Reset, chaos.Plan{Resets: 1}, true, record.StreamInterrupted, 1},
		{chaos.Reset, chaos.Plan{Resets: 1}, false, record.Connection, 1},
		{chaos.Truncation, chaos.Plan{Truncations: 1}, true, record.StreamInterrupted, 1},
		{chaos.None, chaos.Plan{Truncations: 1}, false, record.None, 1},
		{chaos.SlowRead, chaos.Plan{SlowReads: 1}, false, record.None, 1},
		{chaos.None, chaos.Plan{Outages: []chaos.Span{{At: time.Hour, Duration: time.Hour}}}, true, record.None, 1},
	} {
		t.Run(fmt.Sprintf("%q, stream %v", c.fault, c.stream), func(t *testing.T) {
			url, arrived := server(t)
			injector := chaos.NewInjector(c.plan, func() time.Duration { return time.Minute })
			client, err := platform.NewClient(platform.Connection{BaseURL: url, Wrap: injector.Wrap}, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			q := platform.Request{Endpoint: platform.Chat, Model: "m", Stream: c.stream, Messages: []platform.Message{{Role: "user", Content: "hello"}}}
			var x platform.Exchange
			strike := injector.Next(7, c.stream)
			err = client.Do(strike.Context(t.Context()), &q, &x)
			var perr *platform.Error
			switch {
			case c.kind == record.None && err != nil:
				t.Errorf("Do = %v", err)
			case c.kind != record.None && (!errors.As(err, &perr) || perr.Kind != c.kind || !perr.Temporary()):
				t.Errorf("Do = %v, want the kind %s, which may be tried again", err, c.kind)
			}
			if strike.Hit() != (c.fault != chaos.None) || arrived.Load() != c.arrives {
				t.Errorf("hit: %v, %d requests arrived", strike.Hit(), arrived.Load())
			}
			counts := injector.Counts()
			if c.fault == chaos.None && len(counts) != 0 || c.fault != chaos.None && (len(counts) != 1 || counts[0] != (chaos.Count{Fault: c.fault, Count: 1})) {
				t.Errorf("counted %+v", counts)
			}
			// A call that is nobody's lot passes.
			if err := client.Do(t.Context(), &q, &x); err != nil {
				t.Errorf("without a strike: %v", err)
			}
		})
	}
}

// An outage that begins while an answer is read cuts it off.
func TestOutageCutsAnswersOff(t *testing.T) {
	url, _ := server(t)
	var clock atomic.Int64
	injector := chaos.NewInjector(chaos.Plan{Outages: []chaos.Span{{At: 10, Duration: 10}}}, func() time.Duration { return time.Duration(clock.Load()) })
	roundTripper := injector.Wrap(http.DefaultTransport)
	strike := injector.Next(1, true)
	req, err := http.NewRequestWithContext(strike.Context(context.Background()), http.MethodPost, url, strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := roundTripper.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	var b [64]byte
	if n, err := resp.Body.Read(b[:]); n == 0 || err != nil || strike.Hit() {
		t.Fatalf("before the outage: %d bytes, %v, hit: %v", n, err, strike.Hit())
	}
	clock.Store(10)
	if n, err := resp.Body.Read(b[:]); n != 0 || err == nil || !strings.Contains(err.Error(), "connection reset") || !strike.Hit() {
		t.Errorf("in the outage: %d bytes, %v, hit: %v", n, err, strike.Hit())
	}
	clock.Store(20)
	if _, err := resp.Body.Read(b[:]); err == nil {
		t.Error("after the outage the answer went on")
	}
}
