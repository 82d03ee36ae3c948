package llm_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

const ms = time.Millisecond

// prompt returns n tokens that share no block with those of another first.
func prompt(first, n int) []llm.Token {
	ts := make([]llm.Token, n)
	for i := range ts {
		ts[i] = llm.Token(first*1_000_000 + i)
	}
	return ts
}

func submit(t *testing.T, e *llm.Engine, r llm.Request) *llm.Sequence {
	t.Helper()
	s, err := e.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// arrivals reads s to its end and returns when each delivery came, after start.
func arrivals(t *testing.T, s *llm.Sequence, start time.Time) (at []time.Duration) {
	t.Helper()
	for {
		_, done, err := s.Next(t.Context())
		if err != nil {
			t.Error(err)
			return at
		}
		at = append(at, time.Since(start))
		if done {
			return at
		}
	}
}

// gpu takes 1 ms a prompt token, 10 ms for a step that yields one token and 2 ms
// for each further one.
var gpu = llm.Config{PrefillPerSecond: 1000, DecodeStep: 10 * ms, DecodePerSequence: 2 * ms}

// Each test of TestTiming submits its requests at their times and expects the
// deliveries at theirs, counted from the start.
func TestTiming(t *testing.T) {
	type request struct {
		at             time.Duration
		prompt, output int
		emit           int
		queued         time.Duration
		want           []time.Duration
	}
	with := func(change func(*llm.Config)) llm.Config {
		c := gpu
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		config   llm.Config
		requests []request
	}{
		"alone": {gpu, []request{
			{prompt: 100, output: 4, want: []time.Duration{110 * ms, 120 * ms, 130 * ms, 140 * ms}},
		}},
		"several tokens an event": {gpu, []request{
			{prompt: 100, output: 5, emit: 2, want: []time.Duration{120 * ms, 140 * ms, 150 * ms}},
		}},
		"after an idle spell": {gpu, []request{
			{prompt: 10, output: 1, want: []time.Duration{20 * ms}},
			{at: 33 * ms, prompt: 10, output: 2, want: []time.Duration{53 * ms, 63 * ms}},
		}},
		"a newcomer waits for the step, delays one token and slows the next": {gpu, []request{
			{prompt: 10, output: 5, want: []time.Duration{20 * ms, 30 * ms, 62 * ms, 74 * ms, 84 * ms}},
			{at: 25 * ms, prompt: 20, output: 2, queued: 5 * ms, want: []time.Duration{62 * ms, 74 * ms}},
		}},
		"chunked prefill": {with(func(c *llm.Config) { c.MaxBatchedTokens = 50 }), []request{
			{prompt: 10, output: 4, want: []time.Duration{20 * ms, 79 * ms, 138 * ms, 152 * ms}},
			// Chunks of 49, 49 and 2 tokens beside the one that decodes.
			{at: 5 * ms, prompt: 100, output: 1, queued: 15 * ms, want: []time.Duration{152 * ms}},
		}},
		"waiting for a place in the batch": {with(func(c *llm.Config) { c.MaxRunning = 1 }), []request{
			{prompt: 10, output: 3, want: []time.Duration{20 * ms, 30 * ms, 40 * ms}},
			{at: ms, prompt: 20, output: 1, queued: 39 * ms, want: []time.Duration{70 * ms}},
			{at: 2 * ms, prompt: 10, output: 1, queued: 68 * ms, want: []time.Duration{90 * ms}},
		}},
		"cold start": {with(func(c *llm.Config) { c.ColdStart = time.Second }), []request{
			{at: 500 * ms, prompt: 10, output: 2, queued: time.Second, want: []time.Duration{1532 * ms, 1544 * ms}},
			{at: 1499 * ms, prompt: 10, output: 2, queued: ms, want: []time.Duration{1532 * ms, 1544 * ms}},
			{at: 2 * time.Second, prompt: 10, output: 1, want: []time.Duration{2020 * ms}},
		}},
		"only decoding takes time": {llm.Config{DecodeStep: 10 * ms}, []request{
			{prompt: 5000, output: 2, want: []time.Duration{10 * ms, 20 * ms}},
		}},
		"only prefill takes time": {llm.Config{PrefillPerSecond: 1000}, []request{
			{prompt: 50, output: 3, want: []time.Duration{50 * ms, 50 * ms, 50 * ms}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := llm.New(test.config)
				start := time.Now()
				var readers sync.WaitGroup
				for i, r := range test.requests {
					time.Sleep(time.Until(start.Add(r.at)))
					s := submit(t, e, llm.Request{Prompt: prompt(i, r.prompt), MaxTokens: r.output, PerEmit: r.emit})
					readers.Go(func() {
						defer s.Cancel()
						if got := arrivals(t, s, start); !reflect.DeepEqual(got, r.want) {
							t.Errorf("request %d: tokens at %v, want %v", i, got, r.want)
						}
						if s.Queued() != r.queued {
							t.Errorf("request %d: queued for %v, want %v", i, s.Queued(), r.queued)
						}
					})
				}
				readers.Wait()
				if late := e.Stats().MaxLate; late != 0 {
					t.Errorf("%v late in a bubble that has no other work", late)
				}
				e.Close()
			})
		})
	}
}

// TestCachedPrefill checks that a hit saves its share of the prefill.
func TestCachedPrefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := llm.New(gpu)
		defer e.Close()
		for _, want := range []struct {
			ttft   time.Duration
			cached int
		}{{110 * ms, 0}, {14 * ms, 96}} {
			s := submit(t, e, llm.Request{Prompt: prompt(1, 100), MaxTokens: 1})
			if got := arrivals(t, s, time.Now()); got[0] != want.ttft || s.CachedTokens() != want.cached {
				t.Errorf("TTFT %v with %d tokens cached, want %v with %d", got[0], s.CachedTokens(), want.ttft, want.cached)
			}
		}
		st := e.Stats()
		if want := (llm.Stats{CachedBlocks: 6, Steps: 2, PromptTokens: 200, CachedTokens: 96, OutputTokens: 2}); st != want {
			t.Errorf("stats %+v, want %+v", st, want)
		}
	})
}

// TestIntervalGrowsWithBatch compares the time between tokens with the formula.
func TestIntervalGrowsWithBatch(t *testing.T) {
	for _, n := range []int{1, 2, 8, 64} {
		synctest.Test(t, func(t *testing.T) {
			e := llm.New(gpu)
			defer e.Close()
			// A long prefill holds the first step, so that all others are admitted together.
			first := submit(t, e, llm.Request{Prompt: prompt(0, 100), MaxTokens: 10})
			time.Sleep(ms)
			var readers sync.WaitGroup
			for i := range n {
				s := first
				if i > 0 {
					s = submit(t, e, llm.Request{Prompt: prompt(i, 1), MaxTokens: 10})
				}
				readers.Go(func() {
					at := arrivals(t, s, time.Now())
					want := 10*ms + time.Duration(n-1)*2*ms
					if got := at[4] - at[3]; got != want {
						t.Errorf("%d sequences: a token every %v, want %v", n, got, want)
					}
				})
			}
			readers.Wait()
		})
	}
}

func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gpu
		c.MaxRunning, c.MaxWaiting = 2, 1
		e := llm.New(c)
		defer e.Close()
		r := llm.Request{Prompt: prompt(1, 10), MaxTokens: 5}
		for range 3 {
			defer submit(t, e, r).Cancel()
		}
		if _, err := e.Submit(t.Context(), r); !errors.Is(err, llm.ErrOverloaded) {
			t.Fatalf("the fourth request of two running and one waiting: %v, want ErrOverloaded", err)
		}
		time.Sleep(25 * ms)
		if st := e.Stats(); st.Running != 2 || st.Waiting != 1 {
			t.Errorf("%d running and %d waiting, want 2 and 1", st.Running, st.Waiting)
		}
		time.Sleep(time.Second)
		defer submit(t, e, r).Cancel() // all are done, and there is room again
	})
}

func TestCancelFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gpu
		c.MaxRunning, c.MaxWaiting = 1, 2
		e := llm.New(c)
		defer e.Close()
		start := time.Now()
		running := submit(t, e, llm.Request{Prompt: prompt(1, 40), MaxTokens: 1000})
		waiting := submit(t, e, llm.Request{Prompt: prompt(2, 10), MaxTokens: 1000})
		last := submit(t, e, llm.Request{Prompt: prompt(3, 10), MaxTokens: 1})
		time.Sleep(65 * ms) // in the middle of the third step

		var unblocked sync.WaitGroup
		unblocked.Go(func() {
			if _, _, err := waiting.Next(t.Context()); !errors.Is(err, llm.ErrCanceled) {
				t.Errorf("Next of a cancelled sequence: %v, want ErrCanceled", err)
			}
		})
		synctest.Wait()
		for range 2 {
			waiting.Cancel()
			running.Cancel()
		}
		unblocked.Wait()
		if st := e.Stats(); st.Running != 0 || st.Waiting != 1 {
			t.Errorf("%d running and %d waiting after cancelling, want 0 and 1", st.Running, st.Waiting)
		}
		// The step under way goes on to its end at 70 ms.
		if at := arrivals(t, last, start); at[0] != 90*ms || last.Queued() != 70*ms {
			t.Errorf("the next one had its token at %v, queued for %v; want 90ms and 70ms", at[0], last.Queued())
		}
		last.Cancel()
		// A cancelled sequence leaves its blocks to others.
		again := submit(t, e, llm.Request{Prompt: prompt(1, 40), MaxTokens: 1})
		arrivals(t, again, start)
		if again.CachedTokens() != 32 {
			t.Errorf("%d tokens cached of the cancelled prompt, want 32", again.CachedTokens())
		}
	})
}

func TestNextObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := llm.New(gpu)
		defer e.Close()
		s := submit(t, e, llm.Request{Prompt: prompt(1, 40), MaxTokens: 1})
		defer s.Cancel()
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		if _, _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next: %v, want the error of its context", err)
		}
		if n, done, err := s.Next(t.Context()); n != 1 || !done || err != nil {
			t.Errorf("Next after a time-out: %d, %v, %v; the sequence must go on", n, done, err)
		}
		if _, err := e.Submit(ctx, llm.Request{Prompt: prompt(1, 1), MaxTokens: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Submit: %v, want the error of its context", err)
		}
	})
}

// TestClose closes engines in every state; a goroutine left behind fails the bubble.
func TestClose(t *testing.T) {
	cold := gpu
	cold.ColdStart = time.Hour
	for name, config := range map[string]llm.Config{"timed": gpu, "cold": cold, "instant": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := llm.New(config)
				r := llm.Request{Prompt: prompt(1, 10), MaxTokens: 1000}
				s := submit(t, e, r)
				defer s.Cancel()
				var readers sync.WaitGroup
				if name != "instant" {
					readers.Go(func() {
						for {
							if _, _, err := s.Next(t.Context()); err != nil {
								if !errors.Is(err, llm.ErrClosed) {
									t.Errorf("Next: %v, want ErrClosed", err)
								}
								return
							}
						}
					})
				}
				time.Sleep(35 * ms)
				e.Close()
				e.Close()
				readers.Wait()
				if _, err := e.Submit(t.Context(), r); !errors.Is(err, llm.ErrClosed) {
					t.Errorf("Submit to a closed engine: %v, want ErrClosed", err)
				}
				if st := e.Stats(); st.Running != 0 || st.Waiting != 0 {
					t.Errorf("%d running and %d waiting in a closed engine", st.Running, st.Waiting)
				}
			})
		})
	}
}

func TestInvalid(t *testing.T) {
	e := llm.New(llm.Config{})
	defer e.Close()
	for name, r := range map[string]llm.Request{
		"no prompt":     {MaxTokens: 1},
		"no output":     {Prompt: prompt(1, 1)},
		"negative emit": {Prompt: prompt(1, 1), MaxTokens: 1, PerEmit: -1},
	} {
		if _, err := e.Submit(t.Context(), r); !errors.Is(err, llm.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// TestInstant checks that an instant engine counts as a timed one does.
func TestInstant(t *testing.T) {
	e := llm.New(llm.Config{MaxBatchedTokens: 50})
	defer e.Close()
	s := submit(t, e, llm.Request{Prompt: prompt(1, 120), MaxTokens: 5, PerEmit: 2})
	if got := deliveries(t, s); !reflect.DeepEqual(got, []int{2, 2, 1}) {
		t.Errorf("deliveries %v, want [2 2 1]", got)
	}
	if st, want := e.Stats(), (llm.Stats{CachedBlocks: 7, Steps: 3 + 4, PromptTokens: 120, OutputTokens: 5}); st != want {
		t.Errorf("stats %+v, want %+v", st, want)
	}
}

// TestFirstAlone: the first token comes when it is there, the others by threes.
func TestFirstAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := llm.New(llm.Config{DecodeStep: 10 * ms})
		defer e.Close()
		start := time.Now()
		s := submit(t, e, llm.Request{Prompt: prompt(1, 10), MaxTokens: 8, PerEmit: 3, FirstAlone: true})
		if got, want := arrivals(t, s, start), []time.Duration{10 * ms, 40 * ms, 70 * ms, 80 * ms}; !reflect.DeepEqual(got, want) {
			t.Errorf("deliveries at %v, want %v", got, want)
		}
		s = submit(t, e, llm.Request{Prompt: prompt(2, 10), MaxTokens: 8, PerEmit: 3, FirstAlone: true})
		if got := deliveries(t, s); !reflect.DeepEqual(got, []int{1, 3, 3, 1}) {
			t.Errorf("deliveries %v, want [1 3 3 1]", got)
		}
	})
}

// deliveries reads a sequence to its end, and returns how many tokens each one had.
func deliveries(t *testing.T, s *llm.Sequence) (got []int) {
	t.Helper()
	for done := false; !done; {
		var n int
		var err error
		if n, done, err = s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	return got
}

// TestRace uses one engine from many goroutines, cancelling some, for the race detector.
func TestRace(t *testing.T) {
	for name, config := range map[string]llm.Config{
		"timed":   {MaxRunning: 4, MaxWaiting: 8, DecodeStep: time.Microsecond, CacheBlocks: 20},
		"instant": {CacheBlocks: 20},
	} {
		t.Run(name, func(t *testing.T) {
			e := llm.New(config)
			defer e.Close()
			var users sync.WaitGroup
			for user := range 16 {
				users.Go(func() {
					for i := range 50 {
						s, err := e.Submit(t.Context(), llm.Request{Prompt: prompt(user%4, 40+i), MaxTokens: 1 + i%7})
						if errors.Is(err, llm.ErrOverloaded) {
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						for n := 0; ; n++ {
							if n == 3 && i%3 == 0 {
								break
							}
							if _, done, err := s.Next(t.Context()); err != nil {
								t.Error(err)
							} else if !done {
								continue
							}
							break
						}
						s.Cancel()
						e.Stats()
					}
				})
			}
			users.Wait()
			if st := e.Stats(); st.Running != 0 || st.Waiting != 0 {
				t.Errorf("%d running and %d waiting at the end", st.Running, st.Waiting)
			}
		})
	}
}
