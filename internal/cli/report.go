package cli

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
)

func reportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "report RESULT",
		Short: "Print the summary of a result again, and draw its report",
		Long: `Report reads a result.json, prints its summary and writes its HTML report: beside
the result, unless -o says otherwise. -o - writes the report to standard output
and prints no summary.`,
		Example: `  loadtest report loadtest-results/20261123-101500-4f2a/result.json
  loadtest report schema > result.schema.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := export.Read(args[0])
			if err != nil {
				return usageError{err}
			}
			var page bytes.Buffer
			if err := report.HTML(&page, b); err != nil {
				return err
			}
			if output == "-" {
				_, err := cmd.OutOrStdout().Write(page.Bytes())
				return err
			}
			if output == "" {
				output = filepath.Join(filepath.Dir(args[0]), strings.TrimSuffix(filepath.Base(args[0]), ".json")+".html")
				if filepath.Base(args[0]) == resultFile {
					output = filepath.Join(filepath.Dir(args[0]), reportFile)
				}
			}
			if err := export.WriteFile(output, page.Bytes()); err != nil {
				return usageError{fmt.Errorf("%w; choose another file with -o", err)}
			}
			return report.Terminal(cmd.OutOrStdout(), b, report.TerminalOptions{
				Width: columns(cmd.OutOrStdout()), Color: colored(cmd.OutOrStdout()), CostLimitMicroUSD: b.Run.CostLimitMicroUSD, Files: []string{output},
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file for the HTML report")
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of result.json",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(export.JSONSchema)
			return err
		},
	})
	return cmd
}
