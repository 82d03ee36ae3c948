// Package results makes one document of those of all workers of a run.
//
// Sums and histograms are added, so that a merged percentile is that of all
// requests together; what is said is said once, with who said it. Workers are
// taken by their index: the order in which their documents are given does not
// matter. The verdict is left to be judged, once, from the merged numbers.
package results

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// slowStart is how far apart workers may begin without a warning.
const slowStart = 100 * time.Millisecond

// Merge returns the document of a run by several workers, without a verdict.
// whole says what was run, and no more is taken from it: any of the parts will
// do. A worker whose pod was replaced has a part for each of its attempts, which
// add up. lost says why documents are missing; a worker that is in neither list is
// lost too, and so is an attempt that made load before one of the parts, which
// replaces it. The parts are not changed.
func Merge(whole *export.Bundle, parts []*export.Bundle, lost []export.Lost) (*export.Bundle, error) {
	workers := max(1, whole.Run.Workers)
	byWorker := make([][]*export.Bundle, workers)
	for _, p := range parts {
		switch r := p.Run; {
		case r.ID != whole.Run.ID || r.Seed != whole.Run.Seed || r.ScenarioSHA256 != whole.Run.ScenarioSHA256:
			return nil, fmt.Errorf("merge the results: that of worker %d is of run %s with seed %d, and not of run %s with seed %d and the same scenario",
				r.Worker, r.ID, r.Seed, whole.Run.ID, whole.Run.Seed)
		case max(1, r.Workers) != workers || r.Worker < 0 || r.Worker >= workers || r.StartSpread > 0 || len(r.Lost) > 0:
			return nil, fmt.Errorf("merge the results: that of worker %d of %d is not one of the %d of run %s", r.Worker, r.Workers, workers, whole.Run.ID)
		}
		at, twice := slices.BinarySearchFunc(byWorker[p.Run.Worker], p.Run.Attempt, func(have *export.Bundle, attempt int) int { return cmp.Compare(have.Run.Attempt, attempt) })
		if twice {
			return nil, fmt.Errorf("merge the results: attempt %d of worker %d of run %s is there twice", p.Run.Attempt, p.Run.Worker, p.Run.ID)
		}
		byWorker[p.Run.Worker] = slices.Insert(byWorker[p.Run.Worker], at, p)
	}
	m := merger{whole: &export.Bundle{Schema: whole.Schema, Tool: whole.Tool, Run: whole.Run, Summary: stats.NewSummary()}}
	for i, attempts := range byWorker {
		m.parts = append(m.parts, attempts...)
		m.whole.Run.Lost = append(m.whole.Run.Lost, missing(i, attempts, lost, workers == 1)...)
	}
	return m.whole, m.merge()
}

// missing are the attempts of one worker that made load, as far as is known, and
// left no document. One that began with the others was preceded by none that made
// load, but the only worker of a run always begins anew, and knows of nobody.
func missing(worker int, attempts []*export.Bundle, said []export.Lost, alone bool) (lost []export.Lost) {
	for _, l := range said {
		there := slices.ContainsFunc(attempts, func(p *export.Bundle) bool { return p.Run.Attempt == l.Attempt })
		if l.Worker == worker && !there && !slices.ContainsFunc(lost, func(have export.Lost) bool { return have.Attempt == l.Attempt }) {
			lost = append(lost, l)
		}
	}
	if len(attempts) == 0 && len(lost) == 0 {
		return []export.Lost{{Worker: worker, Reason: noResult}}
	}
	// What an attempt was told of those before it, beyond what they left.
	next, known := 0, uint64(0)
	for _, p := range attempts {
		told := p.Run.Carried
		for ; next < p.Run.Attempt; next++ {
			i := slices.IndexFunc(lost, func(l export.Lost) bool { return l.Attempt == next })
			switch {
			case i >= 0 && p.Run.Late == 0 && !alone && lost[i].Requests+told == 0:
				lost = slices.Delete(lost, i, i+1)
			case i >= 0:
				lost[i].Requests = max(lost[i].Requests, told-min(told, known))
				known += lost[i].Requests
			case p.Run.Late > 0 || alone:
				lost = append(lost, export.Lost{Worker: worker, Attempt: next, Reason: noResult, Requests: told - min(told, known)})
				known += lost[len(lost)-1].Requests
			}
		}
		next = p.Run.Attempt + 1
		known += p.Headline.Requests
	}
	for i := range lost {
		lost[i].Replaced = lost[i].Attempt < next
	}
	slices.SortFunc(lost, func(a, b export.Lost) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return lost
}

const noResult = "it left no result"

// merger is a merge under way.
type merger struct {
	whole *export.Bundle
	parts []*export.Bundle // by worker and attempt
}

// last reports whether a part is the last attempt of its worker.
func (m *merger) last(i int) bool {
	return i == len(m.parts)-1 || m.parts[i+1].Run.Worker != m.parts[i].Run.Worker
}

// first reports the same of the first of its attempts for which has holds.
func (m *merger) first(p *export.Bundle, has func(*export.Bundle) bool) bool {
	for _, one := range m.parts {
		if one.Run.Worker == p.Run.Worker && has(one) {
			return one == p
		}
	}
	return false
}

func (m *merger) merge() error {
	b := m.whole
	m.times()
	var errs []error
	for _, p := range m.parts {
		part := stats.NewSummary()
		part.Merge(p.Summary)
		part.Shift(m.late(p))
		b.Summary.Merge(part)
		errs = append(errs, m.phases(p))
		m.orgs(p)
		m.throttled(p)
		m.chaos(p)
		b.Isolation = append(b.Isolation, p.Isolation...)
		b.KeyLifecycle = append(b.KeyLifecycle, p.KeyLifecycle...)
	}
	for _, p := range b.Phases {
		if p.Measured {
			b.Run.MeasuredDuration += p.End - p.Start
		}
	}
	slices.SortStableFunc(b.Isolation, func(x, y export.Isolation) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Model, y.Model), cmp.Compare(x.Org, y.Org))
	})
	slices.SortFunc(b.Orgs, func(x, y export.Org) int { return cmp.Compare(x.Index, y.Index) })
	slices.SortFunc(b.Throttled, func(x, y export.Throttle) int { return cmp.Compare(x.Limit, y.Limit) })
	m.bootstrap()
	m.cleanup()
	m.stop()
	b.Warnings = m.told(func(p *export.Bundle) []string { return p.Warnings })
	b.Warnings = append(b.Warnings, m.succession()...)
	if b.Run.StartSpread > slowStart {
		b.Warnings = append(b.Warnings, fmt.Sprintf("the last worker began %s after the first: for so long there was less load than asked for", human.Duration(b.Run.StartSpread)))
	}
	m.findings()
	m.conclude()
	return errors.Join(errs...)
}

// conclude derives what follows from the merged numbers.
func (m *merger) conclude() {
	b := m.whole
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
	b.Headline.Arrivals = export.MeasuredArrivals(b.Phases)
	work := &export.Work{}
	observed := map[string][]*health.Observations{} // by host
	for i, p := range m.parts {
		if p.Generator == nil || p.Generator.Observed == nil {
			continue
		}
		observed[p.Run.Host] = append(observed[p.Run.Host], p.Generator.Observed)
		switch {
		case work == nil:
		case !m.last(i):
			work = nil // attempts came one after the other, and were seen as if together
		case p.Quality == nil || p.Quality.Concurrency == nil:
			work = nil // nobody knows what that worker's requests add up to
		default:
			work.Requests += p.Summary.Overall().All.Requests
			work.Time += time.Duration(p.Quality.Concurrency.Implied * float64(p.Generator.Observed.Duration))
		}
	}
	b.Headline.Users = m.users()
	var hosts []*health.Observations
	for _, host := range slices.Sorted(maps.Keys(observed)) {
		hosts = append(hosts, health.Together(observed[host]))
	}
	together := health.Apart(hosts)
	if together == nil {
		return // no load
	}
	evidence := health.Evidence{Observations: together, Latency: &b.Summary.Overall().Latency, Embedded: b.Run.Target.Embedded}
	for _, t := range b.Throttled {
		evidence.HeldBack = append(evidence.HeldBack, t.Limit)
	}
	b.Generator = &export.Generator{Judgement: health.Judge(evidence), Observed: together}
	if len(hosts) > 1 { // one of them may have been short of what the others had enough of
		b.Generator.Reasons = append(b.Generator.Reasons, m.short()...)
		b.Generator.Limited = len(b.Generator.Reasons) > 0
	}
	b.Quality = export.NewQuality(b, work)
}

// short says what the worker was short of that was so the most, and how many
// others were short of something.
func (m *merger) short() (reasons []string) {
	var most *export.Bundle
	var greatest float64
	limited := map[int]bool{}
	for _, p := range m.parts {
		if p.Generator == nil || !p.Generator.Limited {
			continue
		}
		limited[p.Run.Worker] = true
		part := 0.0
		for _, mark := range p.Generator.Marks {
			part = max(part, float64(mark.Added)/float64(mark.Value))
		}
		if most == nil || part > greatest {
			most, greatest = p, part
		}
	}
	if most == nil {
		return nil
	}
	for _, reason := range most.Generator.Reasons {
		who := fmt.Sprintf(" (worker %d)", most.Run.Worker)
		if others := len(limited) - 1; others > 0 {
			who = fmt.Sprintf(" (worker %d, the worst of %d of %d workers that were short of something)", most.Run.Worker, others+1, m.whole.Run.Workers)
		}
		reasons = append(reasons, reason+who)
	}
	return reasons
}

// users sums what the workers had. Of one with several attempts that is an average
// over the time that they made load, and for what it delivered, over all of it.
func (m *merger) users() (all *export.UserLoad) {
	for i := 0; i < len(m.parts); {
		from := i
		for !m.last(i) {
			i++
		}
		i++
		var sum export.UserLoad
		var took time.Duration
		for _, p := range m.parts[from:i] {
			u, t := p.Headline.Users, p.Run.MeasuredDuration
			if i-from == 1 {
				t = 1 // whatever it is, it is all there is
			}
			if u != nil {
				sum.Intended += u.Intended * float64(t)
				sum.Delivered += u.Delivered * float64(t)
				took += t
			}
		}
		if took == 0 {
			continue
		}
		if all == nil {
			all = &export.UserLoad{}
		}
		all.Intended += sum.Intended / float64(took)
		if i-from > 1 {
			took = max(took, m.whole.Run.MeasuredDuration)
		}
		all.Delivered += sum.Delivered / float64(took)
	}
	return all
}

// succession says when nobody, or two, made the load of a worker that was replaced.
func (m *merger) succession() (texts []string) {
	var before *export.Bundle
	for _, p := range m.parts {
		if !began(p) {
			continue
		}
		if before == nil || before.Run.Worker != p.Run.Worker {
			switch {
			case p.Run.Attempt > 0 && p.Run.Late > 0:
				texts = append(texts, fmt.Sprintf("worker %d was lost; attempt %d at its part began %s after the others", p.Run.Worker, p.Run.Attempt, human.Duration(p.Run.Late)))
			case p.Run.Attempt > 0 && m.whole.Run.Workers == 1:
				texts = append(texts, fmt.Sprintf("worker 0 was lost; attempt %d began the load anew", p.Run.Attempt))
			}
			before = p
			continue
		}
		ended, came := before.Run.Started.Add(before.Run.Duration), p.Run.Started.Add(p.Run.Late)
		switch gap := came.Sub(ended); {
		case !p.Run.Started.Equal(before.Run.Started):
			texts = append(texts, fmt.Sprintf("attempt %d of worker %d did not learn when the load had begun, and began it anew", p.Run.Attempt, p.Run.Worker))
		case gap > 0:
			texts = append(texts, fmt.Sprintf("worker %d made no load for %s: it was lost %s after the start, and attempt %d came in its place",
				p.Run.Worker, human.Duration(gap), human.Duration(before.Run.Duration), p.Run.Attempt))
		default:
			texts = append(texts, fmt.Sprintf("attempts %d and %d of worker %d made load at the same time, for %s: there was more than asked for",
				before.Run.Attempt, p.Run.Attempt, p.Run.Worker, human.Duration(-gap)))
		}
		before = p
	}
	return texts
}

// began reports whether a worker made any load.
func began(p *export.Bundle) bool { return len(p.Phases) > 0 }

// times finds out when the first worker began and the last one ended.
func (m *merger) times() {
	run := &m.whole.Run
	run.Worker, run.Duration, run.MeasuredDuration, run.StartSpread = 0, 0, 0, 0
	run.Attempt, run.Host, run.Late, run.Carried = 0, "", 0, 0
	var first, last, end time.Time
	for _, p := range m.parts {
		if !began(p) {
			continue
		}
		if at := p.Run.Started.Add(max(p.Run.Late, p.Phases[0].Start)); p.Run.Attempt == 0 {
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		if run.Started.IsZero() || end.IsZero() || p.Run.Started.Before(run.Started) {
			run.Started = p.Run.Started
		}
		if e := p.Run.Started.Add(p.Run.Duration); e.After(end) {
			end = e
		}
	}
	if !end.IsZero() {
		run.Started = run.Started.UTC()
		run.Duration, run.StartSpread = end.Sub(run.Started), last.Sub(first)
	}
}

// late is how long after the first worker's the offsets of another count from.
func (m *merger) late(p *export.Bundle) time.Duration {
	if !began(p) {
		return 0
	}
	return p.Run.Started.Sub(m.whole.Run.Started)
}

// phases adds those of one worker, who may have ended before the others.
func (m *merger) phases(p *export.Bundle) error {
	late := m.late(p)
	for i, from := range p.Phases {
		from.Start += late
		from.End += late
		if from.Arrivals != nil {
			from.Arrivals = new(*from.Arrivals)
		}
		if i == len(m.whole.Phases) {
			m.whole.Phases = append(m.whole.Phases, from)
			continue
		}
		into := &m.whole.Phases[i]
		if into.Name != from.Name {
			return fmt.Errorf("merge the results: phase %d is %s to worker %d, and %s to others", i+1, from.Name, p.Run.Worker, into.Name)
		}
		into.Start, into.End = min(into.Start, from.Start), max(into.End, from.End)
		if m.first(p, func(one *export.Bundle) bool { return len(one.Phases) > i }) { // later ones are the same users
			into.TargetUsers += from.TargetUsers
		}
		into.Constant = into.Constant && from.Constant
		into.Arrivals = sum(into.Arrivals, from.Arrivals)
	}
	return nil
}

func sum(a, b *export.Arrivals) *export.Arrivals {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &export.Arrivals{Intended: a.Intended + b.Intended, Dropped: a.Dropped + b.Dropped}
}

func (m *merger) orgs(p *export.Bundle) {
	for _, o := range p.Orgs {
		i := slices.IndexFunc(m.whole.Orgs, func(have export.Org) bool { return have.Index == o.Index })
		if i < 0 {
			m.whole.Orgs = append(m.whole.Orgs, o)
			continue
		}
		into := &m.whole.Orgs[i]
		if m.first(p, func(one *export.Bundle) bool {
			return slices.ContainsFunc(one.Orgs, func(have export.Org) bool { return have.Index == o.Index })
		}) {
			into.Users += o.Users
		}
		into.Arrivals = sum(into.Arrivals, o.Arrivals)
	}
}

func (m *merger) throttled(p *export.Bundle) {
	for _, t := range p.Throttled {
		i := slices.IndexFunc(m.whole.Throttled, func(have export.Throttle) bool { return have.Limit == t.Limit })
		if i < 0 {
			m.whole.Throttled = append(m.whole.Throttled, t)
			continue
		}
		into := &m.whole.Throttled[i]
		into.Requests += t.Requests
		into.Total += t.Total
		into.Longest = max(into.Longest, t.Longest)
	}
}

func (m *merger) chaos(p *export.Bundle) {
	if p.Chaos == nil {
		return
	}
	if m.whole.Chaos == nil {
		m.whole.Chaos = &export.Chaos{}
	}
	into := m.whole.Chaos
	into.Injected += p.Chaos.Injected
	into.Delayed += p.Chaos.Delayed
	into.DelayTotal += p.Chaos.DelayTotal
	for _, f := range p.Chaos.Faults {
		i, have := slices.BinarySearchFunc(into.Faults, f.Fault, func(x export.ChaosFault, name string) int { return cmp.Compare(x.Fault, name) })
		if !have {
			into.Faults = slices.Insert(into.Faults, i, export.ChaosFault{Fault: f.Fault})
		}
		into.Faults[i].Requests += f.Requests
	}
	for _, o := range p.Chaos.Outages {
		i, have := slices.BinarySearchFunc(into.Outages, o.At, func(x export.Outage, at time.Duration) int { return cmp.Compare(x.At, at) })
		if !have {
			into.Outages = slices.Insert(into.Outages, i, export.Outage{At: o.At, Duration: o.Duration})
		}
		for _, r := range o.Recoveries {
			into.Outages[i].Recoveries = recovered(into.Outages[i].Recoveries, r)
		}
	}
}

// recovered adds how an org got over an outage, as one worker saw it: the org
// has recovered when it has for all of them.
func recovered(all []export.Recovery, r export.Recovery) []export.Recovery {
	i, have := slices.BinarySearchFunc(all, r.Org, func(x export.Recovery, org string) int { return cmp.Compare(x.Org, org) })
	if !have {
		return slices.Insert(all, i, r)
	}
	into := &all[i]
	into.Answers += r.Answers
	if r.FirstSuccess != nil && (into.FirstSuccess == nil || *r.FirstSuccess < *into.FirstSuccess) {
		into.FirstSuccess = r.FirstSuccess
	}
	if into.SuccessRate != nil && (r.SuccessRate == nil || *r.SuccessRate > *into.SuccessRate) {
		into.SuccessRate = r.SuccessRate
	}
	return all
}

func (m *merger) bootstrap() {
	for _, p := range m.parts {
		from := p.Bootstrap
		if from == nil {
			continue
		}
		if m.whole.Bootstrap == nil {
			m.whole.Bootstrap = &export.Bootstrap{}
		}
		into := m.whole.Bootstrap
		if m.first(p, func(one *export.Bundle) bool { return one.Bootstrap != nil }) { // later ones find them there
			into.Orgs += from.Orgs
			into.Users += from.Users
		}
		into.Keys += from.Keys
		into.Retries += from.Retries
		into.Duration = max(into.Duration, from.Duration)
	}
	if m.whole.Bootstrap != nil {
		m.whole.Bootstrap.Notes = m.told(func(p *export.Bundle) []string {
			if p.Bootstrap == nil {
				return nil
			}
			return p.Bootstrap.Notes
		})
	}
}

func (m *merger) cleanup() {
	for i, p := range m.parts {
		if p.Cleanup != nil && (m.last(i) || p.Cleanup.Status != "retained") { // for the next attempt
			m.whole.Cleanup = AddCleanup(m.whole.Cleanup, p.Cleanup)
		}
	}
	if m.whole.Cleanup != nil {
		m.whole.Cleanup.Notes = m.told(func(p *export.Bundle) []string {
			if p.Cleanup == nil {
				return nil
			}
			return p.Cleanup.Notes
		})
	}
}

// AddCleanup returns the sum of what two clean-ups did, which went on at the
// same time; a may be nil.
func AddCleanup(a, b *export.Cleanup) *export.Cleanup {
	if a == nil {
		a = &export.Cleanup{}
	}
	gravity := []string{"", "unneeded", "done", "retained", "incomplete"}
	status := a.Status
	if slices.Index(gravity, b.Status) > slices.Index(gravity, status) {
		status = b.Status
	}
	return &export.Cleanup{
		Status: status, DeletedOrgs: a.DeletedOrgs + b.DeletedOrgs, DeletedUsers: a.DeletedUsers + b.DeletedUsers,
		DeletedKeys: a.DeletedKeys + b.DeletedKeys, RevokedKeys: a.RevokedKeys + b.RevokedKeys, Suspended: a.Suspended + b.Suspended,
		Remaining: a.Remaining + b.Remaining, Duration: max(a.Duration, b.Duration), Notes: slices.Concat(a.Notes, b.Notes),
	}
}

// stop finds the gravest reason for which a worker ended. A worker that was lost
// and not replaced is one whose part could not be carried out.
func (m *merger) stop() {
	gravity := []string{"", "completed", "limit", "interrupted", "broken"}
	reason := ""
	superseded := map[*export.Bundle]bool{} // others took their place
	for i, p := range m.parts {
		if superseded[p] = !m.last(i); superseded[p] {
			continue
		}
		if slices.Index(gravity, p.Stop.Reason) > slices.Index(gravity, reason) {
			reason = p.Stop.Reason
		}
	}
	details := m.told(func(p *export.Bundle) []string {
		if superseded[p] || p.Stop.Reason != reason || p.Stop.Detail == "" {
			return nil
		}
		return []string{p.Stop.Detail}
	})
	if lost, _ := m.whole.Run.Losses(); len(lost) > 0 {
		if reason != "broken" {
			reason, details = "broken", nil
		}
		details = append(details, lost...)
	}
	m.whole.Stop = export.Stop{Reason: reason, Detail: strings.Join(details, "; ")}
}

func (m *merger) findings() {
	var titles []string
	for _, p := range m.parts {
		for _, f := range p.Findings {
			if !slices.Contains(titles, f.Title) {
				titles = append(titles, f.Title)
			}
		}
	}
	slices.Sort(titles)
	for _, title := range titles {
		for _, detail := range m.told(func(p *export.Bundle) (details []string) {
			for _, f := range p.Findings {
				if f.Title == title {
					details = append(details, f.Detail)
				}
			}
			return details
		}) {
			m.whole.Findings = append(m.whole.Findings, export.Finding{Title: title, Detail: detail})
		}
	}
}

// told returns what workers say, each text once, and how many said it, or who if
// that was one.
func (m *merger) told(says func(*export.Bundle) []string) (texts []string) {
	by := map[string][]int{}
	for _, p := range m.parts {
		for _, text := range says(p) {
			switch who := by[text]; {
			case who == nil:
				texts = append(texts, text)
			case who[len(who)-1] == p.Run.Worker:
				continue
			}
			by[text] = append(by[text], p.Run.Worker)
		}
	}
	if m.whole.Run.Workers <= 1 {
		return texts
	}
	for i, text := range texts {
		if who := by[text]; len(who) == 1 {
			texts[i] += fmt.Sprintf(" (worker %d)", who[0])
		} else {
			texts[i] += fmt.Sprintf(" (each of %d workers)", len(who))
		}
	}
	return texts
}
