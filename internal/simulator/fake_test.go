package simulator

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// rest waits under synctest, or until ctx is done.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		// Under -race, Go 1.26 crashes when goroutines of one bubble select on
		// timers that are due already: all of them run those in one race context.
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &platform.Error{Op: "ask", Kind: record.CancelledKind, Err: context.Cause(ctx)}
	}
}

// asked is what a fake platform remembers of a question.
type asked struct {
	Request                    platform.Request
	Messages                   []platform.Message
	Org, User, Phase, Strategy string
	TestType                   string
	Session, Turn, Attempt     int
	Measured                   bool
	Scheduled, At              time.Duration
}

// llm is a platform that answers after a while.
type llm struct {
	epoch   time.Time
	service time.Duration
	// fails decides the error of the n-th request; nil means success.
	fails func(n int) error

	mu    sync.Mutex
	asked []asked
	busy  int
}

func (l *llm) Ask(ctx context.Context, c *Call) error {
	l.mu.Lock()
	n := len(l.asked)
	l.asked = append(l.asked, asked{
		Request: c.Request, Messages: append([]platform.Message(nil), c.Request.Messages...),
		Org: c.Org, User: c.User, Phase: c.Phase, Strategy: c.Strategy, TestType: c.TestType,
		Session: c.Session, Turn: c.Turn, Attempt: c.Attempt, Measured: c.Measured,
		Scheduled: c.Scheduled, At: time.Since(l.epoch),
	})
	l.busy++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.busy--
		l.mu.Unlock()
	}()
	c.Exchange.Sent = time.Since(l.epoch)
	err := rest(ctx, l.service)
	if err == nil && l.fails != nil {
		err = l.fails(n)
	}
	c.Exchange.Done = time.Since(l.epoch)
	if err == nil && len(c.Request.Messages) > 0 {
		c.Exchange.Answer = append(c.Exchange.Answer[:0], "Answer to: "...)
		c.Exchange.Answer = append(c.Exchange.Answer, c.Request.Messages[len(c.Request.Messages)-1].Content...)
	}
	return err
}

func population(orgs, perOrg int) []Identity {
	var out []Identity
	for org := 1; org <= orgs; org++ {
		for range perOrg {
			i := len(out)
			out = append(out, Identity{
				Org: "org-" + string(rune('a'+org-1)), OrgIndex: org,
				User: "user-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)), UserIndex: i,
			})
		}
	}
	return out
}

func source(t testing.TB) questions.Source {
	t.Helper()
	src, err := questions.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// script is a plain one: ten questions, five seconds apart.
func script(t testing.TB) Script {
	return Script{
		Source:    source(t),
		Questions: Count{Min: 10, Max: 10},
		Think:     Fixed(5),
		Models:    []Model{{Name: "m", Weight: 1}},
	}
}

func once(s Script) Script {
	s.Loop.Max = 1
	return s
}

func newFleet(t testing.TB, l *llm, o Options) *Fleet {
	t.Helper()
	if o.Asker == nil {
		o.Asker = l
	}
	if o.RunID == "" {
		o.RunID = "run"
	}
	if o.Pattern == nil {
		o.Pattern = loadpattern.Always(len(o.Users))
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if l != nil {
		l.epoch = f.opt.Epoch
	}
	return f
}

// sink keeps copies of records.
type sink struct {
	mu   sync.Mutex
	recs []record.Record
}

func (s *sink) Add(r *record.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *r
	c.Gaps = append([]time.Duration(nil), r.Gaps...)
	s.recs = append(s.recs, c)
}

// status is the error that a client makes of an HTTP status.
func status(code int, after time.Duration) *platform.Error {
	kind := record.HTTPError
	switch code {
	case 402:
		kind = record.BudgetExceeded
	case 429:
		kind = record.RateLimited
	case 401, 403:
		kind = record.AuthError
	}
	return &platform.Error{Op: "POST /v1/chat/completions", Kind: kind, Status: code, RetryAfter: after}
}

func kind(k record.Kind) *platform.Error {
	return &platform.Error{Op: "POST /v1/chat/completions", Kind: k}
}
