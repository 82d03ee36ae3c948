package stats

import (
	"net/http"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Totals are the sums over a set of requests. A request is one attempt on the
// wire, so that these can be held against the platform's own counts.
type Totals struct {
	Requests  uint64 `json:"requests"`
	Succeeded uint64 `json:"succeeded"`
	Refused   uint64 `json:"refused"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
	// Retried are those that were a further attempt at a request that was
	// refused or failed before.
	Retried uint64 `json:"retried"`
	// Injected are requests that this tool harmed on purpose, or made with keys
	// that it withdrew: in none of the counts above, but in tokens, bytes and
	// cost, as far as those are known.
	Injected uint64 `json:"injected,omitempty"`
	// Good are the successes that met every objective of the scenario; goodput
	// is their number per second. Without objectives every success is good.
	Good uint64 `json:"good"`

	Streams uint64 `json:"streams"` // requests that asked for a stream
	Chunks  uint64 `json:"chunks"`  // content chunks received

	PromptTokens     uint64 `json:"promptTokens"`
	CompletionTokens uint64 `json:"completionTokens"`
	CachedTokens     uint64 `json:"cachedTokens"` // part of PromptTokens
	// CachedReported are the requests whose usage spoke of cached tokens at all:
	// some servers do so only when there were any, some never.
	CachedReported uint64 `json:"cachedReported"`
	// UsageUnknown are successes without usage: their tokens are missing above.
	UsageUnknown uint64 `json:"usageUnknown"`

	CostMicroUSD int64 `json:"costMicroUSD"`
	// CostUnknown are answers that could not be priced, though they will be
	// paid for: successes, and those that broke off after a status of 200. They
	// are not in CostMicroUSD.
	CostUnknown uint64 `json:"costUnknown"`

	RequestBytes  int64 `json:"requestBytes"`
	ResponseBytes int64 `json:"responseBytes"`
}

func (t *Totals) add(r *record.Record, good bool) {
	if r.Injected() {
		t.Injected++
	} else {
		t.count(r, good)
	}
	if r.UsageKnown {
		t.PromptTokens += uint64(r.PromptTokens)
		t.CompletionTokens += uint64(r.CompletionTokens)
		t.CachedTokens += uint64(r.CachedTokens)
		if r.CachedKnown {
			t.CachedReported++
		}
	}
	if r.CostKnown {
		t.CostMicroUSD += r.CostMicroUSD
	} else if r.Outcome == record.Success || r.Status == http.StatusOK {
		t.CostUnknown++
	}
	t.RequestBytes += r.RequestBytes
	t.ResponseBytes += r.ResponseBytes
}

func (t *Totals) count(r *record.Record, good bool) {
	t.Requests++
	switch r.Outcome {
	case record.Success:
		t.Succeeded++
		if good {
			t.Good++
		}
		if !r.UsageKnown {
			t.UsageUnknown++
		}
	case record.Refused:
		t.Refused++
	case record.Failed:
		t.Failed++
	case record.Cancelled:
		t.Cancelled++
	}
	if r.Attempt > 1 {
		t.Retried++
	}
	if r.Stream {
		t.Streams++
	}
	t.Chunks += uint64(r.Chunks)
}

// Merge adds o to t.
func (t *Totals) Merge(o Totals) {
	t.Requests += o.Requests
	t.Succeeded += o.Succeeded
	t.Refused += o.Refused
	t.Failed += o.Failed
	t.Cancelled += o.Cancelled
	t.Retried += o.Retried
	t.Injected += o.Injected
	t.Good += o.Good
	t.Streams += o.Streams
	t.Chunks += o.Chunks
	t.PromptTokens += o.PromptTokens
	t.CompletionTokens += o.CompletionTokens
	t.CachedTokens += o.CachedTokens
	t.CachedReported += o.CachedReported
	t.UsageUnknown += o.UsageUnknown
	t.CostMicroUSD += o.CostMicroUSD
	t.CostUnknown += o.CostUnknown
	t.RequestBytes += o.RequestBytes
	t.ResponseBytes += o.ResponseBytes
}

// Answered are the requests that ended by themselves: all but the cancelled.
func (t Totals) Answered() uint64 { return t.Requests - t.Cancelled }

// ErrorRate is (refused + failed) / answered, 0 when nothing was answered.
func (t Totals) ErrorRate() float64 {
	if t.Answered() == 0 {
		return 0
	}
	return float64(t.Refused+t.Failed) / float64(t.Answered())
}

// FailureRate is failed / answered: errors that were nobody's decision.
func (t Totals) FailureRate() float64 {
	if t.Answered() == 0 {
		return 0
	}
	return float64(t.Failed) / float64(t.Answered())
}

// Latencies are the histograms of the measured successes of a Group.
// docs/load-testing/measurement.md defines each.
type Latencies struct {
	E2E  Histogram `json:"e2e"`
	TTFT Histogram `json:"ttft"` // streams only
	ITL  Histogram `json:"itl"`  // one value a gap, streams only
	TPOT Histogram `json:"tpot"` // one value a request, streams only
	// Connect is DNS, TCP and TLS together, of requests that opened a connection.
	Connect Histogram `json:"connect"`
	// SendLag is how late requests of any outcome left.
	SendLag Histogram `json:"sendLag"`
}

// Merge adds o to l.
func (l *Latencies) Merge(o *Latencies) {
	l.E2E.Merge(&o.E2E)
	l.TTFT.Merge(&o.TTFT)
	l.ITL.Merge(&o.ITL)
	l.TPOT.Merge(&o.TPOT)
	l.Connect.Merge(&o.Connect)
	l.SendLag.Merge(&o.SendLag)
}

func (l *Latencies) add(r *record.Record) {
	l.SendLag.Record(r.SendLag())
	if r.Outcome != record.Success {
		return
	}
	l.E2E.Record(r.E2E())
	if ttft, ok := r.TTFT(); ok {
		l.TTFT.Record(ttft)
	}
	for _, gap := range r.Gaps {
		l.ITL.Record(gap)
	}
	if tpot, ok := r.TPOT(); ok {
		l.TPOT.Record(tpot)
	}
	if !r.Reused {
		if c := r.DNS + r.Connect + r.TLS; c > 0 {
			l.Connect.Record(c)
		}
	}
}

// ErrorCount is how often one kind of error occurred, with one example.
type ErrorCount struct {
	Kind   record.Kind `json:"kind"`
	Status int         `json:"status,omitempty"`
	Count  uint64      `json:"count"`
	// Example is the message of the first such error, at FirstAt.
	Example string        `json:"example,omitempty"`
	FirstAt time.Duration `json:"firstAtNs"`
	// ExampleID and TraceID name that request in the platform's log and traces.
	ExampleID string         `json:"exampleId,omitempty"`
	TraceID   record.TraceID `json:"traceId,omitzero"`
}

// Objective is what a request must keep to be good. Zero fields do not judge.
type Objective struct {
	TTFT, E2E time.Duration
	// ITL bounds the mean time per output token of a request (TPOT).
	ITL time.Duration
}

// Met reports whether a request was within the objective.
func (o Objective) Met(r *record.Record) bool {
	if r.Outcome != record.Success {
		return false
	}
	if o.E2E > 0 && r.E2E() > o.E2E {
		return false
	}
	// Who asked for a stream and got none has no TTFT, and no promise kept.
	if ttft, ok := r.TTFT(); o.TTFT > 0 && r.Stream && (!ok || ttft > o.TTFT) {
		return false
	}
	if tpot, ok := r.TPOT(); ok && o.ITL > 0 && tpot > o.ITL {
		return false
	}
	return true
}
