package cli

import (
	"context"
	"errors"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

// The exit codes. A pipeline can tell a broken promise from a broken tool.
const (
	exitFine        = 0
	exitTool        = 1   // the tool could not do its work
	exitInput       = 2   // the scenario, a flag or a file is wrong
	exitThreshold   = 99  // a threshold was crossed; k6 uses the same number
	exitInterrupted = 130 // stopped by a signal, after clean-up
)

// usageError is a mistake in what the user gave us.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// verdictError ends a run that was carried out and did not pass. What it would
// say has been printed already.
type verdictError struct{ code int }

func (e verdictError) Error() string { return "the run did not pass" }

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var usage usageError
	var faults *config.Faults
	var verdict verdictError
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &verdict):
		return verdict.code
	case errors.As(err, &usage), errors.As(err, &faults):
		return exitInput
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitTool
	}
}
