//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// workers starts a run in three processes.
func (f folder) workers(t *testing.T, name, spec string) *process {
	t.Helper()
	return launch(t, []string{"ADMIN_KEY=" + adminKey}, "run", f.scenario(t, name, spec), "--output-dir", string(f), "--workers", "3", "--log-requests")
}

// scrape gets metrics as Prometheus does; nil if nobody answers.
func scrape(t *testing.T, address string) map[string]*dto.MetricFamily {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	wanted := expfmt.NewFormat(expfmt.TypeProtoDelim)
	req.Header.Set("Accept", string(wanted))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	all, decoder := map[string]*dto.MetricFamily{}, expfmt.NewDecoder(resp.Body, wanted)
	for {
		f := new(dto.MetricFamily)
		switch err := decoder.Decode(f); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			return nil // cut off
		}
		all[f.GetName()] = f
	}
}

// killWorker ends the process that made a ledger, mostly that of the second worker,
// and does not let it do anything about that.
func (f folder) killWorker(t *testing.T, name, book string) {
	t.Helper()
	head, err := os.ReadFile(filepath.Join(string(f), name, book)) // #nosec G304 -- the test's own folder
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`"pid":(\d+)`).FindSubmatch(head)
	if match == nil {
		t.Fatalf("no process in the ledger: %s", head)
	}
	pid, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// countLines returns how many lines a file has, 0 if there is none.
func countLines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path) // #nosec G304 -- the test's own folder
	if err != nil {
		t.Error(err)
	}
	return strings.Count(string(data), "\n")
}

// TestWorkers: three processes are one run, whatever happens to them.
func TestWorkers(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "5"), newFolder(t)
	begin := func(t *testing.T, name, load string) *process {
		t.Helper()
		p.manage(http.MethodDelete, "/truth", "", nil)
		run := out.workers(t, name, p.targets()+fifty+load)
		p.served(100)
		return run
	}

	t.Run("whole", func(t *testing.T) {
		run := begin(t, "whole", `
  limits: {maxRequests: 200}
  loadPattern: {phases: [{name: ramp, duration: 1s, targetActiveUsers: 20, rampStrategy: linear}, {name: steady, duration: 5m, targetActiveUsers: 20}]}
`)
		run.exits(99)
		b := out.document(t, "whole")
		if n := b.Summary.Overall().All.Requests; n != 200 || b.Headline.MaxUsers > 20 || b.Stop.Reason != "limit" || len(b.Orgs) != 5 || len(b.Summary.Users) < 20 {
			t.Errorf("%d requests, at most %d users, %+v, %d organizations, %d users", n, b.Headline.MaxUsers, b.Stop, len(b.Orgs), len(b.Summary.Users))
		}
		run.says("3 workers, which began within", "5 orgs, 50 users, 50 keys deleted")
		p.agrees(b)
		p.holdsNothing()
		for _, file := range []string{"worker-0.json", "worker-1.log", "ledger-2.jsonl"} {
			if data, err := os.ReadFile(filepath.Join(string(out), "whole", file)); err != nil || len(data) == 0 || strings.Contains(string(data), adminKey) { // #nosec G304 -- as above
				t.Errorf("%s: %v, %d bytes", file, err, len(data))
			}
		}
		lines := 0
		for i := range 3 {
			lines += countLines(t, filepath.Join(string(out), "whole", fmt.Sprintf("requests-%d.jsonl", i)))
		}
		if lines != 200 {
			t.Errorf("%d requests were written down one by one, not 200", lines)
		}
	})

	t.Run("seen from outside", func(t *testing.T) {
		p.manage(http.MethodDelete, "/truth", "", nil)
		at := free(t)
		run := launch(t, []string{"ADMIN_KEY=" + adminKey}, "run", out.scenario(t, "seen", p.targets()+fifty+"  limits: {maxRequests: 1000}\n"+endless),
			"--output-dir", string(out), "--workers", "3", "--listen", at)
		// Whoever scrapes regularly gets one scrape more when all is over.
		last, every := map[string]*dto.MetricFamily{}, time.NewTicker(time.Second)
		defer every.Stop()
		for over := false; !over; {
			if now := scrape(t, "http://"+at+"/metrics"); now != nil {
				last = now
			}
			select {
			case <-every.C:
			case <-run.ended:
				over = true
			}
		}
		run.exits(99)
		b := out.document(t, "seen")
		all := b.Summary.Overall().All
		for name, want := range map[string]uint64{
			"user_requests_total": all.Requests, "run_tokens_total": all.PromptTokens + all.CompletionTokens + all.CachedTokens, "worker_orgs_created_total": 5,
			"llm_time_to_first_token_seconds": b.Summary.Overall().Latency.TTFT.Count(),
		} {
			sum, workers := uint64(0), map[string]bool{}
			for _, m := range last["loadtest_"+name].GetMetric() {
				sum += uint64(m.GetCounter().GetValue()) + m.GetHistogram().GetSampleCount() // #nosec G115 -- counts
				for _, l := range m.Label {
					if l.GetName() == "worker_id" {
						workers[l.GetValue()] = true
					}
				}
			}
			if sum != want || len(workers) != 3 {
				t.Errorf("%s is %d of %d workers, in the result %d of 3", name, sum, len(workers), want)
			}
		}
	})

	t.Run("a worker is killed", func(t *testing.T) {
		run := begin(t, "loss", "  limits: {maxRequests: 450}\n"+endless)
		out.killWorker(t, "loss", "ledger-1.jsonl")
		run.exits(1)
		run.says("‼ BROKEN", "worker 1 of 3 was lost (signal: killed)", "5 orgs, 50 users, 50 keys deleted")
		b := out.document(t, "loss")
		if len(b.Run.Lost) != 1 || b.Run.Lost[0].Worker != 1 || len(b.Orgs) != 3 || b.Verdict.Status != verdict.Broken {
			t.Errorf("%+v, %d organizations, %+v", b.Run, len(b.Orgs), b.Verdict)
		}
		if ours, real := b.Headline.Requests, p.truth().Requests; int64(ours) >= real || ours == 0 { // #nosec G115 -- a count
			t.Errorf("%d requests in the result, %d in truth", ours, real)
		}
		p.holdsNothing()
	})

	t.Run("interrupted", func(t *testing.T) {
		run := begin(t, "interrupted", endless)
		run.signal(syscall.SIGINT)
		run.exits(130)
		run.says("■ INTERRUPTED", "5 orgs, 50 users, 50 keys deleted")
		if b := out.document(t, "interrupted"); b.Headline.Requests < 100 || len(b.Run.Lost) > 0 || b.Cleanup.DeletedOrgs != 5 {
			t.Errorf("%d requests, lost %v, %+v", b.Headline.Requests, b.Run.Lost, b.Cleanup)
		}
		p.holdsNothing()
	})

	t.Run("the parent is killed", func(t *testing.T) {
		run := begin(t, "orphans", endless)
		run.signal(syscall.SIGKILL)
		run.exits(-1)
		until(t, "the workers have cleaned up", func() bool { s := p.state(); return s.Orgs == 0 && s.Users == 0 })
		for i := range 3 {
			file := filepath.Join(string(out), "orphans", fmt.Sprintf("worker-%d.json", i))
			until(t, "the workers have kept what they measured", func() bool { _, err := os.Stat(file); return err == nil })
		}
	})
}

// TestWorkersOfOneOrganization: three processes have the users of one
// organization among them, on both faces of the platform; whoever is lost, all
// of it is removed, and by one of them.
func TestWorkersOfOneOrganization(t *testing.T) {
	t.Parallel()
	for _, face := range []struct {
		name, admin string
		flags       []string
	}{
		{"as documented", "adminApiKeyFrom: {env: ADMIN_KEY}", nil},
		{"as observed", "adminLogin: {email: admin@platform.invalid, passwordFrom: {env: ADMIN_KEY}}", []string{"--as-observed"}},
	} {
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			p, out := startPlatform(t, append(face.flags, "--speed", "5")...), newFolder(t)
			begin := func(t *testing.T, name, load string) *process {
				t.Helper()
				p.manage(http.MethodDelete, "/truth", "", nil)
				run := out.workers(t, name, fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, %s}\n", p.router, p.userOrg, face.admin)+
					strings.NewReplacer("count: 5", "count: 1", "{min: 10, max: 10}", "{min: 20, max: 20}").Replace(fifty)+load)
				p.served(60)
				return run
			}
			suspended := 0
			removed := func(t *testing.T, name string) *export.Bundle {
				t.Helper()
				b := out.document(t, name)
				c := *b.Cleanup
				c.Duration, c.Notes = 0, nil
				want := export.Cleanup{Status: "done", DeletedOrgs: 1, DeletedUsers: 20, DeletedKeys: 20}
				if face.flags != nil {
					suspended++
					want = export.Cleanup{Status: "done", RevokedKeys: 20, Suspended: 21}
				}
				if diff := cmp.Diff(want, c); diff != "" {
					t.Errorf("the clean-up: %s", diff)
				}
				if s := p.state(); s.ActiveKeys != 0 || s.Orgs != suspended || len(s.Suspended) != suspended {
					t.Errorf("%d keys are good, %d organizations are left, suspended are %v", s.ActiveKeys, s.Orgs, s.Suspended)
				}
				return b
			}

			t.Run("whole", func(t *testing.T) {
				begin(t, "whole", "  limits: {maxRequests: 200}\n"+endless).exits(99)
				b := removed(t, "whole")
				users := []int{}
				for i := range 3 {
					part, err := export.Read(filepath.Join(string(out), "whole", fmt.Sprintf("worker-%d.json", i)))
					if err != nil {
						t.Fatal(err)
					}
					users = append(users, part.Orgs[0].Users)
				}
				if len(b.Orgs) != 1 || b.Orgs[0].Users != 20 || b.Bootstrap.Orgs != 1 || b.Bootstrap.Users != 20 || b.Bootstrap.Keys != 20 || !slices.Equal(users, []int{7, 7, 6}) {
					t.Errorf("%+v of %v users, created %+v", b.Orgs, users, b.Bootstrap)
				}
				if n := b.Summary.Overall().All.Requests; n != 200 || len(b.Summary.Users) < 15 {
					t.Errorf("%d requests of %d users", n, len(b.Summary.Users))
				}
				p.agrees(b)
			})

			t.Run("a worker is killed", func(t *testing.T) {
				run := begin(t, "loss", endless)
				out.killWorker(t, "loss", "ledger-1.jsonl")
				run.signal(syscall.SIGINT)
				run.exits(1)
				run.says("worker 1 of 3 was lost (signal: killed)")
				b := removed(t, "loss")
				if ours, real := b.Headline.Requests, p.truth().Requests; int64(ours) >= real || ours == 0 || b.Orgs[0].Users != 13 { // #nosec G115 -- a count
					t.Errorf("%d requests of %d users in the result, %d in truth", ours, b.Orgs[0].Users, real)
				}
			})

			t.Run("interrupted", func(t *testing.T) {
				run := begin(t, "interrupted", endless)
				run.signal(syscall.SIGINT)
				run.exits(130)
				if b := removed(t, "interrupted"); b.Headline.Requests < 60 || len(b.Run.Lost) > 0 {
					t.Errorf("%d requests, lost %v", b.Headline.Requests, b.Run.Lost)
				}
			})

			t.Run("all are killed", func(t *testing.T) {
				run := begin(t, "crash", endless)
				run.signal(syscall.SIGSTOP) // or the parent would clean up
				for _, book := range []string{"ledger-1.jsonl", "ledger.jsonl", "ledger-2.jsonl"} {
					out.killWorker(t, "crash", book)
				}
				run.signal(syscall.SIGKILL)
				run.exits(-1)
				again := launch(t, []string{"ADMIN_KEY=" + adminKey}, "cleanup", "--run", "crash", "--output-dir", string(out), "--config", filepath.Join(string(out), "crash.yaml"))
				again.exits(0)
				if face.flags == nil {
					again.says("removed 1 organization, ")
				} else {
					suspended++
				}
				if s := p.state(); s.ActiveKeys != 0 || s.Orgs != suspended || len(s.Suspended) != suspended {
					t.Errorf("%d keys are good, %d organizations are left, suspended are %v", s.ActiveKeys, s.Orgs, s.Suspended)
				}
			})

			t.Run("the parent is killed", func(t *testing.T) {
				begin(t, "orphans", endless).signal(syscall.SIGKILL)
				until(t, "the workers have cleaned up", func() bool {
					s := p.state()
					return s.ActiveKeys == 0 && (face.flags == nil && s.Orgs == 0 || face.flags != nil && len(s.Suspended) == suspended+1)
				})
				for i := range 3 {
					file := filepath.Join(string(out), "orphans", fmt.Sprintf("worker-%d.json", i))
					until(t, "the workers have ended", func() bool { _, err := os.Stat(file); return err == nil })
				}
			})
		})
	}
}
