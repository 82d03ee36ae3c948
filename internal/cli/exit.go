package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
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

// Usage marks err as a mistake in what the user gave.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Outcome is how a program ends that has carried out a run, or seen one end: by
// the document's verdict, if its results are kept where they should be. kept is
// why they are not, err why a broken run broke, cleanup what to type if tenants
// are left.
func Outcome(b *export.Bundle, kept, err error, cleanup string) error {
	return gravest(kept, outcome(b, err, cleanup))
}

// gravest joins why results were not kept and how the run ended. Results that are
// lost are graver than a verdict, which the summary tells.
func gravest(kept, end error) error {
	if verdict := (verdictError{}); kept != nil && errors.As(end, &verdict) {
		return kept
	}
	return errors.Join(kept, end)
}

// ErrDetached ends a program that was only looking on.
var ErrDetached = fmt.Errorf("detached: %w", context.Canceled)

// ReadScenario reads a file, or standard input if it is called "-".
func ReadScenario(stdin io.Reader, path string) ([]byte, error) { return readScenario(stdin, path) }

// AdminFromEnv is what the environment has to open the User/Org API with.
func AdminFromEnv() platform.Admin { return adminFromEnv() }

// Administrator sees to it that something opens the User/Org API, if tenants are
// to be created: what the scenario says, else env.
func Administrator(t *config.Targets, env platform.Admin) error { return administrator(t, env) }

// Tool describes this program in documents.
func Tool(version string) export.Tool { return tool(version) }

// NewRunID makes up the name of a run.
func NewRunID(now time.Time) string { return now.UTC().Format("20060102-150405") + "-" + randomHex(2) }

// NewSeed makes up a seed.
func NewSeed() uint64 { return randomSeed() }

// NewToken makes up a secret that nobody guesses.
func NewToken() secret.String { return secret.New(randomHex(32)) }

// Summary prints what a document says, and which files are about it.
func Summary(w io.Writer, b *export.Bundle, files []string, cleanup string) error {
	return report.Terminal(w, b, report.TerminalOptions{
		Width: columns(w), Color: colored(w), CostLimitMicroUSD: b.Run.CostLimitMicroUSD, Files: files, CleanupCommand: cleanup,
	})
}

// Colored reports whether w is a terminal that wants colours.
func Colored(w io.Writer) bool { return colored(w) }

// The folder in which runs have theirs, and the files in those.
const (
	DefaultOutput = defaultOutput
	ResultFile    = resultFile
	ReportFile    = reportFile
	ScenarioFile  = scenarioFile
)
