package worker_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/requestlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// requestLine is what is looked at of a line of requests.jsonl.
type requestLine struct {
	At               time.Time
	TraceID, SpanID  string
	Outcome, User    string
	E2ENs, TTFTNs    int64
	GapsNs           []int64
	CompletionTokens int
	CostMicroUSD     int64
}

func requestLines(t *testing.T, path string) (lines []requestLine) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // in a folder of the test's
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	for s := bufio.NewScanner(f); s.Scan(); {
		var l requestLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, s.Text())
		}
		lines = append(lines, l)
	}
	return lines
}

// TestEveryRequestHasALine: there is a line for each request that the platform
// saw, under the name that it was given, and their sums are those of the result.
func TestEveryRequestHasALine(t *testing.T) {
	p := target(t, platformsim.Options{})
	var folder string
	began := time.Now()
	b, err := prepare(t, targets(p)+busy, func(o *worker.Options) { o.Requests, folder = true, o.Folder }).Run(t.Context())
	if err != nil || strings.Contains(strings.Join(b.Warnings, "\n"), "requests.jsonl") {
		t.Fatal(err, b.Warnings)
	}
	lines := map[string]requestLine{}
	var tokens, cost int64
	all := requestLines(t, worker.RequestsPath(folder, 0, 1))
	for _, l := range all {
		lines["00-"+l.TraceID+"-"+l.SpanID] = l
		tokens, cost = tokens+int64(l.CompletionTokens), cost+l.CostMicroUSD
		if l.At.Before(began) || l.At.After(time.Now()) || l.User == "" || l.E2ENs <= 0 {
			t.Errorf("%+v", l)
		}
	}
	truth := p.Truth()
	for _, e := range truth {
		l, found := lines[strings.TrimSuffix(strings.TrimSuffix(e.Traceparent, "-00"), "-01")]
		streamed := 0
		if len(e.Chunks) > 0 {
			streamed = len(e.Chunks) - 1
		}
		if !found || l.Outcome != "success" || l.CompletionTokens != e.CompletionTokens || len(l.GapsNs) != streamed || (l.TTFTNs > 0) != e.Stream {
			t.Errorf("%s: %+v, in truth %+v", e.Traceparent, l, e)
		}
	}
	sum := b.Summary.Overall().All
	if len(truth) == 0 || len(lines) != len(truth) || len(all) != len(truth) || tokens != int64(sum.CompletionTokens) || cost != sum.CostMicroUSD { //nolint:gosec // few
		t.Errorf("%d lines of %d requests; %d tokens for %d micro-dollars, not %d for %d", len(all), len(truth), tokens, cost, sum.CompletionTokens, sum.CostMicroUSD)
	}
}

// A run does not fail because its requests cannot be written down.
func TestRequestsThatCannotBeWritten(t *testing.T) {
	b, err := prepare(t, targets(target(t, platformsim.Options{}))+busy, func(o *worker.Options) {
		o.Requests = true
		if err := os.Mkdir(worker.RequestsPath(o.Folder, o.Worker, o.Workers)+requestlog.Partial, 0o700); err != nil {
			t.Fatal(err)
		}
	}).Run(t.Context())
	if err != nil || b.Verdict.Status != verdict.Passed || !strings.Contains(strings.Join(b.Warnings, "\n"), "not written one by one") {
		t.Errorf("%v, %+v, %q", err, b.Verdict, b.Warnings)
	}
}
