//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// composition is deploy/observe/compose.yaml as Docker Compose understands it.
type composition struct {
	Services map[string]struct {
		Image, NetworkMode string
		Command            []string
		Volumes            []struct{ Type, Source, Target string }
	}
	Volumes map[string]any
}

// compose lets Compose's own loader read a file in a folder.
func compose(t *testing.T, dir, file string) (c composition, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), installed(t, "compose"), "-format", "json", file) // #nosec G204 -- ours
	cmd.Dir = dir
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

// TestCompose lets Docker Compose read what deploy/observe has for it, and starts
// Prometheus and the Pushgateway as it would: with those arguments and files, for
// which the folders here stand in. There is no Grafana to be had here.
func TestCompose(t *testing.T) {
	t.Parallel()
	const folder = "../../deploy/observe"
	text, err := os.ReadFile(filepath.Join(folder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	for fault, instead := range map[string]string{"cap_drop:": "cap_drops:", "network_mode: host": "network_mode: [host]"} {
		save(t, broken, "compose.yaml", strings.ReplaceAll(string(text), fault, instead))
		if _, err := compose(t, broken, "compose.yaml"); err == nil {
			t.Errorf("%q instead of %q is nothing to Compose", instead, fault)
		}
	}
	c, err := compose(t, folder, "compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 || c.Services["grafana"].Image == "" {
		t.Fatalf("%+v", c)
	}
	at := map[string]string{"prometheus": free(t), "pushgateway": free(t)}
	for name, program := range map[string]string{"prometheus": "prometheus", "pushgateway": "prometheus-pushgateway", "grafana": ""} {
		service := c.Services[name]
		here := []string{"127.0.0.1:9090", at["prometheus"], "127.0.0.1:9091", at["pushgateway"]}
		for _, v := range service.Volumes {
			source := v.Source
			if v.Type == "volume" {
				if _, declared := c.Volumes[source]; !declared {
					t.Errorf("%s: there is no volume %s", name, source)
				}
				source = t.TempDir()
			}
			if _, err := os.Stat(source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			here = append(here, v.Target, source)
		}
		if program == "" {
			continue
		}
		var args []string
		for _, arg := range service.Command {
			args = append(args, strings.NewReplacer(here...).Replace(arg))
		}
		daemon(t, program, args...)
	}
	m := &monitoring{t: t, prometheusURL: "http://" + at["prometheus"], gatewayAt: "http://" + at["pushgateway"]}
	for _, ready := range []string{m.prometheusURL, m.gatewayAt} {
		until(t, ready+" is ready", func() bool { return m.get(ready+"/-/ready", nil) == nil })
	}
	var rules struct{ Data struct{ Groups []any } }
	if err := m.get(m.prometheusURL+"/api/v1/rules", &rules); err != nil || len(rules.Data.Groups) != 2 {
		t.Errorf("%d groups of rules: %v", len(rules.Data.Groups), err)
	}
}
