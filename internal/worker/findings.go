package worker

import (
	"fmt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// overBudget is the title of what [unenforced] finds.
const overBudget = "budgets are not enforced"

// unenforced says which organizations spent clearly more than their budget
// without being refused for it once, and "" if none did. Clearly is a tenth
// more, and more than what their users could have under way when the budget
// ran out: a platform learns what a request costs when it is over.
func unenforced(orgs []export.Org, groups []*stats.Group) string {
	spent := map[string]*stats.Group{}
	for _, g := range groups {
		spent[g.Key.Org] = g
	}
	detail, more := "", 0
	for _, o := range orgs {
		g := spent[o.Name]
		if o.BudgetMicroUSD <= 0 || g == nil || g.All.Succeeded == 0 || refusedFor(g, record.BudgetExceeded) {
			continue
		}
		underWay := int64(o.Users) * (g.All.CostMicroUSD / int64(g.All.Succeeded))
		if g.All.CostMicroUSD <= o.BudgetMicroUSD+max(o.BudgetMicroUSD/10, 2*underWay) {
			continue
		}
		if detail == "" {
			detail = fmt.Sprintf("%s spent %s of a budget of %s and was never refused", o.Name, human.Money(g.All.CostMicroUSD), human.Money(o.BudgetMicroUSD))
		} else {
			more++
		}
	}
	if more > 0 {
		detail += fmt.Sprintf(", and so did %s", human.Plural(more, "other organization"))
	}
	return detail
}

func refusedFor(g *stats.Group, kind record.Kind) bool {
	for _, e := range g.Errors {
		if e.Kind == kind {
			return true
		}
	}
	return false
}
