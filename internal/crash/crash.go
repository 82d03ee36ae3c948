// Package crash makes errors of panics, so that a fault of this tool in one of
// many goroutines ends a run in order: what was measured is kept, and the
// tenants are removed.
package crash

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Error is a panic.
type Error struct {
	Who   string // who crashed, such as "a simulated user"
	Value any    // of the panic
	Stack []byte // of its goroutine
}

// Error implements error, in one line and without the stack.
func (e *Error) Error() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s crashed, which is a fault of this tool: %v", e.Who, e.Value)), " ")
}

// Guard calls f and returns its error, or an [*Error] if it panics.
func Guard(who string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{Who: who, Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}
