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

// Merge returns the document of a run by several workers of one machine, without
// a verdict. whole says what was run, and no more is taken from it: any of the
// parts will do. lost says why documents are missing; a worker that is in
// neither list is lost too. The parts are not changed.
func Merge(whole *export.Bundle, parts []*export.Bundle, lost []export.Lost) (*export.Bundle, error) {
	workers := max(1, whole.Run.Workers)
	byWorker := make([]*export.Bundle, workers)
	for _, p := range parts {
		switch r := p.Run; {
		case r.ID != whole.Run.ID || r.Seed != whole.Run.Seed || r.ScenarioSHA256 != whole.Run.ScenarioSHA256:
			return nil, fmt.Errorf("merge the results: that of worker %d is of run %s with seed %d, and not of run %s with seed %d and the same scenario",
				r.Worker, r.ID, r.Seed, whole.Run.ID, whole.Run.Seed)
		case max(1, r.Workers) != workers || r.Worker < 0 || r.Worker >= workers || r.StartSpread > 0 || len(r.Lost) > 0:
			return nil, fmt.Errorf("merge the results: that of worker %d of %d is not one of the %d of run %s", r.Worker, r.Workers, workers, whole.Run.ID)
		case byWorker[r.Worker] != nil:
			return nil, fmt.Errorf("merge the results: worker %d of run %s is there twice", r.Worker, r.ID)
		}
		byWorker[p.Run.Worker] = p
	}
	m := merger{whole: &export.Bundle{Schema: whole.Schema, Tool: whole.Tool, Run: whole.Run, Summary: stats.NewSummary()}}
	for i, p := range byWorker {
		if p != nil {
			m.parts = append(m.parts, p)
			continue
		}
		one := export.Lost{Worker: i, Reason: "it left no result"}
		if n := slices.IndexFunc(lost, func(l export.Lost) bool { return l.Worker == i }); n >= 0 {
			one = lost[n]
		}
		m.whole.Run.Lost = append(m.whole.Run.Lost, one)
	}
	return m.whole, m.merge()
}

// merger is a merge under way.
type merger struct {
	whole *export.Bundle
	parts []*export.Bundle // by worker
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
	var observed []*health.Observations
	for _, p := range m.parts {
		if u := p.Headline.Users; u != nil {
			if b.Headline.Users == nil {
				b.Headline.Users = &export.UserLoad{}
			}
			b.Headline.Users.Intended += u.Intended
			b.Headline.Users.Delivered += u.Delivered
		}
		if p.Generator == nil || p.Generator.Observed == nil {
			continue
		}
		observed = append(observed, p.Generator.Observed)
		switch {
		case work == nil:
		case p.Quality == nil || p.Quality.Concurrency == nil:
			work = nil // nobody knows what that worker's requests add up to
		default:
			work.Requests += p.Summary.Overall().All.Requests
			work.Time += time.Duration(p.Quality.Concurrency.Implied * float64(p.Generator.Observed.Duration))
		}
	}
	together := health.Together(observed)
	if together == nil {
		return // no load
	}
	evidence := health.Evidence{Observations: together, Latency: &b.Summary.Overall().Latency, Embedded: b.Run.Target.Embedded}
	for _, t := range b.Throttled {
		evidence.HeldBack = append(evidence.HeldBack, t.Limit)
	}
	b.Generator = &export.Generator{Judgement: health.Judge(evidence), Observed: together}
	b.Quality = export.NewQuality(b, work)
}

// began reports whether a worker made any load.
func began(p *export.Bundle) bool { return len(p.Phases) > 0 }

// times finds out when the first worker began and the last one ended.
func (m *merger) times() {
	run := &m.whole.Run
	run.Worker, run.Duration, run.MeasuredDuration, run.StartSpread = 0, 0, 0, 0
	var first, last, end time.Time
	for _, p := range m.parts {
		if !began(p) {
			continue
		}
		at := p.Run.Started.Add(p.Phases[0].Start)
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
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
		into.TargetUsers += from.TargetUsers
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
		into.Users += o.Users
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
		into.Orgs += from.Orgs
		into.Users += from.Users
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
	for _, p := range m.parts {
		if p.Cleanup != nil {
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

// stop finds the gravest reason for which a worker ended. A lost worker is one
// whose part could not be carried out.
func (m *merger) stop() {
	gravity := []string{"", "completed", "limit", "interrupted", "broken"}
	reason := ""
	for _, p := range m.parts {
		if slices.Index(gravity, p.Stop.Reason) > slices.Index(gravity, reason) {
			reason = p.Stop.Reason
		}
	}
	details := m.told(func(p *export.Bundle) []string {
		if p.Stop.Reason != reason || p.Stop.Detail == "" {
			return nil
		}
		return []string{p.Stop.Detail}
	})
	if lost := m.whole.Run.Lost; len(lost) > 0 {
		if reason != "broken" {
			reason, details = "broken", nil
		}
		for _, l := range lost {
			details = append(details, fmt.Sprintf("worker %d of %d was lost (%s): its requests, at least %s, are in no number",
				l.Worker, m.whole.Run.Workers, l.Reason, human.Count(l.Requests)))
		}
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
