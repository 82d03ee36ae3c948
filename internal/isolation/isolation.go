// Package isolation judges whether a platform keeps its tenants apart, and
// those out whose keys were withdrawn.
//
// It is pure: what was observed in, a verdict with its evidence out. It is
// made so that a sound platform is not accused: whoever is to be found guilty
// has failed a control that sound platforms pass, and what cannot be decided
// is called so. docs/load-testing/isolation.md gives the methods.
package isolation

// Verdict is the answer in one word.
type Verdict string

// The verdicts.
const (
	Leak      Verdict = "leak"       // one tenant was served from what another had put there
	NoLeak    Verdict = "no leak"    // it was looked for, could have been seen, and was not there
	Harmed    Verdict = "harmed"     // others wait longer because one organization sends much
	NotHarmed Verdict = "not harmed" // it sent much, and others did not wait much longer
	Outlived  Verdict = "outlived"   // a key was accepted later than it should
	InTime    Verdict = "in time"    // every key stopped working as soon as it should
	Violated  Verdict = "violated"   // a promise to tenants was broken
	Held      Verdict = "held"       // it was put to the test, and kept
	Undecided Verdict = "undecided"  // it could not have been seen
)

// Bad reports whether a verdict speaks against the platform.
func (v Verdict) Bad() bool { return v == Leak || v == Harmed || v == Outlived || v == Violated }

// Good reports whether a verdict speaks for the platform.
func (v Verdict) Good() bool { return v == NoLeak || v == NotHarmed || v == InTime || v == Held }
