package worker

import (
	"math"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// spending remembers what every tenant spent and felt, some 50 bytes a request.
type spending struct {
	mu       sync.Mutex
	accounts map[string][]isolation.Spending
}

// sink takes records of the load, or of before it. What this tool broke itself
// shows nothing but cost; what it gave up may have cost something, too.
func (s *spending) sink(before bool) record.Sink {
	return record.SinkFunc(func(r *record.Record) {
		q := isolation.Spending{Sent: r.Sent, Done: r.Done, Latency: r.E2E(), Cost: r.CostMicroUSD, CostKnown: r.CostKnown}
		if ttft, ok := r.TTFT(); ok {
			q.Latency, q.TTFT = ttft, true
		}
		switch {
		case r.Outcome == record.Success:
		case r.Kind == record.BudgetExceeded:
			q.Fate = isolation.OverBudget
		default:
			q.Fate = isolation.Erred
			if r.Outcome == record.Refused { // and never reached a model
				q.Cost, q.CostKnown = 0, true
			}
		}
		if before { // by another clock
			q.Sent, q.Done = math.MinInt64/4, math.MinInt64/4
		}
		if r.Injected() || r.Outcome == record.Cancelled {
			q.Fate = isolation.Uncounted
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.accounts[r.Org] = append(s.accounts[r.Org], q)
	})
}

// judgeBudget gives the verdict on budgets, if this worker has the tenant.
func (w *Worker) judgeBudget(b *export.Bundle) {
	var constant []isolation.Span
	for _, p := range b.Phases {
		if p.Constant && p.Measured {
			constant = append(constant, isolation.Span{Start: p.Start, End: p.End})
		}
	}
	i := slices.IndexFunc(b.Orgs, func(o export.Org) bool { return o.Index == w.Scenario.Spec.Isolation.Budget.Organization })
	if i < 0 {
		return // another worker's
	}
	budgets := map[int]int64{}
	for _, o := range w.job.plan.Overrides {
		if o.Budget != nil {
			budgets[o.Index] = leastBudget(o.Budget.LimitMicroUSD, o.Budget.DailyMicroUSD)
		}
	}
	w.spending.mu.Lock()
	defer w.spending.mu.Unlock()
	account := func(o export.Org) isolation.Account {
		limit, special := budgets[o.Index]
		if !special {
			limit = leastBudget(w.job.plan.Budget.LimitMicroUSD, w.job.plan.Budget.DailyMicroUSD)
		}
		return isolation.Account{Org: o.Name, Limit: limit, Requests: w.spending.accounts[o.Name]}
	}
	var others []isolation.Account
	for _, o := range slices.Delete(slices.Clone(b.Orgs), i, i+1) {
		others = append(others, account(o))
	}
	r := isolation.Budget(account(b.Orgs[i]), others, constant)
	b.Isolation = append(b.Isolation, budgetVerdict(r))
	w.Log.Info("budget isolation judged", zap.String("org", r.Org), zap.String("verdict", string(r.Verdict)), zap.String("reason", r.Reason))
}

func leastBudget(limit, daily int64) int64 {
	if limit == 0 || daily > 0 && daily < limit {
		return daily
	}
	return limit
}

func budgetVerdict(r isolation.BudgetResult) export.Isolation {
	e := &export.BudgetEvidence{
		LimitMicroUSD: r.Limit, SpentMicroUSD: r.Total, OverspentMicroUSD: r.Overspent(),
		Refused: r.Refused, Early: r.Early, FirstRefusal: max(0, r.First), FirstSpentMicroUSD: r.FirstSpent,
		Late: r.Late, LateMicroUSD: r.LateCost, UnknownCosts: r.Unknown, Wronged: r.Wronged,
		Errors: change(r.Errors), Latency: change(r.Latency),
	}
	if r.Limit > 0 {
		e.Overspent = float64(r.Overspent()) / float64(r.Limit)
	}
	return export.Isolation{Kind: export.Budget, Org: r.Org, Verdict: string(r.Verdict), Reason: r.Reason, Budget: e}
}

func change(c isolation.Change) export.Change {
	out := export.Change{Verdict: string(c.Verdict), Margin: c.Margin, RequestsBefore: c.Requests[0], RequestsAfter: c.Requests[1]}
	if c.Low == 0 && c.High == 0 && c.Verdict == isolation.Undecided {
		return out // it was not compared
	}
	out.Before, out.After = &c.Before, &c.After
	for _, bound := range []struct {
		value float64
		to    **float64
	}{{c.Low, &out.Low}, {c.High, &out.High}} {
		if !math.IsInf(bound.value, 0) {
			*bound.to = &bound.value
		}
	}
	return out
}
