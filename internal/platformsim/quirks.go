package platformsim

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Quirks are the ways in which the platform's services differ from their
// description. The zero value is the platform as documented. The tag is the
// quirk's name; names marked "-" behind the comma are not part of [AsObserved].
type Quirks struct {
	// The User/Org service.
	NoDelete         bool `quirk:"no-delete"`          // DELETE of orgs and users is 405; keys can only be revoked
	APIKeysPath      bool `quirk:"api-keys-path"`      // …/keys is 404; …/api-keys, with a body, is the way
	PendingInvites   bool `quirk:"pending-invites"`    // invited users stay inactive until PATCH; inactive users get no keys
	TextErrors       bool `quirk:"text-errors"`        // errors are one line of text
	GhostOrgs        bool `quirk:"ghost-orgs"`         // a missing org is 200 with a zero id; PATCH of one is 409
	EmptyLists       bool `quirk:"empty-lists"`        // lists of orgs and users are always []
	LoginOnly        bool `quirk:"login-only"`         // no admin key; X-API-Key is ignored
	LoginOrgUUID     bool `quirk:"login-org-uuid"`     // a slug as org_id of a login is 500
	LoginLockout     bool `quirk:"login-lockout"`      // five failed logins with org_id lock the account for 15 minutes
	AnySlug          bool `quirk:"any-slug"`           // slugs are not checked, so some orgs cannot be reached
	PatchDropsFields bool `quirk:"patch-drops-fields"` // PATCH of a user with a status drops the other fields
	RevokeConflicts  bool `quirk:"revoke-conflicts"`   // revoking twice is 409; so is, one time in ten, revoking a key in use
	InviteRaces      bool `quirk:"invite-races"`       // two invitations of one e-mail at once: 500 instead of 409
	SlowInvites      bool `quirk:"slow-invites"`       // invitations take Options.HashCost each, one after the other; a login five times that
	NoOrgRateLimit   bool `quirk:"no-org-rate-limit"`  // rateLimit of an org or a key is ignored
	NoBudgets        bool `quirk:"no-budgets"`         // budgets of orgs are ignored; no budget or usage endpoint

	// Authentication at the router.
	SuspendKeepsKeys bool `quirk:"suspend-keeps-keys"`   // keys of suspended users and orgs go on working
	KeyCache         bool `quirk:"key-cache"`            // a good key is not looked up again for 60 s, revoked or not
	OutageIsUnauth   bool `quirk:"outage-is-401"`        // User/Org service down: 401, as if the key were bad
	DevKeys          bool `quirk:"dev-keys"`             // any key that begins dev- or test- is good
	MagicKeys        bool `quirk:"magic-keys"`           // two keys that always answer 402
	HMACStub         bool `quirk:"hmac-stub"`            // a request with X-HMAC-Signature is 401
	HeadRefusesAll   bool `quirk:"head-refuses-all,-"`   // all inference is 401 "authentication required"
	ColdKeyCrash     bool `quirk:"cold-key-crash,-"`     // many keys never seen before, at once: every connection is reset
	SlowUsageRecords bool `quirk:"slow-usage-records,-"` // every successful answer comes a second late

	// The router's calls.
	NoStreaming      bool `quirk:"no-streaming"`       // stream:true is 502
	StringContent    bool `quirk:"string-content"`     // content that is not a string is 400
	DroppedFields    bool `quirk:"dropped-fields"`     // only the listed fields reach the backend: no cache_salt, n, stop, temperature 0, max_tokens 0
	PlainUsage       bool `quirk:"plain-usage"`        // usage does not tell cached tokens
	SmallBodies      bool `quirk:"small-bodies"`       // 65,536 bytes or more are 413, text, before authentication
	FewEndpoints     bool `quirk:"few-endpoints"`      // no models, no embeddings, no responses; unknown paths are 404 as text, 401 without a key
	BackendFaults502 bool `quirk:"backend-faults-502"` // whatever a backend answers in error is 502 BACKEND_ERROR
	BlindReadyz      bool `quirk:"blind-readyz"`       // readyz says ready whatever is down
	UnknownModel500  bool `quirk:"unknown-model-500"`  // a model without a route is 500 ROUTING_ERROR, not 404
	NoRequestID      bool `quirk:"no-request-id"`      // X-Request-Id is not echoed

	// How streams come, which servers do in different ways; all are allowed.
	StreamCRLF     bool `quirk:"stream-crlf,-"`     // lines end with CR LF
	StreamComments bool `quirk:"stream-comments,-"` // a comment comes before every write, to keep the connection alive
	StreamSplits   bool `quirk:"stream-splits,-"`   // every write comes in two, cut one byte further each time
	NoStreamUsage  bool `quirk:"no-stream-usage,-"` // stream_options.include_usage is ignored

	// The rate limiter.
	LimiterLosesFractions bool `quirk:"limiter-loses-fractions"` // fractions of a token are thrown away at every call, refused ones too
	LimiterCountsAll      bool `quirk:"limiter-counts-all"`      // every authenticated call counts, 404s too
	RetryAfterOne         bool `quirk:"retry-after-one"`         // Retry-After is 1 at one request a second or more
	LimitHeaderBurst      bool `quirk:"limit-header-burst"`      // X-Ratelimit-Limit is the burst, not the rate
}

// AsObserved returns the quirks of the platform as it really behaves today,
// with its router mended so that inference works at all. Left out, and to be
// had by name: head-refuses-all (the router unmended), cold-key-crash (which
// comes and goes) and slow-usage-records (which depends on how it is deployed),
// and the ways of streams.
func AsObserved() Quirks {
	var q Quirks
	for s := range switches(&q) {
		*s.on = !s.apart
	}
	return q
}

// QuirkNames returns the names of all quirks, in alphabetical order.
func QuirkNames() []string { return names(&Quirks{}, false) }

// Set switches the quirk of that name.
func (q *Quirks) Set(name string, on bool) error { return set(q, "quirk", name, on) }

// Names returns the names of the quirks that are on, in alphabetical order.
func (q Quirks) Names() []string { return names(&q, true) }

// Defects are faults of isolation that a client can find only by looking for
// them. All are off by default and none is part of a quirk.
type Defects struct {
	// LeakyCache lets organizations share the prefix cache whatever their
	// cache_salt, so that one can tell what another has asked.
	LeakyCache bool `quirk:"leaky-cache"`
	// SharedBudget measures every organization's budget against what all of
	// them spent.
	SharedBudget bool `quirk:"shared-budget"`
	// LaxLimiter lets 1.2 times the rate through.
	LaxLimiter bool `quirk:"lax-limiter"`
	// UnfairScheduler lets models serve first come first served, whoever asks,
	// so that an organization that sends more takes service from the others.
	UnfairScheduler bool `quirk:"unfair-scheduler"`
}

// DefectNames returns the names of all defects, in alphabetical order.
func DefectNames() []string { return names(&Defects{}, false) }

// Set switches the defect of that name.
func (d *Defects) Set(name string, on bool) error { return set(d, "defect", name, on) }

// toggle is one field of Quirks or Defects.
type toggle struct {
	name  string
	apart bool // not part of AsObserved
	on    *bool
}

// switches yields the fields of the struct that s points to.
func switches(s any) iter.Seq[toggle] {
	return func(yield func(toggle) bool) {
		v := reflect.ValueOf(s).Elem()
		for i := range v.NumField() {
			name, mark, _ := strings.Cut(v.Type().Field(i).Tag.Get("quirk"), ",")
			if !yield(toggle{name, mark == "-", v.Field(i).Addr().Interface().(*bool)}) {
				return
			}
		}
	}
}

func names(s any, onlyOn bool) (list []string) {
	for t := range switches(s) {
		if *t.on || !onlyOn {
			list = append(list, t.name)
		}
	}
	slices.Sort(list)
	return list
}

func set(s any, what, name string, on bool) error {
	for t := range switches(s) {
		if t.name == name {
			*t.on = on
			return nil
		}
	}
	return fmt.Errorf("there is no %s %q; there are: %s", what, name, strings.Join(names(s, false), ", "))
}
