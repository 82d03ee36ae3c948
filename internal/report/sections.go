package report

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

func (p *page) addLatency(all *stats.Group, b *export.Bundle) {
	p.Latency = table{
		ID: "latency-table", Caption: "All latencies, of measured requests",
		Columns: []column{{Name: "Latency"}, {Name: "Count", Numeric: true}, {Name: "Mean", Numeric: true}, {Name: "Min", Numeric: true},
			{Name: "p50", Numeric: true}, {Name: "p90", Numeric: true}, {Name: "p95", Numeric: true}, {Name: "p99", Numeric: true}, {Name: "Max", Numeric: true}},
		Empty: noE2E(all.Measured),
		Note: fmt.Sprintf("A percentile with a question mark, here and below, comes from too few samples to be firm: p95 wants about %d, p99 about %d. A dash comes from too few to be known: p50 takes %d, p95 %d, p99 %d.",
			verdict.SamplesWanted(0.95), verdict.SamplesWanted(0.99), stats.Enough(0.50), stats.Enough(0.95), stats.Enough(0.99)),
	}
	if all.Measured.Requests == 0 {
		return
	}
	for _, l := range []struct {
		name, sub, metric string
		h                 *stats.Histogram
	}{
		{"End-to-end", "scheduled to complete answer", "e2e", &all.Latency.E2E},
		{"TTFT", "scheduled to first token", "ttft", &all.Latency.TTFT},
		{"ITL", "between two chunks", "itl", &all.Latency.ITL},
		{"TPOT", "per output token of a request", "", &all.Latency.TPOT},
		{"Connect", "DNS, TCP and TLS", "", &all.Latency.Connect},
		{"Send lag", "this tool's own lateness", "", &all.Latency.SendLag},
	} {
		h := l.h
		row := []cell{{Text: l.name, Sub: l.sub}}
		if h.Count() == 0 {
			for range len(p.Latency.Columns) - 1 {
				row = append(row, nothing())
			}
		} else {
			row = append(row, counted(h.Count()), timed(h.Mean()), timed(h.Min()))
			for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
				c := percentile(h, q)
				if m := judgement(b).Marked(l.metric, q); m != nil {
					c.Ours = "of this up to " + latency(m.Added) + " may be this tool's own"
				}
				row = append(row, c)
			}
			row = append(row, timed(h.Max()))
		}
		p.Latency.Rows = append(p.Latency.Rows, row)
	}
	p.addConfidence(b.Headline)
}

func (p *page) addConfidence(h export.Headline) {
	p.Confidence = table{ID: "confidence-table", Caption: "Where the percentiles lie with 95% confidence",
		Columns: []column{{Name: "Latency"}, numberOf("p50", ""), numberOf("p95", ""), numberOf("p99", "")}}
	for _, l := range []struct {
		name string
		q    *export.Quantiles
	}{{"End-to-end", h.E2E}, {"TTFT", h.TTFT}, {"TPOT", h.TPOT}} {
		if l.q == nil {
			continue
		}
		row := []cell{{Text: l.name}}
		for _, ci := range []*export.Range{l.q.P50CI, l.q.P95CI, l.q.P99CI} {
			if ci == nil {
				row = append(row, nothing())
			} else {
				row = append(row, cell{Text: latency(ci[0]) + " to " + latency(ci[1]), Class: "num"})
			}
		}
		p.Confidence.Rows = append(p.Confidence.Rows, row)
	}
}

func (p *page) addSlowAnswers(slow []stats.Slow, at moments) {
	p.SlowAnswers = table{ID: "slow-answers-table", Caption: "The slowest of the measured answers, as the platform's log and traces name them",
		Columns: []column{numberOf("End-to-end", ""), numberOf("TTFT", ""), numberOf("Due", "when it was meant to leave"),
			{Name: "Organization"}, {Name: "Asked"}, {Name: "Request"}, {Name: "Trace"}}}
	for _, s := range slow {
		ttft := nothing()
		if s.TTFT > 0 {
			ttft = number(latency(s.TTFT), float64(s.TTFT))
		}
		due := number(human.Clock(s.At), float64(s.At))
		due.Sub = at.clock(s.At)
		asked := text(s.Model)
		asked.Sub = s.Endpoint
		p.SlowAnswers.Rows = append(p.SlowAnswers.Rows, []cell{
			number(latency(s.E2E), float64(s.E2E)), ttft, due, text(s.Org), asked,
			{Text: s.ID, Class: "code"}, {Text: s.TraceID.String(), Class: "code"},
		})
	}
}

func (p *page) addErrors(all *stats.Group, at moments) {
	t := all.All
	p.Errors = table{
		ID: "errors-table", Caption: "Errors by kind and status, of all requests", Sortable: true,
		Columns: []column{{Name: "Kind"}, {Name: "Status"}, {Name: "Count", Numeric: true}, {Name: "Share of answered", Numeric: true},
			{Name: "First seen", Numeric: true}, {Name: "First message"}},
		Empty: "No request failed or was refused.",
	}
	if t.Requests == 0 {
		p.Errors.Empty = "No request was sent."
	} else if t.Refused+t.Failed+t.Cancelled > 0 {
		p.ErrorLede = fmt.Sprintf("Of %s, %s were refused (402, 403, 429 or 503) and %s failed.",
			human.Plural(int(t.Requests), "request"), human.Count(t.Refused), human.Count(t.Failed))
		if m := all.Measured; m.Refused+m.Failed < t.Refused+t.Failed {
			p.ErrorLede += fmt.Sprintf(" %s of these were measured; the others came before the load, in warm-up or in cool-down.", human.Count(m.Refused+m.Failed))
		}
		if t.Retried > 0 {
			p.ErrorLede += fmt.Sprintf(" %s of the requests were retries.", human.Count(t.Retried))
		}
		if t.Cancelled > 0 {
			p.ErrorLede += fmt.Sprintf(" %s were given up when the run ended; they are no errors.", human.Count(t.Cancelled))
		}
	}
	for _, e := range all.Errors {
		status := nothing()
		status.Class = "none"
		if e.Status != 0 {
			status = cell{Text: strconv.Itoa(e.Status), Sub: http.StatusText(e.Status), Sort: strconv.Itoa(e.Status)}
		}
		first := number(human.Clock(e.FirstAt), float64(e.FirstAt))
		first.Sub = at.clock(e.FirstAt)
		example := text(e.Example)
		example.Class = "message"
		if example.Sub = e.ExampleID; !e.TraceID.IsZero() {
			example.Sub += ", trace " + e.TraceID.String()
		}
		p.Errors.Rows = append(p.Errors.Rows, []cell{
			{Text: string(e.Kind), Class: "code"}, status, counted(e.Count), ratio(e.Count, t.Answered()), first, example,
		})
	}
}

var (
	numberOf  = func(name, title string) column { return column{Name: name, Numeric: true, Title: title} }
	sliceCols = []column{
		numberOf("Requests", "all requests, warm-up included"),
		numberOf("Errors", "refused and failed, of the measured and answered"),
		numberOf("Goodput", "measured answers within the objectives, per second"),
		numberOf("TTFT p50", "time to first token, of measured streams"),
		numberOf("TTFT p95", "time to first token, of measured streams"),
		numberOf("ITL p95", "time between two chunks"),
		numberOf("E2E p50", "from the scheduled moment to the complete answer"),
		numberOf("E2E p95", "from the scheduled moment to the complete answer"),
		numberOf("Tokens out", "completion tokens of all answers"),
		numberOf("Cached", "part of the prompt tokens that came from the cache"),
		numberOf("Cost", "of all answers with a known price"),
	}
)

// slice is a row about one part of the traffic, in the order of sliceCols.
func slice(g *stats.Group, measured time.Duration) []cell {
	if g.Measured.Requests == 0 {
		measured = 0
	}
	return []cell{
		counted(g.All.Requests), errorRate(g.Measured), perSecond(g.Measured.Good, measured),
		percentile(&g.Latency.TTFT, 0.5), percentile(&g.Latency.TTFT, 0.95), percentile(&g.Latency.ITL, 0.95),
		percentile(&g.Latency.E2E, 0.5), percentile(&g.Latency.E2E, 0.95),
		tokens(g.All.CompletionTokens, g.All), cached(g.All), cost(g.All),
	}
}

func (p *page) addOrgs(b *export.Bundle, s *stats.Summary) {
	groups := map[string]*stats.Group{}
	for _, g := range s.Rollup(stats.ByOrg) {
		groups[g.Key.Org] = g
	}
	users := map[string]int{}
	for _, u := range s.Users {
		users[u.Org]++
	}
	budgets := slices.ContainsFunc(b.Orgs, func(o export.Org) bool { return o.BudgetMicroUSD > 0 })
	orgs := slices.Clone(b.Orgs)
	for name := range groups { // those that the bundle does not list
		if !slices.ContainsFunc(orgs, func(o export.Org) bool { return o.Name == name }) {
			orgs = append(orgs, export.Org{Name: name, Users: users[name], Index: len(b.Orgs) + 1})
		}
	}
	slices.SortStableFunc(orgs, func(a, b export.Org) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Name, b.Name)) })

	p.Orgs = table{ID: "orgs-table", Caption: "Organizations", Headed: true, Sortable: true, Empty: "No organization sent a request.",
		Columns: append([]column{{Name: "Organization"}, numberOf("Users", "")}, sliceCols...)}
	if budgets {
		p.Orgs.Columns = append(p.Orgs.Columns, numberOf("Budget", "the spending limit, and how much of it this run used"))
	}
	dropped := anyDropped(b.Orgs)
	if dropped {
		p.Orgs.Columns = append(p.Orgs.Columns, numberOf("Dropped", "requests that were due and could not start, of all that were due"))
	}
	if len(orgs) > maxOrgRows {
		p.Orgs.Note = fmt.Sprintf("The first %d of %s; all are in result.json.", maxOrgRows, human.Plural(len(orgs), "organization"))
		orgs = orgs[:maxOrgRows]
	}
	for _, o := range orgs {
		g := groups[o.Name]
		if g == nil {
			g = &stats.Group{}
		}
		row := append([]cell{text(o.Name), counted(uint64(max(0, o.Users)))}, slice(g, b.Run.MeasuredDuration)...)
		if budgets {
			budget := nothing()
			if o.BudgetMicroUSD > 0 {
				budget = number(human.Money(o.BudgetMicroUSD), float64(o.BudgetMicroUSD))
				if priced(g.All) {
					budget.Sub = human.Percent(float64(g.All.CostMicroUSD)/float64(o.BudgetMicroUSD)) + " used"
				}
			}
			row = append(row, budget)
		}
		if dropped {
			drops := nothing()
			if a := o.Arrivals; a != nil {
				drops = counted(a.Dropped)
				drops.Sub = "of " + human.Count(a.Intended)
			}
			row = append(row, drops)
		}
		p.Orgs.Rows = append(p.Orgs.Rows, row)
	}
}

func (p *page) addCost(b *export.Bundle, s *stats.Summary, all *stats.Group) {
	t := all.All
	switch {
	case t.Requests == 0:
		p.CostLede = "No request was sent, so nothing was spent."
		return
	case t.Succeeded == 0:
		p.CostLede = "No request succeeded, so no cost is known."
		return
	case !priced(t):
		p.CostLede = "The cost is unknown: the scenario and the platform give no price for the models used."
		return
	}
	p.CostLede = fmt.Sprintf("%s in all, from the platform's token counts and the scenario's prices, warm-up included.", human.Money(t.CostMicroUSD))
	if t.CostUnknown > 0 {
		p.CostLede += fmt.Sprintf(" %s could not be priced and are missing from it.", human.Plural(int(t.CostUnknown), "answer"))
	}

	if limit := b.Run.CostLimitMicroUSD; limit > 0 {
		p.CostLede += fmt.Sprintf(" The run was allowed %s.", human.Money(limit))
	}

	type spender struct {
		name, org string
		totals    stats.Totals
	}
	bars := func(id, caption, what string, list []spender) table {
		slices.SortStableFunc(list, func(a, b spender) int {
			return cmp.Or(cmp.Compare(b.totals.CostMicroUSD, a.totals.CostMicroUSD), cmp.Compare(a.name, b.name))
		})
		tab := table{ID: id, Caption: caption, Columns: []column{{Name: strings.ToUpper(what[:1]) + what[1:]}, {Name: ""}, numberOf("Cost", ""), numberOf("Share", "")}}
		row := func(name cell, t stats.Totals) []cell {
			largest := float64(list[0].totals.CostMicroUSD)
			share := nothing()
			if all.All.CostMicroUSD > 0 {
				r := float64(t.CostMicroUSD) / float64(all.All.CostMicroUSD)
				share = number(human.Percent(r), r)
			}
			return []cell{name, withBar(cell{Class: "bar"}, min(float64(t.CostMicroUSD), largest), largest, "spend"), cost(t), share}
		}
		for _, one := range list[:min(len(list), maxCostBars)] {
			tab.Rows = append(tab.Rows, row(cell{Text: one.name, Sub: one.org, Class: "pair"}, one.totals))
		}
		plain := func(name string, t stats.Totals) []cell {
			r := row(text(name), t)
			r[1] = cell{}
			return r
		}
		if rest := len(list) - maxCostBars; rest > 0 {
			var sum stats.Totals
			for _, one := range list[maxCostBars:] {
				sum.Merge(one.totals)
			}
			tab.Foot = append(tab.Foot, plain("the other "+human.Plural(rest, what), sum))
		}
		tab.Foot = append(tab.Foot, plain("Total", t))
		return tab
	}
	var orgs, models, users []spender
	for _, g := range s.Rollup(stats.ByOrg) {
		orgs = append(orgs, spender{name: g.Key.Org, totals: g.All})
	}
	for _, g := range s.Rollup(stats.ByModel) {
		models = append(models, spender{name: cmp.Or(g.Key.Model, human.Unknown), totals: g.All})
	}
	for _, u := range s.Users {
		users = append(users, spender{name: u.Name, org: u.Org, totals: u.Totals})
	}
	p.OrgCost = bars("cost-orgs", "Cost per organization", "organization", orgs)
	p.ModelCost = bars("cost-models", "Cost per model", "model", models)
	if len(users) > 0 {
		p.UserCost = bars("cost-users", "Cost per user", "user", users)
	} else {
		p.UserCost = table{Empty: "The result does not hold users."}
	}
}

func (p *page) addSlices(b *export.Bundle, s *stats.Summary) {
	build := func(id, caption, first string, by func(stats.Key) stats.Key, name func(stats.Key) cell) table {
		t := table{ID: id, Caption: caption, Columns: append([]column{{Name: first}}, sliceCols...), Sortable: true, Empty: caption + ": no request was sent."}
		for _, g := range s.Rollup(by) {
			t.Rows = append(t.Rows, append([]cell{name(g.Key)}, slice(g, b.Run.MeasuredDuration)...))
		}
		return t
	}
	p.Models = build("models-table", "Models", "Model", stats.ByModel, func(k stats.Key) cell { return text(k.Model) })
	p.Endpoints = build("endpoints-table", "Endpoints", "Endpoint", stats.ByEndpoint, func(k stats.Key) cell {
		if k.Stream {
			return cell{Text: k.Endpoint + ", streamed"}
		}
		return cell{Text: k.Endpoint + ", whole"}
	})
	p.TestTypes = build("test-types-table", "Test types", "Test type",
		stats.ByTestType, func(k stats.Key) cell { return text(k.TestType) })
	// Requests before the load, such as the pre-flight one, are of no type.
	p.TestTypes.Rows = slices.DeleteFunc(p.TestTypes.Rows, func(row []cell) bool { return row[0].Text == "" || row[0].Text == human.Unknown })
	if len(p.TestTypes.Rows) == 1 {
		p.TestTypes.Rows = nil // a single type says nothing new
	}

	p.Checks = table{ID: "checks-table", Caption: "Checks of answers", Sortable: true,
		Columns: []column{{Name: "Test type"}, {Name: "Check"}, numberOf("Passed", ""), numberOf("Failed", "an answer that fails a check is an error, and in no latency"), {Name: "Why"}}}
	p.Values = table{ID: "values-table", Caption: "Numbers from answers", Sortable: true,
		Columns: []column{{Name: "Test type"}, {Name: "Number"}, numberOf("Count", ""), numberOf("Mean", ""), numberOf("Min", ""), numberOf("Max", "")}}
	for _, g := range s.Rollup(stats.ByTestType) {
		for _, c := range g.Checks {
			why := text(c.Example)
			why.Class = "message"
			p.Checks.Rows = append(p.Checks.Rows, []cell{text(g.Key.TestType), text(c.Name), counted(c.Passed), counted(c.Failed), why})
		}
		for _, v := range g.Values {
			p.Values.Rows = append(p.Values.Rows, []cell{text(g.Key.TestType), text(v.Name), counted(v.Count),
				number(plainNumber(v.Mean()), v.Mean()), number(plainNumber(v.Min), v.Min), number(plainNumber(v.Max), v.Max)})
		}
	}

	groups := map[string]*stats.Group{}
	for _, g := range s.Rollup(stats.ByPhase) {
		groups[g.Key.Phase] = g
	}
	p.Phases = table{
		ID: "phases-table", Caption: "Phases", Empty: "The result lists no phases.",
		Columns: []column{{Name: "Phase"}, {Name: "Measured"}, numberOf("From", "since the run's start"), numberOf("Lasted", ""), numberOf("Target users", ""),
			numberOf("Requests", ""), numberOf("Requests/s", ""), numberOf("Errors", "refused and failed, of the answered"), numberOf("TTFT p95", ""), numberOf("E2E p95", "")},
		Note: "Latencies are kept of measured phases only.",
	}
	open := export.SumArrivals(b.Phases) != nil
	if open {
		p.Phases.Columns = slices.Replace(p.Phases.Columns, 4, 5, numberOf("Arrivals", "requests that were due"), numberOf("Dropped", "of these, could not start"))
	}
	for _, ph := range b.Phases {
		g := groups[ph.Name]
		if g == nil {
			g = &stats.Group{}
		}
		measured := cell{Text: "no", Class: "muted"}
		if ph.Measured {
			measured = cell{Text: "yes"}
		}
		row := []cell{
			text(ph.Name), measured, number(human.Clock(ph.Start), float64(ph.Start)), spanned(ph.End - ph.Start), counted(uint64(max(0, ph.TargetUsers))),
			counted(g.All.Requests), perSecond(g.All.Requests, ph.End-ph.Start), errorRate(g.All),
			percentile(&g.Latency.TTFT, 0.95), percentile(&g.Latency.E2E, 0.95),
		}
		if open {
			a := ph.Arrivals
			if a == nil {
				a = &export.Arrivals{}
			}
			row = slices.Replace(row, 4, 5, counted(a.Intended), counted(a.Dropped))
		}
		p.Phases.Rows = append(p.Phases.Rows, row)
	}
}

func (p *page) addUsers(s *stats.Summary) {
	bad := func(u *stats.User) uint64 { return u.Totals.Refused + u.Totals.Failed }
	mean := func(u *stats.User) time.Duration {
		if u.MeasuredCount == 0 {
			return 0
		}
		return u.E2ESum / time.Duration(u.MeasuredCount)
	}
	top := func(t table, users []*stats.User, keep func(*stats.User) bool, order func(a, b *stats.User) int, what string) table {
		var list []*stats.User
		for _, u := range users {
			if keep(u) {
				list = append(list, u)
			}
		}
		slices.SortStableFunc(list, order)
		if len(list) > maxUserRows {
			t.Note = fmt.Sprintf("The first %d of %s %s; all are in result.json.", maxUserRows, human.Plural(len(list), "user"), what)
			list = list[:maxUserRows]
		}
		for _, u := range list {
			answer, slowest := nothing(), nothing()
			if u.MeasuredCount > 0 {
				answer, slowest = timed(mean(u)), timed(u.E2EMax)
			}
			t.Rows = append(t.Rows, []cell{{Text: u.Name, Sub: u.Org, Class: "pair"}, counted(u.Totals.Requests), counted(bad(u)), errorRate(u.Totals), answer, slowest})
		}
		return t
	}
	columns := []column{{Name: "User"}, numberOf("Requests", ""), numberOf("Errors", "refused and failed, of all requests"), numberOf("Error rate", "refused and failed, of the answered"),
		numberOf("Mean E2E", "of the user's measured successes"), numberOf("Max E2E", "of the user's measured successes")}
	p.Slowest = top(table{ID: "slowest-users", Caption: "Slowest users, by mean end-to-end latency", Sortable: true, Columns: columns, Empty: "No user has a measured answer."},
		s.Users, func(u *stats.User) bool { return u.MeasuredCount > 0 },
		func(a, b *stats.User) int { return cmp.Compare(mean(b), mean(a)) }, "with measured answers")
	p.Failing = top(table{ID: "failing-users", Caption: "Failing users, by number of errors", Sortable: true, Columns: columns, Empty: "No user met an error."},
		s.Users, func(u *stats.User) bool { return bad(u) > 0 },
		func(a, b *stats.User) int { return cmp.Compare(bad(b), bad(a)) }, "with errors")
	switch n := len(s.Users); n {
	case 0:
		p.UserLede = "No user sent a request."
	default:
		p.UserLede = fmt.Sprintf("%s sent requests.", human.Plural(n, "user"))
	}
}
