package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

var suggestion = regexp.MustCompile(`did you mean "[^"]*"`)

// FuzzParse asserts that no file panics or is accepted half: either there are
// faults, which can be printed and do not show the environment, or there is a
// scenario, whose explanation is the same scenario.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../configs/examples/*.yaml", "starters/*.yaml", "testdata/*.yaml", "testdata/faults/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("no files match %s (%v)", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	const value = "val-2739-ue"
	getenv := func(name string) (string, bool) { return value, len(name) < 6 }
	f.Fuzz(func(t *testing.T, data []byte) {
		s, _, err := config.ParseDocuments("fuzz.yaml", data, getenv)
		if err != nil {
			// Only names that something may be called are suggested.
			if text := suggestion.ReplaceAllString(err.Error(), ""); strings.Contains(text, value) && !bytes.Contains(data, []byte(value)) {
				t.Errorf("the faults show a value of the environment:\n%s", text)
			}
			return
		}
		if s == nil {
			return
		}
		var out bytes.Buffer
		if err := config.Explain(&out, s); err != nil {
			t.Error(err)
		}
		s.Unsupported()
		again, err := config.Parse("fuzz.yaml", out.Bytes(), nil)
		if err != nil {
			t.Fatalf("the explanation is no scenario: %v\n%s", err, out.String())
		}
		if diff := differs(s, again); diff != "" && !strings.Contains(out.String(), "[redacted]") {
			t.Errorf("the explanation is another scenario: %s", diff)
		}
	})
}
