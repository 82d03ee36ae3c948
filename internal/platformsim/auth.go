package platformsim

import (
	"net/http"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// tokenLife is how long a login lasts. There are no refresh tokens.
const tokenLife = time.Hour

// lockAfter failed logins that name the organization, within lockTime, an
// account is locked for lockTime.
const (
	lockAfter = 5
	lockTime  = 15 * time.Minute
)

// bearer returns the credential of an Authorization header; the scheme is
// case-insensitive.
func bearer(h http.Header) string {
	scheme, credential, found := strings.Cut(h.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credential)
}

// caller returns who makes a call of the User/Org API. Whoever may call may
// do everything: there is no authorization, as on the real platform.
func (p *Platform) caller(r *http.Request) (*user, *reply) {
	credential := bearer(r.Header)
	if !p.quirks.LoginOnly {
		if key := r.Header.Get("X-API-Key"); key != "" && (credential == "" || sameSecret(p.adminKey, key)) {
			credential = key
		}
		if sameSecret(p.adminKey, credential) {
			return p.dir.Load().admin, nil
		}
	}
	if credential == "" {
		a := unauthorized("missing authorization header")
		return nil, &a
	}
	d := p.dir.Load()
	d.mu.RLock()
	s, known := d.tokens[printOf(credential)]
	d.mu.RUnlock()
	if !known || !time.Now().Before(s.expires) {
		a := unauthorized("invalid or expired token")
		return nil, &a
	}
	return s.user, nil
}

func (p *Platform) login(r *http.Request) reply {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
		OrgID    string `json:"org_id"`
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	switch {
	case in.Email == "" || in.Password == "":
		return invalid("email and password are required")
	case in.ClientID != "": // the service fills in its own; no other is known
		return reply{status: http.StatusUnauthorized, body: oauthError{"invalid_client", "the client is unknown"}}
	case in.Scope != "":
		return reply{status: http.StatusBadRequest, body: oauthError{"invalid_scope", "the scope is unknown"}}
	}
	if p.quirks.LoginOrgUUID && in.OrgID != "" && !isID(in.OrgID) {
		return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "internal server error")
	}
	if p.quirks.SlowInvites && !p.hash(r.Context(), 5*p.hashCost) {
		return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "login was given up")
	}
	bad := reply{status: http.StatusBadRequest, body: oauthError{"invalid_grant", "the e-mail or the password is wrong, or the account is not active"}}

	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var within *org // nil: all
	if in.OrgID != "" {
		if within = d.org(in.OrgID); within == nil && (in.OrgID == d.home.id || in.OrgID == d.home.slug) {
			within = d.home
		}
		if within == nil {
			return bad
		}
	}
	u := d.userByEmail(strings.ToLower(in.Email), within)
	if u == nil || u.status != active || now.Before(u.lockedUntil) {
		return bad
	}
	if !sameSecret(u.password, in.Password) {
		if p.quirks.LoginLockout && in.OrgID != "" && u.fail(now) {
			return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "internal server error")
		}
		return bad
	}
	token := newSecret()
	for f, s := range d.tokens {
		if !now.Before(s.expires) {
			delete(d.tokens, f)
		}
	}
	d.tokens[printOf(token)] = session{user: u, expires: now.Add(tokenLife)}
	return ok(map[string]any{
		"access_token": token, "token_type": "bearer", "scope": "",
		"expires_in": int(tokenLife/time.Second) - 1,
	})
}

// fail notes a failed login and reports whether it locked the account.
func (u *user) fail(now time.Time) bool {
	recent := u.failures[:0]
	for _, t := range u.failures {
		if now.Sub(t) < lockTime {
			recent = append(recent, t)
		}
	}
	u.failures = append(recent, now)
	if len(u.failures) < lockAfter {
		return false
	}
	u.failures, u.lockedUntil = nil, now.Add(lockTime)
	return true
}

// logout ends a session. It succeeds for unknown tokens too.
func (p *Platform) logout(r *http.Request) reply {
	var in struct {
		Token string `json:"token"`
	}
	if err := read(r, &in, false); err != nil {
		return invalid(err.Error())
	}
	if in.Token == "" {
		return invalid("token is required")
	}
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tokens, printOf(in.Token))
	return reply{status: http.StatusOK}
}

func (p *Platform) userInfo(r *http.Request) reply {
	u, refusal := p.caller(r)
	if refusal != nil {
		return *refusal
	}
	d := p.dir.Load()
	d.mu.RLock()
	defer d.mu.RUnlock()
	return ok(map[string]any{
		"sub": u.id, "id": u.id, "email": u.email, "name": u.displayName,
		"organization_id": u.org.id, "roles": []string{}, "scopes": []string{},
	})
}

// recover starts a password reset. The token, which a mail would carry, is
// answered, as the real service does in development.
func (p *Platform) recover(r *http.Request) reply {
	var in struct {
		Email string `json:"email"`
		OrgID string `json:"org_id"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	answer := map[string]string{"message": "if the account exists, a mail has been sent"}
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.org(in.OrgID); o != nil {
		if u := o.emails[strings.ToLower(in.Email)]; u != nil && u.status == active {
			u.recovery = secret.New(newSecret())
			answer["token"] = u.recovery.Reveal()
		}
	}
	return ok(answer)
}

func (p *Platform) resetPassword(r *http.Request) reply {
	var in struct {
		Token       string `json:"token"`
		Email       string `json:"email"`
		OrgID       string `json:"org_id"`
		NewPassword string `json:"newPassword"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	if len(in.NewPassword) < 8 {
		return invalid("newPassword must have 8 characters or more")
	}
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.org(in.OrgID); o != nil {
		if u := o.emails[strings.ToLower(in.Email)]; u != nil && sameSecret(u.recovery, in.Token) {
			u.recovery = secret.String{}
			u.password = secret.New(in.NewPassword)
			return ok(map[string]string{"message": "the password was changed"})
		}
	}
	return invalid("invalid or expired token")
}
