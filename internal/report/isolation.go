package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
)

// verdictWord is a verdict as it is written: what is bad must not be overlooked.
func verdictWord(verdict string) string {
	if isolation.Verdict(verdict).Bad() {
		return strings.ToUpper(verdict)
	}
	return verdict
}

// verdictMark is how a verdict looks in a table.
func verdictMark(verdict string) string {
	switch v := isolation.Verdict(verdict); {
	case v.Bad():
		return "fail"
	case v.Good():
		return "pass"
	}
	return ""
}

// verdictWord is how a verdict looks on a terminal.
func (t *terminal) verdictWord(verdict string) string {
	word := verdictWord(verdict)
	switch verdictMark(verdict) {
	case "fail":
		return t.Bad(word)
	case "pass":
		return t.Good(word)
	}
	return t.Warn(word)
}

// isolationOf is what was tested, and of whom.
func isolationOf(i export.Isolation) string { return i.Kind + " on " + cmp.Or(i.Model, i.Org) }

// violations counts the violations of each two salts, in the order of the list.
func violations(i export.Isolation) (lines []string) {
	if i.Salts == nil {
		return nil
	}
	type way struct{ from, to string }
	count := map[way]int{}
	var order []way
	for _, v := range i.Salts.Violated {
		w := way{v.Salt, v.ReadUnder}
		if count[w] == 0 {
			order = append(order, w)
		}
		count[w]++
	}
	for _, w := range order {
		lines = append(lines, fmt.Sprintf("%s of %s read under %s", human.Plural(count[w], "prompt"), w.from, w.to))
	}
	return lines
}

// isolation tells whether tenants are kept apart.
func (t *terminal) isolation() {
	if len(t.b.Isolation) == 0 {
		return
	}
	t.section("Isolation of tenants", "")
	for _, i := range t.b.Isolation {
		t.line("  " + human.Clean(isolationOf(i)) + "  " + t.verdictWord(i.Verdict))
		t.text("    ", i.Reason, asIs)
		switch {
		case i.Salts != nil:
			e := i.Salts
			if e.Cold > 0 {
				t.text("    ", fmt.Sprintf("TTFT of a new prompt %s, repeated %s, under another salt %s; p = %.2g if it were like new, %.2g if like repeated",
					human.Duration(e.Cold), human.Duration(e.Warm), human.Duration(e.Cross), e.PLeak, e.PClean), t.Dim)
			}
			if e.Violations > 0 {
				t.text("    ", "security violations: "+human.Count(uint64(e.Violations)), asIs)
			}
		case i.Neighbour != nil:
			e := i.Neighbour
			if len(e.Orgs) > 0 {
				t.text("    ", fmt.Sprintf("while %s was loud, Jain's fairness index of goodput was %.3f:", e.Aggressor, e.Fairness), t.Dim)
			}
			for _, o := range e.Orgs {
				t.text("    · ", fmt.Sprintf("%s had %.1f/s of %.1f/s wanted, fair were %.1f/s", o.Org, o.Goodput, o.Wanted, o.Fair), t.Dim)
			}
		case i.Budget != nil:
			e := i.Budget
			t.text("    ", fmt.Sprintf("spent %s of %s, %s (%.2f%%) too much; refused %d times, %d too early; %d answered too late; the others' errors %s before and %s after, median latency %s and %s",
				human.Money(e.SpentMicroUSD), human.Money(e.LimitMicroUSD), human.Money(e.OverspentMicroUSD), 100*e.Overspent, e.Refused, e.Early, e.Late,
				percent(e.Errors.Before).Text, percent(e.Errors.After).Text, seconds(e.Latency.Before).Text, seconds(e.Latency.After).Text), t.Dim)
		case i.RateLimit != nil:
			e := i.RateLimit
			words := fmt.Sprintf("%.4g per second and %d at once are promised; %d passed at once", e.PerSecond, e.Burst, e.AtOnce)
			if e.High > 0 {
				words += fmt.Sprintf(", then %.4g to %.4g per second", e.Low, e.High)
			}
			if e.Waits > 0 {
				words += fmt.Sprintf("; Retry-After was right %d of %d times", e.Waits-e.WrongWaits, e.Waits)
			}
			t.text("    ", words, t.Dim)
		}
		for _, v := range violations(i) {
			t.text("    · ", v, t.Dim)
		}
	}
}

// percent and seconds write what may not be known.
func percent(f *float64) cell {
	if f == nil {
		return nothing()
	}
	return number(fmt.Sprintf("%.2f%%", 100**f), *f)
}

func seconds(s *float64) cell {
	if s == nil {
		return nothing()
	}
	return timed(time.Duration(*s * float64(time.Second)))
}

// measured is a time of the test, unknown if too little was answered for one.
func measured(d time.Duration) cell {
	if d == 0 {
		return nothing()
	}
	return timed(d)
}

// addIsolation fills the verdicts on isolation and what they came from, a table for
// each kind.
func (p *page) addIsolation(all []export.Isolation) {
	first := func() []column { return []column{{Name: "Test"}, {Name: "Of"}, {Name: "Verdict"}} }
	salts := table{
		ID: "salts-table", Caption: "Cache salts", Headed: true,
		Columns: append(first(), numberOf("Violations", "security violations: pairs that show a leak"),
			numberOf("Pairs", "of tenants with different salts"),
			numberOf("New", "median TTFT of prompts never sent before"), numberOf("Repeated", "median TTFT of prompts sent before under the same salt"),
			numberOf("Other salt", "median TTFT of prompts sent before under another salt"),
			numberOf("p leak", "chance of the last being this much below the first, if they are alike"),
			numberOf("p clean", "chance of the repeated being this much below the last, if they are alike")),
		Note: "TTFT counts from sending here. Cached tokens and times of every pair are in the result, under isolation.",
	}
	budgets := table{
		ID: "budgets-table", Caption: "Budgets", Headed: true,
		Columns: append(first(), numberOf("Budget", "what it may spend"), numberOf("Spent", "by its requests"), numberOf("Overspent", "as a part of the budget"),
			numberOf("Refused", "because of the budget"), numberOf("Early", "refused before it was spent"), numberOf("Late", "answered long after it was spent"),
			numberOf("Errors before", "of the others"), numberOf("Errors after", "of the others"),
			numberOf("Latency before", "median of the others"), numberOf("Latency after", "median of the others")),
	}
	rates := table{
		ID: "rates-table", Caption: "Rate limits", Headed: true,
		Columns: append(first(), numberOf("Promised", "requests per second"), numberOf("Burst", "promised"), numberOf("At once", "passed before the first refusal"),
			numberOf("At least", "requests per second that passed"), numberOf("At most", "requests per second that passed"),
			numberOf("Overshoot", "at least"), numberOf("Waits", "for a Retry-After"), numberOf("Wrong", "refused after Retry-After")),
		Note: "Least and most are bounds of the rate that was enforced, not estimates.",
	}
	money := func(micro int64) cell { return number(human.Money(micro), float64(micro)) }
	chance := func(f float64, of *export.Salts) cell {
		if of.Cold == 0 {
			return nothing()
		}
		return number(fmt.Sprintf("%.2g", f), f)
	}
	rate := func(f float64) cell { return number(fmt.Sprintf("%.4g", f), f) }
	count := func(n int) cell { return counted(uint64(max(0, n))) }
	var neighbours []table
	for _, i := range all {
		p.IsolationWords = append(p.IsolationWords, fmt.Sprintf("%s: %s: %s.", isolationOf(i), verdictWord(i.Verdict), i.Reason))
		p.IsolationWords = append(p.IsolationWords, violations(i)...)
		row := []cell{text(i.Kind), text(cmp.Or(i.Model, i.Org)), {Text: verdictWord(i.Verdict), Mark: verdictMark(i.Verdict)}}
		switch {
		case i.Salts != nil:
			e := i.Salts
			salts.Rows = append(salts.Rows, append(row, count(e.Violations), count(len(e.Pairs)),
				measured(e.Cold), measured(e.Warm), measured(e.Cross), chance(e.PLeak, e), chance(e.PClean, e)))
		case i.Neighbour != nil:
			neighbours = append(neighbours, neighbourTables(i)...)
		case i.Budget != nil:
			e := i.Budget
			budgets.Rows = append(budgets.Rows, append(row, money(e.LimitMicroUSD), money(e.SpentMicroUSD), percent(&e.Overspent), count(e.Refused), count(e.Early), count(e.Late),
				percent(e.Errors.Before), percent(e.Errors.After), seconds(e.Latency.Before), seconds(e.Latency.After)))
		case i.RateLimit != nil:
			e := i.RateLimit
			low, high, over := nothing(), nothing(), nothing()
			if e.High > 0 {
				low, high, over = rate(e.Low), rate(e.High), percent(&e.OvershootLow)
			}
			rates.Rows = append(rates.Rows, append(row, rate(e.PerSecond), count(e.Burst), count(e.AtOnce), low, high, over, count(e.Waits), count(e.WrongWaits)))
		}
	}
	if len(salts.Rows) > 0 {
		p.Isolation = append(p.Isolation, salts)
	}
	p.Isolation = append(p.Isolation, neighbours...)
	for _, t := range []table{budgets, rates} {
		if len(t.Rows) > 0 {
			p.Isolation = append(p.Isolation, t)
		}
	}
}

// neighbourTables say what others felt of an organization that sends much.
func neighbourTables(i export.Isolation) []table {
	n := i.Neighbour
	times := func(x float64) cell {
		if x == 0 {
			return nothing()
		}
		return number(fmt.Sprintf("%.2f ×", x), x)
	}
	felt := table{
		ID: "neighbour-table", Caption: "Noisy neighbour", Headed: true,
		Columns: []column{{Name: "Aggressor"}, {Name: "Verdict"}, numberOf("Without", "the others' p95 of TTFT while the aggressor was quiet"),
			numberOf("With", "the others' p95 of TTFT while the aggressor was loud"), numberOf("Ratio", "of the two, in the middle of all rounds (Hodges–Lehmann)"),
			numberOf("At least", "lower bound of the ratio, with 99.9% confidence"), numberOf("At most", "upper bound of the ratio, with 99.9% confidence"),
			numberOf("Harm from", "the ratio from which on it is harm"), numberOf("Rounds", "of one window without and one with the aggressor"),
			numberOf("Jain's index", "of goodput over fair share, while the aggressor was loud: 1 is fair")},
		Rows: [][]cell{{text(n.Aggressor), {Text: verdictWord(i.Verdict), Mark: verdictMark(i.Verdict)}, measured(n.Quiet), measured(n.Loud), times(n.Ratio), times(n.Low), times(n.High),
			times(n.Bar), counted(uint64(len(n.Rounds))), number(fmt.Sprintf("%.3f", n.Fairness), n.Fairness)}},
		Note: "TTFT counts from sending here, and a failed request counts as slow. The ratios of single rounds are in the result, under isolation.",
	}
	served := table{
		ID: "fairness-table", Caption: "Requests per second while " + n.Aggressor + " was loud", Headed: true,
		Columns: []column{{Name: "Organization"}, numberOf("Wanted", "sent"), numberOf("Goodput", "answered in time"),
			numberOf("Fair share", "max-min fair share of the goodput of all"), numberOf("Goodput/fair", "1 is fair")},
	}
	rate := func(x float64) cell { return number(fmt.Sprintf("%.1f", x), x) }
	for _, o := range n.Orgs {
		served.Rows = append(served.Rows, []cell{text(o.Org), rate(o.Wanted), rate(o.Goodput), rate(o.Fair), times(o.Goodput / max(o.Fair, 1e-9))})
	}
	return []table{felt, served}
}
