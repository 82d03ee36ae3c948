package llm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Token is a token id; see [Tokenizer] for text and [Vocabulary] for output.
type Token uint32

// Reasons for which a sequence is refused or ends early; compare with errors.Is.
var (
	ErrOverloaded = errors.New("llm: the waiting queue is full")
	ErrClosed     = errors.New("llm: the engine is closed")
	ErrCanceled   = errors.New("llm: the sequence was cancelled")
	ErrInvalid    = errors.New("llm: invalid request")
)

// maxLag is how far the schedule may fall behind the clock before it gives the
// time up. Without a bound, an engine faster than its host would never again
// reach the arrival times of its queue.
const maxLag = time.Second

// Config describes one model's backend. Durations and speeds that are zero mean
// instant; if all of them are, the engine is instant as a whole.
type Config struct {
	MaxRunning        int           // sequences in one batch (vLLM max_num_seqs); 0 = 256
	MaxWaiting        int           // sequences that may wait for a place in the batch; 0 = unlimited
	MaxBatchedTokens  int           // token budget of a step (vLLM max_num_batched_tokens); 0 = 8192
	PrefillPerSecond  float64       // prompt tokens computed per second
	DecodeStep        time.Duration // time of a step that yields one token
	DecodePerSequence time.Duration // added for each further sequence that yields a token in the step
	BlockSize         int           // tokens in a cache block; 0 = 16
	CacheBlocks       int           // capacity of the prefix cache in blocks; 0 = 4096, negative = no cache
	ColdStart         time.Duration // from the first request to the very first step
	LeakySalt         bool          // defect on purpose: ignore salts, so that tenants share cached blocks
}

func (c Config) withDefaults() Config {
	set := func(field *int, value int) {
		if *field <= 0 { // nothing can be done with fewer than one
			*field = value
		}
	}
	set(&c.MaxRunning, 256)
	set(&c.MaxBatchedTokens, 8192)
	set(&c.BlockSize, 16)
	if c.CacheBlocks == 0 {
		c.CacheBlocks = 4096
	}
	return c
}

func (c Config) instant() bool {
	return c.PrefillPerSecond <= 0 && c.DecodeStep <= 0 && c.DecodePerSequence <= 0 && c.ColdStart <= 0
}

// Request is what one sequence shall do. Its slices are not kept after Submit.
type Request struct {
	Prompt       []Token // at least one
	Tenant       string  // whose it is: places in a full batch are shared evenly between tenants
	Salt         string  // cache salt (vLLM cache_salt); sequences of different salts never share blocks
	MaxTokens    int     // length of the output, at least 1
	OutputTokens []Token // what will be generated, as far as known: lets the cache keep the output's blocks
	PerEmit      int     // tokens in each delivery; 0 = 1
	FirstAlone   bool    // the first token is a delivery of its own, as with vLLM's stream_interval
}

// Stats is a snapshot of the engine's state and of its counters since New.
type Stats struct {
	Running      int   // sequences in the batch
	Waiting      int   // sequences not yet admitted, those that only wait for the step to end included
	CachedBlocks int   // blocks in the prefix cache, pinned or not
	Steps        int64 // steps taken; an instant engine counts each sequence as if it ran alone
	PromptTokens int64 // prompt tokens of admitted sequences
	CachedTokens int64 // those of them that came from the prefix cache
	OutputTokens int64 // tokens generated
	Suspended    int64 // times that a sequence gave its place in the batch to another tenant's
	Evictions    int64 // blocks dropped from the prefix cache to make room

	MaxLate time.Duration // how late the end of a step was seen, at worst
}

// Engine is one simulated backend. Its methods may be called concurrently.
type Engine struct {
	instant bool
	mu      sync.Mutex
	sched   scheduler
	closed  bool
	wake    chan struct{} // one slot: there is work after an idle spell
	quit    chan struct{} // closed by Close
	stopped chan struct{} // closed when the loop has ended
}

// New starts an engine. The caller must Close it, unless the Config is instant.
func New(c Config) *Engine {
	c = c.withDefaults()
	e := &Engine{
		instant: c.instant(),
		sched:   newScheduler(c),
		wake:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if e.instant {
		close(e.stopped)
	} else {
		go e.loop()
	}
	return e
}

// Submit queues a sequence and does not wait for it. The caller must read it to
// its end with Next or give it up with Cancel. It fails with ErrOverloaded,
// ErrClosed, ErrInvalid or the error of a ctx that is already done; the ctx is
// not kept.
func (e *Engine) Submit(ctx context.Context, r Request) (*Sequence, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case len(r.Prompt) == 0:
		return nil, fmt.Errorf("%w: the prompt has no tokens", ErrInvalid)
	case r.MaxTokens < 1:
		return nil, fmt.Errorf("%w: MaxTokens is %d, want 1 or more", ErrInvalid, r.MaxTokens)
	case r.PerEmit < 0:
		return nil, fmt.Errorf("%w: PerEmit is %d, want 1 or more", ErrInvalid, r.PerEmit)
	}
	s := e.sched.newSequence(r) // hashes the blocks, outside the lock
	s.engine = e

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	if e.instant {
		e.sched.runAlone(s)
		return s, nil
	}
	if e.sched.full() {
		return nil, ErrOverloaded
	}
	s.notify = make(chan struct{}, 1)
	idle := e.sched.add(s, time.Now()) // stamped under the lock, so that the queue is in order of arrival
	if idle {
		signal(e.wake)
	}
	return s, nil
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sched.snapshot()
}

// Close ends all sequences with ErrClosed and waits until the engine has
// stopped. Further calls do nothing.
func (e *Engine) Close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.sched.dropAll(closed)
		close(e.quit)
	}
	e.mu.Unlock()
	<-e.stopped
}

// loop takes the scheduler through its steps at the times it says.
func (e *Engine) loop() {
	defer close(e.stopped)
	timer := time.NewTimer(maxLag)
	defer timer.Stop()
	for {
		e.mu.Lock()
		start, busy := e.sched.next(time.Now())
		e.mu.Unlock()
		if !busy {
			select {
			case <-e.wake:
				continue
			case <-e.quit:
				return
			}
		}
		if !e.until(start, timer) { // in the future only during a cold start
			return
		}
		e.mu.Lock()
		end := e.sched.begin(start)
		e.mu.Unlock()
		if !e.until(end, timer) {
			return
		}
		e.mu.Lock()
		e.sched.finish(time.Since(end))
		e.mu.Unlock()
	}
}

// until sleeps to an instant, not for a duration; false means that the engine is closed.
func (e *Engine) until(t time.Time, timer *time.Timer) bool {
	wait := time.Until(t)
	if wait <= 0 {
		select {
		case <-e.quit:
			return false
		default:
			return true
		}
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		return true
	case <-e.quit:
		return false
	}
}

// signal fills a one-slot channel; a slot already full will wake the reader anyway.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
