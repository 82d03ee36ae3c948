package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testHeader() Header {
	return Header{
		RunID: "r1", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UserOrgURL: "http://userorg:8081",
		RouterURL: "http://router:8080", ToolVersion: "v1.2.3", Worker: 3,
	}
}

func mustCreate(t *testing.T) *Ledger {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "run.ledger"), testHeader())
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

func TestOutstandingSurvivesReopening(t *testing.T) {
	l := mustCreate(t)
	do(t,
		l.Intend(Org("b")), l.Created(Org("b"), "id-b"),
		l.Intend(Org("a")), l.Created(Org("a"), "id-a"),
		l.Intend(User("a", "u1")), l.Created(User("a", "u1"), "id-u1"),
		l.Intend(Key("a", "u1", "k1")), l.Created(Key("a", "u1", "k1"), "id-k1"),
		l.Intend(Key("a", "u1", "k2")),
		l.Intend(User("a", "u2")),
		l.Intend(Org("lost")),
		l.Intend(Org("a")), // by a worker that was started again
	)
	want := []OutstandingOrg{
		{Slug: "b", ID: "id-b", State: Existing},
		{Slug: "a", ID: "id-a", State: Existing, Users: []OutstandingUser{
			{Email: "u1", ID: "id-u1", State: Existing, Keys: []OutstandingKey{
				{Name: "k1", ID: "id-k1", State: Existing}, {Name: "k2", State: Unconfirmed},
			}},
			{Email: "u2", State: Unconfirmed},
		}},
		{Slug: "lost", State: Unconfirmed},
	}
	for _, when := range []string{"at once", "reopened"} {
		if got := l.Outstanding(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n got %+v\nwant %+v", when, got, want)
		}
		if n := Count(l.Outstanding()); n != 7 {
			t.Fatalf("%s: Count = %d, want 7", when, n)
		}
		do(t, l.Close())
		var err error
		if l, err = Open(l.Path()); err != nil {
			t.Fatal(err)
		}
	}
	defer l.Close() //nolint:errcheck // a test
	if h := testHeader(); l.Header() != (Header{1, h.RunID, h.Started, h.UserOrgURL, h.RouterURL, false, h.ToolVersion, 3, h.PID}) {
		t.Fatalf("header = %+v", l.Header())
	}
}

func TestRemoval(t *testing.T) {
	full := func(t *testing.T) *Ledger {
		l := mustCreate(t)
		do(t, l.Created(Org("a"), "1"), l.Created(User("a", "u"), "2"), l.Created(Key("a", "u", "k"), "3"))
		return l
	}
	t.Run("an org's removal takes everything along", func(t *testing.T) {
		l := full(t)
		do(t, l.Removed(Org("a")))
		if got := l.Outstanding(); got != nil {
			t.Fatalf("outstanding = %+v", got)
		}
	})
	t.Run("an org's suspension does not", func(t *testing.T) {
		l := full(t)
		do(t, l.Disabled(Org("a")))
		got := l.Outstanding()
		if len(got) != 1 || got[0].State != Suspended || Count(got) != 2 {
			t.Fatalf("outstanding = %+v", got)
		}
		do(t, l.Disabled(Key("a", "u", "k")), l.Disabled(User("a", "u")))
		if got := l.Outstanding(); got != nil {
			t.Fatalf("outstanding = %+v", got)
		}
	})
	t.Run("a shared org is left to others, and not what is in it", func(t *testing.T) {
		l := mustCreate(t)
		do(t, l.Intend(PartOf("a", 2)), l.Created(PartOf("a", 2), "1"), l.Created(User("a", "u"), "2"))
		if got := l.Outstanding(); len(got) != 1 || got[0].Part != 2 || Count(got) != 2 {
			t.Fatalf("outstanding = %+v", got)
		}
		do(t, l.Removed(User("a", "u")), l.Left(Org("a")), l.Close())
		l, err := Open(l.Path())
		do(t, err)
		if got := l.Outstanding(); got != nil {
			t.Fatalf("outstanding = %+v", got)
		}
		if l.Left(User("a", "u")) == nil {
			t.Error("a user can be left to others")
		}
		do(t, l.Close())
	})
	t.Run("a name may be used again", func(t *testing.T) {
		l := full(t)
		do(t, l.Removed(Org("a")), l.Intend(Org("a")))
		want := []OutstandingOrg{{Slug: "a", State: Unconfirmed}}
		if got := l.Outstanding(); !reflect.DeepEqual(got, want) {
			t.Fatalf("outstanding = %+v, want %+v", got, want)
		}
	})
}

func TestCreateRefusesAnExistingFile(t *testing.T) {
	l := mustCreate(t)
	if _, err := Create(l.Path(), testHeader()); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("err = %v, want fs.ErrExist", err)
	}
	info, err := os.Stat(l.Path())
	do(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode = %v", info.Mode())
	}
}

// TestEveryCut cuts a ledger at every byte: it must open with exactly the
// entries whose lines are complete, and go on from there.
func TestEveryCut(t *testing.T) {
	l := mustCreate(t)
	do(t, l.Intend(Org("a")), l.Created(Org("a"), "1"), l.Intend(User("a", "u")), l.Created(User("a", "u"), "2"))
	all, err := os.ReadFile(l.Path())
	do(t, err)
	path := filepath.Join(t.TempDir(), "cut")
	for cut := range len(all) + 1 {
		do(t, os.WriteFile(path, all[:cut], 0o600))
		lines := bytes.Count(all[:cut], []byte("\n"))
		c, err := Open(path)
		if lines == 0 {
			if !errors.Is(err, ErrEmpty) {
				t.Fatalf("cut at %d: err = %v, want ErrEmpty", cut, err)
			}
			continue
		}
		do(t, err, c.Intend(Org("next")), c.Close())
		f, err := os.Open(path)
		do(t, err)
		_, entries, _, err := Read(f)
		do(t, err, f.Close())
		if len(entries) != lines-1+1 || entries[lines-1].Slug != "next" {
			t.Fatalf("cut at %d: entries = %+v", cut, entries)
		}
	}
}

func TestDamage(t *testing.T) {
	const header = `{"ledger":1,"runId":"r"}` + "\n"
	const good = `{"op":"intend","kind":"org","slug":"a"}` + "\n"
	for _, c := range []struct {
		name, text, err string
		entries         int
	}{
		{"a torn last line that kept its end", header + good + "\x00\x00\n", "", 1},
		{"damage in the middle", header + "\x00\x00\n" + good, "line 2 is damaged", 0},
		{"an unknown op", header + `{"op":"painted","kind":"org","slug":"a"}` + "\n" + good, `unknown op "painted"`, 0},
		{"an unknown kind", header + `{"op":"intend","kind":"cat","slug":"a"}` + "\n" + good, `unknown kind "cat"`, 0},
		{"a user without email", header + `{"op":"intend","kind":"user","slug":"a"}` + "\n" + good, "incomplete", 0},
		{"a part of a user", header + `{"op":"intend","kind":"user","slug":"a","email":"u","part":1}` + "\n" + good, "only an organization can be shared", 0},
		{"created without id", header + `{"op":"created","kind":"org","slug":"a"}` + "\n" + good, "without an id", 0},
		{"not a ledger", good, "not a ledger of format 1", 0},
		{"a later format", `{"ledger":2}` + "\n", "not a ledger of format 1", 0},
	} {
		_, entries, _, err := Read(strings.NewReader(c.text))
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: err = %v, want %q", c.name, err, c.err)
		}
		if len(entries) != c.entries {
			t.Errorf("%s: %d entries, want %d", c.name, len(entries), c.entries)
		}
	}
}

// disk is a file that can be full, and counts syncs.
type disk struct {
	file
	room  atomic.Int64
	syncs atomic.Int64
	hold  chan struct{} // if not nil, Sync waits for it
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	if left := d.room.Add(-int64(len(p))); left < 0 {
		n, _ := d.file.Write(p[:max(0, len(p)+int(left))])
		return n, errFull
	}
	return d.file.Write(p)
}

func (d *disk) Sync() error {
	d.syncs.Add(1)
	if d.hold != nil {
		<-d.hold
	}
	return d.file.Sync()
}

func TestFullDiskStopsEverything(t *testing.T) {
	l := mustCreate(t)
	d := &disk{file: l.file}
	d.room.Store(50) // one entry and a bit
	l.file = d
	do(t, l.Intend(Org("a")))
	err := l.Created(Org("a"), "1")
	if !errors.Is(err, errFull) || !strings.Contains(err.Error(), l.Path()) {
		t.Fatalf("err = %v, want errFull with the path", err)
	}
	d.room.Store(1 << 20) // room again, but what the file holds is not known
	if err := l.Intend(Org("b")); !errors.Is(err, errFull) {
		t.Fatalf("afterwards: err = %v, want errFull still", err)
	}
	if err := l.Removed(Org("a")); !errors.Is(err, errFull) {
		t.Fatalf("removal: err = %v, want errFull still", err)
	}
	if got := l.Outstanding(); len(got) > 0 {
		t.Fatalf("outstanding = %+v after the removal, which happened although it could not be written", got)
	}
	do(t, l.Close())
	l, err = Open(l.Path())
	do(t, err)
	defer l.Close() //nolint:errcheck // a test
	want := []OutstandingOrg{{Slug: "a", State: Unconfirmed}}
	if got := l.Outstanding(); !reflect.DeepEqual(got, want) {
		t.Fatalf("outstanding = %+v, want %+v", got, want)
	}
}

// TestGroupCommit holds the first sync until everybody else waits: they must
// then share one.
func TestGroupCommit(t *testing.T) {
	l := mustCreate(t)
	d := &disk{file: l.file, hold: make(chan struct{})}
	d.room.Store(1 << 20)
	l.file = d
	const writers = 100
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	write := func(i int) {
		wg.Go(func() { errs <- l.Created(Org(fmt.Sprint("org-", i)), "id") })
	}
	write(0)
	for d.syncs.Load() == 0 { // the first writer is at the disk
		runtime.Gosched()
	}
	for i := 1; i < writers; i++ {
		write(i)
	}
	for waiting := 0; waiting < writers-1; {
		l.mu.Lock()
		if l.pending != nil {
			waiting = len(l.pending.entries)
		}
		l.mu.Unlock()
		runtime.Gosched()
	}
	close(d.hold)
	wg.Wait()
	close(errs)
	for err := range errs {
		do(t, err)
	}
	if n := d.syncs.Load(); n != 2 {
		t.Fatalf("%d syncs for %d entries, want 2", n, writers)
	}
	do(t, l.Close())
	l, err := Open(l.Path())
	do(t, err)
	if n := Count(l.Outstanding()); n != writers {
		t.Fatalf("%d entries on disk, want %d", n, writers)
	}
	do(t, l.Close())
}

func TestClosedLedgerRefuses(t *testing.T) {
	l := mustCreate(t)
	do(t, l.Close())
	if err := l.Intend(Org("a")); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("err = %v, want os.ErrClosed", err)
	}
}

// FuzzRead checks that no file makes the reader panic, and that what it calls
// whole reads the same again.
func FuzzRead(f *testing.F) {
	const header = `{"ledger":1,"runId":"r"}` + "\n"
	f.Add([]byte(""))
	f.Add([]byte(header))
	f.Add([]byte(header + `{"op":"intend","kind":"org","slug":"a"}` + "\n" + `{"op":"crea`))
	f.Add([]byte(header + `{"op":"created","kind":"user","slug":"a","email":"u","id":"1"}` + "\n"))
	f.Add([]byte(header + `{"op":"removed","kind":"key","slug":"a","email":"u","name":"k"}` + "\n\x00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, entries, whole, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		h2, entries2, whole2, err := Read(bytes.NewReader(b[:whole]))
		if err != nil || whole2 != whole || h2.RunID != h.RunID || !slices.Equal(entries2, entries) {
			t.Fatalf("read again: %+v %+v %d %v, first %+v %+v %d", h2, entries2, whole2, err, h, entries, whole)
		}
		l := Ledger{tree: newTree()}
		for _, e := range entries {
			l.tree.apply(e)
		}
		if n := Count(l.Outstanding()); n > len(entries) {
			t.Fatalf("%d outstanding of %d entries", n, len(entries))
		}
	})
}
