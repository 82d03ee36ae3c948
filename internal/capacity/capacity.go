// Package capacity finds the greatest load under which a platform keeps its
// promises, from steps that each hold a load for a while and see.
//
// Whether a step holds is a matter of luck near the limit, so the limit is
// estimated, not bracketed: the chance that a step at load x holds is taken to
// fall with ln x along a logistic curve,
//
//	P(holds | x) = lapse + (1 − 2·lapse) / (1 + (x/limit)^(1/spread))
//
// with limit and spread unknown. After every step the probability of each limit
// is updated by Bayes' rule, beginning with all equally likely on a logarithmic
// scale, and the next step is made where it decides much. That is the method of
// QUEST (Watson and Pelli, Perception & Psychophysics 33, 1983) with the spread
// as a second unknown (Kontsevich and Tyler, Vision Research 39, 1999).
package capacity

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

const (
	// Level is the probability with which the limit lies in the interval.
	Level = 0.95
	// Precision is how far apart, as a ratio, the ends of the interval may be
	// for the search to end.
	Precision = 1.12
	// Confirmations is how many steps close to the limit must have held, and how
	// many not, before it is believed; one more than that ends a search at the
	// least or the most load.
	Confirmations = 2
	// MostSteps ends a search that does not come to that precision; the interval
	// is then as wide as it is.
	MostSteps = 30

	lapse   = 0.02 // the chance that a step far from the limit goes wrong all the same
	perStep = 100  // limits considered for each factor of e
	tries   = 3    // steps at one load that the platform is not to blame for, before the search gives up
)

// spreads are those considered, all equally likely at first: at 0.03 a load 5%
// above the limit holds once in 6 steps, at 0.1 twice in 5.
var spreads = [...]float64{0.01, 0.03, 0.1, 0.2}

// places are where the probability of the limit is cut in turn: in the middle,
// which says most about the limit, and off it, which says most about the spread.
var places = [...]float64{0.5, 0.1, 0.5, 0.9}

// Outcome is how a search ended.
type Outcome string

// The outcomes.
const (
	Found      Outcome = "found"
	NotReached Outcome = "not reached" // the most load that may be tried held
	TooLow     Outcome = "too low"     // the least load that is tried breaks a promise already
	OwnLimit   Outcome = "own limit"   // this tool, not the platform, could not do more
	Stopped    Outcome = "stopped"     // by the user, a limit or an error
)

// Purpose is what a step was made for.
type Purpose string

// The purposes, in the order in which a search has them.
const (
	Raise  Purpose = "raise"  // until a step breaks
	Narrow Purpose = "narrow" // to learn where the limit is
)

// Step is a load that was tried and what became of it.
type Step struct {
	Load    float64 `json:"load"`
	Purpose Purpose `json:"purpose"`
	// Phase is the name under which the summary has the step's requests.
	Phase  string `json:"phase"`
	Passed bool   `json:"passed"`
	// Broke are the promises that were broken, in the order of the scenario.
	Broke []string `json:"broke,omitempty"`
	// OwnLimit says why the load was not what it should have been; empty if it was.
	OwnLimit string `json:"ownLimit,omitempty"`
	// Requests were answered in the measured part of the step.
	Requests          uint64         `json:"requests"`
	RequestsPerSecond float64        `json:"requestsPerSecond"` // successes
	GoodputPerSecond  float64        `json:"goodputPerSecond"`
	ErrorRate         float64        `json:"errorRate"`
	TTFT              *time.Duration `json:"ttftP95Ns,omitempty"` // of what was answered
	E2E               *time.Duration `json:"e2eP95Ns,omitempty"`
	SendLag           time.Duration  `json:"sendLagP95Ns"`
}

// Search is what was found.
type Search struct {
	Unit    string  `json:"unit"` // users, or arrivals per second
	Max     float64 `json:"max"`  // the most load that was to be tried
	Outcome Outcome `json:"outcome"`
	// Limit is the load at which a step is as likely to hold as to break: too
	// high as likely as too low, and between Low and High with probability
	// Level. All are 0 unless a step held and one broke.
	Limit float64 `json:"limit"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Level float64 `json:"level"`
	Held  float64 `json:"held"` // the greatest load of a step that held; 0: none did
	// Broke is the first promise broken in the lowest step that broke any.
	Broke string `json:"broke,omitempty"`
	// Limits are the latencies promised for the p95 of TTFT, if any.
	Limits []time.Duration `json:"ttftLimitsNs,omitempty"`
	Steps  []Step          `json:"steps"`
}

// Plan says where to search.
type Plan struct {
	Unit       string
	Start, Max float64 // 0 < Start ≤ Max
	Whole      bool    // loads are whole numbers, as users are
}

// Find searches up to the plan's most load. measure makes one step and says what
// became of it; its error ends the search, which returns what is known by then.
func Find(p Plan, measure func(load float64, purpose Purpose) (Step, error)) (*Search, error) {
	f := &finder{Plan: p, measure: measure, s: &Search{Unit: p.Unit, Max: p.Max, Outcome: Stopped}}
	f.prepare()
	outcome := f.run()
	if f.err == nil {
		f.s.Outcome = outcome
	}
	if f.s.Held > 0 && f.least > 0 {
		f.s.Limit, f.s.Low, f.s.High, f.s.Level = f.whole(f.quantile(0.5)), f.whole(f.quantile((1-Level)/2)), f.whole(f.quantile((1+Level)/2)), Level
	}
	f.s.Broke = f.broke()
	return f.s, f.err
}

// finder is a search under way.
type finder struct {
	Plan
	measure func(float64, Purpose) (Step, error)
	s       *Search
	err     error
	counted []trial     // the steps that say something of the platform
	least   float64     // the smallest load that broke; 0: none did
	limits  []float64   // the logarithms of those considered, ascending
	belief  [][]float64 // in each limit and spread, not normalized
}

type trial struct {
	load   float64
	passed bool
}

// prepare believes in all limits alike, with room for doubt beyond the ends.
func (f *finder) prepare() {
	from, to := math.Log(f.Start)-1, math.Log(f.Max)+1
	n := int((to-from)*perStep) + 1
	for i := range n {
		f.limits = append(f.limits, from+(to-from)*float64(i)/float64(n-1))
		f.belief = append(f.belief, slices.Repeat([]float64{1}, len(spreads)))
	}
}

func (f *finder) run() Outcome {
	for len(f.counted) < MostSteps {
		load, purpose := f.next()
		passed, ok := f.try(load, purpose)
		if !ok {
			return OwnLimit
		}
		f.learn(load, passed)
		switch {
		case f.ended(f.Max, true):
			return NotReached
		case f.ended(f.Start, false):
			return TooLow
		case f.certain():
			return Found
		}
	}
	return Found
}

// next is the load to try: twice the last, until one breaks, and then where
// the limit is believed to be.
func (f *finder) next() (load float64, purpose Purpose) {
	switch {
	case len(f.counted) == 0:
		load, purpose = f.Start, Raise
	case f.least == 0:
		load, purpose = 2*f.s.Held, Raise
	default:
		load, purpose = f.quantile(places[len(f.counted)%len(places)]), Narrow
	}
	if f.Whole {
		load = math.Round(load)
	}
	return min(max(load, f.Start), f.Max), purpose
}

// learn updates the belief.
func (f *finder) learn(load float64, passed bool) {
	f.counted = append(f.counted, trial{load, passed})
	if passed {
		f.s.Held = max(f.s.Held, load)
	} else if f.least == 0 || load < f.least {
		f.least = load
	}
	top := 0.0
	for i, limit := range f.limits {
		for k, spread := range spreads {
			p := lapse + (1-2*lapse)/(1+math.Exp((math.Log(load)-limit)/spread))
			if !passed {
				p = 1 - p
			}
			f.belief[i][k] *= p
			top = max(top, f.belief[i][k])
		}
	}
	for _, of := range f.belief { // so that no product vanishes
		for k := range of {
			of[k] /= top
		}
	}
}

// ended reports whether the last steps were all at that load and went that way.
func (f *finder) ended(load float64, passed bool) bool {
	n := len(f.counted) - Confirmations - 1
	return n >= 0 && !slices.ContainsFunc(f.counted[n:], func(t trial) bool { return t != trial{load, passed} })
}

// certain reports whether the limit is known well enough.
func (f *finder) certain() bool {
	if f.s.Held == 0 || f.least == 0 {
		return false
	}
	limit, low, high := f.quantile(0.5), f.quantile((1-Level)/2), f.quantile((1+Level)/2)
	passed, broke := 0, 0
	for _, t := range f.counted {
		switch near := t.load <= limit*Precision && t.load*Precision >= limit || f.Whole && math.Abs(t.load-limit) <= 1; {
		case near && t.passed:
			passed++
		case near:
			broke++
		}
	}
	narrow := high <= low*Precision || f.Whole && f.whole(high)-f.whole(low) <= 1
	return narrow && passed >= Confirmations && broke >= Confirmations
}

// whole is a load that can be: with 7.6 users the 8th would break it.
func (f *finder) whole(load float64) float64 {
	if f.Whole {
		return math.Floor(load)
	}
	return load
}

// quantile is the limit below which the true one lies with probability q.
func (f *finder) quantile(q float64) float64 {
	sum := 0.0
	each := make([]float64, len(f.belief))
	for i, of := range f.belief {
		for _, b := range of {
			each[i] += b
		}
		sum += each[i]
	}
	below := 0.0
	for i, b := range each {
		if below += b; below >= q*sum {
			return math.Exp(f.limits[i])
		}
	}
	return math.Exp(f.limits[len(f.limits)-1])
}

// try makes a step. ok is false if the search cannot go on. A step that was
// not what it should have been says nothing, whether it held or broke, and is made again.
func (f *finder) try(load float64, purpose Purpose) (passed, ok bool) {
	if f.err != nil {
		return false, false
	}
	for range tries {
		step, err := f.measure(load, purpose)
		if err != nil {
			f.err = err
			return false, false
		}
		step.Load, step.Purpose = load, purpose
		f.s.Steps = append(f.s.Steps, step)
		if step.OwnLimit == "" {
			return step.Passed, true
		}
	}
	return false, false
}

// broke is the first promise broken in the lowest step that broke any.
func (f *finder) broke() string {
	for _, step := range f.s.Steps {
		if step.Load == f.least && !step.Passed && len(step.Broke) > 0 && step.OwnLimit == "" {
			return step.Broke[0]
		}
	}
	return ""
}

// Answer says what was found, in a sentence or two.
func (s *Search) Answer() string {
	of := func(load float64) string { return strconv.FormatFloat(load, 'g', 4, 64) + " " + s.Unit }
	held := "no load held"
	if s.Held > 0 {
		held = "up to " + of(s.Held) + " held"
	}
	switch s.Outcome {
	case Found:
		return fmt.Sprintf("sustains %s (%.0f%% interval %.4g to %.4g); the first thing to break: %s", of(s.Limit), 100*s.Level, s.Low, s.High, s.Broke)
	case NotReached:
		return fmt.Sprintf("no limit was found up to %s: %s", of(s.Max), held)
	case TooLow:
		return "the least load that was tried breaks a promise already: " + s.Broke
	case OwnLimit:
		last := s.Steps[len(s.Steps)-1]
		return fmt.Sprintf("this tool, and not the platform, was the limit at %s (%s); %s", of(last.Load), last.OwnLimit, held)
	default:
		return "the search did not end; " + held
	}
}
