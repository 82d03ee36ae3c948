package platformsim

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// States of orgs, users and keys.
const (
	active    = "active"
	suspended = "suspended"
	invited   = "invited"
	revoked   = "revoked"
)

// directory is who there is. Its mutex guards everything in it but what org
// and apiKey say they guard themselves.
type directory struct {
	mu     sync.RWMutex
	orgs   map[string]*org // by id
	slugs  map[string]*org
	keys   map[fingerprint]*apiKey
	tokens map[fingerprint]session
	// home is the organization of the administrator, which no list shows.
	home  *org
	admin *user
	// inviting holds the e-mails whose invitation is being worked on.
	inviting map[string]bool
}

func newDirectory() *directory {
	return &directory{
		orgs: map[string]*org{}, slugs: map[string]*org{},
		keys: map[fingerprint]*apiKey{}, tokens: map[fingerprint]session{},
		inviting: map[string]bool{},
	}
}

type org struct {
	id, slug, name   string
	status           string
	metadata         json.RawMessage
	created, updated time.Time
	users            map[string]*user // by id
	emails           map[string]*user
	keys             map[string]*apiKey // by id, over all users

	mu     sync.Mutex // guards what follows
	budget budget
	limit  RateLimit
	rate   rate
	bucket bucket
	spent  account
	usage  usage
}

// usage is what an organization has used.
type usage struct {
	Requests         int64 `json:"requests"`
	PromptTokens     int64 `json:"promptTokens"`
	CompletionTokens int64 `json:"completionTokens"`
	CachedTokens     int64 `json:"cachedTokens"`
}

func newOrg(slug, name string, now time.Time) *org {
	return &org{
		id: newID(), slug: slug, name: name, status: active, created: now, updated: now,
		users: map[string]*user{}, emails: map[string]*user{}, keys: map[string]*apiKey{},
	}
}

// user is a person or, if service is set, a service account.
type user struct {
	id, email, displayName string
	org                    *org
	service                bool
	status                 string
	metadata               json.RawMessage
	created, updated       time.Time
	password               secret.String // empty: nobody knows it
	recovery               secret.String // token of a password reset under way
	failures               []time.Time   // of logins that name the organization
	lockedUntil            time.Time
}

type apiKey struct {
	id      string
	print   fingerprint
	user    *user
	status  string
	name    string
	scopes  []string
	created time.Time
	expires time.Time // zero: never

	magic string // quota_type that it always exceeds; see the magic-keys quirk

	limit     RateLimit    // its own, if it has one
	rate      rate         // what comes of it; none: the org's
	bucket    bucket       // guarded by the org's mutex
	used      atomic.Int64 // when it was last used, ns since the platform's epoch
	goodUntil atomic.Int64 // until when it is not looked up again, likewise
}

func (k *apiKey) fingerprint() string { return k.print.String() }

// fingerprint is the SHA-256 of a secret.
type fingerprint [sha256.Size]byte

func printOf(s string) fingerprint { return sha256.Sum256([]byte(s)) }

func (f fingerprint) String() string { return base64.RawURLEncoding.EncodeToString(f[:]) }

// session is a login.
type session struct {
	user    *user
	expires time.Time
}

func (d *directory) org(ref string) *org {
	if isID(ref) {
		return d.orgs[ref]
	}
	return d.slugs[ref]
}

func (d *directory) addOrg(o *org) {
	d.orgs[o.id] = o
	d.slugs[o.slug] = o
}

func (d *directory) addUser(u *user) {
	u.org.users[u.id] = u
	if u.email != "" {
		u.org.emails[u.email] = u
	}
}

func (d *directory) addKey(k *apiKey) {
	k.user.org.keys[k.id] = k
	d.keys[k.print] = k
}

// removeKey forgets a key; a router that keeps good keys for a while still
// finds it by its secret.
func (d *directory) removeKey(k *apiKey, remembered bool) {
	k.status = revoked
	delete(k.user.org.keys, k.id)
	if !remembered {
		delete(d.keys, k.print)
	}
}

func (d *directory) removeUser(u *user, remembered bool) {
	for _, k := range u.org.keys {
		if k.user == u {
			d.removeKey(k, remembered)
		}
	}
	delete(u.org.users, u.id)
	if u.org.emails[u.email] == u {
		delete(u.org.emails, u.email)
	}
}

func (d *directory) removeOrg(o *org, remembered bool) {
	for _, u := range o.users {
		d.removeUser(u, remembered)
	}
	delete(d.orgs, o.id)
	delete(d.slugs, o.slug)
}

// userByEmail finds a person by e-mail, in all organizations: the oldest
// account wins.
func (d *directory) userByEmail(email string, in *org) *user {
	if in != nil {
		return in.emails[email]
	}
	var found *user
	for _, o := range d.orgs {
		if u := o.emails[email]; u != nil && (found == nil || u.created.Before(found.created)) {
			found = u
		}
	}
	if u := d.home.emails[email]; u != nil {
		found = u // there before any other
	}
	return found
}

// sortedOrgs returns the organizations in order of creation.
func (d *directory) sortedOrgs() []*org {
	list := make([]*org, 0, len(d.orgs))
	for _, o := range d.orgs {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *org) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.slug, b.slug)) })
	return list
}

// newID returns a random UUID (version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// newSecret returns 43 random characters of base64url.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

const zeroID = "00000000-0000-0000-0000-000000000000"

func isID(s string) bool {
	if len(s) != len(zeroID) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case zeroID[i] == '-':
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

func sameSecret(a secret.String, b string) bool {
	return !a.Empty() && subtle.ConstantTimeCompare([]byte(a.Reveal()), []byte(b)) == 1
}

// NewSecret returns a random secret such as keys and passwords are made of.
func NewSecret() secret.String { return secret.New(newSecret()) }
