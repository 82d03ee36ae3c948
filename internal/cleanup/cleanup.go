// Package cleanup removes what a run created on the platform, from its
// ledger.
//
// It works from any ledger, however the run ended: things whose creation was
// begun and never confirmed are looked for. Progress goes into the ledger, so
// that [Run] may be interrupted and done again; what is gone already is no
// error. Where the platform cannot delete, keys are revoked and users and
// organizations suspended, in that order, since a suspended user's keys go on
// working.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Tenancy is what cleanup needs of the User/Org API. Its methods are safe for
// concurrent use.
type Tenancy interface {
	FindOrg(ctx context.Context, slug string) (platform.Org, error)
	FindUser(ctx context.Context, org platform.OrgRef, email string) (platform.UserRef, error)
	HasUser(context.Context, platform.OrgRef, platform.UserRef) (bool, error)
	HasUsers(context.Context, platform.OrgRef) (bool, error)
	DeleteOrg(context.Context, platform.OrgRef) (platform.Removal, error)
	RemoveOrg(context.Context, platform.OrgRef) (platform.Removal, error)
	SuspendOrg(context.Context, platform.OrgRef) (platform.Removal, error)
	RemoveUser(context.Context, platform.OrgRef, platform.UserRef) (platform.Removal, error)
	RemoveKey(ctx context.Context, org platform.OrgRef, user platform.UserRef, keyID string) (platform.Removal, error)
	Notes() []string
}

var _ Tenancy = (*platform.Tenancy)(nil)

// Options says what to remove, and where.
type Options struct {
	Ledger  *ledger.Ledger
	Tenancy Tenancy
	// Parallel is how many calls are in flight at most; 0 means 16.
	Parallel int
}

// Report is what became of a run's things.
type Report struct {
	DeletedOrgs, DeletedUsers, DeletedKeys int
	RevokedKeys                            int // on a platform that cannot delete keys
	Suspended                              int // users and organizations, likewise
	AlreadyGone                            int // were not there, or never came to be
	Remaining                              int // still to be removed: run again
	Notes                                  []string
	Failures                               []error // what could not be removed, and why
}

// Run removes what is outstanding in the ledger. It goes on past failures;
// if anything remains, the error says how much, with the first reason, and
// the report has them all.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Tenancy == nil || o.Ledger == nil {
		return Report{}, errors.New("cleanup needs the User/Org API and a ledger")
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	c := &cleaner{Options: o, slots: make(chan struct{}, o.Parallel)}
	orgs := o.Ledger.Outstanding()

	// Whether deleting an organization takes its users and keys along is
	// found out on the first that has any, before it is relied on.
	if i := slices.IndexFunc(orgs, func(org ledger.OutstandingOrg) bool { return known(org.Users) }); i > 0 {
		orgs[0], orgs[i] = orgs[i], orgs[0]
	}
	if len(orgs) > 0 {
		c.org(ctx, orgs[0])
		var g errgroup.Group
		g.SetLimit(o.Parallel)
		for _, org := range orgs[1:] {
			g.Go(func() error { c.org(ctx, org); return nil })
		}
		_ = g.Wait() // failures are in the report
	}

	left := o.Ledger.Outstanding()
	c.report.Remaining = ledger.Count(left)
	c.report.Notes = append(c.report.Notes, o.Tenancy.Notes()...)
	switch {
	case c.report.Remaining == 0 && len(c.report.Failures) == 0:
		return c.report, nil
	case ctx.Err() != nil:
		return c.report, fmt.Errorf("cleanup was stopped, %d things remain: %w; go on with: loadtest cleanup --run %s",
			c.report.Remaining, context.Cause(ctx), o.Ledger.Header().RunID)
	default:
		return c.report, fmt.Errorf("cleanup is incomplete, %d things remain after %d failures, the first: %w; try again with: loadtest cleanup --run %s",
			c.report.Remaining, len(c.report.Failures), c.report.Failures[0], o.Ledger.Header().RunID)
	}
}

// cleaner is one Run under way.
type cleaner struct {
	Options
	slots    chan struct{} // one for each call in flight
	cascades atomic.Int32  // whether deleting an organization is enough: yes, no, or zero
	down     atomic.Pointer[error]

	mu     sync.Mutex
	report Report
}

const (
	yes = 1
	no  = 2
)

// org removes one organization, and goes on past a crash of what does it.
func (c *cleaner) org(ctx context.Context, o ledger.OutstandingOrg) {
	err := crash.Guard("removing organization "+o.Slug, func() error {
		c.removeOrg(ctx, o)
		return nil
	})
	if err != nil {
		c.failed(err)
	}
}

// removeOrg removes one organization: at once if the platform then removes what is
// under it, else from the bottom up, so that nothing is left without a parent
// to find it by.
func (c *cleaner) removeOrg(ctx context.Context, o ledger.OutstandingOrg) {
	if ctx.Err() != nil {
		return // it remains; Run says why
	}
	ref, there := c.locate(ctx, o)
	if !there {
		return
	}
	var removal platform.Removal
	if o.Part == 0 && c.cascades.Load() != no {
		var err error
		removal, err = call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.DeleteOrg(ctx, ref) })
		switch {
		case err == nil && c.tookAlong(ctx, ref, o):
			c.removed(ledger.Org(o.Slug), removal)
			c.countUnder(o, removal)
			return
		case errors.Is(err, errors.ErrUnsupported):
			c.cascades.Store(no)
		}
		// One that cannot be deleted as it is may be emptied first.
	}
	blind := o.Part > 0 && c.blind(ctx, ref, o)
	if !c.users(ctx, ref, o) || o.State == ledger.Suspended {
		return
	}
	if o.Part > 0 {
		c.leave(ctx, ref, o, blind)
		return
	}
	if removal == 0 {
		var err error
		removal, err = call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.RemoveOrg(ctx, ref) })
		if err != nil {
			c.failed(fmt.Errorf("remove organization %s: %w", o.Slug, err))
			return
		}
	}
	c.removed(ledger.Org(o.Slug), removal)
}

// leave ends this worker's part of an organization that others have users in,
// too, when its own are gone: whoever finds no more users removes it. All look
// after they have removed theirs, so that at least the last one finds none.
//
// Where users cannot be listed, nobody can tell. Organizations are not deleted
// there but suspended, which stops no key: the first of the workers does that.
func (c *cleaner) leave(ctx context.Context, ref platform.OrgRef, o ledger.OutstandingOrg, blind bool) {
	entry := ledger.Org(o.Slug)
	used, err := c.used(ctx, ref)
	removal := platform.Gone
	switch {
	case used, blind && o.Part > 1:
		c.wrote(c.Ledger.Left(entry))
		return
	case blind:
		err = errors.ErrUnsupported
	case err == nil:
		removal, err = call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.DeleteOrg(ctx, ref) })
	case errors.Is(err, platform.ErrNotFound):
		err = nil // another was faster
	}
	if errors.Is(err, errors.ErrUnsupported) {
		removal, err = call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.SuspendOrg(ctx, ref) })
	}
	if err != nil {
		c.failed(fmt.Errorf("remove organization %s: %w", o.Slug, err))
		return
	}
	c.removed(entry, removal)
}

// used reports whether an organization has users.
func (c *cleaner) used(ctx context.Context, ref platform.OrgRef) (bool, error) {
	return call(ctx, c, func() (bool, error) { return c.Tenancy.HasUsers(ctx, ref) })
}

// blind reports whether the platform shows no users where there are some.
func (c *cleaner) blind(ctx context.Context, ref platform.OrgRef, o ledger.OutstandingOrg) bool {
	used, err := c.used(ctx, ref)
	return err == nil && !used && known(o.Users)
}

// locate returns what names the organization on the platform, and whether
// there is anything to do for it.
func (c *cleaner) locate(ctx context.Context, o ledger.OutstandingOrg) (platform.OrgRef, bool) {
	if o.ID != "" {
		return platform.OrgRef{ID: o.ID, Slug: o.Slug}, true
	}
	// Creation was begun, and nobody knows whether it came to be, or whether
	// the name was somebody else's.
	found, err := call(ctx, c, func() (platform.Org, error) { return c.Tenancy.FindOrg(ctx, o.Slug) })
	switch {
	case errors.Is(err, platform.ErrNotFound):
		c.removed(ledger.Org(o.Slug), platform.Gone)
	case err != nil:
		c.failed(fmt.Errorf("look for organization %s, whose creation was begun: %w", o.Slug, err))
	case found.Metadata[platform.RunKey] != c.Ledger.Header().RunID:
		c.note(fmt.Sprintf("an organization %s exists that does not bear the mark of run %s: left alone", o.Slug, c.Ledger.Header().RunID))
		c.wrote(c.Ledger.Removed(ledger.Org(o.Slug)))
	default:
		return found.OrgRef, true
	}
	return platform.OrgRef{}, false
}

// tookAlong looks whether an organization's users went with it.
func (c *cleaner) tookAlong(ctx context.Context, ref platform.OrgRef, o ledger.OutstandingOrg) bool {
	if c.cascades.Load() == yes || !known(o.Users) {
		return true
	}
	i := slices.IndexFunc(o.Users, func(u ledger.OutstandingUser) bool { return u.ID != "" })
	user := platform.UserRef{ID: o.Users[i].ID, Email: o.Users[i].Email}
	still, err := call(ctx, c, func() (bool, error) { return c.Tenancy.HasUser(ctx, ref, user) })
	switch {
	case err != nil: // not known; from the bottom up is always right
		return false
	case still:
		c.note("deleting an organization leaves its users: they were removed one by one")
		c.cascades.Store(no)
		return false
	default:
		c.cascades.Store(yes)
		return true
	}
}

// users removes an organization's users, and reports whether none is left.
func (c *cleaner) users(ctx context.Context, org platform.OrgRef, o ledger.OutstandingOrg) bool {
	var g errgroup.Group
	g.SetLimit(c.Parallel)
	var left atomic.Int32
	for _, u := range o.Users {
		g.Go(func() error {
			gone := false
			err := crash.Guard("removing user "+u.Email, func() error {
				gone = ctx.Err() == nil && c.user(ctx, org, o.Slug, u)
				return nil
			})
			if err != nil {
				c.failed(err)
			}
			if !gone {
				left.Add(1)
			}
			return nil
		})
	}
	_ = g.Wait() // failures are in the report
	return left.Load() == 0
}

// user removes a user's keys and then the user, and reports whether it did.
func (c *cleaner) user(ctx context.Context, org platform.OrgRef, slug string, u ledger.OutstandingUser) bool {
	entry := ledger.User(slug, u.Email)
	user := platform.UserRef{ID: u.ID, Email: u.Email}
	if user.ID == "" {
		var err error
		user, err = call(ctx, c, func() (platform.UserRef, error) { return c.Tenancy.FindUser(ctx, org, u.Email) })
		switch {
		case errors.Is(err, platform.ErrNotFound):
			c.removed(entry, platform.Gone)
			return true
		case errors.Is(err, errors.ErrUnsupported):
			c.note("users whose creation was begun and not confirmed cannot be looked up here: if they exist, this ledger has no keys of theirs")
			c.wrote(c.Ledger.Disabled(entry))
			return true
		case err != nil:
			c.failed(fmt.Errorf("look for user %s of organization %s, whose creation was begun: %w", u.Email, slug, err))
			return false
		}
	}
	if !c.keys(ctx, org, user, slug, u) {
		return false
	}
	if u.State == ledger.Suspended {
		return true
	}
	removal, err := call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.RemoveUser(ctx, org, user) })
	if err != nil {
		c.failed(fmt.Errorf("remove user %s of organization %s: %w", u.Email, slug, err))
		return false
	}
	if removal == platform.Disabled && slices.ContainsFunc(u.Keys, nameless) {
		c.note("keys whose creation was begun and not confirmed cannot be looked up here: if they exist, nobody knows their secrets")
	}
	c.removed(entry, removal)
	return true
}

// keys removes a user's keys, and reports whether none is left. A key whose
// id never came can be removed only together with its user.
func (c *cleaner) keys(ctx context.Context, org platform.OrgRef, user platform.UserRef, slug string, u ledger.OutstandingUser) bool {
	all := true
	for _, k := range u.Keys {
		entry := ledger.Key(slug, u.Email, k.Name)
		if nameless(k) {
			c.wrote(c.Ledger.Disabled(entry))
			continue
		}
		removal, err := call(ctx, c, func() (platform.Removal, error) { return c.Tenancy.RemoveKey(ctx, org, user, k.ID) })
		if err != nil {
			c.failed(fmt.Errorf("remove key %s of user %s of organization %s: %w", k.Name, u.Email, slug, err))
			all = false
			continue
		}
		c.removed(entry, removal)
	}
	return all
}

// call makes one call, waiting for a free slot. Once the platform was not
// there for a call, which was tried many times, it is not called again: with a
// thousand users that would take an hour, to no end.
func call[T any](ctx context.Context, c *cleaner, f func() (T, error)) (T, error) {
	var zero T
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
	if err := c.down.Load(); err != nil {
		return zero, *err
	}
	v, err := f()
	if absent(err) {
		c.down.CompareAndSwap(nil, &err)
	}
	return v, err
}

// absent reports whether err says that there is nobody to call.
func absent(err error) bool {
	var e *platform.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case record.Connection, record.DNS, record.TLS, record.Timeout:
		return e.Status == 0
	default:
		return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
	}
}

// removed counts a removal and writes it down.
func (c *cleaner) removed(e ledger.Entry, r platform.Removal) {
	c.count(e.Kind, r)
	if r == platform.Disabled {
		c.wrote(c.Ledger.Disabled(e))
	} else {
		c.wrote(c.Ledger.Removed(e))
	}
}

// wrote reports a ledger that cannot be written. The platform is cleaned all
// the same; the next run then finds things gone.
func (c *cleaner) wrote(err error) {
	if err != nil {
		c.failed(err)
	}
}

func (c *cleaner) count(k ledger.Kind, r platform.Removal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r == platform.Gone:
		c.report.AlreadyGone++
	case r == platform.Disabled && k == ledger.KeyKind:
		c.report.RevokedKeys++
	case r == platform.Disabled:
		c.report.Suspended++
	case k == ledger.OrgKind:
		c.report.DeletedOrgs++
	case k == ledger.UserKind:
		c.report.DeletedUsers++
	default:
		c.report.DeletedKeys++
	}
}

// countUnder counts what went with an organization, as far as it is known to
// have existed.
func (c *cleaner) countUnder(o ledger.OutstandingOrg, r platform.Removal) {
	for _, u := range o.Users {
		if u.ID != "" {
			c.count(ledger.UserKind, r)
		}
		for _, k := range u.Keys {
			if k.ID != "" {
				c.count(ledger.KeyKind, r)
			}
		}
	}
}

func (c *cleaner) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.report.Notes, text) {
		c.report.Notes = append(c.report.Notes, text)
	}
}

func (c *cleaner) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.report.Failures, func(e error) bool { return e.Error() == err.Error() }) {
		c.report.Failures = append(c.report.Failures, err)
	}
}

// known reports whether a user is known to have existed.
func known(users []ledger.OutstandingUser) bool {
	return slices.ContainsFunc(users, func(u ledger.OutstandingUser) bool { return u.ID != "" })
}

func nameless(k ledger.OutstandingKey) bool { return k.ID == "" }
