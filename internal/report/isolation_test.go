package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
)

func TestIsolationIsShown(t *testing.T) {
	b := &export.Bundle{Isolation: []export.Isolation{
		{
			Kind: export.CacheSalt, Model: "m-1", Verdict: "leak", Reason: "in 2 of 12 pairs a prompt was served from the cache",
			Salts: &export.Salts{Violations: 3, Violated: []export.Violation{{Salt: "acme", ReadUnder: "globex"}, {Salt: "globex", ReadUnder: "acme"}, {Salt: "acme", ReadUnder: "globex"}},
				Pairs: make([]export.SaltPair, 12), Cold: 80 * time.Millisecond, Warm: 20 * time.Millisecond, Cross: 21 * time.Millisecond, PLeak: 3.7e-7, PClean: 0.4},
		},
		{Kind: export.CacheSalt, Model: "m-2", Verdict: "undecided", Reason: "only 3 pairs of requests were answered", Salts: &export.Salts{Pairs: make([]export.SaltPair, 3), PLeak: 1, PClean: 1}},
		{Kind: export.Budget, Org: "acme", Verdict: "violated", Reason: "acme went on for 9 requests", Budget: &export.BudgetEvidence{
			LimitMicroUSD: 2_000_000, SpentMicroUSD: 2_500_000, OverspentMicroUSD: 500_000, Overspent: 0.25, Refused: 7, Early: 1, Late: 9,
			Errors: export.Change{Before: new(0.01), After: new(0.5)}, Latency: export.Change{Before: new(0.1), After: new(0.2)},
		}},
		{Kind: export.RateLimit, Org: "globex", Verdict: "held", Reason: "50 of 76 passed", RateLimit: &export.RateEvidence{
			PerSecond: 20, Burst: 40, AtOnce: 46, Low: 19.5, High: 20.4, OvershootLow: -0.025, OvershootHigh: 0.02, Waits: 3, WrongWaits: 1,
		}},
	}}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Isolation of tenants", "cache salt isolation on m-1  LEAK", "in 2 of 12 pairs", "TTFT of a new prompt 80ms, repeated 20ms, under another salt 21ms; p = 3.7e-07 if it were like", "new, 0.4 if like repeated", "security violations: 3",
		"2 prompts of acme read under globex", "1 prompt of globex read under acme", "cache salt isolation on m-2  undecided", "only 3 pairs",
		"budget isolation on acme  VIOLATED", "spent $2.50 of $2.00, $0.50 (25.00%) too much; refused 7 times, 1 too early; 9", "the others' errors 1.00% before", "50.00%",
		"rate limit accuracy on globex  held", "46 passed at once, then 19.5 to 20.4 per second", "right 2 of 3 times",
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, screen.String())
		}
	}
	if strings.Contains(screen.String(), "new prompt 0s") {
		t.Errorf("the summary shows times that nobody measured:\n%s", screen.String())
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(page.String(), ">m-2</t")
	row, _, _ = strings.Cut(row, "</tr>")
	if n := strings.Count(row, ">–</td>"); n != 5 {
		t.Errorf("%d cells of 5 are unknown in %s", n, row)
	}
	for _, want := range []string{`<section id="isolation">`, `href="#isolation"`, "cache salt isolation on m-1: LEAK", "2 prompts of acme read under globex", "3.7e-07", "undecided", "budget isolation on acme: VIOLATED", "25.00%", "rate limit accuracy on globex: held", "-2.50%"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	page.Reset()
	if err := report.HTML(&page, &export.Bundle{}); err != nil || strings.Contains(page.String(), `id="isolation"`) {
		t.Errorf("a section about nothing, or %v", err)
	}
}

// What is not known is shown as such, and not as zero.
func TestUnknownEvidenceIsNoZero(t *testing.T) {
	b := &export.Bundle{Isolation: []export.Isolation{
		{Kind: export.CacheSalt, Model: "m-1", Verdict: "undecided", Salts: &export.Salts{Pairs: make([]export.SaltPair, 3), PLeak: 1, PClean: 1}},
		{Kind: export.Budget, Org: "acme", Verdict: "undecided", Budget: &export.BudgetEvidence{LimitMicroUSD: 2_000_000, SpentMicroUSD: 1_000_000}},
		{Kind: export.RateLimit, Org: "acme", Verdict: "undecided", RateLimit: &export.RateEvidence{PerSecond: 20, Burst: 40, AtOnce: 130}},
	}}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 200}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(screen.String(), "the others' errors – before and – after, median latency – and –") {
		t.Error(screen.String())
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"TTFT of a new prompt", "Retry-After was right", ">0ns<", ">0s<", "0 to 0 per second"} {
		if strings.Contains(screen.String(), wrong) || strings.Contains(page.String(), wrong) {
			t.Errorf("it says %q:\n%s", wrong, screen.String())
		}
	}
	if n := strings.Count(page.String(), `"num none"`); n < 5+4+3 {
		t.Errorf("%d cells are said to be unknown", n)
	}
}

func TestNoisyNeighbourIsShown(t *testing.T) {
	b := &export.Bundle{Isolation: []export.Isolation{{
		Kind: export.NoisyNeighbour, Model: "m-1", Verdict: "harmed", Reason: "p95 of TTFT 1.5s with the aggressor",
		Neighbour: &export.Neighbour{
			Aggressor: "loud", Quiet: 200 * time.Millisecond, Loud: 1500 * time.Millisecond, Ratio: 7.5, Low: 5.25, High: 8, Bar: 1.25, Rounds: make([]float64, 12), Fairness: 0.8765,
			Orgs: []export.NeighbourOrg{{Org: "calm", Wanted: 9, Goodput: 5, Fair: 9}, {Org: "loud", Wanted: 30, Goodput: 14, Fair: 10}},
		},
	}}}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"noisy neighbour on m-1  HARMED", "p95 of TTFT 1.5s with the aggressor", "Jain's fairness index of goodput was 0.876:", "calm had 5.0/s of 9.0/s wanted, fair were 9.0/s"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, screen.String())
		}
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"noisy neighbour on m-1: HARMED", "7.50 ×", "5.25 ×", "8.00 ×", "1.25 ×", "0.876", "calm", "0.56 ×", "1.40 ×"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page.String(), "p clean") {
		t.Error("a table of salts that nobody tested")
	}
}
