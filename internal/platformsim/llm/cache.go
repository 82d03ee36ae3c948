package llm

import "math/bits"

// prefixCache knows which blocks have been computed. Blocks live in one slice and
// are linked by position, so that a large cache costs the garbage collector nothing.
type prefixCache struct {
	capacity  int
	index     map[uint64]int32 // by hash, into blocks
	blocks    []block          // blocks[0] is the end of the ring of unpinned blocks, least recently used next to it
	evictions int64
}

type block struct {
	hash       uint64
	pins       int32 // sequences in the batch that use it
	prev, next int32 // ring of the unpinned
}

func newPrefixCache(capacity int) *prefixCache {
	return &prefixCache{capacity: max(0, capacity), index: map[uint64]int32{}, blocks: make([]block, 1)}
}

// pin appends to dst the blocks for the longest known prefix of hashes, pinned.
func (c *prefixCache) pin(dst []int32, hashes []uint64) []int32 {
	for _, h := range hashes {
		b, known := c.index[h]
		if !known {
			break
		}
		c.hold(b)
		dst = append(dst, b)
	}
	return dst
}

// add pins the block of a hash, entering it if it is new. It reports false if
// that would take evicting a pinned block.
func (c *prefixCache) add(h uint64) (int32, bool) {
	b, known := c.index[h]
	if known {
		c.hold(b)
		return b, true
	}
	switch oldest := c.blocks[0].next; {
	case len(c.index) < c.capacity:
		b = int32(len(c.blocks))
		c.blocks = append(c.blocks, block{})
	case oldest != 0:
		b = oldest
		c.unlink(b)
		delete(c.index, c.blocks[b].hash)
		c.evictions++
	default:
		return 0, false
	}
	c.blocks[b] = block{hash: h, pins: 1}
	c.index[h] = b
	return b, true
}

// unpin gives blocks of one sequence back, last block first: so a block is always
// evicted before the one it follows, and every cached block can be found.
func (c *prefixCache) unpin(blocks []int32) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		c.blocks[b].pins--
		if c.blocks[b].pins == 0 {
			c.link(b)
		}
	}
}

func (c *prefixCache) hold(b int32) {
	if c.blocks[b].pins == 0 {
		c.unlink(b)
	}
	c.blocks[b].pins++
}

// link makes b the most recently used of the unpinned blocks.
func (c *prefixCache) link(b int32) {
	last := c.blocks[0].prev
	c.blocks[b].prev, c.blocks[b].next = last, 0
	c.blocks[last].next = b
	c.blocks[0].prev = b
}

func (c *prefixCache) unlink(b int32) {
	prev, next := c.blocks[b].prev, c.blocks[b].next
	c.blocks[prev].next = next
	c.blocks[next].prev = prev
}

// hashBlocks returns the hash of each full block of prompt and output, chained
// from the salt.
func hashBlocks(size int, salt string, prompt, output []Token) []uint64 {
	hashes := make([]uint64, 0, (len(prompt)+len(output))/size)
	h := hashString(salt)
	filled := 0
	for _, part := range [2][]Token{prompt, output} {
		for _, t := range part {
			h = mix(h, uint64(t))
			if filled++; filled == size {
				hashes = append(hashes, h)
				filled = 0
			}
		}
	}
	return hashes
}

// mix folds a word into a hash by a 128-bit product. It is no cryptographic hash:
// nobody attacks a simulator.
func mix(h, word uint64) uint64 {
	hi, lo := bits.Mul64(h^word^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	return hi ^ lo
}

func hashString(s string) uint64 {
	h := uint64(len(s))
	for i := range len(s) {
		h = mix(h, uint64(s[i]))
	}
	return h
}
