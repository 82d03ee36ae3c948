package dashboards

import (
	"fmt"
	"regexp"
)

var variable = regexp.MustCompile(`\$(?:\{(\w+)(?::\w+)?\}|(\w+))`)

// Expand puts values in the place of an expression's variables, as Grafana
// does before it asks Prometheus. A variable without a value is an error.
func Expand(expr string, values map[string]string) (expanded string, err error) {
	expanded = variable.ReplaceAllStringFunc(expr, func(text string) string {
		m := variable.FindStringSubmatch(text)
		value, known := values[m[1]+m[2]]
		if !known && err == nil {
			err = fmt.Errorf("there is no variable %s in %s", text, expr)
		}
		return value
	})
	return expanded, err
}
