// Package cluster has the commands that speak to a Kubernetes cluster: start,
// status, stop, results, list, logs, and the cluster's half of cleanup. Package
// cli does without them, so that what runs in the pods does not carry the
// client of the API server.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator"
)

// defaultNamespace is where runs live unless somebody says otherwise.
const defaultNamespace = "load-testing"

// Commands adds the package's commands to the program's.
func Commands(root *cobra.Command, version string) {
	root.AddCommand(startCommand(version), statusCommand(), stopCommand(), resultsCommand(version), listCommand(), logsCommand())
	for _, c := range root.Commands() {
		if c.Name() == "cleanup" {
			extendCleanup(c)
		}
	}
}

// Only leaves the program nothing but what speaks to a cluster.
func Only(root *cobra.Command, version string) {
	Commands(root, version)
	for _, c := range root.Commands() {
		if slices.Contains([]string{"run", "find", "worker", "pod", "platform", "report", "scenario"}, c.Name()) {
			root.RemoveCommand(c)
		}
	}
	root.Use, root.Short = "load-test-orchestrator", "Carries out load tests in a Kubernetes cluster"
	root.Long = `load-test-orchestrator has the commands of loadtest that speak to a cluster, and
no others.

  load-test-orchestrator start --config scenario.yaml --follow`
}

// place is the flags that say where a run lives.
type place struct {
	namespace, context string
	log                *live.Log
}

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.namespace, "namespace", "n", "", "`namespace` of the run (default that of the kubeconfig's context, or else "+defaultNamespace+")")
	cmd.Flags().StringVar(&p.context, "context", "", "`context` of the kubeconfig (default the current one)")
}

// connect finds the cluster. of is the namespace that the scenario names, or empty.
func (p *place) connect(cmd *cobra.Command, of string) (*orchestrator.Cluster, error) {
	p.log = live.NewLog(cmd.ErrOrStderr())
	c, err := orchestrator.Connect(orchestrator.Where{
		Context: p.context, Namespaces: []string{p.namespace, of}, LastResort: defaultNamespace,
	}, func(line string) { p.say("%s\n", line) })
	if err != nil {
		return nil, cli.Usage(err)
	}
	p.namespace = c.Namespace
	return c, nil
}

// say tells the user something, without spoiling the live view. There is nobody
// to tell if it fails.
func (p *place) say(format string, args ...any) { _, _ = fmt.Fprintf(p.log, format, args...) }

// where is the flags that lead to the same place again.
func (p *place) where() string {
	text := " --namespace " + p.namespace
	if p.context != "" {
		text += " --context " + p.context
	}
	return text
}

// detach ends the looking on at a run, and says how to come back.
func (p *place) detach(run string) error {
	p.say("run %s goes on; come back with: loadtest results %s --follow%s\n  end it with: loadtest stop %s%s\n", run, run, p.where(), run, p.where())
	return cli.ErrDetached
}

// known turns a run that is not there into a mistake of the user's.
func known(err error) error {
	if errors.Is(err, orchestrator.ErrNoRun) {
		return cli.Usage(err)
	}
	return err
}

// format is the flag that says how to print.
type format string

func (f *format) flag(cmd *cobra.Command) {
	*f = "human"
	cmd.Flags().VarP(f, "output", "o", "how to print: human, json or yaml")
}

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	if !slices.Contains([]string{"human", "json", "yaml"}, text) {
		return fmt.Errorf("it is human, json or yaml, and not %q", text)
	}
	*f = format(text)
	return nil
}

// print writes v, for people by human.
func (f *format) print(w io.Writer, v any, human func(io.Writer) error) error {
	switch *f {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		text, err := yaml.Marshal(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	return human(w)
}

// ago is how long ago something was, for people.
func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() }

// table writes rows with aligned columns.
func table(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
