package simulator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

type clientFunc func(ctx context.Context, req *platform.Request, ex *platform.Exchange) error

func (f clientFunc) Do(ctx context.Context, req *platform.Request, ex *platform.Exchange) error {
	return f(ctx, req, ex)
}

type priceList map[string]int64

func (p priceList) Cost(model string, u platform.Usage) (int64, bool) {
	price, ok := p[model]
	return price * int64(u.PromptTokens+u.CompletionTokens), ok
}

func TestDirectHandsOverItsCall(t *testing.T) {
	c := &Call{Request: platform.Request{Model: "m"}}
	want := errors.New("no")
	err := Direct{clientFunc(func(_ context.Context, req *platform.Request, ex *platform.Exchange) error {
		if req != &c.Request || ex != &c.Exchange {
			t.Error("the client got something else than the call's request and exchange")
		}
		return want
	})}.Ask(t.Context(), c)
	if !errors.Is(err, want) {
		t.Errorf("Ask = %v, want %v", err, want)
	}
}

func TestRecorderRecordsWhatHappened(t *testing.T) {
	s := &sink{}
	r := &Recorder{
		Asker: AskerFunc(func(_ context.Context, c *Call) error {
			ex := &c.Exchange
			ex.Sent, ex.FirstByte, ex.FirstToken, ex.LastToken, ex.Done = 11, 12, 13, 14, 15
			ex.DNS, ex.Connect, ex.TLS, ex.Reused = 1, 2, 3, true
			ex.Gaps = append(ex.Gaps, 4, 5)
			ex.Chunks, ex.FirstChunkTokens = 3, 2
			ex.Usage, ex.UsageKnown = platform.Usage{PromptTokens: 100, CompletionTokens: 20, CachedTokens: 64}, true
			ex.CachedKnown = true
			ex.Status, ex.FinishReason, ex.RequestBytes, ex.ResponseBytes = 200, "stop", 300, 400
			return nil
		}),
		Sink: s, Prices: priceList{"m": 7}, Now: func() time.Duration { return 99 },
	}
	c := &Call{
		Request: platform.Request{ID: "run-3-0", Endpoint: platform.Chat, Model: "m", Stream: true},
		Org:     "o", User: "u", UserIndex: 3, Session: 1, Turn: 2, Attempt: 1,
		Strategy: "technical", TestType: "long", Scheduled: 10, Phase: "hold", Measured: true,
	}
	if err := r.Ask(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	want := record.Record{
		ID: "run-3-0", Org: "o", User: "u", UserIndex: 3, Phase: "hold", Session: 1, Turn: 2, Attempt: 1,
		Measured: true, Final: true, Endpoint: "chat", Model: "m", Strategy: "technical", TestType: "long", Stream: true,
		Scheduled: 10, Sent: 11, FirstByte: 12, FirstToken: 13, LastToken: 14, Done: 15,
		DNS: 1, Connect: 2, TLS: 3, Reused: true, Gaps: []time.Duration{4, 5}, Chunks: 3, FirstChunkTokens: 2,
		UsageKnown: true, PromptTokens: 100, CompletionTokens: 20, CachedTokens: 64, CachedKnown: true,
		CostMicroUSD: 840, CostKnown: true, Status: 200, FinishReason: "stop", RequestBytes: 300, ResponseBytes: 400,
	}
	if got := fmt.Sprintf("%+v", s.recs[0]); got != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %s\nwant %+v", got, want)
	}

	c.Request.Model = "unpriced"
	_ = r.Ask(t.Context(), c)
	if got := s.recs[1]; got.CostKnown || got.CostMicroUSD != 0 {
		t.Errorf("a model without a price cost %d (known: %v)", got.CostMicroUSD, got.CostKnown)
	}
}

func TestRecorderClassifies(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		outcome record.Outcome
		kind    record.Kind
		status  int
		message string
	}{
		{"a refusal", &platform.Error{Op: "POST x", Kind: record.BudgetExceeded, Status: 402, Message: "limit\nsecond line"}, record.Refused, record.BudgetExceeded, 402, "402 Payment Required: limit"},
		{"a rate limit", status(429, time.Second), record.Refused, record.RateLimited, 429, ""},
		{"a server error", fmt.Errorf("wrapped: %w", status(502, 0)), record.Failed, record.HTTPError, 502, ""},
		{"a broken stream", kind(record.StreamInterrupted), record.Failed, record.StreamInterrupted, 0, ""},
		{"given up", kind(record.CancelledKind), record.Cancelled, record.CancelledKind, 0, ""},
		{"a bare cancellation", context.Canceled, record.Cancelled, record.CancelledKind, 0, "context canceled"},
		{"a bare deadline", context.DeadlineExceeded, record.Failed, record.Timeout, 0, ""},
		{"something else", errors.New(strings.Repeat("é", 300)), record.Failed, record.HTTPError, 0, strings.Repeat("é", 200) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sink{}
			r := &Recorder{Asker: AskerFunc(func(context.Context, *Call) error { return tt.err }), Sink: s, Now: func() time.Duration { return 99 }}
			c := &Call{Scheduled: 5}
			// What an earlier question left behind must not show.
			c.Exchange = platform.Exchange{Status: 200, Sent: 1, Done: 2, Chunks: 9, UsageKnown: true, Gaps: []time.Duration{1}}
			if err := r.Ask(t.Context(), c); !errors.Is(err, tt.err) {
				t.Errorf("Ask = %v, want %v", err, tt.err)
			}
			got := s.recs[0]
			if got.Outcome != tt.outcome || got.Kind != tt.kind || got.Status != tt.status {
				t.Errorf("got %v, %q, %d; want %v, %q, %d", got.Outcome, got.Kind, got.Status, tt.outcome, tt.kind, tt.status)
			}
			if tt.message != "" && got.Message != tt.message {
				t.Errorf("message %q, want %q", got.Message, tt.message)
			}
			if got.Message == "" || got.Done != 99 || got.Sent != 0 || got.Chunks != 0 || len(got.Gaps) != 0 || got.UsageKnown || !got.Final || got.Attempt != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRecorderIgnoresWhatWasNotSent(t *testing.T) {
	s := &sink{}
	r := &Recorder{Asker: AskerFunc(func(context.Context, *Call) error { return fmt.Errorf("held: %w", ErrNotSent) }), Sink: s, Now: func() time.Duration { return 1 }}
	if err := r.Ask(t.Context(), &Call{}); !errors.Is(err, ErrNotSent) || len(s.recs) != 0 {
		t.Errorf("Ask = %v with %d records; want ErrNotSent and none", err, len(s.recs))
	}
}

func TestBreakerOpensOnWhatAPlatformThatIsDownDoes(t *testing.T) {
	for _, tt := range []struct {
		err   error
		opens bool
	}{
		{kind(record.Connection), true}, {kind(record.Timeout), true}, {kind(record.DNS), true}, {kind(record.TLS), true},
		{kind(record.StreamInterrupted), true}, {kind(record.InvalidResponse), true}, {kind(record.ChaosInjected), true},
		{status(500, 0), true}, {status(502, 0), true}, {status(504, 0), true},
		{status(400, 0), false}, {status(401, 0), false}, {status(402, 0), false}, {status(403, 0), false},
		{status(404, 0), false}, {status(413, 0), false}, {status(429, time.Second), false}, {status(503, 0), false},
		{kind(record.Validation), false}, {kind(record.CancelledKind), false}, {context.Canceled, false}, {ErrNotSent, false},
		{nil, false},
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			calls := 0
			b := NewBreaker(AskerFunc(func(context.Context, *Call) error { calls++; return tt.err }), BreakerOptions{Failures: 3})
			for range 10 {
				_ = b.Ask(t.Context(), &Call{})
			}
			want, shed, state := 10, uint64(0), "closed"
			if tt.opens {
				want, shed, state = 3, 7, "open"
			}
			if calls != want || b.Shed() != shed || b.circuit.State().String() != state {
				t.Errorf("%d calls, %d shed, %s; want %d, %d, %s", calls, b.Shed(), b.circuit.State().String(), want, shed, state)
			}
		})
	}
}

func TestBreakerCountsFailuresInARow(t *testing.T) {
	n := 0
	b := NewBreaker(AskerFunc(func(context.Context, *Call) error {
		n++
		if n%3 == 0 {
			return status(429, 0) // up, if unwilling
		}
		return status(500, 0)
	}), BreakerOptions{Failures: 3})
	for range 30 {
		_ = b.Ask(t.Context(), &Call{})
	}
	if n != 30 || b.Shed() != 0 {
		t.Errorf("%d of 30 questions came through and %d were shed, though there were never three failures in a row", n, b.Shed())
	}
}

func TestBreakerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, calls := true, 0
		var changes []string
		b := NewBreaker(AskerFunc(func(context.Context, *Call) error {
			calls++
			if down {
				return kind(record.Connection)
			}
			return nil
		}), BreakerOptions{Failures: 2, Wait: 10 * time.Second, Changed: func(from, to string) { changes = append(changes, from+">"+to) }})
		ask := func() error { return b.Ask(t.Context(), &Call{}) }
		_, _ = ask(), ask()

		err := ask()
		var perr *platform.Error
		if !errors.As(err, &perr) || perr.Kind != record.CircuitOpen || perr.RetryAfter != 10*time.Second || !errors.Is(err, ErrNotSent) || perr.Temporary() {
			t.Fatalf("an open circuit gives %#v", err)
		}
		_ = rest(t.Context(), 4*time.Second)
		if errors.As(ask(), &perr); perr.RetryAfter != 6*time.Second {
			t.Errorf("after 4 s it says to wait for %v, want 6s", perr.RetryAfter)
		}
		_ = rest(t.Context(), 7*time.Second)
		if err := ask(); errors.Is(err, ErrNotSent) || calls != 3 {
			t.Errorf("when the wait is over, one request should go out: %v after %d calls", err, calls)
		}
		if err := ask(); !errors.Is(err, ErrNotSent) {
			t.Errorf("it failed, so the circuit should be open again: %v", err)
		}
		down = false
		_ = rest(t.Context(), 11*time.Second)
		if err := errors.Join(ask(), ask(), ask()); err != nil || b.circuit.State().String() != "closed" {
			t.Errorf("the platform is back, but: %v, %s", err, b.circuit.State().String())
		}
		if got := strings.Join(changes, " "); got != "closed>open open>half-open half-open>open open>half-open half-open>closed" {
			t.Errorf("changes: %s", got)
		}
	})
}

// TestBreakerLetsOneTry: while the one request is out, the others are held back.
func TestBreakerLetsOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, calls := true, 0
		var mu sync.Mutex
		b := NewBreaker(AskerFunc(func(ctx context.Context, _ *Call) error {
			mu.Lock()
			calls++
			mu.Unlock()
			if down {
				return status(500, 0)
			}
			return rest(ctx, time.Second)
		}), BreakerOptions{Failures: 1, Wait: time.Second})
		_ = b.Ask(t.Context(), &Call{})
		down = false
		_ = rest(t.Context(), 2*time.Second)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _ = b.Ask(t.Context(), &Call{}) })
		}
		wg.Wait()
		if calls != 2 || b.Shed() != 49 {
			t.Errorf("%d calls and %d shed; want the first failure, one try, and 49 shed", calls, b.Shed())
		}
	})
}

// attempts runs one question through Retry and Recorder; errs are the results
// of the attempts, and the last one repeats.
func attempts(t *testing.T, p RetryPolicy, errs ...error) ([]record.Record, error) {
	t.Helper()
	epoch := time.Now()
	now := func() time.Duration { return time.Since(epoch) }
	s := &sink{}
	n := 0
	r := &Retry{RetryPolicy: p, Now: now, Asker: &Recorder{Sink: s, Now: now, Asker: AskerFunc(func(ctx context.Context, c *Call) error {
		c.Exchange.Sent = now()
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		n++
		return errs[min(n, len(errs))-1]
	})}}
	c := &Call{Rand: questions.Seed(1, 1, 1, -1), Request: platform.Request{ID: "id"}, PhaseAt: func(at time.Duration) (string, bool) {
		if at < time.Second {
			return "early", false
		}
		return "late", true
	}}
	c.Schedule(0)
	err := r.Ask(t.Context(), c)
	return s.recs, err
}

func TestRetry(t *testing.T) {
	policy := RetryPolicy{Attempts: 3, Base: time.Second}
	for _, tt := range []struct {
		name   string
		policy RetryPolicy
		errs   []error
		want   int  // attempts
		ok     bool // in the end
	}{
		{"a success needs no retry", policy, []error{nil}, 1, true},
		{"it comes back", policy, []error{kind(record.Connection), status(500, 0), nil}, 3, true},
		{"it does not come back", policy, []error{status(502, 0)}, 4, false},
		{"no retries", RetryPolicy{}, []error{status(502, 0)}, 1, false},
		{"a budget stays spent", policy, []error{status(402, 0)}, 1, false},
		{"a bad key stays bad", policy, []error{status(401, 0)}, 1, false},
		{"a bad request stays bad", policy, []error{kind(record.Validation)}, 1, false},
		{"a rate limit passes", policy, []error{status(429, time.Second), nil}, 2, true},
		{"a rate limit that asks for too much", policy, []error{status(429, time.Hour), nil}, 1, false},
		{"an ignored status", RetryPolicy{Attempts: 3, Ignore: Codes{"502"}}, []error{status(502, 0)}, 1, false},
		{"an ignored kind", RetryPolicy{Attempts: 3, Ignore: Codes{"connection"}}, []error{kind(record.Connection)}, 1, false},
		{"an ignored code", RetryPolicy{Attempts: 3, Ignore: Codes{"BACKEND_ERROR"}}, []error{&platform.Error{Kind: record.HTTPError, Status: 502, Code: "BACKEND_ERROR"}}, 1, false},
		{"other codes are not ignored", RetryPolicy{Attempts: 1, Ignore: Codes{"429", "timeout"}}, []error{status(502, 0)}, 2, false},
		{"an error of another kind", policy, []error{errors.New("bug")}, 1, false},
		{"held back", policy, []error{&platform.Error{Kind: record.Timeout, Err: ErrNotSent}}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recs, err := attempts(t, tt.policy, tt.errs...)
				if len(recs) != tt.want || (err == nil) != tt.ok {
					t.Fatalf("%d attempts and %v; want %d, success %v", len(recs), err, tt.want, tt.ok)
				}
				for i, r := range recs {
					if r.Attempt != i+1 || r.Final != (i == len(recs)-1) {
						t.Errorf("attempt %d is marked as %d, final %v", i+1, r.Attempt, r.Final)
					}
					if id := []string{"id", "id-2", "id-3", "id-4"}[i]; r.ID != id {
						t.Errorf("attempt %d has the ID %q, want %q", i+1, r.ID, id)
					}
					if r.Sent != r.Scheduled {
						t.Errorf("attempt %d was due at %v and left at %v", i+1, r.Scheduled, r.Sent)
					}
					if late := r.Scheduled >= time.Second; r.Measured != late || (r.Phase == "late") != late {
						t.Errorf("attempt %d, due at %v, is in phase %q (measured: %v)", i+1, r.Scheduled, r.Phase, r.Measured)
					}
				}
			})
		})
	}
}

func TestRetryHonoursRetryAfterWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recs, err := attempts(t, RetryPolicy{Attempts: 1, Base: 2 * time.Second}, status(429, 30*time.Second), nil)
		if err != nil || len(recs) != 2 {
			t.Fatal(err, len(recs))
		}
		if wait := recs[1].Scheduled - recs[0].Done; wait <= 30*time.Second || wait > 32*time.Second {
			t.Errorf("waited for %v, want more than 30 s and at most 32 s", wait)
		}
		if recs[0].RetryAfter != 30*time.Second {
			t.Errorf("the record says Retry-After %v", recs[0].RetryAfter)
		}
	})
}

// TestFullJitter: the n-th wait is uniform on [0, Base·2^(n−1)], up to Longest.
func TestFullJitter(t *testing.T) {
	const draws = 20_000
	rng := questions.Seed(5, 1, 1, 1)
	waits := make([][]float64, 5)
	for range draws {
		j := fullJitter{base: time.Second, longest: 6 * time.Second, rng: rng}
		for i := range waits {
			waits[i] = append(waits[i], j.NextBackOff().Seconds())
		}
	}
	for i, top := range []float64{1, 2, 4, 6, 6} {
		if d := kolmogorov(waits[i], flat{0, top}.cdf); d > 1.95 {
			t.Errorf("wait %d is not uniform up to %v s: √n·D = %.2f", i+1, top, d)
		}
	}
}

func TestRetryStopsWaitingWhenTheUserLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaving, leave := context.WithCancel(t.Context())
		calls := 0
		start := time.Now()
		r := &Retry{RetryPolicy: RetryPolicy{Attempts: 5}, Now: func() time.Duration { return time.Since(start) },
			Asker: AskerFunc(func(context.Context, *Call) error { calls++; return status(429, 50*time.Second) })}
		time.AfterFunc(10*time.Second, leave)
		err := r.Ask(t.Context(), &Call{Leaving: leaving, Rand: questions.Seed(1, 1, 1, 1)})
		var perr *platform.Error
		if !errors.As(err, &perr) || perr.Status != 429 || calls != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %d calls and %v; want the 429 of one call after 10 s", err, calls, time.Since(start))
		}

		// Once leaving, a failure is final at once.
		s := &sink{}
		r.Asker = &Recorder{Asker: r.Asker, Sink: s, Now: r.Now}
		_ = r.Ask(t.Context(), &Call{Leaving: leaving})
		if len(s.recs) != 1 || !s.recs[0].Final {
			t.Errorf("records %+v; want one, final", s.recs)
		}
	})
}

// TestStackInAnOutage runs the whole stack through an outage: what was not
// sent is in no record, and what was sent is in exactly one.
func TestStackInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Now()
		now := func() time.Duration { return time.Since(epoch) }
		s := &sink{}
		sent := 0
		breaker := NewBreaker(&Recorder{Sink: s, Now: now, Asker: Direct{clientFunc(func(_ context.Context, _ *platform.Request, ex *platform.Exchange) error {
			sent++
			*ex = platform.Exchange{Sent: now(), Done: now() + 1}
			if at := now(); at > time.Minute && at < 2*time.Minute {
				return kind(record.Connection)
			}
			return nil
		})}}, BreakerOptions{Failures: 3, Wait: 5 * time.Second})
		stack := &Retry{RetryPolicy: RetryPolicy{Attempts: 2, Base: time.Second}, Now: now, Asker: breaker}
		c := &Call{Rand: questions.Seed(1, 1, 1, -1)}
		unsent := uint64(0)
		for now() < 3*time.Minute {
			c.Schedule(now())
			if err := stack.Ask(t.Context(), c); errors.Is(err, ErrNotSent) {
				unsent++
			}
			_ = rest(t.Context(), time.Second)
		}
		if len(s.recs) != sent {
			t.Errorf("%d requests left and %d records were made", sent, len(s.recs))
		}
		if unsent == 0 || unsent != breaker.Shed() {
			t.Errorf("%d questions came back unsent, and the breaker counted %d", unsent, breaker.Shed())
		}
		failed := 0
		for _, r := range s.recs {
			if r.Kind == record.CircuitOpen {
				t.Errorf("a record of a request that never left: %+v", r)
			}
			if r.Outcome == record.Failed {
				failed++
			}
		}
		// A minute of outage at one question a second, and hardly any got out:
		// three to open the circuit, then one every five seconds.
		if failed < 3 || failed > 20 {
			t.Errorf("%d requests failed", failed)
		}
		if last := s.recs[len(s.recs)-1]; last.Outcome != record.Success || breaker.circuit.State().String() != "closed" {
			t.Errorf("after the outage: %v, circuit %s", last.Outcome, breaker.circuit.State().String())
		}
	})
}

// BenchmarkStack is what the stack adds to a request.
func BenchmarkStack(b *testing.B) {
	epoch := time.Now()
	now := func() time.Duration { return time.Since(epoch) }
	direct := Direct{clientFunc(func(_ context.Context, _ *platform.Request, ex *platform.Exchange) error {
		ex.Sent, ex.Done, ex.UsageKnown = 1, 2, true
		return nil
	})}
	recorder := &Recorder{Asker: direct, Sink: record.SinkFunc(func(*record.Record) {}), Prices: priceList{"m": 1}, Now: now}
	breaker := NewBreaker(recorder, BreakerOptions{})
	for _, bb := range []struct {
		name string
		a    Asker
	}{
		{"recorder", recorder},
		{"breaker", breaker},
		{"no-retries", &Retry{Asker: breaker, Now: now}},
		{"retries", &Retry{Asker: breaker, RetryPolicy: RetryPolicy{Attempts: 3}, Now: now}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := &Call{Request: platform.Request{ID: "run-1-1", Model: "m"}, Rand: questions.Seed(1, 1, 1, 1)}
			b.ReportAllocs()
			for b.Loop() {
				_ = bb.a.Ask(b.Context(), c)
			}
		})
	}
}
