package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
)

func TestSearchIsShown(t *testing.T) {
	ttft := func(ms time.Duration) *time.Duration { d := ms * time.Millisecond; return &d }
	b := &export.Bundle{Search: &capacity.Search{
		Unit: "arrivals per second", Max: 128, Outcome: capacity.Found, Limit: 35.12, Low: 33.4, High: 36.9, Level: 0.95, Held: 35, Broke: "ttft p95 was 210ms, promised ≤ 100ms",
		Limits: []time.Duration{100 * time.Millisecond},
		Steps: []capacity.Step{
			{Load: 32, Phase: "step 1", Passed: true, TTFT: ttft(20), RequestsPerSecond: 31.5, Requests: 63},
			{Load: 64, Phase: "step 2", Broke: []string{"ttft p95 was 2.1s, promised ≤ 100ms"}, TTFT: ttft(2100), RequestsPerSecond: 36.6, ErrorRate: 0.025, Requests: 73},
			{Load: 36.9, Phase: "step 3", OwnLimit: "this machine was late itself", RequestsPerSecond: 30},
		},
	}}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Steps  load in arrivals per second", "      32      20ms       31.5      0%  held",
		"      64      2.1s       36.6    2.5%  ttft p95 was 2.1s, promised ≤ 100ms", "    36.9         –         30      0%  not counted: this machine was late itself",
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, screen.String())
		}
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<section id="search">`, `href="#search"`, "sustains 35.12 arrivals per second (95% interval 33.4 to 36.9); the first thing to break: ttft p95 was 210ms, promised ≤ 100ms.",
		"TTFT p95, milliseconds", ">promised<", "not counted: this machine was late itself", "step 2",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(page.String(), "<circle"); n < 8 { // three curves of three steps, less a TTFT that nobody knows
		t.Errorf("%d points are drawn", n)
	}
	page.Reset()
	if err := report.HTML(&page, &export.Bundle{}); err != nil || strings.Contains(page.String(), `id="search"`) {
		t.Errorf("a section about nothing, or %v", err)
	}
}
