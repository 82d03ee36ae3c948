package llm

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBudget drives the scheduler by hand: what each step computes and how long it
// takes, at 1 ms a prompt token, 10 ms for the first yielding sequence and 1 ms for
// each further one.
func TestBudget(t *testing.T) {
	type arrival struct{ prompt, output int }
	for name, test := range map[string]struct {
		running, budget int
		arrivals        []arrival
		steps           []string // duration: work of the sequences, by order of arrival
	}{
		"prefill and decode": {8, 100, []arrival{{20, 3}}, []string{
			"30ms: 20", "10ms: 1", "10ms: 1",
		}},
		"all prompts in one step": {8, 100, []arrival{{20, 2}, {30, 2}}, []string{
			"61ms: 20 30", "11ms: 1 1",
		}},
		"a long prompt in chunks": {8, 50, []arrival{{120, 2}}, []string{
			"50ms: 50", "50ms: 50", "30ms: 20", "10ms: 1",
		}},
		"decoding goes on between the chunks": {8, 50, []arrival{{10, 4}, {100, 2}}, []string{
			"60ms: 10 40", "59ms: 1 49", "22ms: 1 11", "11ms: 1 1",
		}},
		"the next prompt uses what a chunk leaves": {8, 50, []arrival{{60, 1}, {60, 1}}, []string{
			"50ms: 50 0", "60ms: 10 40", "30ms: 0 20",
		}},
		"a place in the batch is free after the last token": {1, 100, []arrival{{10, 2}, {20, 1}}, []string{
			"20ms: 10 0", "10ms: 1 0", "30ms: 0 20",
		}},
		"a budget smaller than the batch serves the oldest": {8, 2, []arrival{{1, 2}, {1, 2}, {1, 1}}, []string{
			"13ms: 1 1 0", "11ms: 1 1 0", "11ms: 0 0 1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScheduler(Config{
				MaxRunning: test.running, MaxBatchedTokens: test.budget,
				PrefillPerSecond: 1000, DecodeStep: 10 * time.Millisecond, DecodePerSequence: time.Millisecond,
			}.withDefaults())
			now := time.Unix(0, 0)
			var all []*Sequence
			for i, a := range test.arrivals {
				s := c.newSequence(Request{Prompt: tokens(i, a.prompt), MaxTokens: a.output})
				s.notify = make(chan struct{}, 1)
				c.add(s, now)
				all = append(all, s)
			}
			var steps []string
			for c.running.n+c.waiting.n > 0 {
				end := c.begin(now)
				line := end.Sub(now).String() + ":"
				for _, s := range all {
					line += fmt.Sprint(" ", s.work)
				}
				steps = append(steps, line)
				now = end
				c.finish(0)
			}
			if !reflect.DeepEqual(steps, test.steps) {
				t.Errorf("steps %q, want %q", steps, test.steps)
			}
			for i, s := range all {
				if got := int(s.produced.Load()); got != test.arrivals[i].output {
					t.Errorf("sequence %d: %d tokens, want %d", i, got, test.arrivals[i].output)
				}
			}
		})
	}
}

// TestShares has one tenant fill the batch and the queue before another comes.
func TestShares(t *testing.T) {
	for name, test := range map[string]struct {
		tenants []string // of four requests that come first and two that come later
		steps   []string // who is in the batch
	}{
		"tenants share": {[]string{"a", "a", "a", "a", "b", "b"}, []string{
			"[0 1]", "[0 1]", "[0 4]", "[0 4]", "[1 4]", "[1 5]", "[2 5]", "[2 5]", "[2 3]", "[2 3]", "[3]", "[3]",
		}},
		"one tenant": {[]string{"a", "a", "a", "a", "a", "a"}, []string{
			"[0 1]", "[0 1]", "[0 1]", "[0 1]", "[2 3]", "[2 3]", "[2 3]", "[2 3]", "[4 5]", "[4 5]", "[4 5]",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScheduler(Config{MaxRunning: 2, CacheBlocks: -1, DecodeStep: time.Millisecond}.withDefaults())
			now := time.Unix(0, 0)
			var all []*Sequence
			submit := func(output int, tenants ...string) {
				for _, tenant := range tenants {
					s := c.newSequence(Request{Tenant: tenant, Prompt: tokens(len(all), 10), MaxTokens: output})
					s.notify = make(chan struct{}, 1)
					c.add(s, now)
					all = append(all, s)
				}
			}
			submit(4, test.tenants[:4]...)
			var steps []string
			for c.running.n+c.waiting.n > 0 {
				if len(steps) == 2 {
					submit(3, test.tenants[4:]...)
				}
				now = c.begin(now)
				var batch []int
				for i, s := range all {
					if s.queue == &c.running {
						batch = append(batch, i)
					}
				}
				steps = append(steps, fmt.Sprint(batch))
				c.finish(0)
			}
			if !slices.Equal(steps, test.steps) {
				t.Errorf("steps %q, want %q", steps, test.steps)
			}
			if st := c.snapshot(); st.OutputTokens != 22 || st.PromptTokens != 60 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestArrivalsInTheFuture checks that a scheduler whose process woke up late
// admits only what had arrived when the step was due.
func TestArrivalsInTheFuture(t *testing.T) {
	c := newScheduler(Config{DecodeStep: 10 * time.Millisecond}.withDefaults())
	t0 := time.Unix(0, 0)
	submit := func(at time.Duration) *Sequence {
		s := c.newSequence(Request{Prompt: tokens(1, 1), MaxTokens: 2})
		s.notify = make(chan struct{}, 1)
		c.add(s, t0.Add(at))
		return s
	}
	submit(0)
	c.begin(t0)
	late := submit(14 * time.Millisecond) // the step that ends at 10 ms is seen at 15 ms
	c.finish(5 * time.Millisecond)
	start, _ := c.next(t0.Add(15 * time.Millisecond))
	if end := c.begin(start); start != t0.Add(10*time.Millisecond) || end != t0.Add(20*time.Millisecond) || late.work != 0 {
		t.Errorf("the second step lasts from %v to %v with %d tokens of the later request, want 10ms to 20ms without it",
			start.Sub(t0), end.Sub(t0), late.work)
	}
	c.finish(0)
	start, _ = c.next(t0.Add(21 * time.Millisecond))
	c.begin(start)
	if late.queued != 6*time.Millisecond {
		t.Errorf("queued for %v, want 6ms", late.queued)
	}
	if c.stats.MaxLate != 5*time.Millisecond {
		t.Errorf("MaxLate %v, want 5ms", c.stats.MaxLate)
	}
	c.finish(0)
	if start, _ = c.next(t0.Add(time.Minute)); start != t0.Add(time.Minute) {
		t.Errorf("a minute behind, the next step starts at %v, want 1m0s", start.Sub(t0))
	}
}

// TestLaws sends random traffic through random schedulers.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := Config{
			MaxRunning:        rapid.IntRange(1, 5).Draw(t, "running"),
			MaxWaiting:        rapid.IntRange(0, 3).Draw(t, "waiting"),
			MaxBatchedTokens:  rapid.IntRange(1, 40).Draw(t, "budget"),
			BlockSize:         rapid.IntRange(1, 5).Draw(t, "block"),
			CacheBlocks:       rapid.IntRange(-1, 20).Draw(t, "blocks"),
			PrefillPerSecond:  1000,
			DecodeStep:        10 * time.Millisecond,
			DecodePerSequence: time.Millisecond,
			LeakySalt:         rapid.Bool().Draw(t, "leaky"),
		}.withDefaults()
		script := rapid.SliceOfN(rapid.Custom(drawAction), 1, 60).Draw(t, "script")

		first, second := play(t, config, script), play(t, config, script)
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("two runs differ: %v and %v", first, second)
		}
	})
}

type action struct {
	submit  bool
	request Request
	cancel  int // of the sequences so far, if not submit
	steps   int // afterwards
}

func drawAction(t *rapid.T) action {
	few := rapid.SliceOfN(rapid.Uint32Range(0, 1), 0, 30)
	ids := func(label string) (ts []Token) {
		for _, id := range few.Draw(t, label) {
			ts = append(ts, Token(id))
		}
		return ts
	}
	return action{
		submit: rapid.IntRange(0, 3).Draw(t, "kind") > 0,
		request: Request{
			Prompt:       append(ids("prompt"), 0),
			Tenant:       rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"),
			Salt:         rapid.SampledFrom([]string{"", "a"}).Draw(t, "salt"),
			MaxTokens:    rapid.IntRange(1, 20).Draw(t, "max"),
			OutputTokens: ids("output"),
			PerEmit:      rapid.IntRange(0, 4).Draw(t, "emit"),
			FirstAlone:   rapid.Bool().Draw(t, "first alone"),
		},
		cancel: rapid.IntRange(0, 60).Draw(t, "cancel"),
		steps:  rapid.IntRange(0, 5).Draw(t, "steps"),
	}
}

// play runs a script to the last token, checks the laws, and returns what happened.
func play(t *rapid.T, config Config, script []action) (log []string) {
	c := newScheduler(config)
	now := time.Unix(0, 0)
	var all []*Sequence
	step := func() {
		start, busy := c.next(now)
		if !busy {
			return
		}
		full := c.running.n == config.MaxRunning
		end := c.begin(start)
		if c.running.n > config.MaxRunning {
			t.Fatalf("%d sequences run, %d may", c.running.n, config.MaxRunning)
		}
		work := 0
		for s := c.running.head; s != nil; s = s.next {
			work += s.work
		}
		if work < 1 || work > config.MaxBatchedTokens {
			t.Fatalf("a step of %d tokens, the budget is %d", work, config.MaxBatchedTokens)
		}
		if end.Before(start) {
			t.Fatalf("a step that lasts %v", end.Sub(start))
		}
		checkShares(t, &c, full)
		log = append(log, end.Sub(start).String())
		now = end
		c.finish(0)
		checkCache(t, &c)
	}
	for _, a := range script {
		switch {
		case a.submit && !c.full():
			s := c.newSequence(a.request)
			s.notify = make(chan struct{}, 1)
			c.add(s, now)
			all = append(all, s)
		case !a.submit && a.cancel < len(all) && all[a.cancel].queue != nil:
			c.drop(all[a.cancel], canceled)
			checkCache(t, &c)
		}
		for range a.steps {
			step()
		}
	}
	for c.running.n+c.waiting.n > 0 {
		step()
	}
	if n := pins(c.cache); n != 0 {
		t.Fatalf("%d pins are left when all is done", n)
	}
	for i, s := range all {
		log = append(log, fmt.Sprint(s.cached, s.queued, s.produced.Load(), s.ended.Load()))
		if s.cached >= s.prompt || s.cached%config.BlockSize != 0 {
			t.Fatalf("sequence %d: %d of %d prompt tokens cached in blocks of %d", i, s.cached, s.prompt, config.BlockSize)
		}
		if s.ended.Load() == canceled {
			continue
		}
		sum := 0
		for done := false; !done; {
			n, last, err := s.Next(t.Context())
			want := s.perEmit
			if sum == 0 && s.alone > 0 {
				want = 1
			}
			if err != nil || n < 1 || n > want || (n < want && !last) {
				t.Fatalf("sequence %d: a delivery of %d tokens of %d, done %v, error %v", i, n, s.perEmit, last, err)
			}
			sum, done = sum+n, last
		}
		if sum != s.max {
			t.Fatalf("sequence %d: %d tokens delivered, want %d", i, sum, s.max)
		}
	}
	return log
}

// checkShares wants places counted as they are and, if the step found the batch
// full, shared evenly: nobody waits while another tenant has two more.
func checkShares(t *rapid.T, c *scheduler, full bool) {
	wanting, places := map[string]int{}, map[string]int{}
	for s := c.running.head; s != nil; s = s.next {
		places[s.tenant]++
	}
	for s := c.waiting.head; s != nil; s = s.next {
		wanting[s.tenant]++
	}
	if !maps.Equal(wanting, c.wanting) || !maps.Equal(places, c.places) {
		t.Fatalf("waiting %v, in the batch %v; counted %v and %v", wanting, places, c.wanting, c.places)
	}
	if !full {
		return
	}
	for waits := range wanting {
		for other := range places {
			if places[other] > places[waits]+1 {
				t.Fatalf("%s waits with %d places and %s has %d", waits, places[waits], other, places[other])
			}
		}
	}
}

// checkCache compares the cache with what the running sequences say about it.
func checkCache(t *rapid.T, c *scheduler) {
	if len(c.cache.index) > max(0, c.CacheBlocks) {
		t.Fatalf("%d blocks cached, capacity is %d", len(c.cache.index), c.CacheBlocks)
	}
	want := map[int32]int32{}
	for s := c.running.head; s != nil; s = s.next {
		for i, b := range s.blocks {
			want[b]++
			if c.cache.blocks[b].hash != s.hashes[i] {
				t.Fatalf("block %d of a running sequence was replaced", i)
			}
		}
	}
	unpinned := 0
	for b := c.cache.blocks[0].next; b != 0; b = c.cache.blocks[b].next {
		unpinned++
	}
	for h, b := range c.cache.index {
		if c.cache.blocks[b].hash != h || c.cache.blocks[b].pins != want[b] {
			t.Fatalf("block %d: hash %x, %d pins; want %x, %d", b, c.cache.blocks[b].hash, c.cache.blocks[b].pins, h, want[b])
		}
		if want[b] == 0 {
			unpinned--
		}
	}
	if unpinned != 0 {
		t.Fatalf("the ring of unpinned blocks is %d too long", unpinned)
	}
}
