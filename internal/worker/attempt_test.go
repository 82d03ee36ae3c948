package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// began lets a load begin in the past.
func began(ago time.Duration, carried stats.Totals) func(*worker.Options) {
	return func(o *worker.Options) {
		o.Start = func(context.Context) (time.Time, stats.Totals, error) { return time.Now().Add(-ago), carried, nil }
	}
}

// A pod's successor takes its tenants over, and removes them; names that tell the
// time are the run's.
func TestAnAttemptTakesTheTenantsOver(t *testing.T) {
	const spec = busy + "  loadPattern: {type: steady, phases: [{name: past, duration: 1h}, {name: now, duration: 1h, measure: true}]}\n  limits: {maxRequests: 40}\n"
	for name, o := range map[string]platformsim.Options{"documented": {}, "observed": {Quirks: platformsim.AsObserved()}} {
		t.Run(name, func(t *testing.T) {
			o.Quirks.RevokeConflicts = false
			o.AdminEmail, o.HashCost = "admin@example.com", time.Millisecond
			p := target(t, o)
			at := loggedIn(p)
			named := strings.Replace(spec, "count: 3", `count: 3, namingPattern: "o-{index}-{timestamp}"`, 1)
			begun := time.Now().Add(-time.Hour)
			first := prepare(t, at+named, func(o *worker.Options) { o.Begun, o.Retain = begun, func() bool { return true } })
			b, err := first.Run(t.Context())
			if err != nil || b.Cleanup.Status != "retained" || p.State().Orgs != 3 {
				t.Fatalf("%v, %+v, %d organizations", err, b.Cleanup, p.State().Orgs)
			}
			before := p.Totals().Requests
			next := prepare(t, at+named, func(o *worker.Options) { o.Begun, o.Attempt = begun, 1 },
				began(90*time.Minute, stats.Totals{Requests: 30, CostMicroUSD: 7}))
			b, err = next.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all := b.Summary.Overall().All
			if n := p.Totals().Requests - before; int64(all.Requests) != n || all.Requests > 11 { // 40 less 30, and the pre-flight
				t.Errorf("%d requests in the result, %d in truth", all.Requests, n)
			}
			if r := b.Run; r.Attempt != 1 || r.Late < 90*time.Minute || b.Stop.Reason != "limit" {
				t.Errorf("%+v, %+v", r, b.Stop)
			}
			if ph := b.Phases; len(ph) != 2 || ph[0].Start != time.Hour || ph[0].End != time.Hour || ph[1].Start != b.Run.Late || b.Run.MeasuredDuration > time.Minute {
				t.Errorf("%+v, measured %v", ph, b.Run.MeasuredDuration)
			}
			found := false
			for _, f := range b.Findings {
				found = found || f.Title == "keys cannot be taken over"
			}
			s := p.State()
			switch name {
			case "documented":
				if s.Orgs != 0 || s.Users != 0 || s.ActiveKeys != 0 || found {
					t.Errorf("left behind: %+v; %+v", s, b.Findings)
				}
			default:
				if len(s.Suspended) != 3 || len(s.Slugs) != 3 || !found {
					t.Errorf("left behind: %+v; %+v", s, b.Findings)
				}
			}
			for _, e := range p.Truth() {
				if strings.HasPrefix(e.ID, "run-1.1-") {
					return
				}
			}
			t.Error("the second attempt's requests bear the IDs of the first")
		})
	}
}

// What lost workers left is found by the plan.
func TestPlanLedger(t *testing.T) {
	p := target(t, platformsim.Options{})
	left := prepare(t, targets(p)+busy, func(o *worker.Options) { o.Workers, o.Retain = 2, func() bool { return true } })
	if _, err := left.Run(t.Context()); err != nil || p.State().Orgs != 2 {
		t.Fatalf("%v, %d organizations", err, p.State().Orgs)
	}
	for range 2 { // the second time it is there
		book, err := worker.PlanLedger(worker.Options{Scenario: left.Scenario, RunID: "run-1", Folder: left.Folder, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(book.Outstanding()); n != 3 {
			t.Errorf("%d organizations are planned", n)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStoppedForAReason(t *testing.T) {
	p := target(t, platformsim.Options{})
	ctx, stop := context.WithCancelCause(t.Context())
	want := export.Stop{Reason: "limit", Detail: "the cost limit was reached, of all workers together"}
	w := prepare(t, targets(p)+busy, func(o *worker.Options) {
		o.Start = func(context.Context) (at time.Time, carried stats.Totals, err error) {
			stop(&worker.Stopped{Stop: want})
			<-ctx.Done()
			return at, carried, context.Cause(ctx)
		}
	})
	b, err := w.Run(ctx)
	var stopped *worker.Stopped
	if !errors.As(err, &stopped) || b.Stop != want || p.State().Orgs != 0 {
		t.Errorf("%v, %+v, %d organizations", err, b.Stop, p.State().Orgs)
	}
}
