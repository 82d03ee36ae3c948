package llm

import "time"

// scheduler decides what a step does and when it ends. It has no clock, no lock
// and no goroutine: the engine brings them.
type scheduler struct {
	Config
	now     time.Time // where the schedule stands: the end of the last step, or the end of the cold start
	waiting queue
	running queue
	wanting map[string]int // sequences in waiting, by tenant; no zeros
	places  map[string]int // and in running
	cache   *prefixCache
	stats   Stats // counters only
}

func newScheduler(c Config) scheduler {
	return scheduler{Config: c, cache: newPrefixCache(c.CacheBlocks), wanting: map[string]int{}, places: map[string]int{}}
}

func (c *scheduler) newSequence(r Request) *Sequence {
	s := &Sequence{tenant: r.Tenant, prompt: len(r.Prompt), max: r.MaxTokens, perEmit: max(1, r.PerEmit)}
	if r.FirstAlone {
		s.alone = 1
	}
	output := r.OutputTokens[:min(len(r.OutputTokens), r.MaxTokens-1)] // the last one is sampled but never computed
	salt := r.Salt
	if c.LeakySalt {
		salt = ""
	}
	if c.CacheBlocks > 0 {
		s.hashes = hashBlocks(c.BlockSize, salt, r.Prompt, output)
	}
	return s
}

// full reports whether the places in the batch and in the queue are all taken. A
// sequence for which the batch has a place does not count as waiting, even if it
// has to sit out the current step.
func (c *scheduler) full() bool {
	return c.MaxWaiting > 0 && c.running.n+c.waiting.n >= c.MaxRunning+c.MaxWaiting
}

// add queues s and reports whether there was nothing to do before.
func (c *scheduler) add(s *Sequence, now time.Time) (idle bool) {
	if c.now.IsZero() {
		c.now = now.Add(c.ColdStart)
	}
	s.arrived = now
	c.waiting.push(s)
	c.wanting[s.tenant]++
	return c.running.n == 0 && c.waiting.n == 1
}

// next tells when the next step starts; false means that there is nothing to do.
func (c *scheduler) next(clock time.Time) (start time.Time, busy bool) {
	if c.running.n == 0 && c.waiting.n == 0 {
		return time.Time{}, false
	}
	start = c.now
	if c.running.n == 0 && c.waiting.head.arrived.After(start) {
		start = c.waiting.head.arrived
	}
	if clock.Sub(start) > maxLag {
		start = clock
	}
	return start, true
}

// begin plans the step that starts at start and returns its end.
func (c *scheduler) begin(start time.Time) (end time.Time) {
	budget, prefill, yielding := c.MaxBatchedTokens, 0, 0
	plan := func(s *Sequence) {
		missing := s.missing()
		s.work = min(missing, budget)
		budget -= s.work
		if s.computed < s.prompt || s.work > 1 { // more than one: generated tokens of a sequence that was suspended
			prefill += s.work
		}
		if s.work == missing {
			yielding++
		}
	}
	c.makeRoom(start)
	for s := c.running.head; s != nil && budget > 0; s = s.next {
		plan(s)
	}
	for budget > 0 && c.running.n < c.MaxRunning {
		s := c.first(start)
		if s == nil {
			break
		}
		c.admit(s, start)
		plan(s)
	}
	c.now = start
	if budget == c.MaxBatchedTokens { // everyone left before the step began
		return start
	}
	c.stats.Steps++
	if c.PrefillPerSecond > 0 {
		c.now = c.now.Add(time.Duration(float64(prefill) / c.PrefillPerSecond * float64(time.Second)))
	}
	if yielding > 0 {
		c.now = c.now.Add(c.DecodeStep + time.Duration(yielding-1)*c.DecodePerSequence)
	}
	return c.now
}

// first is who has waited longest by start, of the tenants with the fewest
// places in the batch; nil if nobody has.
func (c *scheduler) first(start time.Time) (first *Sequence) {
	for s := c.waiting.head; s != nil && !s.arrived.After(start); s = s.next {
		if first == nil || c.places[s.tenant] < c.places[first.tenant] {
			first = s
		}
		if len(c.wanting) == 1 || c.places[first.tenant] == 0 { // nobody can come before
			break
		}
	}
	return first
}

// makeRoom lets tenants into a full batch, in the places of others who have at
// least two more: until nobody waits who would be nearer to the others then.
func (c *scheduler) makeRoom(start time.Time) {
	for c.waiting.n > 0 && c.running.n >= c.MaxRunning {
		s, last := c.first(start), c.running.tail
		for r := last; r != nil; r = r.prev {
			if c.places[r.tenant] > c.places[last.tenant] {
				last = r
			}
		}
		if s == nil || c.places[last.tenant] < c.places[s.tenant]+2 {
			return
		}
		c.suspend(last)
		c.admit(s, start)
	}
}

// suspend takes s out of the batch, to be continued before all of its tenant
// who wait. What was computed is known only as far as the cache keeps it.
func (c *scheduler) suspend(s *Sequence) {
	c.leave(s)
	s.computed = 0
	c.waiting.pushFront(s)
	c.wanting[s.tenant]++
	c.stats.Suspended++
}

// finish ends the step that begin planned, late after its time.
func (c *scheduler) finish(late time.Duration) {
	c.stats.MaxLate = max(c.stats.MaxLate, late)
	for s := c.running.head; s != nil; {
		following := s.next
		if s.work > 0 {
			c.advance(s)
		}
		s = following
	}
}

// advance books a sequence's share of the step: computed tokens, blocks that are
// now full, and the token it yields if all it knew is computed.
func (c *scheduler) advance(s *Sequence) {
	s.computed += s.work
	s.work = 0
	c.insert(s)
	if s.missing() > 0 {
		return
	}
	c.stats.OutputTokens++
	produced := s.produced.Load() + 1
	if int(produced) == s.max {
		c.leave(s)
	}
	s.produced.Store(produced)
	if (produced-int64(s.alone))%int64(s.perEmit) == 0 || int(produced) == s.max {
		signal(s.notify)
	}
}

// missing is the number of known tokens, prompt and generated, not yet computed.
func (s *Sequence) missing() int { return s.prompt + int(s.produced.Load()) - s.computed }

// admit puts s into the batch with the blocks the cache has for it.
func (c *scheduler) admit(s *Sequence, start time.Time) {
	if s.queue != nil {
		c.leave(s)
	}
	c.running.push(s)
	c.places[s.tenant]++
	usable := min(len(s.hashes), (s.prompt+int(s.produced.Load())-1)/c.BlockSize)
	s.blocks = c.cache.pin(make([]int32, 0, len(s.hashes)), s.hashes[:usable])
	s.computed = len(s.blocks) * c.BlockSize
	if s.admitted { // and suspended since
		return
	}
	s.admitted = true
	s.queued = start.Sub(s.arrived)
	s.cached = s.computed
	c.stats.PromptTokens += int64(s.prompt)
	c.stats.CachedTokens += int64(s.cached)
}

// insert caches the blocks of s that are full by now, in order. One for which the
// cache has no room holds its successors up, which could not be found without it,
// and is tried again in the next step.
func (c *scheduler) insert(s *Sequence) {
	full := min(s.computed/c.BlockSize, len(s.hashes))
	for len(s.blocks) < full {
		b, ok := c.cache.add(s.hashes[len(s.blocks)])
		if !ok {
			return
		}
		s.blocks = append(s.blocks, b)
	}
}

// leave takes s out of its queue and unpins its blocks.
func (c *scheduler) leave(s *Sequence) {
	count := c.wanting
	if s.queue == &c.running {
		count = c.places
	}
	if count[s.tenant]--; count[s.tenant] == 0 {
		delete(count, s.tenant)
	}
	s.queue.remove(s)
	c.cache.unpin(s.blocks)
	s.blocks = nil
}

// drop ends s before its time.
func (c *scheduler) drop(s *Sequence, why int32) {
	c.leave(s)
	s.ended.Store(why)
	signal(s.notify)
}

func (c *scheduler) dropAll(why int32) {
	for _, q := range []*queue{&c.waiting, &c.running} {
		for q.head != nil {
			c.drop(q.head, why)
		}
	}
}

// runAlone takes s from admission to its last token in no time.
func (c *scheduler) runAlone(s *Sequence) {
	c.admit(s, s.arrived)
	chunks := (s.prompt - s.computed + c.MaxBatchedTokens - 1) / c.MaxBatchedTokens
	c.stats.Steps += int64(chunks + s.max - 1)
	c.stats.OutputTokens += int64(s.max)
	s.computed = s.prompt + s.max - 1
	c.insert(s)
	c.leave(s)
	s.produced.Store(int64(s.max))
}

func (c *scheduler) snapshot() Stats {
	st := c.stats
	st.Running, st.Waiting = c.running.n, c.waiting.n
	st.CachedBlocks, st.Evictions = len(c.cache.index), c.cache.evictions
	return st
}
