//go:build linux

// Command endurance holds the memory of `loadtest run` against a promise: over
// ten million requests it grows by less than 5% after the first minute. Run it
// from the root of the repository:
//
//	go run ./bench/endurance
//
// The server is bench/server, in a process of its own. Memory is what is resident,
// read every second while requests are made; the report at the end of a run is
// not among them. It swings with each collection of garbage, so that the most in
// half a minute is compared: of the second half of the first minute, and of the last
// half minute. It fails if the promise is broken.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/target"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

//go:embed endurance.yaml
var scenario []byte

var requests = flag.Int64("requests", 10_000_000, "how many requests are made")

// The most by which memory may grow, as a share, and how many seconds are looked
// at together.
const (
	most   = 0.05
	window = 30
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "loadtest-endurance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	bin, err := target.Build(ctx, dir)
	if err != nil {
		return err
	}
	url, stop, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	file := filepath.Join(dir, "endurance.yaml")
	if err := os.WriteFile(file, scenario, 0o600); err != nil {
		return err
	}
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	cmd := exec.CommandContext(ctx, bin, "run", file, "--output-dir", dir) //nolint:gosec // our own paths
	cmd.Env = append(os.Environ(), "URL="+url, "KEYS="+strings.Join(keys, " "), "REQUESTS="+strconv.FormatInt(*requests, 10))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	resident, runErr := watch(ctx, cmd.Process.Pid, url, ended)
	took := time.Since(began)
	b, err := export.Read(filepath.Join(dir, "endurance", "result.json"))
	if err != nil || b.Stop.Reason != "limit" { // which is how it is meant to end
		return fmt.Errorf("%w\n%s", errors.Join(runErr, err), said.Bytes())
	}
	all := b.Summary.Overall().All
	fmt.Printf("%d requests in %v, %v of CPU each, %d failed\n", all.Requests, took.Round(time.Second),
		((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / time.Duration(max(1, all.Requests))).Round(100*time.Nanosecond), all.Requests-all.Succeeded) //nolint:gosec // no run has so many
	return judge(resident)
}

// watch returns what the process had of memory, in bytes, every second in which
// the server answered something, until it has ended.
func watch(ctx context.Context, pid int, url string, ended <-chan error) (resident []int64, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for before := int64(0); ; {
		select {
		case err := <-ended:
			return resident, err
		case <-tick.C:
		}
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		fields := strings.Fields(string(statm))
		if err != nil || len(fields) < 2 {
			continue // it is about to end
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return nil, err
		}
		now, err := answered(ctx, url)
		if err != nil {
			return nil, err
		}
		if now > before && now < *requests {
			resident = append(resident, pages*int64(os.Getpagesize()))
		}
		before = now
	}
}

// judge prints how memory went, and what became of the promise.
func judge(resident []int64) error {
	peak := func(part []int64) float64 { return float64(slices.Max(part)) / (1 << 20) }
	fmt.Printf("resident, MiB, at most in each %d s:", window)
	for part := range slices.Chunk(resident, window) {
		fmt.Printf(" %.1f", peak(part))
	}
	fmt.Println()
	if len(resident) < 3*window {
		return fmt.Errorf("the load lasted %d s: it takes %d s to tell growth after the first minute; make more -requests", len(resident), 3*window)
	}
	first, last := peak(resident[window:2*window]), peak(resident[len(resident)-window:])
	growth := last/first - 1
	result := "pass"
	if growth >= most {
		result = "MISS"
	}
	fmt.Printf("growth of memory after the first minute: %+.1f%% (%.1f to %.1f MiB, %.1f at most on the way), wanted less than %.0f%%: %s\n",
		100*growth, first, last, peak(resident[2*window:]), 100*most, result)
	if growth >= most {
		return errors.New("the promise is broken")
	}
	return nil
}

// serve starts the server, and returns where it is.
func serve(ctx context.Context, dir string) (url string, stop func(), err error) {
	bin := filepath.Join(dir, "server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./bench/server").CombinedOutput(); err != nil { //nolint:gosec // our own paths
		return "", nil, fmt.Errorf("build the server: %w\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, bin) //nolint:gosec // as above
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the server did not say where it is: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// answered asks the server how many requests it has answered.
func answered(ctx context.Context, url string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/count", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	var c struct{ Requests int64 }
	return c.Requests, json.NewDecoder(resp.Body).Decode(&c)
}
