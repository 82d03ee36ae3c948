package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// management makes load of the User/Org API: it does the operations that users
// are to make, and leaves everything else to the asker that it stands before.
// Each operation is one request, tried once, whatever calls the platform needs
// for it.
//
// A user manages the organization he is of. Keys are his own; suspended are
// those whom he invited. What an operation is to be done to, and does not exist
// yet, is made first, in no measured time: the operation is put off for as long.
// All that is made stands in the ledger before it exists, and goes with the
// tenants.
type management struct {
	simulator.Asker
	once   *platform.Tenancy // tries nothing again
	ledger *ledger.Ledger
	now    func() time.Duration
	job    *job
	run    string
	places map[int]*place // by UserIndex; not written to
	warn   func(topic, text string)
}

var _ simulator.Asker = (*management)(nil)

// place is where a user manages, and what he has made so far.
type place struct {
	org     platform.OrgRef
	user    platform.UserRef
	planned string // the user's email, as the ledger has it

	mu      sync.Mutex
	made    int // names
	keys    []managedKey
	invited []platform.UserRef
}

// managedKey is a key that may be rotated or revoked.
type managedKey struct {
	entry ledger.Entry
	id    string
}

// Ask implements [simulator.Asker].
func (m *management) Ask(ctx context.Context, c *simulator.Call) error {
	if !c.Request.Endpoint.Manages() {
		return m.Asker.Ask(ctx, c)
	}
	x, e := &c.Exchange, (*platform.Error)(nil)
	op, err := m.prepare(ctx, c)
	if err != nil && !errors.As(err, &e) {
		m.warn("management", fmt.Sprintf("an operation of the User/Org API was not tried: %v", err))
		return fmt.Errorf("%w: %w", simulator.ErrNotSent, err)
	}
	x.UsageKnown = true // it takes no tokens
	x.Sent = m.now()
	if err == nil { // else what it needs could not be made
		err = op.do(platform.Named(ctx, c.Request.ID, c.Request.Trace))
	}
	x.Done = m.now()
	switch {
	case err == nil:
		x.Status = http.StatusOK
	case errors.As(err, &e):
		x.Status = e.Status
	}
	if op.note != nil && err == nil {
		if err := op.note(); err != nil {
			m.warn("management", fmt.Sprintf("what the load made on the platform could not be written down: %v", err))
		}
	}
	return err
}

// operation is a call ready to leave. note, which may be nil, writes down what
// came of it.
type operation struct {
	do   func(ctx context.Context) error
	note func() error
}

// prepare writes down what is to be made, and makes what it needs.
func (m *management) prepare(ctx context.Context, c *simulator.Call) (operation, error) {
	p := m.places[c.UserIndex]
	if p == nil {
		return operation{}, fmt.Errorf("nobody knows the organization of %s", c.User)
	}
	began := m.now()
	op, waited, err := m.operation(ctx, p, c)
	if waited {
		c.Schedule(c.Scheduled + m.now() - began)
	}
	return op, err
}

// operation returns the call's operation, and whether something else had to be
// made first.
func (m *management) operation(ctx context.Context, p *place, c *simulator.Call) (op operation, waited bool, err error) {
	switch c.Request.Endpoint {
	case platform.CreateOrg:
		op, err = m.createOrg(p, c)
	case platform.ReadOrg:
		op.do = func(ctx context.Context) error { return m.once.ReadOrg(ctx, p.org) }
	case platform.PatchOrg:
		op.do = func(ctx context.Context) error { return m.once.RenameOrg(ctx, p.org, c.Org) }
	case platform.ListOrgs:
		op.do = m.once.ListOrgs
	case platform.InviteUser:
		op, err = m.invite(p, c)
	case platform.IssueKey:
		op, err = m.issue(p, c)
	case platform.SuspendUser:
		user, ok := take(p, &p.invited)
		if !ok {
			waited = true
			if err = m.first(ctx, p, c, m.invite); err != nil {
				return op, waited, err
			}
			user, _ = take(p, &p.invited)
		}
		op.do = func(ctx context.Context) error { return m.once.SuspendUser(ctx, p.org, user) }
	case platform.RotateKey, platform.RevokeKey:
		key, ok := take(p, &p.keys)
		if !ok {
			waited = true
			if err = m.first(ctx, p, c, m.issue); err != nil {
				return op, waited, err
			}
			key, _ = take(p, &p.keys)
		}
		if c.Request.Endpoint == platform.RevokeKey {
			op = m.revoke(p, key)
		} else {
			op, err = m.rotate(p, c, key)
		}
	default:
		err = fmt.Errorf("%s is no operation", c.Request.Endpoint)
	}
	return op, waited, err
}

// first does another operation before the one that was asked for.
func (m *management) first(ctx context.Context, p *place, c *simulator.Call, make func(*place, *simulator.Call) (operation, error)) error {
	op, err := make(p, c)
	if err == nil {
		err = op.do(ctx)
	}
	if err == nil {
		err = op.note()
	}
	return err
}

// take takes what was made last, if there is anything.
func take[T any](p *place, from *[]T) (one T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(*from)
	if n == 0 {
		return one, false
	}
	one = (*from)[n-1]
	*from = (*from)[:n-1]
	return one, true
}

func put[T any](p *place, to *[]T, one T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*to = append(*to, one)
}

// name is new in the run.
func (p *place) name(c *simulator.Call) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	return fmt.Sprintf("load-%d-%d", c.UserIndex, p.made)
}

func (m *management) createOrg(p *place, c *simulator.Call) (operation, error) {
	slug := plan.OrgSlug(p.name(c), m.run, c.UserIndex)
	entry := ledger.Org(slug)
	var made platform.OrgRef
	return operation{
		do: func(ctx context.Context) (err error) {
			made, err = m.once.CreateOrg(ctx, platform.NewOrg{Name: slug, Slug: slug, Metadata: map[string]any{platform.RunKey: m.run}})
			return err
		},
		note: func() error { return m.ledger.Created(entry, made.ID) },
	}, m.ledger.Intend(entry)
}

func (m *management) invite(p *place, c *simulator.Call) (operation, error) {
	email := p.name(c) + "@" + p.org.Slug + ".loadtest.invalid"
	entry := ledger.User(p.org.Slug, email)
	var made platform.UserRef
	return operation{
		do: func(ctx context.Context) (err error) {
			made, err = m.once.InviteUser(ctx, p.org, email, m.job.roles, m.job.userMetadata)
			return err
		},
		note: func() error {
			put(p, &p.invited, made)
			return m.ledger.Created(entry, made.ID)
		},
	}, m.ledger.Intend(entry)
}

func (m *management) issue(p *place, c *simulator.Call) (operation, error) {
	name := p.name(c)
	entry := ledger.Key(p.org.Slug, p.planned, name)
	var made platform.Key
	return operation{
		do: func(ctx context.Context) (err error) {
			made, err = m.once.IssueKey(ctx, p.org, p.user, platform.NewKey{Name: name, ExpiryDays: m.job.keys.expiryDays})
			return err
		},
		note: func() error {
			put(p, &p.keys, managedKey{entry, made.ID})
			return m.ledger.Created(entry, made.ID)
		},
	}, m.ledger.Intend(entry)
}

func (m *management) revoke(p *place, k managedKey) operation {
	var how platform.Removal
	return operation{
		do: func(ctx context.Context) (err error) {
			how, err = m.once.RemoveKey(ctx, p.org, p.user, k.id)
			return err
		},
		note: func() error { return dropped(m.ledger, k.entry, how) },
	}
}

func (m *management) rotate(p *place, c *simulator.Call, old managedKey) (operation, error) {
	name := p.name(c)
	entry := ledger.Key(p.org.Slug, p.planned, name)
	var made platform.Key
	return operation{
		do: func(ctx context.Context) (err error) {
			made, err = m.once.RotateKey(ctx, p.org, p.user, old.id, platform.NewKey{Name: name, ExpiryDays: m.job.keys.expiryDays})
			if err != nil && made.ID != "" { // both exist
				err = errors.Join(err, m.ledger.Created(entry, made.ID))
			}
			return err
		},
		note: func() error {
			put(p, &p.keys, managedKey{entry, made.ID})
			return errors.Join(m.ledger.Created(entry, made.ID), m.ledger.Removed(old.entry))
		},
	}, m.ledger.Intend(entry)
}

// dropped writes down what became of a key.
func dropped(book *ledger.Ledger, key ledger.Entry, how platform.Removal) error {
	if how == platform.Disabled {
		return book.Disabled(key)
	}
	return book.Removed(key)
}
