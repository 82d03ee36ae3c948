//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promtool runs it in a folder laid out as deploy/observe.
func promtool(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// TestRules lets Prometheus' own tool check the files of deploy/observe and
// carry out the tests of the rules. Then it takes each rule away in turn, and
// wants the tests to fail: they would notice.
func TestRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../deploy/observe")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "--lint-fatal", "rules/recording.yaml", "rules/alerts.yaml"},
		{"test", "rules", "test/recording.yaml", "test/alerts.yaml"},
	} {
		if out, err := promtool(t, dir, args...); err != nil {
			t.Fatalf("promtool %v: %v\n%s", args, err, out)
		}
	}
	begin := regexp.MustCompile(`(?m)^      - (?:record|alert): (\S+)$`)
	for _, name := range []string{"recording.yaml", "alerts.yaml"} {
		rules, tests := load(t, dir, "rules/"+name), load(t, dir, "test/"+name)
		found := begin.FindAllStringSubmatchIndex(rules, -1)
		for i, at := range found {
			rule, end := rules[at[2]:at[3]], len(rules)
			if i+1 < len(found) {
				end = found[i+1][0]
			}
			save(t, dir, "test/"+name, about(tests, rule))
			if name == "alerts.yaml" {
				save(t, dir, "rules/"+name, rules)
				if out, err := promtool(t, dir, "test", "rules", "test/"+name); err != nil {
					t.Fatalf("the tests of %s alone: %v\n%s", rule, err, out)
				}
			}
			save(t, dir, "rules/"+name, rules[:at[0]]+rules[end:])
			if out, err := promtool(t, dir, "test", "rules", "test/"+name); err == nil {
				t.Errorf("without %s (rule %d) the tests pass all the same:\n%s", rule, i, out)
			}
		}
		save(t, dir, "rules/"+name, rules)
	}
}

// about leaves out groups of tests that another alert is the subject of, which
// saves most of the time.
func about(tests, rule string) string {
	const begin = "\n  - interval: "
	groups := strings.Split(tests, begin)
	kept := groups[0]
	for _, group := range groups[1:] {
		if strings.Contains(group, "alertname: "+rule+"\n") || !strings.Contains(group, "alertname: ") {
			kept += begin + group
		}
	}
	return kept
}

func load(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name)) // #nosec G304 -- ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func save(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
