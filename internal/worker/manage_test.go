package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

var operations = []string{"org-create", "org-read", "org-patch", "org-list", "user-invite", "user-suspend", "key-issue", "key-rotate", "key-revoke"}

// managed is load of every operation, and of chats.
func managed() string {
	s := `
  organizations: {count: 2}
  users: {perOrg: {min: 3, max: 3}}
  userBehavior:
    questionsPerSession: {min: 30, max: 30}
    thinkTimeSeconds: {min: 0, max: 0.001}
    maxTokensPerRequest: {base: 4}
    modelPreferences: [{model: sim-small}]
  testTypes:
    - {name: chat, weight: 2}
`
	for _, o := range operations {
		s += fmt.Sprintf("    - {name: %s, endpoint: %s}\n", o, o)
	}
	return s
}

func byEndpoint(k stats.Key) stats.Key { return stats.Key{Endpoint: k.Endpoint} }

// loggedIn are targets that are opened by a login, as the observed face wants it.
func loggedIn(p *platformsim.Platform) string {
	return fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminLogin: {email: admin@example.com, password: %q}}\n",
		p.RouterURL(), p.UserOrgURL(), p.AdminPassword().Reveal())
}

// Every operation is load with an endpoint of its own, on both faces, and all
// that it makes is removed.
func TestManagementIsLoad(t *testing.T) {
	for _, face := range []struct {
		name   string
		quirks platformsim.Quirks
	}{{"documented", platformsim.Quirks{}}, {"observed", platformsim.AsObserved()}} {
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			quirks := face.quirks
			quirks.RevokeConflicts = false // which fails one in ten revocations of a key in use
			p := target(t, platformsim.Options{Quirks: quirks, HashCost: time.Microsecond, AdminEmail: "admin@example.com"})
			to := targets(p)
			if quirks.LoginOnly {
				to = loggedIn(p)
			}
			b := run(t, to+managed())
			if b.Verdict.Status != verdict.Passed {
				t.Errorf("%+v, %+v", b.Verdict, b.Summary.Overall().Errors)
			}
			asked := map[string]uint64{}
			for _, g := range b.Summary.Rollup(byEndpoint) {
				asked[g.Key.Endpoint] = g.Measured.Requests
				if g.Key.Endpoint == "chat" {
					if truth := p.Totals().Requests; int64(g.All.Requests) != truth {
						t.Errorf("%d chats, %d requests at the router", g.All.Requests, truth)
					}
					continue // pre-flight may have found that there are no streams
				}
				if g.Measured.Succeeded != g.Measured.Requests || g.Latency.E2E.Count() != g.Measured.Requests || g.All.UsageUnknown+g.All.CostUnknown > 0 {
					t.Errorf("%s: %+v", g.Key.Endpoint, g.All)
				}
				if g.Latency.E2E.Mean() <= 0 {
					t.Errorf("%s took no time", g.Key.Endpoint)
				}
			}
			for _, o := range operations { // a share of 1 in 11 of 180 requests
				if asked[o] < 10 || asked[o] > 25 {
					t.Errorf("%s: %d requests", o, asked[o])
				}
			}
			if s := p.State(); s.ActiveKeys != 0 || b.Cleanup.Status != "done" || b.Cleanup.Remaining != 0 || face.name == "documented" && s.Orgs != 0 {
				t.Errorf("left behind: %+v; %+v", s, b.Cleanup)
			}
			if made := uint64(b.Cleanup.DeletedOrgs + b.Cleanup.Suspended); made < 2+asked["org-create"] {
				t.Errorf("%d organizations were created, and the clean-up knew of %+v", 2+asked["org-create"], b.Cleanup)
			}
		})
	}
}

// What an interrupt cuts off is removed all the same.
func TestManagementIsCutOff(t *testing.T) {
	p := target(t, platformsim.Options{})
	ctx, interrupt := context.WithCancelCause(t.Context())
	seen := make(chan struct{}, 1)
	w := prepare(t, targets(p)+strings.Replace(managed(), "{min: 30, max: 30}", "{min: 1000, max: 1000}", 1)+"  looping: {enabled: true}\n", func(o *worker.Options) {
		o.Sinks = append(o.Sinks, record.SinkFunc(func(r *record.Record) {
			if r.Endpoint == "key-rotate" {
				select {
				case seen <- struct{}{}:
				default:
				}
			}
		}))
	})
	go func() {
		for range 20 {
			<-seen
		}
		interrupt(worker.ErrInterrupted)
	}()
	b, err := w.Run(ctx)
	if err == nil || b.Stop.Reason != "interrupted" {
		t.Fatalf("%v, %+v", err, b.Stop)
	}
	if s := p.State(); s.ActiveKeys != 0 || s.Orgs != 0 || b.Cleanup.Status != "done" || b.Cleanup.Remaining != 0 {
		t.Errorf("left behind: %+v; %+v", s, b.Cleanup)
	}
}
