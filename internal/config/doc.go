// Package config reads scenario files.
//
// A scenario is YAML in the style of a Kubernetes resource, written by people
// in two dialects that grew up around the format. [Parse] turns either into
// one [Scenario] in which no trace of the dialect is left, with every default
// filled in, durations as time.Duration, money as whole micro-dollars and
// secrets as secret.String. Nothing downstream knows that there are dialects.
//
// # Where things are
//
// The Go types in scenario.go and testscenario.go are the format: the struct
// tags say how a field is spelled, in which other ways it may be spelled, what
// it may hold, what it is by default and what it means. Everything else is
// derived from them:
//
//	decode.go       a strict decoder over the YAML node tree, one pass
//	fill.go         defaults for what the file left out
//	check.go        what involves more than one field
//	explain.go      the effective scenario as commented YAML
//	schema.go       JSON Schema, for editors
//	unsupported.go  what is accepted and does not do anything yet
//
// # Faults
//
// Decoding goes on after a fault, so that [Faults] holds all of a file's, each
// with its position, the line, what was expected, and the nearest name that
// would have been right. A line is printed with its secrets masked, and a
// value that came from the environment is never printed at all.
package config
