package platform

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// answers is a caller that gives one error after the other, the last for ever.
type answers struct {
	errs  []error
	at    []time.Duration // when it was called, since the test began
	began time.Time
}

func (a *answers) call(context.Context, apiCall, any) error {
	a.at = append(a.at, time.Since(a.began))
	return a.errs[min(len(a.at), len(a.errs))-1]
}

func status(s int) *Error {
	return &Error{Op: "GET /x", Kind: statusKind(s), Status: s, Message: "so it is"}
}

func TestRetry(t *testing.T) {
	busy := status(503)
	asked := status(429)
	asked.RetryAfter = 7 * time.Second
	late := status(503)
	late.RetryAfter = time.Hour
	absent := status(501)
	absent.Err = errors.ErrUnsupported
	race := status(409)
	race.Message = "API key was modified concurrently"
	other := errors.New("not the platform's")

	for _, c := range []struct {
		name  string
		errs  []error
		tries int
		err   error
		least time.Duration // between the first and the last try
		most  time.Duration
	}{
		{"at once", []error{nil}, 1, nil, 0, 0},
		{"after two", []error{busy, busy, nil}, 3, nil, 0, 300 * time.Millisecond},
		{"no answer", []error{&Error{Kind: record.Connection}, nil}, 2, nil, 0, 100 * time.Millisecond},
		{"Retry-After", []error{asked, nil}, 2, nil, 7 * time.Second, 7*time.Second + 100*time.Millisecond},
		{"Retry-After beyond patience", []error{late, nil}, 1, late, 0, 0},
		{"bounded", []error{busy}, 8, busy, 0, 11300 * time.Millisecond}, // 0.1+0.2+…+3.2+5
		{"a conflict that passes", []error{race, nil}, 2, nil, 0, 100 * time.Millisecond},
		{"a conflict that stays", []error{status(409), nil}, 1, status(409), 0, 0},
		{"a call that does not exist", []error{absent, nil}, 1, absent, 0, 0},
		{"a bad key", []error{status(401), nil}, 1, status(401), 0, 0},
		{"not a platform error", []error{other, nil}, 1, other, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{errs: c.errs, began: time.Now()}
				r := newRetrying(a)
				err := r.call(t.Context(), apiCall{}, nil)
				var want *Error
				switch {
				case errors.As(c.err, &want):
					var got *Error
					if !errors.As(err, &got) || *got != *want {
						t.Errorf("err = %v, want %v", err, c.err)
					}
				case !errors.Is(err, c.err):
					t.Errorf("err = %v, want %v", err, c.err)
				}
				if len(a.at) != c.tries || r.count.Load() != int64(c.tries-1) {
					t.Errorf("%d tries, %d counted as repeated, want %d tries", len(a.at), r.count.Load(), c.tries)
				}
				if took := a.at[len(a.at)-1]; took < c.least || took > c.most {
					t.Errorf("the last try came after %v, want %v to %v", took, c.least, c.most)
				}
				if c.tries > 1 && c.err != nil && !strings.Contains(err.Error(), "tried 8 times") {
					t.Errorf("err = %q does not tell the tries", err)
				}
			})
		})
	}
}

// TestNotDone checks that a call is said to have changed nothing only if no
// try can have been carried out.
func TestNotDone(t *testing.T) {
	dial := &Error{Kind: record.Connection, Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}
	reset := &Error{Kind: record.Connection, Err: &net.OpError{Op: "read", Err: errors.New("reset")}}
	for _, c := range []struct {
		name   string
		method string
		errs   []error
		want   bool
	}{
		{"a bad key", "POST", []error{status(401)}, true},
		{"a wrong path", "POST", []error{status(404)}, true},
		{"too often", "POST", []error{status(429)}, true},
		{"nobody there", "POST", []error{dial}, true},
		{"a bad certificate", "POST", []error{&Error{Kind: record.TLS}}, true},
		{"a name that is taken, perhaps by an earlier try", "POST", []error{status(409)}, false},
		{"a gateway", "POST", []error{status(502)}, false},
		{"no answer", "POST", []error{reset}, false},
		{"no answer, then a no", "POST", []error{reset, status(401)}, false},
		{"nobody there, then a no", "POST", []error{dial, status(401)}, true},
		{"success", "POST", []error{nil}, false},
		{"a question about something", "GET", []error{status(404)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := newRetrying(&answers{errs: c.errs}).call(t.Context(), apiCall{method: c.method}, nil)
				if got := errors.Is(err, ErrNotDone); got != c.want {
					t.Errorf("%v: not done is %v, want %v", err, got, c.want)
				}
			})
		})
	}
}

// TestRetryJitter checks that callers refused in the same instant come back at
// different times, after Retry-After too.
func TestRetryJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := status(429)
		busy.RetryAfter = time.Second
		seen := map[time.Duration]bool{}
		for range 20 {
			a := &answers{errs: []error{busy, nil}, began: time.Now()}
			if err := newRetrying(a).call(t.Context(), apiCall{}, nil); err != nil {
				t.Fatal(err)
			}
			seen[a.at[1]] = true
		}
		if len(seen) < 15 {
			t.Fatalf("20 callers came back at only %d different times", len(seen))
		}
	})
}

func TestRetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the run is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		slow := status(http.StatusTooManyRequests)
		slow.RetryAfter = time.Minute
		a := &answers{errs: []error{slow}, began: time.Now()}
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		err := newRetrying(a).call(ctx, apiCall{}, nil)
		if got := time.Since(a.began); got != 3*time.Second {
			t.Errorf("returned after %v, want 3s", got)
		}
		var e *Error
		if !errors.Is(err, why) || !errors.As(err, &e) || e.Status != 429 {
			t.Errorf("err = %v, want both the reason and the last refusal", err)
		}
	})
}
