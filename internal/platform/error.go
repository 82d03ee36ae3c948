package platform

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Error is a call to the platform that did not succeed. It never contains a
// key, a password or a token.
type Error struct {
	Op         string        // what was attempted: "POST /v1/chat/completions"
	Kind       record.Kind   // why it failed, from a closed set
	Status     int           // HTTP status; 0 if none arrived
	Code       string        // the platform's own code, such as BUDGET_EXCEEDED
	Message    string        // the platform's words, one line, at most 200 bytes
	RetryAfter time.Duration // what a refusal asked for; 0 if nothing
	Err        error         // the cause, if there is one
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
	} else {
		b.WriteString(strings.ReplaceAll(string(e.Kind), "_", " "))
	}
	if e.Code != "" {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	switch {
	case e.Message != "":
		b.WriteString(": " + e.Message)
	case e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Outcome says whether the platform refused, the call failed, or we gave up.
// A refusal is a deliberate no: 402, 403, 429, 503.
func (e *Error) Outcome() record.Outcome {
	switch {
	case e.Kind == record.CancelledKind:
		return record.Cancelled
	case e.Status == http.StatusPaymentRequired, e.Status == http.StatusForbidden,
		e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable:
		return record.Refused
	default:
		return record.Failed
	}
}

// Temporary reports whether the same call may succeed later: rate limits,
// 408, 5xx, broken connections and streams, time-outs. A spent budget, a bad
// key, an untrusted certificate or a bad request stays as it is.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case record.Timeout, record.Connection, record.DNS, record.StreamInterrupted, record.RateLimited, record.InvalidResponse:
		return true
	case record.HTTPError:
		// The platform answers 401 when it cannot ask whether a key is good;
		// for a bad key the kind is AuthError.
		return e.Status >= 500 || e.Status == http.StatusRequestTimeout || e.Status == http.StatusUnauthorized
	default:
		return false
	}
}
