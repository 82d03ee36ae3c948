package worker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/interaction"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// calls are what a TestScenario may call.
var calls = map[config.Endpoint]platform.Endpoint{
	{Path: "/v1/chat/completions", Method: http.MethodPost}: platform.Chat,
	{Path: "/v1/completions", Method: http.MethodPost}:      platform.Completions,
	{Path: "/v1/embeddings", Method: http.MethodPost}:       platform.Embeddings,
	{Path: "/v1/responses", Method: http.MethodPost}:        platform.Responses,
	{Path: "/v1/models", Method: http.MethodGet}:            platform.ModelList,
}

// program lets the simulator carry out a TestScenario.
type program struct {
	*interaction.Program
	run string
}

// Begin implements [simulator.Interaction].
func (p program) Begin(who simulator.Identity, rng *rand.Rand) simulator.Dialog {
	return p.Program.Begin(interaction.Who{Run: p.run, Org: who.Org, User: who.User, Seed: rng.Uint64()}, rng)
}

// mix makes a type of request of every TestScenario of the scenario's mix.
func (t *traffic) mix(o Options, general questions.Source) ([]simulator.Type, error) {
	tests, err := o.Scenario.Mix(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	strategies := map[string]questions.Source{}
	for _, name := range config.Strategies {
		if strategies[name], err = questions.New([]questions.Weight{{Strategy: name, Weight: 1}}); err != nil {
			return nil, err
		}
	}
	var out []simulator.Type
	for _, test := range tests {
		endpoint, known := calls[test.Spec.Endpoint]
		if !known {
			return nil, fmt.Errorf("TestScenario %s: %s %s cannot be called: use POST /v1/chat/completions, /v1/completions, /v1/embeddings or /v1/responses, or GET /v1/models",
				test.Metadata.Name, test.Spec.Endpoint.Method, test.Spec.Endpoint.Path)
		}
		variable := t.modelsFor(endpoint, test.Model, o.Embedded)
		spec := interaction.Spec{
			Name: test.Metadata.Name, Initial: test.Spec.RequestTemplate + test.Spec.InitialMessageTemplate, FollowUp: test.Spec.FollowUpMessageTemplate,
			Questions: general, Strategies: strategies, Variables: map[string]interaction.Variable{},
			Models: func(rng *rand.Rand) string { return simulator.ChooseModel(variable, rng) }, MaxTokens: func(rng *rand.Rand) int { return int(math.Round(drawn(t.spec.UserBehavior.MaxTokens, rng))) },
			Temperature: func(rng *rand.Rand) float64 {
				if t.spec.UserBehavior.Temperature == nil {
					return 1
				}
				return drawn(*t.spec.UserBehavior.Temperature, rng)
			},
		}
		if d := test.Spec.ConversationDepth; d != nil {
			spec.MinTurns, spec.MaxTurns = d.Min, d.Max
		}
		if d := test.Spec.DocumentSource; d != nil {
			if d.Type != "inline" {
				return nil, fmt.Errorf("TestScenario %s: documents in a %s cannot be read from here: write them inline", test.Metadata.Name, d.Type)
			}
			for _, one := range d.Documents {
				spec.Documents = append(spec.Documents, interaction.Document{Content: one.Content, Weight: one.Weight})
			}
		}
		for name, v := range test.Spec.Variables {
			spec.Variables[name] = interaction.Variable{
				Type: v.Type, Values: v.Values, Weights: v.Weights, Min: v.Min, Max: v.Max, Precision: v.Precision, Strategy: v.Strategy, Seed: v.Seed,
				Method: v.Method, MinWords: v.MinWords, MaxWords: v.MaxWords, Templates: v.Templates, Path: v.Path, Encoding: v.Encoding,
				Value: v.Value, Format: v.Format, Version: v.Version, Start: v.Start, Step: v.Step,
			}
		}
		for _, c := range test.Spec.Validation {
			spec.Checks = append(spec.Checks, interaction.Check{Type: c.Type, Expected: c.Expected, Path: c.Path, Condition: c.Condition, Value: c.Value, Max: c.Max})
		}
		for _, m := range test.Spec.Metrics {
			spec.Metrics = append(spec.Metrics, interaction.Metric{Name: m.Name, Source: m.Source, Path: m.JSONPath, Variable: m.Variable, Transform: m.Transform})
		}
		made, err := interaction.Compile(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, simulator.Type{
			Name: test.Metadata.Name, Weight: test.Weight, Endpoint: endpoint, Interaction: program{made, o.RunID}, Models: asked(made, variable),
		})
	}
	return out, nil
}

// asked are the models that the templates of a TestScenario ask: what
// {{.Model}} may be, and others that they name, as far as a trial shows.
func asked(p *interaction.Program, variable []simulator.Model) (models []simulator.Model) {
	for _, name := range p.Asked {
		if slices.ContainsFunc(models, func(m simulator.Model) bool { return m.Name == name }) {
			continue
		}
		if slices.ContainsFunc(variable, func(m simulator.Model) bool { return m.Name == name }) {
			models = append(models, variable...)
		} else {
			models = append(models, simulator.Model{Name: name, Weight: 1})
		}
	}
	return models
}

// modelsFor are the models of {{.Model}} for an endpoint: the named one, if
// there is a name. The embedded platform has a model of its own for embeddings.
func (t *traffic) modelsFor(endpoint platform.Endpoint, name string, embedded bool) []simulator.Model {
	switch {
	case name != "":
		return []simulator.Model{{Name: name, Weight: 1}}
	case endpoint == platform.Embeddings && embedded:
		return []simulator.Model{{Name: "sim-embed", Weight: 1}}
	default:
		return models(t.spec.UserBehavior.ModelPreferences)
	}
}

// drawn draws a number, as users do.
func drawn(s config.Spread, rng *rand.Rand) float64 { return number(s).Draw(rng) }

// evenly scales the weights of types so that they sum to 1.
func evenly(types []simulator.Type) []simulator.Type {
	sum := 0.0
	for _, t := range types {
		sum += t.Weight
	}
	for i := range types {
		types[i].Weight /= sum
	}
	return types
}
