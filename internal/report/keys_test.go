package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
)

func TestWithdrawnKeysAreShown(t *testing.T) {
	late, soon := 59*time.Second, 3*time.Millisecond
	b := &export.Bundle{KeyLifecycle: []export.KeyLifecycle{
		{
			Action: export.Revoke, Verdict: "outlived", Reason: "1 of 2 keys were accepted later than 5s", Within: 5 * time.Second, Late: 1, Median: &soon,
			Keys: []export.WithdrawnKey{
				{Org: "acme", User: "key-check-1", LastAccepted: &late, Accepted: 81, Took: 41 * time.Millisecond},
				{Org: "globex", User: "key-check-3", FirstRefused: &soon, Effective: &soon, Refused: 5},
			},
		},
		{Action: export.Suspend, Verdict: "undecided", Reason: "1 of 1 keys were not tried", Within: 5 * time.Second, Keys: make([]export.WithdrawnKey, 1)},
	}}
	var screen, page bytes.Buffer
	if err := report.Terminal(&screen, b, report.TerminalOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Withdrawn keys", "2 keys revoked  OUTLIVED", "1 of 2 keys were accepted later than 5s", "refused after: median 3ms, max never seen; allowed 5s",
		"1 key of suspended users  undecided",
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, screen.String())
		}
	}
	if err := report.HTML(&page, b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<section id="keys">`, `href="#keys"`, "2 keys revoked: OUTLIVED: 1 of 2", "withdrawing took up to 41ms", "acme / key-check-1", "unknown"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	page.Reset()
	if err := report.HTML(&page, &export.Bundle{}); err != nil || strings.Contains(page.String(), `id="keys"`) {
		t.Errorf("a section about nothing, or %v", err)
	}
}
