package cli

import "testing"

func TestTraceRatio(t *testing.T) {
	for _, c := range []struct {
		sampler, arg string
		ratio        float64
		warns        bool
	}{
		{"", "0.5", 1, false},
		{"always_on", "", 1, false},
		{"parentbased_always_off", "", 0, false},
		{"traceidratio", "0.25", 0.25, false},
		{"parentbased_traceidratio", "", 1, false},
		{"traceidratio", "25%", 1, true},
		{"traceidratio", "NaN", 1, true},
		{"jaeger_remote", "", 1, true},
	} {
		env := map[string]string{"OTEL_TRACES_SAMPLER": c.sampler, "OTEL_TRACES_SAMPLER_ARG": c.arg}
		if ratio, warning := traceRatio(func(name string) string { return env[name] }); ratio != c.ratio || (warning != "") != c.warns {
			t.Errorf("%s %s: %v, %q", c.sampler, c.arg, ratio, warning)
		}
	}
}
