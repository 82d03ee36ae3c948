// Package bootstrap creates the organizations, users and keys that a plan
// asks for.
//
// Everything stands in the ledger before it exists and again before it is
// used, so that whatever interrupts [Run], what it made can be removed. Keys
// live in memory only. Run is idempotent: done again for the same run, it
// adopts what is there already. That is also how workers share an organization:
// each creates it, and whoever is not the first adopts it.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Tenancy is what bootstrap needs of the User/Org API. Its methods are safe
// for concurrent use and idempotent.
type Tenancy interface {
	CreateOrg(context.Context, platform.NewOrg) (platform.OrgRef, error)
	InviteUser(ctx context.Context, org platform.OrgRef, email string, roles []string, metadata map[string]any) (platform.UserRef, error)
	IssueKey(context.Context, platform.OrgRef, platform.UserRef, platform.NewKey) (platform.Key, error)
	Retries() int64
	Notes() []string
}

var _ Tenancy = (*platform.Tenancy)(nil)

// Options says what to create, and where.
type Options struct {
	Orgs    []plan.Org // of this worker
	RunID   string     // marks the organizations as this run's; the ledger's
	Tenancy Tenancy
	Ledger  *ledger.Ledger

	RateLimit     platform.RateLimit // of every organization, where the platform lets one set it
	KeysPerUser   int                // 0 means 1
	KeyName       string             // prefix of the keys' names; "" means "loadtest"
	KeyExpiryDays int                // 0: keys never expire
	KeyRateLimit  platform.RateLimit // of every key, likewise
	Roles         []string           // of every user
	Metadata      map[string]any     // of every user
	OrgMetadata   map[string]any     // of every organization

	// Parallel is how many calls are in flight at most; 0 means 32. On a
	// platform that needs it, fewer invitations are.
	Parallel int
	// Progress, if set, is told after every organization and user how many of
	// how many are done, one call at a time.
	Progress func(done, total int)
}

// Result is what was created.
type Result struct {
	Orgs     []Org // in the order of the plan; parts of those that several workers have users in
	Users    int   // in all organizations
	Keys     int   // of all users
	Retries  int64 // calls that had to be repeated
	Duration time.Duration
	Notes    []string // what the platform does otherwise than documented
}

// Org is an organization that exists.
type Org struct {
	plan.Org
	ID    string
	Users []User // in the order of the plan; hides plan.Org.Users
}

// User is a user who can make calls.
type User struct {
	plan.User // Email is the one the platform knows, which may differ from the plan's
	ID        string
	Keys      []secret.String
}

// Run creates everything, or stops at the first failure that repeating does
// not cure. Its error says what was tried for whom, what happened and what to
// do; what was created until then stands in the ledger.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Tenancy == nil || o.Ledger == nil {
		return nil, errors.New("bootstrap needs the User/Org API and a ledger")
	}
	if run := o.Ledger.Header().RunID; o.RunID == "" || o.RunID != run {
		return nil, fmt.Errorf("bootstrap of run %q cannot use the ledger of run %q: clean-up would not know its organizations", o.RunID, run)
	}
	o.KeysPerUser = orDefault(o.KeysPerUser, 1)
	o.Parallel = orDefault(o.Parallel, 32)
	if o.KeyName == "" {
		o.KeyName = "loadtest"
	}
	b := &builder{Options: o, orgs: make([]Org, len(o.Orgs)), total: len(o.Orgs), fresh: len(o.Ledger.Outstanding()) == 0}
	for _, planned := range o.Orgs {
		b.total += len(planned.Users)
	}
	started, retries := time.Now(), o.Tenancy.Retries()
	b.attempt = strconv.FormatInt(started.UnixMilli(), 36)
	err := b.allOrgs(ctx)
	if err == nil {
		err = b.allUsers(ctx)
	}
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	users := b.total - len(b.orgs)
	return &Result{
		Orgs: b.orgs, Users: users, Keys: users * o.KeysPerUser,
		Retries: o.Tenancy.Retries() - retries, Duration: time.Since(started), Notes: o.Tenancy.Notes(),
	}, nil
}

// builder is one Run under way.
type builder struct {
	Options
	orgs []Org // each written by one goroutine, and read after all are

	// attempt tells the keys of this Run from those of an earlier one for the
	// same users, whose secrets are lost and which are still to be removed.
	attempt string

	// fresh says that the ledger began empty: what is not created now does
	// not exist.
	fresh bool

	mu          sync.Mutex
	done, total int // organizations and users
}

// allOrgs creates the organizations, the first one alone: a wrong address or
// key shows on it, and leaves nothing that is begun and in doubt.
func (b *builder) allOrgs(ctx context.Context) error {
	create := func(ctx context.Context, i int) error {
		planned := b.Orgs[i]
		return crash.Guard("creating organization "+planned.Slug, func() error {
			ref, err := b.org(ctx, planned)
			if err != nil {
				return fmt.Errorf("create organization %s: %w", planned.Slug, err)
			}
			b.orgs[i] = Org{Org: planned, ID: ref.ID, Users: make([]User, len(planned.Users))}
			b.progress()
			return nil
		})
	}
	if len(b.Orgs) == 0 {
		return nil
	}
	if err := create(ctx, 0); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.Parallel)
	for i := range b.Orgs[1:] {
		g.Go(func() error { return create(ctx, i+1) })
	}
	return g.Wait()
}

// anew is how often a shared organization is created again that another worker
// found without users and removed, since its own part was over already.
const anew = 3

func (b *builder) allUsers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.Parallel)
	for _, org := range b.orgs {
		for i, planned := range org.Org.Users {
			create := func() error {
				ref := platform.OrgRef{ID: org.ID, Slug: org.Slug}
				user, err := b.user(ctx, ref, planned)
				for range anew {
					if org.Part == 0 || !errors.Is(err, platform.ErrNotFound) {
						break
					}
					if ref, err = b.org(ctx, org.Org); err == nil {
						user, err = b.user(ctx, ref, planned)
					}
				}
				if err != nil {
					return fmt.Errorf("create user %s of organization %s: %w", planned.Email, org.Slug, err)
				}
				org.Users[i] = user
				b.progress()
				return nil
			}
			g.Go(func() error { return crash.Guard("creating user "+planned.Email, create) })
		}
	}
	return g.Wait()
}

func (b *builder) org(ctx context.Context, p plan.Org) (platform.OrgRef, error) {
	if ctx.Err() != nil {
		return platform.OrgRef{}, context.Cause(ctx) // before anything is written
	}
	entry := ledger.PartOf(p.Slug, p.Part)
	if err := b.Ledger.Intend(entry); err != nil {
		return platform.OrgRef{}, err
	}
	metadata := map[string]any{}
	maps.Copy(metadata, b.OrgMetadata)
	metadata[platform.RunKey] = b.RunID
	ref, err := b.Tenancy.CreateOrg(ctx, platform.NewOrg{
		Name: p.Name, Slug: p.Slug, Metadata: metadata, Budget: platform.Budget(p.Budget), RateLimit: b.RateLimit, Shared: p.Part > 0,
	})
	if err != nil {
		if b.fresh && errors.Is(err, platform.ErrNotDone) {
			err = errors.Join(err, b.Ledger.Removed(entry))
		}
		return platform.OrgRef{}, err
	}
	return ref, b.Ledger.Created(entry, ref.ID)
}

func (b *builder) user(ctx context.Context, org platform.OrgRef, p plan.User) (User, error) {
	if ctx.Err() != nil {
		return User{}, context.Cause(ctx)
	}
	entry := ledger.User(org.Slug, p.Email)
	if err := b.Ledger.Intend(entry); err != nil {
		return User{}, err
	}
	ref, err := b.Tenancy.InviteUser(ctx, org, p.Email, b.Roles, b.Metadata)
	if err != nil {
		return User{}, err
	}
	if err := b.Ledger.Created(entry, ref.ID); err != nil {
		return User{}, err
	}
	user := User{User: p, ID: ref.ID, Keys: make([]secret.String, b.KeysPerUser)}
	user.Email = ref.Email
	for n := range user.Keys {
		name := fmt.Sprintf("%s-%s-%d-%s", b.KeyName, p.Name, n+1, b.attempt)
		entry := ledger.Key(org.Slug, p.Email, name)
		if err := b.Ledger.Intend(entry); err != nil {
			return User{}, err
		}
		key, err := b.Tenancy.IssueKey(ctx, org, ref, platform.NewKey{Name: name, ExpiryDays: b.KeyExpiryDays, RateLimit: b.KeyRateLimit})
		if err != nil {
			return User{}, fmt.Errorf("issue key %s: %w", name, err)
		}
		if err := b.Ledger.Created(entry, key.ID); err != nil {
			return User{}, err
		}
		user.Keys[n] = key.Secret
	}
	return user, nil
}

func (b *builder) progress() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if b.Progress != nil {
		b.Progress(b.done, b.total)
	}
}

// explain adds to an error how far bootstrap came and what a person can do.
func (b *builder) explain(ctx context.Context, err error) error {
	verb := "failed"
	if ctx.Err() != nil {
		verb = "was stopped"
	}
	left := ""
	if len(b.Ledger.Outstanding()) > 0 {
		left = fmt.Sprintf("; what was created stands in %s and is removed by: loadtest cleanup --run %s", b.Ledger.Path(), b.RunID)
	}
	return fmt.Errorf("bootstrap %s after %d of %d organizations and users: %w%s%s",
		verb, b.done, b.total, err, b.advice(ctx, err), left)
}

func (b *builder) advice(ctx context.Context, err error) string {
	var e *platform.Error
	if ctx.Err() != nil || !errors.As(err, &e) {
		return ""
	}
	switch {
	case e.Kind == record.TLS:
		return "" // what to do is in the message
	case e.Kind == record.AuthError:
		return "; so said " + b.Ledger.Header().UserOrgURL
	case e.Status == http.StatusNotFound, e.Kind == record.InvalidResponse:
		return "; check that the User/Org service is what answers at " + b.Ledger.Header().UserOrgURL
	case e.Status == 0:
		return "; check that the User/Org service is up and can be reached from here at " + b.Ledger.Header().UserOrgURL
	case e.Temporary():
		return "; the User/Org service is overloaded or failing: look at its log, or create fewer things at a time"
	default:
		return ""
	}
}

func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}
