// Package loadpattern says how many users are wanted at a moment of a run, or
// when its requests begin.
//
// A pattern is a pure function of elapsed time: it has no clock, no goroutine
// and no state, so it is tested as a table, drawn in advance, and evaluated
// by any worker at any moment with the same result. Who the users are, and
// how they are started and stopped, is the simulator's affair.
//
//   - [Phases] is a sequence of ramps and plateaus.
//   - [Always] is a fixed number of users that ends only when they do.
//   - [Arrivals] is open load: the moments at which requests begin, whatever
//     became of those before.
package loadpattern

import "time"

// Pattern is closed load: so many users at a time, each waiting for its
// answer before it asks again.
type Pattern interface {
	// At returns how many users are wanted when elapsed has passed since the
	// load began, and the index of the phase which that moment belongs to.
	// Once done is true nobody is wanted any more; it stays true, and phase is
	// the last one. An elapsed below zero counts as zero.
	At(elapsed time.Duration) (users, phase int, done bool)
	// Phase returns what is known of a phase whose index At returned.
	Phase(i int) Phase
	// Peak is the largest number At ever returns.
	Peak() int
}

// Phase is a stretch of a run.
type Phase struct {
	// Name labels the phase in records and reports.
	Name string
	// Duration is how long it lasts. A phase of no length changes the number
	// from which the next one starts, and is otherwise skipped.
	Duration time.Duration
	// Target is the number of users at its end, and throughout if Ramp is None.
	Target int
	// Rate is the number of arrivals per second at its end, under open load; it
	// moves there as the number of users does. It is no concern of a [Pattern].
	Rate float64
	// Ramp says how the number moves from the previous phase's target, or from
	// nobody before the first, to this one's.
	Ramp Ramp
	// Steps is the number of steps of a Step ramp; 0 means 5.
	Steps int
	// Measure is false for warm-up and cool-down, which are left out of the verdict.
	Measure bool
}

// Always is that many users from the first moment, without end: the load is
// over when all of them have finished what they do.
type Always int

var _ Pattern = Always(0)

// Steady names the one phase of [Always].
const Steady = "steady"

// At implements [Pattern].
func (n Always) At(time.Duration) (users, phase int, done bool) { return int(n), 0, false }

// Phase implements [Pattern]. The one phase has no known duration.
func (n Always) Phase(int) Phase { return Phase{Name: Steady, Target: int(n), Measure: true} }

// Peak implements [Pattern].
func (n Always) Peak() int { return int(n) }
