package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// kinds is a run with three types of request, after one that was of none.
func kinds() *export.Bundle {
	c := stats.NewCollector(stats.Objective{})
	add := func(n int, r record.Record) {
		r.Org, r.Model, r.UsageKnown, r.CostKnown, r.Final = "acme", "m", true, true, true
		r.Done = r.Scheduled + 300*time.Millisecond
		for range n {
			c.Add(&r)
		}
	}
	add(1, record.Record{Endpoint: "chat", PromptTokens: 10})
	add(600, record.Record{Endpoint: "chat", TestType: "random_short", Measured: true, PromptTokens: 50, CachedTokens: 1, FirstToken: 40 * time.Millisecond})
	add(300, record.Record{Endpoint: "chat", TestType: "cached", Measured: true, PromptTokens: 100, CachedTokens: 90, FirstToken: 20 * time.Millisecond})
	add(50, record.Record{Endpoint: "chat", TestType: "cached", Measured: true, Outcome: record.Failed, Kind: record.Validation,
		Checks: []record.Check{{Name: "status is 200"}, {Name: "$.a is not empty", Problem: "it is empty"}}, Values: []record.Value{{Name: "tokens", Value: 12}}})
	add(100, record.Record{Endpoint: "embeddings", TestType: "vectors", Measured: true, PromptTokens: 100})
	return &export.Bundle{Run: export.Run{ID: "r1", Scenario: "kinds", Duration: time.Minute, MeasuredDuration: time.Minute}, Summary: c.Summary()}
}

func TestKindsOfRequestAreCompared(t *testing.T) {
	var out bytes.Buffer
	if err := report.Terminal(&out, kinds(), report.TerminalOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Test types\n",
		"requests   share  errors   cached  ttft p95   e2e p95\n",
		"random_short 600 57.1% 0% 2.00% 40ms 300ms",
		"cached 350 33.3% 14.3% 90.0% 20ms 300ms",
		"vectors 100 9.52% 0% 0% – 300ms",
		"50 failed; an answer that fails one is an error",
		"✗ 50 cached: $.a is not empty (failed 50 of 50 times: it is empty)",
		"✓ 50 cached: status is 200",
		"cached: tokens mean 12, 12 to 12, of 50",
		"Endpoints\n",
		"embeddings 100 9.52% 0% 0% – 300ms",
	} {
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
		if !strings.Contains(squeeze(out.String()), squeeze(want)) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := report.Terminal(&out, quiet(), report.TerminalOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); strings.Contains(s, "Test types") || strings.Contains(s, "Endpoints") {
		t.Errorf("one kind is compared with itself:\n%s", s)
	}
}

func TestThePageShowsChecks(t *testing.T) {
	var out bytes.Buffer
	if err := report.HTML(&out, kinds()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"checks-table", "$.a is not empty", "it is empty", "values-table", "tokens"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	out.Reset()
	if err := report.HTML(&out, quiet()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "checks-table") {
		t.Error("a run without checks has a table of them")
	}
}
