package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// The environment variables from which clean-up takes what opens the User/Org
// API, where no scenario says it.
const (
	adminKeyEnv      = "LOADTEST_ADMIN_API_KEY" //nolint:gosec // a name, not a secret
	adminEmailEnv    = "LOADTEST_ADMIN_EMAIL"
	adminPasswordEnv = "LOADTEST_ADMIN_PASSWORD" //nolint:gosec // a name, not a secret
)

func cleanupCommand() *cobra.Command {
	var run, output, scenario string
	plan := planFlags{}
	cmd := &cobra.Command{
		Use:   "cleanup --run ID",
		Short: "Remove what a run left on the platform",
		Long: `Cleanup finishes the work of a run that was killed: it reads the run's ledger and
removes the organizations, users and keys that still exist. Doing it twice is
no error.

The credentials of the User/Org API come from the run's scenario (--config), or
from the environment: ` + adminKeyEnv + `, or ` + adminEmailEnv + ` and
` + adminPasswordEnv + `.`,
		Example: `  loadtest cleanup --run 20261123-101500-4f2a --config scenario.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if run == "" {
				return usageError{errors.New("which run? say --run ID; the IDs are the folders in " + output)}
			}
			if plan.use {
				return plan.clean(cmd, scenario, run, output)
			}
			ledgers, err := findLedgers(output, run)
			if err != nil {
				return err
			}
			conn, admin := platform.Connection{}, adminFromEnv()
			if scenario != "" {
				s, _, err := loadScenario(scenario, cmd.InOrStdin())
				if err != nil {
					return err
				}
				if conn, admin, err = worker.UserOrg(s); err != nil {
					return usageError{err}
				}
				if admin == (platform.Admin{}) {
					admin = adminFromEnv()
				}
			}
			var errs []error
			for _, path := range ledgers {
				errs = append(errs, cleanLedger(cmd, path, conn, admin))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "ID of the run")
	cmd.Flags().StringVar(&output, "output-dir", defaultOutput, "folder in which the run has its folder")
	cmd.Flags().StringVar(&scenario, "config", "", "the run's scenario, for the address and credentials of the User/Org API")
	plan.add(cmd)
	return cmd
}

// planFlags say what a run planned, for the clean-up of what is in no ledger: a
// pod that was killed took its own along.
type planFlags struct {
	use     bool
	secrets string
	seed    uint64
	started moment
	workers int
}

func (p *planFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&p.use, "by-plan", false, "remove what the plan of the run names, instead of what ledgers do")
	f.Uint64Var(&p.seed, "seed", 0, "the run's seed")
	f.Var(&p.started, "started", "when the run began, for names with {timestamp}")
	f.IntVar(&p.workers, "workers", 1, "how many workers there were")
	f.StringVar(&p.secrets, "secrets", secretsFolder, "`FOLDER` of secrets, a file each")
	for _, name := range []string{"by-plan", "seed", "started", "workers", "secrets"} {
		_ = f.MarkHidden(name) // it exists; loadtest cleanup --namespace says them
	}
}

// clean removes what the plan names and the platform still has.
func (p *planFlags) clean(cmd *cobra.Command, scenario, run, output string) error {
	s, _, err := planned(scenario, p.secrets, p.seed)
	if err != nil {
		return usageError{err}
	}
	if s.Spec.Targets.Credentials != nil {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "the users of run %s brought their own keys: there is nothing to remove\n", run)
		return err
	}
	book, err := worker.PlanLedger(worker.Options{Scenario: s, RunID: run, Begun: p.started.Time, Folder: output, Workers: p.workers})
	if err != nil {
		return err
	}
	path := book.Path()
	if err := book.Close(); err != nil {
		return fmt.Errorf("write down what is to be removed: %w", err)
	}
	conn, admin, err := worker.UserOrg(s)
	if err != nil {
		return usageError{err}
	}
	return cleanLedger(cmd, path, conn, admin)
}

func adminFromEnv() platform.Admin {
	return platform.Admin{
		Key:   secret.New(os.Getenv(adminKeyEnv)),
		Email: os.Getenv(adminEmailEnv), Password: secret.New(os.Getenv(adminPasswordEnv)),
	}
}

// findLedgers returns the ledgers of a run, one a worker.
func findLedgers(output, run string) ([]string, error) {
	if run != filepath.Base(run) || run == ".." {
		return nil, usageError{fmt.Errorf("%q is not the ID of a run", run)}
	}
	folder := filepath.Join(output, run)
	ledgers, err := fs.Glob(os.DirFS(folder), "ledger*.jsonl")
	if err != nil || len(ledgers) == 0 {
		return nil, usageError{fmt.Errorf("there is no ledger of run %s in %s: say --output-dir if the run used another folder; a run with keys of its own has none, and nothing to remove", run, output)}
	}
	for i, name := range ledgers {
		ledgers[i] = filepath.Join(folder, name)
	}
	return ledgers, nil
}

// nameCleanup has the platform's logs and traces tell whose clean-up it was.
func nameCleanup(tenancy *platform.Tenancy, head ledger.Header) {
	ratio, _ := traceRatio(os.Getenv) // of a wrong one the run has warned
	tenancy.Name(platform.Naming{Prefix: fmt.Sprintf("%s-cleanup-%d-", head.RunID, head.Worker), Ratio: ratio})
}

func cleanLedger(cmd *cobra.Command, path string, conn platform.Connection, admin platform.Admin) error {
	out := cmd.OutOrStdout()
	release, err := ledger.Claim(path)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = release() }() // nothing was written by it
	book, err := ledger.Open(path)
	switch {
	case errors.Is(err, ledger.ErrEmpty):
		_, err := fmt.Fprintf(out, "%s ends before anything was created: nothing was left behind\n", path)
		return err
	case err != nil:
		return usageError{err}
	}
	defer func() { _ = book.Close() }() // everything in it is synced
	head := book.Header()
	outstanding := ledger.Count(book.Outstanding())
	switch {
	case outstanding == 0:
		_, err := fmt.Fprintf(out, "run %s left nothing behind\n", head.RunID)
		return err
	case head.Embedded:
		_, err := fmt.Fprintf(out, "run %s used the embedded platform, which is gone, and its tenants with it\n", head.RunID)
		return err
	}
	if conn.BaseURL == "" {
		conn.BaseURL = head.UserOrgURL
	}
	tenancy, err := platform.NewTenancy(conn, admin)
	if err != nil {
		return usageError{fmt.Errorf("%w: give the run's scenario with --config, or set %s, or %s and %s", err, adminKeyEnv, adminEmailEnv, adminPasswordEnv)}
	}
	nameCleanup(tenancy, head)
	defer func() { _ = tenancy.Close(context.WithoutCancel(cmd.Context())) }() // a token more or less; it expires
	faults := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(cmd.ErrOrStderr()), zap.ErrorLevel))
	report := worker.RemoveTenants(cmd.Context(), tenancy, book, faults)
	_, _ = fmt.Fprintf(out, "run %s: removed %s, %s and %s in %s\n", head.RunID,
		human.Plural(report.DeletedOrgs, "organization"), human.Plural(report.DeletedUsers, "user"),
		human.Plural(report.DeletedKeys+report.RevokedKeys, "key"), human.Duration(report.Duration))
	if report.Suspended > 0 {
		_, _ = fmt.Fprintf(out, "suspended %d users and organizations, which this platform cannot delete\n", report.Suspended)
	}
	for _, note := range report.Notes {
		_, _ = fmt.Fprintf(out, "  %s\n", note)
	}
	switch {
	case report.Status == "done":
	case report.Remaining == 0:
		return fmt.Errorf("everything is removed from %s, but that could not be written into the ledger %s", conn.BaseURL, path)
	case cmd.Context().Err() != nil:
		return fmt.Errorf("%w: %d things remain on %s; say it again to go on", context.Canceled, report.Remaining, conn.BaseURL)
	default:
		return fmt.Errorf("%d things remain on %s: mend the cause and say it again", report.Remaining, conn.BaseURL)
	}
	return nil
}
