package metrics

import (
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// asked are the questions of one strategy.
type asked struct {
	count uint64
	took  stats.Histogram
	texts map[uint64]struct{} // hashes of the first
}

const (
	// mostTexts is how many questions of a strategy are looked at for repetition.
	mostTexts = 20_000
	// mostStrategies and mostSalts bound labels that a scenario can make many of.
	mostStrategies = 20
	mostSalts      = 100
)

var textSeed = maphash.MakeSeed()

// Question counts a question and the time that making it took.
func (m *Metrics) Question(strategy, text string, took time.Duration) {
	m.own.Lock()
	defer m.own.Unlock()
	q := m.questions[strategy]
	if q == nil {
		if len(m.questions) >= mostStrategies {
			strategy = Other
		}
		if q = m.questions[strategy]; q == nil {
			q = &asked{texts: map[uint64]struct{}{}}
			m.questions[strategy] = q
		}
	}
	if q.count < mostTexts {
		q.texts[maphash.String(textSeed, text)] = struct{}{}
	}
	q.count++
	q.took.Record(took)
}

func (m *Metrics) emitWorker(e emitter, state State) {
	for _, stage := range stages {
		e.number("worker_status", one(stage == state.Stage), stage)
	}
	e.number("worker_users_active", float64(state.Active))
	e.number("worker_orgs_created_total", float64(state.Orgs))
	p := m.process.look()
	e.number("worker_memory_bytes", p.memory)
	e.number("worker_goroutines", p.goroutines)
	if !math.IsNaN(p.cpu) {
		e.number("worker_cpu_ratio", p.cpu)
	}
	if state.CostUsed != nil {
		e.number("limit_cost_utilization_ratio", *state.CostUsed)
	}
	if state.ErrorRateUsed != nil {
		e.number("limit_error_rate_utilization_ratio", *state.ErrorRateUsed)
	}
	for _, limit := range LimitTypes {
		e.number("limit_breached", one(limit == state.Breached), limit)
	}

	m.own.Lock()
	defer m.own.Unlock()
	e.histogram("worker_bootstrap_seconds", classicOf(&m.bootstraps, time.Second, answerSec))
	e.histogram("worker_send_lag_seconds", classicOf(&m.lag, time.Second, lagSec))
	e.histogram("worker_send_lag_native_seconds", nativeOf(&m.lag))
	e.histogram("user_think_time_seconds", classicOf(&m.think, time.Second, thinkSec))
	for _, reason := range []string{"completed", "time_up", "retired", "errors", "limit"} {
		e.number("user_session_completed", float64(m.sessions[reason]), reason)
	}
	for strategy, q := range m.questions {
		e.histogram("question_generation_milliseconds", classicOf(&q.took, time.Millisecond, makingMs), strategy, "1")
		e.histogram("question_generation_seconds", nativeOf(&q.took), strategy, "1")
		e.number("question_generated_total", float64(q.count), strategy)
		e.number("question_uniqueness_ratio", float64(len(q.texts))/float64(min(q.count, mostTexts)), strategy)
	}
	others := 0
	for salt, violations := range m.salts {
		if len(m.salts) > mostSalts && violations == 0 {
			continue
		}
		if others++; others > mostSalts {
			break
		}
		e.number("user_cache_salt_violations_total", float64(violations), salt)
	}
	for _, g := range m.server {
		e.number(g.name, g.value, g.labels...)
	}
}

func (m *Metrics) emitRun(e emitter, state State, run totals) {
	e.number("run_duration_seconds", state.Elapsed.Seconds())
	e.number("run_cost_total_usd", dollars(run.costs))
	o := run.outcomes
	var all uint64
	for _, n := range o {
		all += n
	}
	if answered := all - o[record.Cancelled]; answered > 0 {
		e.number("run_error_rate", float64(o[record.Refused]+o[record.Failed])/float64(answered))
	}
	for model, t := range run.tokens {
		for kind, n := range t {
			e.number("run_tokens_total", float64(n), tokenTypes[kind], model)
		}
	}
	m.own.Lock()
	defer m.own.Unlock()
	const mostPhases = 100
	phases := state.Phases[max(0, len(state.Phases)-mostPhases):]
	for i, p := range phases {
		if slices.ContainsFunc(phases[:i], func(q Phase) bool { return q.Name == p.Name }) {
			continue
		}
		active := 0
		if i == len(phases)-1 && state.Stage == Running {
			active = state.Active
		}
		e.number("run_active_users", float64(active), p.Name)
		if p.Elapsed > 0 {
			e.number("run_requests_per_second", float64(m.phases[p.Name])/p.Elapsed.Seconds(), p.Name)
		}
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// gauge is a number that the platform says of itself.
type gauge struct {
	name   string
	value  float64
	labels []string
}
