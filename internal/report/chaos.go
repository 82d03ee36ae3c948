package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// faultNames are the faults in words.
var faultNames = map[string]string{
	"dns": "failed look-ups", "failure": "refused connections", "outage": "outages", "reset": "resets",
	"slow_read": "slow reads", "truncation": "truncated streams",
}

// injected says what was broken on purpose.
func injected(c *export.Chaos) string {
	s := human.Count(c.Injected) + " requests harmed"
	if c.Injected == 1 {
		s = "1 request harmed"
	}
	var parts []string
	for _, f := range c.Faults {
		name := f.Fault
		if n, ok := faultNames[name]; ok {
			name = n
		}
		parts = append(parts, human.Count(f.Requests)+" by "+name)
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	if c.Delayed > 0 {
		s += fmt.Sprintf("; %s delayed, by %s on average, which is in no latency",
			human.Count(c.Delayed), human.Duration(c.DelayTotal/time.Duration(c.Delayed))) //nolint:gosec // a count
	}
	return s
}

// recovery sums up how the orgs got over an outage, by one of their times.
func recovery(rs []export.Recovery, of func(export.Recovery) *time.Duration) string {
	var times []time.Duration
	slowest := ""
	for _, r := range rs {
		if d := of(r); d != nil {
			if len(times) == 0 || *d > slices.Max(times) {
				slowest = r.Org
			}
			times = append(times, *d)
		}
	}
	never := ""
	if n := len(rs) - len(times); n > 0 {
		never = fmt.Sprintf("not in this run for %d of %d", n, len(rs))
	}
	switch len(times) {
	case 0:
		return never
	case 1:
		return strings.TrimSuffix(human.Duration(times[0])+", "+never, ", ")
	}
	return strings.TrimSuffix(fmt.Sprintf("%s to %s, %s last, %s",
		human.Duration(slices.Min(times)), human.Duration(slices.Max(times)), slowest, never), ", ")
}

func first(r export.Recovery) *time.Duration   { return r.FirstSuccess }
func asUsual(r export.Recovery) *time.Duration { return r.SuccessRate }

// chaos tells what this tool broke, and how the orgs got over it.
func (t *terminal) chaos() {
	c := t.b.Chaos
	if c == nil {
		return
	}
	t.section("Injected by us", "in no other number but cost")
	t.text("  ", injected(c), asIs)
	for _, o := range c.Outages {
		t.line(fmt.Sprintf("  outage at %s for %s", human.Duration(o.At), human.Duration(o.Duration)))
		if len(o.Recoveries) == 0 {
			t.text("    ", "nobody asked again", t.Dim)
			continue
		}
		t.text("    first success after  ", recovery(o.Recoveries, first), asIs)
		t.text("    success rate back    ", recovery(o.Recoveries, asUsual), asIs)
	}
}

// addChaos fills what this tool broke on purpose.
func (p *page) addChaos(c *export.Chaos) {
	if c == nil {
		return
	}
	p.ChaosLede = "Broken on purpose by this tool, and in no number of the platform but cost and tokens: " + injected(c) + "."
	if len(c.Outages) == 0 {
		return
	}
	p.Recovery = table{
		ID: "recovery-table", Caption: "Recovery after each outage, by organization", Sortable: true, Empty: "Nobody asked after an outage.",
		Columns: []column{numberOf("Outage at", "from the start of the load"), numberOf("Lasted", ""), {Name: "Organization"},
			numberOf("First success", "after the end of the outage"),
			numberOf("Success rate back", "after the end of the outage, until as many of 20 answers succeeded as before it"),
			numberOf("Answers", "to requests sent after the outage")},
		Note: "Times are as users see them: thinking, backing off and an open circuit breaker are part of them. – means not in this run.",
	}
	after := func(d *time.Duration) cell {
		if d == nil {
			return nothing()
		}
		return timed(*d)
	}
	for _, o := range c.Outages {
		for _, r := range o.Recoveries {
			p.Recovery.Rows = append(p.Recovery.Rows, []cell{
				spanned(o.At), spanned(o.Duration), text(r.Org), after(r.FirstSuccess), after(r.SuccessRate), counted(uint64(max(0, r.Answers))),
			})
		}
	}
}
