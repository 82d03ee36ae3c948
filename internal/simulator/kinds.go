package simulator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Type is one kind of request among several. What it leaves out is as the
// script says.
type Type struct {
	// Name labels the records.
	Name string
	// Weight is its share of the requests: its weight over the sum of all.
	Weight float64
	// Source makes its questions.
	Source questions.Source
	// Endpoint is asked.
	Endpoint platform.Endpoint
	// Models and Targets replace the script's, both of them, if there are any.
	Models  []Model
	Targets []Target
	// Salt is sent in place of the script's, if it has a strategy.
	Salt Salt
	// StreamingRatio replaces the script's unless it is nil.
	StreamingRatio *float64
	// Single has no conversations, in which every turn would find the ones
	// before it in the prefix cache.
	Single bool
	// Interaction makes the requests, in place of all above but Name, Weight
	// and Endpoint. Models are then those that it is known to ask.
	Interaction Interaction
}

// Interaction makes requests of its own.
type Interaction interface {
	// Begin starts a conversation of one user; rng is the user's.
	Begin(who Identity, rng *rand.Rand) Dialog
}

// Dialog is one conversation.
type Dialog interface {
	// Turns is how many requests it has, at least 1.
	Turns() int
	// Request makes the next: its Body, Model and Stream. Its ID is set.
	Request(req *platform.Request)
	// Judge judges the answer to it; see [Call].
	Judge(x *platform.Exchange, took time.Duration, err error) ([]record.Check, []record.Value, error)
}

// Selection says which type is next.
type Selection string

// The selections.
const (
	ByWeight   Selection = ""            // each as often as its weight says, evenly
	RoundRobin Selection = "round_robin" // one after the other, whatever the weights
	PerUser    Selection = "per_user"    // each user keeps to one, by weight
)

// Target sends some questions to models of their own.
type Target struct {
	Fits   func(q questions.Question) bool // nil: every question does
	Models []Model
}

// variety is a type with everything that it took from the script.
type variety struct {
	Type
	share float64 // of the conversations: from the last kind's share up to this
}

// check reports what makes a type unusable.
func (t *Type) check(s *Script) error {
	var errs []error
	if !(t.Weight >= 0) {
		errs = append(errs, fmt.Errorf("the weight %v is not a number from 0 up", t.Weight))
	}
	if r := t.StreamingRatio; r != nil && !(*r >= 0 && *r <= 1) {
		errs = append(errs, fmt.Errorf("the share of streams, %v, is not between 0 and 1", *r))
	}
	if t.Interaction != nil {
		return errors.Join(append(errs, checkEndpoint(t.Endpoint))...)
	}
	if t.Source == nil && s.Source == nil {
		errs = append(errs, errors.New("it has no source of questions"))
	}
	errs = append(errs, checkEndpoint(t.Endpoint), t.Salt.check())
	if len(t.Models)+len(t.Targets) > 0 {
		errs = append(errs, checkModels(t.Models, t.Targets))
	}
	if len(t.Models) == 0 && len(s.Models) == 0 {
		errs = append(errs, errors.New("it has no model for questions that fit no target"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the type %q: %w", t.Name, err)
	}
	return nil
}

// kinds settles the types of a script, or makes one of a script without any.
func (s *Script) kinds() []variety {
	types := s.Types
	if len(types) == 0 {
		types = []Type{{Name: s.TestType, Weight: 1}}
	}
	var out []variety
	sum := 0.0
	for _, t := range types {
		if t.Weight == 0 {
			continue
		}
		if t.Source == nil {
			t.Source = s.Source
		}
		if t.Endpoint == "" {
			t.Endpoint = s.Endpoint
		}
		if t.Endpoint == "" {
			t.Endpoint = platform.Chat
		}
		if t.Interaction == nil {
			if len(t.Models)+len(t.Targets) == 0 {
				t.Targets = s.Targets
			}
			if len(t.Models) == 0 {
				t.Models = s.Models
			}
		}
		if t.Salt.Strategy == NoSalt {
			t.Salt = s.Salt
		}
		if t.StreamingRatio == nil {
			t.StreamingRatio = &s.StreamingRatio
		}
		// The shares are of requests, the draw is between conversations: a kind
		// that has long ones is drawn less often.
		turns := 1.0
		if t.Interaction == nil && !t.Single && t.Endpoint == platform.Chat && s.MultiTurn > 0 {
			turns = 1 + s.MultiTurn*(float64(s.Turns.Min+s.Turns.Max)/2-1)
		}
		sum += t.Weight / turns
		out = append(out, variety{Type: t, share: sum})
	}
	for i := range out {
		out[i].share /= sum
	}
	return out
}

// EndpointModel is an endpoint and a model, if the endpoint has models.
type EndpointModel struct {
	Endpoint platform.Endpoint
	Model    string
}

// Generates reports whether the endpoint generates text, which can be streamed.
func (e EndpointModel) Generates() bool { return e.Endpoint.Generates() }

// Calls are the endpoints and models that users of the script may ask, each
// once, those that generate text first; if none is known before, a chat with
// the first model. The script must be usable.
func (s *Script) Calls() []EndpointModel {
	var out []EndpointModel
	for _, v := range s.kinds() {
		if v.Endpoint.Manages() {
			continue // no request of the router
		}
		if v.Endpoint == platform.ModelList {
			out = append(out, EndpointModel{Endpoint: v.Endpoint})
			continue
		}
		lists, all := [][]Model{}, false
		for _, t := range v.Targets {
			lists, all = append(lists, t.Models), all || t.Fits == nil
		}
		if !all {
			lists = append(lists, v.Models)
		}
		for _, m := range slices.Concat(lists...) {
			if call := (EndpointModel{v.Endpoint, m.Name}); m.Weight > 0 && !slices.Contains(out, call) {
				out = append(out, call)
			}
		}
	}
	if len(out) == 0 {
		out = []EndpointModel{{platform.Chat, s.Models[0].Name}}
	}
	slices.SortStableFunc(out, func(a, b EndpointModel) int {
		switch {
		case a.Generates() == b.Generates():
			return 0
		case a.Generates():
			return -1
		default:
			return 1
		}
	})
	return out
}

// Streams reports whether any request asks for a stream.
func (s *Script) Streams() bool {
	return slices.ContainsFunc(s.kinds(), func(v variety) bool { return *v.StreamingRatio > 0 })
}

// golden is the golden ratio's fractional part.
const golden = 0.6180339887498949

// turnstile decides which kind comes next. Each kind comes as often as its
// weight says, and evenly so: the positions are a random point moved on by the
// golden ratio each time, which covers the line with less clumping than any
// other sequence of its sort (an additive recurrence, after Weyl), so that short
// runs have their shares too.
type turnstile struct {
	kinds     []variety
	selection Selection
	user      int
	at        float64
}

// begin starts anew. A script with one kind of request draws nothing.
func (t *turnstile) begin(rng *rand.Rand) {
	switch {
	case t.selection == PerUser:
		_, t.at = math.Modf(golden * float64(t.user))
	case t.selection == RoundRobin:
		t.at = float64(t.user % len(t.kinds))
	case len(t.kinds) > 1:
		t.at = rng.Float64()
	}
}

func (t *turnstile) next() *variety {
	switch t.selection {
	case PerUser:
	case RoundRobin:
		t.at++
		return &t.kinds[int(t.at)%len(t.kinds)]
	case ByWeight:
		if t.at += golden; t.at >= 1 {
			t.at--
		}
	}
	return t.here()
}

// plastic is the first of the two steps that cover a square as the golden
// ratio's covers a line: it keeps users apart whose steps are alike.
const plastic = 0.7548776662466927

// nth is the kind of a user's n-th conversation where they do not follow one
// another.
func (t *turnstile) nth(n int) *variety {
	switch t.selection {
	case PerUser:
		_, t.at = math.Modf(golden * float64(t.user))
	case RoundRobin:
		return &t.kinds[(t.user+n)%len(t.kinds)]
	case ByWeight:
		_, t.at = math.Modf(plastic*float64(t.user) + golden*float64(n))
	}
	return t.here()
}

func (t *turnstile) here() *variety {
	last := len(t.kinds) - 1
	for i := range t.kinds[:last] {
		if t.at < t.kinds[i].share {
			return &t.kinds[i]
		}
	}
	return &t.kinds[last]
}

// model chooses a model for a question.
func (k *variety) model(q questions.Question, rng *rand.Rand) string {
	models := k.Models
	for _, t := range k.Targets {
		if t.Fits == nil || t.Fits(q) {
			models = t.Models
			break
		}
	}
	return ChooseModel(models, rng)
}

// ChooseModel draws one of the models by weight, with one number of the
// generator; of no models it is "".
func ChooseModel(models []Model, rng *rand.Rand) string {
	sum := 0.0
	for _, m := range models {
		sum += m.Weight
	}
	x, chosen := rng.Float64()*sum, ""
	for _, m := range models {
		if m.Weight == 0 {
			continue
		}
		chosen = m.Name
		if x -= m.Weight; x < 0 {
			break
		}
	}
	return chosen
}
