//go:build linux

// Command outage measures what it costs a run to be looked at, and whether it
// suffers when those who look die: how late its requests leave while Prometheus,
// a Pushgateway and an OpenTelemetry Collector take its metrics and traces, while
// they are killed in the middle, and while they hang, and whether that is the
// same. Run it, on Linux, from the root of the repository, after
// test/e2e/install.sh; it takes less than three minutes:
//
//	go run ./bench/outage
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/target"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

const scenario = `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: outage, testRunId: %s}
spec:
  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: "${ADMIN_KEY}"}
  organizations: {count: 5}
  users: {perOrg: {min: 40, max: 40}}
  userBehavior: {thinkTimeSeconds: {min: 0.2, max: 1.4}, maxTokensPerRequest: 24, modelPreferences: [{model: sim-small}]}
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: %v}]}
`

const pushed = `  metrics: {pushgatewayUrl: "http://%s", remoteWriteUrl: "http://%s/api/v1/write", otlpEndpoint: "http://%s", exportInterval: 1s}
`

// variants are what becomes of those who look, half-way through the run.
var variants = []struct {
	name    string
	watched bool
	signal  syscall.Signal // 0: none
}{{"nobody looks", false, 0}, {"all look", true, 0}, {"all are killed", true, syscall.SIGKILL}, {"all hang", true, syscall.SIGSTOP}}

func main() {
	rounds := flag.Int("rounds", 3, "how often each is measured, in turn")
	duration := flag.Duration("duration", 10*time.Second, "of each run")
	flag.Parse()
	if err := measure(context.Background(), *rounds, *duration); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, rounds int, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "loadtest-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	bin, err := target.Build(ctx, dir)
	if err != nil {
		return err
	}
	p, err := target.Start(ctx, bin, dir, "--speed", "5")
	if err != nil {
		return err
	}
	lags := make([]stats.Histogram, len(variants)) // of all rounds
	fmt.Println("| | send lag p50 | p99 | requests | warnings |\n|---|---|---|---|---|")
	for round := range rounds {
		for i, v := range variants {
			id := fmt.Sprintf("outage-%d-%d", round, i)
			b, err := run(ctx, bin, dir, id, p, duration, v.watched, v.signal)
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", v.name, err), p.Stop())
			}
			if b.Stop.Reason != "completed" || b.Headline.ErrorRate > 0 {
				return errors.Join(fmt.Errorf("%s: the result is not whole: %+v, %+v", v.name, b.Stop, b.Headline), p.Stop())
			}
			lags[i].Merge(&b.Summary.Overall().Latency.SendLag)
			lag := b.Headline.SendLag
			fmt.Printf("| %s | %v | %v | %d | %d |\n", v.name, lag.P50.Round(time.Microsecond), lag.P99.Round(time.Microsecond), b.Headline.Requests, len(b.Warnings))
		}
	}
	fmt.Printf("\nSend lag of all rounds, against that while all look and live; the bar is no more than %v times as much:\n\n", most)
	fmt.Println("| | p50 | p99 | bar |\n|---|---|---|---|")
	for i, v := range variants {
		p50, p99 := against(&lags[i], &lags[looking], 0.5), against(&lags[i], &lags[looking], 0.99)
		bar := "–"
		switch {
		case v.signal == 0:
		case p50 <= most && p99 <= most:
			bar = "kept"
		default:
			bar = "missed"
		}
		fmt.Printf("| %s | %v (%.2f) | %v (%.2f) | %s |\n", v.name, lags[i].Quantile(0.5).Round(time.Microsecond), p50, lags[i].Quantile(0.99).Round(time.Microsecond), p99, bar)
	}
	return p.Stop()
}

const (
	looking = 1 // the variant that the others are held against
	// most is what chance makes of equal runs on two busy cores.
	most = 1.5
)

// against is a percentile as a multiple of another's.
func against(h, of *stats.Histogram, q float64) float64 {
	return float64(h.Quantile(q)) / float64(max(1, of.Quantile(q)))
}

func run(ctx context.Context, bin, dir, id string, p *target.Platform, duration time.Duration, watched bool, signal syscall.Signal) (*export.Bundle, error) {
	text := fmt.Sprintf(scenario, id, p.Router, p.UserOrg, duration)
	env := append(os.Environ(), "ADMIN_KEY="+p.AdminKey.Reveal())
	var watchers []*exec.Cmd
	if watched {
		w, err := watch(ctx, filepath.Join(dir, id+"-watchers"))
		defer func() {
			for _, cmd := range w.started {
				_ = cmd.Process.Kill() // it may have been
				_ = cmd.Wait()         // it was killed
			}
		}()
		if err != nil {
			return nil, err
		}
		watchers = w.started
		text += fmt.Sprintf(pushed, w.gateway, w.prometheus, w.collector)
		env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+w.collector)
	}
	file := filepath.Join(dir, id+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, bin, "run", file, "--output-dir", dir) //nolint:gosec // our own paths
	cmd.Env = env
	if signal != 0 {
		defer time.AfterFunc(duration/2, func() {
			for _, w := range watchers {
				_ = w.Process.Signal(signal) // it runs
			}
		}).Stop()
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return export.Read(filepath.Join(dir, id, "result.json"))
}

// watching are those who look, and where they listen.
type watching struct {
	started                        []*exec.Cmd
	prometheus, gateway, collector string
}

// watch starts them, and returns when all listen. Those in started must be
// killed, whatever the error.
func watch(ctx context.Context, dir string) (w watching, err error) {
	for _, at := range []*string{&w.prometheus, &w.gateway, &w.collector} {
		if *at, err = free(ctx); err != nil {
			return w, err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return w, err
	}
	settings, collector := filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "collector.yaml")
	err = errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(settings, fmt.Appendf(nil, "scrape_configs: [{job_name: pushed, scrape_interval: 1s, honor_labels: true, static_configs: [{targets: [%q]}]}]\n", w.gateway), 0o600),
		os.WriteFile(collector, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {file/metrics: {path: %q}, file/traces: {path: %q}}
service: {pipelines: {metrics: {receivers: [otlp], exporters: [file/metrics]}, traces: {receivers: [otlp], exporters: [file/traces]}}}
`, w.collector, filepath.Join(dir, "metrics"), filepath.Join(dir, "traces")), 0o600))
	if err != nil {
		return w, err
	}
	for _, args := range [][]string{
		{"prometheus", "--config.file=" + settings, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + w.prometheus,
			"--enable-feature=native-histograms", "--web.enable-remote-write-receiver"},
		{"prometheus-pushgateway", "--web.listen-address=" + w.gateway},
		{filepath.Join(cache, "loadtest-e2e", "collector"), "--config=file:" + collector},
	} {
		// With the priority of this process they would not watch the load, but be one.
		cmd := exec.CommandContext(ctx, "chrt", append([]string{"--other", "0"}, args...)...) //nolint:gosec // our own
		if err := cmd.Start(); err != nil {
			return w, fmt.Errorf("%w: test/e2e/install.sh installs it", err)
		}
		w.started = append(w.started, cmd)
	}
	for _, at := range []string{w.prometheus, w.gateway, w.collector} {
		if err := listens(ctx, at); err != nil {
			return w, err
		}
	}
	return w, nil
}

func free(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// listens waits until somebody does.
func listens(ctx context.Context, at string) error {
	const patience = 30 * time.Second
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
		if err == nil {
			return conn.Close()
		}
		if time.Since(began) > patience {
			return fmt.Errorf("nobody listens at %s after %v: %w", at, patience, err)
		}
	}
}
