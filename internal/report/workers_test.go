package report_test

import (
	"bytes"
	"errors"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report/reporttest"
)

func TestWorkersAndThoseThatWereLost(t *testing.T) {
	b := reporttest.Sample()
	b.Run.Workers, b.Run.StartSpread = 3, 1400*time.Microsecond
	b.Run.Lost = []export.Lost{{Worker: 1, Reason: "signal: killed", Requests: 1234}}
	var page, text bytes.Buffer
	if err := errors.Join(report.HTML(&page, b), report.Terminal(&text, b, report.TerminalOptions{Width: 200})); err != nil {
		t.Fatal(err)
	}
	const began = "3 workers, which began within 1.4ms"
	if !strings.Contains(text.String(), began) {
		t.Errorf("the summary does not say %q:\n%s", began, text.String())
	}
	for _, want := range []string{began, "worker 1 was lost after at least 1,234 requests, which are in no number: signal: killed"} {
		if !strings.Contains(html.UnescapeString(page.String()), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}
