package live

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// writeLines writes a line every o.Every, at once when the stage or the phase
// changes, and a last one when ctx is done.
func writeLines(ctx context.Context, o Options) error {
	every := o.Every
	if every <= 0 {
		every = recently
	}
	t := &trail{window: max(recently, every)}
	if _, err := fmt.Fprintf(o.Out, "# rates and percentiles are of the last %s before each line\n", human.Duration(t.window)); err != nil {
		return err
	}
	start := time.Now()
	ticker := time.NewTicker(min(poll, every))
	defer ticker.Stop()
	var due time.Duration
	var state string
	warned := 0
	for {
		at := time.Since(start)
		s := o.Snapshot()
		t.add(at, s)
		var b strings.Builder
		for ; warned < len(s.Warnings); warned++ {
			b.WriteString("warning: " + human.Clean(s.Warnings[warned]) + "\n")
		}
		changed := state != stateOf(s)
		ended := ctx.Err() != nil
		if changed || ended || at >= due {
			b.WriteString(line(t) + "\n")
			state = stateOf(s)
			for due <= at {
				due += every
			}
		}
		if _, err := io.WriteString(o.Out, b.String()); err != nil {
			return err
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// stateOf is the stage without its counts, and the phase.
func stateOf(s Snapshot) string {
	return fmt.Sprintf("%s|%d|%s", strings.TrimRight(s.Stage, "0123456789/ "), s.PhaseIndex, s.Phase)
}

// line is the trail's latest moment as key=value pairs, always all of them and
// in the same order, except that open load has in_flight, arrivals/s and
// dropped in place of users; what has spaces is quoted.
func line(t *trail) string {
	s, r := t.now(), t.recent()
	var b strings.Builder
	pair := func(key, value string) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if strings.ContainsAny(value, " \"=") {
			value = strconv.Quote(value)
		}
		b.WriteString(key + "=" + value)
	}
	number := func(f float64) string {
		if math.IsNaN(f) {
			return human.Unknown
		}
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	quantile := func(h *stats.Histogram, q float64) string {
		if h.Count() == 0 {
			return human.Unknown
		}
		return human.Duration(h.Quantile(q))
	}
	pair("at", human.Clock(s.Elapsed))
	pair("stage", known(human.Clean(s.Stage)))
	phase := known(human.Clean(s.Phase))
	if s.Phases > 0 {
		phase += fmt.Sprintf("(%d/%d)", s.PhaseIndex+1, s.Phases)
	}
	pair("phase", phase)
	if s.Open == nil {
		pair("users", fmt.Sprintf("%d/%d", s.Users, s.TargetUsers))
	} else {
		pair("in_flight", strconv.Itoa(s.Users))
		pair("arrivals/s", number(s.Open.Rate))
		pair("dropped", strconv.FormatUint(s.Open.Dropped, 10))
	}
	pair("requests", strconv.FormatUint(s.Totals.Requests, 10))
	pair("req/s", number(r.requests))
	pair("tokens/s", number(r.tokens))
	pair("errors", human.Percent(r.errors))
	pair("ttft_p50", quantile(r.ttft, 0.5))
	pair("ttft_p95", quantile(r.ttft, 0.95))
	pair("e2e_p50", quantile(r.e2e, 0.5))
	pair("e2e_p95", quantile(r.e2e, 0.95))
	pair("cost", strings.ReplaceAll(spent(s), " ", ""))
	pair("left", known(left(s)))
	return b.String()
}

func known(s string) string {
	if s == "" {
		return human.Unknown
	}
	return s
}

// left is how long the load will go on, empty if that is not known or over.
func left(s Snapshot) string {
	if s.Stage != Running || s.Total <= s.Elapsed {
		return ""
	}
	return human.Duration((s.Total - s.Elapsed).Round(time.Second))
}

// spent is the cost, "≥" in front if some answers had no price, and the limit.
func spent(s Snapshot) string {
	c := human.Money(s.Totals.CostMicroUSD)
	if n := s.Totals.CostUnknown; n > 0 {
		c = "≥" + c
		if n == s.Totals.Succeeded && s.Totals.CostMicroUSD == 0 {
			c = human.Unknown
		}
	}
	if s.CostLimitMicroUSD > 0 {
		c += " / " + human.Money(s.CostLimitMicroUSD)
	}
	return c
}
