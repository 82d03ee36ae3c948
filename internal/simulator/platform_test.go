package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// server is a small OpenAI-compatible one, which writes down what it was sent.
type server struct {
	mu   sync.Mutex
	seen []seen
	fail func(n int) int           // status of the n-th request; 0 means success
	hold func(ctx context.Context) // called before answering, if not nil
}

type seen struct {
	id, authorization string
	status            int
	Model             string             `json:"model"`
	Messages          []platform.Message `json:"messages"`
	Stream            bool               `json:"stream"`
	CacheSalt         string             `json:"cache_salt"`
	MaxTokens         int                `json:"max_tokens"`
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := seen{id: r.Header.Get("X-Request-Id"), authorization: r.Header.Get("Authorization"), status: http.StatusOK}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if s.fail != nil {
		if code := s.fail(len(s.seen)); code != 0 {
			q.status = code
		}
	}
	s.seen = append(s.seen, q)
	s.mu.Unlock()
	if s.hold != nil {
		s.hold(r.Context())
	}
	if q.status != http.StatusOK {
		http.Error(w, `{"error":"not now","code":"BACKEND_ERROR"}`, q.status)
		return
	}
	const usage = `"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}`
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"one two three"},"finish_reason":"stop"}],%s}`, q.Model, usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range []string{"one", " two", " three"} {
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
		w.(http.Flusher).Flush()
	}
	_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],%s}\n\ndata: [DONE]\n\n", usage)
}

type kept struct {
	mu   sync.Mutex
	recs []record.Record
}

func (k *kept) Add(r *record.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recs = append(k.recs, *r)
}

// fleet wires the whole stack to a server, as a worker does.
func fleet(t *testing.T, s *server, sink record.Sink, script func(*simulator.Script)) *simulator.Fleet {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	client, err := platform.NewClient(platform.Connection{BaseURL: web.URL}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	source, err := questions.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	behaviour := simulator.Script{
		Source:         source,
		Questions:      simulator.Count{Min: 8, Max: 8},
		Think:          simulator.Number{Min: 0.001, Max: 0.004},
		MultiTurn:      0.5,
		Turns:          simulator.Count{Min: 2, Max: 4},
		Context:        -1,
		Models:         []simulator.Model{{Name: "gpt-4o", Weight: 1}},
		MaxTokens:      simulator.Fixed(64),
		StreamingRatio: 0.5,
		Salt:           simulator.Salt{Strategy: simulator.SaltOrg},
		Loop:           simulator.Loop{Max: 1},
	}
	if script != nil {
		script(&behaviour)
	}
	var users []simulator.Identity
	for i := range 12 {
		org := 1 + i/4
		users = append(users, simulator.Identity{
			Org: fmt.Sprint("org-", org), OrgIndex: org, User: fmt.Sprint("user-", i), UserIndex: i,
			Keys: []secret.String{secret.New(fmt.Sprint("key-", i))},
		})
	}
	recorder := &simulator.Recorder{Asker: simulator.Direct{Client: client}, Sink: sink, Now: client.Now}
	stack := &simulator.Retry{
		Asker:       simulator.NewBreaker(recorder, simulator.BreakerOptions{}),
		RetryPolicy: simulator.RetryPolicy{Attempts: 2, Base: time.Millisecond},
		Now:         client.Now,
	}
	f, err := simulator.New(simulator.Options{
		RunID: "r1", Seed: 9, Users: users, Script: behaviour, Pattern: loadpattern.Always(len(users)),
		Asker: stack, Epoch: client.Epoch(), InterruptGrace: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAgainstAServer holds the records against what the server saw.
func TestAgainstAServer(t *testing.T) {
	s := &server{fail: func(n int) int {
		switch {
		case n%10 == 3:
			return http.StatusBadGateway
		case n%25 == 7:
			return http.StatusPaymentRequired
		default:
			return 0
		}
	}}
	sink := &kept{}
	f := fleet(t, s, sink, nil)
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(sink.recs) != len(s.seen) {
		t.Fatalf("%d records of %d requests", len(sink.recs), len(s.seen))
	}
	byID := map[string]seen{}
	for _, q := range s.seen {
		if _, twice := byID[q.id]; twice {
			t.Errorf("the ID %s came twice", q.id)
		}
		byID[q.id] = q
	}
	finals, streams := 0, 0
	for _, r := range sink.recs {
		q, ok := byID[r.ID]
		if !ok || q.status != r.Status || q.Stream != r.Stream || q.Model != r.Model {
			t.Fatalf("the record %+v does not fit what the server saw: %+v", r, q)
		}
		if q.CacheSalt != r.Org || q.authorization != fmt.Sprint("Bearer key-", r.UserIndex) || q.MaxTokens != 64 {
			t.Errorf("request %s: salt %q, max_tokens %d, or the wrong key", r.ID, q.CacheSalt, q.MaxTokens)
		}
		want := map[int]record.Outcome{200: record.Success, 402: record.Refused, 502: record.Failed}[r.Status]
		if r.Outcome != want || r.Final != (r.Status != 502 || r.Attempt == 3) {
			t.Errorf("request %s ended with %d: outcome %v, attempt %d, final %v", r.ID, r.Status, r.Outcome, r.Attempt, r.Final)
		}
		if r.Scheduled > r.Sent || r.Sent > r.FirstByte || r.FirstByte > r.Done {
			t.Errorf("request %s: moments out of order: %v %v %v %v", r.ID, r.Scheduled, r.Sent, r.FirstByte, r.Done)
		}
		if r.Outcome == record.Success {
			if !r.UsageKnown || r.PromptTokens != 12 || r.CompletionTokens != 3 {
				t.Errorf("request %s: tokens %d and %d", r.ID, r.PromptTokens, r.CompletionTokens)
			}
			if _, ok := r.TTFT(); ok != r.Stream {
				t.Errorf("request %s: a first token is known: %v, streamed: %v", r.ID, ok, r.Stream)
			}
		}
		// A later turn repeats what was answered before.
		for i, m := range q.Messages {
			if i%2 == 1 && m.Content != "one two three" {
				t.Errorf("request %s carries the answer %q", r.ID, m.Content)
			}
		}
		if r.Turn == 0 && len(q.Messages) != 1 || len(q.Messages) > 2*r.Turn+1 {
			t.Errorf("turn %d of %s carries %d messages", r.Turn, r.ID, len(q.Messages))
		}
		if r.Final {
			finals++
		}
		if r.Stream {
			streams++
		}
	}
	if finals != 12*8 {
		t.Errorf("%d questions were settled, want 8 of each of 12 users", finals)
	}
	if streams == 0 || streams == len(sink.recs) {
		t.Errorf("%d of %d requests were streams, want about half", streams, len(sink.recs))
	}
	if !slices.ContainsFunc(s.seen, func(q seen) bool { return len(q.Messages) >= 5 }) {
		t.Error("no conversation came as far as a third turn")
	}
}

// TestInterruptedAgainstAServer: what is in flight is cancelled and recorded.
func TestInterruptedAgainstAServer(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var arrived sync.WaitGroup
	arrived.Add(12)
	s := &server{hold: func(ctx context.Context) {
		arrived.Done()
		<-ctx.Done()
	}}
	sink := &kept{}
	f := fleet(t, s, sink, nil)
	go func() {
		arrived.Wait()
		cancel(why)
	}()
	if err := f.Run(ctx); !errors.Is(err, why) {
		t.Errorf("Run = %v, want %v", err, why)
	}
	if len(sink.recs) != 12 {
		t.Fatalf("%d records, want one of each user", len(sink.recs))
	}
	for _, r := range sink.recs {
		if r.Outcome != record.Cancelled || r.Kind != record.CancelledKind || !r.Final || !strings.Contains(r.Message, "interrupted") {
			t.Errorf("%s: %v, %q, final %v, %q", r.ID, r.Outcome, r.Kind, r.Final, r.Message)
		}
	}
}
