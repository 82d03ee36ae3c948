package llm

import (
	"context"
	"sync/atomic"
	"time"
)

// How a sequence ended before its last token.
const (
	alive int32 = iota
	canceled
	closed
)

// Sequence is one request in the engine. One goroutine at a time may call Next;
// Cancel may be called from any.
type Sequence struct {
	engine               *Engine
	tenant               string
	prompt, max, perEmit int
	alone                int      // tokens of the first delivery, if it is one apart; else 0
	hashes               []uint64 // of the full blocks of prompt and output that will be computed
	notify               chan struct{}

	// Scheduler state, under Engine.mu.
	queue      *queue // the one it stands in; nil when it has ended
	prev, next *Sequence
	arrived    time.Time
	computed   int     // tokens whose cache entries exist
	work       int     // tokens to compute in the current step
	blocks     []int32 // pinned in the prefix cache
	admitted   bool    // has been in the batch

	// Set on the first admission, published by the first store to produced.
	cached int
	queued time.Duration

	produced  atomic.Int64 // tokens generated
	ended     atomic.Int32 // alive, canceled or closed
	delivered int          // tokens returned by Next; the reader's own
}

// Next blocks until the next PerEmit tokens are generated (fewer only with the
// last delivery, and the first if FirstAlone) and returns how many they are; done comes with the last ones.
// The deliveries sum to MaxTokens. A reader that is late gets its tokens one
// delivery a call, without waiting. The error is that of ctx, ErrCanceled after
// Cancel, or ErrClosed.
func (s *Sequence) Next(ctx context.Context) (tokens int, done bool, err error) {
	want := min(s.perEmit, s.max-s.delivered)
	if s.delivered < s.alone {
		want = s.alone
	}
	for int(s.produced.Load())-s.delivered < want {
		switch s.ended.Load() {
		case canceled:
			return 0, false, ErrCanceled
		case closed:
			return 0, false, ErrClosed
		}
		select {
		case <-s.notify:
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
	}
	s.delivered += want
	return want, s.delivered == s.max, nil
}

// CachedTokens is the number of prompt tokens served from the prefix cache:
// whole blocks, and never the whole prompt. Valid after the first Next.
func (s *Sequence) CachedTokens() int { return s.cached }

// Queued is the time from Submit to the start of the first step that worked on
// the sequence. Valid after the first Next.
func (s *Sequence) Queued() time.Duration { return s.queued }

// Cancel gives the sequence up: its place in the queue or batch is free at once,
// its blocks stay cached. It does nothing to a sequence that has ended.
func (s *Sequence) Cancel() {
	if int(s.produced.Load()) == s.max {
		return
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.queue != nil {
		s.engine.sched.drop(s, canceled)
	}
}

// queue is a list of sequences in order of arrival, from which any can leave;
// those who were suspended come before the others.
type queue struct {
	head, tail *Sequence
	n          int
}

func (q *queue) push(s *Sequence) {
	s.queue, s.prev, s.next = q, q.tail, nil
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
	q.n++
}

func (q *queue) pushFront(s *Sequence) {
	s.queue, s.prev, s.next = q, nil, q.head
	if q.head == nil {
		q.tail = s
	} else {
		q.head.prev = s
	}
	q.head = s
	q.n++
}

func (q *queue) remove(s *Sequence) {
	if s.prev == nil {
		q.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		q.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.queue, s.prev, s.next = nil, nil, nil
	q.n--
}
