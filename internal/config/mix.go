package config

import (
	_ "embed"
	"fmt"
	"os"
	"sync"
)

//go:embed builtin.yaml
var builtInDocuments []byte

// builtIn are the TestScenarios of BuiltInScenarios.
var builtIn = sync.OnceValue(func() []TestScenario {
	_, tests, err := ParseDocuments("builtin.yaml", builtInDocuments, nil)
	if err != nil {
		panic("config: " + err.Error()) // the tests parse it
	}
	return tests
})

// Mixed is a TestScenario of the mix, with its share and its model.
type Mixed struct {
	TestScenario
	Weight float64
	Model  string // empty: by modelPreferences
}

// Mix returns the TestScenarios of the scenario's mix: those of its own file,
// then those of scenarioSource, then the built-in ones. The error is about
// scenarioSource.
func (s *Scenario) Mix(getenv func(string) (string, bool)) ([]Mixed, error) {
	mix := &s.Spec.ScenarioMix
	known := append([]TestScenario(nil), s.TestScenarios...)
	if source := mix.ScenarioSource; source != nil && len(mix.Scenarios) > 0 {
		if source.Type != "file" {
			return nil, fmt.Errorf("spec.scenarioMix.scenarioSource: a %s cannot be read from here: put the TestScenarios into a file", source.Type)
		}
		data, err := os.ReadFile(source.Path)
		if err != nil {
			return nil, fmt.Errorf("spec.scenarioMix.scenarioSource: %w", err)
		}
		_, tests, err := ParseDocuments(source.Path, data, getenv)
		if err != nil {
			return nil, err
		}
		known = append(known, tests...)
	}
	known = append(known, builtIn()...)
	var out []Mixed
next:
	for _, want := range mix.Scenarios {
		for _, t := range known {
			if t.Metadata.Name == want.Name {
				out = append(out, Mixed{t, want.Weight, want.Model})
				continue next
			}
		}
		return nil, fmt.Errorf("spec.scenarioMix.scenarios: there is no TestScenario %s", want.Name)
	}
	return out, nil
}
