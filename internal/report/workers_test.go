package report_test

import (
	"bytes"
	"errors"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report/reporttest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

func TestWorkersAndThoseThatWereLost(t *testing.T) {
	b := reporttest.Sample()
	b.Run.Workers, b.Run.StartSpread = 3, 1400*time.Microsecond
	b.Run.Lost = []export.Lost{{Worker: 1, Reason: "signal: killed", Requests: 1234}, {Worker: 2, Reason: "OOMKilled", Replaced: true}}
	worker.Judge(&config.Scenario{}, b)
	var page, text bytes.Buffer
	if err := errors.Join(report.HTML(&page, b), report.Terminal(&text, b, report.TerminalOptions{Width: 200})); err != nil {
		t.Fatal(err)
	}
	const began = "3 workers, which began within 1.4ms"
	if !strings.Contains(text.String(), began) {
		t.Errorf("the summary does not say %q:\n%s", began, text.String())
	}
	const incomplete = "incomplete: attempt 0 of worker 2 of 3 was lost and replaced (OOMKilled): its requests, if it made any, are in no number"
	if !strings.Contains(text.String(), incomplete) {
		t.Errorf("the summary does not say %q:\n%s", incomplete, text.String())
	}
	for _, want := range []string{began, incomplete, "worker 1 of 3 was lost (signal: killed): its requests, at least 1,234, are in no number"} {
		if !strings.Contains(html.UnescapeString(page.String()), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}
