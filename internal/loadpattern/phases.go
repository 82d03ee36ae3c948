package loadpattern

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Phases is a pattern of consecutive phases. It is done when the last one is over.
type Phases []Phase

var _ Pattern = Phases(nil)

// At implements [Pattern]. A phase owns its first moment and not its last:
// the target of a ramp is reached at the moment the next phase begins.
func (p Phases) At(elapsed time.Duration) (users, phase int, done bool) {
	elapsed = max(0, elapsed)
	from := 0
	for i, ph := range p {
		if elapsed < ph.Duration {
			return ph.users(from, elapsed), i, false
		}
		elapsed -= ph.Duration
		from = ph.Target
	}
	return 0, max(0, len(p)-1), true
}

// users is the number at elapsed within the phase, 0 ≤ elapsed < Duration.
func (ph Phase) users(from int, elapsed time.Duration) int {
	if ph.Ramp == None {
		return ph.Target
	}
	return ph.Ramp.between(from, ph.Target, float64(elapsed)/float64(ph.Duration), ph.Steps)
}

// Phase implements [Pattern].
func (p Phases) Phase(i int) Phase { return p[i] }

// Peak implements [Pattern]. Ramps never leave the range between two targets.
func (p Phases) Peak() int {
	peak := 0
	for _, ph := range p {
		peak = max(peak, ph.Target)
	}
	return peak
}

// Duration is the length of the whole pattern.
func (p Phases) Duration() time.Duration {
	var sum time.Duration
	for _, ph := range p {
		sum += ph.Duration
	}
	return sum
}

// Start is the moment at which phase i begins.
func (p Phases) Start(i int) time.Duration { return p[:i].Duration() }

// Constant reports whether the load does not change during the phases of that
// name, neither the users nor the arrivals.
func (p Phases) Constant(name string) bool {
	found := false
	var from Phase
	for _, ph := range p {
		if ph.Name == name && ph.Duration > 0 {
			found = true
			if ph.Ramp != None && (ph.Target != from.Target || ph.Rate != from.Rate) {
				return false
			}
		}
		from = ph
	}
	return found
}

// Check reports everything that makes the phases unusable, or nil.
func (p Phases) Check() error {
	var errs []error
	for i, ph := range p {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("phase %d (%s): %s", i+1, ph.Name, fmt.Sprintf(format, args...)))
		}
		if ph.Duration < 0 {
			fault("the duration %v is negative", ph.Duration)
		}
		if ph.Target < 0 {
			fault("the target of %d users is negative", ph.Target)
		}
		if !(ph.Rate >= 0) || math.IsInf(ph.Rate, 1) {
			fault("the rate of %v arrivals per second is not a finite number from 0 up", ph.Rate)
		}
		if ph.Steps < 0 {
			fault("%d steps are too few: give at least 1, or 0 for %d", ph.Steps, defaultSteps)
		}
		if !ph.Ramp.known() {
			fault("the ramp %q is unknown: use %s, %s, %s, %s, or nothing for an instant change", ph.Ramp, Linear, Exponential, Smooth, Step)
		}
	}
	if len(errs) == 0 && p.Duration() <= 0 {
		return errors.New("the phases last no time at all: give at least one of them a duration")
	}
	return errors.Join(errs...)
}
