package worker_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

const salted = `
  organizations: {count: 2}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior:
    questionsPerSession: {min: 1, max: 1}
    thinkTimeSeconds: {min: 0.01, max: 0.02}
    maxTokensPerRequest: {base: 8}
    modelPreferences: [{model: sim-small}]
`

const validated = salted + "  cacheSalt: {enabled: true, validation: {enabled: true}}\n"

// Of 20 leaky platforms none gets away, and of 20 sound ones none is accused,
// whether they report cached tokens or not. Without them there may be no
// verdict, as the times are also those of a busy machine: that none is missed
// where they are not is tested in package isolation.
func TestCacheSaltIsolation(t *testing.T) {
	for _, kind := range []struct {
		name    string
		quirks  platformsim.Quirks
		defects platformsim.Defects
		speed   float64
		allowed string
	}{
		{"sound", platformsim.Quirks{}, platformsim.Defects{}, 20, "no leak"},
		{"leaky", platformsim.Quirks{}, platformsim.Defects{LeakyCache: true}, 20, "leak"},
		{"sound, silent", platformsim.Quirks{PlainUsage: true}, platformsim.Defects{}, 5, "no leak, undecided"},
		{"leaky, silent", platformsim.Quirks{PlainUsage: true}, platformsim.Defects{LeakyCache: true}, 5, "leak, undecided"},
	} {
		var decided atomic.Int32
		t.Cleanup(func() {
			if decided.Load() == 0 {
				t.Errorf("%s: of 20 platforms none was given a verdict", kind.name)
			}
		})
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/%d", kind.name, seed+1), func(t *testing.T) {
				t.Parallel()
				p := target(t, platformsim.Options{
					Seed: seed + 1, Quirks: kind.quirks, Defects: kind.defects, Models: platformsim.AtSpeed(platformsim.DefaultModels(), kind.speed),
				})
				w := prepare(t, targets(p)+validated, func(o *worker.Options) { o.RunID = fmt.Sprint("run-", seed+1) })
				b, err := w.Run(t.Context())
				if err != nil || len(b.Isolation) != 1 {
					t.Fatalf("%v, %+v", err, b.Isolation)
				}
				got, salts := b.Isolation[0], b.Isolation[0].Salts
				if !strings.Contains(", "+kind.allowed+",", ", "+got.Verdict+",") {
					t.Errorf("%s: %s; cold %v, warm %v, cross %v, p %v and %v", got.Verdict, got.Reason, salts.Cold, salts.Warm, salts.Cross, salts.PLeak, salts.PClean)
				}
				if all := b.Summary.Overall().All; kind.quirks.PlainUsage { // what is cached, and so cheaper, cannot be known
					if int64(all.Requests) != p.Totals().Requests {
						t.Errorf("%d requests, %d in truth", all.Requests, p.Totals().Requests)
					}
				} else {
					agree(t, p, all)
				}
				if got.Verdict != "undecided" {
					decided.Add(1)
				}
				leak := got.Verdict == "leak"
				if leak != (b.Verdict.Status == verdict.Failed) || leak != strings.HasPrefix(b.Verdict.Reasons[0], "cache salt isolation: LEAK") {
					t.Errorf("%+v", b.Verdict)
				}
				if leak != (salts.Violations > 0) || len(salts.Violated) != salts.Violations {
					t.Errorf("%d violations, %d listed", salts.Violations, len(salts.Violated))
				}
			})
		}
	}
}

// The check's requests are told apart, and in no measured number.
func TestTheSaltCheckIsAPhaseOfItsOwn(t *testing.T) {
	p := target(t, platformsim.Options{Defects: platformsim.Defects{LeakyCache: true}})
	b := run(t, targets(p)+salted+"  cacheSalt: {enabled: true, strategy: user_id, validation: {enabled: true, reportViolations: false}}\n")
	got := b.Isolation[0].Salts
	if got.Violations == 0 || len(got.Violated) != 0 || len(got.Pairs) != 12 || got.Requests != 48 {
		t.Errorf("%+v", got)
	}
	for _, g := range b.Summary.Rollup(func(k stats.Key) stats.Key { return stats.Key{Phase: k.Phase} }) {
		if g.Key.Phase == worker.SaltCheck && (g.All.Requests != 48 || g.Measured.Requests != 0) {
			t.Errorf("%+v", g.All)
		}
	}
	if m := b.Summary.Overall().Measured.Requests; m != 2 {
		t.Errorf("%d measured requests, want one of each user", m)
	}
}

// Where it cannot be done, a warning says so.
func TestTheSaltCheckWantsTwoSalts(t *testing.T) {
	p := target(t, platformsim.Options{})
	for salt, why := range map[string]string{
		"enabled: true, strategy: custom, customValue: one": "it wants tenants of two different salts",
		"enabled: false": "cacheSalt.enabled is false",
	} {
		b := run(t, targets(p)+salted+"  cacheSalt: {"+salt+", validation: {enabled: true}}\n")
		if len(b.Isolation) != 0 || len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "cacheSalt.validation was not done: "+why) {
			t.Errorf("%+v, %q", b.Isolation, b.Warnings)
		}
		if b.Verdict.Status != verdict.Passed {
			t.Errorf("%+v", b.Verdict)
		}
	}
}

// A platform without a prefix cache cannot leak, nor be seen not to.
func TestWithoutACacheThereIsNoVerdict(t *testing.T) {
	models := platformsim.AtSpeed(platformsim.DefaultModels(), 5)
	models[0].Backend.CacheBlocks = -1
	b := run(t, targets(target(t, platformsim.Options{Models: models}))+validated)
	if got := b.Isolation[0]; got.Verdict != "undecided" || !strings.Contains(got.Reason, "it has no prefix cache") || b.Verdict.Status != verdict.Passed {
		t.Errorf("%+v, %+v", got, b.Verdict)
	}
	if warned := strings.Join(b.Warnings, "\n"); !strings.Contains(warned, "cache salt isolation on sim-small is undecided: the platform reports no cached tokens") {
		t.Errorf("nobody is told: %s", warned)
	}
}

// A limit holds for the check too.
func TestTheSaltCheckKeepsLimits(t *testing.T) {
	p := target(t, platformsim.Options{})
	b := run(t, targets(p)+validated+"  limits: {maxRequests: 20}\n")
	if b.Stop.Reason != "limit" || len(b.Isolation) != 0 || p.Totals().Requests != 20 {
		t.Errorf("%+v, %d requests, %+v", b.Stop, p.Totals().Requests, b.Isolation)
	}
}
