package cleanup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/bootstrap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cleanup"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const adminKey = "an-admin-key-of-the-test"

// world is a simulated platform behind an unreliable network, which keeps the
// secret of every key that was ever issued, heard of or not.
type world struct {
	t     *testing.T
	quirk platformsim.Quirks
	url   string
	next  http.Handler

	mu      sync.Mutex
	rng     *rand.Rand
	broken  float64            // share of calls answered by 503
	lost    float64            // share of calls carried out, and their answers lost
	onCall  func(n int) string // what to do with the nth call: "", "refuse", "lose"
	n       int
	bad     map[string]int // how often in a row a call was broken or lost
	secrets []string
}

func newWorld(t *testing.T, quirks platformsim.Quirks) *world {
	t.Helper()
	sim, err := platformsim.New(platformsim.Options{Seed: 1, AdminKey: secret.New(adminKey), AdminEmail: "root@x", AdminPassword: secret.New("hunter2hunter2"), Quirks: quirks, HashCost: time.Microsecond})
	do(t, err)
	t.Cleanup(func() { do(t, sim.Close(context.WithoutCancel(t.Context()))) })
	w := &world{t: t, quirk: quirks, next: sim.UserOrg(), bad: map[string]int{}, rng: rand.New(rand.NewPCG(1, 2))}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// fate decides what happens to a call. None is broken or lost more than five
// times in a row, since the client rightly gives up after eight.
func (w *world) fate(call string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if w.onCall != nil {
		if fate := w.onCall(w.n); fate != "" {
			return fate
		}
	}
	x := w.rng.Float64()
	if x >= w.broken+w.lost || w.bad[call] == 5 {
		w.bad[call] = 0
		return ""
	}
	w.bad[call]++
	if x < w.broken {
		return "break"
	}
	return "lose"
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	fate := w.fate(r.Method + " " + r.URL.Path + " " + string(body))
	switch fate {
	case "break":
		http.Error(rw, "upstream connect error", http.StatusServiceUnavailable)
		return
	case "refuse":
		http.Error(rw, "not today", http.StatusForbidden)
		return
	}
	rec := httptest.NewRecorder()
	w.next.ServeHTTP(rec, r)
	var issued struct{ Secret string }
	if json.Unmarshal(rec.Body.Bytes(), &issued) == nil && issued.Secret != "" {
		w.mu.Lock()
		w.secrets = append(w.secrets, issued.Secret)
		w.mu.Unlock()
	}
	if fate == "lose" {
		panic(http.ErrAbortHandler)
	}
	rw.WriteHeader(rec.Code)
	_, _ = rw.Write(rec.Body.Bytes())
}

// tenancy returns a fresh client, as another process would make it.
func (w *world) tenancy() *platform.Tenancy {
	w.t.Helper()
	admin := platform.Admin{Key: secret.New(adminKey)}
	if w.quirk.LoginOnly {
		admin = platform.Admin{Email: "root@x", Password: secret.New("hunter2hunter2")}
	}
	x, err := platform.NewTenancy(platform.Connection{BaseURL: w.url}, admin)
	do(w.t, err)
	w.t.Cleanup(func() { _ = x.Close(context.WithoutCancel(w.t.Context())) })
	return x
}

// calm ends all faults.
func (w *world) calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken, w.lost, w.onCall = 0, 0, nil
}

func (w *world) bootstrap(ctx context.Context, l *ledger.Ledger, orgs []plan.Org, parallel int) (*bootstrap.Result, error) {
	return bootstrap.Run(ctx, bootstrap.Options{
		Orgs: orgs, RunID: runID, Tenancy: w.tenancy(), Ledger: l, Parallel: parallel,
		KeysPerUser: 1, Roles: []string{"member"}, Metadata: map[string]any{"team": "blue"},
	})
}

// good asks the platform whether a secret is a good key.
func (w *world) good(value string) bool {
	w.t.Helper()
	body, _ := json.Marshal(map[string]string{"apiKeySecret": value})
	rec := httptest.NewRecorder()
	w.next.ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "/v1/auth/validate-api-key", bytes.NewReader(body)))
	var answer struct{ Valid bool }
	do(w.t, json.Unmarshal(rec.Body.Bytes(), &answer))
	return answer.Valid
}

// nothingLeft checks that of a plan no organization is left and no key works,
// but for keys whose ids nobody could learn.
func (w *world) nothingLeft(orgs []plan.Org, nameless int) {
	w.t.Helper()
	x := w.tenancy()
	for _, o := range orgs {
		found, err := x.FindOrg(w.t.Context(), o.Slug)
		switch {
		case errors.Is(err, platform.ErrNotFound):
		case err != nil:
			w.t.Error(err)
		case !w.quirk.NoDelete || found.Status != "suspended":
			w.t.Errorf("organization %s is left, %s", o.Slug, found.Status)
		}
	}
	good := 0
	for _, s := range w.secrets {
		if w.good(s) {
			good++
		}
	}
	if good > nameless {
		w.t.Errorf("%d of %d keys still work, want %d at most", good, len(w.secrets), nameless)
	}
}

func planned(orgs, users int) []plan.Org {
	return plan.Make(plan.Spec{
		RunID: runID, Seed: 1, Orgs: orgs, OrgName: "loadtest-org-{index}", UserName: "user-{org}-{index}",
		Users: plan.Users{Min: users, Max: users, Distribution: plan.Uniform}, Budget: plan.Budget{LimitMicroUSD: 5_000_000},
	})
}

var faces = []struct {
	name   string
	quirks platformsim.Quirks
}{{"as documented", platformsim.Quirks{}}, {"as observed", platformsim.AsObserved()}}

// reopen reads a ledger as another process would.
func reopen(t *testing.T, l *ledger.Ledger) *ledger.Ledger {
	t.Helper()
	_ = l.Close()
	again, err := ledger.Open(l.Path())
	do(t, err)
	t.Cleanup(func() { _ = again.Close() })
	return again
}

func TestBothFaces(t *testing.T) {
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			w, l, orgs := newWorld(t, face.quirks), newLedger(t), planned(3, 5)
			r, err := w.bootstrap(t.Context(), l, orgs, 8)
			do(t, err)
			if len(r.Orgs) != 3 || r.Users != 15 || r.Keys != 15 || r.Retries != 0 {
				t.Fatalf("result = %+v", r)
			}
			text, err := os.ReadFile(l.Path())
			do(t, err)
			for _, o := range r.Orgs {
				for _, u := range o.Users {
					if !w.good(u.Keys[0].Reveal()) {
						t.Errorf("the key of %s does not work", u.Email)
					}
					if bytes.Contains(text, []byte(u.Keys[0].Reveal())) {
						t.Errorf("the ledger holds the key of %s", u.Email)
					}
				}
			}
			for _, s := range append(w.secrets, adminKey, "hunter2hunter2") {
				if bytes.Contains(text, []byte(s)) {
					t.Error("the ledger holds a secret")
				}
			}
			notes := strings.Join(r.Notes, "; ")
			for _, want := range []string{"budgets are not kept", "keys are issued at /api-keys", "each was activated"} {
				if strings.Contains(notes, want) != face.quirks.NoDelete {
					t.Errorf("notes = %q; %q on %s", notes, want, face.name)
				}
			}

			report, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
			do(t, err)
			want := "deleted 3/15/15 revoked 0 suspended 0 gone 0 remaining 0 failures 0"
			if face.quirks.NoDelete {
				want = "deleted 0/0/0 revoked 15 suspended 18 gone 0 remaining 0 failures 0"
			}
			if got := counts(report); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
			w.nothingLeft(orgs, 0)

			report, err = cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
			do(t, err)
			if got := counts(report); !strings.HasPrefix(got, "deleted 0/0/0 revoked 0 suspended 0 gone 0 remaining 0") {
				t.Errorf("second clean-up: %s", got)
			}
		})
	}
}

// TestEachQuirk turns on one difference at a time: no two must be taken for
// granted together.
func TestEachQuirk(t *testing.T) {
	for _, name := range platformsim.QuirkNames() {
		t.Run(name, func(t *testing.T) {
			var q platformsim.Quirks
			do(t, q.Set(name, true))
			w, l, orgs := newWorld(t, q), newLedger(t), planned(2, 2)
			_, err := w.bootstrap(t.Context(), l, orgs, 4)
			do(t, err)
			r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
			do(t, err)
			if r.Remaining != 0 || len(w.secrets) != 4 {
				t.Errorf("%s; %d keys were issued", counts(r), len(w.secrets))
			}
			if !q.KeyCache { // under which a key that was good stays so for a minute, by definition
				w.nothingLeft(orgs, 0)
			}
		})
	}
}

// TestUnreliablePlatform makes one call in five fail, and one in ten lose its
// answer; bootstrap gets through all the same, and so does the clean-up.
func TestUnreliablePlatform(t *testing.T) {
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			w, l, orgs := newWorld(t, face.quirks), newLedger(t), planned(3, 6)
			w.broken, w.lost = 0.2, 0.1
			r, err := w.bootstrap(t.Context(), l, orgs, 16)
			do(t, err)
			if r.Retries == 0 || r.Users != 18 {
				t.Fatalf("result = %+v", r)
			}
			known := 0
			for _, o := range r.Orgs {
				for _, u := range o.Users {
					if w.good(u.Keys[0].Reveal()) {
						known++
					}
				}
			}
			if known != 18 {
				t.Errorf("%d of 18 keys work", known)
			}
			report, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
			do(t, err)
			if report.Remaining != 0 {
				t.Errorf("%s", counts(report))
			}
			w.calm()
			nameless := 0
			if face.quirks.NoDelete {
				nameless = len(w.secrets) - 18 // issued, never heard of, and not to be found out
			}
			w.nothingLeft(orgs, nameless)
			for _, o := range r.Orgs {
				for _, u := range o.Users {
					if w.good(u.Keys[0].Reveal()) {
						t.Errorf("the key of %s still works", u.Email)
					}
				}
			}
		})
	}
}

// TestBootstrapFailsMidway fails for good in the middle of things.
func TestBootstrapFailsMidway(t *testing.T) {
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			w, l, orgs := newWorld(t, face.quirks), newLedger(t), planned(4, 6)
			w.broken = 0.2
			w.onCall = func(n int) string {
				if n == 40 {
					return "refuse"
				}
				return ""
			}
			_, err := w.bootstrap(t.Context(), l, orgs, 8)
			if err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
				t.Fatalf("err = %v", err)
			}
			if n := ledger.Count(l.Outstanding()); n < 5 {
				t.Fatalf("only %d things in the ledger", n)
			}
			r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
			do(t, err)
			if r.Remaining != 0 {
				t.Errorf("%s", counts(r))
			}
			w.calm()
			// Requests that were under way when all stopped may have been carried out.
			unheard := 0
			if face.quirks.NoDelete {
				unheard = len(w.secrets) - strings.Count(ledgerText(t, l), `"op":"created","kind":"key"`)
			}
			w.nothingLeft(orgs, unheard)
		})
	}
}

func ledgerText(t *testing.T, l *ledger.Ledger) string {
	t.Helper()
	b, err := os.ReadFile(l.Path())
	do(t, err)
	return string(b)
}

// TestEveryCrashPoint stops bootstrap dead at every call it makes, before it
// is carried out or after, tears the ledger's last line, and cleans up from
// what is left.
func TestEveryCrashPoint(t *testing.T) {
	for _, face := range faces {
		for _, fate := range []string{"refuse", "lose"} {
			t.Run(face.name+"/"+fate, func(t *testing.T) {
				crashed := true
				for at := 1; crashed; at++ {
					crashed = crashAt(t, face.quirks, fate, at)
					if at > 100 {
						t.Fatal("bootstrap never ends")
					}
				}
			})
		}
	}
}

// crashAt reports whether bootstrap came as far as the call.
func crashAt(t *testing.T, quirks platformsim.Quirks, fate string, at int) (crashed bool) {
	t.Helper()
	w, l, orgs := newWorld(t, quirks), newLedger(t), planned(2, 2)
	ctx, crash := context.WithCancel(t.Context())
	defer crash()
	w.onCall = func(n int) string {
		if n < at {
			return ""
		}
		crashed = true
		crash()
		return fate
	}
	_, err := w.bootstrap(ctx, l, orgs, 1)
	if (err != nil) != crashed {
		t.Fatalf("call %d: crashed %v, err = %v", at, crashed, err)
	}
	w.calm()
	do(t, l.Close())
	f, err := os.OpenFile(l.Path(), os.O_APPEND|os.O_WRONLY, 0)
	do(t, err)
	_, err = io.WriteString(f, `{"op":"intend","kind":"us`)
	do(t, err, f.Close())

	r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
	if err != nil || r.Remaining != 0 {
		t.Errorf("call %d: err = %v, %s", at, err, counts(r))
	}
	nameless := 0
	if quirks.NoDelete && fate == "lose" {
		nameless = len(w.secrets) - strings.Count(ledgerText(t, l), `"op":"created","kind":"key"`)
	}
	w.nothingLeft(orgs, nameless)
	return crashed
}

// TestEveryCutOfTheLedger cuts the ledger of an organization at every line,
// and in the middle of every line: as long as it was begun to be created, it
// is removed with all that is under it.
func TestEveryCutOfTheLedger(t *testing.T) {
	w, l, orgs := newWorld(t, platformsim.Quirks{}), newLedger(t), planned(1, 3)
	lines := 0
	for n := 2; lines == 0 || n <= lines; n++ { // the header and the first intent stay
		for _, torn := range []int{0, 7} {
			_, err := w.bootstrap(t.Context(), l, orgs, 1)
			do(t, err)
			all := bytes.SplitAfter([]byte(ledgerText(t, l)), []byte("\n"))
			lines = len(all) - 1
			cut := bytes.Join(all[:n], nil)
			if n < lines {
				cut = append(cut, all[n][:torn]...)
			}
			path := filepath.Join(t.TempDir(), "cut")
			do(t, os.WriteFile(path, cut, 0o600))
			c, err := ledger.Open(path)
			do(t, err)
			r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: c, Tenancy: w.tenancy()})
			do(t, err, c.Close())
			if r.DeletedOrgs != 1 || r.Remaining != 0 {
				t.Errorf("cut after line %d: %s", n, counts(r))
			}
			w.nothingLeft(orgs, 0)
			l = newLedger(t)
		}
	}
	if want := 1 + 2 + 3*4; lines != want {
		t.Errorf("%d lines in the whole ledger, want %d", lines, want)
	}
}

// TestThousandUsers creates and removes a thousand users. How long it takes
// is printed, not judged.
func TestThousandUsers(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand users")
	}
	w, l, orgs := newWorld(t, platformsim.Quirks{}), newLedger(t), planned(10, 100)
	r, err := w.bootstrap(t.Context(), l, orgs, 0)
	do(t, err)
	if r.Users != 1000 || r.Keys != 1000 || len(w.secrets) != 1000 {
		t.Fatalf("%d users, %d keys, %d secrets", r.Users, r.Keys, len(w.secrets))
	}
	began := time.Now()
	report, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, l), Tenancy: w.tenancy()})
	do(t, err)
	if got := counts(report); got != "deleted 10/1000/1000 revoked 0 suspended 0 gone 0 remaining 0 failures 0" {
		t.Error(got)
	}
	t.Logf("created in %v, removed in %v", r.Duration, time.Since(began))
	w.nothingLeft(orgs, 0)
}

// TestThreeWorkers runs three workers at once, each with an organization of
// the same plan and a ledger of its own.
func TestThreeWorkers(t *testing.T) {
	w := newWorld(t, platformsim.Quirks{})
	orgs := plan.Make(plan.Spec{RunID: runID, Orgs: 3, OrgName: "loadtest-org-{index}", UserName: "u-{index}", Users: plan.Users{Min: 2, Max: 4, Distribution: plan.Random}, Workers: 3})
	ledgers := []*ledger.Ledger{newLedger(t), newLedger(t), newLedger(t)}
	var wg sync.WaitGroup
	for i, l := range ledgers {
		wg.Go(func() {
			r, err := w.bootstrap(t.Context(), l, plan.ForWorker(orgs, i), 4)
			if err != nil || len(r.Orgs) != 1 || r.Orgs[0].Name != fmt.Sprint("loadtest-org-", i+1) || r.Users != len(orgs[i].Users) {
				t.Errorf("worker %d: %+v, %v", i, r, err)
			}
		})
	}
	wg.Wait()
	for i, l := range ledgers {
		r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: w.tenancy()})
		if err != nil || r.DeletedOrgs != 1 || r.DeletedUsers != len(orgs[i].Users) {
			t.Errorf("worker %d: %s, %v", i, counts(r), err)
		}
	}
	w.nothingLeft(orgs, 0)
}

// TestSharedOrganization: three workers have users of one organization. Each
// creates it, whoever ends first takes nothing from the others, and whoever ends
// last leaves nothing.
func TestSharedOrganization(t *testing.T) {
	type face struct {
		name   string
		quirks platformsim.Quirks
	}
	all := []face{{"as documented", platformsim.Quirks{}}, {"as observed", platformsim.AsObserved()}}
	for _, name := range []string{"no-delete", "ghost-orgs", "pending-invites", "api-keys-path"} {
		var q platformsim.Quirks
		do(t, q.Set(name, true))
		all = append(all, face{name, q})
	}
	const users = 7
	for _, face := range all {
		for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, nil} { // nil: all at once
			t.Run(fmt.Sprint(face.name, order), func(t *testing.T) {
				w := newWorld(t, face.quirks)
				orgs := plan.Make(plan.Spec{RunID: runID, Orgs: 1, OrgName: "large", UserName: "u-{index}", Users: plan.Users{Min: users, Max: users}, Workers: 3})
				ledgers := []*ledger.Ledger{newLedger(t), newLedger(t), newLedger(t)}
				made := make([]*bootstrap.Result, len(ledgers))
				together := func(do func(i int)) {
					var wg sync.WaitGroup
					for i := range ledgers {
						wg.Go(func() { do(i) })
					}
					wg.Wait()
				}
				together(func(i int) {
					var err error
					if made[i], err = w.bootstrap(t.Context(), ledgers[i], plan.ForWorker(orgs, i), 4); err != nil {
						t.Error(err)
					}
				})
				if t.Failed() {
					return
				}
				works := func(i int) (n int) {
					for _, u := range made[i].Orgs[0].Users {
						if w.good(u.Keys[0].Reveal()) {
							n++
						}
					}
					return n
				}
				reports := make([]cleanup.Report, len(ledgers))
				end := func(i int) {
					var err error
					if reports[i], err = cleanup.Run(t.Context(), cleanup.Options{Ledger: reopen(t, ledgers[i]), Tenancy: w.tenancy()}); err != nil {
						t.Error(err)
					}
				}
				ended := map[int]bool{}
				for _, i := range order {
					end(i)
					ended[i] = true
					for other := range ledgers {
						if n := works(other); !ended[other] && n != made[other].Users || ended[other] && n > 0 {
							t.Errorf("after worker %d of %v, %d of %d keys of worker %d work", i, order, n, made[other].Users, other)
						}
					}
				}
				if order == nil {
					together(end)
				}
				var sum cleanup.Report
				for _, r := range reports {
					sum.DeletedOrgs += r.DeletedOrgs
					sum.DeletedUsers += r.DeletedUsers
					sum.DeletedKeys += r.DeletedKeys
					sum.RevokedKeys += r.RevokedKeys
					sum.Suspended += r.Suspended
				}
				if gone := sum.DeletedOrgs + sum.DeletedUsers + sum.Suspended; gone != 1+users && (order != nil || !face.quirks.NoDelete || face.quirks.EmptyLists) || sum.DeletedKeys+sum.RevokedKeys != users {
					t.Errorf("%s, want an organization, and %d users and keys", counts(sum), users)
				}
				w.nothingLeft(orgs, 0)
			})
		}
	}
}

// TestASharedOrganizationComesBack: a worker whose part is over before another has
// users removes the organization; the other creates it again.
func TestASharedOrganizationComesBack(t *testing.T) {
	for at := 1; at <= 6; at++ { // calls of the other
		w := newWorld(t, platformsim.Quirks{})
		orgs := plan.Make(plan.Spec{RunID: runID, Orgs: 1, OrgName: "large", UserName: "u-{index}", Users: plan.Users{Min: 4, Max: 4}, Workers: 2})
		first, second := newLedger(t), newLedger(t)
		_, err := w.bootstrap(t.Context(), first, plan.ForWorker(orgs, 0), 1)
		do(t, err)
		calls := 0
		w.onCall = func(int) string {
			if calls++; calls == at {
				w.mu.Unlock()
				defer w.mu.Lock()
				calls = -100 // the clean-up's are not counted
				_, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: first, Tenancy: w.tenancy()})
				do(t, err)
			}
			return ""
		}
		r, err := w.bootstrap(t.Context(), second, plan.ForWorker(orgs, 1), 1)
		if err != nil {
			t.Fatalf("call %d: %v", at, err)
		}
		for _, u := range r.Orgs[0].Users {
			if !w.good(u.Keys[0].Reveal()) {
				t.Errorf("call %d: the key of %s does not work", at, u.Email)
			}
		}
		report, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: second, Tenancy: w.tenancy()})
		do(t, err)
		if report.DeletedOrgs != 1 || report.DeletedUsers != 2 || r.Users != 2 {
			t.Errorf("call %d: %s", at, counts(report))
		}
		w.nothingLeft(orgs, 0)
	}
}

// TestReplacedInASharedOrganization: a worker is replaced, on either face, when
// the first of those who share the organization has ended.
func TestReplacedInASharedOrganization(t *testing.T) {
	for _, face := range faces {
		t.Run(face.name, func(t *testing.T) {
			w := newWorld(t, face.quirks)
			orgs := plan.Make(plan.Spec{RunID: runID, Orgs: 1, OrgName: "large", UserName: "u-{index}", Users: plan.Users{Min: 4, Max: 4}, Workers: 2})
			first, lost, second := newLedger(t), newLedger(t), newLedger(t)
			for i, l := range []*ledger.Ledger{first, lost} {
				_, err := w.bootstrap(t.Context(), l, plan.ForWorker(orgs, i), 1)
				do(t, err)
			}
			_, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: first, Tenancy: w.tenancy()})
			do(t, err)
			r, err := w.bootstrap(t.Context(), second, plan.ForWorker(orgs, 1), 1)
			do(t, err)
			for _, u := range r.Orgs[0].Users {
				if !w.good(u.Keys[0].Reveal()) {
					t.Errorf("the key of %s does not work", u.Email)
				}
			}
			_, err = cleanup.Run(t.Context(), cleanup.Options{Ledger: second, Tenancy: w.tenancy()})
			do(t, err)
			nameless := 0
			if face.quirks.EmptyLists {
				nameless = 2 // nobody finds the users of the one who was lost
			}
			w.nothingLeft(orgs, nameless)
		})
	}
}
