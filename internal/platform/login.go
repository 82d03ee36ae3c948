package platform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Admin is what opens the User/Org API: a key, or the email and password of
// an account, or both; then the key is tried first.
type Admin struct {
	Key      secret.String
	Email    string
	Password secret.String
}

func (a Admin) canLogin() bool { return a.Email != "" && !a.Password.Empty() }

// accessToken is the answer to one login. It is never changed, so that its
// address says which login a refused call had used.
type accessToken struct {
	value secret.String
	renew time.Time // when to log in again, some time before it expires
}

// signedIn is a caller that adds the admin's credentials to every call.
//
// A password is turned into a token by one login that all callers share: a
// login costs the platform 0.3 s of CPU, and failed ones lock the account.
// The token is renewed before it expires and whenever the platform refuses it.
type signedIn struct {
	next  caller
	admin Admin
	note  func(string)

	keyRefused atomic.Bool // and the password is not
	token      atomic.Pointer[accessToken]
	gate       chan struct{} // holds one value while somebody logs in
	refusal    error         // of the password; guarded by gate
}

func newSignedIn(next caller, admin Admin, note func(string)) *signedIn {
	return &signedIn{next: next, admin: admin, note: note, gate: make(chan struct{}, 1)}
}

func (s *signedIn) call(ctx context.Context, c apiCall, into any) error {
	if s.admin.Key.Empty() || s.keyRefused.Load() {
		return s.callWithToken(ctx, c, into)
	}
	c.bearer, c.apiKey = s.admin.Key, s.admin.Key
	err := s.next.call(ctx, c, into)
	if !unauthorized(err) {
		return err
	}
	if !s.admin.canLogin() {
		return fmt.Errorf("%w; the admin key was refused: check it, or give an email and a password, since some versions of the platform have no admin keys", err)
	}
	if err = s.callWithToken(ctx, c, into); err == nil && !s.keyRefused.Swap(true) {
		s.note("the admin key is refused: logged in with email and password instead")
	}
	return err
}

func (s *signedIn) callWithToken(ctx context.Context, c apiCall, into any) error {
	c.apiKey = secret.String{}
	var refused *accessToken
	for {
		token, err := s.login(ctx, refused)
		if err != nil {
			return err
		}
		c.bearer = token.value
		if err = s.next.call(ctx, c, into); !unauthorized(err) || refused != nil {
			return err
		}
		refused = token
	}
}

// login returns a token that is good and not the refused one, logging in only
// if nobody else has done so since.
func (s *signedIn) login(ctx context.Context, refused *accessToken) (*accessToken, error) {
	good := func() *accessToken {
		if t := s.token.Load(); t != nil && t != refused && time.Now().Before(t.renew) {
			return t
		}
		return nil
	}
	if t := good(); t != nil {
		return t, nil
	}
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return nil, &Error{Op: "wait for the login", Kind: record.CancelledKind, Err: context.Cause(ctx)}
	}
	if t := good(); t != nil {
		return t, nil
	}
	if s.refusal != nil {
		return nil, s.refusal
	}

	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	err := s.next.call(ctx, apiCall{
		method: http.MethodPost, path: "/v1/auth/login",
		body: map[string]string{"email": s.admin.Email, "password": s.admin.Password.Reveal()},
		hide: s.admin.Password,
	}, &answer)
	if err != nil {
		var refusal *Error
		if errors.As(err, &refusal) && (refusal.Status == http.StatusBadRequest || refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusForbidden) {
			refusal.Kind = record.AuthError
			// The same password will not do next time either, and enough
			// attempts lock the account.
			s.refusal = fmt.Errorf("log in as %s: %w; check the email and the password, and that the account is active", s.admin.Email, err)
			return nil, s.refusal
		}
		return nil, fmt.Errorf("log in as %s: %w", s.admin.Email, err)
	}
	if answer.AccessToken == "" {
		return nil, &Error{Op: "POST /v1/auth/login", Kind: record.InvalidResponse, Status: http.StatusOK, Message: "the answer holds no access_token"}
	}
	lifetime := time.Duration(answer.ExpiresIn * float64(time.Second))
	if lifetime <= 0 {
		lifetime = 24 * time.Hour // not said; a refusal will tell
	}
	t := &accessToken{value: secret.New(answer.AccessToken), renew: time.Now().Add(lifetime - min(time.Minute, lifetime/10))}
	s.token.Store(t)
	return t, nil
}

// logout ends the session, if there is one.
func (s *signedIn) logout(ctx context.Context) error {
	t := s.token.Swap(nil)
	if t == nil {
		return nil
	}
	return s.next.call(ctx, apiCall{
		method: http.MethodPost, path: "/v1/auth/logout",
		body:   map[string]string{"token": t.value.Reveal()},
		bearer: t.value,
	}, nil)
}

func unauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}
