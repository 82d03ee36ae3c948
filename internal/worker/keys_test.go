package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// endless load of two users, during which keys are withdrawn.
const withdrawn = `
  organizations: {count: 2}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior:
    thinkTimeSeconds: {min: 0.02, max: 0.05}
    maxTokensPerRequest: {base: 4}
    streamingRatio: 0
    modelPreferences: [{model: sim-small}]
  loadPattern: {type: steady, phases: [{name: long, duration: 1h, targetActiveUsers: all}]}
  limits: {maxErrorRate: 0%}
`

// untilChecked runs a scenario and interrupts the load when all keys are checked.
func untilChecked(t *testing.T, spec string, change ...func(*worker.Options)) *export.Bundle {
	t.Helper()
	ctx, interrupt := context.WithCancelCause(t.Context())
	core, _ := observer.New(zap.InfoLevel)
	log := zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "withdrawn keys checked" {
			interrupt(worker.ErrInterrupted)
		}
		return nil
	}))
	w := prepare(t, spec, append(change, func(o *worker.Options) { o.Log = log })...)
	b, err := w.Run(ctx)
	if err == nil || b.Stop.Reason != "interrupted" {
		t.Fatalf("%v, %+v", err, b.Stop)
	}
	return b
}

func action(b *export.Bundle, name string) export.KeyLifecycle {
	for _, k := range b.KeyLifecycle {
		if k.Action == name {
			return k
		}
	}
	return export.KeyLifecycle{}
}

// Of platforms that behave as observed, or have one of its faults with keys, none
// gets away; of 20 sound ones, none is accused. What the withdrawn keys met is in no number of the load.
func TestKeysThatOutlive(t *testing.T) {
	for _, kind := range []struct {
		name            string
		seeds           uint64
		quirks          platformsim.Quirks
		revoke, suspend string // the verdicts
		endless         int    // of two revoked keys
	}{
		{"documented", 20, platformsim.Quirks{}, "in time", "in time", 0},
		{"observed", 20, platformsim.AsObserved(), "outlived", "outlived", 2},
		{"cached for long", 5, platformsim.Quirks{KeyCache: true}, "outlived", "outlived", 2},
		{"suspension ignored", 5, platformsim.Quirks{SuspendKeepsKeys: true}, "in time", "outlived", 0},
	} {
		for seed := range kind.seeds {
			t.Run(fmt.Sprintf("%s/%d", kind.name, seed+1), func(t *testing.T) {
				t.Parallel()
				p := target(t, platformsim.Options{
					Seed: seed + 1, Quirks: kind.quirks, HashCost: time.Microsecond,
					AdminEmail: "admin@example.com", Models: platformsim.AtSpeed(platformsim.DefaultModels(), 100),
				})
				to := targets(p)
				if kind.quirks.LoginOnly {
					to = loggedIn(p)
				}
				b := untilChecked(t, to+withdrawn+"  keyLifecycle: {revoke: 2, suspend: 2, at: 0s, every: 10ms, within: 50ms, watch: 200ms}\n", func(o *worker.Options) {
					o.Sinks = append(o.Sinks, record.SinkFunc(func(r *record.Record) {
						if (r.Kind == record.KeyTest) != (r.Phase == worker.KeyCheck) || r.Injected() != (r.Kind == record.KeyTest) {
							t.Errorf("%+v", r)
						}
					}))
				})
				revoked, suspended := action(b, export.Revoke), action(b, export.Suspend)
				if revoked.Verdict != kind.revoke || suspended.Verdict != kind.suspend || revoked.Endless != kind.endless {
					t.Errorf("%+v\n%+v", revoked, suspended)
				}
				findings := 0
				for _, f := range b.Findings {
					if strings.HasPrefix(f.Title, "security: keys outlive") {
						findings++
					}
				}
				if wanted := strings.Count(kind.revoke+kind.suspend, "outlived"); findings != wanted {
					t.Errorf("%d findings, want %d: %+v", findings, wanted, b.Findings)
				}
				for _, k := range slices.Concat(revoked.Keys, suspended.Keys) {
					if k.Withdrawn <= 0 || k.Accepted+k.Refused == 0 || kind.name == "documented" && k.Accepted > 0 {
						t.Errorf("%+v", k)
					}
				}
				all := b.Summary.Overall().All
				if all.Injected == 0 || all.Refused+all.Failed > 0 || int64(all.Requests+all.Injected) != p.Totals().Requests {
					t.Errorf("%+v; %d requests in truth", all, p.Totals().Requests)
				}
				if s := p.State(); s.ActiveKeys != 0 || b.Cleanup.Status != "done" || b.Cleanup.Remaining != 0 {
					t.Errorf("left behind: %+v; %+v", s, b.Cleanup)
				}
			})
		}
	}
}

// A router that forgets a key after a while is accused of that while.
func TestKeysThatOutliveForAWhile(t *testing.T) {
	const memory = 2 * time.Second
	p := target(t, platformsim.Options{Quirks: platformsim.Quirks{KeyCache: true}, KeyMemory: memory})
	b := untilChecked(t, targets(p)+withdrawn+"  keyLifecycle: {revoke: 3, at: 0s, every: 1ms, within: 100ms, watch: 10m}\n")
	got := action(b, export.Revoke)
	if got.Verdict != "outlived" || got.Late != 3 || got.Endless != 0 || got.Median == nil || got.Max == nil || *got.Max < *got.Median {
		t.Fatalf("%+v", got)
	}
	for _, k := range got.Keys {
		if k.LastAccepted == nil || *k.LastAccepted > memory || k.FirstRefused == nil || *k.FirstRefused < *k.LastAccepted || *k.Effective != *k.FirstRefused {
			t.Errorf("%+v", k)
		}
	}
}

// Keys that outlive fail the run; a load that ends too early says so.
func TestKeysAndTheVerdict(t *testing.T) {
	p := target(t, platformsim.Options{Quirks: platformsim.Quirks{KeyCache: true}})
	short := strings.Replace(withdrawn, "1h", "2s", 1)
	b := run(t, targets(p)+short+"  keyLifecycle: {revoke: 1, at: 0s, within: 1ms}\n")
	if b.Verdict.Status != verdict.Failed || !strings.HasPrefix(b.Verdict.Reasons[0], "key lifecycle: keys OUTLIVE their revocation: 1 of 1 keys") {
		t.Errorf("%+v", b.Verdict)
	}
	b = run(t, targets(target(t, platformsim.Options{}))+short+"  keyLifecycle: {suspend: 1, at: 10s}\n")
	if got := action(b, export.Suspend); got.Verdict != "undecided" || len(got.Keys) != 0 || b.Verdict.Status != verdict.Passed {
		t.Errorf("%+v, %+v", got, b.Verdict)
	}
	if !slices.ContainsFunc(b.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "keyLifecycle.suspend is undecided: 1 of 1 keys were never withdrawn")
	}) {
		t.Errorf("%q", b.Warnings)
	}
}
