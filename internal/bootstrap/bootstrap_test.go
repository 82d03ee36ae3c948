package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/bootstrap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const runID = "r7"

func planned(orgs, users int) []plan.Org {
	return plan.Make(plan.Spec{
		RunID: runID, Seed: 1, Orgs: orgs, OrgName: "loadtest-org-{index}", UserName: "user-{org}-{index}",
		Users: plan.Users{Min: users, Max: users, Distribution: plan.Uniform}, Budget: plan.Budget{LimitMicroUSD: 5_000_000},
	})
}

func newLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Create(filepath.Join(t.TempDir(), "run.ledger"), ledger.Header{RunID: runID, UserOrgURL: "http://userorg:8081"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fake is a platform that checks, at every call, that the ledger knows of it.
type fake struct {
	t      *testing.T
	ledger *ledger.Ledger
	fail   func(call string) error // nil: nothing fails

	calls   atomic.Int64
	mu      sync.Mutex
	orgs    []platform.NewOrg
	secrets []string
}

func (f *fake) called(format string, args ...any) error {
	f.calls.Add(1)
	if f.fail == nil {
		return nil
	}
	return f.fail(fmt.Sprintf(format, args...))
}

// inLedger finds where a thing stands in the ledger.
func (f *fake) inLedger(slug, email, key string) ledger.State {
	for _, o := range f.ledger.Outstanding() {
		if o.Slug != slug {
			continue
		}
		if email == "" {
			return o.State
		}
		for _, u := range o.Users {
			if u.Email != email {
				continue
			}
			if key == "" {
				return u.State
			}
			for _, k := range u.Keys {
				if k.Name == key {
					return k.State
				}
			}
		}
	}
	return 0
}

func (f *fake) expect(want ledger.State, slug, email, key string) {
	if got := f.inLedger(slug, email, key); got != want {
		f.t.Errorf("%s %s %s stands in the ledger as %d, want %d", slug, email, key, got, want)
	}
}

func (f *fake) CreateOrg(_ context.Context, o platform.NewOrg) (platform.OrgRef, error) {
	f.expect(ledger.Unconfirmed, o.Slug, "", "")
	if err := f.called("org %s", o.Slug); err != nil {
		return platform.OrgRef{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orgs = append(f.orgs, o)
	return platform.OrgRef{ID: "id-" + o.Slug, Slug: o.Slug}, nil
}

func (f *fake) InviteUser(_ context.Context, o platform.OrgRef, email string, roles []string, metadata map[string]any) (platform.UserRef, error) {
	f.expect(ledger.Existing, o.Slug, "", "")
	f.expect(ledger.Unconfirmed, o.Slug, email, "")
	if !slices.Equal(roles, []string{"member"}) || metadata["team"] != "blue" {
		f.t.Errorf("roles %v, metadata %v", roles, metadata)
	}
	return platform.UserRef{ID: "id-" + email, Email: "actual-" + email}, f.called("user %s", email)
}

func (f *fake) IssueKey(_ context.Context, o platform.OrgRef, u platform.UserRef, k platform.NewKey) (platform.Key, error) {
	email := strings.TrimPrefix(u.Email, "actual-")
	f.expect(ledger.Existing, o.Slug, email, "")
	f.expect(ledger.Unconfirmed, o.Slug, email, k.Name)
	if k.ExpiryDays != 3 || k.RateLimit.Burst != 4 || !strings.HasPrefix(k.Name, "pre-user-") {
		f.t.Errorf("key %+v", k)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	value := fmt.Sprint("secret-", len(f.secrets))
	f.secrets = append(f.secrets, value)
	return platform.Key{ID: "id-" + k.Name, Secret: secret.New(value)}, f.called("key %s", k.Name)
}

func (f *fake) Retries() int64  { return f.calls.Load() }
func (f *fake) Notes() []string { return []string{"a note"} }

func options(t *testing.T, f *fake, orgs []plan.Org) bootstrap.Options {
	f.t, f.ledger = t, newLedger(t)
	return bootstrap.Options{
		Orgs: orgs, RunID: runID, Tenancy: f, Ledger: f.ledger, KeysPerUser: 2, KeyName: "pre", KeyExpiryDays: 3, KeyRateLimit: platform.RateLimit{Burst: 4},
		Roles: []string{"member"}, Metadata: map[string]any{"team": "blue"}, OrgMetadata: map[string]any{"owner": "me", platform.RunKey: "spoofed"},
	}
}

func TestRun(t *testing.T) {
	f := &fake{}
	orgs := planned(3, 5)
	o := options(t, f, orgs)
	var steps []int
	o.Progress = func(done, total int) {
		if total != 3+15 {
			t.Errorf("total = %d", total)
		}
		steps = append(steps, done)
	}
	r, err := bootstrap.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Orgs) != 3 || r.Users != 15 || r.Keys != 30 || r.Retries != 3+15+30 || len(r.Notes) != 1 || r.Duration <= 0 {
		t.Errorf("result = %+v", r)
	}
	if want := 18; len(steps) != want || !slices.IsSorted(steps) || steps[want-1] != want {
		t.Errorf("progress = %v", steps)
	}
	seen := map[string]bool{}
	for i, org := range r.Orgs {
		if org.Slug != orgs[i].Slug || org.ID != "id-"+org.Slug || len(org.Users) != 5 {
			t.Errorf("org %d = %+v", i, org)
		}
		for j, u := range org.Users {
			if u.Index != orgs[i].Users[j].Index || u.ID != "id-"+orgs[i].Users[j].Email || u.Email != "actual-"+orgs[i].Users[j].Email || len(u.Keys) != 2 {
				t.Errorf("user %d of org %d = %+v", j, i, u)
			}
			for _, k := range u.Keys {
				seen[k.Reveal()] = true
			}
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d different secrets, want 30", len(seen))
	}
	for _, org := range f.orgs {
		if org.Metadata[platform.RunKey] != runID || org.Metadata["owner"] != "me" || org.Budget.LimitMicroUSD != 5_000_000 {
			t.Errorf("created %+v", org)
		}
	}
	if n := ledger.Count(f.ledger.Outstanding()); n != 3+15+30 {
		t.Errorf("%d things in the ledger, want 48", n)
	}
	b, err := os.ReadFile(f.ledger.Path())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "secret-") {
		t.Error("the ledger holds a secret")
	}
}

// TestRunAgain checks that a second start leaves the first one's keys, whose
// secrets are lost, in the ledger.
func TestRunAgain(t *testing.T) {
	f := &fake{}
	o := options(t, f, planned(1, 1))
	for range 2 {
		// The fake's checks are for a first run.
		o.Tenancy = loose{f}
		if _, err := bootstrap.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	users := f.ledger.Outstanding()[0].Users
	if len(users) != 1 || len(users[0].Keys) != 4 {
		t.Fatalf("users = %+v, want one with 4 keys", users)
	}
}

// loose is a fake without checks.
type loose struct{ *fake }

func (l loose) CreateOrg(_ context.Context, o platform.NewOrg) (platform.OrgRef, error) {
	return platform.OrgRef{ID: "1", Slug: o.Slug}, nil
}

func (l loose) InviteUser(_ context.Context, _ platform.OrgRef, email string, _ []string, _ map[string]any) (platform.UserRef, error) {
	return platform.UserRef{ID: "2", Email: email}, nil
}

func (l loose) IssueKey(_ context.Context, _ platform.OrgRef, _ platform.UserRef, k platform.NewKey) (platform.Key, error) {
	return platform.Key{ID: k.Name, Secret: secret.New("x")}, nil
}

func TestFailures(t *testing.T) {
	refused := &platform.Error{Op: "POST /v1/orgs", Kind: record.AuthError, Status: 401, Message: "who are you?"}
	for _, c := range []struct {
		name, call string
		err        error
		want       []string
	}{
		{"org", "org loadtest-org-2-r7", refused, []string{"create organization loadtest-org-2-r7", "401 Unauthorized: who are you?"}},
		{"user", "user user-1-3@", &platform.Error{Op: "POST x", Kind: record.Connection, Err: errors.New("refused")}, []string{"create user user-1-3@", "of organization loadtest-org-1-r7", "reached from here at http://userorg:8081"}},
		{"key", "key pre-user-2-1-2", &platform.Error{Op: "POST x", Kind: record.HTTPError, Status: 503}, []string{"issue key pre-user-2-1-2", "503", "overloaded or failing"}},
		{"wrong address", "org", &platform.Error{Op: "POST x", Kind: record.HTTPError, Status: 404}, []string{"what answers at http://userorg:8081"}},
		{"bad request", "org", &platform.Error{Op: "POST x", Kind: record.Validation, Status: 400, Message: "bad slug"}, []string{"bad slug; what was created"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{fail: func(call string) error {
				if strings.HasPrefix(call, c.call) {
					return c.err
				}
				return nil
			}}
			_, err := bootstrap.Run(t.Context(), options(t, f, planned(3, 5)))
			if !errors.Is(err, c.err) {
				t.Fatalf("err = %v, want %v", err, c.err)
			}
			for _, w := range append(c.want, "of 18 organizations and users", f.ledger.Path(), "loadtest cleanup --run r7") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("err = %q does not say %q", err, w)
				}
			}
		})
	}
}

// TestNothingIsLeftInDoubt checks that organizations which were turned down
// for sure are not left to be looked for, unless an earlier bootstrap may have
// made them.
func TestNothingIsLeftInDoubt(t *testing.T) {
	refused := fmt.Errorf("401 (%w)", platform.ErrNotDone)
	f := &fake{fail: func(string) error { return refused }}
	o := options(t, f, planned(3, 5))
	_, err := bootstrap.Run(t.Context(), o)
	if !errors.Is(err, refused) || strings.Contains(err.Error(), "loadtest cleanup") {
		t.Errorf("err = %v", err)
	}
	if left := f.ledger.Outstanding(); len(left) > 0 || f.calls.Load() != 1 {
		t.Errorf("%d calls, and the ledger still has %v", f.calls.Load(), left)
	}

	f = &fake{}
	o = options(t, f, planned(3, 5))
	o.Tenancy = loose{f}
	if _, err := bootstrap.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Tenancy = closed{o.Tenancy, refused}
	if _, err := bootstrap.Run(t.Context(), o); !errors.Is(err, refused) {
		t.Errorf("err = %v", err)
	}
	if left := o.Ledger.Outstanding(); len(left) != 3 {
		t.Errorf("the ledger forgot: %v", left)
	}
}

// closed is a platform that creates nothing any more.
type closed struct {
	bootstrap.Tenancy
	err error
}

func (c closed) CreateOrg(context.Context, platform.NewOrg) (platform.OrgRef, error) {
	return platform.OrgRef{}, c.err
}

func TestFailureStopsTheRest(t *testing.T) {
	f := &fake{fail: func(call string) error {
		if strings.HasPrefix(call, "user user-1-1@") {
			return errors.New("no")
		}
		return nil
	}}
	o := options(t, f, planned(1, 1000))
	o.Parallel = 1
	if _, err := bootstrap.Run(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	if n := f.calls.Load(); n != 2 {
		t.Errorf("%d calls, want 2: the organization and the user that failed", n)
	}
	if n := ledger.Count(f.ledger.Outstanding()); n != 2 {
		t.Errorf("%d things in the ledger, want 2", n)
	}
}

func TestCancellation(t *testing.T) {
	why := errors.New("interrupted from the keyboard")
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &fake{}
	f.fail = func(call string) error {
		if strings.HasPrefix(call, "user") && f.calls.Load() > 20 {
			cancel(why)
		}
		return nil
	}
	_, err := bootstrap.Run(ctx, options(t, f, planned(2, 100)))
	if !errors.Is(err, why) || !strings.Contains(err.Error(), "bootstrap was stopped after") {
		t.Fatalf("err = %v", err)
	}
}

// TestLedgerThatCannotBeWritten checks that nothing is created any more once
// the ledger fails.
func TestLedgerThatCannotBeWritten(t *testing.T) {
	f := &fake{}
	o := options(t, f, planned(5, 5))
	o.Parallel = 1
	f.fail = func(call string) error {
		if strings.HasPrefix(call, "org loadtest-org-2") {
			_ = f.ledger.Close()
		}
		return nil
	}
	_, err := bootstrap.Run(t.Context(), o)
	if !errors.Is(err, os.ErrClosed) {
		t.Fatalf("err = %v, want os.ErrClosed", err)
	}
	if n := f.calls.Load(); n != 2 {
		t.Errorf("%d things created, want 2", n)
	}
}

func TestLedgerOfAnotherRun(t *testing.T) {
	for _, run := range []string{"", "r8"} {
		f := &fake{}
		o := options(t, f, planned(1, 1))
		o.RunID = run
		if _, err := bootstrap.Run(t.Context(), o); err == nil || f.calls.Load() > 0 {
			t.Errorf("run %q: err = %v after %d calls", run, err, f.calls.Load())
		}
	}
}

// TestACrashIsAnError: a panic in one of the goroutines leaves a ledger to clean up by.
func TestACrashIsAnError(t *testing.T) {
	for call, what := range map[string]string{
		"org loadtest-org-1": "creating organization loadtest-org-1", "org loadtest-org-2": "creating organization loadtest-org-2", "key": "creating user ",
	} {
		f := &fake{fail: func(c string) error {
			if strings.HasPrefix(c, call) {
				panic("a fault of ours")
			}
			return nil
		}}
		_, err := bootstrap.Run(t.Context(), options(t, f, planned(3, 2)))
		var crashed *crash.Error
		if !errors.As(err, &crashed) || !strings.Contains(string(crashed.Stack), "bootstrap_test.go") {
			t.Errorf("%s: Run = %v", call, err)
			continue
		}
		if !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "loadtest cleanup --run") || len(f.ledger.Outstanding()) == 0 {
			t.Errorf("%s: Run = %v", call, err)
		}
	}
}
