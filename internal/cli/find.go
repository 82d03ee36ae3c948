package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// leastStep keeps a step from being shorter than an answer.
const leastStep = 100 * time.Millisecond

func findCommand(version string) *cobra.Command {
	r := &localRun{version: version}
	cmd := &cobra.Command{
		Use:   "find SCENARIO",
		Short: "Find the most load under which the platform keeps its promises",
		Long: `Find raises the load of a scenario in steps until one of the promises under
spec.slo breaks, makes more steps where the limit seems to lie until it is known
well, and reports it with a 95% interval, and what broke first.

The scenario says the most that is tried: all of its users, or under open load
its arrival.rate. The first step is 1/64 of that, or 10 arrivals in a step if
that is more, and each is twice the one before.
The phases of the scenario are not used. A step has a warm-up of a quarter of
--step, is measured for --step, and ends when all is answered. Limits on cost,
requests and duration hold over the whole search. The tenants are created once.

Exit code 0 means that a limit was found, or none up to the most that was tried.`,
		Example: `  loadtest find configs/examples/find.yaml --step 2s`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.step < leastStep {
				return usageError{errors.New("--step must be at least " + leastStep.String())}
			}
			r.in, r.out, r.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return r.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&r.output, "output-dir", defaultOutput, "folder in which the search gets a folder of its own")
	r.showFlags(cmd)
	cmd.Flags().DurationVar(&r.step, "step", 30*time.Second, "how long each load is measured")
	return cmd
}
