package report

import (
	"fmt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// isolationWord is the verdict as it is written: what is bad must not be overlooked.
func isolationWord(i export.Isolation) string {
	if i.Verdict == "leak" {
		return "LEAK"
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
		case "leak":
			word = t.Bad(word)
		case "no leak":
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
	if len(all) == 0 {
		return
	}
	p.Isolation = table{
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
		mark := map[string]string{"leak": "fail", "no leak": "pass"}[i.Verdict]
		p.Isolation.Rows = append(p.Isolation.Rows, []cell{
			text(i.Kind), text(i.Model), {Text: isolationWord(i), Mark: mark}, counted(uint64(max(0, i.Violations))), counted(uint64(len(i.Pairs))),
			timed(i.Cold), timed(i.Warm), timed(i.Cross), number(fmt.Sprintf("%.2g", i.PLeak), i.PLeak), number(fmt.Sprintf("%.2g", i.PClean), i.PClean),
		})
		p.IsolationWords = append(p.IsolationWords, fmt.Sprintf("%s on %s: %s: %s.", i.Kind, i.Model, isolationWord(i), i.Reason))
		p.IsolationWords = append(p.IsolationWords, violations(i)...)
	}
}
