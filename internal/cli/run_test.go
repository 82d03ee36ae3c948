package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// TestRunServesTheModelsThatTheScenarioNames: a file for a real platform runs
// against the embedded one as it is.
func TestRunServesTheModelsThatTheScenarioNames(t *testing.T) {
	folder := t.TempDir()
	var out, err bytes.Buffer
	code := cli.Run(context.Background(), "test", []string{"run", "-", "--output-dir", folder}, cli.Streams{In: strings.NewReader(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: models, testRunId: models}
spec:
  seed: 7
  userBehavior:
    questionsPerSession: {min: 20, max: 20}
    thinkTimeSeconds: {min: 0, max: 0}
    maxTokensPerRequest: 4
    modelPreferences: [{model: gpt-4o}, {model: sim-medium}]
`), Out: &out, Err: &err})
	if code != 0 || !strings.Contains(err.String(), "no model gpt-4o: one like sim-small stands in for it") || strings.Contains(err.String(), "no model sim-medium") {
		t.Errorf("exit %d\n%s%s", code, out.String(), err.String())
	}
	b, readErr := export.Read(filepath.Join(folder, "models", "result.json"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, g := range b.Summary.Rollup(stats.ByModel) {
		if g.All.Succeeded == 0 || g.All.CostUnknown > 0 {
			t.Errorf("model %s: %+v", g.Key.Model, g.All)
		}
	}
	if info, statErr := os.Stat(filepath.Join(folder, "models", "run.log")); statErr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log: %v, %v", info, statErr)
	}
}
