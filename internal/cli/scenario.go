package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

func scenarioCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "scenario",
		Short: "Write, check and understand scenario files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(scenarioInit(), scenarioValidate(), scenarioExplain(), scenarioSchema())
	return c
}

func scenarioValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check scenario files and report all their faults; - is the standard input",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []error
			for _, path := range args {
				if err := validate(cmd, path); err != nil {
					all = append(all, err)
				}
			}
			return errors.Join(all...)
		},
	}
}

func validate(cmd *cobra.Command, path string) error {
	data, err := readScenario(cmd.InOrStdin(), path)
	if err != nil {
		return err
	}
	s, tests, err := config.ParseDocuments(path, data, os.LookupEnv)
	if err != nil {
		return err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s: valid", path)
	if s == nil {
		fmt.Fprintf(&out, ", %d TestScenario documents and no %s\n", len(tests), config.KindLoadTestScenario)
	} else {
		if err := checkQuestions(s); err != nil {
			return usageError{fmt.Errorf("%s: %w", path, err)}
		}
		out.WriteString("\n")
		for _, w := range s.Warnings() {
			fmt.Fprintf(&out, "  warning: %s\n", w)
		}
		for _, u := range s.Unsupported() {
			fmt.Fprintf(&out, "  no effect yet: %s: %s\n", u.Path, u.Sentence)
		}
	}
	_, err = io.WriteString(cmd.OutOrStdout(), out.String())
	return err
}

// checkQuestions compiles the scenario's templates, whose language is no
// affair of the scenario format.
func checkQuestions(s *config.Scenario) error {
	var weights []questions.Weight
	for _, q := range s.Spec.UserBehavior.QuestionStrategies {
		weights = append(weights, questions.Weight{Strategy: q.Name, Weight: q.Weight})
	}
	var templates []questions.Template
	for _, t := range s.Spec.Advanced.QuestionTemplates {
		templates = append(templates, questions.Template{Name: t.Name, Text: t.Template, Variables: t.Variables})
	}
	_, err := questions.New(weights, templates...)
	return err
}

func scenarioExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE",
		Short: "Print the effective scenario, with every default; - is the standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readScenario(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			s, err := config.Parse(args[0], data, os.LookupEnv)
			if err != nil {
				return err
			}
			return config.Explain(cmd.OutOrStdout(), s)
		},
	}
}

func scenarioSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}

func scenarioInit() *cobra.Command {
	var output string
	var force bool
	c := &cobra.Command{
		Use:   "init [" + strings.Join(config.Starters, "|") + "]",
		Short: "Print a scenario to start from, or write it to a file",
		Long: `Print a scenario to start from, or write it to a file.

  smoke   a few users for half a minute; needs no platform (if no name is given)
  ramp    a warm-up, a ramp, a plateau and an end
  byo     any OpenAI-compatible server, with keys of your own
  full    most of what there is`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := config.Starters[0]
			if len(args) > 0 {
				kind = args[0]
			}
			data, err := config.Init(kind)
			if err != nil {
				return usageError{err}
			}
			if output == "" || output == "-" {
				_, err = cmd.OutOrStdout().Write(data)
				return err
			}
			if err := writeNew(output, data, force); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; next: loadtest run %s\n", output, output)
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write to this file")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	return c
}

// writeNew writes a file, an existing one only if force says so.
func writeNew(path string, data []byte, force bool) (err error) {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o644) //nolint:gosec // the user names it, and it holds no secrets
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("%s exists already: --force overwrites it", path)}
	}
	if err != nil {
		return fmt.Errorf("write the scenario: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err = f.Write(data); err != nil {
		return fmt.Errorf("write the scenario: %w", err)
	}
	return nil
}

// readScenario reads a file, or the standard input for -, a little further
// than a scenario may be long.
func readScenario(stdin io.Reader, path string) ([]byte, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the user names it
		if err != nil {
			return nil, usageError{fmt.Errorf("read the scenario: %w", err)}
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, config.MaxBytes+1))
	if err != nil {
		return nil, usageError{fmt.Errorf("read the scenario: %w", err)}
	}
	return data, nil
}
