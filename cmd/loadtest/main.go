// Command loadtest is a load tester for AI platforms with many tenants.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the run in order; the second one ends the process.
	context.AfterFunc(ctx, stop)
	code := cli.Run(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
