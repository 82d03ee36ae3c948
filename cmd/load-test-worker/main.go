// Command load-test-worker is what the pods of a run hold: loadtest without the
// commands that speak to a cluster.
package main

import "github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"

// version is set by the build.
var version = "dev"

func main() { cli.Main(version) }
