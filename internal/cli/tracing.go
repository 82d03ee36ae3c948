package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/tracing"
)

// traces starts to send spans, if the environment asks for them.
func (r *localRun) traces(s *config.Scenario, ratio float64) (*tracing.Exporter, error) {
	wanted, err := tracing.Wanted(os.Getenv)
	if err != nil { // the variables may have been meant for another program
		r.say("warning: no traces are sent: %v\n", err)
	}
	if !wanted || ratio == 0 {
		return nil, nil
	}
	return tracing.Start(tracing.Options{
		Service: os.Getenv("OTEL_SERVICE_NAME"), Version: r.version,
		Attributes: map[string]string{"loadtest.run": r.id, "loadtest.scenario": s.Metadata.Name},
	})
}

// traceRatio is the share of questions of which the platform is asked to keep
// the trace, by OpenTelemetry's own variables; all, unless they say otherwise.
// warning says what is wrong with them.
func traceRatio(getenv func(string) string) (ratio float64, warning string) {
	sampler := getenv("OTEL_TRACES_SAMPLER")
	switch strings.TrimPrefix(sampler, "parentbased_") { // nobody is parent of our traces
	case "", "always_on":
		return 1, ""
	case "always_off":
		return 0, ""
	case "traceidratio":
		arg := getenv("OTEL_TRACES_SAMPLER_ARG")
		if arg == "" {
			return 1, ""
		}
		if ratio, err := strconv.ParseFloat(arg, 64); err == nil && ratio >= 0 && ratio <= 1 {
			return ratio, ""
		}
		return 1, fmt.Sprintf("OTEL_TRACES_SAMPLER_ARG is %q and no number from 0 to 1: all traces are asked for", arg)
	default:
		return 1, fmt.Sprintf("OTEL_TRACES_SAMPLER is %q, which is not known here: all traces are asked for", sampler)
	}
}
