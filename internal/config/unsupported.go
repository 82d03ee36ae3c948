package config

import "strings"

// Unsupported is a field that the file sets and that has no effect yet.
type Unsupported struct {
	Path     string // such as spec.testTypes
	Sentence string // what happens instead
}

// unsupported is the list of what is accepted and does nothing yet. A row
// goes when its feature comes. when says whether the file asks for more than
// there is; nil means that giving the field at all does.
var unsupported = []struct {
	path     string
	sentence string
	when     func(*Spec) bool
}{
	{"spec.targets.budgetServiceUrl", "budgets are set through userOrgUrl: no calls of a budget service are known, and the platform's router makes none to it either", nil},
	{"spec.metrics.capture", "all metrics are exported", nil},
}

// Unsupported returns what the file asks for and does not get yet, in the
// order of the format.
func (s *Scenario) Unsupported() []Unsupported {
	var out []Unsupported
	for _, u := range unsupported {
		if s.gave(u.path) && (u.when == nil || u.when(&s.Spec)) {
			out = append(out, Unsupported{u.path, u.sentence})
		}
	}
	return out
}

// gave reports whether the file gave a field or anything in it.
func (s *Scenario) gave(path string) bool {
	if s.set[path] {
		return true
	}
	for p := range s.set {
		if rest, inside := strings.CutPrefix(p, path); inside && strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[") && inside {
			return true
		}
	}
	return false
}
