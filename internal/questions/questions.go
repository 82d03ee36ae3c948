// Package questions makes up what simulated users ask.
//
// A question is a template filled from word lists and number ranges: a body,
// which belongs to a strategy, and a closing that says how the answer should
// look. The lists hold real people, events, places and technologies, so that
// a language model has something to say, and they are long enough that a
// hundred thousand questions hardly repeat (see the laws in the tests).
//
// Everything random comes from the caller's generator and nothing else, and
// only whole numbers are drawn, so that one seed gives the same text on every
// machine. [Seed] makes the generator of one user's loop.
package questions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The built-in strategies.
const (
	Historical   = "historical"
	Mathematical = "mathematical"
	Geographical = "geographical"
	Hypothetical = "hypothetical"
	Technical    = "technical"
	// Mixed is each of the others equally often; its questions carry the name
	// of the one that was used.
	Mixed = "mixed"
)

// Question is one question.
type Question struct {
	Text string
	// Strategy is the one that made it; never Mixed.
	Strategy string
	// Complex marks questions that ask for reasoning rather than for a fact.
	Complex bool

	topic string // what a follow-up can refer to; may be empty
}

// Source makes questions. It is safe for use by many users at once, as all
// that changes is in the generator.
type Source interface {
	Next(rng *rand.Rand) Question
}

// Weight gives a strategy its share of the questions: its weight over the sum of all.
type Weight struct {
	Strategy string // one of the constants, or the name of a Template
	Weight   float64
}

// Template is a strategy of the user's own: a text in which {name} stands for
// one of the values of a variable, {2..9} for a whole number in that range,
// and {10..90/10} for one in steps of ten. The same name has the same value
// throughout a text; {name2}, {name3} … are further values of the same
// variable, all different. A variable that is not given may be one of the
// built-in word lists, such as city, person or store; see [Lists].
// A brace is written twice.
type Template struct {
	// Name is the strategy's. Templates of the same name take turns at random;
	// the name of a built-in strategy replaces it.
	Name      string
	Text      string
	Variables map[string][]string
	Complex   bool
}

// Mix is the standard [Source]: strategies by weight.
type Mix struct {
	strategies []*compiled
	upTo       []float64 // running sum of the weights
}

var _ Source = (*Mix)(nil)

// New returns a source of the given strategies, or of Mixed if there are
// none. It reports every unknown strategy and every fault in a template.
func New(weights []Weight, templates ...Template) (*Mix, error) {
	own, faults := compileTemplates(templates)
	if len(weights) == 0 {
		weights = []Weight{{Strategy: Mixed, Weight: 1}}
	}
	m := &Mix{}
	sum := 0.0
	add := func(s *compiled, weight float64) {
		sum += weight
		m.strategies = append(m.strategies, s)
		m.upTo = append(m.upTo, sum)
	}
	for _, w := range weights {
		// The negation also catches NaN.
		if !(w.Weight >= 0) {
			faults = append(faults, fmt.Sprintf("the weight %v of strategy %q is not a number from 0 up", w.Weight, w.Strategy))
			continue
		}
		switch {
		case w.Weight == 0:
		case own[w.Strategy] != nil:
			add(own[w.Strategy], w.Weight)
		case w.Strategy == Mixed:
			for _, name := range names {
				add(standard()[name], w.Weight/float64(len(names)))
			}
		case standard()[w.Strategy] != nil:
			add(standard()[w.Strategy], w.Weight)
		default:
			known := slices.Concat(names, []string{Mixed})
			for _, t := range templates {
				known = append(known, t.Name)
			}
			faults = append(faults, fmt.Sprintf("the strategy %q is unknown: use one of %s", w.Strategy, strings.Join(known, ", ")))
		}
	}
	if len(faults) == 0 && sum == 0 {
		faults = append(faults, "the weights of the question strategies sum to zero: give at least one of them a positive weight")
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("questions: %s", strings.Join(faults, "; "))
	}
	return m, nil
}

// Next implements [Source]. It allocates the text and nothing else.
func (m *Mix) Next(rng *rand.Rand) Question {
	i := 0
	if n := len(m.upTo); n > 1 {
		x := rng.Float64() * m.upTo[n-1]
		for i < n-1 && x >= m.upTo[i] {
			i++
		}
	}
	return m.strategies[i].next(rng)
}

// FollowUp returns a question that continues a conversation after previous.
// It refers to what previous was about, and is as complex.
func FollowUp(rng *rand.Rand, previous Question) Question {
	bodies := continuations().withTopic
	if previous.topic == "" {
		bodies = continuations().without
	}
	var buf [bufferSize]byte
	text, _ := bodies[rng.IntN(len(bodies))].fill(buf[:0], rng, previous.topic)
	previous.Text = string(text)
	return previous
}

// Seed returns the generator of one user's loop. Its parts are mixed well, so
// that neighbouring users and loops have nothing in common.
func Seed(run uint64, org, user, loop int) *rand.Rand {
	a := mix(run)
	for _, part := range [...]int{org, user, loop} {
		a = mix(a ^ uint64(part))
	}
	return rand.New(rand.NewPCG(a, mix(a)))
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood 2014): a
// bijection in which every bit depends on every other.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Lists names the built-in word lists, sorted.
func Lists() []string {
	out := make([]string, 0, len(lists))
	for name := range lists {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
