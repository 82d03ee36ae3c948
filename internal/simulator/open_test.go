package simulator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// at is open load of a constant rate.
func at(rate float64, length time.Duration) loadpattern.Phases {
	return loadpattern.Phases{{Name: "open", Duration: length, Rate: rate, Measure: true}}
}

func open(phases loadpattern.Phases, process loadpattern.Process) Options {
	return Options{Pattern: phases, Open: []Stream{{Arrivals: loadpattern.Arrivals{Phases: phases, Process: process}}}}
}

func TestOpenLoadWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(10, 20*time.Second), loadpattern.Constant)
		o.Users, o.Script = population(2, 2), script(t)
		f, got := runOnce(t, &llm{service: 7 * time.Second}, o)
		if len(got) != 200 {
			t.Fatalf("%d requests, want 200", len(got))
		}
		ids, users := map[string]bool{}, map[string]int{}
		for i, a := range got {
			if want := time.Duration(i) * 100 * time.Millisecond; a.Scheduled != want || a.At != want {
				t.Fatalf("request %d was due at %v and sent at %v, want %v", i, a.Scheduled, a.At, want)
			}
			if want := "org-" + string(rune('a'+i%2)); a.Org != want {
				t.Fatalf("request %d is of %s, want %s: orgs take turns", i, a.Org, want)
			}
			ids[a.Request.ID] = true
			users[a.User]++
		}
		if len(ids) != 200 {
			t.Errorf("%d different request IDs, want 200", len(ids))
		}
		for user, n := range users {
			if n != 50 {
				t.Errorf("%s asked %d times, want 50", user, n)
			}
		}
		p := f.Phases()[0]
		if p.Due != 200 || p.Dropped != 0 || p.Active < 70 || p.Active > 71 || p.End != 20*time.Second {
			t.Errorf("%+v; want 200 arrivals, none dropped, about 70 at once", p)
		}
	})
}

func TestOpenLoadSaysTheSameAgain(t *testing.T) {
	var first []asked
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			o := open(at(20, 30*time.Second), loadpattern.Poisson)
			o.Users, o.Script, o.Seed = population(2, 3), script(t), 42
			_, got := runOnce(t, &llm{service: time.Second}, o)
			slices.SortFunc(got, func(a, b asked) int { return strings.Compare(a.Request.ID, b.Request.ID) })
			if first == nil {
				first = got
			}
			if len(got) != len(first) {
				t.Fatalf("%d requests, then %d", len(first), len(got))
			}
			for i := range got {
				if got[i].Scheduled != first[i].Scheduled || got[i].Messages[0] != first[i].Messages[0] {
					t.Fatalf("request %s is another the second time", got[i].Request.ID)
				}
			}
		})
	}
}

// TestCoordinatedOmission: a platform stands still for two seconds of twenty.
// At 100 requests a second that are due whatever it does, 200 of 2,000 wait,
// and the percentiles say so: they are those of the schedule, computed here.
func TestCoordinatedOmission(t *testing.T) {
	const (
		service = 10 * time.Millisecond
		from    = 9 * time.Second
		to      = 11 * time.Second
	)
	var want []time.Duration
	for i := range 2000 {
		due := time.Duration(i) * 10 * time.Millisecond
		latency := service
		if due >= from && due < to {
			latency = to - due + service
		}
		want = append(want, latency)
	}
	slices.Sort(want)
	synctest.Test(t, func(t *testing.T) {
		var f *Fleet
		stalls := AskerFunc(func(ctx context.Context, c *Call) error {
			c.Exchange.Sent = f.now()
			if f.now() >= from && f.now() < to {
				if err := rest(ctx, to-f.now()); err != nil {
					return err
				}
			}
			return rest(ctx, service)
		})
		var e2e stats.Histogram
		var mu sync.Mutex
		o := open(at(100, 20*time.Second), loadpattern.Constant)
		o.Users, o.Script = population(1, 10), script(t)
		o.Asker = &Recorder{Asker: stalls, Now: func() time.Duration { return f.now() },
			Sink: record.SinkFunc(func(r *record.Record) {
				mu.Lock()
				defer mu.Unlock()
				e2e.Record(r.E2E())
			})}
		f = newFleet(t, nil, o)
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, q := range []float64{0.5, 0.89, 0.92, 0.95, 0.99, 0.999} {
			real := want[int(q*2000)-1]
			got := e2e.Quantile(q)
			if off := float64(got-real) / float64(real); off < -0.02 || off > 0.02 {
				t.Errorf("p%g is %v, by the schedule %v", 100*q, got, real)
			}
		}
		if p99 := e2e.Quantile(0.99); p99 < 1700*time.Millisecond {
			t.Errorf("p99 is %v: the stall is missing", p99)
		}
	})
}

func TestWhatCannotStartIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(loadpattern.Phases{
			{Name: "warm-up", Duration: 10 * time.Second, Rate: 5},
			{Name: "load", Duration: 10 * time.Second, Rate: 50, Measure: true},
		}, loadpattern.Constant)
		o.Users, o.Script, o.MaxInFlight = population(1, 3), script(t), 20
		var last Tick
		o.Watch.Tick = func(k Tick) { last = k }
		f, got := runOnce(t, &llm{service: time.Second}, o)
		p := f.Phases()
		if p[0].Due != 50 || p[0].Dropped != 0 || p[1].Due != 500 || p[1].Active != 20 {
			t.Errorf("%+v", p)
		}
		// Twenty can be answered in a second; 15 of them may start when five of the warm-up are still out.
		if p[1].Dropped < 290 || p[1].Dropped > 310 || uint64(len(got))+p[1].Dropped != 550 {
			t.Errorf("%d requests and %d dropped of 550", len(got), p[1].Dropped)
		}
		if last.Arrivals != 550 || last.Dropped != p[1].Dropped || last.Active != 0 {
			t.Errorf("the last tick is %+v", last)
		}
	})
}

func TestConversationsUnderOpenLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(2, time.Minute), loadpattern.Constant)
		o.Users, o.Script = population(1, 1), script(t)
		o.Script.MultiTurn, o.Script.Turns, o.Script.Context = 1, Count{Min: 3, Max: 3}, -1
		// An answer takes longer than a step, so that two conversations go on at a time.
		_, got := runOnce(t, &llm{service: 700 * time.Millisecond}, o)
		next := map[int]int{}
		for _, a := range got {
			if a.Turn != next[a.Session] {
				t.Fatalf("session %d goes on with turn %d, want %d", a.Session, a.Turn, next[a.Session])
			}
			next[a.Session]++
			if len(a.Messages) != 2*a.Turn+1 {
				t.Fatalf("turn %d of session %d has %d messages", a.Turn, a.Session, len(a.Messages))
			}
		}
		if len(got) != 120 || len(next) != 40 {
			t.Errorf("%d requests in %d conversations, want 120 in 40", len(got), len(next))
		}
	})
}

// TestTheNoisyNeighbour: an org with a stream of its own is not slowed by the others' rate.
func TestTheNoisyNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(6, 10*time.Second), loadpattern.Constant)
		o.Open = append(o.Open, Stream{Org: 2, Arrivals: loadpattern.Arrivals{Phases: o.Open[0].Arrivals.Phases, Process: loadpattern.Constant, Share: 5}})
		o.Users, o.Script = population(3, 4), script(t)
		loud := script(t)
		loud.Models = []Model{{Name: "large", Weight: 1}}
		o.Scripts = map[int]Script{2: loud}
		f, got := runOnce(t, &llm{service: time.Second}, o)
		count := map[string]int{}
		for _, a := range got {
			count[a.Org+" "+a.Request.Model]++
		}
		if want := "map[1:{30 0} 2:{300 0} 3:{30 0}]"; fmt.Sprint(f.Arrived()) != want {
			t.Errorf("arrivals %v, want %v", f.Arrived(), want)
		}
		if want := "map[org-a m:30 org-b large:300 org-c m:30]"; fmt.Sprint(count) != want {
			t.Errorf("requests %v, want %v", count, want)
		}
	})
}

func TestOpenLoadEndsAtOnce(t *testing.T) {
	limit := errors.New("the cost limit is reached")
	synctest.Test(t, func(t *testing.T) {
		o := open(at(100, time.Hour), loadpattern.Poisson)
		o.Users, o.Script, o.Grace = population(1, 5), script(t), 2*time.Second
		l := &llm{service: time.Minute}
		f := newFleet(t, l, o)
		go func() {
			_ = rest(t.Context(), 10*time.Second)
			f.Stop(limit)
		}()
		if err := f.Run(t.Context()); !errors.Is(err, limit) {
			t.Errorf("Run = %v", err)
		}
		if took := f.now(); took < 12*time.Second || took > 12100*time.Millisecond {
			t.Errorf("it took %v to stop; the grace is 2 s", took-10*time.Second)
		}
		if p := f.Phases()[0]; p.Due != uint64(len(l.asked)) {
			t.Errorf("%d arrivals, %d requests", p.Due, len(l.asked))
		}
	})
}

func TestOpenLoadInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(10, time.Hour), loadpattern.Constant)
		o.Users, o.Script = population(1, 5), script(t)
		f := newFleet(t, &llm{service: time.Minute}, o)
		ctx, interrupt := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		go func() {
			_ = rest(t.Context(), 5*time.Second)
			interrupt(why)
		}()
		if err := f.Run(ctx); !errors.Is(err, why) || f.now() > 6100*time.Millisecond {
			t.Errorf("Run = %v after %v", err, f.now())
		}
	})
}

func TestACrashEndsOpenLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(10, time.Hour), loadpattern.Constant)
		o.Users, o.Script = population(1, 5), script(t)
		asked := 0
		o.Asker = AskerFunc(func(context.Context, *Call) error {
			if asked++; asked == 20 {
				panic("a fault of ours")
			}
			return nil
		})
		f := newFleet(t, nil, o)
		var crashed *crash.Error
		if err := f.Run(t.Context()); !errors.As(err, &crashed) || crashed.Value != "a fault of ours" {
			t.Errorf("Run = %v", err)
		}
		if p := f.Phases()[0]; p.Due != 20 || p.End != 1900*time.Millisecond {
			t.Errorf("%+v", p)
		}
	})
}

// TestWhatWasHeldBackIsCounted: a limit lets five requests a second go, and the
// others still wait when the load is over.
// TestDroppedOfEachOrg: what could not start counts for those whose it was.
func TestDroppedOfEachOrg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(6, 10*time.Second), loadpattern.Constant)
		o.Open = append(o.Open, Stream{Org: 2, Arrivals: loadpattern.Arrivals{Phases: o.Open[0].Arrivals.Phases, Process: loadpattern.Constant, Share: 5}})
		o.Users, o.Script, o.MaxInFlight = population(3, 4), script(t), 10
		f, got := runOnce(t, &llm{service: time.Second}, o)
		sent := map[string]uint64{}
		for _, a := range got {
			sent[a.Org]++
		}
		orgs, dropped := f.Arrived(), uint64(0)
		for i, due := range []uint64{30, 300, 30} {
			a := orgs[i+1]
			dropped += a.Dropped
			if name := "org-" + string(rune('a'+i)); a.Due != due || a.Due-a.Dropped != sent[name] {
				t.Errorf("%s sent %d requests: %+v, want %d due", name, sent[name], a, due)
			}
		}
		if p := f.Phases()[0]; orgs[2].Dropped == 0 || dropped != p.Dropped {
			t.Errorf("%+v, of the phase %+v", orgs, p)
		}
	})
}

func TestWhatWasHeldBackIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(at(20, 10*time.Second), loadpattern.Constant)
		o.Users, o.Script = population(1, 3), script(t)
		var next time.Duration
		var mu sync.Mutex
		sent := 0
		var f *Fleet
		o.Asker = AskerFunc(func(_ context.Context, c *Call) error {
			mu.Lock()
			next = max(next, f.now()) + 200*time.Millisecond
			turn := next
			mu.Unlock()
			if rest(c.Leaving, turn-f.now()) != nil {
				return fmt.Errorf("%w: %w", ErrNotSent, context.Cause(c.Leaving))
			}
			mu.Lock()
			defer mu.Unlock()
			sent++
			return nil
		})
		f = newFleet(t, nil, o)
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := f.Phases()[0]; p.Due != 200 || p.Dropped != uint64(200-sent) || sent < 45 || sent > 50 {
			t.Errorf("%d sent: %+v", sent, p)
		}
	})
}

// TestUsersWithALimit: who may ask nothing more leaves the rotation, and the
// load ends with the last of them, whatever the pattern says.
func TestUsersWithALimit(t *testing.T) {
	hold := loadpattern.Phases{{Name: "hold", Duration: time.Hour, Target: 2, Rate: 10}}
	for name, o := range map[string]Options{
		"open":     open(hold, loadpattern.Constant),
		"replaced": {Pattern: hold, Replace: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent, refused := map[string]int{}, 0
				o.Users, o.Script = population(1, 4), script(t)
				var mu sync.Mutex
				o.Asker = AskerFunc(func(ctx context.Context, c *Call) error {
					mu.Lock()
					defer mu.Unlock()
					if sent[c.User] == 3 || c.User == "user-1" && sent[c.User] == 1 {
						refused++
						return fmt.Errorf("%w: %w", ErrNotSent, ErrEnough)
					}
					sent[c.User]++
					return nil
				})
				f := newFleet(t, nil, o)
				if err := f.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				all := 0
				for _, n := range sent {
					all += n
				}
				if len(sent) != 4 || refused != 4 || all < 10 {
					t.Errorf("sent %v, refused %d, want each user refused once", sent, refused)
				}
				p := f.Phases()[0]
				if p.End > 5*time.Minute || len(o.Open) > 0 && (p.Due != uint64(all+refused) || p.Dropped != 4 || p.End > 2*time.Second) {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// TestACrashAfterTheLoad: it must be told even if all was over but the answers.
func TestACrashAfterTheLoad(t *testing.T) {
	phases := loadpattern.Phases{{Name: "short", Duration: time.Second, Target: 1, Rate: 1}}
	for name, o := range map[string]Options{"open": open(phases, loadpattern.Constant), "closed": {Pattern: phases}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Users, o.Script = population(1, 1), script(t)
				o.Asker = AskerFunc(func(ctx context.Context, _ *Call) error {
					_ = rest(ctx, 5*time.Second)
					panic("a fault of ours")
				})
				var crashed *crash.Error
				if err := newFleet(t, nil, o).Run(t.Context()); !errors.As(err, &crashed) {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

func TestBadStreams(t *testing.T) {
	o := open(at(0, time.Second), loadpattern.Constant)
	o.Open = append(o.Open, Stream{Org: 7, Arrivals: loadpattern.Arrivals{Phases: at(1, time.Second)}}, Stream{Org: 7, Arrivals: loadpattern.Arrivals{Phases: at(-1, time.Second)}})
	o.Users, o.Script, o.Asker = population(1, 1), script(t), &llm{}
	_, err := New(o)
	for _, want := range []string{"stream 1 has no arrivals", "stream 2 has no users", "organization 7 has two streams", "-1 arrivals per second"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() = %v; it should mention %q", err, want)
		}
	}
}

// TestReplace: under sustained load the number of users holds although each
// finishes early, and all take their turns.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{{Name: "hold", Duration: time.Hour, Target: 20}}
		l := &llm{service: time.Second}
		f := newFleet(t, l, Options{Users: population(2, 15), Script: once(script(t)), Pattern: pattern, Replace: true})
		f.opt.Watch.Tick = func(k Tick) {
			if k.Wanted > 0 && k.Active != k.Wanted {
				t.Errorf("%d users at %v, want %d", k.Active, k.Offset, k.Wanted)
			}
		}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		sessions, texts := map[string]int{}, map[string]bool{}
		for _, a := range l.asked {
			sessions[a.User] = max(sessions[a.User], a.Session+1)
			texts[a.Messages[0].Content] = true
		}
		// A session takes 55 s; 20 at a time in an hour are 1,309, of 30 users.
		for user, n := range sessions {
			if n < 42 || n > 45 {
				t.Errorf("%s had %d sessions, want about 44", user, n)
			}
		}
		if len(sessions) != 30 || len(texts) < len(l.asked)*9/10 {
			t.Errorf("%d users took part; %d of %d questions differ", len(sessions), len(texts), len(l.asked))
		}
		if end := f.Phases()[0].End; end != time.Hour {
			t.Errorf("the load ended at %v", end)
		}
	})
}

// TestASpikeLeaksNothing: from 10 users to 200 and back, all at once.
func TestASpikeLeaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{
			{Name: "base", Duration: time.Minute, Target: 10},
			{Name: "spike", Duration: time.Minute, Target: 200},
			{Name: "after", Duration: time.Minute, Target: 10},
		}
		f := newFleet(t, &llm{service: time.Second}, Options{Users: population(4, 60), Script: script(t), Pattern: pattern})
		before := runtime.NumGoroutine()
		done := make(chan error, 1)
		go func() { done <- f.Run(t.Context()) }()
		// The runtime counts a goroutine for a moment longer than it runs.
		goroutines := func(most int) (n int) {
			synctest.Wait()
			for range 1_000_000 {
				if n = runtime.NumGoroutine(); n <= most {
					break
				}
				runtime.Gosched()
			}
			return n
		}
		count := func(at time.Duration) (users, n int) {
			_ = rest(t.Context(), time.Until(f.opt.Epoch.Add(at+time.Millisecond)))
			n = goroutines(before + 11)
			return f.Active(), n
		}
		if users, n := count(30 * time.Second); users != 10 || n > before+11 {
			t.Errorf("%d users and %d goroutines before the spike, want 10 and at most %d", users, n, before+11)
		}
		_ = rest(t.Context(), time.Until(f.opt.Epoch.Add(60*time.Second+51*time.Millisecond)))
		synctest.Wait()
		if users := f.Active(); users != 200 {
			t.Errorf("%d users a tick after the spike began, want 200", users)
		}
		// Whoever leaves may finish the answer that he is reading: a second.
		if users, n := count(122 * time.Second); users != 10 || n > before+11 {
			t.Errorf("%d users and %d goroutines after the spike, want 10 and at most %d", users, n, before+11)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := goroutines(before); n > before {
			t.Errorf("%d goroutines in the end, %d before", n, before)
		}
	})
}
