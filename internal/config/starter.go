package config

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed starters/*.yaml
var starters embed.FS

// Starters are the kinds of scenario that [Init] knows, the simplest first.
var Starters = []string{"smoke", "ramp", "byo", "full"}

// Init returns a scenario to start from.
func Init(kind string) ([]byte, error) {
	data, err := starters.ReadFile("starters/" + kind + ".yaml")
	if err != nil {
		hint := didYouMean(kind, Starters)
		if hint != "" {
			hint = "; " + hint
		}
		return nil, fmt.Errorf("there is no starter %q; there are %s%s", kind, strings.Join(Starters, ", "), hint)
	}
	return data, nil
}
