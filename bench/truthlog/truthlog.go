// Package truthlog reads what a platform logged of the requests that it
// served, to hold a measurement against it. The form is that of `loadtest
// platform --truth`: a header, and a line of JSON for every request.
package truthlog

import (
	"bytes"
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
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Read returns the entries of a log.
func Read(path string) ([]platformsim.Entry, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	_, data, _ = bytes.Cut(data, []byte("\n")) // the header
	var entries []platformsim.Entry
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var e platformsim.Entry
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return entries, fmt.Errorf("the platform's log: %w", err)
		}
		entries = append(entries, e)
	}
}

// Metric is one latency, as measured and as logged.
type Metric struct {
	Name  string // TTFT, e2e or ITL
	Ours  *stats.Histogram
	Truth []time.Duration // in ascending order
}

// Metrics are the latencies of successes, the pre-flight request left out,
// beside those of a result. All phases of the run must be measured.
func Metrics(entries []platformsim.Entry, ours *stats.Latencies) []Metric {
	var ttft, e2e, itl []time.Duration
	for i := range entries {
		e := &entries[i]
		if !counts(e) {
			continue
		}
		e2e = append(e2e, e.Done-e.Arrived)
		for i, left := range e.Chunks {
			if i == 0 {
				ttft = append(ttft, left-e.Arrived)
			} else {
				itl = append(itl, left-e.Chunks[i-1])
			}
		}
	}
	for _, list := range [][]time.Duration{ttft, e2e, itl} {
		slices.Sort(list)
	}
	return []Metric{{"TTFT", &ours.TTFT, ttft}, {"e2e", &ours.E2E, e2e}, {"ITL", &ours.ITL, itl}}
}

// counts reports whether a request is one of those that latencies are of.
func counts(e *platformsim.Entry) bool {
	return e.Status == 200 && !e.Aborted && !strings.Contains(e.ID, "-pre-flight")
}

// Quantile returns a quantile of both, by nearest rank; 0 and 0 of nothing.
func (m Metric) Quantile(q float64) (ours, truth time.Duration) {
	if len(m.Truth) == 0 {
		return 0, 0
	}
	return m.Ours.Quantile(q), nearest(m.Truth, q)
}

// Rounding is by how much the histogram's p50, p95 or p99 differ at most from
// the exact ones, if it is given exactly what was logged.
func (m Metric) Rounding() (worst float64) {
	var h stats.Histogram
	for _, d := range m.Truth {
		h.Record(d)
	}
	for _, q := range []float64{0.50, 0.95, 0.99} {
		if _, exact := m.Quantile(q); exact > 0 {
			worst = max(worst, math.Abs(float64(h.Quantile(q)-exact))/float64(exact))
		}
	}
	return worst
}
