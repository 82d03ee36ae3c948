//go:build linux

// Command up runs a test cluster until it is interrupted, for work on tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/otherjamesbrown/ai-aas/tests/load/test/e2e/cluster"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := cluster.Start(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\nthis machine is %s for pods; logs are in %s\n", c.Kubeconfig, c.Host, c.Logs)
	for _, archive := range os.Args[1:] {
		if err := c.Import(ctx, archive); err != nil {
			return errors.Join(err, c.Stop())
		}
	}
	<-ctx.Done()
	return c.Stop()
}
