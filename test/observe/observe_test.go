// Package observe holds the files of deploy/observe against each other, the
// documents and the metrics. That they work is seen by the end-to-end tests.
package observe

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
)

const folder = "../../deploy/observe"

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decode reads YAML strictly: there is nothing in it that into does not have.
func decode(t *testing.T, file string, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(read(t, filepath.Join(folder, file))))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	for _, name := range []string{"recording", "alerts"} {
		var file struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		decode(t, "rules/"+name+".yaml", &file)
		for _, g := range file.Groups {
			all = append(all, g.Rules...)
		}
	}
	if len(all) < 40 {
		t.Fatalf("found %d rules", len(all))
	}
	return all
}

type sample struct {
	Labels string
	Value  any
}

// tests are what promtool test rules reads.
type tests struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	Tests              []struct {
		Interval    string
		InputSeries []struct{ Series, Values string } `yaml:"input_series"`
		Expressions []struct {
			Expr    string
			At      string   `yaml:"eval_time"`
			Samples []sample `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
		Alerts []struct {
			Name   string `yaml:"alertname"`
			At     string `yaml:"eval_time"`
			Firing []struct {
				Labels      map[string]string `yaml:"exp_labels"`
				Annotations map[string]string `yaml:"exp_annotations"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// Every recorded name with its labels is expected to have a value somewhere,
// and every alert to fire once and not to fire another time.
func TestEveryRuleIsTested(t *testing.T) {
	var recording, alerts tests
	decode(t, "test/recording.yaml", &recording)
	decode(t, "test/alerts.yaml", &alerts)
	recorded := func(r rule) bool {
		for _, group := range recording.Tests {
			for _, e := range group.Expressions {
				if !strings.Contains(e.Expr, r.Record) {
					continue
				}
				if slices.ContainsFunc(e.Samples, func(s sample) bool {
					for name, value := range r.Labels {
						if !strings.Contains(s.Labels, name+`="`+value+`"`) {
							return false
						}
					}
					return true
				}) {
					return true
				}
			}
		}
		return false
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			if !recorded(r) {
				t.Errorf("nothing is expected of %s %v", r.Record, r.Labels)
			}
			continue
		}
		fires, rests := false, false
		for _, group := range alerts.Tests {
			for _, a := range group.Alerts {
				if a.Name == r.Alert {
					fires = fires || len(a.Firing) > 0
					rests = rests || len(a.Firing) == 0
				}
			}
		}
		if !fires || !rests {
			t.Errorf("%s is tested firing: %v, not firing: %v", r.Alert, fires, rests)
		}
	}
}

var (
	metricName   = regexp.MustCompile(`[a-z_:]*loadtest_[a-z0-9_:]+`)
	documentName = regexp.MustCompile(`(?m)^### (Loadtest\w+)$`)
)

// Rules speak of metrics that there are, and lead to where they are explained.
func TestRulesNameWhatThereIs(t *testing.T) {
	page := string(read(t, "../../docs/load-testing/observe.md"))
	explained := documentName.FindAllStringSubmatch(page, -1)
	known := map[string]bool{}
	for _, f := range metrics.Families() {
		known[metrics.Prefix+f.Name] = f.Kind != metrics.Histogram
		if f.Kind == metrics.Histogram {
			known[metrics.Prefix+f.Name+"_bucket"] = true
		}
	}
	all := rules(t)
	for _, r := range all {
		known[r.Record] = true
	}
	alerts := 0
	for _, r := range all {
		for _, name := range metricName.FindAllString(r.Expr, -1) {
			if !known[name] {
				t.Errorf("%s%s asks for %s, which there is not", r.Record, r.Alert, name)
			}
		}
		if r.Record != "" {
			if _, what, _ := strings.Cut(r.Record, ":"); !strings.Contains(page, r.Record) && !strings.Contains(page, ":"+what+"`") {
				t.Errorf("docs/load-testing/observe.md does not name %s", r.Record)
			}
			continue
		}
		alerts++
		a := r.Annotations
		if a["summary"] == "" || a["description"] == "" || r.Labels["severity"] == "" ||
			!strings.HasSuffix(a["runbook_url"], "/docs/load-testing/observe.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s: %v %v", r.Alert, r.Labels, a)
		}
		if !slices.ContainsFunc(explained, func(m []string) bool { return m[1] == r.Alert }) {
			t.Errorf("docs/load-testing/observe.md does not explain %s", r.Alert)
		}
	}
	if len(explained) != alerts {
		t.Errorf("docs/load-testing/observe.md explains %d alerts of %d", len(explained), alerts)
	}
}

// service is a container, as far as we have need of it.
type service struct {
	Image       string
	Command     []string
	Environment map[string]string
	Volumes     []string
	NetworkMode string   `yaml:"network_mode"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
}

type composition struct {
	Name     string
	Service  service `yaml:"x-service"`
	Services map[string]service
	Volumes  map[string]any
}

var pinned = regexp.MustCompile(`^[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)

// The containers are pinned, speak to nobody but this machine, and find each
// other and the files that they are given.
func TestContainersFitTogether(t *testing.T) {
	var c composition
	decode(t, "compose.yaml", &c)
	if len(c.Services) != 3 {
		t.Fatalf("%d services", len(c.Services))
	}
	inside := map[string]string{} // files of ours by their place in a container
	for name, s := range c.Services {
		if !pinned.MatchString(s.Image) {
			t.Errorf("%s: %s is not pinned", name, s.Image)
		}
		address := s.Environment["GF_SERVER_HTTP_ADDR"]
		for _, arg := range s.Command {
			if at, ok := strings.CutPrefix(arg, "--web.listen-address="); ok {
				address, _, _ = strings.Cut(at, ":")
			}
		}
		if address != "127.0.0.1" || s.NetworkMode != "host" {
			t.Errorf("%s listens at %q in the network %q", name, address, s.NetworkMode)
		}
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			if _, own := c.Volumes[parts[0]]; own {
				continue
			}
			if len(parts) != 3 || parts[2] != "ro" {
				t.Errorf("%s may write to %s", name, v)
			}
			inside[parts[1]] = parts[0]
			if parts[0] == "../../dashboards/load-testing" {
				continue // has tests of its own
			}
			if _, err := os.Stat(filepath.Join(folder, parts[0])); err != nil {
				t.Error(err)
			}
		}
	}

	var sources struct {
		Version     int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool           `yaml:"isDefault"`
			JSONData                     map[string]any `yaml:"jsonData"`
		}
	}
	decode(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	if d := sources.Datasources; sources.Version != 1 || len(d) != 1 || d[0].Type != "prometheus" || !d[0].IsDefault ||
		!slices.Contains(c.Services["prometheus"].Command, "--web.listen-address="+strings.TrimPrefix(d[0].URL, "http://")) {
		t.Errorf("%+v", sources)
	}
	var providers struct {
		Version   int `yaml:"apiVersion"`
		Providers []struct {
			Name, Folder, Type string
			DisableDeletion    bool `yaml:"disableDeletion"`
			AllowUIUpdates     bool `yaml:"allowUiUpdates"`
			Options            struct{ Path string }
		}
	}
	decode(t, "grafana/provisioning/dashboards/load-testing.yaml", &providers)
	if p := providers.Providers; providers.Version != 1 || len(p) != 1 || p[0].Type != "file" || inside[p[0].Options.Path] != "../../dashboards/load-testing" {
		t.Errorf("%+v in %v", providers, inside)
	}

	var config struct {
		Global  map[string]string
		Rules   []string `yaml:"rule_files"`
		Scraped []struct {
			Job         string                       `yaml:"job_name"`
			HonorLabels bool                         `yaml:"honor_labels"`
			Static      []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus.yml", &config)
	found, err := filepath.Glob(filepath.Join(folder, config.Rules[0]))
	if err != nil || len(found) != 2 || inside["/etc/prometheus/rules"] != "./rules" || inside["/etc/prometheus/prometheus.yml"] != "./prometheus.yml" {
		t.Errorf("rules %v, %v, %v", found, err, inside)
	}
	gateway := slices.IndexFunc(c.Services["pushgateway"].Command, func(arg string) bool { return strings.HasPrefix(arg, "--web.listen-address=") })
	for _, s := range config.Scraped {
		if s.Job == "pushgateway" && (!s.HonorLabels || "--web.listen-address="+s.Static[0].Targets[0] != c.Services["pushgateway"].Command[gateway]) {
			t.Errorf("%+v", s)
		}
	}
}
