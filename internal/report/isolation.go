package report

import (
	"fmt"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// isolationWord is the verdict as it is written: what is bad must not be overlooked.
func isolationWord(i export.Isolation) string {
	if i.Verdict == "leak" || i.Verdict == "harmed" {
		return strings.ToUpper(i.Verdict)
	}
	return i.Verdict
}

// violations counts the violations of each two salts, in the order of the list.
func violations(i export.Isolation) (lines []string) {
	type way struct{ from, to string }
	count := map[way]int{}
	var order []way
	for _, v := range i.Violated {
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
		word := isolationWord(i)
		switch i.Verdict {
		case "leak", "harmed":
			word = t.Bad(word)
		case "no leak", "not harmed":
			word = t.Good(word)
		default:
			word = t.Warn(word)
		}
		t.line("  " + human.Clean(i.Kind+" on "+i.Model) + "  " + word)
		t.text("    ", i.Reason, asIs)
		if len(i.Pairs) > 0 {
			t.text("    ", fmt.Sprintf("TTFT of a new prompt %s, repeated %s, under another salt %s; p = %.2g if it were like new, %.2g if like repeated",
				human.Duration(i.Cold), human.Duration(i.Warm), human.Duration(i.Cross), i.PLeak, i.PClean), t.Dim)
		}
		if n := i.Neighbour; n != nil && len(n.Orgs) > 0 {
			t.text("    ", fmt.Sprintf("while %s was loud, Jain's fairness index of goodput was %.3f:", n.Aggressor, n.Fairness), t.Dim)
			for _, o := range n.Orgs {
				t.text("    · ", fmt.Sprintf("%s had %.1f/s of %.1f/s wanted, fair were %.1f/s", o.Org, o.Goodput, o.Wanted, o.Fair), t.Dim)
			}
		}
		if i.Violations > 0 {
			t.text("    ", "security violations: "+human.Count(uint64(i.Violations)), asIs)
		}
		for _, v := range violations(i) {
			t.text("    · ", v, t.Dim)
		}
	}
}

// addIsolation fills the verdicts on isolation and the pairs they came from.
func (p *page) addIsolation(all []export.Isolation) {
	salts := table{
		ID: "isolation-table", Caption: "Isolation of tenants", Headed: true,
		Columns: []column{{Name: "Test"}, {Name: "Model"}, {Name: "Verdict"}, numberOf("Violations", "security violations: pairs that show a leak"),
			numberOf("Pairs", "of tenants with different salts"),
			numberOf("New", "median TTFT of prompts never sent before"), numberOf("Repeated", "median TTFT of prompts sent before under the same salt"),
			numberOf("Other salt", "median TTFT of prompts sent before under another salt"),
			numberOf("p leak", "chance of the last being this much below the first, if they are alike"),
			numberOf("p clean", "chance of the repeated being this much below the last, if they are alike")},
		Note: "TTFT counts from sending here. Cached tokens and times of every pair are in the result, under isolation.",
	}
	for _, i := range all {
		p.IsolationWords = append(p.IsolationWords, fmt.Sprintf("%s on %s: %s: %s.", i.Kind, i.Model, isolationWord(i), i.Reason))
		p.IsolationWords = append(p.IsolationWords, violations(i)...)
		mark := map[string]string{"leak": "fail", "no leak": "pass", "harmed": "fail", "not harmed": "pass"}[i.Verdict]
		if i.Neighbour != nil {
			p.addNeighbour(i, mark)
			continue
		}
		salts.Rows = append(salts.Rows, []cell{
			text(i.Kind), text(i.Model), {Text: isolationWord(i), Mark: mark}, counted(uint64(max(0, i.Violations))), counted(uint64(len(i.Pairs))),
			timed(i.Cold), timed(i.Warm), timed(i.Cross), number(fmt.Sprintf("%.2g", i.PLeak), i.PLeak), number(fmt.Sprintf("%.2g", i.PClean), i.PClean),
		})
	}
	if len(salts.Rows) > 0 {
		p.Isolation = append(p.Isolation, salts)
	}
}

// addNeighbour fills what others felt of an organization that sends much.
func (p *page) addNeighbour(i export.Isolation, mark string) {
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
		Rows: [][]cell{{text(n.Aggressor), {Text: isolationWord(i), Mark: mark}, timed(n.Quiet), timed(n.Loud), times(n.Ratio), times(n.Low), times(n.High),
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
	p.Isolation = append(p.Isolation, felt, served)
}
