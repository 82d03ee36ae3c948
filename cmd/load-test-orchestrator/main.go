// Command load-test-orchestrator has those commands of loadtest that speak to a
// Kubernetes cluster, and no others.
package main

import (
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli/cluster"
)

// version is set by the build.
var version = "dev"

func main() { cli.Main(version, cluster.Only) }
