package config

import (
	"fmt"
	"strings"
)

// expansion is a scalar after ${…} has been replaced.
type expansion struct {
	text string
	// names are the variables that were used. A value with any is not printed.
	names []string
}

// variableError is a ${…} that cannot be replaced.
type variableError struct {
	offset  int // of the $, in bytes of the scalar's value
	message string
	hint    string
}

// expand replaces ${NAME} and ${NAME:-default} in s; $${ stands for ${.
// A variable that is set and empty counts as unset where there is a default.
func expand(s string, getenv func(string) (string, bool)) (expansion, *variableError) {
	if !strings.Contains(s, "${") {
		return expansion{text: s}, nil
	}
	var out strings.Builder
	var names []string
	for rest := s; ; {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.WriteString(rest)
			return expansion{out.String(), names}, nil
		}
		offset := len(s) - len(rest) + i
		if i > 0 && rest[i-1] == '$' {
			out.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		out.WriteString(rest[:i])
		body, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed {
			return expansion{}, &variableError{offset, "this ${ is never closed", "write ${NAME} or ${NAME:-default}, or $${ for the characters themselves"}
		}
		name, fallback, hasFallback := strings.Cut(body, ":-")
		if !isVariable(name) {
			return expansion{}, &variableError{offset, "malformed ${…}: between the braces there must be the name of an environment variable", "write ${NAME} or ${NAME:-default}, or $${ for the characters themselves"}
		}
		value, set := getenv(name)
		if hasFallback && value == "" {
			value, set = fallback, true
		}
		if !set {
			return expansion{}, &variableError{offset, fmt.Sprintf("the environment variable %s is not set", name), fmt.Sprintf("set it, or write a default: ${%s:-…}", name)}
		}
		names = append(names, name)
		out.WriteString(value)
		rest = after
	}
}

func isVariable(name string) bool {
	if name == "" || len(name) > 256 || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}
