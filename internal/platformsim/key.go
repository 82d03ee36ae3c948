package platformsim

import (
	"net/http"
	"strings"
	"time"
)

// keyBody is a key as the API shows it; the secret only when it is issued.
type keyBody struct {
	APIKeyID    string   `json:"apiKeyId"`
	Secret      string   `json:"secret,omitempty"`
	Fingerprint string   `json:"fingerprint"`
	Status      string   `json:"status"`
	Name        string   `json:"name,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	ExpiresAt   string   `json:"expiresAt,omitempty"`

	RateLimit *RateLimit `json:"rateLimit,omitempty"`
}

func (k *apiKey) show() keyBody {
	b := keyBody{APIKeyID: k.id, Fingerprint: k.fingerprint(), Status: k.status, Name: k.name, Scopes: k.scopes}
	if !k.expires.IsZero() {
		b.ExpiresAt = stamp(k.expires)
	}
	if k.limit != (RateLimit{}) {
		copied := k.limit
		b.RateLimit = &copied
	}
	return b
}

// keyRequest is what a new key shall be.
type keyRequest struct {
	Name          string   `json:"name"`
	DisplayName   string   `json:"display_name"`
	Scopes        []string `json:"scopes"`
	ExpiresInDays int      `json:"expiresInDays"` // 0 or negative: never

	RateLimit RateLimit `json:"rateLimit"` // none: that of its organization
}

// issue makes a key for u.
func (p *Platform) issue(d *directory, u *user, in keyRequest) reply {
	if u.status != active {
		return invalid("user is not active")
	}
	if in.RateLimit.RequestsPerSecond < 0 || in.RateLimit.Burst < 0 {
		return invalid("a rate limit must not be negative")
	}
	secret := newSecret()
	k := &apiKey{
		id: newID(), print: printOf(secret), user: u, status: active,
		name: in.Name, scopes: in.Scopes, created: time.Now(),
	}
	if k.name == "" {
		k.name = in.DisplayName
	}
	if in.ExpiresInDays > 0 {
		k.expires = k.created.AddDate(0, 0, in.ExpiresInDays)
	}
	if !p.quirks.NoOrgRateLimit {
		k.limit = in.RateLimit
		k.rate = k.limit.rate(p.defects)
	}
	d.addKey(k)
	b := k.show()
	b.Secret = secret
	return reply{status: http.StatusCreated, body: b}
}

func (p *Platform) issueKey(r *http.Request) reply {
	var in keyRequest
	if err := read(r, &in, p.quirks.APIKeysPath); err != nil {
		return invalid(err.Error())
	}
	return p.ofUser(r, func(d *directory, u *user) reply { return p.issue(d, u, in) })
}

func (p *Platform) listKeys(r *http.Request) reply {
	return p.ofUser(r, func(_ *directory, u *user) reply { return ok(keysOf(u)) })
}

func keysOf(u *user) []keyBody {
	list := []keyBody{}
	for _, k := range u.org.keys {
		if k.user == u {
			list = append(list, k.show())
		}
	}
	return list
}

// revokeKey takes a key out of use. On the documented face it is gone, so that
// a second time finds nothing.
func (p *Platform) revokeKey(r *http.Request) reply {
	return p.inOrg(r, func(d *directory, o *org) reply {
		k := o.keys[strings.ToLower(r.PathValue("key"))]
		if id := r.PathValue("user"); k == nil || id != "" && k.user.id != strings.ToLower(id) {
			return notFound("API key")
		}
		if !p.quirks.RevokeConflicts {
			d.removeKey(k, p.quirks.KeyCache)
			return reply{status: http.StatusNoContent}
		}
		// Every validation changes the key's version, so the real service
		// sometimes finds that somebody else was first.
		inUse := k.used.Load() > 0 && p.sinceStart()-k.used.Load() < int64(time.Second)
		switch {
		case k.status == revoked:
			return conflict("API key already revoked")
		case inUse && p.chance() < 0.1:
			return conflict("API key was modified concurrently")
		}
		k.status = revoked
		return reply{status: http.StatusNoContent}
	})
}

// validateKey says whether a secret is a good key, to anybody who asks.
func (p *Platform) validateKey(r *http.Request) reply {
	var in struct {
		Secret string `json:"apiKeySecret"`
		OrgID  string `json:"orgId"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	if in.Secret == "" {
		return invalid("apiKeySecret is required")
	}
	d := p.dir.Load()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if in.OrgID != "" && d.org(in.OrgID) == nil {
		return notFound("organization")
	}
	k := d.keys[printOf(in.Secret)]
	no := func(why string) reply { return ok(map[string]any{"valid": false, "message": why}) }
	if k == nil || in.OrgID != "" && k.user.org != d.org(in.OrgID) {
		return no("API key not found")
	}
	if _, why := p.usable(k, time.Now()); why != "" {
		return no(why)
	}
	kind := "user"
	if k.user.service {
		kind = "service_account"
	}
	answer := map[string]any{
		"valid": true, "apiKeyId": k.id, "organizationId": k.user.org.id,
		"principalId": k.user.id, "principalType": kind, "status": k.status,
	}
	if len(k.scopes) > 0 {
		answer["scopes"] = k.scopes
	}
	if !k.expires.IsZero() {
		answer["expiresAt"] = stamp(k.expires)
	}
	return ok(answer)
}

// usable returns the status to refuse a key with and why, or "".
func (p *Platform) usable(k *apiKey, now time.Time) (status int, why string) {
	switch {
	case k.status != active:
		return http.StatusUnauthorized, "API key is revoked"
	case !k.expires.IsZero() && !now.Before(k.expires):
		return http.StatusUnauthorized, "API key has expired"
	case p.quirks.SuspendKeepsKeys:
		return 0, ""
	case k.user.org.status != active:
		return http.StatusForbidden, "the organization is suspended"
	case k.user.status != active:
		return http.StatusForbidden, "the user is not active"
	}
	return 0, ""
}

// A caller's own keys. On the real service they can be issued and listed, and
// never removed.

func (p *Platform) own(r *http.Request, h func(*directory, *user) reply) reply {
	u, refusal := p.caller(r)
	if refusal != nil {
		return *refusal
	}
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	return h(d, u)
}

func (p *Platform) issueOwnKey(r *http.Request) reply {
	var in keyRequest
	if err := read(r, &in, p.quirks.APIKeysPath); err != nil {
		return invalid(err.Error())
	}
	return p.own(r, func(d *directory, u *user) reply { return p.issue(d, u, in) })
}

func (p *Platform) listOwnKeys(r *http.Request) reply {
	return p.own(r, func(_ *directory, u *user) reply { return ok(keysOf(u)) })
}

func (p *Platform) getOwnKey(r *http.Request) reply {
	return p.own(r, func(_ *directory, u *user) reply {
		k := u.org.keys[strings.ToLower(r.PathValue("key"))]
		if k == nil || k.user != u {
			return notFound("API key")
		}
		return ok(k.show())
	})
}
