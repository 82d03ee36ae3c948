// Package cli is the command line: it reads flags and files, wires the
// packages together and turns what happened into an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Streams are where the command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Extension adds commands of a higher layer to the program's.
type Extension func(root *cobra.Command, version string)

// Run executes the command line args (without the program's name) and returns
// the exit code. version is what `loadtest version` prints.
func Run(ctx context.Context, version string, args []string, io Streams, more ...Extension) int {
	root := rootCommand(version, more...)
	root.SetArgs(args)
	root.SetIn(io.In)
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	err := root.ExecuteContext(ctx)
	var verdict verdictError
	if err != nil && !errors.As(err, &verdict) {
		_, _ = fmt.Fprintf(io.Err, "loadtest: %v\n", err)
	}
	return exitCode(err)
}

func rootCommand(version string, more ...Extension) *cobra.Command {
	root := &cobra.Command{
		Use:   "loadtest",
		Short: "Load tests for AI platforms with many tenants",
		Long: `loadtest creates organizations, users and API keys on an AI platform, lets the
users ask questions the way people do, measures every answer, removes what it
created, and says whether the platform kept its promises.

  loadtest run scenario.yaml        the main job; without targets, against an embedded platform
  loadtest find scenario.yaml       the most load under which it does
  loadtest scenario init            a scenario to start from`,
		SuggestionsMinimumDistance: 2,

		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				hint := "see loadtest --help"
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					hint = "did you mean " + strings.Join(near, " or ") + "?"
				}
				return usageError{fmt.Errorf("there is no command %q; %s", args[0], hint)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetUsageTemplate(root.UsageTemplate() + `
Exit codes: 0 fine · 1 the tool failed · 2 bad input · 99 a threshold was crossed · 130 interrupted
`)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(runCommand(version), findCommand(version), workerCommand(version), podCommand(version), cleanupCommand(), reportCommand(), scenarioCommand(), platformCommand(), versionCommand(version))
	for _, extend := range more {
		extend(root, version)
	}
	for _, c := range root.Commands() {
		usageArgs(c)
	}
	return root
}

// usageArgs makes every complaint about arguments a usage error that says how
// the command is used.
func usageArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w; usage: %s, and see %s --help", err, cmd.UseLine(), cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

func versionCommand(version string) *cobra.Command {
	var sbom bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, or what the program is made of",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if sbom {
				return writeSBOM(cmd.OutOrStdout(), version)
			}
			t := tool(version)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "loadtest %s (%s, %s/%s)\n", t.Version, t.Go, t.OS, t.Arch)
			return err
		},
	}
	cmd.Flags().BoolVar(&sbom, "sbom", false, "write a bill of materials in the format CycloneDX (JSON)")
	return cmd
}

// Check reports what is wrong with a command line: an unknown command or flag,
// a missing or superfluous argument. It carries nothing out; the documentation
// is tested with it.
func Check(args []string, more ...Extension) error {
	cmd, rest, err := rootCommand("", more...).Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return errors.Join(cmd.ValidateArgs(cmd.Flags().Args()), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
}
