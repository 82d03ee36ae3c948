package platform

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// maxMessage bounds Error.Message, in bytes.
const maxMessage = 200

// censor is what must not be quoted, should the platform send it back.
type censor []string

// line makes text fit for Error.Message: one line, bounded, without secrets.
func (c censor) line(text string) string {
	for _, s := range c {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxMessage {
		const mark = "…"
		text = strings.ToValidUTF8(text[:maxMessage-len(mark)], "") + mark
	}
	return text
}

// cause keeps an error for Unwrap, unless its text would give a secret away.
func (c censor) cause(err error) error {
	text := err.Error()
	for _, s := range c {
		if s != "" && strings.Contains(text, s) {
			return errors.New(c.line(text))
		}
	}
	return err
}

// complaint is what the body of an error says.
type complaint struct {
	text   string
	code   string
	status int           // an HTTP status given in the body; 0 if none
	retry  time.Duration // retry_after_seconds
}

// readComplaint understands {"error": "text", "code"}, OpenAI's {"error":
// {message, type, code}}, vLLM's {"object": "error", message, code}, OAuth's
// error_description, a "detail", and anything else as text.
func readComplaint(body []byte) complaint {
	var top map[string]any
	if json.Unmarshal(body, &top) != nil {
		return complaint{text: string(body)}
	}
	var c complaint
	nested, _ := top["error"].(map[string]any)
	limit, _ := top["limit_context"].(map[string]any)
	plain := func(v any) string { s, _ := v.(string); return s }
	for _, m := range []map[string]any{nested, top} {
		c.text = firstOf(c.text, plain(m["message"]), plain(m["error_description"]), plain(m["detail"]))
		switch code := m["code"].(type) {
		case string:
			c.code = firstOf(c.code, code)
			if n, err := strconv.Atoi(code); err == nil {
				c.status = n
			}
		case float64:
			c.status = int(code)
		}
		if status, ok := m["status"].(float64); ok {
			c.status = int(status)
		}
	}
	if reason := plain(top["error"]); reason != "" {
		if c.text == "" {
			c.text = reason
		} else {
			c.code = firstOf(c.code, reason) // OAuth: the error is a code, its description the text
		}
	}
	c.code = firstOf(c.code, plain(nested["type"]), plain(top["type"]))
	if c.text == "" {
		c.text = string(body)
	}
	if c.status < 400 || c.status > 599 {
		c.status = 0
	}
	for _, m := range []map[string]any{top, nested, limit} {
		if s, ok := m["retry_after_seconds"].(float64); ok && s > 0 && s < 1e9 {
			c.retry = time.Duration(s * float64(time.Second))
			break
		}
	}
	return c
}

// codeStatus gives the HTTP status that belongs to an error code, for errors
// that come inside an answer whose own status was 200.
var codeStatus = map[string]int{
	"AUTH_INVALID":          http.StatusUnauthorized,
	"BUDGET_EXCEEDED":       http.StatusPaymentRequired,
	"QUOTA_EXCEEDED":        http.StatusPaymentRequired,
	"RATE_LIMIT_EXCEEDED":   http.StatusTooManyRequests,
	"INVALID_REQUEST":       http.StatusBadRequest,
	"VALIDATION_ERROR":      http.StatusBadRequest,
	"ROUTING_ERROR":         http.StatusInternalServerError,
	"BACKEND_ERROR":         http.StatusBadGateway,
	"rate_limit_exceeded":   http.StatusTooManyRequests,
	"insufficient_quota":    http.StatusTooManyRequests,
	"invalid_request_error": http.StatusBadRequest,
	"server_error":          http.StatusInternalServerError,
	"InternalServerError":   http.StatusInternalServerError,
}

// refused describes an answer with a status other than 2xx to a request whose
// body had the given size.
func refused(op string, status int, h http.Header, body []byte, size int64, hide censor) *Error {
	c := readComplaint(body)
	e := &Error{Op: op, Status: status, Code: hide.line(c.code), Kind: statusKind(status), RetryAfter: askedToWait(h)}
	if e.RetryAfter == 0 {
		e.RetryAfter = c.retry
	}
	text := c.text
	says := func(words string) bool { return strings.Contains(strings.ToLower(text), words) }
	switch {
	case status == http.StatusUnauthorized && says("user-org-service unavailable"):
		e.Kind = record.HTTPError // the key was not judged
	case status == http.StatusUnauthorized && says("authentication required") && hasRateLimit(h):
		text = "authentication required, although the router knew the key well enough to count it against its rate limit: " +
			"this version of the router refuses every key"
	case status == http.StatusRequestEntityTooLarge:
		e.Kind = record.Validation
		text = fmt.Sprintf("%s (%d bytes were sent)", strings.TrimSpace(firstOf(text, "request body too large")), size)
	case status == http.StatusNotFound && e.Code != "":
		e.Kind = record.Validation // the route is there, the model or the thing is not
	case status == http.StatusBadRequest && (says("http request to an https server") || says("plain http request was sent to https port")):
		e.Kind = record.TLS
		text = "the server speaks TLS here: write https:// in the address"
	case status >= 300 && status <= 399:
		text = "redirects to " + h.Get("Location") + ": give that address instead"
	}
	e.Message = firstOf(hide.line(text), "the answer does not say why")
	return e
}

func hasRateLimit(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Ratelimit-") {
			return true
		}
	}
	return false
}

// faulted describes an error that came in a 2xx answer. Its Status is the one
// that the error names, or that belongs to its code. Without either, a stream
// counts as interrupted.
func faulted(op string, body []byte, stream bool, hide censor) *Error {
	c := readComplaint(body)
	e := &Error{Op: op, Code: hide.line(c.code), Status: c.status, RetryAfter: c.retry, Message: hide.line("an error in place of an answer: " + c.text)}
	if e.Status == 0 {
		e.Status = codeStatus[c.code]
	}
	switch {
	case e.Status != 0:
		e.Kind = statusKind(e.Status)
	case stream:
		e.Kind = record.StreamInterrupted
	default:
		e.Kind = record.InvalidResponse
	}
	return e
}

// errTimeout is the cause of a call's context when the call took too long.
var errTimeout = errors.New("the time for the call is over")

// peer is whom calls are made to.
type peer struct {
	host    string        // host:port, for messages
	timeout time.Duration // of a call
}

// broken describes a call that got no complete answer. parent is the context
// of the caller and ctx that of the call, whose cause is errTimeout when that
// took too long; got says how far it came.
func (p peer) broken(parent, ctx context.Context, op string, err error, got string, hide censor) *Error {
	e := &Error{Op: op, Err: hide.cause(err)}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTimeout), errors.Is(err, errTimeout):
		e.Kind, e.Message = record.Timeout, fmt.Sprintf("%s within %v", got, p.timeout)
		e.Err = context.DeadlineExceeded
	case cause != nil && parent.Err() != nil:
		e.Kind, e.Message, e.Err = record.CancelledKind, "given up: "+hide.line(cause.Error()), cause
	default:
		e.Kind, e.Message = explain(err, p.host)
	}
	e.Message = hide.line(e.Message)
	return e
}

// explain classifies the failure of a connection to a host, given as
// host:port, and says in words what happened and what to do.
func explain(err error, host string) (record.Kind, string) {
	var (
		dns       *net.DNSError
		op        *net.OpError
		timeout   net.Error
		authority x509.UnknownAuthorityError
		wrongName x509.HostnameError
		invalid   x509.CertificateInvalidError
		noTLS     tls.RecordHeaderError
	)
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		host = "the proxy (see HTTP_PROXY and HTTPS_PROXY)"
	}
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return record.DNS, "the name " + dns.Name + " does not exist: check the address"
		}
		return record.DNS, "the name " + dns.Name + " could not be looked up: " + dns.Err

	case errors.As(err, &authority):
		return record.TLS, "the certificate of " + host + " is signed by an authority this machine does not trust: set targets.caFile"
	case errors.As(err, &wrongName):
		names := "no host"
		if c := wrongName.Certificate; c != nil && len(c.DNSNames) > 0 {
			names = strings.Join(c.DNSNames, ", ")
		}
		return record.TLS, "the certificate of " + host + " is for another host: " + names
	case errors.As(err, &invalid):
		if c := invalid.Cert; invalid.Reason == x509.Expired && c != nil {
			if now := time.Now(); now.Before(c.NotBefore) {
				return record.TLS, fmt.Sprintf("the certificate of %s is not valid before %s: check the clocks", host, c.NotBefore.UTC().Format(time.RFC3339))
			}
			return record.TLS, fmt.Sprintf("the certificate of %s expired on %s", host, c.NotAfter.UTC().Format(time.RFC3339))
		}
		return record.TLS, "the certificate of " + host + " is not valid: " + invalid.Error()
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS):
		return record.TLS, host + " does not speak TLS: write http:// in the address"
	case strings.Contains(text, `malformed HTTP response "\x15\x03`): // a TLS alert
		return record.TLS, host + " speaks TLS: write https:// in the address"
	case strings.Contains(text, "TLS handshake timeout"):
		return record.Timeout, host + " did not complete the TLS handshake in time"
	case strings.Contains(text, "tls: "), strings.Contains(text, "x509: "):
		return record.TLS, "no TLS connection to " + host + ": " + text

	case errors.As(err, &timeout) && timeout.Timeout():
		if op != nil && op.Op == "dial" {
			return record.Timeout, "no connection to " + host + ": it does not answer; is there a firewall between us?"
		}
		return record.Timeout, "the connection to " + host + " timed out: " + text
	case errors.Is(err, syscall.ECONNREFUSED):
		return record.Connection, "connection refused: nothing listens at " + host
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return record.Connection, "connection reset by " + host + ": it crashed, was restarted, or something between us cut in"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return record.Connection, "no route to " + host
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return record.Connection, "this machine has no file descriptor left for another connection: raise the limit (ulimit -n)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return record.Connection, "this machine has no port left for another connection to " + host
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(text, "server closed idle connection"):
		return record.Connection, host + " closed the connection before the answer was complete"
	case strings.Contains(text, "malformed HTTP"):
		return record.InvalidResponse, "what answers at " + host + " does not speak HTTP: " + text
	default:
		return record.Connection, text
	}
}
