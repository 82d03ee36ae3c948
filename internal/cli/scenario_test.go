package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

// scenario runs `loadtest scenario args` and returns what it printed.
func scenario(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = cli.Run(context.Background(), "test", append([]string{"scenario"}, args...),
		cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &err})
	return code, out.String(), err.String()
}

func TestScenarioStartersAreValid(t *testing.T) {
	for _, kind := range config.Starters {
		code, text, _ := scenario("", "init", kind)
		if code != 0 {
			t.Fatalf("init %s: exit %d", kind, code)
		}
		if code, out, err := scenario(text, "validate", "-"); code != 0 || !strings.HasPrefix(out, "-: valid") {
			t.Errorf("%s: exit %d, %s%s", kind, code, out, err)
		}
		if code, out, _ := scenario(text, "explain", "-"); code != 0 || !strings.Contains(out, "[default]") {
			t.Errorf("explain %s: exit %d", kind, code)
		}
	}
}

func TestScenarioExamplesAreValid(t *testing.T) {
	paths, err := filepath.Glob("../../configs/examples/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	code, out, errs := scenario("", append([]string{"validate"}, paths...)...)
	if code != 0 || strings.Count(out, ": valid\n") != len(paths) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if !strings.Contains(out, "  no effect yet: spec.") {
		t.Error("what has no effect yet is not said")
	}
}

func TestScenarioInitNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if code, _, err := scenario("", "init", "-o", path); code != 0 {
		t.Fatalf("exit %d: %s", code, err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, err := scenario("", "init", "ramp", "-o", path); code != 2 || !strings.Contains(err, "--force") {
		t.Errorf("exit %d: %s", code, err)
	}
	if data, _ := os.ReadFile(path); string(data) != "mine" {
		t.Error("the file was overwritten")
	}
	if code, _, err := scenario("", "init", "ramp", "--force", "-o", path); code != 0 {
		t.Errorf("exit %d: %s", code, err)
	}
	if data, _ := os.ReadFile(path); !strings.Contains(string(data), "name: ramp") {
		t.Error("--force did not overwrite the file")
	}
}

func TestScenarioExitCodes(t *testing.T) {
	const head = "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: a}\n"
	for name, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string // in what was printed
	}{
		"faults":            {head + "spec: {userz: {}}", []string{"validate", "-"}, 2, `-:4:8: unknown field "userz" in spec; did you mean "users"?`},
		"a bad template":    {head + "spec: {advanced: {questionTemplates: [{name: a, template: 'b {c'}]}}", []string{"validate", "-"}, 2, "-: questions: "},
		"no such file":      {"", []string{"validate", "there-is-none.yaml"}, 2, "there-is-none.yaml"},
		"no file":           {"", []string{"validate"}, 2, "at least 1 arg"},
		"too many":          {"", []string{"explain", "a", "b"}, 2, "accepts 1 arg"},
		"no such starter":   {"", []string{"init", "rampe"}, 2, `did you mean "ramp"?`},
		"no such flag":      {"", []string{"init", "--fforce"}, 2, "--fforce"},
		"TestScenarios":     {"apiVersion: loadtest.ai-aas.dev/v1alpha1\nkind: TestScenario\nmetadata: {name: a}\nspec: {endpoint: {path: /}, requestTemplate: '{}'}", []string{"validate", "-"}, 0, "valid, 1 TestScenario"},
		"the schema":        {"", []string{"schema"}, 0, `"$schema": "https://json-schema.org/draft/2020-12/schema"`},
		"a literal secret":  {head + "spec: {targets: {apiRouterUrl: http://a, credentials: {keys: [plain]}}}", []string{"validate", "-"}, 0, "warning: -:4: spec.targets.credentials.keys[0].key is written in the file itself"},
		"more than a MiB":   {strings.Repeat("#\n", 1<<20), []string{"validate", "-"}, 2, "larger than 1 MiB"},
		"a scenario by run": {"", []string{}, 0, "validate"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, err := scenario(c.stdin, c.args...)
			if code != c.code || !strings.Contains(out+err, c.want) {
				t.Errorf("exit %d, want %d\n%s%s", code, c.code, out, err)
			}
		})
	}
}

// Two wrong files are both reported.
func TestScenarioValidateGoesOn(t *testing.T) {
	folder := t.TempDir()
	var paths []string
	for _, name := range []string{"one.yaml", "two.yaml"} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("kind: x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	code, _, err := scenario("", append([]string{"validate"}, paths...)...)
	if code != 2 || !strings.Contains(err, "one.yaml:1:7") || !strings.Contains(err, "two.yaml:1:7") {
		t.Errorf("exit %d: %s", code, err)
	}
}
