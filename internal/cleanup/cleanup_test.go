package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cleanup"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

const runID = "r7"

func newLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Create(filepath.Join(t.TempDir(), "run.ledger"), ledger.Header{RunID: runID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// created writes that organizations o1, o2 … exist, with two users each, who
// have a key each.
func created(t *testing.T, l *ledger.Ledger, orgs int) {
	t.Helper()
	for i := 1; i <= orgs; i++ {
		slug := fmt.Sprint("o", i)
		do(t, l.Created(ledger.Org(slug), slug))
		for _, u := range []string{"u1", "u2"} {
			do(t, l.Created(ledger.User(slug, u), slug+u), l.Created(ledger.Key(slug, u, "k"), slug+u+"k"))
		}
	}
}

// fake is a platform whose things are known by their ids, which begin with
// the id of what they are under.
type fake struct {
	cannotDelete bool // organizations and users are suspended, keys revoked
	noCascade    bool // deleting something leaves what is under it
	run          any  // in the metadata of organizations that are looked up
	fail         func(call string) error

	mu    sync.Mutex
	there map[string]bool // false: disabled
	calls []string
}

func fakeOf(orgs int) *fake {
	f := &fake{there: map[string]bool{}, run: runID}
	for i := 1; i <= orgs; i++ {
		for _, id := range []string{"", "u1", "u1k", "u2", "u2k"} {
			f.there[fmt.Sprint("o", i, id)] = true
		}
	}
	return f
}

func (f *fake) called(call string) error {
	f.calls = append(f.calls, call)
	if f.fail == nil {
		return nil
	}
	return f.fail(call)
}

func (f *fake) remove(id string, delible bool) (platform.Removal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("remove " + id); err != nil {
		return 0, err
	}
	if _, there := f.there[id]; !there {
		return platform.Gone, nil
	}
	if !delible {
		f.there[id] = false
		return platform.Disabled, nil
	}
	delete(f.there, id)
	for other := range f.there {
		if strings.HasPrefix(other, id) && !f.noCascade {
			delete(f.there, other)
		}
	}
	return platform.Deleted, nil
}

func (f *fake) left() (n int) {
	for _, active := range f.there {
		if active {
			n++
		}
	}
	return n
}

func (f *fake) FindOrg(_ context.Context, slug string) (platform.Org, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("find " + slug); err != nil {
		return platform.Org{}, err
	}
	if _, there := f.there[slug]; !there {
		return platform.Org{}, platform.ErrNotFound
	}
	return platform.Org{OrgRef: platform.OrgRef{ID: slug, Slug: slug}, Metadata: map[string]any{platform.RunKey: f.run}}, nil
}

func (f *fake) FindUser(_ context.Context, org platform.OrgRef, email string) (platform.UserRef, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cannotDelete {
		return platform.UserRef{}, errors.ErrUnsupported
	}
	id := org.ID + email
	if _, there := f.there[id]; !there {
		return platform.UserRef{}, platform.ErrNotFound
	}
	return platform.UserRef{ID: id, Email: email}, nil
}

func (f *fake) HasUser(_ context.Context, _ platform.OrgRef, u platform.UserRef) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, there := f.there[u.ID]
	return there, f.called("look at " + u.ID)
}

func (f *fake) HasUsers(_ context.Context, o platform.OrgRef) (used bool, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cannotDelete {
		return false, nil
	}
	if _, there := f.there[o.ID]; !there {
		return false, platform.ErrNotFound
	}
	for id := range f.there {
		used = used || id != o.ID && strings.HasPrefix(id, o.ID)
	}
	return used, f.called("list " + o.ID)
}

func (f *fake) SuspendOrg(_ context.Context, o platform.OrgRef) (platform.Removal, error) {
	return f.remove(o.ID, false)
}

func (f *fake) DeleteOrg(_ context.Context, o platform.OrgRef) (platform.Removal, error) {
	if f.cannotDelete {
		return 0, errors.ErrUnsupported
	}
	return f.remove(o.ID, true)
}

func (f *fake) RemoveOrg(_ context.Context, o platform.OrgRef) (platform.Removal, error) {
	return f.remove(o.ID, !f.cannotDelete)
}

func (f *fake) RemoveUser(_ context.Context, _ platform.OrgRef, u platform.UserRef) (platform.Removal, error) {
	return f.remove(u.ID, !f.cannotDelete)
}

func (f *fake) RemoveKey(_ context.Context, _ platform.OrgRef, _ platform.UserRef, id string) (platform.Removal, error) {
	return f.remove(id, !f.cannotDelete)
}

func (f *fake) Notes() []string { return []string{"of the platform"} }

// counts is the numbers of a report.
func counts(r cleanup.Report) string {
	return fmt.Sprintf("deleted %d/%d/%d revoked %d suspended %d gone %d remaining %d failures %d",
		r.DeletedOrgs, r.DeletedUsers, r.DeletedKeys, r.RevokedKeys, r.Suspended, r.AlreadyGone, r.Remaining, len(r.Failures))
}

func TestRun(t *testing.T) {
	broken := errors.New("the disk of the platform is broken")
	failAt := func(calls ...string) func(string) error {
		return func(call string) error {
			for _, c := range calls {
				if call == c {
					return broken
				}
			}
			return nil
		}
	}
	for _, c := range []struct {
		name      string
		platform  func(*fake)
		ledger    func(*testing.T, *ledger.Ledger) // nil: three organizations
		first     string
		second    string // counts of a second run, with nothing failing; "": nothing to do
		left      int    // active things on the platform after the first
		calls     int    // of the first; 0: any number
		note, err string
	}{
		{name: "cascade", first: "deleted 3/6/6 revoked 0 suspended 0 gone 0 remaining 0 failures 0", calls: 3 + 1},
		{name: "no cascade", platform: func(f *fake) { f.noCascade = true },
			first: "deleted 3/6/6 revoked 0 suspended 0 gone 0 remaining 0 failures 0", note: "leaves its users"},
		{name: "cannot delete", platform: func(f *fake) { f.cannotDelete = true },
			first: "deleted 0/0/0 revoked 6 suspended 9 gone 0 remaining 0 failures 0"},
		{name: "gone", platform: func(f *fake) { clear(f.there) },
			first: "deleted 0/0/0 revoked 0 suspended 0 gone 15 remaining 0 failures 0"},
		{name: "one key fails", platform: func(f *fake) { f.cannotDelete = true; f.fail = failAt("remove o2u1k") },
			first:  "deleted 0/0/0 revoked 5 suspended 7 gone 0 remaining 3 failures 1",
			second: "deleted 0/0/0 revoked 1 suspended 2 gone 0 remaining 0 failures 0", left: 3, err: "remove key k of user u1 of organization o2: the disk of"},
		{name: "one user fails", platform: func(f *fake) { f.noCascade = true; f.fail = failAt("remove o3u2") },
			first:  "deleted 2/5/6 revoked 0 suspended 0 gone 0 remaining 2 failures 1",
			second: "deleted 1/1/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 2, err: "remove user u2 of organization o3"},
		{name: "an org that cannot be deleted is emptied", platform: func(f *fake) { f.fail = failAt("remove o2") },
			first:  "deleted 2/6/6 revoked 0 suspended 0 gone 0 remaining 1 failures 1",
			second: "deleted 1/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 1, err: "remove organization o2"},
		{name: "a look that fails is made up for", platform: func(f *fake) { f.fail = failAt("look at o1u1") },
			first: "deleted 3/4/4 revoked 0 suspended 0 gone 4 remaining 0 failures 0"},
		{name: "begun only", ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Intend(ledger.Org("o1")), l.Intend(ledger.Org("o9")))
		}, first: "deleted 1/0/0 revoked 0 suspended 0 gone 1 remaining 0 failures 0", left: 10},
		{name: "begun by somebody else", platform: func(f *fake) { f.run = "r8" }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Intend(ledger.Org("o1")))
		}, first: "deleted 0/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 15, note: "left alone"},
		{name: "cannot be looked for", platform: func(f *fake) { f.fail = failAt("find o1") }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Intend(ledger.Org("o1")))
		}, first: "deleted 0/0/0 revoked 0 suspended 0 gone 0 remaining 1 failures 1",
			second: "deleted 1/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 15, err: "look for organization o1"},
		{name: "users and keys begun only", platform: func(f *fake) { f.noCascade = true }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.Org("o1"), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"), l.Created(ledger.Key("o1", "u1", "k"), "o1u1k"),
				l.Intend(ledger.User("o1", "u2")), l.Intend(ledger.User("o1", "u9")), l.Intend(ledger.Key("o1", "u1", "lost")))
		}, first: "deleted 1/2/1 revoked 0 suspended 0 gone 1 remaining 0 failures 0", left: 11},
		{name: "users and keys begun only, cannot delete", platform: func(f *fake) { f.cannotDelete = true }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.Org("o1"), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"),
				l.Intend(ledger.User("o1", "u2")), l.Intend(ledger.Key("o1", "u1", "lost")))
		}, first: "deleted 0/0/0 revoked 0 suspended 2 gone 0 remaining 0 failures 0", left: 13, note: "nobody knows their secrets"},
		{name: "others have users, too", ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o1", 1), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"), l.Created(ledger.Key("o1", "u1", "k"), "o1u1k"))
		}, first: "deleted 0/1/1 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 13, calls: 4},
		{name: "others had users, too", ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o1", 2), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"), l.Created(ledger.Key("o1", "u1", "k"), "o1u1k"),
				l.Created(ledger.User("o1", "u2"), "o1u2"))
		}, first: "deleted 1/2/1 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 10},
		{name: "another of those who had users was faster", ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o4", 2), "o4"), l.Created(ledger.User("o4", "u1"), "o4u1"))
		}, first: "deleted 0/0/0 revoked 0 suspended 0 gone 2 remaining 0 failures 0", left: 15},
		{name: "whether others have users cannot be seen", platform: func(f *fake) { f.fail = failAt("list o1") }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o1", 1), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"), l.Created(ledger.Key("o1", "u1", "k"), "o1u1k"),
				l.Created(ledger.User("o1", "u2"), "o1u2"))
		}, first: "deleted 0/2/1 revoked 0 suspended 0 gone 0 remaining 1 failures 1",
			second: "deleted 1/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 11, err: "remove organization o1"},
		{name: "shared, cannot delete, the first", platform: func(f *fake) { f.cannotDelete = true }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o1", 1), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"))
		}, first: "deleted 0/0/0 revoked 0 suspended 2 gone 0 remaining 0 failures 0", left: 13},
		{name: "shared, cannot delete, another", platform: func(f *fake) { f.cannotDelete = true }, ledger: func(t *testing.T, l *ledger.Ledger) {
			do(t, l.Created(ledger.PartOf("o1", 2), "o1"), l.Created(ledger.User("o1", "u1"), "o1u1"))
		}, first: "deleted 0/0/0 revoked 0 suspended 1 gone 0 remaining 0 failures 0", left: 14},
		{name: "nothing", ledger: func(*testing.T, *ledger.Ledger) {}, first: "deleted 0/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0", left: 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, l := fakeOf(3), newLedger(t)
			if c.platform != nil {
				c.platform(f)
			}
			if c.ledger != nil {
				c.ledger(t, l)
			} else {
				created(t, l, 3)
			}
			r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f})
			if c.err == "" && err != nil || c.err != "" && (!errors.Is(err, broken) || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "loadtest cleanup --run r7")) {
				t.Errorf("err = %v, want %q", err, c.err)
			}
			if got := counts(r); got != c.first {
				t.Errorf("%s\nwant %s", got, c.first)
			}
			if got := f.left(); got != c.left {
				t.Errorf("%d things left on the platform, want %d: %v", got, c.left, f.there)
			}
			if c.calls != 0 && len(f.calls) != c.calls {
				t.Errorf("%d calls, want %d: %q", len(f.calls), c.calls, f.calls)
			}
			if notes := strings.Join(r.Notes, "; "); !strings.Contains(notes, c.note) || !strings.Contains(notes, "of the platform") {
				t.Errorf("notes = %q, want %q", notes, c.note)
			}

			f.fail, f.calls = nil, nil
			l2, err := ledger.Open(l.Path())
			do(t, err)
			r, err = cleanup.Run(t.Context(), cleanup.Options{Ledger: l2, Tenancy: f})
			do(t, err, l2.Close())
			if c.second == "" {
				c.second = "deleted 0/0/0 revoked 0 suspended 0 gone 0 remaining 0 failures 0"
				if len(f.calls) > 0 {
					t.Errorf("a second run calls %q", f.calls)
				}
			}
			if got := counts(r); got != c.second {
				t.Errorf("second run: %s\nwant %s", got, c.second)
			}
		})
	}
}

// TestNobodyThere checks that a platform that has gone away is not called for
// every single thing, since each call is tried many times.
func TestNobodyThere(t *testing.T) {
	for _, e := range []*platform.Error{
		{Op: "DELETE x", Kind: record.Connection, Message: "nothing listens"},
		{Op: "DELETE x", Kind: record.HTTPError, Status: 503, Message: "down"},
	} {
		f, l := fakeOf(20), newLedger(t)
		created(t, l, 20)
		f.fail = func(string) error { return e }
		r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f})
		if !errors.Is(err, e) || r.Remaining != 100 {
			t.Errorf("err = %v, %d remain", err, r.Remaining)
		}
		if len(f.calls) != 1 {
			t.Errorf("%d calls, want 1: %q", len(f.calls), f.calls)
		}
	}
}

// TestACrashIsAFailure: a panic leaves what it was about, and nothing else.
func TestACrashIsAFailure(t *testing.T) {
	for call, remaining := range map[string]int{"remove o2u1k": 3, "look at o1u1": 5} {
		f, l := fakeOf(2), newLedger(t)
		created(t, l, 2)
		f.noCascade = true
		f.fail = func(c string) error {
			if c == call {
				panic("a fault of ours")
			}
			return nil
		}
		r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f})
		var crashed *crash.Error
		if !errors.As(err, &crashed) || !strings.Contains(string(crashed.Stack), "cleanup_test.go") || len(r.Failures) != 1 || r.Remaining != remaining {
			t.Errorf("%s: Run = %v, with %d failures, and %d things remain, want %d", call, err, len(r.Failures), r.Remaining, remaining)
		}
	}
}

// TestCascadeIsFoundOutFirst checks that no second organization is deleted
// before it is known what becomes of the first one's users.
func TestCascadeIsFoundOutFirst(t *testing.T) {
	f, l := fakeOf(5), newLedger(t)
	do(t, l.Created(ledger.Org("o9"), "o9")) // has nobody to look at
	created(t, l, 5)
	f.noCascade = true
	_, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f})
	do(t, err)
	for i, call := range f.calls {
		if call == "look at o1u1" {
			if i != 1 || f.calls[0] != "remove o1" {
				t.Errorf("before the look: %q", f.calls[:i])
			}
			return
		}
	}
	t.Errorf("nobody looked: %q", f.calls)
}

func TestCancellation(t *testing.T) {
	why := errors.New("second interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	f, l := fakeOf(3), newLedger(t)
	created(t, l, 3)
	f.fail = func(call string) error {
		if call == "remove o1" {
			cancel(why)
		}
		return nil
	}
	r, err := cleanup.Run(ctx, cleanup.Options{Ledger: l, Tenancy: f})
	if !errors.Is(err, why) || r.Remaining == 0 || !strings.Contains(err.Error(), "cleanup was stopped") {
		t.Fatalf("err = %v, report %s", err, counts(r))
	}
	f.fail = nil
	if r, err = cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f}); err != nil || r.Remaining != 0 || f.left() != 0 {
		t.Fatalf("afterwards: err = %v, report %s", err, counts(r))
	}
}

// TestLedgerThatCannotBeWritten checks that the platform is cleaned all the
// same.
func TestLedgerThatCannotBeWritten(t *testing.T) {
	f, l := fakeOf(3), newLedger(t)
	created(t, l, 3)
	do(t, l.Close())
	r, err := cleanup.Run(t.Context(), cleanup.Options{Ledger: l, Tenancy: f})
	if err == nil || !strings.Contains(err.Error(), "cannot be written") && !strings.Contains(err.Error(), "closed") {
		t.Errorf("err = %v", err)
	}
	if f.left() != 0 || r.DeletedOrgs != 3 {
		t.Errorf("%d things left, report %s", f.left(), counts(r))
	}
}
