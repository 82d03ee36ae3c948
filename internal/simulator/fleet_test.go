package simulator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// TestUsersOverTime holds the number of users at work against the pattern at
// every second.
func TestUsersOverTime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pattern loadpattern.Phases
	}{
		{"10 to 100 in five minutes, hold, and down", loadpattern.Phases{
			{Name: "base", Duration: 30 * time.Second, Target: 10},
			{Name: "ramp", Duration: 5 * time.Minute, Target: 100, Ramp: loadpattern.Linear, Measure: true},
			{Name: "hold", Duration: time.Minute, Target: 100, Measure: true},
			{Name: "down", Duration: time.Minute, Target: 0, Ramp: loadpattern.Linear},
		}},
		{"sustained", loadpattern.Phases{{Name: "hold", Duration: 10 * time.Minute, Target: 50, Measure: true}}},
		{"spike", loadpattern.Phases{
			{Name: "base", Duration: time.Minute, Target: 10},
			{Name: "spike", Duration: time.Minute, Target: 200},
			{Name: "after", Duration: time.Minute, Target: 10},
		}},
		{"exponential and steps", loadpattern.Phases{
			{Name: "up", Duration: time.Minute, Target: 150, Ramp: loadpattern.Exponential},
			{Name: "stairs", Duration: time.Minute, Target: 20, Ramp: loadpattern.Step},
		}},
		{"waves, smooth and triangular", loadpattern.Phases{
			{Name: "rise-1", Duration: 30 * time.Second, Target: 120, Ramp: loadpattern.Smooth},
			{Name: "fall-1", Duration: 30 * time.Second, Target: 20, Ramp: loadpattern.Smooth},
			{Name: "rise-2", Duration: 30 * time.Second, Target: 120, Ramp: loadpattern.Linear},
			{Name: "fall-2", Duration: 30 * time.Second, Target: 20, Ramp: loadpattern.Linear},
		}},
		{"steps", loadpattern.Phases{
			{Name: "step-1", Duration: 30 * time.Second, Target: 25}, {Name: "step-2", Duration: 30 * time.Second, Target: 50},
			{Name: "step-3", Duration: 30 * time.Second, Target: 200},
		}},
		{"a pause in the middle", loadpattern.Phases{
			{Name: "one", Duration: 20 * time.Second, Target: 5},
			{Name: "pause", Duration: 20 * time.Second, Target: 0},
			{Name: "two", Duration: 20 * time.Second, Target: 5},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &llm{service: 2 * time.Second}
				s := script(t)
				s.Think = Number{Base: 5, Variance: 3, Min: 1, Max: 10}
				f := newFleet(t, l, Options{Users: population(3, 80), Script: s, Pattern: tt.pattern})
				done := make(chan error, 1)
				go func() { done <- f.Run(t.Context()) }()
				for at := time.Duration(0); at < tt.pattern.Duration(); at += time.Second {
					_ = rest(t.Context(), time.Until(f.opt.Epoch.Add(at+time.Millisecond)))
					want, phase, _ := tt.pattern.At(at)
					if got := f.Active(); got < want-1 || got > want+1 {
						t.Errorf("%d users at %v, want %d", got, at, want)
					}
					if got := f.Phase(); got != tt.pattern[phase].Name {
						t.Errorf("phase %q at %v, want %q", got, at, tt.pattern[phase].Name)
					}
				}
				if err := <-done; err != nil {
					t.Errorf("Run = %v", err)
				}
				if f.Active() != 0 {
					t.Errorf("%d users are active after the end", f.Active())
				}
				checkPhases(t, f, tt.pattern)
				for _, a := range l.asked {
					_, phase, over := tt.pattern.At(a.Scheduled)
					if over || a.Phase != tt.pattern[phase].Name || a.Measured != tt.pattern[phase].Measure {
						t.Fatalf("a question due at %v is labelled %q, measured %v (over: %v)", a.Scheduled, a.Phase, a.Measured, over)
					}
				}
			})
		})
	}
}

func checkPhases(t *testing.T, f *Fleet, p loadpattern.Phases) {
	t.Helper()
	got := f.Phases()
	if len(got) != len(p) {
		t.Fatalf("%d phases ran, want %d", len(got), len(p))
	}
	for i, ph := range got {
		if ph.Name != p[i].Name || ph.Start != p.Start(i) || ph.End != p.Start(i)+p[i].Duration || ph.Target != p[i].Target || ph.Measured != p[i].Measure {
			t.Errorf("phase %d ran as %+v, want %+v from %v", i, ph, p[i], p.Start(i))
		}
		if ph.Wanted != ph.Active {
			t.Errorf("phase %s wanted %d users and had %d", ph.Name, ph.Wanted, ph.Active)
		}
	}
}

// TestFinishedUsersAreReplaced: a user who has done his session makes room
// for one who has not, and the load holds.
func TestFinishedUsersAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{{Name: "hold", Duration: 10 * time.Minute, Target: 50}}
		l := &llm{service: time.Second}
		f := newFleet(t, l, Options{Users: population(2, 600), Script: once(script(t)), Pattern: pattern})
		var low, high int
		low = 1 << 30
		f.opt.Watch.Tick = func(k Tick) {
			if k.Wanted > 0 {
				low, high = min(low, k.Active), max(high, k.Active)
			}
		}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A session takes 55 s: ten minutes of fifty users need some 540 of them.
		users := map[string]int{}
		for _, a := range l.asked {
			users[a.Request.ID[:strings.LastIndexByte(a.Request.ID, '-')]]++
		}
		if len(users) < 500 || low != 50 || high != 50 {
			t.Errorf("%d users took part, between %d and %d at a time; want more than 500, always 50", len(users), low, high)
		}
	})
}

func TestTheLoadEndsWhenAllHaveFinished(t *testing.T) {
	for _, pattern := range []loadpattern.Pattern{
		loadpattern.Always(20), loadpattern.Always(7),
		loadpattern.Phases{{Name: "hold", Duration: 24 * time.Hour, Target: 20}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &llm{service: time.Second}
			f, got := runOnce(t, l, Options{Users: population(2, 10), Script: once(script(t)), Pattern: pattern})
			if len(got) != 200 {
				t.Errorf("%d questions, want 10 of each of 20 users", len(got))
			}
			if took := time.Since(f.opt.Epoch); took > 3*time.Minute {
				t.Errorf("it took %v, long after the last answer", took)
			}
			if ph := f.Phases(); len(ph) != 1 || ph[0].End == 0 || ph[0].End > 3*time.Minute {
				t.Errorf("phases %+v", ph)
			}
		})
	}
}

// TestReturningUsersGoOnWithTheNextLoop: sent home and called again, a user
// does not repeat himself.
func TestReturningUsersGoOnWithTheNextLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{
			{Name: "one", Duration: 20 * time.Second, Target: 2},
			{Name: "pause", Duration: 20 * time.Second},
			{Name: "two", Duration: 20 * time.Second, Target: 2},
		}
		_, got := runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 2), Script: script(t), Pattern: pattern})
		seen, ids := map[string]bool{}, map[string]bool{}
		for _, a := range got {
			if want := map[string]int{"one": 0, "two": 1}[a.Phase]; a.Session != want || a.Phase == "pause" {
				t.Errorf("session %d in phase %s", a.Session, a.Phase)
			}
			text := a.Messages[len(a.Messages)-1].Content
			if seen[text] || ids[a.Request.ID] {
				t.Errorf("asked twice: %s %s", a.Request.ID, text)
			}
			seen[text], ids[a.Request.ID] = true, true
		}
		if len(got) != 16 {
			t.Errorf("%d questions, want 4 in each phase of each user", len(got))
		}
	})
}

func TestInterleave(t *testing.T) {
	users := append(append(population(1, 60), Identity{OrgIndex: 2}, Identity{OrgIndex: 2}, Identity{OrgIndex: 2}), Identity{OrgIndex: 3})
	order := interleave(pointers(users))
	if len(order) != 64 || order[0].OrgIndex != 1 || order[1].OrgIndex != 2 || order[2].OrgIndex != 3 {
		t.Fatalf("it begins with orgs %d, %d, %d; want one user of each", order[0].OrgIndex, order[1].OrgIndex, order[2].OrgIndex)
	}
	count := map[int]int{}
	last := map[int]int{1: -1}
	for i, id := range order {
		count[id.OrgIndex]++
		if id.OrgIndex == 1 {
			if id.UserIndex <= last[1] {
				t.Fatalf("user %d of org 1 comes after user %d", id.UserIndex, last[1])
			}
			last[1] = id.UserIndex
		}
		if share, big := float64(count[2])/3, float64(count[1])/60; i >= 3 && (share-big > 0.34 || big-share > 0.05) {
			t.Errorf("after %d users, org 1 has %.2f of its users at work and org 2 %.2f", i+1, big, share)
		}
	}
}

// slow answers after d, and counts the questions under way.
func slow(f *Fleet, s *sink, busy *atomic.Int64, d time.Duration) Asker {
	return &Recorder{Sink: s, Now: f.now, Asker: AskerFunc(func(ctx context.Context, c *Call) error {
		busy.Add(1)
		defer busy.Add(-1)
		c.Exchange.Sent = f.now()
		err := rest(ctx, d)
		c.Exchange.Done = f.now()
		return err
	})}
}

// TestGrace: who is no longer wanted may finish his answer, for a while.
func TestGrace(t *testing.T) {
	limit := errors.New("the cost limit is reached")
	interrupt := errors.New("interrupted")
	for _, tt := range []struct {
		name                 string
		answer               time.Duration
		pattern              loadpattern.Pattern
		end                  func(f *Fleet, cancel context.CancelCauseFunc)
		reason               error
		succeeded, cancelled int
		took                 time.Duration
	}{
		{"the pattern ends, answers are finished", 20 * time.Second, loadpattern.Phases{{Duration: 15 * time.Second, Target: 10}}, nil, nil, 10, 0, 20 * time.Second},
		{"the pattern ends, answers take too long", time.Hour, loadpattern.Phases{{Duration: 15 * time.Second, Target: 10}}, nil, nil, 0, 10, 45 * time.Second},
		{"a ramp down retires some", 20 * time.Second, loadpattern.Phases{{Duration: 15 * time.Second, Target: 10}, {Duration: 6 * time.Second, Target: 4}}, nil, nil, 10, 0, 21 * time.Second},
		{"a limit lets answers finish", 20 * time.Second, loadpattern.Always(10), func(f *Fleet, _ context.CancelCauseFunc) { f.Stop(limit); f.Stop(interrupt) }, limit, 10, 0, 20 * time.Second},
		{"but not for ever", time.Hour, loadpattern.Always(10), func(f *Fleet, _ context.CancelCauseFunc) { f.Stop(limit) }, limit, 0, 10, 40 * time.Second},
		{"an interrupt waits shortly", 11500 * time.Millisecond, loadpattern.Always(10), func(_ *Fleet, cancel context.CancelCauseFunc) { cancel(interrupt) }, interrupt, 10, 0, 11500 * time.Millisecond},
		{"and then cancels", time.Hour, loadpattern.Always(10), func(_ *Fleet, cancel context.CancelCauseFunc) { cancel(interrupt) }, interrupt, 0, 10, 12 * time.Second},
		{"an interrupt shortens a stop", time.Hour, loadpattern.Always(10), func(f *Fleet, cancel context.CancelCauseFunc) {
			f.Stop(limit)
			time.AfterFunc(3*time.Second, func() { cancel(interrupt) })
		}, limit, 0, 10, 15 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, busy := &sink{}, new(atomic.Int64)
				f := newFleet(t, nil, Options{Users: population(2, 5), Script: script(t), Pattern: tt.pattern,
					Asker: Direct{}, InterruptGrace: 2 * time.Second})
				f.opt.Asker = slow(f, s, busy, tt.answer)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.end != nil {
					time.AfterFunc(10*time.Second, func() { tt.end(f, cancel) })
				}
				if err := f.Run(ctx); !errors.Is(err, tt.reason) || (tt.reason == nil && err != nil) {
					t.Errorf("Run = %v, want %v", err, tt.reason)
				}
				if took := time.Since(f.opt.Epoch); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if n := busy.Load(); n != 0 {
					t.Errorf("Run returned while %d questions were under way", n)
				}
				n := map[record.Outcome]int{}
				for _, r := range s.recs {
					n[r.Outcome]++
				}
				if n[record.Success] != tt.succeeded || n[record.Cancelled] != tt.cancelled || len(s.recs) != tt.succeeded+tt.cancelled {
					t.Errorf("outcomes %v; want %d successes and %d cancelled", n, tt.succeeded, tt.cancelled)
				}
			})
		})
	}
}

// TestACrashEndsTheLoadInOrder: a panic in one user is the run's error, and
// the others finish what they are reading.
func TestACrashEndsTheLoadInOrder(t *testing.T) {
	for _, users := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			s, busy := &sink{}, new(atomic.Int64)
			f := newFleet(t, nil, Options{Users: population(1, users), Script: script(t), Asker: Direct{}})
			answer := slow(f, s, busy, 20*time.Second)
			f.opt.Asker = AskerFunc(func(ctx context.Context, c *Call) error {
				if c.UserIndex == 0 {
					_ = rest(ctx, 5*time.Second)
					panic("index out of\nrange")
				}
				return answer.Ask(ctx, c)
			})
			err := f.Run(t.Context())
			var crashed *crash.Error
			if !errors.As(err, &crashed) || !strings.Contains(string(crashed.Stack), "fleet_test.go") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d users: Run = %v", users, err)
			}
			if len(s.recs) != users-1 || busy.Load() != 0 {
				t.Errorf("%d users: %d answers were finished", users, len(s.recs))
			}
		})
	}
}

// TestWaitingForTheLastAnswersIsNoLoad: rates are of the time in which
// requests were begun, however the load ended.
func TestWaitingForTheLastAnswersIsNoLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, &llm{service: 20 * time.Second}, Options{Users: population(1, 10), Script: script(t)})
		time.AfterFunc(10*time.Second, func() { f.Stop(errors.New("enough")) })
		_ = f.Run(t.Context())
		if took, ph := time.Since(f.opt.Epoch), f.Phases(); took != 20*time.Second || len(ph) != 1 || ph[0].End != 10*time.Second {
			t.Errorf("stopped after 10s and over after %v, phases %+v", took, ph)
		}
	})
}

// TestThinkersLeaveAtOnce: a stop does not wait for think times.
func TestThinkersLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		s.Think = Fixed(3600)
		l := &llm{service: time.Second}
		f := newFleet(t, l, Options{Users: population(1, 100), Script: s})
		time.AfterFunc(time.Minute, func() { f.Stop(errors.New("enough")) })
		if err := f.Run(t.Context()); err == nil || err.Error() != "enough" {
			t.Errorf("Run = %v", err)
		}
		if took := time.Since(f.opt.Epoch); took != time.Minute || len(l.asked) != 100 {
			t.Errorf("%d questions in %v, want 100 in a minute", len(l.asked), took)
		}
	})
}

// TestAStopAtTheEndOfThePattern: a stop that comes while the pattern ends,
// before either was noticed, is the reason for the end.
func TestAStopAtTheEndOfThePattern(t *testing.T) {
	why := errors.New("enough")
	pattern := loadpattern.Phases{{Name: "hold", Duration: 10 * time.Second, Target: 2, Rate: 1}}
	for name, o := range map[string]Options{
		"closed load": {Pattern: pattern, Users: population(1, 2)},
		"open load":   {Pattern: pattern, Users: population(1, 2), Open: []Stream{{Arrivals: loadpattern.Arrivals{Phases: pattern}}}},
	} {
		for how, stop := range map[string]func(*Fleet, context.CancelCauseFunc){
			"stopped":     func(f *Fleet, _ context.CancelCauseFunc) { f.Stop(why) },
			"interrupted": func(_ *Fleet, interrupt context.CancelCauseFunc) { interrupt(why) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				for range 20 { // the fleet may hear of the tick or of the stop first
					synctest.Test(t, func(t *testing.T) {
						ctx, interrupt := context.WithCancelCause(t.Context())
						o := o
						o.Script = script(t)
						var f *Fleet
						o.Watch.Tick = func(k Tick) {
							if k.Offset == 9950*time.Millisecond {
								stop(f, interrupt)
								_ = rest(t.Context(), time.Second) // the fleet is late
							}
						}
						f = newFleet(t, &llm{service: time.Millisecond}, o)
						if err := f.Run(ctx); !errors.Is(err, why) {
							t.Errorf("Run = %v, want %v", err, why)
						}
					})
				}
			})
		}
	}
}

func TestARunThatIsOverBeforeItBegins(t *testing.T) {
	why := errors.New("no")
	l := &llm{}
	f := newFleet(t, l, Options{Users: population(1, 10), Script: script(t)})
	f.Stop(why)
	if err := f.Run(t.Context()); !errors.Is(err, why) {
		t.Errorf("Run after Stop = %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	f = newFleet(t, l, Options{Users: population(1, 10), Script: script(t)})
	if err := f.Run(ctx); !errors.Is(err, why) || len(l.asked) != 0 {
		t.Errorf("Run with a cancelled context = %v after %d questions", err, len(l.asked))
	}
}

// TestEveryOrgFromTheStart: few users of many still come from every org.
func TestEveryOrgFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{{Duration: 10 * time.Second, Target: 3}}
		_, got := runOnce(t, &llm{}, Options{Users: population(3, 50), Script: script(t), Pattern: pattern})
		orgs := map[string]bool{}
		for _, a := range got {
			orgs[a.Org] = true
		}
		if len(orgs) != 3 {
			t.Errorf("three users came from %v", orgs)
		}
	})
}

// TestTooSmallAPopulationShows: the load is less than wanted, and says so.
func TestTooSmallAPopulationShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pattern := loadpattern.Phases{{Name: "hold", Duration: 10 * time.Second, Target: 30}}
		f, _ := runOnce(t, &llm{}, Options{Users: population(1, 12), Script: script(t), Pattern: pattern})
		if ph := f.Phases()[0]; ph.Wanted != 30 || ph.Active != 12 {
			t.Errorf("wanted %d and active %d, want 30 and 12", ph.Wanted, ph.Active)
		}
	})
}

// TestTicks: absolute, and telling the truth.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks []Tick
		pattern := loadpattern.Phases{{Name: "up", Duration: 10 * time.Second, Target: 10, Ramp: loadpattern.Linear}}
		runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 10), Script: script(t), Pattern: pattern,
			Tick: 100 * time.Millisecond, Watch: Watch{Tick: func(k Tick) { ticks = append(ticks, k) }}})
		for i, k := range ticks[:100] {
			want, _, _ := pattern.At(k.Offset)
			if k.Offset != time.Duration(i)*100*time.Millisecond || k.Wanted != want || k.Active != want || k.Phase != "up" {
				t.Fatalf("tick %d is %+v, want %d users", i, k, want)
			}
		}
		if last := ticks[len(ticks)-1]; last.Active != 0 || last.Leaving != 0 || last.Wanted != 0 {
			t.Errorf("the last tick is %+v", last)
		}
	})
}

// TestEpochBeforeTheLoad: offsets count from the epoch, the pattern from Run.
func TestEpochBeforeTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &llm{}
		f := newFleet(t, l, Options{Users: population(1, 1), Script: script(t), Epoch: time.Now().Add(-time.Minute),
			Pattern: loadpattern.Phases{{Name: "a", Duration: 8 * time.Second, Target: 1}, {Name: "b", Duration: 8 * time.Second, Target: 1}}})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, a := range l.asked {
			got += fmt.Sprint(a.Scheduled, a.Phase, " ")
		}
		if want := "1m0sa 1m5sa 1m10sb 1m15sb "; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if ph := f.Phases(); ph[0].Start != time.Minute || ph[1].Start != 68*time.Second || ph[1].End != 76*time.Second {
			t.Errorf("phases %+v", ph)
		}
	})
}

func TestNewReportsEverything(t *testing.T) {
	_, err := New(Options{})
	for _, want := range []string{"cannot start", "no users", "no load pattern", "nobody to ask", "no source", "no model"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; it should mention %q", err, want)
		}
	}
	_, err = New(Options{Users: population(1, 1), Script: script(t), Asker: Direct{}, Pattern: loadpattern.Always(0)})
	if err == nil || !strings.Contains(err.Error(), "never wants a user") {
		t.Errorf("New without load = %v", err)
	}
	_, err = New(Options{Users: population(1, 1), Script: script(t), Asker: Direct{}, Pattern: loadpattern.Phases{{Duration: time.Second, Target: -1}}})
	if err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("New with bad phases = %v", err)
	}
}

// TestAThousandUsersAreSmall: what the simulator itself keeps for a user who
// is thinking, conversation included. He has no goroutine.
func TestAThousandUsersAreSmall(t *testing.T) {
	const users = 1000
	s := script(t)
	s.Think, s.MultiTurn, s.Turns, s.Context = Fixed(3600), 1, Count{Min: 10, Max: 10}, -1
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	f := newFleet(t, nil, Options{Users: population(4, users/4), Script: s, Asker: AskerFunc(func(_ context.Context, c *Call) error {
		c.Exchange.Answer = append(c.Exchange.Answer[:0], strings.Repeat("word ", 400)...)
		return nil
	})})
	done := make(chan error, 1)
	go func() { done <- f.Run(t.Context()) }()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for _, m := range f.roster {
		for !m.thinks() { // fails by the test's time-out
			<-poll.C
		}
	}
	perUser := (heap() - before) / users
	if n := runtime.NumGoroutine() - goroutines; n > users/10 {
		t.Errorf("there are %d goroutines more for %d users who think", n, users)
	}
	f.Stop(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if perUser > 12<<10 {
		t.Errorf("a user takes %d bytes, want at most 12 KiB", perUser)
	}
	t.Logf("%d bytes a user", perUser)
}

func (m *member) thinks() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asleep
}
