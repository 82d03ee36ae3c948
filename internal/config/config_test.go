package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const head = "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: test}\n"

// env makes a getenv of a map.
func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func parse(t *testing.T, spec string) *config.Scenario {
	t.Helper()
	s, err := config.Parse("test.yaml", []byte(head+spec), env(map[string]string{"SECRET": "sk-SECRET", "TWO": "2", "EMPTY": ""}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// faults returns the messages of a scenario that must be refused.
func faults(t *testing.T, spec string) []config.Fault {
	t.Helper()
	_, err := config.Parse("test.yaml", []byte(head+spec), nil)
	var f *config.Faults
	if !errors.As(err, &f) {
		t.Fatalf("expected faults, got %v", err)
	}
	return f.List
}

// files returns the scenarios of a folder.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	return paths
}

func TestFaultsGolden(t *testing.T) {
	getenv := env(map[string]string{"COUNT": "many-ENVVALUE", "NOT_MONEY": "much-ENVVALUE", "URL": "ENVVALUE", "HOT": ""})
	for _, path := range files(t, "testdata/faults/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := config.Load(path, getenv)
			var f *config.Faults
			if !errors.As(err, &f) {
				t.Fatalf("expected faults, got %v", err)
			}
			got := strings.ReplaceAll(f.Error(), filepath.ToSlash(path), filepath.Base(path)) + "\n"
			for _, secret := range []string{"sk-", "SECRET", "ENVVALUE"} {
				if strings.Contains(got, secret) {
					t.Errorf("the faults show %s", secret)
				}
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	header := regexp.MustCompile(`(?s)\A# .*loadtest (run|find) configs/examples/`)
	for _, path := range files(t, "../../configs/examples/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !header.Match(data) || !strings.Contains(string(data), "loadtest run configs/examples/"+filepath.Base(path)+"\n") &&
				!strings.Contains(string(data), "loadtest find configs/examples/"+filepath.Base(path)+" --step ") {
				t.Error("it does not begin by saying what it is for and how it is run")
			}
			s, err := config.Load(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Warnings()) > 0 {
				t.Errorf("warnings: %q", s.Warnings())
			}
			if !strings.HasPrefix(filepath.Base(path), "dialect-") {
				if s.Metadata.Name != strings.TrimSuffix(filepath.Base(path), ".yaml") {
					t.Errorf("it is named %q", s.Metadata.Name)
				}
				if u := s.Unsupported(); len(u) > 0 {
					t.Errorf("it needs what does not exist yet: %v", u)
				}
			}
			for _, m := range s.Spec.UserBehavior.ModelPreferences {
				if s.Spec.Targets.Embedded() && m.Model != "sim-small" && m.Model != "sim-medium" {
					t.Errorf("the embedded platform has no model %q", m.Model)
				}
			}
		})
	}
}

func TestDemoIsShort(t *testing.T) {
	s, err := config.Load("../../configs/examples/demo.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, p := range s.Spec.LoadPattern.Phases {
		sum += p.Duration
	}
	if sum > 30*time.Second {
		t.Errorf("the demo lasts %s", sum)
	}
}

// everyValidFile calls f for all scenarios in the repository that are valid.
func everyValidFile(t *testing.T, f func(t *testing.T, name string, data []byte)) {
	t.Helper()
	for _, pattern := range []string{"../../configs/examples/*.yaml", "starters/*.yaml", "testdata/*.yaml"} {
		for _, path := range files(t, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(filepath.Base(path), func(t *testing.T) { f(t, filepath.Base(path), data) })
		}
	}
}

// The explanation of a scenario is a scenario, and the same one.
func TestExplainRoundTrip(t *testing.T) {
	everyValidFile(t, func(t *testing.T, name string, data []byte) {
		first, err := config.Parse(name, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := config.Explain(&text, first); err != nil {
			t.Fatal(err)
		}
		// Secrets do not come back, and neither does a warning that they are plain.
		again := strings.ReplaceAll(text.String(), `"[redacted]"`, `"none"`)
		second, err := config.Parse(name, []byte(again), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if diff := differs(first, second); diff != "" {
			t.Errorf("%s differs\n%s", diff, again)
		}
	})
}

// differs names the first part of two scenarios that is not the same,
// whatever the files gave or left out.
func differs(a, b *config.Scenario) string {
	for _, pair := range [][2]any{{&a.Metadata, &b.Metadata}, {&a.Spec, &b.Spec}} {
		v, w := reflect.ValueOf(pair[0]).Elem(), reflect.ValueOf(pair[1]).Elem()
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "_" && !reflect.DeepEqual(v.Field(i).Interface(), w.Field(i).Interface()) {
				return fmt.Sprintf("%s: %+v, %+v", name, v.Field(i), w.Field(i))
			}
		}
	}
	if len(a.TestScenarios) != len(b.TestScenarios) {
		return "the number of TestScenarios"
	}
	for i := range a.TestScenarios {
		if !reflect.DeepEqual(a.TestScenarios[i].Spec, b.TestScenarios[i].Spec) {
			return fmt.Sprintf("TestScenario %d: %+v, %+v", i, a.TestScenarios[i].Spec, b.TestScenarios[i].Spec)
		}
	}
	return ""
}

func TestExplainSaysWhereFrom(t *testing.T) {
	s := parse(t, "spec:\n  organizations: {count: 7}\n  targets: {apiRouterUrl: http://a, credentials: {keys: ['${SECRET}']}, headers: {A: '${SECRET}'}}\n")
	var out bytes.Buffer
	if err := config.Explain(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^    count: 7 +# \[file\] How many\.$`,
		`(?m)^    namingPattern: "loadtest-org-\{index\}" +# \[default\]`,
		`(?m)^    # temperature: +# \[not set\]`,
		`(?m)^ +- org: byo +# \[default\]`,
		`(?m)^ +key: "\[redacted\]" +# \[file\]`,
		`(?m)^ +A: "\[redacted\]"$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line matches %s in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "sk-SECRET") {
		t.Error("a secret is shown")
	}
}

func TestDialectsAreOne(t *testing.T) {
	one := `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: same, namespace: load}
spec:
  organizations:
    count: 2
    namingPattern: "acme-{index}"
    budget: {limitUSD: 10.5}
    overrides: [{index: 2, users: {min: 1, max: 1}}]
  users:
    perOrg: {min: 3, max: 9, distribution: random}
    namingPattern: "worker-{org}-{index}"
  apiKeys: {perUser: 2}
  userBehavior:
    thinkTimeSeconds: {base: 10.5, variance: 3, min: 2, max: 30, distribution: gaussian}
    sessionDuration: {min: 5m, max: 60m}
    maxTokensPerRequest: {base: 100}
  test_types: {distribution: {random_short: 60, cached: 40}}
  documentLibrary: {storage: {bucket: docs}, documentCount: 10}
  modelTargeting: {slmModels: [a], rules: [{queryComplexity: simple, target: medium_llm}]}
  targets: {apiRouterUrl: http://localhost:8080, userOrgUrl: http://localhost:8081, timeout: 1m30s}
  limits: {maxCostUsd: 50.00, maxDuration: 2h, maxErrorRate: 0.1}
  slo: {errorRate: 0.01}
`
	two := `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: same, namespace: load}
spec:
  organizations:
    count: 2
    namePrefix: "acme"
    budget: {limitUSD: 10.50}
    overrides: [{index: 2, users: {perOrg: {min: 1, max: 1}}}]
  users:
    perOrg: {min: 3, max: 9, distribution: random}
    namePrefix: "worker-"
    apiKeys: {perUser: 2}
  userBehavior:
    thinkTimeSeconds: {base: 10.5, variance: 3, min: 2, max: 30, distribution: gaussian}
    sessionDuration: {min: 5, max: 60, unit: minutes}
    maxTokensPerRequest: 100
  testTypes:
    - {name: random_short, weight: 60}
    - {name: cached, weight: 40}
  documentLibrary: {bucketName: docs, sampleSize: 10}
  modelTargeting: {slmModels: [a], rules: [{queryComplexity: simple, targetType: medium}]}
  targets: {apiRouterUrl: "http://localhost:8080/", userOrgUrl: http://localhost:8081, timeout: 90}
  limits: {maxCostUSD: 50, maxDurationSec: 7200, maxErrorRate: 10%}
  slo: {errorRate: 1%}
`
	a, err := config.Parse("a.yaml", []byte(one), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.Parse("b.yaml", []byte(two), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := differs(a, b); diff != "" {
		t.Error(diff)
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("the two differ in what they are known to have given")
	}
	if got := a.Spec.Users.NamingPattern; got != "worker-{org}-{index}" {
		t.Errorf("namePrefix became %q", got)
	}
}

// The schema is for editors: it must accept what the decoder accepts, and
// notice what is wrong within a field.
func TestSchema(t *testing.T) {
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", raw); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	documents := func(t *testing.T, data []byte) []any {
		t.Helper()
		var docs []any
		if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
			t.Fatal(err)
		}
		for i := range docs {
			j, err := json.Marshal(docs[i])
			if err != nil {
				t.Fatal(err)
			}
			if docs[i], err = jsonschema.UnmarshalJSON(bytes.NewReader(j)); err != nil {
				t.Fatal(err)
			}
		}
		return docs
	}
	everyValidFile(t, func(t *testing.T, _ string, data []byte) {
		for _, doc := range documents(t, data) {
			if err := schema.Validate(doc); err != nil {
				t.Error(err)
			}
		}
	})
	for _, wrong := range []string{
		"spec: {zebra: 1}",
		"spec: {organizations: {count: 0}}",
		"spec: {organizations: {count: x}}",
		"spec: {organizations: {distribution: odd}}",
		"spec: {users: {perOrg: [1, 2]}}",
		"spec: {loadPattern: {phases: [{name: a}]}}",
		"spec: {loadPattern: {phases: [{duration: 30}]}}",
		"spec: {slo: {ttft: {p42: 1s}}}",
		"spec: {slo: {errorRate: 2}}",
		"spec: {limits: {maxCostUsd: 0}}",
		"spec: {targets: {timeout: long}}",
		"spec: {testTypes: {shares: {}}}",
		"spec: {userBehavior: {questionStrategies: [{weight: 1}]}}",
	} {
		t.Run(wrong, func(t *testing.T) {
			if schema.Validate(documents(t, []byte(head+wrong))[0]) == nil {
				t.Error("the schema accepts it")
			}
			faults(t, wrong)
		})
	}
	if schema.Validate(documents(t, []byte("apiVersion: loadtest.ai-aas.dev/v1alpha1\nkind: TestScenario\nmetadata: {name: a}\n"))[0]) == nil {
		t.Error("the schema accepts a TestScenario without a spec")
	}
}

func TestStarters(t *testing.T) {
	for _, kind := range config.Starters {
		data, err := config.Init(kind)
		if err != nil {
			t.Fatal(err)
		}
		s, err := config.Parse(kind+".yaml", data, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Unsupported())+len(s.Warnings()) > 0 {
			t.Errorf("%s: %v %v", kind, s.Unsupported(), s.Warnings())
		}
	}
	if _, err := config.Init("smok"); err == nil || !strings.Contains(err.Error(), `did you mean "smoke"?`) {
		t.Errorf("got %v", err)
	}
}

func TestEmptySpecIsDefaults(t *testing.T) {
	s := parse(t, "")
	b := s.Spec.UserBehavior
	for _, c := range []struct{ got, want any }{
		{s.Spec.Organizations.Count, 1},
		{s.Spec.Users.PerOrg, config.UsersPerOrg{Min: 1, Max: 1, Distribution: config.Random}},
		{b.ThinkTime, config.ThinkTime{Base: 3 * time.Second, Variance: 2 * time.Second, Min: time.Second, Max: 5 * time.Second, Distribution: config.Uniform}},
		{b.MaxTokens, config.Spread{Base: 256, Min: 256, Max: 256, Distribution: config.Uniform}},
		{b.QuestionStrategies, []config.Strategy{{Name: "mixed", Weight: 1}}},
		{b.ModelPreferences, []config.ModelWeight{{Model: "sim-small", Weight: 1}}},
		{b.StreamingRatio, 1.0},
		{b.ErrorHandling.RetryBackoff, 500 * time.Millisecond},
		{s.Spec.LoadPattern.Type, config.Steady},
		{s.Spec.Targets.Timeout, time.Minute},
		{s.Spec.Targets.TLSVerify, true},
		{s.Spec.Targets.Embedded(), true},
		{s.Spec.Cleanup.OnCompletion, true},
		{s.Spec.Limits, config.Limits{}},
		{s.Spec.Seed == nil && b.Temperature == nil && s.Spec.Organizations.RateLimit == nil, true},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %+v, want %+v", c.got, c.want)
		}
	}
}

func TestSettledNumbers(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		yaml string
		want config.ThinkTime
	}{
		{"{base: 5, variance: 2}", config.ThinkTime{Base: 5 * s, Variance: 2 * s, Min: 3 * s, Max: 7 * s, Distribution: config.Uniform}},
		{"{base: 1, variance: 2}", config.ThinkTime{Base: s, Variance: 2 * s, Min: 0, Max: 3 * s, Distribution: config.Uniform}},
		{"{base: 0.25}", config.ThinkTime{Base: s / 4, Min: s / 4, Max: s / 4, Distribution: config.Uniform}},
		{"{min: 2, max: 6}", config.ThinkTime{Base: 4 * s, Variance: 2 * s, Min: 2 * s, Max: 6 * s, Distribution: config.Uniform}},
		{"{min: 2, max: 8, distribution: gaussian}", config.ThinkTime{Base: 5 * s, Variance: s, Min: 2 * s, Max: 8 * s, Distribution: config.Gaussian}},
		{"{base: 5, variance: 1, distribution: gaussian}", config.ThinkTime{Base: 5 * s, Variance: s, Min: s, Max: 9 * s, Distribution: config.Gaussian}},
		{"{base: 2, distribution: exponential}", config.ThinkTime{Base: 2 * s, Min: 0, Max: 20 * s, Distribution: config.Exponential}},
		{"{distribution: gaussian}", config.ThinkTime{Base: 3 * s, Variance: 2 * s / 3, Min: s, Max: 5 * s, Distribution: config.Gaussian}},
		{"{min: 500ms, max: 1.5}", config.ThinkTime{Base: s, Variance: s / 2, Min: s / 2, Max: 3 * s / 2, Distribution: config.Uniform}},
	} {
		got := parse(t, "spec: {userBehavior: {thinkTimeSeconds: "+c.yaml+"}}").Spec.UserBehavior.ThinkTime
		if d := got.Variance - c.want.Variance; d > time.Nanosecond || d < -time.Nanosecond {
			t.Errorf("%s: variance %s, want %s", c.yaml, got.Variance, c.want.Variance)
		}
		got.Variance = c.want.Variance // a third has no exact number of nanoseconds
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.yaml, got, c.want)
		}
	}
}

func TestPhases(t *testing.T) {
	s := parse(t, `
spec:
  users: {perOrg: {min: 20, max: 20}}
  loadPattern:
    phases:
      - {name: Warm-up, duration: 10s, targetActiveUsers: 5}
      - {duration: 1h30m}
      - {name: hold, duration: 5m, targetActiveUsers: 0, rampStrategy: none, measure: false}
      - {name: cooldown, duration: 1s, measure: true, rampStrategy: step}
`)
	want := []config.Phase{
		{Name: "Warm-up", Duration: 10 * time.Second, Users: 5, RampStrategy: config.LinearRamp},
		{Name: "phase-2", Duration: 90 * time.Minute, Users: config.AllUsers, RampStrategy: config.LinearRamp, Measure: true},
		{Name: "hold", Duration: 5 * time.Minute, RampStrategy: config.NoRamp},
		{Name: "cooldown", Duration: time.Second, Users: config.AllUsers, RampStrategy: config.StepRamp, Measure: true},
	}
	if got := s.Spec.LoadPattern; got.Type != config.Custom || !reflect.DeepEqual(got.Phases, want) {
		t.Errorf("got %+v", got)
	}
	steady := parse(t, "spec: {loadPattern: {type: steady, phases: [{duration: 1s}]}}").Spec.LoadPattern.Phases[0]
	if steady.RampStrategy != config.NoRamp {
		t.Errorf("a steady phase ramps: %q", steady.RampStrategy)
	}
	if config.AllUsers.Of(7) != 7 || config.UserCount(3).Of(7) != 3 {
		t.Error("Of is wrong")
	}
}

func TestVariables(t *testing.T) {
	s := parse(t, `
spec:
  organizations: {count: "${TWO}", namingPattern: "${NAME:-org}-{index}", budget: {limitUSD: "${TWO}.5"}}
  targets: {apiRouterUrl: "http://${HOST:-h}:1", userOrgUrl: "http://h:2", adminApiKey: "${SECRET}", tlsVerify: "${EMPTY:-}"}
  limits: {maxRequests: "${NONE:-}"}
  advanced: {correlationId: "$${X}$1${ODD:-a:-b}"}
`)
	if o := s.Spec.Organizations; o.Count != 2 || o.NamingPattern != "org-{index}" || o.Budget.Limit != 2_500_000 {
		t.Errorf("got %+v", o)
	}
	if tg := s.Spec.Targets; tg.APIRouterURL != "http://h:1" || tg.AdminAPIKey.Reveal() != "sk-SECRET" || !tg.TLSVerify {
		t.Errorf("got %+v", tg)
	}
	if s.Spec.Limits.MaxRequests != 0 || s.Spec.Advanced.CorrelationID != "${X}$1a:-b" {
		t.Errorf("got %d, %q", s.Spec.Limits.MaxRequests, s.Spec.Advanced.CorrelationID)
	}
	// A value cannot become structure.
	in := []byte(head + "spec: {organizations: {namingPattern: \"${X}\"}}\n")
	injected, err := config.Parse("x", in, env(map[string]string{"X": "a-{index}\", count: 9}}\nspec: {seed: 1"}))
	if err != nil || injected.Spec.Organizations.Count != 1 || injected.Spec.Seed != nil {
		t.Errorf("injected: %v, %v", injected, err)
	}
}

func TestLiteralSecretsWarn(t *testing.T) {
	s := parse(t, "spec: {targets: {apiRouterUrl: http://a, credentials: {keys: [plain, '${SECRET}']}}}")
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "keys[0].key") || strings.Contains(w[0], "plain") {
		t.Errorf("got %q", w)
	}
}

func TestPathsStartAtTheFile(t *testing.T) {
	spec := []byte(head + "spec: {targets: {apiRouterUrl: http://a, caFile: /etc/ca.pem, credentials: {file: keys.txt}}}")
	s, err := config.Parse("some/folder/s.yaml", spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Spec.Targets; got.Credentials.File != filepath.Join("some", "folder", "keys.txt") || got.CAFile != "/etc/ca.pem" {
		t.Errorf("got %q and %q", got.Credentials.File, got.CAFile)
	}
	if s, err = config.Parse("-", spec, nil); err != nil || s.Spec.Targets.Credentials.File != "keys.txt" {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestSLO(t *testing.T) {
	got := parse(t, "spec: {slo: {ttft: {p99.9: 2s, mean: 300ms, p95: 800ms}, availability: 99.9%}}").Spec.SLO
	want := config.Latencies{{Latency: 300 * time.Millisecond}, {Quantile: 0.95, Latency: 800 * time.Millisecond}, {Quantile: 0.999, Latency: 2 * time.Second}}
	if !reflect.DeepEqual(got.TTFT, want) || *got.Availability != 0.999 || got.ErrorRate != nil {
		t.Errorf("got %+v", got)
	}
	var names []string
	for _, o := range got.TTFT {
		names = append(names, o.Name())
	}
	if strings.Join(names, " ") != "mean p95 p99.9" {
		t.Errorf("got %v", names)
	}
}

func TestModelsWherePreferredOnesAreMissing(t *testing.T) {
	s := parse(t, `
spec:
  targets: {apiRouterUrl: http://a, credentials: {env: K}}
  modelTargeting: {slmModels: [s]}
  testTypes: [{name: a, modelTargeting: {slmModels: [s], mediumModels: [m]}}]
`)
	want := []config.ModelWeight{{Model: "s", Weight: 1}, {Model: "m", Weight: 1}}
	if got := s.Spec.UserBehavior.ModelPreferences; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if !s.Spec.TestTypes[0].ModelTargeting.Enabled {
		t.Error("a test type that names models does not use them")
	}
}

func TestCredentialsMakeTheUsers(t *testing.T) {
	s := parse(t, `
spec:
  users: {perOrg: {min: 5, max: 5}}
  targets: {apiRouterUrl: "http://r", credentials: {keys: [{key: "${KEY:-k}"}]}}
`)
	if got := strings.Join(s.Warnings(), "\n"); !strings.Contains(got, "spec.users has no effect with targets.credentials") || strings.Contains(got, "organizations") {
		t.Errorf("warnings %q", got)
	}
}

func TestTestTypesAreSettled(t *testing.T) {
	types := parse(t, `
spec:
  documentLibrary: {enabled: true, storage: {type: file, folder: /docs}, documentCount: 9, selectionStrategy: weighted}
  testTypes:
    - {name: random_short}
    - {name: cached, cacheBehavior: mixed}
    - {name: manuals, continuousLoop: true, documentLibrary: {enabled: true, sampleSize: 3}}
    - {name: vectors, endpoint: embeddings}
`).Spec
	var got []config.CacheBehavior
	for _, tt := range types.TestTypes {
		got = append(got, tt.CacheBehavior)
	}
	if want := []config.CacheBehavior{config.AvoidCache, config.MixedCache, config.MixedCache, config.MixedCache}; !reflect.DeepEqual(got, want) {
		t.Errorf("cache behaviours %v, want %v", got, want)
	}
	if l := types.TestTypes[2].DocumentLibrary; l.Storage.Folder != "/docs" || l.Storage.Type != "file" || l.DocumentCount != 3 || l.SelectionStrategy != "weighted" {
		t.Errorf("the library of a type is %+v", l)
	}
	if !types.Looping.Enabled || !types.Looping.SeedRecalculation {
		t.Error("continuousLoop does not loop")
	}
	if m := types.TestTypes[3].ModelPreferences; len(m) != 1 || m[0].Model != "sim-embed" {
		t.Errorf("embeddings go to %v", m)
	}
	short := parse(t, "spec: {test_types: {distribution: {random_short: 60, cached: 15}}}\n").Spec.TestTypes
	if short[0].CacheBehavior != config.AvoidCache || short[1].CacheBehavior != config.PreferCache || short[1].Weight != 15 {
		t.Errorf("as a distribution: %+v", short)
	}
	for spec, want := range map[string]string{
		"{testTypes: [{name: a}, {name: a}]}": "there is a test type",
		"{testTypes: [{name: a, documentLibrary: {enabled: true, storage: {type: file, folder: x}}}]}":                        "documentCount is required",
		"{testTypes: [{name: a, modelTargeting: {slmModels: [s], rules: [{queryComplexity: complex, target: medium_llm}]}}]}": "mediumModels names no models",
		"{keyLifecycle: {revoke: 1, within: 10s, watch: 10s}}":                                                                "must be longer than within, 10s",
		"{keyLifecycle: {suspend: 1}, targets: {apiRouterUrl: http://a, credentials: {env: K}}}":                              "keys that were given are not ours to withdraw",
		"{testTypes: [{name: a, endpoint: key-issue}], targets: {apiRouterUrl: http://a, credentials: {env: K}}}":             "a call of the User/Org API",
		"{testTypes: [{name: a, endpoint: embeddings}], targets: {apiRouterUrl: http://a, credentials: {env: K}}}":            "needs models of its own",
	} {
		list := faults(t, "spec: "+spec+"\n")
		if len(list) != 1 || !strings.Contains(list[0].Message, want) {
			t.Errorf("%s: %v, want %q", spec, list, want)
		}
	}
	if w := parse(t, "spec: {documentLibrary: {enabled: true, storage: {type: file, folder: d}, documentCount: 1}}\n").Warnings(); len(w) != 1 {
		t.Errorf("a library that nobody reads: warnings %q", w)
	}
}

func TestFoldersOfDocumentsAreNextToTheScenario(t *testing.T) {
	const spec = "spec: {documentLibrary: {enabled: true, storage: {type: file, folder: docs}, documentCount: 1}, testTypes: [{name: long}, {name: own, documentLibrary: {enabled: true}}]}\n"
	s, err := config.Parse(filepath.Join("some", "folder", "a.yaml"), []byte(head+spec), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join("some", "folder", "docs")
	if general, own := s.Spec.DocumentLibrary.Storage.Folder, s.Spec.TestTypes[1].DocumentLibrary.Storage.Folder; general != want || own != want {
		t.Errorf("the folders are %s and %s, want %s", general, own, want)
	}
}

func TestOpenLoadSaysWhatItIgnores(t *testing.T) {
	s := parse(t, `
spec:
  userBehavior: {thinkTimeSeconds: {min: 1, max: 2}}
  looping: {enabled: true}
  loadPattern: {type: steady, arrival: {model: open, rate: 3}, phases: [{duration: 1s}]}
`)
	got := strings.Join(s.Warnings(), "\n")
	for _, want := range []string{"spec.userBehavior.thinkTimeSeconds has no effect under open load", "spec.looping has no effect under open load"} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning says %q: %q", want, got)
		}
	}
	if strings.Contains(got, "questionsPerSession") {
		t.Errorf("a default is warned of: %q", got)
	}
}

func TestOpenLoadWithoutArrivalsIsAFault(t *testing.T) {
	_, err := config.Parse("zero.yaml", []byte(`apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: zero}
spec:
  loadPattern: {type: steady, arrival: {model: open, rate: 3}, phases: [{duration: 1s, targetRate: 0}]}
`), func(string) (string, bool) { return "", false })
	if err == nil || !strings.Contains(err.Error(), "nothing would arrive") {
		t.Errorf("got %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	none := parse(t, `
spec:
  organizations: {distribution: random}
  users: {apiKeys: {rateLimit: {requestsPerSecond: 3}}}
  modelTargeting: {enabled: false}
  loadPattern: {type: ramp-up, arrival: {model: closed}, phases: [{duration: 1s}]}
  testTypes: [{name: manuals, documentLibrary: {enabled: true}}]
  documentLibrary: {enabled: true, bucketName: b, documentCount: 3}
  cleanup: {exportResultsTo: "s3://bucket/{testRunId}", retainMetrics: true}
  advanced: {chaos: {enabled: true, slowReads: 1%}}
  limits: {maxRequests: 5, maxRequestsPerUser: 1, maxRequestsPerSecond: 1, maxConcurrentReqs: 1}
  workers: {replicas: 3, usersPerWorker: 20, image: loadtest, regions: [eu]}
  metrics: {prometheusUrl: http://p}
`).Unsupported()
	if len(none) != 0 {
		t.Errorf("got %v", none)
	}
	document := head + `
spec:
  targets: {budgetServiceUrl: http://b}
  metrics: {capture: [a]}
`
	scenario, err := config.Parse("test.yaml", []byte(document), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := scenario.Unsupported()
	if len(all) != config.UnsupportedRows() {
		t.Errorf("%d of %d rows apply: %v", len(all), config.UnsupportedRows(), all)
	}
}

func TestSecretive(t *testing.T) {
	for targets, want := range map[string]bool{
		``: false,
		`targets: {apiRouterUrl: "http://a", userOrgUrl: "http://b"}`:                    false,
		`targets: {apiRouterUrl: "http://a", userOrgUrl: "http://b", adminApiKey: k}`:    true,
		`targets: {apiRouterUrl: "http://a", userOrgUrl: "http://b", headers: {X-Y: z}}`: true,
		`targets: {apiRouterUrl: "http://a", credentials: {env: A}}`:                     false,
		`workers: {env: [{name: A, value: b}]}`:                                          true,
	} {
		if got := parse(t, "\nspec:\n  seed: 1\n  "+targets+"\n").Secretive(); got != want {
			t.Errorf("%s: %t", targets, got)
		}
	}
}

func TestTestScenarios(t *testing.T) {
	s, err := config.Load("testdata/testscenarios.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.TestScenarios) != 3 {
		t.Fatalf("got %d TestScenarios", len(s.TestScenarios))
	}
	ask := s.TestScenarios[0].Spec
	if v := ask.Variables["Extra"]; v.Path != filepath.Join("testdata", "extra.txt") {
		t.Errorf("got %+v", v)
	}
	if v := ask.Variables["N"]; v.Start != 10 || v.Step != 5 {
		t.Errorf("got %+v", v)
	}
	if v := ask.Variables["Stamp"]; v.Format != time.RFC3339 {
		t.Errorf("got %+v", v)
	}
	if c := ask.Validation; !reflect.DeepEqual(c[0].Expected, []int{200}) || c[1].Value != 5.0 || c[2].Value != "chat.completion" || c[3].Max != 30*time.Second {
		t.Errorf("got %+v", c)
	}
	if m := ask.Metrics; m[0].Source != "response" || m[1].Source != "latency" {
		t.Errorf("got %+v", m)
	}
	_, tests, err := config.ParseDocuments("t.yaml", []byte("apiVersion: loadtest.ai-aas.dev/v1alpha1\nkind: TestScenario\nmetadata: {name: a}\nspec: {endpoint: {path: /}, requestTemplate: '{}'}\n"), nil)
	if err != nil || len(tests) != 1 {
		t.Errorf("got %v, %v", tests, err)
	}
}

// What a file cannot contain must not cost more for being there a hundred
// thousand times, nor be reported as often.
func TestHostileInput(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 'b'; i <= 'i'; i++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", i-1), 10), ", "))
	}
	for name, in := range map[string]string{
		"too large":         strings.Repeat("#\n", config.MaxBytes),
		"alias bomb":        bomb + head + "spec: {users: {roles: *i}}",
		"bomb of lists":     bomb + "metadata: {labels: {a: *i}}",
		"loop":              head + "spec: &s {users: {metadata: &m {a: *m}}}",
		"deep flow":         head + "spec: " + strings.Repeat("[", 100_000),
		"deep dashes":       head + "spec:\n  " + strings.Repeat("- ", 100_000),
		"many unknown":      head + "spec: {" + manyKeys(60_000) + "}",
		"many documents":    strings.Repeat("---\nx\n", 100_000),
		"many wrong":        head + "spec: {users: {roles: [" + strings.Repeat("true, ", 9_000) + "]}}",
		"many entries":      head + "spec: {users: {roles: [" + strings.Repeat("a,", 100_000) + "]}}",
		"many secrets":      head + "spec: {targets: {headers: {" + manyKeys(50_000) + "}, x: 1}}",
		"many placeholders": head + "spec: {advanced: {questionTemplates: [" + strings.Repeat("{template: a},", 9_000) + "]}, userBehavior: {questionStrategies: [" + strings.Repeat("{name: b},", 9_000) + "]}}",
		"endless variable":  head + "spec: {advanced: {correlationId: \"" + strings.Repeat("${", 200_000) + "\"}}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("hostile.yaml", []byte(in), nil)
			var f *config.Faults
			if !errors.As(err, &f) {
				t.Fatalf("expected faults, got %v", err)
			}
			if len(f.List) > 100 || len(f.Error()) > 60_000 {
				t.Errorf("%d faults in %d bytes", len(f.List), len(f.Error()))
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	return b.String()
}

// Wherever a line ends, a secret is masked where it stands.
func TestLineEnds(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r", "\u0085", "\u2028", "\u2029"} {
		text := "\ufeff" + strings.ReplaceAll(head+"# ü\nspec:\n  targets: {é: ü, adminApiKey: [sk-SECRET]}\n  x: 1\n", "\n", end)
		_, err := config.Parse("ends.yaml", []byte(text), nil)
		var f *config.Faults
		if !errors.As(err, &f) {
			t.Fatalf("%q: expected faults, got %v", end, err)
		}
		if len(f.List) != 3 || f.List[1].Line != 6 || f.List[1].Source != "  targets: {é: ü, adminApiKey: [redacted]}" && f.List[1].Source != "  targets: {é: ü, adminApiKey: [redacted]" {
			t.Errorf("%q: got %v", end, err)
		}
		if strings.Contains(err.Error(), "sk-SECRET") {
			t.Errorf("%q: the secret is shown", end)
		}
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := config.Load("testdata/there-is-none.yaml", nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestKindIsFound(t *testing.T) {
	if _, err := config.Parse("x", []byte("# nothing\n"), nil); err == nil || !strings.Contains(err.Error(), "no document of kind LoadTestScenario") {
		t.Errorf("got %v", err)
	}
}

func TestWavesAndOpenLoad(t *testing.T) {
	s := parse(t, `
spec:
  organizations: {count: 2, overrides: [{index: 2, models: [{model: big}], thinkTimeSeconds: {min: 0, max: 2}, arrivalRate: 40}]}
  loadPattern:
    type: wave
    repeat: 2
    arrival: {model: open, rate: 10, process: constant}
    phases:
      - {name: warm-up, duration: 1s, targetRate: 5}
      - {name: rise, duration: 2s, targetRate: 20}
      - {name: fall, duration: 2s, rampStrategy: step, steps: 3}
      - {name: cool-down, duration: 1s, targetActiveUsers: 0}
`)
	var names []string
	for _, p := range s.Spec.LoadPattern.Sequence() {
		names = append(names, fmt.Sprint(p.Name, " ", p.RampStrategy))
	}
	if want := "warm-up smooth, rise-1 smooth, fall-1 step, rise-2 smooth, fall-2 step, cool-down smooth"; strings.Join(names, ", ") != want {
		t.Errorf("the phases run as %q, want %q", names, want)
	}
	over := s.Spec.Organizations.Overrides[0]
	if over.ArrivalRate != 40 || over.Models[0] != (config.ModelWeight{Model: "big", Weight: 1}) || over.ThinkTime.Base != time.Second {
		t.Errorf("override %+v", over)
	}
	if len(s.Unsupported()) > 0 {
		t.Errorf("unsupported: %v", s.Unsupported())
	}
	for spec, want := range map[string]string{
		"{loadPattern: {arrival: {model: open, rate: 1}}}":                                                "open load needs phases",
		"{loadPattern: {type: sustained}}":                                                                "sustained needs phases",
		"{loadPattern: {phases: [{duration: 1s, targetRate: 1}]}}":                                        "closed load has no rate",
		"{loadPattern: {phases: [{duration: 1s, steps: 2}]}}":                                             "only a rampStrategy of step",
		"{loadPattern: {repeat: 60, phases: [{duration: 1s}, {duration: 1s}]}}":                           "120 phases come of it",
		"{isolation: {noisyNeighbour: {enabled: true}}}":                                                  "the organization 1 and at least one other are wanted, and the count is 1",
		"{organizations: {count: 2}, isolation: {noisyNeighbour: {enabled: true, aggressor: 3}}}":         "the organization 3 and at least one other",
		"{organizations: {count: 2}, isolation: {noisyNeighbour: {enabled: true, requestsPerSecond: 5}}}": "18 requests of the others in three quarters of a window of 5s are too few",
		"{organizations: {overrides: [{index: 1, arrivalRate: 2}]}}":                                      "closed load has no rate",
		"{organizations: {overrides: [{index: 1, models: [{model: a, weight: 0}]}]}}":                     "weights sum to zero",
	} {
		_, err := config.Parse("x.yaml", []byte("apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: x}\nspec: "+spec+"\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", spec, err, want)
		}
	}
}

func TestMixFindsItsTestScenarios(t *testing.T) {
	const one = "apiVersion: loadtest.ai-aas.dev/v1\nkind: TestScenario\nmetadata: {name: %s}\nspec: {endpoint: {path: %s}, requestTemplate: '{}'}\n"
	elsewhere := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(elsewhere, fmt.Appendf(nil, one, "there", "/there"), 0o600); err != nil {
		t.Fatal(err)
	}
	names := append([]string{"here", "there"}, config.BuiltInScenarios...)
	spec := "spec:\n  scenarioMix:\n    scenarioSource: {type: file, path: " + elsewhere + "}\n    scenarios:\n"
	for i, name := range names {
		spec += fmt.Sprintf("      - {name: %s, weight: %d}\n", name, i)
	}
	s, err := config.Parse("a.yaml", fmt.Appendf(nil, head+"%s---\n"+one, spec, "here", "/here"), nil)
	if err != nil {
		t.Fatal(err)
	}
	mix, err := s.Mix(nil)
	if err != nil || len(mix) != len(names) {
		t.Fatalf("%d of %d, %v", len(mix), len(names), err)
	}
	for i, m := range mix {
		if m.Metadata.Name != names[i] || m.Weight != float64(i) || m.Spec.Endpoint.Path == "" {
			t.Errorf("%d is %s with weight %v", i, m.Metadata.Name, m.Weight)
		}
	}
	s.Spec.ScenarioMix.Scenarios[1].Name = "nowhere"
	if _, err := s.Mix(nil); err == nil || !strings.Contains(err.Error(), "no TestScenario nowhere") {
		t.Errorf("an unknown name: %v", err)
	}
	s.Spec.ScenarioMix.ScenarioSource.Type = "configmap"
	if _, err := s.Mix(nil); err == nil || !strings.Contains(err.Error(), "configmap") {
		t.Errorf("a ConfigMap: %v", err)
	}
}
