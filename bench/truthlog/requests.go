package truthlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// Request is one request as the tool saw it: a line of what `loadtest run
// --log-requests` leaves. Durations count from At.
type Request struct {
	At      time.Time       `json:"at"` // when it was due
	SpanID  string          `json:"spanId"`
	Outcome string          `json:"outcome"`
	Sent    time.Duration   `json:"sentNs"`
	Reused  bool            `json:"reused"` // the connection stood already
	TTFT    time.Duration   `json:"ttftNs"`
	E2E     time.Duration   `json:"e2eNs"`
	Gaps    []time.Duration `json:"gapsNs"`
}

// Requests returns the lines of a file.
func Requests(path string) (list []Request, err error) {
	f, err := os.Open(path) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	for d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20)); ; {
		var r Request
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return list, fmt.Errorf("the tool's requests: %w", err)
		}
		list = append(list, r)
	}
}

// Errors are ours minus the truth, of one request after the other. Ours count
// from when a request was due; the truth counts from when its head had reached
// the platform's machine, to when the platform's write of an event, or of the end,
// had returned. So how late we sent is an error, and so are our write, the
// way to and fro, and what the platform is late in writing down, which makes it
// negative. How long connecting took the log cannot know, so requests that had to
// are left out of all but ITL.
type Errors struct {
	Connected int // requests that had to connect
	TTFT      []time.Duration
	SinceSent []time.Duration // TTFT without how late we sent
	ITL       []time.Duration // of each gap
	E2E       []time.Duration
}

// Match finds each success of the platform's log, the pre-flight request left
// out, among our requests, by the span in its traceparent. It is an error if one
// is missing or there are other events in it.
func Match(entries []platformsim.Entry, requests []Request) (e Errors, err error) {
	ours := make(map[string]*Request, len(requests))
	for i := range requests {
		ours[requests[i].SpanID] = &requests[i]
	}
	for i := range entries {
		entry := &entries[i]
		if !counts(entry) {
			continue
		}
		parts := strings.Split(entry.Traceparent, "-")
		if len(parts) != 4 {
			return e, fmt.Errorf("the platform's log has no traceparent for the request %s", entry.ID)
		}
		r := ours[parts[2]]
		if r == nil || r.Outcome != "success" {
			return e, fmt.Errorf("the request %s succeeded by the platform's log, and is no success of ours", entry.ID)
		}
		if r.Reused {
			e.E2E = append(e.E2E, r.E2E-(entry.Done-entry.Arrived))
		} else {
			e.Connected++
		}
		if len(entry.Chunks) == 0 {
			continue
		}
		if len(r.Gaps) != len(entry.Chunks)-1 {
			return e, fmt.Errorf("the request %s had %d events by the platform's log and %d by ours", entry.ID, len(entry.Chunks), len(r.Gaps)+1)
		}
		if r.Reused {
			ttft := r.TTFT - (entry.Chunks[0] - entry.Arrived)
			e.TTFT, e.SinceSent = append(e.TTFT, ttft), append(e.SinceSent, ttft-r.Sent)
		}
		for i, gap := range r.Gaps {
			e.ITL = append(e.ITL, gap-(entry.Chunks[i+1]-entry.Chunks[i]))
		}
	}
	return e, nil
}

// Spread are the median of errors, and the 99th percentile and the greatest of
// their sizes, by nearest rank; 0 of none.
func Spread(errs []time.Duration) (p50, p99, most time.Duration) {
	if len(errs) == 0 {
		return 0, 0, 0
	}
	signed := slices.Sorted(slices.Values(errs))
	sizes := make([]time.Duration, len(errs))
	for i, e := range errs {
		sizes[i] = e.Abs()
	}
	slices.Sort(sizes)
	return nearest(signed, 0.50), nearest(sizes, 0.99), sizes[len(sizes)-1]
}

// nearest is a quantile of what is sorted, by nearest rank.
func nearest(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(math.Ceil(q*float64(len(sorted))-1e-9))-1]
}
