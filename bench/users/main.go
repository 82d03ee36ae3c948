//go:build unix

// Command users measures what `loadtest run` itself needs: its memory, its CPU
// and its punctuality with many users, against a platform in another process of
// the same machine. Run it, on Linux, from the root of the repository:
//
//	go run ./bench/users
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/target"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

//go:embed *.yaml
var scenarios embed.FS

func main() {
	ctx := context.Background()
	err := errors.Join(run(ctx, "thinking"), run(ctx, "restless", "--instant"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, scenario string, platformFlags ...string) error {
	dir, err := os.MkdirTemp("", "loadtest-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	bin, err := target.Build(ctx, dir)
	if err != nil {
		return err
	}
	data, err := scenarios.ReadFile(scenario + ".yaml")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "scenario.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	p, err := target.Start(ctx, bin, dir, platformFlags...)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, bin, "run", file, "--output-dir", dir) //nolint:gosec // our own paths
	cmd.Env = append(os.Environ(), "ROUTER="+p.Router, "USER_ORG="+p.UserOrg, "ADMIN_KEY="+p.AdminKey.Reveal())
	said, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("the run %s: %w\n%s", scenario, err, said), p.Stop())
	}
	b, err := export.Read(filepath.Join(dir, scenario, "result.json"))
	if err := errors.Join(err, p.Stop()); err != nil {
		return err
	}
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system does not say what a process used")
	}
	h, cpu := b.Headline, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	fmt.Printf("%s: %d users created in %v; %.0f requests/s, %.0f tokens/s, %.1f%% errors\n", scenario,
		b.Bootstrap.Users, b.Bootstrap.Duration.Round(time.Millisecond), h.RequestsPerSecond, h.TokensPerSecond, 100*h.ErrorRate)
	fmt.Printf("  max RSS %.0f MiB, %v CPU a request, send lag p50 %v, p99 %v\n", float64(used.Maxrss)/1024,
		(cpu / time.Duration(h.Requests)).Round(time.Microsecond), h.SendLag.P50.Round(time.Microsecond), h.SendLag.P99.Round(time.Microsecond))
	return nil
}
