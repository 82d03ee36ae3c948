// Command loadtest is a load tester for AI platforms with many tenants.
package main

import (
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli/cluster"
)

// version is set by the build.
var version = "dev"

func main() { cli.Main(version, cluster.Commands) }
