// Package architecture holds the rule that keeps the house standing: a package
// imports only packages of lower layers.
package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/otherjamesbrown/ai-aas/tests/load/"

// layers is the one list of packages. A new package is put on the lowest floor
// that holds what it imports; docs/load-testing/architecture.md says what each is for.
var layers = [][]string{
	{"internal/secret", "internal/record", "internal/human", "internal/alarm", "internal/crash", "internal/jsonstring", "internal/cgroup"},
	{"internal/platform", "internal/plan", "internal/loadpattern", "internal/questions", "internal/documents", "internal/blob", "internal/blob/blobtest", "internal/ledger", "internal/config", "internal/chaos", "internal/server", "internal/tracing", "internal/requestlog", "internal/heap", "internal/platformsim/llm"},
	{"internal/stats", "internal/bootstrap", "internal/cleanup", "internal/simulator", "internal/interaction", "internal/platformsim"},
	{"internal/health", "internal/limits", "internal/verdict", "internal/isolation", "internal/capacity", "internal/metrics"},
	{"internal/export", "internal/dashboards"},
	{"internal/report", "internal/report/reporttest", "internal/live", "internal/results"},
	{"internal/worker", "internal/processes", "internal/rendezvous", "internal/orchestrator/jobs"},
	{"internal/orchestrator/monitor"},
	{"internal/cli", "internal/orchestrator"},
	{"internal/cli/cluster"},
	{"cmd/loadtest", "cmd/load-test-worker", "cmd/load-test-orchestrator"},
}

// configReaders are the only importers of the scenario: everything below gets
// plain values.
var configReaders = []string{"internal/worker", "internal/cli", "internal/cli/cluster"}

func TestLayers(t *testing.T) {
	floor := map[string]int{}
	for n, names := range layers {
		for _, name := range names {
			floor[name] = n
		}
	}
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(rel))
		if strings.HasPrefix(dir, "test/") || strings.HasPrefix(dir, "bench/") {
			return nil
		}
		own, listed := floor[dir]
		if !listed {
			t.Errorf("%s: package %s stands on no floor; add it to layers in %s", rel, dir, "test/architecture/layers_test.go")
			return nil
		}
		seen[dir] = true
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range parsed.Imports {
			target, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			name, ours := strings.CutPrefix(target, module)
			if !ours {
				continue
			}
			if their, ok := floor[name]; !ok || their >= own && name != "internal/platformsim/llm" {
				t.Errorf("%s imports %s, which is not below it", rel, name)
			}
			if name == "internal/config" && !slices.Contains(configReaders, dir) {
				t.Errorf("%s imports config; only %v may", rel, configReaders)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range floor {
		if !seen[name] {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("layers names %s, which does not exist", name)
			}
		}
	}
}
