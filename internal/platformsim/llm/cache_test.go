package llm

import (
	"context"
	"slices"
	"testing"
)

// tokens returns n tokens that no other first one begins with.
func tokens(first, n int) []Token {
	ts := make([]Token, n)
	for i := range ts {
		ts[i] = Token(first*1_000_000 + i)
	}
	return ts
}

// TestPrefixCache sends requests one after the other to an instant engine with
// blocks of 4 tokens and room for 8 of them, and looks at what the cache gives.
func TestPrefixCache(t *testing.T) {
	type request struct {
		Request
		cached int
	}
	prompt := func(cached int, parts ...[]Token) request {
		return request{Request{Prompt: slices.Concat(parts...), MaxTokens: 1}, cached}
	}
	salted := func(cached int, salt string, parts ...[]Token) request {
		r := prompt(cached, parts...)
		r.Salt = salt
		return r
	}
	generating := func(cached int, output []Token, parts ...[]Token) request {
		r := prompt(cached, parts...)
		r.MaxTokens, r.OutputTokens = len(output), output
		return r
	}
	for name, test := range map[string]struct {
		leaky     bool
		blocks    int
		requests  []request
		evictions int64
	}{
		"same prompt": {requests: []request{
			prompt(0, tokens(1, 10)), prompt(8, tokens(1, 10)),
		}},
		"one token is always computed": {requests: []request{
			prompt(0, tokens(1, 8)), prompt(4, tokens(1, 8)), prompt(8, tokens(1, 9)),
		}},
		"a partial block is not cached": {requests: []request{
			prompt(0, tokens(1, 3)), prompt(0, tokens(1, 7)), prompt(4, tokens(1, 7)),
		}},
		"common prefix": {requests: []request{
			prompt(0, tokens(1, 8), tokens(2, 4)), prompt(8, tokens(1, 8), tokens(3, 4)), prompt(4, tokens(1, 6), tokens(4, 6)),
		}},
		"same block after another parent": {requests: []request{
			prompt(0, tokens(1, 4), tokens(2, 4)), prompt(0, tokens(3, 4), tokens(2, 5)), prompt(0, tokens(2, 5)),
		}},
		"salts separate": {requests: []request{
			salted(0, "a", tokens(1, 9)), salted(0, "b", tokens(1, 9)), salted(0, "", tokens(1, 9)), salted(8, "a", tokens(1, 9)),
		}},
		"a leaky platform shares": {leaky: true, requests: []request{
			salted(0, "a", tokens(1, 9)), salted(8, "b", tokens(1, 9)), salted(8, "", tokens(1, 9)),
		}},
		"the next turn finds the answer, but for its last token": {requests: []request{
			generating(0, tokens(2, 6), tokens(1, 6)), // 6 + 5 computed: two blocks
			prompt(8, tokens(1, 6), tokens(2, 6), tokens(3, 1)),
		}},
		"a full answer block": {requests: []request{
			generating(0, tokens(2, 7), tokens(1, 6)), // 6 + 6 computed: three blocks
			prompt(12, tokens(1, 6), tokens(2, 7), tokens(3, 1)),
		}},
		"an answer that is not told is not cached": {requests: []request{
			{Request{Prompt: tokens(1, 6), MaxTokens: 100}, 0},
			prompt(4, tokens(1, 6), tokens(2, 6)),
		}},
		"the least recently used goes first": {evictions: 5, requests: []request{
			prompt(0, tokens(1, 16)),  // 1111
			prompt(0, tokens(2, 16)),  // 11112222
			prompt(12, tokens(1, 16)), // 22221111
			prompt(0, tokens(3, 16)),  // 11113333
			prompt(12, tokens(1, 16)), // 33331111
			prompt(0, tokens(2, 5)),   // 33311112
		}},
		"of one prompt the tail goes first": {evictions: 2, requests: []request{
			prompt(0, tokens(1, 32)), prompt(0, tokens(2, 4)), prompt(28, tokens(1, 33)),
		}},
		"a prompt larger than the cache keeps its head": {requests: []request{
			prompt(0, tokens(1, 50)), prompt(32, tokens(1, 50)),
		}},
		"no cache": {blocks: -1, requests: []request{
			prompt(0, tokens(1, 10)), prompt(0, tokens(1, 10)),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.blocks == 0 {
				test.blocks = 8
			}
			e := New(Config{BlockSize: 4, CacheBlocks: test.blocks, LeakySalt: test.leaky})
			defer e.Close()
			var total int64
			for i, r := range test.requests {
				s, err := e.Submit(context.Background(), r.Request)
				if err != nil {
					t.Fatal(err)
				}
				if s.CachedTokens() != r.cached {
					t.Errorf("request %d: %d tokens cached, want %d", i, s.CachedTokens(), r.cached)
				}
				total += int64(r.cached)
			}
			if st := e.Stats(); st.Evictions != test.evictions || st.CachedTokens != total {
				t.Errorf("%d evictions and %d tokens cached in all, want %d and %d", st.Evictions, st.CachedTokens, test.evictions, total)
			}
		})
	}
}

// TestPinnedBlocksStay fills the cache with the blocks of a running sequence.
func TestPinnedBlocksStay(t *testing.T) {
	c := newScheduler(Config{BlockSize: 4, CacheBlocks: 4}.withDefaults())
	step := func() { c.begin(c.now); c.finish(0) }

	long := c.newSequence(Request{Prompt: tokens(1, 12), MaxTokens: 5, OutputTokens: tokens(1, 5)})
	long.notify = make(chan struct{}, 1)
	c.add(long, c.now)
	step() // three blocks pinned

	for i := 2; i <= 3; i++ { // each brings two blocks, and there is room for one
		other := c.newSequence(Request{Prompt: tokens(i, 8), MaxTokens: 1})
		other.notify = make(chan struct{}, 1)
		c.add(other, c.now)
		step()
		if st := c.snapshot(); st.CachedBlocks != 4 || st.Evictions != int64(i-2) || st.Running != 1 {
			t.Fatalf("after request %d: %+v, want 4 blocks, %d evictions and the long one running", i, st, i-2)
		}
	}
	known := func(hashes []uint64) int {
		pinned := c.cache.pin(nil, hashes)
		c.cache.unpin(pinned)
		return len(pinned)
	}
	if n := known(long.hashes[:3]); n != 3 {
		t.Errorf("%d blocks of the running sequence are cached, want 3", n)
	}
	for c.running.n > 0 {
		step()
	}
	if n := known(long.hashes); n != 4 { // 12 + 4 tokens computed; the last block took the unpinned one's room
		t.Errorf("%d blocks are cached at the end, want 4", n)
	}
	if got := pins(c.cache); got != 0 {
		t.Errorf("%d pins are left", got)
	}
}

func pins(c *prefixCache) (n int) {
	for _, b := range c.blocks {
		n += int(b.pins)
	}
	return n
}
