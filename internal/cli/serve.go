package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
)

// showFlags are those of the server.
func (r *localRun) showFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.listen, "listen", "", "`address` of an HTTP server about the run, host:port; without a host this machine alone, or all of a pod's addresses")
	cmd.Flags().BoolVar(&r.profiles, "pprof", false, "serve profiles there too, under /debug/pprof/")
}

// serve starts the server about the run, if one is wanted. metered is what is
// scraped there.
func (r *localRun) serve(ctx context.Context, status func() server.Status, age func() (time.Duration, bool), metered prometheus.Gatherer) error {
	if r.listen == "" {
		if r.profiles {
			return errors.New("--pprof needs --listen, which says where")
		}
		return nil
	}
	pages := server.New(server.Options{
		Status: status, Age: age,
		Profiles: r.profiles, Token: secret.New(os.Getenv(server.TokenEnv)),
	})
	r.scraped = metrics.NewPage(metered)
	pages.Handle("GET /metrics", r.scraped)
	var err error
	r.server, err = server.Start(ctx, r.listen, pages)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	r.say("the run shows itself at %s/status and /metrics\n", r.server.URL())
	return nil
}
