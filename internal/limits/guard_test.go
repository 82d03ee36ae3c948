package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// hurry is a context for those who do not wait.
func hurry() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Whatever is asked and answered in whatever order, no limit is ever crossed,
// and what is refused would have crossed one.
func TestNeverOverAnyLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			CostMicroUSD: rapid.Int64Range(0, 1000).Draw(t, "cost limit"), Requests: rapid.Int64Range(0, 30).Draw(t, "request limit"),
			RequestsPerUser: rapid.Int64Range(0, 8).Draw(t, "per user"), Concurrent: rapid.Int64Range(0, 5).Draw(t, "concurrent"),
		}
		g := NewGuard(l)
		type flight struct {
			user  int
			worst int64
		}
		var flying []flight
		var spent, reserved, sent int64
		users := map[int]int64{}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				f := flight{rapid.IntRange(0, 4).Draw(t, "user"), rapid.Int64Range(0, 120).Draw(t, "worst")}
				err := g.Admit(hurry(), f.user, f.worst)
				full := l.Concurrent > 0 && int64(len(flying)) >= l.Concurrent
				dear := l.CostMicroUSD > 0 && spent+reserved+f.worst > l.CostMicroUSD
				over := l.Requests > 0 && sent >= l.Requests
				done := l.RequestsPerUser > 0 && users[f.user] >= l.RequestsPerUser
				if admitted := err == nil; admitted == (full || dear || over || done) {
					t.Fatalf("Admit = %v; full %v, dear %v, over %v, done %v", err, full, dear, over, done)
				}
				var exceeded *Exceeded
				hopeless := l.CostMicroUSD > 0 && spent+f.worst > l.CostMicroUSD
				switch {
				case over && (!errors.As(err, &exceeded) || exceeded.Limit != "request"):
					t.Fatalf("%v, want the request limit", err)
				case !over && done && !errors.Is(err, ErrUserDone):
					t.Fatalf("%v, want that the user is done", err)
				case !over && !done && !full && hopeless && (!errors.As(err, &exceeded) || exceeded.Limit != "cost"):
					t.Fatalf("%v, want the cost limit", err)
				case !over && !done && !hopeless && err != nil && !errors.Is(err, context.Canceled):
					t.Fatalf("%v, want to have been kept waiting", err)
				}
				if err == nil {
					flying = append(flying, f)
					reserved += f.worst
					users[f.user]++
					sent++
				}
			},
			"answer": func(t *rapid.T) {
				if len(flying) == 0 {
					t.Skip("nothing is under way")
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				f := flying[i]
				actual := rapid.Int64Range(0, f.worst).Draw(t, "actual")
				flying = slices.Delete(flying, i, i+1)
				g.Settle(f.worst, actual, true, Answer(rapid.IntRange(0, 2).Draw(t, "answer")))
				reserved -= f.worst
				spent += actual
			},
			"": func(t *rapid.T) {
				if l.CostMicroUSD > 0 && spent+reserved > l.CostMicroUSD || g.Spent() != spent {
					t.Fatalf("%d spent (%d by the books) and %d reserved of %d", spent, g.Spent(), reserved, l.CostMicroUSD)
				}
			},
		})
	})
}

// The same with users that really run side by side, and wait for each other.
func TestUsersSideBySide(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			l := Limits{CostMicroUSD: 20_000 + rng.Int64N(20_000), Concurrent: 1 + rng.Int64N(20), RequestsPerSecond: 50 + 100*rng.Float64()}
			if seed%2 == 0 {
				l.Requests = 50 + rng.Int64N(200)
			}
			g := NewGuard(l)
			var sent, spent, flying atomic.Int64
			var mu sync.Mutex
			var left []time.Time
			var stops []*Exceeded
			var users sync.WaitGroup
			for user := range 40 {
				users.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(user)+2))
					for {
						worst := rng.Int64N(400)
						if err := g.Admit(t.Context(), user, worst); err != nil {
							var e *Exceeded
							if !errors.As(err, &e) {
								t.Errorf("seed %d: %v", seed, err)
							}
							mu.Lock()
							stops = append(stops, e)
							mu.Unlock()
							return
						}
						if n := flying.Add(1); n > l.Concurrent {
							t.Errorf("seed %d: %d requests under way of %d", seed, n, l.Concurrent)
						}
						mu.Lock()
						left = append(left, time.Now())
						mu.Unlock()
						sent.Add(1)
						time.Sleep(time.Duration(1+rng.IntN(300)) * time.Millisecond) // the answer, on the bubble's clock
						actual := rng.Int64N(worst + 1)
						spent.Add(actual)
						flying.Add(-1)
						g.Settle(worst, actual, true, Fine)
					}
				})
			}
			users.Wait()
			if spent.Load() > l.CostMicroUSD || l.Requests > 0 && sent.Load() > l.Requests {
				t.Errorf("seed %d: %d requests for %d, with limits %+v", seed, sent.Load(), spent.Load(), l)
			}
			if len(stops) != 40 {
				t.Errorf("seed %d: %d users were stopped, want 40", seed, len(stops))
			}
			if stops[0].Limit == "request" && sent.Load() != l.Requests {
				t.Errorf("seed %d: %d requests of %d", seed, sent.Load(), l.Requests)
			}
			if stops[0].Limit == "cost" && spent.Load() < l.CostMicroUSD-2*400 {
				t.Errorf("seed %d: stopped at %d of %d: too early", seed, spent.Load(), l.CostMicroUSD)
			}
			most := int(l.RequestsPerSecond) + 1
			for i := range max(0, len(left)-most) {
				if left[i+most].Sub(left[i]) < time.Second {
					t.Errorf("seed %d: %d requests left within %v, at %.1f/s", seed, most+1, left[i+most].Sub(left[i]), l.RequestsPerSecond)
					break
				}
			}
		})
	}
}

func TestWaitingIsCounted(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		worst  int64
		want   Wait
	}{
		{"concurrency", Limits{Concurrent: 1}, 0, Wait{"maxConcurrentReqs", 2, 3 * time.Second, 2 * time.Second}},
		{"money", Limits{CostMicroUSD: 10}, 6, Wait{"maxCostUsd", 2, 3 * time.Second, 2 * time.Second}},
		{"rate", Limits{RequestsPerSecond: 0.5}, 0, Wait{"maxRequestsPerSecond", 2, 6 * time.Second, 4 * time.Second}},
		{"nothing", Limits{}, 0, Wait{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGuard(c.limits)
				var users sync.WaitGroup
				for user := range 3 {
					users.Go(func() {
						if err := g.Admit(t.Context(), user, c.worst); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Second) // the answer, on the bubble's clock
						g.Settle(c.worst, 1, true, Fine)
					})
				}
				users.Wait()
				waits := g.Waits()
				if c.want.Limit == "" {
					if len(waits) > 0 {
						t.Errorf("%+v", waits)
					}
					return
				}
				if len(waits) != 1 || waits[0] != c.want {
					t.Errorf("%+v, want %+v", waits, c.want)
				}
			})
		})
	}
}

func TestLeavingWhileWaitingGivesEverythingBack(t *testing.T) {
	for name, l := range map[string]Limits{
		"concurrency": {Concurrent: 1, RequestsPerUser: 1, CostMicroUSD: 100},
		"money":       {CostMicroUSD: 15, RequestsPerUser: 1},
		"rate":        {RequestsPerSecond: 0.01, Concurrent: 2, RequestsPerUser: 1, CostMicroUSD: 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGuard(l)
				if err := g.Admit(t.Context(), 1, 10); err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancelCause(t.Context())
				gone := errors.New("gone home")
				time.AfterFunc(time.Second, func() { leave(gone) })
				if err := g.Admit(ctx, 2, 10); !errors.Is(err, gone) {
					t.Errorf("Admit = %v, want that he has gone home", err)
				}
				g.Settle(10, 5, true, Fine)
				if err := g.Admit(t.Context(), 2, 10); err != nil {
					t.Errorf("when he came back: %v", err)
				}
				if err := g.Admit(t.Context(), 2, 0); !errors.Is(err, ErrUserDone) || g.UsersDone() != 1 {
					t.Errorf("his second request: %v, %d users done", err, g.UsersDone())
				}
				g.Settle(10, 5, true, Fine)
			})
		})
	}
}

// TestMoneyIsForWhoCameFirst: a settlement lets go whom it suffices for, in
// order, and nobody else.
func TestMoneyIsForWhoCameFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Limits{CostMicroUSD: 100})
		if err := g.Admit(t.Context(), 0, 90); err != nil {
			t.Fatal(err)
		}
		var order []int
		admitted := func() []int {
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return slices.Clone(order)
		}
		ctx, leave := context.WithCancel(t.Context())
		for user, worst := range []int64{60, 30, 20, 5} { // 5 would fit at once
			asks := t.Context()
			if user == 1 {
				asks = ctx
			}
			go func() {
				if err := g.Admit(asks, user, worst); err == nil {
					g.mu.Lock()
					order = append(order, user)
					g.mu.Unlock()
				}
			}()
			if got := admitted(); len(got) > 0 {
				t.Fatalf("%v went past those who wait", got)
			}
		}
		g.Settle(90, 20, true, Fine) // leaves 80: for 60 and not for 30
		if got := admitted(); !slices.Equal(got, []int{0}) {
			t.Errorf("80 µ$ let %v go", got)
		}
		leave() // 20 is left, which 30 waited in front of
		if got := admitted(); !slices.Equal(got, []int{0, 2}) {
			t.Errorf("when one had given up %v were let go", got)
		}
		g.Settle(60, 60, true, Fine)
		g.Settle(20, 10, true, Fine)
		if got := admitted(); !slices.Equal(got, []int{0, 2, 3}) || g.reserved != 5 || g.queue.Len() != 0 {
			t.Errorf("in the end %v were let go, %d µ$ are reserved and %d wait", got, g.reserved, g.queue.Len())
		}
	})
}

// TestWhoGivesUpLeavesNoGap: the row of evenly spaced requests closes up.
func TestWhoGivesUpLeavesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Limits{RequestsPerSecond: 1})
		began := time.Now()
		ctx, leave := context.WithCancel(t.Context())
		var users sync.WaitGroup
		var mu sync.Mutex
		var left []time.Duration
		for user := range 10 {
			asks := t.Context()
			if user > 0 && user < 8 {
				asks = ctx
			}
			users.Go(func() {
				if err := g.Admit(asks, user, 0); err == nil {
					mu.Lock()
					left = append(left, time.Since(began))
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		leave()
		users.Wait()
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(left, want) {
			t.Errorf("requests left at %v, want %v", left, want)
		}
	})
}

// TestAUserIsDoneOnce, also if one of his requests did not leave after all.
func TestAUserIsDoneOnce(t *testing.T) {
	g := NewGuard(Limits{RequestsPerUser: 1, Requests: 100})
	if err := g.claim(1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.claim(1); !errors.Is(err, ErrUserDone) {
			t.Errorf("his second request: %v", err)
		}
		g.unclaim(1)
		if err := g.claim(1); err != nil {
			t.Errorf("in place of the one that did not leave: %v", err)
		}
	}
	if err := g.claim(1); !errors.Is(err, ErrUserDone) || g.UsersDone() != 1 {
		t.Errorf("%v, %d users are done", err, g.UsersDone())
	}
}

func TestErrorRate(t *testing.T) {
	// 20 answers a second; the error rate changes after a minute.
	run := func(t *testing.T, seed uint64, before, after float64) (stopped time.Duration, err error) {
		synctest.Test(t, func(t *testing.T) {
			g := NewGuard(Limits{ErrorRate: 0.1, HasErrorRate: true})
			rng := rand.New(rand.NewPCG(seed, 9))
			for second := range 180 {
				rate := before
				if second >= 60 {
					rate = after
				}
				for range 20 {
					answer := Fine
					if rng.Float64() < rate {
						answer = Error
					}
					g.Settle(0, 0, true, answer)
				}
				g.Settle(0, 0, true, Ignored)
				time.Sleep(time.Second) // on the bubble's clock
				if err = g.Check(); err != nil {
					stopped = time.Duration(second+1) * time.Second
					return
				}
			}
		})
		return stopped, err
	}
	for seed := range uint64(20) {
		if at, err := run(t, seed, 0.08, 0.08); err != nil {
			t.Errorf("seed %d: at 8%% it was stopped after %v: %v", seed, at, err)
		}
		at, err := run(t, seed, 0.02, 0.25)
		var exceeded *Exceeded
		if !errors.As(err, &exceeded) || exceeded.Limit != "error rate" || at < time.Minute || at > 80*time.Second {
			t.Errorf("seed %d: when it rose to 25%% after a minute it was stopped at %v: %v", seed, at, err)
		}
		// Too little for a window to tell, but not for the run.
		if at, err := run(t, seed, 0.16, 0.16); err == nil {
			t.Errorf("seed %d: at 16%% it went on to %v", seed, at)
		}
	}
}

func TestDurationAndBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Limits{Duration: time.Minute, HasErrorRate: true})
		for range 30 {
			g.Settle(0, 0, true, Error) // the pre-flight of a platform that is waking up
		}
		time.Sleep(time.Hour)
		g.Begin(0)
		time.Sleep(59 * time.Second)
		if err := g.Check(); err != nil {
			t.Errorf("what was before the load counts: %v", err)
		}
		time.Sleep(time.Second)
		if err := g.Check(); err == nil || err.Error() != "the duration limit was reached: 1m0s of 1m0s" {
			t.Errorf("after a minute: %v", err)
		}
	})
}

func TestAShareOfNothingAllowsNothing(t *testing.T) {
	for _, l := range []Limits{{Requests: 1}, {CostMicroUSD: 1}, {Concurrent: 1}} {
		var exceeded *Exceeded
		if err := NewGuard(l.Share(1, 2)).Admit(t.Context(), 0, 0); !errors.As(err, &exceeded) {
			t.Errorf("%+v: the second of two workers may ask: %v", l, err)
		}
	}
}

// Who takes another's place has what that one left.
func TestCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Limits{Requests: 10, CostMicroUSD: 100, Duration: time.Hour})
		g.Begin(59 * time.Minute)
		g.Carry(8, 70)
		for range 2 {
			if err := g.Admit(t.Context(), 0, 10); err != nil {
				t.Fatal(err)
			}
			g.Settle(10, 10, true, Fine)
		}
		if err := g.Admit(t.Context(), 0, 1); err == nil || err.Error() != "the request limit was reached: 10 of 10" {
			t.Errorf("an eleventh request: %v", err)
		}
		if g.Spent() != 90 || g.Check() != nil {
			t.Errorf("spent %d, %v", g.Spent(), g.Check())
		}
		time.Sleep(time.Minute)
		if g.Check() == nil {
			t.Error("the time that passed before does not count")
		}
	})
}

func TestCrossed(t *testing.T) {
	l := Limits{Requests: 100, CostMicroUSD: 1000, HasErrorRate: true, ErrorRate: 0.1}
	for want, got := range map[string]*Exceeded{
		"":           l.Crossed(99, 999, 99, 10),
		"request":    l.Crossed(100, 0, 0, 0),
		"cost":       l.Crossed(1, 1000, 0, 0),
		"error rate": l.Crossed(50, 1, 50, 20),
	} {
		if want == "" && got != nil || want != "" && (got == nil || got.Limit != want) {
			t.Errorf("%q: %v", want, got)
		}
	}
	if err := (Limits{}).Crossed(1<<40, 1<<40, 10, 10); err != nil {
		t.Errorf("without limits: %v", err)
	}
}
