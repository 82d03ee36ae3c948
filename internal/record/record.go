// Package record defines one measured request.
//
// Everything downstream of a request (statistics, metrics, limits, the live
// view, files) is a fold over records: it implements [Sink] and knows nothing
// of how load is made. One record is sent for every request that went out on
// the wire, retries included, so that counts can be held against the
// platform's own log.
package record

import "time"

// Outcome says how a request ended. Only successes enter latency histograms.
type Outcome uint8

const (
	// Success is a complete, well-formed answer.
	Success Outcome = iota
	// Refused is the platform saying no on purpose: 402, 403, 429 or 503.
	Refused
	// Failed is everything else that went wrong: other statuses, timeouts,
	// connections, broken streams, answers that cannot be parsed.
	Failed
	// Cancelled is a request that this tool gave up, because the run ended.
	Cancelled

	// Outcomes is their number, for arrays indexed by Outcome.
	Outcomes = 4
)

var outcomeNames = [Outcomes]string{"success", "refused", "failed", "cancelled"}

// String returns the name used in results and metrics.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Kind classifies what went wrong; it is the error_type label of the metrics.
// The set is closed, so that it can be a label.
type Kind string

// The kinds, as dashboards and alerts expect them.
const (
	None              Kind = ""
	HTTPError         Kind = "http_error"
	Timeout           Kind = "timeout"
	Connection        Kind = "connection"
	TLS               Kind = "tls"
	DNS               Kind = "dns"
	AuthError         Kind = "auth_error"
	BudgetExceeded    Kind = "budget_exceeded"
	RateLimited       Kind = "rate_limited"
	CircuitOpen       Kind = "circuit_open"
	StreamInterrupted Kind = "stream_interrupted"
	InvalidResponse   Kind = "invalid_response"
	Validation        Kind = "validation"
	CancelledKind     Kind = "cancelled"
	// ChaosInjected marks requests that this tool harmed on purpose, however they
	// ended. They say nothing about the platform and are counted apart.
	ChaosInjected Kind = "chaos_injected"
	// KeyTest marks requests made with a key that was, or was to be, withdrawn to
	// see what becomes of it, however they ended. They are no load, and are
	// counted apart likewise.
	KeyTest Kind = "key_lifecycle"
)

// Record is one request as this client saw it.
//
// All moments are offsets from the start of the run on the monotonic clock;
// zero means that the moment never came. Durations derived from them are
// methods, so that each formula stands in one place.
// docs/load-testing/measurement.md gives the definitions and their sources.
type Record struct {
	// ID travelled to the platform as X-Request-Id, Trace as traceparent.
	ID    string
	Trace Trace

	// Who asked, and where in their work they were. Org and User are names;
	// UserIndex is unique over the whole run.
	Org       string
	User      string
	UserIndex int
	Phase     string
	Session   int // 0-based, per user
	Turn      int // 0-based, within a conversation
	Attempt   int // 1 for the first try

	// Measured is false in warm-up and cool-down, which count towards cost
	// and totals but not towards latency or the verdict.
	Measured bool
	// Final is true unless the request failed and is to be tried again.
	Final bool

	// What was asked.
	Endpoint string // chat, completions, embeddings, …
	Model    string
	Backend  string // who answered, where the platform says so
	Strategy string // historical, mathematical, …
	TestType string // random_short, long, cached, or empty
	Stream   bool

	// When.
	Scheduled  time.Duration // when it was meant to leave
	Sent       time.Duration // when it was handed to the connection pool
	FirstByte  time.Duration // first byte of the response head
	FirstToken time.Duration // first chunk with content; streams only
	LastToken  time.Duration // last chunk with content; streams only
	Done       time.Duration // the answer was complete, or known to have failed

	// Connection phases of this request; zero when a pooled connection served it.
	DNS, Connect, TLS time.Duration
	Reused            bool

	// Gaps are the times between one content chunk and the next; the first
	// chunk has none. The slice is reused: a sink that keeps it must copy it.
	Gaps []time.Duration
	// Chunks counts content chunks, FirstChunkTokens the tokens in the first.
	Chunks           int
	FirstChunkTokens int

	// Tokens, from the platform's usage; meaningless unless UsageKnown.
	UsageKnown       bool
	PromptTokens     int
	CompletionTokens int
	CachedTokens     int
	CachedKnown      bool // the usage spoke of cached tokens

	// CostMicroUSD is in millionths of a dollar; meaningless unless CostKnown.
	CostMicroUSD int64
	CostKnown    bool

	// How it ended.
	Outcome      Outcome
	Kind         Kind
	Status       int // HTTP status; 0 if none arrived
	FinishReason string
	// Message explains a failure to a person. It is free of secrets and at
	// most a line long, and never a label.
	Message string
	// RetryAfter is what a refusal asked for; zero if it asked for nothing.
	RetryAfter time.Duration

	RequestBytes, ResponseBytes int64

	// Checks are the results of the scenario's checks of the answer, Values
	// the numbers that the scenario takes from it.
	Checks []Check
	Values []Value
}

// Check is the result of one check of an answer.
type Check struct {
	Name    string // what must be true: "status is 200"
	Problem string // why it is not; empty if it is
}

// Value is a number taken from an answer.
type Value struct {
	Name  string
	Value float64
}

// Injected reports whether this tool harmed the request on purpose, or made it
// with a key that it withdrew.
func (r *Record) Injected() bool { return r.Kind == ChaosInjected || r.Kind == KeyTest }

// E2E is the time from the scheduled moment to the complete answer. Under
// closed load a request is scheduled when its user wants to ask.
func (r *Record) E2E() time.Duration { return r.Done - r.Scheduled }

// TTFT is the time from the scheduled moment to the first content, and
// whether there was one.
func (r *Record) TTFT() (time.Duration, bool) {
	if r.FirstToken == 0 {
		return 0, false
	}
	return r.FirstToken - r.Scheduled, true
}

// TPOT is the time per output token after the first chunk:
// (last − first) / (tokens − tokens in the first chunk). It is unknown
// without usage, or when everything came in one chunk.
func (r *Record) TPOT() (time.Duration, bool) {
	rest := r.CompletionTokens - r.FirstChunkTokens
	if !r.UsageKnown || r.FirstToken == 0 || r.Chunks < 2 || rest <= 0 {
		return 0, false
	}
	return (r.LastToken - r.FirstToken) / time.Duration(rest), true
}

// SendLag is how late the request left, compared with its schedule.
func (r *Record) SendLag() time.Duration { return max(0, r.Sent-r.Scheduled) }

// Sink receives every record once. Add may be called from many goroutines at
// once and must not keep r or anything it points to.
type Sink interface{ Add(r *Record) }

// Tee sends each record to every sink in turn.
type Tee []Sink

var _ Sink = Tee{}

// Add implements [Sink].
func (t Tee) Add(r *Record) {
	for _, s := range t {
		s.Add(r)
	}
}

// SinkFunc lets a function be a Sink.
type SinkFunc func(*Record)

// Add implements [Sink].
func (f SinkFunc) Add(r *Record) { f(r) }
