// Command loadtest is a load tester for AI platforms with many tenants.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli/cluster"
)

// version is set by the build.
var version = "dev"

func main() {
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
	code := cli.Run(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cluster.Commands)
	stop()
	os.Exit(code)
}
