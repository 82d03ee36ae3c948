package dashboards_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/dashboards"
)

var update = flag.Bool("update", false, "write the dashboards again")

// folder is where Grafana's files are.
const folder = "../../dashboards/load-testing"

// TestCurrent holds the files against the code that they are made by.
func TestCurrent(t *testing.T) {
	all, err := dashboards.All()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for _, d := range all {
		text, err := json.MarshalIndent(d.Dashboard, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want[d.File] = append(text, '\n')
	}
	if *update {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil { // #nosec G306 -- for everybody
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(want) {
		t.Errorf("%d files in %s, want %d", len(files), folder, len(want))
	}
	for _, file := range files {
		have, err := os.ReadFile(file) // #nosec G304 -- ours
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want[filepath.Base(file)]) {
			t.Errorf("%s is not what the code makes: go generate ./internal/dashboards", file)
		}
	}
}

// stored reads the dashboards as Grafana would, strictly.
func stored(t *testing.T) map[string]dashboard.Dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards in %s (%v)", folder, err)
	}
	all := map[string]dashboard.Dashboard{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = read(t, file)
	}
	return all
}

func read(t *testing.T, file string) dashboard.Dashboard {
	t.Helper()
	d, err := dashboards.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPanelsAskedFor looks for what the dashboards are there for.
func TestPanelsAskedFor(t *testing.T) {
	all := stored(t)
	for name, titles := range map[string][]string{
		"overview":         {"Active users", "Requests a second", "Error rate", "Current phase"},
		"performance":      {"Latency percentiles", "Latency heatmap", "Response-time distribution", "Slowest endpoints"},
		"cost":             {"Cost per organization", "Cost per user", "Total cost over time", "Cost rate ($/hour)"},
		"errors":           {"Errors by type", "Errors by organization", "Error timeline", "Top failing users"},
		"cache-salt":       {"Salt violations", "Requests with a cache hit"},
		"model-comparison": {"Models side by side"},
		"streaming":        {"Time to first token", "Between tokens (ITL)", "Per token (TPOT)", "Tokens written a second"},
		"generator-health": {"Send lag, p99", "CPU"},
		"tenants":          {"Fairness", "Organizations side by side"},
	} {
		for _, title := range titles {
			if !slices.ContainsFunc(all[name].Panels, func(p dashboard.PanelOrRowPanel) bool { return p.Panel != nil && *p.Panel.Title == title }) {
				t.Errorf("%s has no panel %q", name, title)
			}
		}
	}
}

// TestReadIsStrict wants faults that Grafana would pass over in silence.
func TestReadIsStrict(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "overview.json"))
	if err != nil {
		t.Fatal(err)
	}
	for what, broken := range map[string]string{
		"a field of a panel": strings.Replace(string(text), `"colorMode"`, `"colourMode"`, 1),
		"a field of a query": strings.Replace(string(text), `"expr"`, `"expression"`, 1),
		"a type":             strings.Replace(string(text), `"editable": true`, `"editable": "yes"`, 1),
	} {
		file := filepath.Join(t.TempDir(), "broken.json")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := dashboards.Read(file); err == nil || broken == string(text) {
			t.Errorf("%s: nothing is said of it", what)
		}
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"run": "r1", "__range": "30s", "__rate_interval": "4s"}
	got, err := dashboards.Expand(`rate(x{a="$run",b="${run:regex}"}[$__rate_interval] offset ${__range})`, values)
	if want := `rate(x{a="r1",b="r1"}[4s] offset 30s)`; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := dashboards.Expand(`x{a="$nobody"}`, values); err == nil || !strings.Contains(err.Error(), "$nobody") {
		t.Errorf("an unknown variable: %v", err)
	}
}
