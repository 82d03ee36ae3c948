// Package reporttest makes results to test reports with: a small load test
// that never happened, the same at every call.
package reporttest

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// Load is what to pretend.
type Load struct {
	Orgs  []string
	Users int // over all orgs
	// Scale stretches the phases; 1 is a run of 4m 40s.
	Scale float64
	// Streams is the share of requests that ask for a stream.
	Streams float64
	// Burst has a backend fall over for a while, so that the run fails.
	Burst bool
	// Unpriced leaves the cost unknown.
	Unpriced bool
}

// Sample is three tenants through warm-up, ramp and steady load, with an
// outage in the middle.
func Sample() *export.Bundle {
	return Load{Orgs: []string{"acme", "globex", "initech"}, Users: 48, Scale: 1, Streams: 0.75, Burst: true}.Bundle()
}

// moment is a second of the run.
const moment = time.Second

// model is how one model behaves when nothing else is going on.
type model struct {
	name        string
	first, gap  time.Duration // medians of TTFT and ITL
	in, out     int64         // micro-dollars per million tokens, divided by a million
	contextSize int
}

var models = []model{
	{"llama-3.1-8b", 140 * time.Millisecond, 14 * time.Millisecond, 200, 400, 600},
	{"llama-3.1-70b", 310 * time.Millisecond, 31 * time.Millisecond, 900, 2700, 900},
}

// Bundle feeds the pretended requests through a [stats.Collector] and judges
// them as a run would.
func (l Load) Bundle() *export.Bundle {
	at := func(seconds float64) time.Duration { return time.Duration(seconds * l.Scale * float64(time.Second)) }
	phases := []export.Phase{
		{Name: "warm-up", Start: 0, End: at(20), TargetUsers: l.Users / 4},
		{Name: "ramp", Start: at(20), End: at(100), Measured: true, TargetUsers: l.Users},
		{Name: "steady", Start: at(100), End: at(260), Measured: true, TargetUsers: l.Users},
		{Name: "cool-down", Start: at(260), End: at(280), TargetUsers: 0},
	}
	end := phases[len(phases)-1].End
	phase := func(t time.Duration) export.Phase {
		for _, p := range phases {
			if t < p.End {
				return p
			}
		}
		return phases[len(phases)-1]
	}
	active := func(t time.Duration) int {
		p := phase(t)
		part := float64(t-p.Start) / float64(p.End-p.Start)
		switch p.Name {
		case "warm-up":
			return p.TargetUsers
		case "ramp":
			from := float64(phases[0].TargetUsers)
			return int(from + part*(float64(l.Users)-from))
		case "steady":
			return l.Users
		default:
			return int(float64(l.Users) * max(0, 1-part))
		}
	}
	objective := stats.Objective{TTFT: 800 * time.Millisecond, ITL: 60 * time.Millisecond, E2E: 6 * time.Second}
	c := stats.NewCollector(objective)
	for t := time.Duration(0); t < end; t += moment {
		c.Observe(t, active(t), phase(t).Name)
	}
	last := end
	orgs := make([]export.Org, len(l.Orgs))
	for i, name := range l.Orgs {
		orgs[i] = export.Org{Index: i + 1, Name: name, Slug: name, BudgetMicroUSD: 500_000}
	}
	for user := range l.Users {
		org := user % len(l.Orgs)
		orgs[org].Users++
		u := person{load: l, org: org, index: user, rand: rand.New(rand.NewPCG(42, uint64(user)))} // #nosec G404 -- a sample
		// A user joins when the load reaches them and leaves when it falls.
		t := time.Duration(u.rand.Float64() * float64(time.Second))
		for t < end {
			if active(t) <= user {
				t += moment / 2
				continue
			}
			p := phase(t)
			t = u.ask(c, t, p, float64(active(t)), at) + time.Duration((0.3+u.rand.ExpFloat64()*0.9)*float64(time.Second))
			last = max(last, min(t, end+2*time.Second))
		}
	}
	b := &export.Bundle{
		Schema: export.Schema,
		Tool:   export.Tool{Version: "0.1.0", Commit: "2f07368", Go: "go1.26.8", OS: "linux", Arch: "amd64", CPUs: 2},
		Run: export.Run{
			ID: "20260303-140211-7f3a", Scenario: "three-tenants-at-peak", ScenarioSHA256: "6b1f0d2c9e4a7b83", Seed: 42,
			Labels:  map[string]string{"team": "platform", "release": "2026.3"},
			Target:  export.Target{RouterURL: "https://router.platform.example", UserOrgURL: "https://users.platform.example"},
			Started: time.Date(2026, 3, 3, 14, 2, 11, 0, time.FixedZone("", 3600)), Duration: last,
			MeasuredDuration: phases[2].End - phases[1].Start, Workers: 1,
		},
		Phases: phases, Orgs: orgs,
		Stop:      export.Stop{Reason: "completed"},
		Bootstrap: &export.Bootstrap{Orgs: len(orgs), Users: l.Users, Keys: l.Users, Retries: 2, Duration: 1840 * time.Millisecond},
		Cleanup:   &export.Cleanup{Status: "done", DeletedOrgs: len(orgs), DeletedUsers: l.Users, RevokedKeys: l.Users, Duration: 920 * time.Millisecond},
		Summary:   c.Summary(),
	}
	if l.Burst {
		b.Findings = []export.Finding{{
			Title:  "429 without Retry-After",
			Detail: "The router refused globex with 429 and did not say when to come back, so that clients can only guess.",
		}}
		b.Warnings = []string{"ITL p99 comes from a platform that puts several tokens into one chunk: gaps are between chunks, not tokens."}
	}
	Judge(b)
	return b
}

// trace is where the pretended platform has a request.
func trace(user, turn int) record.Trace {
	id := sha256.Sum256(fmt.Appendf(nil, "u%d-%d", user, turn))
	return record.Trace{ID: record.TraceID(id[:16]), Span: record.SpanID(id[16:24]), Sampled: true}
}

// person is a pretended user.
type person struct {
	load  Load
	org   int
	index int
	rand  *rand.Rand
	turn  int
}

// about is log-normal around a median.
func (p *person) about(median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*p.rand.NormFloat64()))
}

// ask sends one request at t and returns when its answer was there.
func (p *person) ask(c *stats.Collector, t time.Duration, ph export.Phase, active float64, at func(float64) time.Duration) time.Duration {
	m := models[0]
	if p.rand.Float64() < 0.35 {
		m = models[1]
	}
	p.turn++
	r := record.Record{
		ID: fmt.Sprintf("u%d-%d", p.index, p.turn), Trace: trace(p.index, p.turn), Org: p.load.Orgs[p.org], UserIndex: p.index,
		User:  fmt.Sprintf("user-%s-%d", p.load.Orgs[p.org], p.index/len(p.load.Orgs)+1),
		Phase: ph.Name, Turn: p.turn, Attempt: 1, Measured: ph.Measured, Final: true,
		Endpoint: "chat", Model: m.name, TestType: "random_short", Strategy: "mixed", Stream: p.rand.Float64() < p.load.Streams,
		Scheduled: t, Sent: t + p.about(90*time.Microsecond, 0.8), Reused: p.turn > 1, RequestBytes: 900,
	}
	if !r.Reused {
		r.Connect, r.TLS = p.about(800*time.Microsecond, 0.3), p.about(4*time.Millisecond, 0.3)
	}
	// The more users, the longer the queue; after the outage it is long for all.
	crowd := active / 48
	queue := 1 + 0.8*crowd*crowd*crowd
	if p.load.Burst && t >= at(156) && t < at(176) {
		queue *= 1 + 3.5*float64(at(176)-t)/float64(at(20))
	}
	first := time.Duration(float64(p.about(m.first, 0.32)) * queue)
	if p.fail(&r, t, at) {
		c.Add(&r)
		return r.Done
	}
	output := 30 + p.rand.IntN(70)
	chunks := output
	if m.contextSize > 600 {
		chunks = output/2 + 1
	}
	r.Chunks, r.FirstChunkTokens = chunks, 1
	now := r.Sent + first
	r.FirstByte = now
	gaps := make([]time.Duration, 0, chunks)
	begin := now
	for range chunks - 1 {
		gap := p.about(m.gap, 0.35)
		if p.rand.Float64() < 0.004 {
			gap *= 9 // a stall
		}
		gaps = append(gaps, gap)
		now += gap
	}
	if r.Stream {
		r.FirstToken, r.LastToken, r.Gaps = begin, now, gaps
	} else {
		r.Chunks, r.FirstChunkTokens, r.FirstByte = 0, 0, now
	}
	r.Done = now + p.about(2*time.Millisecond, 0.4)
	r.Status, r.FinishReason, r.ResponseBytes = 200, "stop", int64(output)*210
	r.UsageKnown, r.CompletionTokens = true, output
	r.PromptTokens = m.contextSize/4 + p.rand.IntN(m.contextSize)
	r.CachedKnown = true
	if p.org == 0 {
		r.CachedTokens = r.PromptTokens / 2 // acme repeats its prompts
	}
	if !p.load.Unpriced {
		r.CostKnown = true
		r.CostMicroUSD = (int64(r.PromptTokens)*m.in + int64(output)*m.out) / 1000
	}
	c.Add(&r)
	return r.Done
}

// fail decides whether the platform lets r down at t, and how.
func (p *person) fail(r *record.Record, t time.Duration, at func(float64) time.Duration) bool {
	end := func(outcome record.Outcome, kind record.Kind, status int, message string, took time.Duration) bool {
		r.Outcome, r.Kind, r.Status, r.Message = outcome, kind, status, message
		r.Done = r.Sent + took
		return true
	}
	if p.load.Burst && t >= at(150) && t < at(156) {
		switch dice := p.rand.Float64(); {
		case dice < 0.55:
			r.Attempt = 2
			return end(record.Refused, record.HTTPError, 503, "no healthy backend for "+r.Model, p.about(12*time.Millisecond, 0.4))
		case dice < 0.85:
			return end(record.Failed, record.Timeout, 0, "no answer within 5s", 5*time.Second)
		case dice < 0.93 && r.Stream:
			return end(record.Failed, record.StreamInterrupted, 200, "stream ended after 14 chunks without [DONE]", p.about(400*time.Millisecond, 0.3))
		}
		return false
	}
	if !p.load.Burst {
		return p.rand.Float64() < 0.0006 && end(record.Failed, record.Connection, 0, "connection reset by peer", p.about(30*time.Millisecond, 0.4))
	}
	if p.org == 1 && t > at(120) && p.rand.Float64() < 0.012 {
		return end(record.Refused, record.RateLimited, 429, "rate limit of 300 requests a minute reached for org globex", p.about(6*time.Millisecond, 0.3))
	}
	if p.org == 2 && t > at(240) && p.rand.Float64() < 0.15 {
		return end(record.Refused, record.BudgetExceeded, 402, "org initech has spent its budget of $0.50", p.about(5*time.Millisecond, 0.3))
	}
	return false
}

// Judge fills the verdict and the headline of b from its summary, against
// the thresholds of the sample.
func Judge(b *export.Bundle) {
	all := b.Summary.Overall()
	b.Verdict = verdict.Judge(verdict.Input{Overall: all, Thresholds: []verdict.Threshold{
		{Metric: verdict.TTFT, Quantile: 0.95, Latency: 800 * time.Millisecond},
		{Metric: verdict.TTFT, Quantile: 0.99, Latency: 1500 * time.Millisecond},
		{Metric: verdict.ITL, Quantile: 0.95, Latency: 60 * time.Millisecond},
		{Metric: verdict.E2E, Quantile: 0.95, Latency: 4 * time.Second},
		{Metric: verdict.ErrorRate, Ratio: 0.01},
		{Metric: verdict.Availability, Ratio: 0.995},
	}})
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
}
