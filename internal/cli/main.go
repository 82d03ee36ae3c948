package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Main is the program: it runs the command line of this process until it is done
// or a signal comes, and exits.
func Main(version string, more ...Extension) {
	// A reader who goes away (loadtest run … | head) or a terminal that closes
	// must not end a run whose tenants are still to be removed.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// The first signal ends the run in order; the second one ends the process.
	context.AfterFunc(ctx, stop)
	code := Run(ctx, version, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, more...)
	stop()
	os.Exit(code)
}
