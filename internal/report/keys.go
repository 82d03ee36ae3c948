package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// withdrawal is what was done to the keys, in words.
func withdrawal(k export.KeyLifecycle) string {
	of := human.Plural(len(k.Keys), "key")
	switch k.Action {
	case export.Revoke:
		return of + " revoked"
	case export.Suspend:
		return of + " of suspended users"
	default:
		return of + ": " + k.Action
	}
}

// until is a time until keys stopped working.
func until(d *time.Duration) string {
	if d == nil {
		return "never seen"
	}
	return human.Duration(*d)
}

// took sums up the calls that withdrew the keys.
func took(k export.KeyLifecycle) (most time.Duration) {
	for _, one := range k.Keys {
		most = max(most, one.Took)
	}
	return most
}

// keys tells what became of withdrawn keys.
func (t *terminal) keys() {
	if len(t.b.KeyLifecycle) == 0 {
		return
	}
	t.section("Withdrawn keys", "their requests are in no other number but cost")
	for _, k := range t.b.KeyLifecycle {
		t.line("  " + human.Clean(withdrawal(k)) + "  " + t.verdictWord(k.Verdict))
		t.text("    ", k.Reason, asIs)
		t.text("    ", fmt.Sprintf("refused after: median %s, max %s; allowed %s", until(k.Median), until(k.Max), human.Duration(k.Within)), t.Dim)
	}
}

// addKeys fills the verdicts on withdrawn keys, and every key.
func (p *page) addKeys(all []export.KeyLifecycle) {
	if len(all) == 0 {
		return
	}
	p.Keys = table{
		ID: "keys-table", Caption: "Keys withdrawn under load", Headed: true, Sortable: true,
		Columns: []column{{Name: "Key of"}, {Name: "Withdrawn by"}, {Name: "Worked on", Title: "whether it was accepted after the time allowed"},
			numberOf("At", "when the platform had confirmed, from the start of the load"), numberOf("Call", "what withdrawing took"),
			numberOf("Last accepted", "after the confirmation; – means not once"), numberOf("First refused", "after the confirmation; – means not once"),
			numberOf("Effective", "first refusal after which nothing was accepted; – means that it still worked in the end"),
			numberOf("Accepted", "requests after the confirmation"), numberOf("Refused", "requests"), numberOf("Watched", "until the last request")},
		Note: "Times are of the sending of requests: one that was under way when the key was withdrawn is no evidence. The requests are in no number but tokens and cost.",
	}
	after := func(d *time.Duration) cell {
		if d == nil {
			return nothing()
		}
		return timed(*d)
	}
	for _, k := range all {
		p.KeyWords = append(p.KeyWords, fmt.Sprintf("%s: %s: %s. Refused after: median %s, max %s; allowed %s; withdrawing took up to %s.",
			withdrawal(k), verdictWord(k.Verdict), strings.TrimSuffix(k.Reason, "."), until(k.Median), until(k.Max), human.Duration(k.Within), human.Duration(took(k))))
		for _, one := range k.Keys {
			late := cell{Text: "no", Mark: "pass"}
			if one.LastAccepted != nil && *one.LastAccepted > k.Within {
				late = cell{Text: "yes", Mark: "fail"}
			} else if one.Effective == nil {
				late = cell{Text: "unknown"}
			}
			p.Keys.Rows = append(p.Keys.Rows, []cell{
				text(one.Org + " / " + one.User), text(k.Action), late, spanned(one.Withdrawn), timed(one.Took), after(one.LastAccepted),
				after(one.FirstRefused), after(one.Effective), counted(uint64(max(0, one.Accepted))), counted(uint64(max(0, one.Refused))), timed(one.Watched),
			})
		}
	}
}
