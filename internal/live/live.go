// Package live shows a run while it goes on.
//
// On a terminal it draws a view in place, below what was printed before, and
// takes it away when the run ends; elsewhere it writes a line every few
// seconds. Both look at the run through one function that returns a
// [Snapshot], and know nothing else of it.
//
// How the parts fit: a trail (trail.go) remembers recent snapshots and turns
// them into rates and recent percentiles; a frame (frame.go) or a line
// (lines.go) is a pure function of the trail; screen.go and keyboard*.go own
// the terminal.
package live

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// The stages that have a name: Running is that in which load is made, and
// Waiting that before it, in which one of several workers waits for the others.
const (
	Running = "running"
	Waiting = "waiting for the other workers"
)

// Snapshot is the run at one moment. Counts are cumulative.
type Snapshot struct {
	// Elapsed counts from the start of the load; Total is how long the load is
	// meant to take, 0 if nobody knows.
	Elapsed, Total time.Duration
	// Stage is [Running], or what is done before and after in words:
	// "creating tenants 120/1000", "finishing", "cleaning up".
	Stage string
	// Phase is the phase's name, PhaseIndex its place from 0 among Phases.
	Phase              string
	PhaseIndex, Phases int

	// Users are at work; under open load, requests under way.
	Users, TargetUsers int
	// Open is nil under closed load.
	Open *Open

	Totals stats.Totals
	// Latency is of the measured requests so far; nil if there are none. It
	// must not change afterwards.
	Latency *stats.Latencies
	// Errors are most frequent first.
	Errors []stats.ErrorCount
	// Beat is when the loop that makes the load last went round, of several the one
	// for which that is longest ago; zero while none is expected to.
	Beat time.Time `json:",omitzero"`
	// CostLimitMicroUSD is what the run may spend, 0 if anything.
	CostLimitMicroUSD int64
	// Warnings are all so far, in order; each is printed once, and stays.
	Warnings []string
}

// Open is what there is to know of open load: the arrivals per second that are
// wanted at the moment, how many were due, and how many could not start.
type Open struct {
	Rate              float64
	Arrivals, Dropped uint64
}

// Options of [Run].
type Options struct {
	// Snapshot is called about twice a second, never concurrently.
	Snapshot func() Snapshot
	// Interrupt is called for every Ctrl-C that the view reads from In. It
	// must return: to stop hard, let it cancel Run's context, and exit when Run
	// has returned and the terminal is as it was. Nil ignores the key.
	//
	// Signals stay the caller's: SIGTERM, and SIGINT where the view does not
	// read the keyboard, must cancel the context in the end.
	Interrupt func()
	// Title names the run: the scenario.
	Title string

	// Out is where to show it. A terminal gets the view, all else lines.
	Out io.Writer
	// In is the terminal's keyboard, or nil to leave it alone.
	In *os.File
	// Plain asks for lines even on a terminal.
	Plain bool
	// Color allows escape sequences for colours.
	Color bool
	// Every is the time between lines, 0 for 5s.
	Every time.Duration
	// Log, if any, is told to keep its lines out of the view's way.
	Log *Log
}

const (
	// poll is how often a snapshot is taken.
	poll = 500 * time.Millisecond
	// recently is what rates and recent percentiles look back on.
	recently = 5 * time.Second
)

// Run shows the run until ctx is done, and leaves the terminal as it found
// it: line mode, echo, a visible cursor, and no trace of the view. The owner
// says go, cancels ctx and waits, in a defer, so that a panic of its own
// waits too; a panic in any other goroutine ends the process on the spot,
// and nothing in it can restore the terminal then.
//
// The error is that of Out or of the terminal; the run can go on without a view.
func Run(ctx context.Context, o Options) error {
	if out, ok := o.Out.(*os.File); ok && !o.Plain && usable(out, o.In) {
		return draw(ctx, out, o)
	}
	return writeLines(ctx, o)
}

// usable reports whether the view can be drawn on out: a terminal that knows
// escape sequences and is not, as after "loadtest run &", another job's.
func usable(out, in *os.File) bool {
	dumb := os.Getenv("TERM") == "dumb"
	return term.IsTerminal(out.Fd()) && !dumb && foreground(out) && (in == nil || !term.IsTerminal(in.Fd()) || foreground(in))
}
