package stats

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Collector is a [record.Sink] that sums records up. A user's records always
// go to the same shard, so that users contend only by chance.
type Collector struct {
	objective Objective
	shards    []*shard

	mu       sync.Mutex // guards timeline
	timeline *Timeline
}

var _ record.Sink = (*Collector)(nil)

type shard struct {
	mu     sync.Mutex
	groups map[Key]*Group
	users  map[int]*User
	slow   []Slow
	_      [64]byte // keeps neighbours out of each other's cache line
}

// NewCollector returns an empty collector; objective defines goodput.
func NewCollector(objective Objective) *Collector {
	c := &Collector{objective: objective, timeline: NewTimeline()}
	for range runtime.GOMAXPROCS(0) {
		c.shards = append(c.shards, &shard{groups: map[Key]*Group{}, users: map[int]*User{}})
	}
	return c
}

// Add implements [record.Sink].
func (c *Collector) Add(r *record.Record) {
	good := c.objective.Met(r)
	c.shard(r).add(r, good)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeline.add(r, good)
}

// BeforeLoad is a sink for requests that were sent before the load began, and
// whose moments therefore have no place on the timeline. They count in all else.
func (c *Collector) BeforeLoad() record.Sink {
	return record.SinkFunc(func(r *record.Record) { c.shard(r).add(r, c.objective.Met(r)) })
}

func (c *Collector) shard(r *record.Record) *shard { return c.shards[r.UserIndex%len(c.shards)] }

func (s *shard) add(r *record.Record, good bool) {
	key := Key{Phase: r.Phase, Org: r.Org, Model: r.Model, Endpoint: r.Endpoint, TestType: r.TestType, Stream: r.Stream}
	s.mu.Lock()
	defer s.mu.Unlock() // though one record should cost a panic: a lock kept would hang the run
	g := s.groups[key]
	if g == nil {
		g = &Group{Key: key}
		s.groups[key] = g
	}
	g.add(r, good)
	u := s.users[r.UserIndex]
	if u == nil {
		u = &User{Org: r.Org, Name: r.User}
		s.users[r.UserIndex] = u
	}
	u.add(r, good)
	if r.Measured && r.Outcome == record.Success && !r.Injected() && !tooQuick(s.slow, r.E2E()) {
		s.slow = addSlow(s.slow, slowOf(r))
	}
}

// Observe notes the number of active users and the phase at a moment of the run.
func (c *Collector) Observe(offset time.Duration, users int, phase string) {
	c.mu.Lock()
	c.timeline.Observe(offset, users, phase)
	c.mu.Unlock()
}

// Summary returns what has been collected so far, as a copy.
func (c *Collector) Summary() *Summary {
	out := NewSummary()
	for _, s := range c.shards {
		part := &Summary{}
		s.mu.Lock()
		for _, g := range s.groups {
			part.Groups = append(part.Groups, g)
		}
		for _, u := range s.users {
			part.Users = append(part.Users, u)
		}
		slices.SortFunc(part.Groups, func(a, b *Group) int { return compareKeys(a.Key, b.Key) })
		slices.SortFunc(part.Users, compareUsers)
		part.Slowest = s.slow
		out.Merge(part)
		s.mu.Unlock()
	}
	c.mu.Lock()
	out.Timeline = c.timeline.clone()
	c.mu.Unlock()
	return out
}

// Overall returns the sum of all groups so far, as a copy.
func (c *Collector) Overall() *Group {
	sum := new(Group)
	for _, s := range c.shards {
		s.mu.Lock()
		for _, g := range s.groups {
			sum.Merge(g)
		}
		s.mu.Unlock()
	}
	return sum
}
