// Command load-test-orchestrator has those commands of loadtest that speak to a
// Kubernetes cluster, and no others.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process
	code := cli.Run(ctx, version, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cluster.Only)
	stop()
	os.Exit(code)
}
