//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/truthlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// truthScenario is a load of fifty users that leaves nothing to interpretation:
// every phase is measured, and the users begin one after the other, since the
// platform's log does not know how long connecting took.
const truthScenario = `
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: truth, testRunId: truth}
spec:
  seed: 11
  organizations: {count: 5}
  users: {perOrg: {min: 10, max: 10}}
  userBehavior:
    questionsPerSession: {min: 4, max: 10}
    thinkTimeSeconds: {min: 0.2, max: 1.4}
    modelPreferences: [{model: sim-small, weight: 2}, {model: sim-medium}]
    maxTokensPerRequest: {base: 48, variance: 32}
    streamingRatio: 0.7
    conversationStyle: {multiTurnProbability: 0.4, turnsPerConversation: {min: 2, max: 4}}
    errorHandling: {retryAttempts: 3, retryBackoffMs: 100}
  looping: {enabled: true}
  cacheSalt: {enabled: true, strategy: org_id}
  loadPattern:
    phases:
      - {name: ramp, duration: 5s, targetActiveUsers: 50, rampStrategy: linear, measure: true}
      - {name: steady, duration: %s, targetActiveUsers: 50, measure: true}
  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: "${TRUTH_ADMIN_KEY}"}
`

// TestTruth holds what the tool says it measured against what a platform in
// another process logged. Counts, tokens and money must agree exactly, every
// time. Latencies are the work of a machine that others may be using: of three
// attempts one must agree.
func TestTruth(t *testing.T) {
	bin := truthBuild(t)
	const attempts = 3
	for attempt := 1; ; attempt++ {
		r := truthRun(t, bin, "15s")
		r.agree(t, func(k stats.Key) stats.Key { return stats.Key{Org: k.Org, Model: k.Model, Stream: k.Stream} })
		all := r.bundle.Summary.Overall().All
		if r.bundle.Verdict.Status != verdict.Passed || all.Succeeded != all.Requests || all.Requests < 400 {
			t.Errorf("verdict %s, %d of %d requests succeeded", r.bundle.Verdict.Status, all.Succeeded, all.Requests)
		}
		if all.Streams == 0 || all.Streams == all.Requests || all.CachedTokens == 0 {
			t.Errorf("the load was not what the scenario says: %+v", all)
		}
		if t.Failed() || r.punctual(t, attempt) {
			return
		}
		if attempt == attempts {
			t.Fatalf("in none of %d attempts the latencies agreed with the platform's log", attempts)
		}
	}
}

// TestTruthOfFailures: what the platform refused is counted as it was refused.
func TestTruthOfFailures(t *testing.T) {
	r := truthRun(t, truthBuild(t), "5s", "--seed", "4", "--faults", "http-500=0.03,http-502=0.02,http-503=0.02,storm=0.001,storm-length=5")
	r.agree(t, stats.ByOrg)
	all := r.bundle.Summary.Overall().All
	if all.Failed == 0 || all.Refused == 0 || all.Retried == 0 {
		t.Errorf("too little went wrong: %+v", all)
	}
}

// truthOutcome is one run of the tool and what the platform knows of it.
type truthOutcome struct {
	bundle  *export.Bundle
	entries []platformsim.Entry
	said    string // by the platform, in the end
}

// truthBuild builds the tool.
func truthBuild(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "loadtest")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/loadtest").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// truthCommand prepares to run the tool, ahead of whatever else this machine
// does, if that is allowed: both processes alike, and nobody else.
func truthCommand(ctx context.Context, bin string, args ...string) *exec.Cmd {
	if first := []string{"chrt", "--rr", "1"}; exec.CommandContext(ctx, first[0], append(first[1:], "true")...).Run() == nil {
		bin, args = first[0], slices.Concat(first[1:], []string{bin}, args)
	}
	return exec.CommandContext(ctx, bin, args...)
}

// truthRun runs the scenario against a platform of its own.
func truthRun(t *testing.T, bin, steady string, platformArgs ...string) *truthOutcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	keyFile, log := filepath.Join(dir, "admin.key"), filepath.Join(dir, "truth.jsonl")

	const anyPort = "127.0.0.1:0"
	platform := truthCommand(ctx, bin, append([]string{"platform", "--admin-key-file", keyFile, "--truth", log,
		"--router-addr", anyPort, "--user-org-addr", anyPort, "--management-addr", anyPort}, platformArgs...)...)
	platform.Stderr = os.Stderr
	out, err := platform.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := platform.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	where := map[string]string{}
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ready.") {
		if name, url, ok := strings.Cut(lines.Text(), "http://"); ok {
			where[strings.TrimSpace(name)] = "http://" + url
		}
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}

	scenario := filepath.Join(dir, "scenario.yaml")
	if err := os.WriteFile(scenario, fmt.Appendf(nil, truthScenario, steady, where["router"], where["user/org API"]), 0o600); err != nil {
		t.Fatal(err)
	}
	run := truthCommand(ctx, bin, "run", scenario, "--output-dir", dir)
	run.Env = append(os.Environ(), "TRUTH_ADMIN_KEY="+strings.TrimSpace(string(key)))
	if said, err := run.CombinedOutput(); err != nil {
		t.Fatalf("the run: %v\n%s", err, said)
	}

	if err := platform.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
	}
	if err := platform.Wait(); err != nil {
		t.Fatalf("the platform: %v\n%s", err, said.String())
	}
	bundle, err := export.Read(filepath.Join(dir, "truth", "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := truthlog.Read(log)
	if err != nil {
		t.Fatal(err)
	}
	return &truthOutcome{bundle: bundle, entries: entries, said: said.String()}
}

// truthCounts is what both sides count.
type truthCounts struct {
	Requests, Succeeded, Prompt, Completion, Cached, Chunks, MicroUSD int64
	Statuses                                                          string // other than 200, and how often each
}

// agree compares counts: in every group that by makes, and overall.
func (r *truthOutcome) agree(t *testing.T, by func(stats.Key) stats.Key) {
	t.Helper()
	names := map[string]string{} // of organizations, by slug
	for _, o := range r.bundle.Orgs {
		names[o.Slug] = o.Name
	}
	ours, theirs := map[stats.Key]truthCounts{}, map[stats.Key]truthCounts{}
	for _, by := range []func(stats.Key) stats.Key{by, func(stats.Key) stats.Key { return stats.Key{} }} {
		for _, g := range r.bundle.Summary.Rollup(by) {
			a, statuses := g.All, map[int]int64{}
			for _, e := range g.Errors {
				statuses[e.Status] += int64(e.Count)
			}
			ours[g.Key] = truthCounts{int64(a.Requests), int64(a.Succeeded), int64(a.PromptTokens), int64(a.CompletionTokens),
				int64(a.CachedTokens), int64(a.Chunks), a.CostMicroUSD, fmt.Sprint(statuses)}
		}
		statuses := map[stats.Key]map[int]int64{}
		for _, e := range r.entries {
			name, known := names[e.Org]
			if !known {
				t.Errorf("the platform was asked by %q, which is no organization of the run", e.Org)
			}
			k := by(stats.Key{Org: name, Model: e.Model, Stream: e.Stream})
			if statuses[k] == nil {
				statuses[k] = map[int]int64{}
			}
			c := theirs[k]
			c.Requests++
			if e.Status == 200 {
				c.Succeeded++
			} else {
				statuses[k][e.Status]++
			}
			c.Prompt += int64(e.PromptTokens)
			c.Completion += int64(e.CompletionTokens)
			c.Cached += int64(e.CachedTokens)
			c.Chunks += int64(len(e.Chunks))
			c.MicroUSD += e.CostMicroUSD
			c.Statuses = fmt.Sprint(statuses[k])
			theirs[k] = c
		}
	}
	for k := range theirs {
		if ours[k] != theirs[k] {
			t.Errorf("%+v:\n ours  %+v\n truth %+v", k, ours[k], theirs[k])
		}
	}
	if len(ours) != len(theirs) {
		t.Errorf("the result has %d groups, the platform saw %d", len(ours), len(theirs))
	}
	t.Logf("counts: %+v", theirs[stats.Key{}])
}

// punctual compares latencies of successes, the pre-flight request left out,
// and reports whether all of them agree within 1 ms or 2%.
func (r *truthOutcome) punctual(t *testing.T, attempt int) bool {
	t.Helper()
	l := r.bundle.Summary.Overall().Latency
	good := true
	for _, m := range truthlog.Metrics(r.entries, &l) {
		if int(m.Ours.Count()) != len(m.Truth) {
			t.Fatalf("%s: %d values, %d in truth", m.Name, m.Ours.Count(), len(m.Truth))
		}
		if off := m.Rounding(); off > 0.01 {
			t.Errorf("%s: a percentile of the histogram is %.2f%% off the exact one", m.Name, 100*off)
		}
		for _, q := range []float64{0.5, 0.99} {
			ours, truth := m.Quantile(q)
			off, bar := ours-truth, max(time.Millisecond, truth/50)
			ok := off.Abs() <= bar
			good = good && ok
			t.Logf("attempt %d: %-4s p%-3.4g truth %8.0f µs, ours %+6.0f µs of ±%5.0f: %s", attempt, m.Name, q*100,
				micro(truth), micro(off), micro(bar), map[bool]string{true: "agrees", false: "TOO FAR"}[ok])
		}
	}
	t.Logf("attempt %d: send lag p50 %.0f µs, p99 %.0f µs\n%s", attempt, micro(l.SendLag.Quantile(0.5)), micro(l.SendLag.Quantile(0.99)), r.said)
	return good
}

func micro(d time.Duration) float64 { return float64(d) / 1e3 }
