package loadpattern

import (
	"slices"
	"sort"
	"time"
)

// Part is one worker's share of a pattern. At any moment the parts of all
// workers sum to the whole, and a part never falls while the whole rises.
type Part struct {
	whole  Phases
	places []int // of the worker's users in the order in which all are called, ascending
	all    int
	first  bool // the first worker, who is asked for those that do not exist
}

var _ Pattern = Part{}

// Split returns the part of one of several workers, who have so many users
// each. Users are called in an order in which all workers have about the same
// share of theirs at work.
func Split(whole Phases, users []int, worker int) Part {
	type user struct{ rank, worker int }
	var order []user
	for w, n := range users {
		for rank := range n {
			order = append(order, user{rank, w})
		}
	}
	slices.SortFunc(order, func(a, b user) int {
		if d := (2*a.rank+1)*users[b.worker] - (2*b.rank+1)*users[a.worker]; d != 0 {
			return d
		}
		return a.worker - b.worker
	})
	p := Part{whole: whole, all: len(order), first: worker == 0}
	for place, u := range order {
		if u.worker == worker {
			p.places = append(p.places, place)
		}
	}
	return p
}

// share is how many of the first n users are this worker's.
func (p Part) share(n int) int {
	mine := sort.SearchInts(p.places, n)
	if p.first {
		mine += max(0, n-p.all)
	}
	return mine
}

// At implements [Pattern].
func (p Part) At(elapsed time.Duration) (users, phase int, done bool) {
	users, phase, done = p.whole.At(elapsed)
	return p.share(users), phase, done
}

// Phase implements [Pattern]; the target is this part's.
func (p Part) Phase(i int) Phase {
	phase := p.whole.Phase(i)
	phase.Target = p.share(phase.Target)
	return phase
}

// Peak implements [Pattern]. A part may be of nothing.
func (p Part) Peak() int { return p.share(p.whole.Peak()) }

// Check reports everything that makes the whole unusable, or nil.
func (p Part) Check() error { return p.whole.Check() }
