package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
)

func TestChaosAndThrottlingAreShown(t *testing.T) {
	after := func(d time.Duration) *time.Duration { return &d }
	b := &export.Bundle{
		Throttled: []export.Throttle{{Limit: "maxConcurrentReqs", Requests: 12, Total: 6 * time.Second, Longest: 2 * time.Second}},
		Chaos: &export.Chaos{
			Injected: 31, Faults: []export.ChaosFault{{Fault: "outage", Requests: 30}, {Fault: "slow_read", Requests: 1}}, Delayed: 4, DelayTotal: 80 * time.Millisecond,
			Outages: []export.Outage{
				{At: 8 * time.Second, Duration: 2 * time.Second, Recoveries: []export.Recovery{
					{Org: "acme", Answers: 40, FirstSuccess: after(300 * time.Millisecond), SuccessRate: after(3 * time.Second)},
					{Org: "globex", Answers: 10, FirstSuccess: after(1200 * time.Millisecond)},
				}},
				{At: 20 * time.Second, Duration: time.Second},
			},
		},
	}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Injected by us  in no other number but cost",
		"31 requests harmed: 30 by outages, 1 by slow reads; 4 delayed, by 20ms on average",
		"outage at 8s for 2s", "first success after  300ms to 1.2s, globex last", "success rate back    3s, not in this run for 1 of 2",
		"nobody asked again",
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, screen.String())
		}
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Broken on purpose by this tool", "31 requests harmed", "Recovery after each outage", "globex", "12 requests by limits.maxConcurrentReqs"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
