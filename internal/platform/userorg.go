package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// apiCall is one call of the User/Org API.
type apiCall struct {
	method string
	path   string // escaped, from /v1 on
	body   any    // sent as JSON; nil: no body

	bearer, apiKey secret.String // credentials; empty: not sent
	hide           secret.String // a secret of the body, kept out of errors
}

func (c apiCall) op() string { return c.method + " " + c.path }

// caller makes calls of the User/Org API. into, if not nil, receives the JSON
// of a 2xx answer. Errors are or wrap an [*Error]; for a call that the
// platform does not have they also are [errors.ErrUnsupported], for a thing
// that does not exist [ErrNotFound].
type caller interface {
	call(ctx context.Context, c apiCall, into any) error
}

var (
	_ caller = (*userOrg)(nil)
	_ caller = (*signedIn)(nil)
	_ caller = (*retrying)(nil)
)

// maxAnswer bounds what is read of one answer: a list of all users of a large
// organization is the longest.
const maxAnswer = 64 << 20

// userOrg is the User/Org API on the wire.
type userOrg struct {
	peer
	base    string
	headers map[string]secret.String
	http    *http.Client
	namer   *namer // nil: only those calls have names that their callers named
}

func newUserOrg(conn Connection) (*userOrg, error) {
	base, err := conn.base()
	if err != nil {
		return nil, err
	}
	transport, err := conn.transport()
	if err != nil {
		return nil, err
	}
	host := base
	if _, rest, found := strings.Cut(base, "://"); found {
		host, _, _ = strings.Cut(rest, "/")
	}
	return &userOrg{peer: peer{host: host, timeout: conn.timeout()}, base: base, headers: conn.Headers, http: &http.Client{
		Transport: transport,
		// Following would send the admin key to wherever the answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (u *userOrg) call(ctx context.Context, c apiCall, into any) error {
	return u.namer.call(ctx, c, func(ctx context.Context) (status int, err error) { return u.send(ctx, c, into) })
}

// send makes the call, and returns the status of the answer, if there was one.
func (u *userOrg) send(ctx context.Context, c apiCall, into any) (status int, err error) {
	var body io.Reader
	if c.body != nil {
		b, err := json.Marshal(c.body)
		if err != nil {
			return 0, &Error{Op: c.op(), Kind: record.Validation, Err: fmt.Errorf("encode the request: %w", err)}
		}
		body = bytes.NewReader(b)
	}
	parent := ctx
	broken := func(err error) error { return u.broken(parent, ctx, c.op(), err, "no complete answer", u.hide(c)) }
	if c.method == http.MethodPost {
		if ctx.Err() != nil {
			return 0, broken(context.Cause(ctx))
		}
		finish, done := patient(ctx, finishTime)
		defer done()
		ctx = finish
	}
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, errTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, u.base+c.path, body)
	if err != nil {
		return 0, &Error{Op: c.op(), Kind: record.Validation, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.bearer.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.bearer.Reveal())
	}
	if !c.apiKey.Empty() {
		req.Header.Set("X-API-Key", c.apiKey.Reveal())
	}
	for name, value := range u.headers {
		req.Header.Set(name, value.Reveal())
		if strings.EqualFold(name, "Host") {
			req.Host = value.Reveal() // the header alone is not sent
		}
	}
	addHeaders(ctx, req.Header)

	resp, err := u.http.Do(req)
	if err != nil {
		return 0, broken(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, broken(err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := refused(c.op(), resp.StatusCode, resp.Header, answer, req.ContentLength, u.hide(c))
		e.Err = absent(resp.StatusCode, answer)
		return resp.StatusCode, e
	}
	if into == nil {
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return resp.StatusCode, &Error{Op: c.op(), Kind: record.InvalidResponse, Status: resp.StatusCode,
			Message: u.hide(c).line("the answer is not the JSON expected here: " + string(answer)), Err: err}
	}
	return resp.StatusCode, nil
}

// finishTime is how long a call that creates something may still take when
// its run is stopped.
const finishTime = 5 * time.Second

// patient returns a context that ends some time after ctx does. A creation
// that was given up at once could be carried out after clean-up has looked for
// what there is to remove.
func patient(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(wait, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel(nil) }
}

// absent says what a refusal means for the thing that was called: that the
// platform has no such call, that the thing does not exist, or neither.
func absent(status int, answer []byte) error {
	switch status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return errors.ErrUnsupported
	case http.StatusNotFound:
		// Routers name the method and the path that they do not know.
		var unknown struct{ Method, Path string }
		if json.Unmarshal(answer, &unknown) == nil && unknown.Method != "" && unknown.Path != "" ||
			strings.TrimSpace(string(answer)) == "404 page not found" {
			return errors.ErrUnsupported
		}
		return ErrNotFound
	default:
		return nil
	}
}

// hide returns the secrets that a call carries.
func (u *userOrg) hide(c apiCall) censor {
	hide := censor{c.bearer.Reveal(), c.apiKey.Reveal(), c.hide.Reveal()}
	for _, value := range u.headers {
		hide = append(hide, value.Reveal())
	}
	return hide
}

// statusKind classifies a status other than 2xx.
func statusKind(status int) record.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return record.AuthError
	case http.StatusPaymentRequired:
		return record.BudgetExceeded
	case http.StatusTooManyRequests:
		return record.RateLimited
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return record.Validation
	default:
		return record.HTTPError
	}
}

// askedToWait reads Retry-After, which is a number of seconds or a date.
func askedToWait(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return max(0, time.Duration(s*float64(time.Second)))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
