package metrics

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Values of labels that stand for many.
const (
	// All is the user_id of an organization's totals.
	All = "all"
	// Other stands for whatever found no room of its own.
	Other = "other"
)

// owner is whom series of users belong to: a user, or an organization.
type owner struct {
	org, user string

	mu       sync.Mutex // guards all below, and what belongs to this owner
	requests []*requests
	spent    []*spent
	errors   []failures
	latency  stats.Histogram
	costs    int64 // micro-USD
	hits     uint64
	misses   uint64
}

// requests are those of one owner, model and test type.
type requests struct {
	model, testType string
	outcomes        [record.Outcomes]uint64
}

// spent are tokens of one owner and model.
type spent struct {
	model                      string
	prompt, completion, cached uint64
}

type failures struct {
	kind   record.Kind
	status string
	count  uint64
}

// person is one simulated user. The owner's lock guards the sums.
type person struct {
	name, org string
	owner     *owner
	routes    []*route // guarded by Metrics.mu

	errors   uint64
	latency  time.Duration
	measured uint64
}

// route is where records of one user about one model go.
type route struct {
	model, backend, testType string
	requests                 *requests
	spent                    *spent
	llm                      *backend
}

func (m *Metrics) addUser(p *person, to *route, r *record.Record) {
	o := p.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.UsageKnown {
		to.spent.prompt += uint64(max(0, r.PromptTokens))
		to.spent.completion += uint64(max(0, r.CompletionTokens))
		to.spent.cached += uint64(max(0, r.CachedTokens))
	}
	if r.CostKnown {
		o.costs += r.CostMicroUSD
	}
	if r.Kind != record.None && r.Kind != record.CancelledKind {
		m.fail(o, r)
	}
	if r.Injected() {
		return
	}
	m.count(o, to.requests, r.Outcome)
	switch {
	case r.Outcome == record.Refused, r.Outcome == record.Failed:
		p.errors++
	case r.Outcome == record.Success && r.Measured:
		o.latency.Record(r.E2E())
		p.latency += r.E2E()
		p.measured++
	}
	if r.UsageKnown && r.CachedKnown {
		if r.CachedTokens > 0 {
			o.hits++
		} else {
			o.misses++
		}
	}
}

// count counts a request; o is locked. A success has its series from the
// beginning, any other outcome takes one when it comes.
func (m *Metrics) count(o *owner, of *requests, outcome record.Outcome) {
	if of.outcomes[outcome] == 0 && outcome != record.Success && of.model != Other && !m.room.take(1) {
		of = o.requestsOf(Other, Other)
	}
	of.outcomes[outcome]++
}

// requestsOf returns an owner's counter; it is locked.
func (o *owner) requestsOf(model, testType string) *requests {
	for _, r := range o.requests {
		if r.model == model && r.testType == testType {
			return r
		}
	}
	r := &requests{model: model, testType: testType}
	o.requests = append(o.requests, r)
	return r
}

// spentOf returns an owner's counter; it is locked.
func (o *owner) spentOf(model string) *spent {
	for _, s := range o.spent {
		if s.model == model {
			return s
		}
	}
	s := &spent{model: model}
	o.spent = append(o.spent, s)
	return s
}

// knows reports whether there are counters already.
func (o *owner) knows(model, testType string) (requested, spent bool) {
	for _, r := range o.requests {
		requested = requested || r.model == model && r.testType == testType
	}
	for _, s := range o.spent {
		spent = spent || s.model == model
	}
	return requested, spent
}

// fail counts an error; o is locked.
func (m *Metrics) fail(o *owner, r *record.Record) {
	status := strconv.Itoa(r.Status)
	i := slices.IndexFunc(o.errors, func(f failures) bool { return f.kind == r.Kind && f.status == status })
	if i < 0 && !m.room.take(1) {
		status = Other // at most one for each kind
		i = slices.IndexFunc(o.errors, func(f failures) bool { return f.kind == r.Kind && f.status == status })
	}
	if i < 0 {
		i = len(o.errors)
		o.errors = append(o.errors, failures{kind: r.Kind, status: status})
	}
	o.errors[i].count++
}

func (o *owner) emit(e emitter, run *totals) {
	o.mu.Lock()
	requests, tokens := make([]requests, len(o.requests)), make([]spent, len(o.spent))
	for i, r := range o.requests {
		requests[i] = *r
	}
	for i, s := range o.spent {
		tokens[i] = *s
	}
	errors, latency := slices.Clone(o.errors), summaryOf(&o.latency)
	costs, hits, misses := o.costs, o.hits, o.misses
	o.mu.Unlock()

	for _, r := range requests {
		for outcome, n := range r.outcomes {
			run.outcomes[outcome] += n
			if n > 0 || record.Outcome(outcome) == record.Success {
				e.number("user_requests_total", float64(n), o.org, o.user, record.Outcome(outcome).String(), r.model, r.testType) //nolint:gosec // one of four
			}
		}
	}
	for _, s := range tokens {
		t := run.tokens[s.model]
		for kind, n := range [...]uint64{s.prompt, s.completion, s.cached} {
			t[kind] += n
			e.number("user_tokens_total", float64(n), o.org, o.user, tokenTypes[kind], s.model)
		}
		run.tokens[s.model] = t
	}
	for _, f := range errors {
		e.number("user_errors_total", float64(f.count), o.org, o.user, string(f.kind), f.status)
	}
	run.costs += costs
	e.number("user_cost_usd", dollars(costs), o.org, o.user)
	e.send("user_latency_seconds", &dto.Metric{Summary: latency}, []string{o.org, o.user})
	e.number("user_cache_hits_total", float64(hits), o.org, o.user)
	e.number("user_cache_misses_total", float64(misses), o.org, o.user)
	if hits+misses > 0 {
		e.number("user_cache_hit_ratio", float64(hits)/float64(hits+misses), o.org, o.user)
	}
}

// tokenTypes are the values of the label token_type.
var tokenTypes = [...]string{"prompt", "completion", "cached"}

func dollars(micro int64) float64 { return float64(micro) / 1e6 }

// top is how many users are listed as the most failing, and as the slowest.
const top = 10

// emitTop lists the users who fail most and wait longest.
func (m *Metrics) emitTop(e emitter) {
	type sums struct {
		org, name string
		errors    uint64
		latency   float64
	}
	m.mu.RLock()
	people := make([]*person, 0, len(m.people))
	for _, p := range m.people {
		people = append(people, p)
	}
	m.mu.RUnlock()
	all := make([]sums, 0, len(people))
	for _, p := range people {
		p.owner.mu.Lock()
		s := sums{org: p.org, name: p.name, errors: p.errors}
		if p.measured > 0 {
			s.latency = p.latency.Seconds() / float64(p.measured)
		}
		p.owner.mu.Unlock()
		all = append(all, s)
	}
	named := func(a, b sums) int { return cmp.Or(cmp.Compare(a.org, b.org), cmp.Compare(a.name, b.name)) }
	slices.SortFunc(all, func(a, b sums) int { return cmp.Or(cmp.Compare(b.errors, a.errors), named(a, b)) })
	for _, s := range all[:min(top, len(all))] {
		if s.errors > 0 {
			e.number("user_top_errors", float64(s.errors), s.org, s.name)
		}
	}
	slices.SortFunc(all, func(a, b sums) int { return cmp.Or(cmp.Compare(b.latency, a.latency), named(a, b)) })
	for _, s := range all[:min(top, len(all))] {
		if s.latency > 0 {
			e.number("user_top_latency_seconds", s.latency, s.org, s.name)
		}
	}
}
