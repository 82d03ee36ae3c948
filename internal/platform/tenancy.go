package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// RunKey is the field of an organization's metadata that names the run it was
// made for. An organization without it is never adopted and never deleted.
// Its value is a string.
const RunKey = "loadtestRunId"

// ErrNotFound is an organization, user or key that does not exist.
var ErrNotFound = errors.New("not found")

// Tenancy creates and removes organizations, users and keys by the User/Org
// API. It is safe for concurrent use.
//
// It copes with both faces of the platform without being told which one it
// meets: it tries what the platform's description says, falls back to how the
// services really behave, and remembers. What it had to do otherwise is told
// by [Tenancy.Notes].
//
// Temporary failures are tried again with growing pauses, so that any call
// may reach the platform twice; every method is made for that, and may itself
// be called again after an error.
type Tenancy struct {
	api     caller
	wire    *userOrg
	session *signedIn
	retries *retrying

	issue, dropKey, dropUser, dropOrg *discovery
	rotate                            *discovery
	invites                           *inviteGate
	face                              *face
}

// NewTenancy returns a client of the User/Org API. It makes no call yet.
func NewTenancy(conn Connection, admin Admin) (*Tenancy, error) {
	if admin.Key.Empty() && !admin.canLogin() {
		return nil, errors.New("the User/Org API needs an admin key, or an email and a password")
	}
	wire, err := newUserOrg(conn)
	if err != nil {
		return nil, fmt.Errorf("the User/Org API: %w", err)
	}
	t := &Tenancy{
		wire:  wire,
		issue: newDiscovery(), dropKey: newDiscovery(), dropUser: newDiscovery(), dropOrg: newDiscovery(),
		rotate:  newDiscovery(),
		invites: newInviteGate(),
		face:    new(face),
	}
	t.session = newSignedIn(wire, admin, t.face.note)
	t.retries = newRetrying(t.session)
	t.api = t.retries
	return t, nil
}

// Once returns a view of the same client that tries nothing again, for load, in
// which every try counts.
func (t *Tenancy) Once() *Tenancy {
	once := *t
	once.api = t.session
	return &once
}

// Close logs out, if a password was used, and lets go of the connections.
func (t *Tenancy) Close(ctx context.Context) error {
	defer t.wire.http.CloseIdleConnections()
	return t.session.logout(ctx)
}

// Retries returns how many calls were repeated so far.
func (t *Tenancy) Retries() int64 { return t.retries.count.Load() }

// What is told of the platform; more where it is found out.
const noteActivated = "invited users stay inactive: each was activated"

// Notes returns what was found out about the platform, in sentences for a
// person; empty if it behaves as documented.
func (t *Tenancy) Notes() []string { return t.face.list() }

// ListsUsers reports whether users can be looked up by email, as far as is known:
// one who cannot is neither adopted nor found to be removed.
func (t *Tenancy) ListsUsers() bool { return !t.face.seenObserved() }

// Budget is what an organization may spend. Zero fields are not set.
type Budget struct {
	LimitMicroUSD  int64
	DailyMicroUSD  int64
	WarnAtMicroUSD int64
	EnableAlerts   bool
}

// RateLimit is how often an organization or a key may call. Zero fields are not set.
type RateLimit struct {
	RequestsPerSecond float64
	Burst             int
}

// NewOrg describes an organization to create.
type NewOrg struct {
	Name      string
	Slug      string         // [a-z0-9-] only; unique for ever on a platform that cannot delete
	Metadata  map[string]any // should hold RunKey, else nothing is adopted
	Budget    Budget
	RateLimit RateLimit
	// Shared says that others of the run create it, too, and may have suspended
	// it already, where it cannot be deleted.
	Shared bool
}

// OrgRef names an organization. One of the fields may be missing.
type OrgRef struct{ ID, Slug string }

// Org is an organization as the platform shows it.
type Org struct {
	OrgRef
	Status   string
	Metadata map[string]any
}

// UserRef names a user.
type UserRef struct{ ID, Email string }

// NewKey describes an API key to issue.
type NewKey struct {
	Name       string // shown by the platform, where it keeps names
	ExpiryDays int    // 0: never
	RateLimit  RateLimit
}

// Key is an issued API key. The platform shows the secret this once.
type Key struct {
	ID     string
	Secret secret.String
}

// Removal says what became of a thing that was to be removed.
type Removal uint8

// What may become of it.
const (
	Deleted  Removal = iota + 1 // it is gone
	Disabled                    // revoked or suspended, since the platform cannot delete it
	Gone                        // it was not there
)

// String returns the word for it.
func (r Removal) String() string {
	switch r {
	case Deleted:
		return "deleted"
	case Disabled:
		return "disabled"
	case Gone:
		return "gone"
	default:
		return "not removed"
	}
}

var slugPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// CreateOrg creates an organization. If the slug is taken by an organization
// of the same run, as happens when the answer to an earlier try was lost, it
// is adopted. If none was created for sure, the error is [ErrNotDone].
func (t *Tenancy) CreateOrg(ctx context.Context, o NewOrg) (OrgRef, error) {
	if !slugPattern.MatchString(o.Slug) {
		return OrgRef{}, fmt.Errorf("the slug %q is not usable: the platform can address only a-z, 0-9 and single dashes", o.Slug)
	}
	body := map[string]any{"name": o.Name, "slug": o.Slug}
	if len(o.Metadata) > 0 {
		body["metadata"] = o.Metadata
	}
	if o.Budget != (Budget{}) {
		body["budget"] = wireBudgetOf(o.Budget)
	}
	if o.RateLimit != (RateLimit{}) {
		body["rateLimit"] = wireRateLimit(o.RateLimit)
	}
	var made wireOrg
	var err error
	for range 3 {
		err = t.api.call(ctx, apiCall{method: http.MethodPost, path: "/v1/orgs", body: body}, &made)
		if conflict(err) {
			made, err = t.adopt(ctx, o, err)
		}
		if !o.Shared || !errors.Is(err, ErrNotFound) { // else whoever had it has just removed it
			break
		}
	}
	if err != nil {
		return OrgRef{}, err
	}
	ref := made.ref()
	if ref.ID == "" {
		return OrgRef{}, &Error{Op: "POST /v1/orgs", Kind: record.InvalidResponse, Message: "the answer holds no organization id"}
	}
	if ref.Slug == "" {
		ref.Slug = o.Slug
	}
	if o.Budget != (Budget{}) {
		t.checkBudget(ctx, ref, made, o.Budget)
	}
	return ref, nil
}

// adopt returns the organization that has the slug, if it is ours.
func (t *Tenancy) adopt(ctx context.Context, o NewOrg, taken error) (wireOrg, error) {
	found, err := t.getOrg(ctx, o.Slug)
	if err != nil {
		return wireOrg{}, fmt.Errorf("the slug %s is taken, and who has it could not be seen: %w", o.Slug, err)
	}
	run, _ := o.Metadata[RunKey].(string)
	if run == "" || found.Metadata[RunKey] != run {
		return wireOrg{}, fmt.Errorf("the slug %s is taken by an organization that this run did not make: let the naming pattern hold {run}, or remove it: %w", o.Slug, taken)
	}
	if suspended(found.Status) && !o.Shared {
		return wireOrg{}, fmt.Errorf("the slug %s is taken by this run's own organization, which a clean-up has suspended: use a new run id: %w", o.Slug, taken)
	}
	return found, nil
}

// checkBudget looks, once, whether the platform keeps what it was given.
func (t *Tenancy) checkBudget(ctx context.Context, ref OrgRef, made wireOrg, want Budget) {
	if !t.face.budgetUnchecked() {
		return
	}
	if made.Budget == nil {
		var err error
		if made, err = t.getOrg(ctx, t.orgPath(ref)); err != nil {
			return // creation succeeded; whether the budget did is not known
		}
	}
	kept := made.Budget != nil && micro(made.Budget.LimitUSD) == want.LimitMicroUSD && micro(made.Budget.DailyUSD) == want.DailyMicroUSD
	t.face.budgetChecked(kept)
}

// FindOrg looks an organization up by its slug or, where the platform allows,
// its id. The error is [ErrNotFound] if there is none.
func (t *Tenancy) FindOrg(ctx context.Context, slug string) (Org, error) {
	o, err := t.getOrg(ctx, slug)
	if err != nil {
		return Org{}, err
	}
	ref := o.ref()
	if ref.Slug == "" {
		ref.Slug = slug
	}
	return Org{OrgRef: ref, Status: o.Status, Metadata: o.Metadata}, nil
}

func (t *Tenancy) getOrg(ctx context.Context, slug string) (wireOrg, error) {
	c := apiCall{method: http.MethodGet, path: "/v1/orgs/" + url.PathEscape(slug)}
	var o wireOrg
	if err := t.api.call(ctx, c, &o); err != nil {
		return wireOrg{}, err
	}
	switch id := o.ref().ID; {
	case id == "":
		return wireOrg{}, &Error{Op: c.op(), Kind: record.InvalidResponse, Status: http.StatusOK, Message: "the answer holds no organization id"}
	case strings.Trim(id, "0-") == "":
		t.face.isObserved()
		return wireOrg{}, &Error{Op: c.op(), Kind: record.HTTPError, Status: http.StatusOK, Message: "the answer is an organization with a zero id", Err: ErrNotFound}
	}
	return o, nil
}

// ReadOrg looks an organization up.
func (t *Tenancy) ReadOrg(ctx context.Context, org OrgRef) error {
	_, err := t.getOrg(ctx, t.orgPath(org))
	return err
}

// ListOrgs lists all organizations.
func (t *Tenancy) ListOrgs(ctx context.Context) error {
	var list json.RawMessage // its form differs, and nothing in it is needed
	return t.api.call(ctx, apiCall{method: http.MethodGet, path: "/v1/orgs"}, &list)
}

// RenameOrg changes the name that is shown of an organization, and nothing else.
func (t *Tenancy) RenameOrg(ctx context.Context, org OrgRef, name string) error {
	return t.api.call(ctx, apiCall{
		method: http.MethodPatch, path: "/v1/orgs/" + url.PathEscape(t.orgPath(org)), body: map[string]string{"displayName": name},
	}, nil)
}

// InviteUser creates a user who may be given keys at once. A user of that
// email who exists already, as happens when the answer to an earlier try was
// lost, is adopted; where the platform cannot tell who it is, the user is
// invited again with a number in the email, so look at the result's Email.
func (t *Tenancy) InviteUser(ctx context.Context, org OrgRef, email string, roles []string, metadata map[string]any) (UserRef, error) {
	const addresses = 8 // the email as given, and numbered from 2 to 8
	var last error
	for n := 1; n <= addresses; n++ {
		address := email
		if local, domain, ok := strings.Cut(email, "@"); ok && n > 1 {
			address = fmt.Sprintf("%s-%d@%s", local, n, domain)
		}
		user, err := t.invite(ctx, org, address, roles, metadata)
		if !conflict(err) {
			return user, err
		}
		last = err
		found, err := t.findUser(ctx, org, address)
		switch {
		case err == nil:
			return t.ready(ctx, org, found, metadata)
		case errors.Is(err, ErrNotFound) || errors.Is(err, errors.ErrUnsupported):
			t.face.note("this platform cannot look users up by email: a user whose invitation was answered but not heard was invited again with a numbered email")
		default:
			return UserRef{}, err
		}
	}
	return UserRef{}, fmt.Errorf("%d variants of the email %s are taken by users that cannot be looked up: use a new run id: %w", addresses, email, last)
}

func (t *Tenancy) invite(ctx context.Context, org OrgRef, email string, roles []string, metadata map[string]any) (UserRef, error) {
	release, err := t.invites.enter(ctx)
	if err != nil {
		return UserRef{}, err
	}
	body := map[string]any{"email": email}
	if len(roles) > 0 {
		body["roles"] = roles
	}
	if len(metadata) > 0 {
		body["metadata"] = metadata
	}
	c := apiCall{method: http.MethodPost, path: "/v1/orgs/" + url.PathEscape(t.orgPath(org)) + "/invites", body: body}
	var made wireUser
	err = t.api.call(ctx, c, &made)
	release()
	if err != nil {
		return UserRef{}, err
	}
	if made.id() == "" {
		return UserRef{}, &Error{Op: c.op(), Kind: record.InvalidResponse, Message: "the answer holds no user id"}
	}
	made.Email = email
	if made.inactive() {
		t.face.isObserved()
	} else {
		t.invites.open()
	}
	return t.ready(ctx, org, made, metadata)
}

// ready activates a user who was only invited.
func (t *Tenancy) ready(ctx context.Context, org OrgRef, u wireUser, metadata map[string]any) (UserRef, error) {
	ref := UserRef{ID: u.id(), Email: u.Email}
	if !u.inactive() {
		return ref, nil
	}
	active, err := t.patchUser(ctx, org, ref, "status", "active")
	if errors.Is(err, errors.ErrUnsupported) {
		return ref, nil // issuing a key will tell whether it was needed
	}
	if err == nil && len(metadata) > 0 && len(active.Metadata) == 0 {
		_, err = t.patchUser(ctx, org, ref, "metadata", metadata) // the invitation's was lost
	}
	if err != nil {
		return UserRef{}, fmt.Errorf("activate the invited user %s: %w", ref.Email, err)
	}
	t.face.note(noteActivated)
	return ref, nil
}

// patchUser changes one field: beside a status, others are ignored.
func (t *Tenancy) patchUser(ctx context.Context, org OrgRef, user UserRef, field string, value any) (wireUser, error) {
	var u wireUser
	err := t.api.call(ctx, apiCall{method: http.MethodPatch, path: t.userPath(org, user), body: map[string]any{field: value}}, &u)
	return u, err
}

// FindUser looks a user up by email. The error is [ErrNotFound] if there is
// none, and [errors.ErrUnsupported] if the platform cannot list users.
func (t *Tenancy) FindUser(ctx context.Context, org OrgRef, email string) (UserRef, error) {
	u, err := t.findUser(ctx, org, email)
	return UserRef{ID: u.id(), Email: u.Email}, err
}

func (t *Tenancy) findUser(ctx context.Context, org OrgRef, email string) (wireUser, error) {
	list, err := t.listUsers(ctx, org)
	if err != nil {
		return wireUser{}, err
	}
	op := http.MethodGet + " " + t.usersPath(org)
	i := slices.IndexFunc(list, func(u wireUser) bool { return strings.EqualFold(u.Email, email) })
	switch {
	case i >= 0 && list[i].id() != "":
		return list[i], nil
	case len(list) == 0 && t.face.seenObserved():
		return wireUser{}, &Error{Op: op, Kind: record.InvalidResponse, Message: "the list of users is always empty on this platform", Err: errors.ErrUnsupported}
	default:
		return wireUser{}, &Error{Op: op, Kind: record.HTTPError, Message: "no user " + email + " in the list", Err: ErrNotFound}
	}
}

// HasUser reports whether the platform still shows the user.
func (t *Tenancy) HasUser(ctx context.Context, org OrgRef, user UserRef) (bool, error) {
	var u wireUser
	err := t.api.call(ctx, apiCall{method: http.MethodGet, path: t.userPath(org, user)}, &u)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	default:
		return strings.Trim(u.id(), "0-") != "", nil
	}
}

// HasUsers reports whether the platform lists users of an organization who are
// not suspended; some platforms always list none. The error is [ErrNotFound] if
// there is no such organization.
func (t *Tenancy) HasUsers(ctx context.Context, org OrgRef) (bool, error) {
	list, err := t.listUsers(ctx, org)
	return slices.ContainsFunc(list, func(u wireUser) bool { return !suspended(u.Status) }), err
}

func (t *Tenancy) listUsers(ctx context.Context, org OrgRef) (wireUsers, error) {
	var list wireUsers
	return list, t.api.call(ctx, apiCall{method: http.MethodGet, path: t.usersPath(org)}, &list)
}

func (t *Tenancy) usersPath(org OrgRef) string {
	return "/v1/orgs/" + url.PathEscape(t.orgPath(org)) + "/users"
}

// IssueKey issues an API key to a user, activating the user if that was
// missing. After a lost answer there may be a second key whose secret nobody
// knows; it goes with the user.
func (t *Tenancy) IssueKey(ctx context.Context, org OrgRef, user UserRef, k NewKey) (Key, error) {
	body := map[string]any{} // the platform insists on a body
	if k.Name != "" {
		body["name"], body["display_name"] = k.Name, k.Name
	}
	if k.ExpiryDays > 0 {
		body["expiresInDays"] = k.ExpiryDays
	}
	if k.RateLimit != (RateLimit{}) {
		body["rateLimit"] = wireRateLimit(k.RateLimit)
	}
	var made wireKey
	issueAt := func(collection string) func() error {
		return func() error {
			return t.api.call(ctx, apiCall{method: http.MethodPost, path: t.userPath(org, user) + collection, body: body}, &made)
		}
	}
	issue := func() error {
		by, err := t.issue.either(ctx, missing, issueAt("/keys"), issueAt("/api-keys"))
		if err == nil && by == observed {
			t.face.isObserved()
			t.face.note("keys are issued at /api-keys")
		}
		return err
	}
	err := issue()
	if notActive(err) {
		if _, err := t.patchUser(ctx, org, user, "status", "active"); err != nil {
			return Key{}, fmt.Errorf("activate the user %s: %w", user.Email, err)
		}
		t.face.isObserved()
		t.face.note(noteActivated)
		err = issue()
	}
	if err != nil {
		return Key{}, err
	}
	key := Key{ID: made.id(), Secret: made.secret()}
	if key.ID == "" || key.Secret.Empty() {
		return Key{}, &Error{Op: "POST " + t.userPath(org, user) + "/keys", Kind: record.InvalidResponse, Message: "the answer holds no key id or no secret"}
	}
	if k.RateLimit != RateLimit(made.RateLimit) {
		t.face.note("rate limits of single keys are not kept: keys have those that the platform gives them")
	}
	return key, nil
}

// RotateKey replaces a key by a new one. Where the platform has no call for
// that, one is issued and then the old one removed; if only the latter fails,
// there are both, and the error comes with the new key.
func (t *Tenancy) RotateKey(ctx context.Context, org OrgRef, user UserRef, old string, k NewKey) (Key, error) {
	var made wireKey
	var key Key
	_, err := t.rotate.either(ctx, missing, func() error {
		path := "/v1/orgs/" + url.PathEscape(t.orgPath(org)) + "/api-keys/" + url.PathEscape(old) + "/rotate"
		if err := t.api.call(ctx, apiCall{method: http.MethodPost, path: path, body: struct{}{}}, &made); err != nil {
			return err
		}
		if key = (Key{ID: made.id(), Secret: made.secret()}); key.ID == "" || key.Secret.Empty() {
			return &Error{Op: "POST " + path, Kind: record.InvalidResponse, Message: "the answer holds no key id or no secret"}
		}
		return nil
	}, func() (err error) {
		if key, err = t.IssueKey(ctx, org, user, k); err != nil {
			return err
		}
		_, err = t.RemoveKey(ctx, org, user, old)
		return err
	})
	return key, err
}

// RemoveKey deletes a key or, where that is impossible, revokes it.
func (t *Tenancy) RemoveKey(ctx context.Context, org OrgRef, user UserRef, keyID string) (Removal, error) {
	revokePath := "/v1/orgs/" + url.PathEscape(t.orgPath(org)) + "/api-keys/" + url.PathEscape(keyID)
	by, err := t.dropKey.either(ctx, missing,
		func() error {
			return unlessRevoked(t.api.call(ctx, apiCall{method: http.MethodDelete, path: t.userPath(org, user) + "/keys/" + url.PathEscape(keyID)}, nil))
		},
		func() error {
			err := t.api.call(ctx, apiCall{method: http.MethodDelete, path: revokePath}, nil)
			if unsupported(err) {
				err = t.api.call(ctx, apiCall{method: http.MethodPost, path: revokePath + "/revoke", body: struct{}{}}, nil)
			}
			return unlessRevoked(err)
		})
	if err == nil && by == observed {
		t.face.isObserved()
		t.face.note("keys are revoked at /api-keys, not deleted")
	}
	return removal(by, err)
}

// SuspendUser suspends a user, whose keys should stop working with that.
func (t *Tenancy) SuspendUser(ctx context.Context, org OrgRef, user UserRef) error {
	_, err := t.patchUser(ctx, org, user, "status", "suspended")
	return err
}

// RemoveUser deletes a user or, where that is impossible, suspends it. A
// suspended user's keys go on working: remove them first.
func (t *Tenancy) RemoveUser(ctx context.Context, org OrgRef, user UserRef) (Removal, error) {
	by, err := t.dropUser.either(ctx, unsupported,
		func() error {
			return t.api.call(ctx, apiCall{method: http.MethodDelete, path: t.userPath(org, user)}, nil)
		},
		func() error {
			_, err := t.patchUser(ctx, org, user, "status", "suspended")
			return err
		})
	if err == nil && by == observed {
		t.face.isObserved()
		t.face.note("users cannot be deleted: suspended")
	}
	return removal(by, err)
}

// RemoveOrg deletes an organization or, where that is impossible, suspends
// it. A suspended organization's keys go on working: remove them first.
func (t *Tenancy) RemoveOrg(ctx context.Context, org OrgRef) (Removal, error) {
	by, err := t.dropOrg.either(ctx, unsupported, func() error { return t.deleteOrg(ctx, org) }, func() error {
		_, err := t.suspendOrg(ctx, org)
		return err
	})
	return removal(by, err)
}

// SuspendOrg suspends an organization that cannot be deleted; one that is
// suspended already is [Gone].
func (t *Tenancy) SuspendOrg(ctx context.Context, org OrgRef) (Removal, error) {
	before, err := t.suspendOrg(ctx, org)
	if before {
		return Gone, nil
	}
	return removal(observed, err)
}

// suspendOrg reports whether an organization was suspended before.
func (t *Tenancy) suspendOrg(ctx context.Context, org OrgRef) (before bool, err error) {
	// Suspending an organization that does not exist is answered like a
	// conflict with somebody else's change, so look first.
	o, err := t.getOrg(ctx, t.orgPath(org))
	if err != nil {
		return false, err
	}
	if before = suspended(o.Status); !before {
		err = t.api.call(ctx, apiCall{
			method: http.MethodPatch, path: "/v1/orgs/" + url.PathEscape(t.orgPath(org)), body: map[string]string{"status": "suspended"},
		}, nil)
	}
	if err == nil {
		t.face.isObserved()
		t.face.note("organizations cannot be deleted: suspended")
	}
	return before, err
}

// DeleteOrg deletes an organization. The error is [errors.ErrUnsupported] if
// the platform cannot; then nothing was done.
func (t *Tenancy) DeleteOrg(ctx context.Context, org OrgRef) (Removal, error) {
	by, err := t.dropOrg.either(ctx, unsupported, func() error { return t.deleteOrg(ctx, org) }, func() error { return nil })
	if err == nil && by == observed {
		t.face.isObserved()
		return 0, &Error{Op: "DELETE /v1/orgs/" + org.Slug, Kind: record.HTTPError, Message: "organizations cannot be deleted here", Err: errors.ErrUnsupported}
	}
	return removal(by, err)
}

func (t *Tenancy) deleteOrg(ctx context.Context, org OrgRef) error {
	return t.api.call(ctx, apiCall{method: http.MethodDelete, path: "/v1/orgs/" + url.PathEscape(t.orgPath(org))}, nil)
}

// orgPath returns what names the organization in a path: its slug, as
// documented, or its id where slugs are known to be unreliable.
func (t *Tenancy) orgPath(o OrgRef) string {
	if o.Slug == "" || o.ID != "" && t.face.seenObserved() {
		return o.ID
	}
	return o.Slug
}

func (t *Tenancy) userPath(o OrgRef, u UserRef) string {
	return "/v1/orgs/" + url.PathEscape(t.orgPath(o)) + "/users/" + url.PathEscape(u.ID)
}

// removal translates the end of a removal: what does not exist is removed.
func removal(by way, err error) (Removal, error) {
	switch {
	case errors.Is(err, ErrNotFound):
		return Gone, nil
	case err != nil:
		return 0, err
	case by == observed:
		return Disabled, nil
	default:
		return Deleted, nil
	}
}

func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// missing is true also of a plain 404, which a platform may well answer for a
// path that it does not know.
func missing(err error) bool { return unsupported(err) || errors.Is(err, ErrNotFound) }

func conflict(err error) bool { return hasStatus(err, http.StatusConflict, "") }

func unlessRevoked(err error) error {
	if hasStatus(err, http.StatusConflict, "already revoked") {
		return nil
	}
	return err
}

func notActive(err error) bool { return hasStatus(err, http.StatusBadRequest, "not active") }

func hasStatus(err error, status int, text string) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status && strings.Contains(strings.ToLower(e.Message), text)
}

func suspended(status string) bool { return strings.EqualFold(status, "suspended") }

// face is what was found out about the platform on the way.
type face struct {
	mu       sync.Mutex
	observed bool // it is the one whose behaviour differs from its description
	budget   bool // whether budgets are kept has been looked at
	notes    []string
}

func (f *face) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.notes, text) {
		f.notes = append(f.notes, text)
	}
}

func (f *face) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.notes)
}

func (f *face) isObserved() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observed = true
}

func (f *face) seenObserved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.observed
}

func (f *face) budgetUnchecked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.budget
}

func (f *face) budgetChecked(kept bool) {
	f.mu.Lock()
	f.budget = true
	f.mu.Unlock()
	if !kept {
		f.note("budgets are not kept per organization: the platform will not enforce the scenario's")
	}
}

// inviteGate lets two invitations through at a time until one is answered as
// documented; then it stands open. On the observed platform each invitation
// in flight costs the service 128 MB of memory, and more are no faster.
type inviteGate struct {
	once   sync.Once
	opened chan struct{}
	slots  chan struct{}
}

func newInviteGate() *inviteGate {
	return &inviteGate{opened: make(chan struct{}), slots: make(chan struct{}, 2)}
}

func (g *inviteGate) open() { g.once.Do(func() { close(g.opened) }) }

// enter waits for its turn; the caller calls release when the answer is there.
func (g *inviteGate) enter(ctx context.Context) (release func(), err error) {
	select {
	case <-g.opened:
		return func() {}, nil
	default:
	}
	select {
	case <-g.opened:
		return func() {}, nil
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, &Error{Op: "wait to invite", Kind: record.CancelledKind, Err: context.Cause(ctx)}
	}
}

// The wire forms. Ids have a name of their own on the real platform and plain
// "id" in its description.
type wireOrg struct {
	OrgID    string         `json:"orgId"`
	ID       string         `json:"id"`
	Slug     string         `json:"slug"`
	Status   string         `json:"status"`
	Metadata map[string]any `json:"metadata"`
	Budget   *wireBudget    `json:"budget"`
}

func (o wireOrg) ref() OrgRef { return OrgRef{ID: firstOf(o.OrgID, o.ID), Slug: o.Slug} }

type wireBudget struct {
	LimitUSD     float64 `json:"limitUSD,omitempty"`
	DailyUSD     float64 `json:"dailyUSD,omitempty"`
	WarnAtUSD    float64 `json:"warnAtUSD,omitempty"`
	EnableAlerts bool    `json:"enableAlerts,omitempty"`
}

func wireBudgetOf(b Budget) wireBudget {
	return wireBudget{
		LimitUSD: usd(b.LimitMicroUSD), DailyUSD: usd(b.DailyMicroUSD), WarnAtUSD: usd(b.WarnAtMicroUSD),
		EnableAlerts: b.EnableAlerts,
	}
}

func usd(micro int64) float64 { return float64(micro) / 1e6 }

func micro(usd float64) int64 { return int64(usd*1e6 + 0.5) }

type wireRateLimit struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
	Burst             int     `json:"burst,omitempty"`
}

type wireUser struct {
	UserID   string         `json:"userId"`
	InviteID string         `json:"inviteId"` // the same thing, on the real platform
	ID       string         `json:"id"`
	Email    string         `json:"email"`
	Status   string         `json:"status"`
	Metadata map[string]any `json:"metadata"`
}

func (u wireUser) id() string { return firstOf(u.UserID, u.InviteID, u.ID) }

func (u wireUser) inactive() bool { return u.Status == "pending" || u.Status == "invited" }

// wireUsers is a list of users, bare or in an envelope.
type wireUsers []wireUser

// UnmarshalJSON implements json.Unmarshaler.
func (l *wireUsers) UnmarshalJSON(b []byte) error {
	var bare []wireUser
	if json.Unmarshal(b, &bare) == nil {
		*l = bare
		return nil
	}
	var envelope struct{ Users, Items, Data []wireUser }
	if err := json.Unmarshal(b, &envelope); err != nil {
		return err
	}
	*l = slices.Concat(envelope.Users, envelope.Items, envelope.Data)
	return nil
}

type wireKey struct {
	APIKeyID string `json:"apiKeyId"`
	KeyID    string `json:"keyId"`
	ID       string `json:"id"`
	Secret   string `json:"secret"`
	Key      string `json:"key"`
	APIKey   string `json:"apiKey"`

	RateLimit wireRateLimit `json:"rateLimit"`
}

func (k wireKey) id() string { return firstOf(k.APIKeyID, k.KeyID, k.ID) }

func (k wireKey) secret() secret.String { return secret.New(firstOf(k.Secret, k.Key, k.APIKey)) }

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
