//go:build linux

package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The paced load: so little that nothing is busy, and more connections than
// are needed for it.
const (
	pace       = 200 // requests a second
	delay      = 20 * time.Millisecond
	pacedUsers = 8
)

const pacedTable = "\n## Added latency: %d requests a second, answered after %v\n\n| tool | requests | p50, ms | added to p50, µs: median (all) | added to p99, µs: median (all) |\n|---|---|---|---|---|\n"

// percentiles are of the latencies of many requests.
type percentiles struct {
	P50, P99 time.Duration
	Lag      time.Duration `json:"-"` // p99 of how late they left, where latencies count from when they were due
}

// latency prints how much longer than the server the tools say that requests
// took: each tool's own percentiles minus those of the server for the same
// requests, from the moment that it has a request's head to the end of its
// answer. What lies between is the network, and the tool.
func latency(ctx context.Context, dir string, tools ...*tool) error {
	s, err := serve(ctx, dir, "-delay", delay.String())
	if err != nil {
		return err
	}
	defer s.stop()
	tools = slices.DeleteFunc(tools, func(t *tool) bool { return t.path == "" })
	said := map[*tool][]float64{}
	added := map[*tool][2][]float64{}
	made := map[*tool][]float64{}
	lag := map[*tool][]float64{}
	for round := range *rounds {
		for _, t := range tools {
			w := work{url: s.url, connections: pacedUsers, duration: *duration, rate: pace,
				report: filepath.Join(dir, fmt.Sprintf("paced-%s-%d", strings.Fields(t.name)[0], round))}
			var truth percentiles
			if err := s.get(ctx, "/latency", &truth); err != nil { // forgets what was before
				return err
			}
			n, c, err := measure(ctx, s, t, w, func(c count) int64 { return c.Requests })
			if err != nil {
				return err
			}
			if err := s.get(ctx, "/latency", &truth); err != nil {
				return err
			}
			own, err := t.latency(ctx, w, c.said)
			if err != nil {
				return fmt.Errorf("what %s says of latency: %w", t.name, err)
			}
			a := added[t]
			a[0] = append(a[0], micros(own.P50-truth.P50))
			a[1] = append(a[1], micros(own.P99-truth.P99))
			added[t] = a
			said[t] = append(said[t], own.P50.Seconds()*1e3)
			made[t] = append(made[t], float64(n))
			lag[t] = append(lag[t], micros(own.Lag))
		}
	}
	fmt.Printf(pacedTable, pace, delay)
	for _, t := range tools {
		a := added[t]
		fmt.Printf("| %s | %.0f | %.2f | %+.0f (%+.0f to %+.0f) | %+.0f (%+.0f to %+.0f) |\n", t.name, median(made[t]), median(said[t]),
			median(a[0]), slices.Min(a[0]), slices.Max(a[0]), median(a[1]), slices.Min(a[1]), slices.Max(a[1]))
	}
	fmt.Println()
	for _, t := range tools {
		if all := lag[t]; slices.Max(all) > 0 {
			fmt.Printf("- %s's latencies count from when requests were due. How late they left is in them, at p99 %.0f µs (%.0f to %.0f)\n", t.name, median(all), slices.Min(all), slices.Max(all))
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }

// oursLatency is what the result says.
func oursLatency(_ context.Context, w work, _ []byte) (p percentiles, err error) {
	var result struct {
		Headline struct {
			E2E, SendLag struct{ P50Ns, P99Ns int64 }
		}
	}
	err = readJSON(filepath.Join(w.report, "ours", "result.json"), &result)
	h := result.Headline
	return percentiles{time.Duration(h.E2E.P50Ns), time.Duration(h.E2E.P99Ns), time.Duration(h.SendLag.P99Ns)}, err
}

// k6Latency is what its summary says; sending, waiting and receiving.
func k6Latency(_ context.Context, w work, _ []byte) (p percentiles, err error) {
	var summary struct {
		Metrics struct {
			Duration struct {
				Med float64 `json:"med"`
				P99 float64 `json:"p(99)"`
			} `json:"http_req_duration"`
		} `json:"metrics"`
	}
	err = readJSON(w.report, &summary)
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return percentiles{P50: ms(summary.Metrics.Duration.Med), P99: ms(summary.Metrics.Duration.P99)}, err
}

// vegetaLatency is what its report says.
func (t *tool) vegetaLatency(ctx context.Context, w work, _ []byte) (p percentiles, err error) {
	out, err := exec.CommandContext(ctx, t.path, "report", "-type", "json", w.report).Output() //nolint:gosec // that is the point
	if err != nil {
		return p, err
	}
	var report struct {
		Latencies struct {
			P50 int64 `json:"50th"`
			P99 int64 `json:"99th"`
		} `json:"latencies"`
	}
	err = json.Unmarshal(out, &report)
	return percentiles{P50: time.Duration(report.Latencies.P50), P99: time.Duration(report.Latencies.P99)}, err
}

// listed is what a list of latencies in seconds says, the first of each line of
// CSV; lines without one are left out.
func listed(_ context.Context, _ work, said []byte) (p percentiles, err error) {
	r := csv.NewReader(strings.NewReader(string(said)))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	var all []float64
	for _, line := range lines {
		if v, err := strconv.ParseFloat(line[0], 64); err == nil {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return p, errors.Join(err, errors.New("it lists none"))
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return time.Duration(all[int(math.Ceil(q*float64(len(all))))-1] * float64(time.Second))
	}
	return percentiles{P50: at(0.5), P99: at(0.99)}, err
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path) //nolint:gosec // our own paths
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// get asks the server for JSON.
func (s *server) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	return json.NewDecoder(resp.Body).Decode(v)
}
