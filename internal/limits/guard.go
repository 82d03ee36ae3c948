package limits

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrUserDone is returned by [Guard.Admit] to a user who has sent all the
// requests that one user may send. The run goes on without him.
var ErrUserDone = errors.New("the user has sent as many requests as limits.maxRequestsPerUser allows")

// nobody sends requests that are counted for no user.
const nobody = -1

// Answer is what became of an admitted request.
type Answer uint8

// The answers, as far as a limit cares.
const (
	Fine    Answer = iota
	Error          // refused or failed
	Ignored        // says nothing about the platform: not sent after all, cancelled, or harmed by us
)

// Wait is what one limit made requests wait for.
type Wait struct {
	Limit    string // as the scenario calls it
	Requests int64  // that had to wait
	Total    time.Duration
	Longest  time.Duration
}

// Guard keeps the books of a run. It is safe for concurrent use. Every
// request admitted must be settled once.
type Guard struct {
	limits Limits
	began  time.Time
	slots  chan struct{} // one for each request under way; nil without a limit
	turn   chan struct{} // holds one: that of the request which leaves next
	next   time.Time     // when that may be, at the earliest; guarded by the turn

	mu       sync.Mutex // guards what follows
	sent     int64
	users    map[int]int64
	done     map[int]bool // users who were told that they have used up their share
	spent    int64        // micro-USD
	reserved int64        // micro-USD
	queue    list.List    // of *need, who wait for money, in order
	unknown  int64        // answers charged at their worst, for want of knowledge
	assumed  int64        // micro-USD of spent that are theirs
	overruns int64        // answers that cost more than their worst
	answered int64
	failed   int64
	recent   window
	waits    [waiters]Wait
}

const (
	slotWait = iota
	moneyWait
	rateWait
	waiters
)

// NewGuard returns the guard of a run that begins now.
func NewGuard(l Limits) *Guard {
	g := &Guard{limits: l, began: time.Now(), users: map[int]int64{}, done: map[int]bool{}, turn: make(chan struct{}, 1)}
	if l.Concurrent > 0 {
		g.slots = make(chan struct{}, l.Concurrent)
	}
	for i, name := range []string{"maxConcurrentReqs", "maxCostUsd", "maxRequestsPerSecond"} {
		g.waits[i].Limit = name
	}
	return g
}

// Begin says that the load began so long ago: the duration counts from there,
// and what was answered before now is no part of the error rate.
func (g *Guard) Begin(ago time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.began, g.answered, g.failed, g.recent = time.Now().Add(-ago), 0, 0, window{}
}

// Elapsed is how long ago the load began.
func (g *Guard) Elapsed() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Since(g.began)
}

// Carry says what somebody has sent and spent of these limits before.
func (g *Guard) Carry(requests, spent int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent += requests
	g.spent += spent
}

// Admit lets a user's request go that costs at most worst micro-dollars, when
// its turn comes. It returns an *[Exceeded] if a limit on the run forbids it,
// [ErrUserDone] if the limit on the user does, and the cause of ctx if that
// ended while the request waited. After an error there is nothing to settle.
//
// The order matters: what can wait comes first, and the request is counted
// last, so that exactly as many as are allowed leave.
func (g *Guard) Admit(ctx context.Context, user int, worst int64) (err error) {
	if err := g.claim(user); err != nil {
		return err
	}
	if err := g.takeSlot(ctx); err != nil {
		g.unclaim(user)
		return err
	}
	if err := g.reserve(ctx, worst); err != nil {
		g.giveSlot()
		g.unclaim(user)
		return err
	}
	err = g.pace(ctx)
	if err == nil {
		err = g.count()
	}
	if err != nil {
		g.release(worst)
		g.giveSlot()
		g.unclaim(user)
	}
	return err
}

// Settle books an admitted request: worst as it was admitted with, actual what
// it cost. known is false if actual is assumed.
func (g *Guard) Settle(worst, actual int64, known bool, answer Answer) {
	g.giveSlot()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent += actual
	if !known {
		g.unknown++
		g.assumed += actual
	}
	if actual > worst {
		g.overruns++
	}
	g.unreserve(worst)
	if answer == Ignored {
		return
	}
	g.answered++
	if answer == Error {
		g.failed++
	}
	g.recent.add(g.second(time.Now()), answer == Error)
}

// Check returns an *[Exceeded] if the error rate or the duration is over its
// limit at this moment. It is meant to be called about once a second.
func (g *Guard) Check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if elapsed := now.Sub(g.began); g.limits.Duration > 0 && elapsed >= g.limits.Duration {
		return &Exceeded{Limit: "duration", Allowed: g.limits.Duration.String(), Observed: elapsed.Round(100 * time.Millisecond).String()}
	}
	if !g.limits.HasErrorRate {
		return nil
	}
	answered, failed := g.recent.sum(g.second(now))
	for _, over := range []struct {
		answered, failed int64
		of               string
	}{{answered, failed, fmt.Sprintf("the last %v", windowSlots*slot)}, {g.answered, g.failed, "the whole run"}} {
		if tooMany(over.failed, over.answered, g.limits.ErrorRate) {
			return &Exceeded{
				Limit: "error rate", Allowed: percent(g.limits.ErrorRate), Observed: percent(float64(over.failed) / float64(over.answered)),
				Note: fmt.Sprintf("%d of %d answers in %s", over.failed, over.answered, over.of),
			}
		}
	}
	return nil
}

// ErrorRate is what the limit on it looks at: that of the last seconds, or of the
// whole run if that is higher. It is 0 before anything was answered.
func (g *Guard) ErrorRate() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	answered, failed := g.recent.sum(g.second(time.Now()))
	return max(float64(failed)/float64(max(1, answered)), float64(g.failed)/float64(max(1, g.answered)))
}

// Waits are the limits that made requests wait.
func (g *Guard) Waits() []Wait {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Wait
	for _, w := range g.waits {
		if w.Requests > 0 {
			out = append(out, w)
		}
	}
	return out
}

// UsersDone is the number of users who may send nothing more.
func (g *Guard) UsersDone() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.done)
}

// Overruns is the number of answers that cost more than a request could: the
// platform does not keep max_tokens, or its prices are others.
func (g *Guard) Overruns() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.overruns
}

// Spent is the money that is settled, in micro-dollars.
func (g *Guard) Spent() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.spent
}

func (g *Guard) second(now time.Time) int64 { return int64(max(0, now.Sub(g.began)) / slot) }

// claim takes one of the requests that a user may send.
func (g *Guard) claim(user int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.countable(); err != nil {
		return err // before anybody waits in vain
	}
	most := g.limits.RequestsPerUser
	if most == 0 || user == nobody {
		return nil
	}
	if g.users[user] >= most {
		g.done[user] = true
		return ErrUserDone
	}
	g.users[user]++
	return nil
}

func (g *Guard) unclaim(user int) {
	if g.limits.RequestsPerUser != 0 && user != nobody {
		g.mu.Lock()
		g.users[user]--
		g.mu.Unlock()
	}
}

func (g *Guard) takeSlot(ctx context.Context) error {
	if g.limits.Concurrent < 0 {
		return &Exceeded{Limit: "concurrency", Allowed: "none", Observed: "one request", Note: "there are fewer places than workers"}
	}
	if g.slots == nil {
		return nil
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waited(slotWait, time.Now())
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *Guard) giveSlot() {
	if g.slots != nil {
		<-g.slots
	}
}

// need is a request that waits for money.
type need struct {
	worst   int64
	decided chan error // has room for the one decision
}

// reserve sets money aside. While others' reservations stand in the way it
// waits its turn for them to be settled; if even the money spent leaves too
// little, the limit is reached.
func (g *Guard) reserve(ctx context.Context, worst int64) error {
	if g.limits.CostMicroUSD == 0 {
		return nil
	}
	mine := &need{worst: worst, decided: make(chan error, 1)}
	g.mu.Lock()
	place := g.queue.PushBack(mine)
	g.serve()
	g.mu.Unlock()
	select {
	case err := <-mine.decided:
		return err
	default:
	}
	defer g.waited(moneyWait, time.Now())
	select {
	case err := <-mine.decided:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case err := <-mine.decided: // meanwhile
		if err == nil {
			g.reserved -= worst
		}
	default:
		g.queue.Remove(place)
	}
	g.serve() // whoever it stood in the way of
	return context.Cause(ctx)
}

// serve decides on those who wait for money, in order, as far as is possible
// now; g.mu is locked.
func (g *Guard) serve() {
	for first := g.queue.Front(); first != nil; first = g.queue.Front() {
		n, left := first.Value.(*need), g.limits.CostMicroUSD-g.spent
		switch {
		case n.worst > left:
			n.decided <- g.broke(n.worst)
		case n.worst <= left-g.reserved:
			g.reserved += n.worst
			n.decided <- nil
		default:
			return
		}
		g.queue.Remove(first)
	}
}

// broke describes that the next request may cost more than is left.
func (g *Guard) broke(worst int64) *Exceeded {
	e := &Exceeded{Limit: "cost", Allowed: dollars(max(0, g.limits.CostMicroUSD)), Observed: dollars(g.spent)}
	e.Note = "and the next request may cost " + dollars(worst)
	if g.unknown > 0 {
		e.Note += fmt.Sprintf("; %s of it are assumed, for %d broken answers that may have been charged", dollars(g.assumed), g.unknown)
	}
	return e
}

func (g *Guard) release(worst int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unreserve(worst)
}

func (g *Guard) unreserve(worst int64) {
	if g.limits.CostMicroUSD != 0 {
		g.reserved -= worst
		g.serve()
	}
}

// pace waits for the request's place in a row of requests that leave evenly: a
// token bucket that holds one token, so that no second sees more than allowed.
// Who gives up waiting leaves no gap.
func (g *Guard) pace(ctx context.Context) error {
	rate := g.limits.RequestsPerSecond
	if rate <= 0 {
		return nil
	}
	came := time.Now()
	waited := false
	defer func() {
		if waited {
			g.waited(rateWait, came)
		}
	}()
	select {
	case g.turn <- struct{}{}:
	default:
		waited = true
		select {
		case g.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { <-g.turn }()
	at := g.next
	if at.Before(came) {
		at = came
	}
	if d := time.Until(at); d > 0 {
		waited = true
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.next = at.Add(time.Duration(float64(time.Second) / rate))
	return nil
}

// count lets the request go.
func (g *Guard) count() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.countable(); err != nil {
		return err
	}
	g.sent++
	return nil
}

func (g *Guard) countable() error {
	if most := g.limits.Requests; most != 0 && g.sent >= most {
		return &Exceeded{Limit: "request", Allowed: fmt.Sprint(max(0, most)), Observed: fmt.Sprint(g.sent)}
	}
	return nil
}

func (g *Guard) waited(which int, since time.Time) {
	d := time.Since(since)
	g.mu.Lock()
	defer g.mu.Unlock()
	w := &g.waits[which]
	w.Requests++
	w.Total += d
	w.Longest = max(w.Longest, d)
}
