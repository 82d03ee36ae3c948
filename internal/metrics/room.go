package metrics

import "sync/atomic"

// Room is the most series that one worker exports, and backendRoom the part of
// them that may describe models. Where there is no more room, organizations,
// models and test types that come later share series whose labels say "other";
// no count is lost by it. A classic histogram is as many series as it has
// buckets, and two more.
const (
	Room        = 20_000
	backendRoom = 10_000
)

const (
	// ownerSeries are those that every owner has: latency, cost, cache, and
	// requests and tokens of what finds no room.
	ownerSeries = 6 + 1 + 3 + 4 + 3
	// requestSeries and tokenSeries are for a model more. Outcomes other than
	// success take theirs when they come.
	requestSeries = 1
	tokenSeries   = 3
	// backendSeries are those of one backend in the eyes of an organization.
	backendSeries = 200
	// reserved are those that are always there: of the worker and the run, of
	// questions, lists of top users, salts, phases, and what is called other.
	reserved = 1500
)

// space is what is left of a number of series.
type space struct{ left atomic.Int64 }

func (s *space) take(n int64) bool {
	if s.left.Add(-n) >= 0 {
		return true
	}
	s.left.Add(n)
	return false
}
