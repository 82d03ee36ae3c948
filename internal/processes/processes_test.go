package processes_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/processes"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// errKilled is how a child ends that was killed.
var errKilled = errors.New("signal: killed")

// crew starts a goroutine for each child, with pipes as a process has them; one
// that returns an error has died.
func crew(t *testing.T, children ...func(c *processes.Child) error) *processes.Crew {
	t.Helper()
	var links []processes.Link
	var orders []processes.Order
	for i, work := range children {
		in, to := io.Pipe()
		from, out := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			c, err := processes.Attend(in, out)
			if err == nil {
				err = work(c)
			}
			ended <- err
			_ = in.Close()  // never fails
			_ = out.Close() // as above
		}()
		links = append(links, processes.Link{To: to, From: from, Wait: func() error { return <-ended }})
		orders = append(orders, processes.Order{Scenario: []byte("text"), Worker: i, Workers: len(children)})
	}
	return processes.NewCrew(links, orders)
}

// document is what a worker measured.
func document(c *processes.Child, reason string) *export.Bundle {
	return &export.Bundle{Schema: export.Schema, Run: export.Run{Worker: c.Order.Worker}, Stop: export.Stop{Reason: reason}}
}

// obedient is a child that makes load for d, unless it is stopped.
func obedient(d time.Duration, began *time.Time) func(*processes.Child) error {
	return func(c *processes.Child) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c.Listen(func(export.Stop) { cancel() })
		at, _, err := c.Ready(ctx)
		if err == nil {
			time.Sleep(time.Until(at))
			*began = time.Now()
			select {
			case <-time.After(d):
				c.Finish(document(c, "completed"))
				return nil
			case <-ctx.Done():
			}
		}
		c.Finish(document(c, "interrupted"))
		return nil
	}
}

func reasons(documents []*export.Bundle) (all []string) {
	for _, d := range documents {
		all = append(all, d.Stop.Reason)
	}
	return all
}

func TestAllBeginAtOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, last time.Time
		late := obedient(time.Second, &last)
		c := crew(t, obedient(time.Second, &first), func(c *processes.Child) error {
			time.Sleep(3 * time.Second) // its tenants take that long
			return late(c)
		}, func(c *processes.Child) error { // a worker without users
			c.Finish(document(c, "completed"))
			return nil
		})
		begin := time.Now()
		documents, lost := c.Run(t.Context())
		if len(documents) != 3 || len(lost) > 0 || first.Sub(begin) < 3*time.Second || !first.Equal(last) {
			t.Errorf("%d documents, lost %v; they began after %v and %v", len(documents), lost, first.Sub(begin), last.Sub(begin))
		}
	})
}

func TestWhoFailsBeforeTheLoadEndsItForAll(t *testing.T) {
	for name, fail := range map[string]struct {
		child func(*processes.Child) error
		want  []string // reasons
		lost  []export.Lost
	}{
		"broken": {func(c *processes.Child) error { c.Finish(document(c, "broken")); return nil }, []string{"interrupted", "broken"}, nil},
		"says why": {func(c *processes.Child) error { c.Fail(errors.New("no secret")); return nil },
			[]string{"interrupted"}, []export.Lost{{Worker: 1, Reason: "no secret"}}},
		"killed": {func(*processes.Child) error { return errKilled }, []string{"interrupted"}, []export.Lost{{Worker: 1, Reason: "signal: killed"}}},
		"ends":   {func(*processes.Child) error { return nil }, []string{"interrupted"}, []export.Lost{{Worker: 1, Reason: "it ended without a result"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var began time.Time
				documents, lost := crew(t, obedient(time.Hour, &began), fail.child).Run(t.Context())
				if diff := cmp.Diff(fail.lost, lost); diff != "" || !slices.Equal(reasons(documents), fail.want) || !began.IsZero() {
					t.Errorf("%s; %v, began %v", diff, reasons(documents), began)
				}
			})
		})
	}
}

func TestWhoDiesLaterIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began time.Time
		c := crew(t, obedient(time.Minute, &began), func(c *processes.Child) error {
			c.Listen(func(export.Stop) {})
			at, _, err := c.Ready(context.Background())
			if err != nil {
				return err
			}
			unfollow := c.Follow(func() live.Snapshot {
				return live.Snapshot{Stage: live.Running, Users: 3, Totals: stats.Totals{Requests: 7}}
			})
			time.Sleep(time.Until(at))
			unfollow()
			return errKilled
		})
		documents, lost := c.Run(t.Context())
		if diff := cmp.Diff([]export.Lost{{Worker: 1, Reason: "signal: killed", Requests: 7}}, lost); diff != "" {
			t.Error(diff)
		}
		if got := reasons(documents); !slices.Equal(got, []string{"completed"}) {
			t.Errorf("the other ended as %v", got)
		}
		if s := c.Snapshot(); s.Totals.Requests != 7 || s.Users != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		var a, b time.Time
		documents, lost := crew(t, obedient(time.Hour, &a), obedient(time.Hour, &b)).Run(ctx)
		if got := reasons(documents); !slices.Equal(got, []string{"interrupted", "interrupted"}) || len(lost) > 0 {
			t.Errorf("%v, lost %v", got, lost)
		}
	})
}

// A child whose parent has gone is stopped.
func TestOrphan(t *testing.T) {
	in, to := io.Pipe()
	go func() {
		_, _ = to.Write([]byte(`{"runId":"r"}`)) // never fails
		_ = to.Close()                           // as above
	}()
	c, err := processes.Attend(in, io.Discard)
	if err != nil || c.Order.RunID != "r" {
		t.Fatalf("%+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Listen(func(export.Stop) { cancel() })
	if _, _, err := c.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A child whose loop stands still, or that says nothing any more, is seen; one
// that has ended is not expected to go round.
func TestTheOldestBeatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beating := func(last func() time.Time, ends time.Duration) func(*processes.Child) error {
			return func(c *processes.Child) error {
				unfollow := c.Follow(func() live.Snapshot { return live.Snapshot{Stage: live.Running, Beat: last()} })
				time.Sleep(ends)
				unfollow()
				c.Finish(document(c, "completed"))
				return nil
			}
		}
		began := time.Now()
		c := crew(t, beating(time.Now, time.Hour), beating(func() time.Time { return began }, 30*time.Second))
		if age, expected := c.Age(); expected {
			t.Errorf("a beat was expected %v ago, before any", age)
		}
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			c.Run(t.Context())
		}()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if age, expected := c.Age(); !expected || age != 20*time.Second {
			t.Errorf("%v, %v: the second stands still for 20s", age, expected)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if age, expected := c.Age(); !expected || age > time.Second {
			t.Errorf("%v, %v: the second has ended", age, expected)
		}
		<-ran
		if _, expected := c.Age(); expected {
			t.Error("all have ended")
		}
	})
}

func TestSnapshotIsTheSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		say := func(s live.Snapshot) func(*processes.Child) error {
			return func(c *processes.Child) error {
				unfollow := c.Follow(func() live.Snapshot { return s })
				time.Sleep(time.Second)
				unfollow()
				c.Finish(document(c, "completed"))
				return nil
			}
		}
		fast, slow := &stats.Latencies{}, &stats.Latencies{}
		fast.E2E.Record(time.Millisecond)
		slow.E2E.Record(time.Second)
		c := crew(t,
			say(live.Snapshot{Stage: live.Running, Phase: "ramp", Phases: 2, Elapsed: 3, Users: 2, TargetUsers: 4, Totals: stats.Totals{Requests: 5}, Latency: fast,
				CostLimitMicroUSD: 9, Warnings: []string{"both", "one"}, Open: &live.Open{Rate: 1, Arrivals: 2, Dropped: 3}}),
			say(live.Snapshot{Stage: live.Waiting, Phase: "steady", PhaseIndex: 1, Phases: 2, Elapsed: 2, Users: 1, TargetUsers: 1, Totals: stats.Totals{Requests: 1}, Latency: slow,
				CostLimitMicroUSD: 9, Warnings: []string{"both"}, Open: &live.Open{Rate: 1, Arrivals: 2, Dropped: 3}}))
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			c.Run(t.Context())
		}()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		s := c.Snapshot()
		<-ran
		if s.Latency.E2E.Count() != 2 || s.Latency.E2E.Max() != time.Second {
			t.Errorf("latency %+v", s.Latency.E2E)
		}
		s.Latency = nil
		want := live.Snapshot{
			Stage: live.Running, Phase: "steady", PhaseIndex: 1, Phases: 2, Elapsed: 3, Users: 3, TargetUsers: 5, Totals: stats.Totals{Requests: 6},
			CostLimitMicroUSD: 9, Warnings: []string{"both", "one"}, Open: &live.Open{Rate: 2, Arrivals: 4, Dropped: 6},
		}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Error(diff)
		}
	})
}
