package metrics

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// backend is what one organization saw of one model on one backend.
type backend struct {
	model, id, org string

	mu                    sync.Mutex
	ttft, e2e, tpot, gaps stats.Histogram
	speed, chunkRate      fixed
	prompt, ratio         fixed
	window                fixed
	completion            []reasoned // by finish reason
	broken                []failures // streams, by kind
	cold                  coldStarts

	streams  bool // it was asked for one
	costs    int64
	priced   uint64 // requests whose cost is known
	tokens   uint64 // prompt and completion, of those
	answered uint64 // measured, for the score
	failed   uint64
	kept     [objectives]uint64 // of them
}

type reasoned struct {
	reason string
	count  uint64 // successes
	tokens fixed  // of those that are measured
}

// The objectives of llm_performance_score.
const (
	keptTTFT = iota
	keptITL
	keptE2E
	objectives
)

var objectiveNames = [objectives]string{"ttft", "itl", "e2e"}

func newBackend(model, id, org string) *backend {
	return &backend{
		model: model, id: id, org: org,
		speed: newFixed(rate), chunkRate: newFixed(rate), prompt: newFixed(tokens), ratio: newFixed(ratio), window: newFixed(percent),
	}
}

// reasons are the finish reasons that have series of their own.
var reasons = []string{"stop", "length", "tool_calls", "content_filter", "function_call", "none"}

func (m *Metrics) addBackend(b *backend, r *record.Record, inLoad bool) {
	if b == nil || r.Injected() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Stream {
		b.streams = true
		b.cold.add(r, inLoad)
	}
	if r.CostKnown && r.UsageKnown {
		b.costs += r.CostMicroUSD
		b.tokens += uint64(max(0, r.PromptTokens) + max(0, r.CompletionTokens))
		b.priced++
	}
	success := r.Outcome == record.Success
	if !success && r.FirstToken > 0 && r.Stream {
		b.breakOff(r.Kind)
	}
	if r.Measured && r.Outcome != record.Cancelled {
		b.answered++
		if r.Outcome == record.Failed {
			b.failed++
		}
		m.keep(b, r)
	}
	if !success {
		return
	}
	why := b.finished(r.FinishReason)
	why.count++
	if !r.Measured {
		return
	}
	e2e := r.E2E()
	b.e2e.Record(e2e)
	if ttft, ok := r.TTFT(); ok {
		b.ttft.Record(ttft)
	}
	if tpot, ok := r.TPOT(); ok {
		b.tpot.Record(tpot)
	}
	for _, gap := range r.Gaps {
		b.gaps.Record(gap)
	}
	if d := r.LastToken - r.FirstToken; r.Chunks > 1 && d > 0 {
		b.chunkRate.record(float64(r.Chunks-1) / d.Seconds())
	}
	if !r.UsageKnown {
		return
	}
	b.prompt.record(float64(r.PromptTokens))
	if r.CompletionTokens > 0 {
		why.tokens.record(float64(r.CompletionTokens))
		if e2e > 0 {
			b.speed.record(float64(r.CompletionTokens) / e2e.Seconds())
		}
		if r.PromptTokens > 0 {
			b.ratio.record(float64(r.CompletionTokens) / float64(r.PromptTokens))
		}
	}
	if length := m.windows[r.Model]; length > 0 {
		b.window.record(100 * float64(r.PromptTokens+r.CompletionTokens) / float64(length))
	}
}

// keep counts the objectives that a measured request kept.
func (m *Metrics) keep(b *backend, r *record.Record) {
	if r.Outcome != record.Success {
		return
	}
	o := m.opt.Objective
	if ttft, ok := r.TTFT(); !r.Stream || ok && ttft <= o.TTFT {
		b.kept[keptTTFT]++
	}
	if tpot, ok := r.TPOT(); !ok || tpot <= o.ITL {
		b.kept[keptITL]++
	}
	if r.E2E() <= o.E2E {
		b.kept[keptE2E]++
	}
}

func (b *backend) breakOff(kind record.Kind) {
	for i := range b.broken {
		if b.broken[i].kind == kind {
			b.broken[i].count++
			return
		}
	}
	b.broken = append(b.broken, failures{kind: kind, count: 1})
}

func (b *backend) finished(reason string) *reasoned {
	if reason == "" {
		reason = "none"
	} else if !slices.Contains(reasons, reason) {
		reason = Other
	}
	for i := range b.completion {
		if b.completion[i].reason == reason {
			return &b.completion[i]
		}
	}
	b.completion = append(b.completion, reasoned{reason: reason, tokens: newFixed(tokens)})
	return &b.completion[len(b.completion)-1]
}

func (m *Metrics) emitBackend(e emitter, b *backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := []string{b.model, b.id, b.org}
	and := func(more ...string) []string { return append(slices.Clip(of), more...) }
	durations := func(name, native string, h *stats.Histogram, unit time.Duration, bounds []float64) {
		e.histogram(name, classicOf(h, unit, bounds), of...)
		e.histogram(native, nativeOf(h), of...)
	}
	durations("llm_generation_total_seconds", "llm_generation_seconds", &b.e2e, time.Second, answerSec)
	if b.streams {
		durations("llm_time_to_first_token_milliseconds", "llm_time_to_first_token_seconds", &b.ttft, time.Millisecond, answerMs)
		durations("llm_decoding_time_per_token_milliseconds", "llm_decoding_time_per_token_seconds", &b.tpot, time.Millisecond, tokenMs)
		durations("llm_streaming_chunk_latency_milliseconds", "llm_streaming_chunk_latency_seconds", &b.gaps, time.Millisecond, tokenMs)
		e.histogram("llm_streaming_chunks_per_second", b.chunkRate.classic(), of...)
		e.number("llm_cold_start_detections_total", float64(b.cold.found), of...)
		var interrupted uint64
		for _, f := range b.broken {
			if f.kind == record.StreamInterrupted {
				interrupted = f.count
				continue
			}
			e.number("llm_streaming_interruptions_total", float64(f.count), and(string(f.kind))...)
		}
		e.number("llm_streaming_interruptions_total", float64(interrupted), and(string(record.StreamInterrupted))...)
	}
	e.histogram("llm_tokens_per_second", b.speed.classic(), of...)
	e.histogram("llm_prompt_tokens", b.prompt.classic(), of...)
	e.histogram("llm_token_ratio", b.ratio.classic(), of...)
	for i := range b.completion {
		why := &b.completion[i]
		e.histogram("llm_completion_tokens", why.tokens.classic(), and(why.reason)...)
		e.number("llm_finish_reason_total", float64(why.count), and(why.reason)...)
	}
	if b.window.count > 0 {
		e.histogram("llm_context_window_utilization_percent", b.window.classic(), of...)
	}
	m.emitMoney(e, b, and)
	m.emitScore(e, b, and)
}

func (m *Metrics) emitMoney(e emitter, b *backend, and func(...string) []string) {
	const million = 1_000_000
	for _, price := range []struct {
		kind  string
		usage platform.Usage
	}{
		{"prompt", platform.Usage{PromptTokens: million}},
		{"completion", platform.Usage{CompletionTokens: million}},
		{"cached", platform.Usage{PromptTokens: million, CachedTokens: million}},
	} {
		each, _ := m.opt.Prices.Cost(b.model, platform.Usage{})
		if all, ok := m.opt.Prices.Cost(b.model, price.usage); ok {
			e.number("llm_cost_per_million_tokens_usd", dollars(all-each), and(price.kind)...)
		}
	}
	if b.priced == 0 || b.tokens == 0 {
		return
	}
	e.number("llm_cost_per_million_tokens_usd", float64(b.costs)/float64(b.tokens), and("total")...)
	if b.speed.count > 0 && b.costs > 0 {
		perRequest := dollars(b.costs) / float64(b.priced)
		e.number("llm_cost_efficiency_tps_per_usd", b.speed.sum/float64(b.speed.count)/perRequest, and()...)
	}
}

func (m *Metrics) emitScore(e emitter, b *backend, and func(...string) []string) {
	if b.answered == 0 {
		return
	}
	score := func(n uint64) float64 { return 100 * float64(n) / float64(b.answered) }
	o := m.opt.Objective
	for i, bound := range [objectives]time.Duration{o.TTFT, o.ITL, o.E2E} {
		if bound > 0 {
			e.number("llm_performance_score", score(b.kept[i]), and(objectiveNames[i])...)
		}
	}
	e.number("llm_performance_score", score(b.answered-b.failed), and("availability")...)
	for _, p := range m.opt.Promises {
		h := map[string]*stats.Histogram{"ttft": &b.ttft, "itl": &b.gaps, "tpot": &b.tpot, "e2e": &b.e2e}[p.Metric]
		if h == nil || h.Count() == 0 || p.Latency <= 0 {
			continue
		}
		is, name := h.Mean(), p.Metric+"_mean"
		if p.Quantile > 0 {
			is, name = h.Quantile(p.Quantile), fmt.Sprintf("%s_p%g", p.Metric, p.Quantile*100)
		}
		e.number("llm_performance_vs_baseline_percent", 100*(float64(is)/float64(p.Latency)-1), and(name, "slo")...)
	}
}

const (
	// idle is how long a model must have had no requests to be suspected of
	// having been unloaded.
	idle = 30 * time.Second
	// followers are the answers that a suspicious one is compared with.
	followers = 10
	// coldFactor and coldExtra are by how much it must be slower than them.
	coldFactor, coldExtra = 3, 500 * time.Millisecond
)

// coldStarts suspects the first answer after a rest, and judges it by those
// that follow.
type coldStarts struct {
	begun   bool
	last    time.Duration // when the last answer came; 0 before the load
	suspect time.Duration
	after   []time.Duration
	found   uint64
}

func (c *coldStarts) add(r *record.Record, inLoad bool) {
	ttft, ok := r.TTFT()
	rested := !c.begun || inLoad && r.Sent-c.last >= idle
	c.begun = true
	if inLoad {
		c.last = max(c.last, r.Done)
	}
	switch {
	case !ok:
	case rested:
		c.suspect, c.after = ttft, c.after[:0]
	case c.suspect > 0:
		c.after = append(c.after, ttft)
		if len(c.after) < followers {
			return
		}
		slices.Sort(c.after)
		median := c.after[followers/2]
		if c.suspect >= coldFactor*median && c.suspect-median >= coldExtra {
			c.found++
		}
		c.suspect = 0
	}
}
