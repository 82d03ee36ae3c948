// Package ledger writes down what a run creates on the platform, before it is
// used, so that whoever comes after a crash can remove it.
//
// A ledger is a file of JSON lines: a [Header] that says which run it was and
// where, then an [Entry] for every step in the life of an organization, a
// user or a key. It holds no secrets. A thing goes through
//
//	intend     about to be created; if nothing follows, it may or may not exist
//	created    exists, with the id that the platform gave it
//	removed    does not exist (any more), nor does anything under it
//	disabled   revoked or suspended, on a platform that cannot delete
//	left       an organization that is left to other workers who have users in it
//
// and is known by where it stands: an organization by its slug, a user by
// slug and email, a key by slug, email and name. Writing the same step twice
// changes nothing, so that interrupted work may simply be done again.
//
// Every method that writes returns once the entry is on the disk; concurrent
// writers share one sync. After a failed write the ledger refuses all others,
// which stops creation; what is removed all the same is outstanding no longer
// until the file is opened again.
package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Header is the first line of a ledger.
type Header struct {
	Format      int       `json:"ledger"` // version of the file format; written by Create
	RunID       string    `json:"runId"`
	Started     time.Time `json:"started"`
	UserOrgURL  string    `json:"userOrgUrl"`
	RouterURL   string    `json:"routerUrl"`
	Embedded    bool      `json:"embedded"` // the platform was part of the process and is gone with it
	ToolVersion string    `json:"toolVersion"`
	Worker      int       `json:"worker"`        // 0-based
	PID         int       `json:"pid,omitempty"` // of the run's process, on its machine
}

const format = 1

// Op is a step in the life of a thing.
type Op string

// The steps.
const (
	Intend   Op = "intend"
	Created  Op = "created"
	Removed  Op = "removed"
	Disabled Op = "disabled"
	Left     Op = "left"
)

// Kind is what a thing is.
type Kind string

// The kinds.
const (
	OrgKind  Kind = "org"
	UserKind Kind = "user"
	KeyKind  Kind = "key"
)

// Entry is a line of the ledger after the first.
type Entry struct {
	Op    Op     `json:"op"`
	Kind  Kind   `json:"kind"`
	Slug  string `json:"slug"`            // of the organization
	Email string `json:"email,omitempty"` // of the user, as planned; users and keys only
	Name  string `json:"name,omitempty"`  // of the key; keys only
	ID    string `json:"id,omitempty"`    // as the platform gave it; Created only
	Part  int    `json:"part,omitempty"`  // organizations that several workers have users in: which of them this is, from 1
}

// Org names an organization.
func Org(slug string) Entry { return Entry{Kind: OrgKind, Slug: slug} }

// PartOf names an organization that others have users in, too; 0 is the whole.
func PartOf(slug string, part int) Entry { return Entry{Kind: OrgKind, Slug: slug, Part: part} }

// User names a user of an organization.
func User(slug, email string) Entry { return Entry{Kind: UserKind, Slug: slug, Email: email} }

// Key names a key of a user.
func Key(slug, email, name string) Entry {
	return Entry{Kind: KeyKind, Slug: slug, Email: email, Name: name}
}

func (e Entry) check() error {
	switch e.Op {
	case Intend, Created, Removed, Disabled, Left:
	default:
		return fmt.Errorf("unknown op %q", e.Op)
	}
	if e.Op == Created && e.ID == "" {
		return errors.New("created without an id")
	}
	if e.Kind != OrgKind && (e.Op == Left || e.Part != 0) {
		return fmt.Errorf("only an organization can be shared, and no %s", e.Kind)
	}
	ok := e.Slug != ""
	switch e.Kind {
	case OrgKind:
		ok = ok && e.Email == "" && e.Name == ""
	case UserKind:
		ok = ok && e.Email != "" && e.Name == ""
	case KeyKind:
		ok = ok && e.Email != "" && e.Name != ""
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	if !ok {
		return fmt.Errorf("incomplete or contradictory names for kind %q", e.Kind)
	}
	return nil
}

// ErrEmpty is a ledger that ends before its header is complete. Nothing was
// created under it.
var ErrEmpty = errors.New("the ledger has no header yet: nothing was created under it")

// Ledger is an open ledger file. It is safe for concurrent use.
type Ledger struct {
	path   string
	header Header

	disk sync.Mutex // held while writing; taken before mu
	file file
	err  error // why nothing can be written any more

	mu      sync.Mutex
	tree    tree
	pending *batch // entries waiting for the next write; nil if none
}

// file is what a ledger needs of an *os.File.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// batch is entries that go to the disk together.
type batch struct {
	entries []Entry // guarded by mu while pending, by disk afterwards, like lines
	lines   []byte
	done    bool // they are there, or err says why not; guarded by disk
	err     error
}

// Create starts the ledger of a new run. The file must not exist: an existing
// one speaks of things that are still to be removed.
func Create(path string, h Header) (*Ledger, error) {
	h.Format = format
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("create the ledger %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the path is the caller's
	if err != nil {
		return nil, fmt.Errorf("create the ledger: %w", err)
	}
	if _, err = f.Write(append(line, '\n')); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create the ledger %s: %w", path, err), f.Close())
	}
	return &Ledger{path: path, header: h, file: f, tree: newTree()}, nil
}

// Open reads the ledger of an earlier run and continues it. A last line that
// is not complete, as a crash leaves it, is cut off: what it spoke of had not
// been begun. The error is [ErrEmpty] if not even the header is complete.
func Open(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0) //nolint:gosec // the path is the caller's
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	h, entries, whole, err := Read(f)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", path, err), f.Close())
	}
	l := &Ledger{path: path, header: h, file: f, tree: newTree()}
	for _, e := range entries {
		l.tree.apply(e)
	}
	return l, nil
}

// Read reads a ledger up to its end or to a last line that is not complete;
// whole is the length of the complete lines in bytes. Damage anywhere else is
// an error that names the line.
func Read(r io.Reader) (h Header, entries []Entry, whole int64, err error) {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // line is torn, or empty
			if n == 1 {
				return Header{}, nil, 0, ErrEmpty
			}
			return h, entries, whole, nil
		}
		if err != nil {
			return Header{}, nil, 0, err
		}
		if n == 1 {
			if err = json.Unmarshal(line, &h); err == nil && h.Format != format {
				err = fmt.Errorf("not a ledger of format %d, which this version reads", format)
			}
		} else {
			var e Entry
			if err = json.Unmarshal(line, &e); err == nil {
				err = e.check()
			}
			entries = append(entries, e)
		}
		if err != nil {
			// A block that never reached the disk can tear the last line and
			// leave its end.
			if _, more := in.Peek(1); errors.Is(more, io.EOF) && n > 1 {
				return h, entries[:len(entries)-1], whole, nil
			}
			return Header{}, nil, 0, fmt.Errorf("line %d is damaged (%w): delete it and try again, then look for what it may have spoken of", n, err)
		}
		whole += int64(len(line))
	}
}

// Path returns where the file is.
func (l *Ledger) Path() string { return l.path }

// Header returns the first line.
func (l *Ledger) Header() Header { return l.header }

// Intend writes that a thing is about to be created.
func (l *Ledger) Intend(what Entry) error { return l.write(Intend, what, "") }

// Created writes that a thing exists, under the platform's id.
func (l *Ledger) Created(what Entry, id string) error { return l.write(Created, what, id) }

// Removed writes that a thing does not exist, nor anything under it.
func (l *Ledger) Removed(what Entry) error { return l.write(Removed, what, "") }

// Disabled writes that a thing was revoked or suspended; what is under it
// stays as it was.
func (l *Ledger) Disabled(what Entry) error { return l.write(Disabled, what, "") }

// Left writes that an organization is left to others who have users in it.
func (l *Ledger) Left(what Entry) error { return l.write(Left, what, "") }

func (l *Ledger) write(op Op, e Entry, id string) error {
	e.Op, e.ID = op, id
	if err := e.check(); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}

	l.mu.Lock()
	if l.pending == nil {
		l.pending = &batch{}
	}
	mine := l.pending
	mine.entries = append(mine.entries, e)
	mine.lines = append(append(mine.lines, line...), '\n')
	l.mu.Unlock()

	l.disk.Lock()
	defer l.disk.Unlock()
	if !mine.done { // else whoever had the disk before wrote this batch
		l.flush(mine)
	}
	return mine.err
}

// flush writes the pending batch. l.disk is held; while it was waited for,
// others have joined the batch.
func (l *Ledger) flush(b *batch) {
	l.mu.Lock()
	l.pending = nil
	l.mu.Unlock()

	if l.err == nil {
		_, err := l.file.Write(b.lines)
		if err == nil {
			err = l.file.Sync()
		}
		if err != nil {
			l.err = fmt.Errorf("the ledger %s cannot be written any more: %w", l.path, err)
		}
	}
	b.done, b.err = true, l.err
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range b.entries {
		// What is gone is gone, written or not: who asks this process is told so.
		if b.err == nil || e.Op == Removed || e.Op == Disabled || e.Op == Left {
			l.tree.apply(e)
		}
	}
}

// Close closes the file. Nothing can be written afterwards.
func (l *Ledger) Close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("the ledger %s: %w", l.path, os.ErrClosed)
	}
	return l.file.Close()
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the path is the caller's
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
