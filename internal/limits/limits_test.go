package limits

import (
	"errors"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

func TestCheck(t *testing.T) {
	all := Limits{CostMicroUSD: 10_000_000, ErrorRate: 0.1, HasErrorRate: true, Duration: time.Minute, Requests: 1000}
	for _, c := range []struct {
		name    string
		limits  Limits
		totals  stats.Totals
		elapsed time.Duration
		want    string
	}{
		{"nothing is limited", Limits{}, stats.Totals{Requests: 1e9, Failed: 1e9, CostMicroUSD: 1e12}, 1e6 * time.Hour, ""},
		{"below all", all, stats.Totals{Requests: 999, Succeeded: 999, CostMicroUSD: 9_999_999}, 59 * time.Second, ""},
		{"cost", all, stats.Totals{Requests: 1, Succeeded: 1, CostMicroUSD: 10_000_000}, 0,
			"the cost limit was reached: $10.000000 of $10.000000"},
		{"requests", all, stats.Totals{Requests: 1000, Succeeded: 1000}, 0, "the request limit was reached: 1000 of 1000"},
		{"duration", all, stats.Totals{}, time.Minute, "the duration limit was reached: 1m0s of 1m0s"},
		{"errors, too few to tell", all, stats.Totals{Requests: 9, Failed: 9}, 0, ""},
		{"few errors, which may be chance", all, stats.Totals{Requests: 49, Succeeded: 42, Failed: 7}, 0, ""},
		{"few errors beyond doubt", all, stats.Totals{Requests: 11, Succeeded: 1, Failed: 10}, 0,
			"the error rate limit was reached: 90.91% of 10.00%"},
		{"one early error where none is allowed", Limits{HasErrorRate: true}, stats.Totals{Requests: 10, Succeeded: 9, Failed: 1}, 0,
			"the error rate limit was reached: 10.00% of 0.00%"},
		{"errors at the limit", all, stats.Totals{Requests: 100, Succeeded: 90, Failed: 10}, 0, ""},
		{"refusals are errors", all, stats.Totals{Requests: 100, Succeeded: 89, Failed: 5, Refused: 6}, 0,
			"the error rate limit was reached: 11.00% of 10.00%"},
		{"cancelled are not", all, stats.Totals{Requests: 200, Succeeded: 100, Cancelled: 100}, 0, ""},
		{"no error allowed", Limits{HasErrorRate: true}, stats.Totals{Requests: 100, Succeeded: 99, Failed: 1}, 0,
			"the error rate limit was reached: 1.00% of 0.00%"},
	} {
		err := c.limits.Check(c.totals, c.elapsed)
		var exceeded *Exceeded
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &exceeded) || err.Error() != c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
