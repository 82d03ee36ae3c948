// Package capacity searches for the most load under which a platform keeps its
// promises.
//
// It doubles the load until a step breaks a promise, halves the ratio between the
// highest load that held and the lowest that broke, and then repeats both ends. It
// knows nothing of requests: the caller makes a step of some load and says
// whether it held.
//
// # What the interval means
//
// Let the capacity be the load at which a step is as likely to hold as to break; a
// higher load is never likelier to hold. An end of the interval is accepted only
// when it held, or broke, in all of [Repeats] steps made for that alone. Were
// that end on the wrong side, each of them would have gone so with a chance of at
// most one half. An end that fails is moved outwards and tried anew, and every
// such attempt is counted: [Search.Confidence] is 1 − attempts·2^−Repeats, the
// union bound, or 0 if that says nothing. It assumes that steps are independent
// and that the platform stays the same meanwhile; it says nothing about how
// long a step must be to be like a day.
package capacity

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Repeats is how often an end of the interval must hold, or break, in a row.
const Repeats = 5

// tries is how often in a row a step may fail by our own fault.
const tries = 3

// ratio is how far apart the ends may be.
const ratio = 1.05

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
	Raise   Purpose = "raise"
	Narrow  Purpose = "narrow"
	Confirm Purpose = "confirm"
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
	// Low is the highest load that held throughout, the load that can be
	// sustained; High the lowest above that broke throughout. 0 if there is none.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Confidence is the least chance with which the capacity is between Low and
	// High; 0 if that is unknown. See the package.
	Confidence float64 `json:"confidence"`
	// Broke is the first promise broken at High, or in the lowest step that broke.
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

// Find searches. measure makes a step; its error ends the search, and Find
// returns it with what is known by then.
func Find(p Plan, measure func(load float64, purpose Purpose) (Step, error)) (*Search, error) {
	f := &finder{Plan: p, measure: measure, s: &Search{Unit: p.Unit, Max: p.Max, Outcome: Stopped}}
	outcome := f.run()
	if f.err == nil {
		f.s.Outcome = outcome
	}
	f.s.Broke = f.broke()
	return f.s, f.err
}

type finder struct {
	Plan
	measure  func(float64, Purpose) (Step, error)
	s        *Search
	err      error
	attempts int
}

// run returns how the search ended, if nothing went wrong.
func (f *finder) run() Outcome {
	lo, hi := 0.0, 0.0
	for load := f.Start; ; load = min(2*load, f.Max) {
		passed, ok := f.try(load, Raise)
		if !ok {
			return OwnLimit
		}
		if !passed {
			hi = load
			break
		}
		lo, f.s.Low = load, load
		if load >= f.Max {
			return NotReached
		}
	}
	if lo == 0 {
		return TooLow
	}
	f.s.High = hi
	for f.apart(lo, hi) {
		load := math.Sqrt(lo * hi)
		if f.Whole {
			load = min(max(math.Round(load), lo+1), hi-1)
		}
		passed, ok := f.try(load, Narrow)
		switch {
		case !ok:
			return OwnLimit
		case passed:
			lo = load
		default:
			hi = load
		}
		f.s.Low, f.s.High = lo, hi
	}
	for factor := ratio; ; factor *= factor {
		same, ok := f.repeat(lo, true)
		if !ok {
			return OwnLimit
		}
		if same {
			break
		}
		if lo = f.move(lo, 1/factor); lo < f.Start {
			f.s.Low = 0
			return TooLow
		}
		f.s.Low = lo
	}
	for factor := ratio; ; factor *= factor {
		same, ok := f.repeat(hi, false)
		if !ok {
			return OwnLimit
		}
		if same {
			break
		}
		if hi >= f.Max {
			f.s.High = 0
			return NotReached
		}
		hi = min(f.move(hi, factor), f.Max)
		f.s.High = hi
	}
	f.s.Confidence = max(0, 1-float64(f.attempts)*math.Pow(2, -Repeats))
	return Found
}

// apart reports whether there is room between the ends for another load.
func (f *finder) apart(lo, hi float64) bool { return hi > lo*ratio && (!f.Whole || hi-lo > 1) }

func (f *finder) move(load, factor float64) float64 {
	moved := load * factor
	if f.Whole && factor < 1 {
		return min(math.Floor(moved), load-1)
	} else if f.Whole {
		return max(math.Ceil(moved), load+1)
	}
	return moved
}

// repeat reports whether the load passes, or fails, as often as it must.
func (f *finder) repeat(load float64, want bool) (same, ok bool) {
	f.attempts++
	for range Repeats {
		passed, ok := f.try(load, Confirm)
		if !ok {
			return false, false
		}
		if passed != want {
			return false, true
		}
	}
	return true, true
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

// broke is the first promise broken in the step that counts: at High, or at
// the lowest load that broke.
func (f *finder) broke() string {
	var at *Step
	for i := range f.s.Steps {
		step := &f.s.Steps[i]
		if step.Passed || len(step.Broke) == 0 || step.OwnLimit != "" || f.s.High > 0 && step.Load != f.s.High {
			continue
		}
		if at == nil || step.Load < at.Load {
			at = step
		}
	}
	if at == nil {
		return ""
	}
	return at.Broke[0]
}

// Answer says what was found, in a sentence or two.
func (s *Search) Answer() string {
	of := func(load float64) string { return strconv.FormatFloat(load, 'g', 4, 64) + " " + s.Unit }
	held := "no load held"
	if s.Low > 0 {
		held = "up to " + of(s.Low) + " held"
	}
	switch s.Outcome {
	case Found:
		text := fmt.Sprintf("sustains %s: the limit is between that and %s", of(s.Low), of(s.High))
		if s.Confidence > 0 {
			text += fmt.Sprintf(", with a confidence of at least %.0f%%", math.Floor(100*s.Confidence))
		}
		return text + "; the first thing to break: " + s.Broke
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
