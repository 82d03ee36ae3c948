package rendezvous_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

const token = "the-token-of-the-run"

// errLost is what becomes of a message that does not arrive.
var errLost = errors.New("the network lost it")

// network carries requests to whoever leads at the moment, without sockets, so
// that time is virtual; a request and its answer take trip each.
type network struct {
	leader atomic.Pointer[http.Handler]
	trip   time.Duration
	lose   func(n int64) bool // nil: nothing
	sent   atomic.Int64
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // read to its end
	}
	time.Sleep(n.trip)
	h := n.leader.Load()
	if h == nil || n.lose != nil && n.lose(n.sent.Add(1)) {
		return nil, errLost
	}
	w := httptest.NewRecorder()
	(*h).ServeHTTP(w, r)
	time.Sleep(n.trip)
	return w.Result(), nil //nolint:bodyclose // the caller's
}

func (n *network) lead(r rendezvous.Rules) *rendezvous.Leader {
	if r.Patience == 0 {
		r.Patience = 5 * time.Minute
	}
	shelf := rendezvous.NewShelf()
	l := rendezvous.NewLeader(r, shelf)
	h := rendezvous.Desk{Token: secret.New(token), Shelf: shelf, Leader: l, Stop: l.Stop}.Handler()
	n.leader.Store(&h)
	return l
}

// hand is a worker without a load.
type hand struct {
	*rendezvous.Member
	stopped chan export.Stop
	began   time.Time
	carried stats.Totals
	err     error
	done    chan struct{} // closed when Ready has returned
	cancel  context.CancelFunc
	say     func(live.Snapshot)
}

func (n *network) join(worker, attempt int, lead *rendezvous.Leader) *hand {
	m := rendezvous.Join(rendezvous.Membership{Worker: worker, Attempt: attempt, Leader: lead, URL: "http://leader", Token: secret.New(token), Patience: time.Minute})
	m.Through(n)
	h := &hand{Member: m, stopped: make(chan export.Stop, 9), done: make(chan struct{}), cancel: func() {}}
	var mu sync.Mutex
	now := live.Snapshot{Stage: "creating tenants"}
	h.say = func(s live.Snapshot) { mu.Lock(); now = s; mu.Unlock() }
	m.Follow(func() live.Snapshot { mu.Lock(); defer mu.Unlock(); return now })
	m.Listen(func(s export.Stop) { h.stopped <- s })
	return h
}

// getReady waits for the start, after the time its tenants take.
func (h *hand) getReady(t *testing.T, after time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	go func() {
		defer close(h.done)
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return
		}
		var at time.Time
		if at, h.carried, h.err = h.Ready(ctx); h.err == nil {
			time.Sleep(time.Until(at))
			h.began = at
		}
	}()
}

// vanish ends a worker as kill -9 does.
func (h *hand) vanish() { h.cancel(); h.Die() }

func TestAllBeginAtOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: 40 * time.Millisecond, lose: func(n int64) bool { return n%3 == 0 }} // every third is lost
		lead := n.lead(rendezvous.Rules{Workers: 3})
		var hands []*hand
		for i := range 3 {
			h := n.join(i, 0, map[int]*rendezvous.Leader{0: lead}[i])
			h.getReady(t, time.Duration(i)*4*time.Second)
			hands = append(hands, h)
		}
		for _, h := range hands {
			<-h.done
			if spread := h.began.Sub(hands[0].began).Abs(); h.err != nil || spread > time.Millisecond {
				t.Errorf("one began %v apart from the leader: %v", spread, h.err)
			}
			b := &export.Bundle{Phases: make([]export.Phase, 1)}
			if h.Sign(b); !b.Run.Started.Equal(*lead.View().Start) {
				t.Errorf("one calls the start %v, the leader %v", b.Run.Started, lead.View().Start)
			}
			h.Leave(t.Context(), true)
		}
		if !lead.Over(0) {
			t.Error("the leader waits for workers that have ended")
		}
	})
}

func TestOneIsLate(t *testing.T) {
	for name, goOn := range map[string]bool{"fail": false, "continue": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{trip: time.Millisecond}
				lead := n.lead(rendezvous.Rules{Workers: 3, Patience: time.Minute, GoOn: goOn})
				begin := time.Now()
				first, late := n.join(0, 0, lead), n.join(1, 0, nil) // and 2 never comes
				first.getReady(t, 0)
				late.getReady(t, 2*time.Minute)
				defer first.vanish()
				defer late.vanish()
				if !goOn {
					want := export.Stop{Reason: "broken", Detail: "2 workers were not ready 1m00s after the first: worker 1 (creating tenants), worker 2 (never heard of)"}
					for _, h := range []*hand{first, late} {
						if diff := cmp.Diff(want, <-h.stopped); diff != "" {
							t.Error(diff)
						}
					}
					return
				}
				<-first.done
				<-late.done
				if wait := first.began.Sub(begin); wait < time.Minute || wait > time.Minute+10*time.Second {
					t.Errorf("the first began after %v", wait)
				}
				if !late.began.Equal(first.began) || time.Since(begin) < 2*time.Minute { // in its past
					t.Errorf("the late one takes the start for %v, the first for %v", late.began, first.began)
				}
			})
		})
	}
}

func TestTheLeaderIsReplaced(t *testing.T) {
	for name, early := range map[string]bool{"before the start": true, "under load": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{trip: time.Millisecond}
				rules := rendezvous.Rules{Workers: 3}
				old := n.join(0, 0, n.lead(rules))
				a, b := n.join(1, 0, nil), n.join(2, 0, nil)
				defer a.vanish()
				defer b.vanish()
				old.getReady(t, 0)
				a.getReady(t, 0)
				if early {
					time.Sleep(5 * time.Second)
				} else {
					b.getReady(t, 0)
					<-b.done
					time.Sleep(10 * time.Second)
				}
				old.vanish()
				n.leader.Store(nil)
				time.Sleep(20 * time.Second) // nobody leads
				lead := n.lead(rules)
				next := n.join(0, 1, lead)
				defer next.vanish()
				next.getReady(t, 3*time.Second)
				if early {
					b.getReady(t, 0)
				}
				<-a.done
				for _, h := range []*hand{next, a, b} {
					<-h.done
					if apart := h.began.Sub(a.began).Abs(); h.err != nil || apart > 5*time.Millisecond {
						t.Errorf("one takes the start for %v apart: %v", apart, h.err)
					}
				}
				if len(a.stopped)+len(b.stopped)+len(next.stopped) > 0 || !early && time.Since(a.began) < 30*time.Second {
					t.Errorf("stopped, or begun again %v ago", time.Since(a.began))
				}
			})
		})
	}
}

// What earlier attempts had counted stays in the sum, and is told to the next, by
// a leader that never heard of them, too.
func TestAWorkerIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		rules := rendezvous.Rules{Workers: 2}
		lead := n.lead(rules)
		zero, one := n.join(0, 0, lead), n.join(1, 0, nil)
		defer zero.vanish()
		zero.getReady(t, 0)
		one.getReady(t, 0)
		<-one.done
		one.say(live.Snapshot{Stage: live.Running, Totals: stats.Totals{Requests: 7, CostMicroUSD: 70}})
		time.Sleep(3 * time.Second)
		one.vanish()
		next := n.join(1, 1, nil)
		defer next.vanish()
		next.getReady(t, 0)
		<-next.done
		if next.err != nil || next.carried.Requests != 7 || next.carried.CostMicroUSD != 70 || !next.began.Before(time.Now()) {
			t.Errorf("%+v of earlier attempts, %v", next.carried, next.err)
		}
		next.say(live.Snapshot{Stage: live.Running, Totals: stats.Totals{Requests: 2}})
		time.Sleep(3 * time.Second)
		if got := lead.View(); got.Snapshot.Totals.Requests != 9 || got.Workers[1].Requests != 9 || got.Workers[1].Before != 7 || got.Workers[0].Before != 0 {
			t.Errorf("%d requests in all, %+v", got.Snapshot.Totals.Requests, got.Workers)
		}
		if a, err := lead.Beat(rendezvous.Beat{Worker: 1}); err != nil || a.Stop == nil { // who was cut off comes back
			t.Errorf("the earlier attempt goes on: %+v, %v", a, err)
		}
		lead = n.lead(rules) // of which zero does not know
		time.Sleep(3 * time.Second)
		if got := lead.View(); got.Snapshot.Totals.Requests != 9 || got.Start == nil || got.Workers[1].Attempt != 1 {
			t.Errorf("%+v", got)
		}
		b := &export.Bundle{}
		if next.Sign(b); b.Run.Attempt != 1 || b.Run.Carried != 7 {
			t.Errorf("%+v", b.Run)
		}
	})
}

func TestStopReachesAll(t *testing.T) {
	totals := func(n uint64, failed uint64, cost int64) live.Snapshot {
		return live.Snapshot{Stage: live.Running, Totals: stats.Totals{Requests: n, Failed: failed, CostMicroUSD: cost}}
	}
	for name, c := range map[string]struct {
		limits limits.Limits
		do     func(*network, *rendezvous.Leader, []*hand)
		want   export.Stop
	}{
		"somebody says so": {do: func(n *network, _ *rendezvous.Leader, _ []*hand) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/stop", strings.NewReader(`{"reason":"enough seen"}`))
			r.Header.Set(rendezvous.TokenHeader, token)
			(*n.leader.Load()).ServeHTTP(w, r)
		}, want: export.Stop{Reason: "interrupted", Detail: "enough seen"}},
		"requests": {limits: limits.Limits{Requests: 10}, do: func(_ *network, _ *rendezvous.Leader, h []*hand) {
			h[0].say(totals(6, 0, 0))
			h[1].say(totals(4, 0, 0))
		}, want: export.Stop{Reason: "limit", Detail: "the request limit was reached: 10 of 10, of all workers together"}},
		"cost": {limits: limits.Limits{CostMicroUSD: 10}, do: func(_ *network, _ *rendezvous.Leader, h []*hand) {
			h[0].say(totals(1, 0, 6))
			h[1].say(totals(1, 0, 5))
		}, want: export.Stop{Reason: "limit", Detail: "the cost limit was reached: $0.000011 of $0.000010, of all workers together"}},
		"errors": {limits: limits.Limits{HasErrorRate: true, ErrorRate: 0.1}, do: func(_ *network, _ *rendezvous.Leader, h []*hand) {
			h[0].say(totals(100, 15, 0)) // each alone might be chance
			h[1].say(totals(100, 20, 0))
		}, want: export.Stop{Reason: "limit", Detail: "the error rate limit was reached: 17.50% of 10.00%, 35 of 200 answers, of all workers together"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{trip: time.Millisecond}
				lead := n.lead(rendezvous.Rules{Workers: 2, Limits: c.limits})
				hands := []*hand{n.join(0, 0, lead), n.join(1, 0, nil)}
				for _, h := range hands {
					defer h.vanish()
					h.getReady(t, 0)
				}
				for _, h := range hands {
					<-h.done
				}
				c.do(n, lead, hands)
				for _, h := range hands {
					if diff := cmp.Diff(c.want, <-h.stopped); diff != "" {
						t.Error(diff)
					}
				}
				if lead.View().Stop != c.want.Detail {
					t.Errorf("the leader shows %q", lead.View().Stop)
				}
			})
		})
	}
}

// A beat that another overtook on its way changes nothing.
func TestABeatThatComesTooLate(t *testing.T) {
	lead := rendezvous.NewLeader(rendezvous.Rules{Workers: 2, Patience: time.Minute}, rendezvous.NewShelf())
	said := func(n uint64) *live.Snapshot { return &live.Snapshot{Totals: stats.Totals{Requests: n}} }
	for _, b := range []rendezvous.Beat{{Worker: 1, Count: 8, Snapshot: said(9), Ended: true}, {Worker: 1, Count: 7, Snapshot: said(5)}} {
		if _, err := lead.Beat(b); err != nil {
			t.Fatal(err)
		}
	}
	if w := lead.View().Workers[1]; !w.Ended || w.Requests != 9 {
		t.Errorf("%+v", w)
	}
}

func TestWhoCannotBeginEndsItForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		zero, one := n.join(0, 0, n.lead(rendezvous.Rules{Workers: 2})), n.join(1, 0, nil)
		defer zero.vanish()
		defer one.vanish()
		zero.getReady(t, 0)
		one.Fail("no such model")
		want := export.Stop{Reason: "interrupted", Detail: "worker 1 could not begin: no such model"}
		if diff := cmp.Diff(want, <-zero.stopped); diff != "" {
			t.Error(diff)
		}
	})
}

// Nobody hangs: who hears nothing of a leader before the start gives up, and who
// does so under load goes on.
func TestNoLeaderAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		begin := time.Now()
		h := n.join(1, 0, nil)
		defer h.vanish()
		h.getReady(t, 0)
		if s := <-h.stopped; s.Reason != "broken" || !strings.Contains(s.Detail, errLost.Error()) || time.Since(begin) > 2*time.Minute {
			t.Errorf("after %v: %+v", time.Since(begin), s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		n.lead(rendezvous.Rules{Workers: 1})
		h := n.join(0, 0, nil)
		defer h.vanish()
		h.getReady(t, 0)
		<-h.done
		n.leader.Store(nil)
		time.Sleep(time.Hour)
		if len(h.stopped) > 0 {
			t.Errorf("it stopped: %+v", <-h.stopped)
		}
	})
}

// A worker that was ready and is silent since then is not waited for as one that is.
func TestWhoDiesBeforeTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		zero, one, two := n.join(0, 0, n.lead(rendezvous.Rules{Workers: 3})), n.join(1, 0, nil), n.join(2, 0, nil)
		defer zero.vanish()
		defer two.vanish()
		zero.getReady(t, 0)
		one.getReady(t, 0)
		time.Sleep(time.Second)
		one.vanish()
		two.getReady(t, time.Minute)
		time.Sleep(2 * time.Minute)
		if !zero.began.IsZero() {
			t.Fatal("they began without it")
		}
		again := n.join(1, 1, nil)
		defer again.vanish()
		again.getReady(t, 0)
		<-zero.done
		<-again.done
		if d := zero.began.Sub(again.began).Abs(); d > 5*time.Millisecond || again.began.Before(zero.began.Add(-time.Second)) {
			t.Errorf("they began %v apart", d)
		}
	})
}

// The leader goes when everybody else has ended or had the time to come, whether
// they were heard of or not: who comes later finds nobody to take its document.
func TestTheLeaderLeavesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		lead := n.lead(rendezvous.Rules{Workers: 3})
		zero := n.join(0, 0, lead)
		zero.Leave(t.Context(), true) // at once, before the others are there
		if lead.Over(0) {
			t.Error("it leaves before anybody could come")
		}
		time.Sleep(time.Minute)
		one := n.join(1, 0, nil) // and 2 never comes
		time.Sleep(time.Second)
		if err := one.Deliver(t.Context(), []byte("{}")); err != nil {
			t.Error(err)
		}
		one.Leave(t.Context(), true)
		if lead.Over(0) {
			t.Error("it does not wait for one that was never heard of")
		}
		time.Sleep(time.Minute)
		if !lead.Over(0) {
			t.Error("it waits for ever")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		lead := n.lead(rendezvous.Rules{Workers: 2})
		time.Sleep(time.Hour)
		one := n.join(1, 0, nil)
		time.Sleep(time.Second)
		one.vanish()
		if lead.Over(0) {
			t.Error("it does not wait for one that was heard a moment ago")
		}
		time.Sleep(2 * time.Minute)
		if !lead.Over(0) {
			t.Error("it waits for ever for one that was lost")
		}
	})
}

// Nor is one ready that has left for another to come.
func TestWhoLeavesBeforeTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{trip: time.Millisecond}
		lead := n.lead(rendezvous.Rules{Workers: 2})
		zero, one := n.join(0, 0, lead), n.join(1, 0, nil)
		defer zero.vanish()
		one.getReady(t, 0)
		time.Sleep(time.Second)
		one.cancel()
		one.Leave(t.Context(), false)
		zero.getReady(t, 0)
		time.Sleep(time.Second)
		if v := lead.View(); v.Start != nil || v.Workers[1].Ended {
			t.Errorf("they begin without it: %+v", v)
		}
	})
}

// Over real HTTP: the start, documents with their checksums, the token.
func TestOverHTTP(t *testing.T) {
	shelf := rendezvous.NewShelf()
	lead := rendezvous.NewLeader(rendezvous.Rules{Workers: 3, Patience: time.Minute}, shelf)
	server := httptest.NewServer(rendezvous.Desk{Token: secret.New(token), Shelf: shelf, Leader: lead, Stop: lead.Stop}.Handler())
	defer server.Close()
	call := func(method, path, with, body string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(rendezvous.TokenHeader, with)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // only read from
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(data)
	}
	for _, with := range []string{"", "another", token + "x"} {
		if code, _, said := call(http.MethodGet, "/run", with, ""); code != http.StatusForbidden || strings.Contains(said, token) {
			t.Errorf("with the token %q: %d %s", with, code, said)
		}
	}

	var group sync.WaitGroup
	starts := make([]time.Time, 3)
	members := make([]*rendezvous.Member, 3)
	for i := range 3 {
		m := rendezvous.Membership{Worker: i, URL: server.URL, Token: secret.New(token), Patience: time.Minute}
		if i == 0 {
			m.Leader = lead
		}
		members[i] = rendezvous.Join(m)
		members[i].Follow(func() live.Snapshot {
			return live.Snapshot{Stage: live.Running, Totals: stats.Totals{Requests: 5}, Latency: &stats.Latencies{}}
		})
		members[i].Listen(func(s export.Stop) { t.Errorf("worker %d is stopped: %+v", i, s) })
		group.Go(func() {
			var err error
			if starts[i], _, err = members[i].Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, at := range starts { // the clocks are one here, and so must be what they say
		if d := at.Sub(starts[0]).Abs(); d > time.Second {
			t.Errorf("starts are %v apart", d)
		}
	}
	document := []byte(`{"a": "document"}`)
	for _, m := range members {
		if err := m.Deliver(t.Context(), document); err != nil {
			t.Error(err)
		}
		m.Leave(t.Context(), true)
	}
	var view rendezvous.View
	_, _, said := call(http.MethodGet, "/run", token, "")
	if err := json.Unmarshal([]byte(said), &view); err != nil || view.Snapshot.Totals.Requests != 15 || len(view.Documents) != 3 || !view.Workers[2].Ended {
		t.Errorf("%v: %s", err, said)
	}
	if _, _, said := call(http.MethodGet, "/documents", token, ""); said != `["0-0","1-0","2-0"]`+"\n" {
		t.Errorf("documents: %s", said)
	}
	code, header, said := call(http.MethodGet, "/documents/1-0", token, "")
	if code != 200 || !bytes.Equal([]byte(said), document) || header.Get(rendezvous.ChecksumHeader) != fmt.Sprintf("%x", sha256.Sum256(document)) {
		t.Errorf("%d %v %s", code, header, said)
	}
	for path, want := range map[string]int{"/documents/9-9": 404, "/documents/token": 404} {
		if code, _, _ := call(http.MethodGet, path, token, ""); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _, said := call(http.MethodPost, "/documents/1-1", token, "damaged"); code != http.StatusBadRequest {
		t.Errorf("a damaged document: %d %s", code, said)
	}
	if code, _, said := call(http.MethodPost, "/rendezvous", token, `{"worker": 3}`); code != http.StatusBadRequest || !strings.Contains(said, "3 workers") {
		t.Errorf("a stranger: %d %s", code, said)
	}
	call(http.MethodPost, "/collected", token, `["0-0","2-0","7-7"]`)
	if got := fmt.Sprint(shelf.Waiting()); got != "[1-0]" {
		t.Errorf("waiting: %s", got)
	}
	if !lead.Over(0) {
		t.Error("the leader waits for those that have ended")
	}
}
