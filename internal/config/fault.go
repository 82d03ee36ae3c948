package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults is how many faults of one file are reported.
const maxFaults = 100

// Fault is one mistake in a scenario.
type Fault struct {
	File   string
	Line   int    // from 1; 0 if the fault is about the whole file
	Column int    // from 1, in characters
	Path   string // the field, such as spec.users.perOrg.min; may be empty
	// Message says what is wrong and what was expected.
	Message string
	// Hint is what to write instead; may be empty.
	Hint string
	// Source is the offending line, its secrets masked and shortened if it is
	// long. Caret is the character of it that Column is about, from 1.
	Source string
	Caret  int
}

// String renders the fault in the manner of a compiler, over several lines.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString("; ")
		b.WriteString(f.Hint)
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", f.Line, f.Source, strings.Repeat(" ", max(0, f.Caret-1)))
	}
	return b.String()
}

// Faults are all mistakes of one file, in its order. It is the error that
// [Parse] and [Load] return for a file that could be read and is wrong.
type Faults struct {
	List []Fault
	// More is how many further faults there are beyond those in List.
	More int
}

// Error implements error: the number of faults, then each with its line.
func (f *Faults) Error() string {
	var b strings.Builder
	total := len(f.List) + f.More
	what := "faults"
	if total == 1 {
		what = "fault"
	}
	if len(f.List) > 0 {
		fmt.Fprintf(&b, "%d %s in %s", total, what, f.List[0].File)
	}
	for _, fault := range f.List {
		b.WriteString("\n\n")
		b.WriteString(fault.String())
	}
	if f.More > 0 {
		fmt.Fprintf(&b, "\n\nand %d more", f.More)
	}
	return b.String()
}

func (f *Faults) add(fault Fault) {
	if len(f.List) >= maxFaults {
		f.More++
		return
	}
	f.List = append(f.List, fault)
}

// err returns the faults in the order of the file, or nil if there are none.
func (f *Faults) err() error {
	if len(f.List) == 0 {
		return nil
	}
	slices.SortStableFunc(f.List, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return f
}
