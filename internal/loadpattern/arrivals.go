package loadpattern

import (
	"math"
	"math/rand/v2"
	"time"
)

// Process is how arrivals follow each other at a given rate.
type Process string

// The processes.
const (
	// Constant arrivals come in equal steps of the integrated rate: at a rate
	// that does not change, in equal steps of time, the first at once.
	Constant Process = "constant"
	// Poisson arrivals come in exponential steps of the integrated rate, as
	// those of many people who know nothing of each other. Whatever the ramps,
	// that is exactly a Poisson process of the rate at every moment (time
	// change; Çınlar, "Introduction to Stochastic Processes", 1975, 4.7).
	Poisson Process = "poisson"
)

// Arrivals is open load: the moments at which requests begin. Like a
// [Pattern] it is a pure function, of a seed.
type Arrivals struct {
	// Phases give the rate over time: that of a phase is reached at its end,
	// from the rate of the phase before, or from none before the first.
	Phases  Phases
	Process Process
	// Share is the part of the rate that these arrivals are, above 0: a
	// worker's part of the whole, or an organization's. 0 means 1.
	Share float64
	// Lead puts the first of constant arrivals off by that part of a step, from
	// 0 to less than 1, so that workers do not send all at the same moments.
	Lead float64
}

func (a Arrivals) share() float64 {
	if a.Share == 0 {
		return 1
	}
	return a.Share
}

// Rate is the number of arrivals per second wanted at a moment.
func (a Arrivals) Rate(elapsed time.Duration) float64 {
	elapsed = max(0, elapsed)
	from := 0.0
	for _, ph := range a.Phases {
		if elapsed < ph.Duration {
			return a.share() * ph.Ramp.value(from, ph.Rate, float64(elapsed)/float64(ph.Duration), ph.Steps)
		}
		elapsed -= ph.Duration
		from = ph.Rate
	}
	return 0
}

// Wanted is the number of arrivals up to a moment: the integral of Rate, and
// the expected value of what Poisson arrivals amount to.
func (a Arrivals) Wanted(elapsed time.Duration) float64 {
	sum, from := 0.0, 0.0
	for _, ph := range a.Phases {
		if elapsed <= 0 {
			break
		}
		if ph.Duration > 0 {
			x := min(1, float64(elapsed)/float64(ph.Duration))
			sum += ph.Ramp.area(from, ph.Rate, x, ph.Steps) * ph.Duration.Seconds()
		}
		elapsed -= ph.Duration
		from = ph.Rate
	}
	return a.share() * sum
}

// Schedule returns the arrivals from the first one on. Constant arrivals need
// no rng.
func (a Arrivals) Schedule(rng *rand.Rand) *Schedule {
	s := &Schedule{arrivals: a, rng: rng}
	s.step = a.Lead
	if a.Process == Poisson {
		s.step = rng.ExpFloat64()
	}
	return s
}

// Schedule is the arrivals still to come. It is absolute: a moment does not
// depend on when somebody asked for it, so that being late once makes nothing
// later.
type Schedule struct {
	arrivals Arrivals
	rng      *rand.Rand
	phase    int           // the next arrival is in this phase, or a later one
	start    time.Duration // when that began
	from     float64       // the rate it starts at
	area     float64       // what of its integrated rate has been used up, in arrivals
	step     float64       // how much more of the integrated rate the next arrival takes
}

// Next returns the moment of the next arrival, counted from the beginning of
// the first phase. It is false when there is none any more.
func (s *Schedule) Next() (at time.Duration, ok bool) {
	for ; s.phase < len(s.arrivals.Phases); s.phase++ {
		ph := s.arrivals.Phases[s.phase]
		scale := s.arrivals.share() * ph.Duration.Seconds()
		area := func(x float64) float64 { return scale * ph.Ramp.area(s.from, ph.Rate, x, ph.Steps) }
		// An arrival that falls on the last moment belongs to the next phase.
		if left := area(1) - s.area; scale > 0 && s.step < left-tiny*area(1) {
			s.area += s.step
			rate := func(x float64) float64 { return scale * ph.Ramp.value(s.from, ph.Rate, x, ph.Steps) }
			x := invert(area, rate, s.area)
			s.step = 1
			if s.arrivals.Process == Poisson {
				s.step = s.rng.ExpFloat64()
			}
			return s.start + min(time.Duration(math.Round(x*float64(ph.Duration))), ph.Duration-1), true
		} else if scale > 0 {
			s.step = max(0, s.step-left)
		}
		s.area, s.from = 0, ph.Rate
		s.start += ph.Duration
	}
	return 0, false
}

// tiny is what rounding may have added to or taken from an area, relative to it.
const tiny = 1e-12

// invert finds the x from 0 to 1 at which the growing function f, whose
// derivative is slope, reaches y: by Newton's steps, halving where one of them
// would leave what is known to hold the answer.
func invert(f, slope func(float64) float64, y float64) float64 {
	lo, hi, x := 0.0, 1.0, 0.5
	for range 100 {
		off := f(x) - y
		if off > 0 {
			hi = x
		} else {
			lo = x
		}
		next := x - off/slope(x)
		if !(next >= lo && next <= hi) { // NaN too
			next = (lo + hi) / 2
		}
		if math.Abs(next-x) <= 1e-16 {
			return next
		}
		x = next
	}
	return x
}
