package isolation

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	// BudgetSlack is the part of a budget by which our account of the spending
	// may differ from the platform's before anybody is blamed for it.
	BudgetSlack = 0.05
	// BudgetGrace is how long a platform may take to book a request that has
	// been answered.
	BudgetGrace = time.Second
	// MinRefused is how many refusals show that a budget is enforced.
	MinRefused = 5

	// Blocks is how many stretches of time there are on each side of a
	// comparison. What follows each other closely is not independent; blocks
	// nearly are.
	Blocks = 10
	// MinInBlock is how many answers each block wants.
	MinInBlock = 5
	// ErrorMargin is by how much the share of errors may rise before it matters.
	ErrorMargin = 0.02
	// LatencyMargin is the same for latency, as a part of what it was before.
	LatencyMargin = 0.25
	// LatencyFloor is a rise of latency that never matters.
	LatencyFloor = 100 * time.Millisecond
)

// Fate is what became of a request.
type Fate int

// The fates.
const (
	Answered   Fate = iota
	OverBudget      // refused because of the budget
	Erred           // refused for another reason, or failed
	Uncounted       // broken or given up by this side: only its cost counts
)

// Spending is one request of a tenant. Moments are offsets; those before the
// load are negative.
type Spending struct {
	Sent, Done time.Duration
	Fate       Fate
	// Latency is what its user felt; TTFT says that it is up to the first token.
	Latency time.Duration
	TTFT    bool
	// Cost is in millionths of a dollar, meaningless unless CostKnown. What was
	// refused costs nothing.
	Cost      int64
	CostKnown bool
}

// Account is a tenant, its budget in millionths of a dollar (0: none), and
// its requests.
type Account struct {
	Org      string
	Limit    int64
	Requests []Spending
}

// Span is a stretch of the load.
type Span struct{ Start, End time.Duration }

// Spent is what became of a tenant's budget.
type Spent struct {
	Limit, Total int64 // micro-dollars
	// Refused counts refusals because of the budget. Early ones came before it
	// could have been spent; FirstSpent is the most that can have been booked at
	// the first of all, which came at First.
	Refused, Early int
	First          time.Duration
	FirstSpent     int64
	// Late requests were sent when the budget had been overspent for
	// [BudgetGrace], and were answered; they cost LateCost.
	Late     int
	LateCost int64
	// Unknown counts answers and failures whose cost nobody knows.
	Unknown int
}

// Overspent is what was spent beyond the budget, in micro-dollars.
func (s Spent) Overspent() int64 { return max(0, s.Total-s.Limit) }

// Change is a comparison of before and after.
type Change struct {
	Verdict       Verdict
	Before, After float64 // a share of errors, or a median latency in seconds
	// Low and High bound the difference: at [ClearLevel] each, or, if it is
	// violated, at [Level].
	Low, High, Margin float64
	Requests          [2]int // before and after
}

// BudgetResult is a verdict and the evidence for it.
type BudgetResult struct {
	Verdict Verdict
	Reason  string
	Org     string
	Spent
	// Wronged are the other tenants that were refused although their own budget
	// was not spent, and how often.
	Wronged map[string]int
	// Errors and Latency compare the other tenants before and after the first
	// refusal.
	Errors, Latency Change
}

// Budget judges whether the budget of one tenant is enforced upon it, and upon
// it alone. constant are the stretches with the same load throughout, in one of
// which the others are compared.
func Budget(subject Account, others []Account, constant []Span) BudgetResult {
	r := BudgetResult{Org: subject.Org, Spent: follow(subject), Wronged: map[string]int{}}
	var guilty, unsure []string
	accuse := func(format string, args ...any) { guilty = append(guilty, fmt.Sprintf(format, args...)) }
	doubt := func(format string, args ...any) { unsure = append(unsure, fmt.Sprintf(format, args...)) }

	if r.Early > 0 {
		accuse("%s was refused %d times before its budget of %s was spent, the first time at %s at most", r.Org, r.Early, dollars(r.Limit), dollars(r.FirstSpent))
	}
	if r.Late > 0 {
		accuse("%s went on for %d requests (%s) after its budget of %s had been spent for more than %v: overspent by %s (%s)",
			r.Org, r.Late, dollars(r.LateCost), dollars(r.Limit), BudgetGrace, dollars(r.Overspent()), share(r.Overspent(), r.Limit))
	}
	switch {
	case r.Limit <= 0:
		doubt("%s has no budget", r.Org)
	case r.Refused == 0 && r.Total < r.Limit && r.Unknown > 0:
		doubt("what %d requests of %s cost is not known", r.Unknown, r.Org)
	case r.Refused == 0 && r.Total < r.Limit:
		doubt("%s spent only %s of its budget of %s", r.Org, dollars(r.Total), dollars(r.Limit))
	case r.Refused < MinRefused:
		doubt("%s was refused %d times for its budget of %s, of which it spent %s: a verdict wants %d refusals", r.Org, r.Refused, dollars(r.Limit), dollars(r.Total), MinRefused)
	}

	var bystanders []Spending
	for _, o := range others {
		s := follow(o)
		switch {
		case s.Early > 0:
			r.Wronged[o.Org] = s.Early
			accuse("%s was refused %d times, the first time when it had spent %s at most of its own budget of %s", o.Org, s.Early, dollars(s.FirstSpent), dollars(s.Limit))
		case s.Refused > 0 && s.Limit == 0:
			doubt("%s was refused for a budget, though this run gave it none", o.Org)
		case s.Refused > 0: // its own is spent too: it is no bystander
		default:
			bystanders = append(bystanders, o.Requests...)
		}
	}
	if r.compare(bystanders, constant); r.Refused >= MinRefused && r.Errors.Requests == [2]int{} {
		doubt("the others could not be compared before and after: %s was first refused in no measured phase of constant load, or nobody else was at work there", r.Org)
	}
	for _, c := range []struct {
		what string
		Change
		write func(float64) string
	}{
		{"errors", r.Errors, func(f float64) string { return fmt.Sprintf("%.2f%%", 100*f) }},
		{"latency", r.Latency, func(f float64) string { return round(time.Duration(f * 1e9)).String() }},
	} {
		switch c.Verdict {
		case Violated:
			accuse("the others' %s rose from %s to %s when the budget of %s was spent, by more than %s at %v%% confidence", c.what, c.write(c.Before), c.write(c.After), r.Org, c.write(c.Low), 100*(1-Level))
		case Undecided:
			if r.Refused >= MinRefused && c.Requests != [2]int{} { // else there is no before and after
				doubt("whether the others' %s changed cannot be told from %d requests before and %d after", c.what, c.Requests[0], c.Requests[1])
			}
		}
	}
	switch {
	case len(guilty) > 0:
		r.Verdict, r.Reason = Violated, strings.Join(guilty, "; ")
	case len(unsure) > 0:
		r.Verdict, r.Reason = Undecided, strings.Join(unsure, "; ")
	default:
		r.Verdict = Held
		r.Reason = fmt.Sprintf("%s was refused from %s on, of a budget of %s (overspent by %s, %s), and only it; with %v%% confidence the others' errors rose by at most %.2f points, their latency by at most %v",
			r.Org, dollars(r.FirstSpent), dollars(r.Limit), dollars(r.Overspent()), share(r.Overspent(), r.Limit),
			100*(1-ClearLevel), 100*max(0, r.Errors.High), round(time.Duration(max(0, r.Latency.High)*1e9)))
	}
	return r
}

// follow goes through what one tenant spent.
//
// When a platform books a request is its own affair: somewhere between its
// being sent and answered, or for a while as what it can cost at most. So at
// any moment there is a least that it must have booked, all that was answered a
// grace ago, and a most that it can have, all that was sent until then and for
// what is under way, and the next, as much again as any request has cost.
func follow(a Account) Spent {
	s := Spent{Limit: a.Limit}
	type step struct {
		at   time.Duration
		cost int64
	}
	var sent, done []step
	dearest := int64(0)
	for _, q := range a.Requests {
		switch {
		case q.Fate == OverBudget:
		case q.CostKnown:
			s.Total += q.Cost
			dearest = max(dearest, q.Cost)
		default:
			s.Unknown++
		}
	}
	for _, q := range a.Requests {
		if q.Fate == OverBudget {
			continue
		}
		most := q.Cost
		if !q.CostKnown {
			most = dearest
		} else {
			done = append(done, step{q.Done, q.Cost})
		}
		sent = append(sent, step{q.Sent, most})
	}
	total := func(steps []step) func(at time.Duration) int64 {
		slices.SortFunc(steps, func(a, b step) int { return int(a.at - b.at) })
		for i := 1; i < len(steps); i++ {
			steps[i].cost += steps[i-1].cost
		}
		return func(at time.Duration) int64 {
			i, found := slices.BinarySearchFunc(steps, at, func(s step, at time.Duration) int { return int(s.at - at) })
			for found && i+1 < len(steps) && steps[i+1].at == at {
				i++
			}
			if !found {
				i--
			}
			if i < 0 {
				return 0
			}
			return steps[i].cost
		}
	}
	most, least := total(sent), total(done)
	underWay := func(at time.Duration) (n int64) {
		for _, q := range a.Requests {
			if q.Sent <= at && q.Done >= at {
				n++
			}
		}
		return n
	}
	slack := int64(math.Ceil(BudgetSlack * float64(a.Limit)))
	for _, q := range a.Requests {
		over := a.Limit > 0 && least(q.Sent-BudgetGrace) >= a.Limit+slack
		switch q.Fate {
		case OverBudget:
			if s.Refused == 0 || q.Done < s.First {
				s.First = q.Done
			}
			s.Refused++
			if known := most(q.Done); a.Limit > 0 && known < a.Limit-slack && known+(underWay(q.Done)+1)*dearest < a.Limit-slack {
				s.Early++
			}
		case Answered:
			if over {
				s.Late++
				s.LateCost += q.Cost
			}
		case Erred, Uncounted:
		}
	}
	if s.Refused > 0 {
		s.FirstSpent = most(s.First)
	}
	return s
}

// compare holds the bystanders' time after the first refusal against that
// before it, within one stretch of constant load.
func (r *BudgetResult) compare(all []Spending, constant []Span) {
	r.Errors, r.Latency = Change{Verdict: Undecided, Margin: ErrorMargin}, Change{Verdict: Undecided, Margin: LatencyFloor.Seconds()}
	at := slices.IndexFunc(constant, func(s Span) bool { return s.Start <= r.First && r.First < s.End })
	if r.Refused == 0 || at < 0 {
		return
	}
	span := constant[at]
	streams, answered := 0, 0
	for _, q := range all {
		if q.Fate == Answered {
			answered++
			if q.TTFT {
				streams++
			}
		}
	}
	byTTFT := 2*streams >= answered
	type block struct {
		late      []float64
		n, errors int
	}
	var blocks [2][Blocks]block
	for _, q := range all {
		side, from, to := 0, span.Start, r.First
		if q.Sent >= r.First {
			side, from, to = 1, r.First, span.End
		}
		if q.Sent < from || q.Sent >= to || q.Fate == Uncounted {
			continue
		}
		b := &blocks[side][int(float64(q.Sent-from)/float64(to-from)*Blocks)]
		b.n++
		switch {
		case q.Fate != Answered:
			b.errors++
		case q.TTFT == byTTFT:
			b.late = append(b.late, q.Latency.Seconds())
		}
	}
	var rates, medians [2][]float64
	var late [2][]float64
	var errors [2]int
	for side := range blocks {
		for _, b := range blocks[side] {
			r.Errors.Requests[side] += b.n
			errors[side] += b.errors
			if b.n >= MinInBlock {
				rates[side] = append(rates[side], float64(b.errors)/float64(b.n))
			}
			if late[side] = append(late[side], b.late...); len(b.late) >= MinInBlock {
				medians[side] = append(medians[side], median(b.late))
			}
		}
		r.Latency.Requests[side] = len(late[side])
	}
	if e := &r.Errors; len(rates[0]) == Blocks && len(rates[1]) == Blocks {
		n := e.Requests
		e.Before, e.After = float64(errors[0])/float64(n[0]), float64(errors[1])/float64(n[1])
		e.judge(rates[0], rates[1], func(z float64) (float64, float64) { return proportions(errors[0], n[0], errors[1], n[1], z) })
	}
	if l := &r.Latency; len(medians[0]) == Blocks && len(medians[1]) == Blocks {
		l.Before, l.After = median(late[0]), median(late[1])
		l.Margin = max(l.Margin, LatencyMargin*l.Before)
		l.judge(medians[0], medians[1], nil)
	}
}

// judge compares blocks, and if total is given the sums as well: what accuses
// must be seen in both, and so must what clears.
func (c *Change) judge(before, after []float64, total func(z float64) (low, high float64)) {
	bounds := func(level, z float64) (low, high float64, sure bool) {
		low, high = shift(before, after, level)
		if total == nil {
			return low, high, low > c.Margin
		}
		l, h := total(z)
		return l, max(h, high), min(low, l) > c.Margin
	}
	var sure bool
	if c.Low, c.High, sure = bounds(Level, zAccuse); sure {
		c.Verdict = Violated
		return
	}
	c.Low, c.High, _ = bounds(ClearLevel, zClear)
	if c.High <= c.Margin {
		c.Verdict = Held
	}
}

func dollars(micro int64) string {
	return "$" + strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.6f", float64(micro)/1e6), "0"), ".")
}

func share(part, whole int64) string {
	if whole <= 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(whole))
}
