package platform

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// service is the other side of signedIn: it issues tokens and accepts the
// newest one.
type service struct {
	mu        sync.Mutex
	logins    int
	calls     int
	good      string
	key       string // an admin key that it accepts too
	badLogin  error
	expiresIn int
	slow      time.Duration // how long a login takes
}

func (s *service) call(_ context.Context, c apiCall, into any) error {
	if c.path == "/v1/auth/login" {
		time.Sleep(s.slow) // inside a synctest bubble
		s.mu.Lock()
		defer s.mu.Unlock()
		s.logins++
		if s.badLogin != nil {
			return s.badLogin
		}
		s.good = fmt.Sprint("token-", s.logins)
		answer := into.(*struct {
			AccessToken string  `json:"access_token"`
			ExpiresIn   float64 `json:"expires_in"`
		})
		answer.AccessToken, answer.ExpiresIn = s.good, float64(s.expiresIn)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if b := c.bearer.Reveal(); b != "" && (b == s.good || b == s.key) {
		return nil
	}
	return status(401)
}

var byPassword = Admin{Email: "a@b", Password: secret.New("pw")}

func TestLoginIsSharedAndRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{expiresIn: 3599, slow: time.Second}
		in := newSignedIn(s, byPassword, noNote)
		all := func(n int) {
			t.Helper()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if err := in.call(t.Context(), apiCall{path: "/x"}, nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		expect := func(logins, calls int) {
			t.Helper()
			if s.logins != logins || s.calls != calls {
				t.Fatalf("%d logins and %d calls, want %d and %d", s.logins, s.calls, logins, calls)
			}
		}
		all(50)
		expect(1, 50)
		time.Sleep(58 * time.Minute)
		all(1)
		expect(1, 51)
		time.Sleep(time.Minute) // 40 s before it expires
		all(50)
		expect(2, 101)
		s.good = "revoked on the other side"
		all(1)
		expect(3, 103) // refused, logged in, done
	})
}

func noNote(string) {}

func TestLoginRefusals(t *testing.T) {
	wrong := func() error {
		return &Error{Op: "POST /v1/auth/login", Kind: record.Validation, Status: 400, Code: "invalid_grant", Message: "wrong password"}
	}
	for _, c := range []struct {
		name          string
		service       *service
		admin         Admin
		logins, calls int // for two calls of the API
		err           string
		kind          record.Kind
		note          bool
	}{
		{"a wrong password is tried once", &service{badLogin: wrong()}, byPassword, 1, 0, "log in as a@b", record.AuthError, false},
		{"a failing service is asked again", &service{badLogin: status(503)}, byPassword, 2, 0, "503", record.HTTPError, false},
		{"a good admin key", &service{key: "k"}, Admin{Key: secret.New("k")}, 0, 2, "", "", false},
		{"a bad admin key", &service{key: "k"}, Admin{Key: secret.New("x")}, 0, 2, "admin key was refused", record.AuthError, false},
		{"a bad admin key and a password", &service{}, Admin{Key: secret.New("x"), Email: "a@b", Password: secret.New("pw")}, 1, 3, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			noted := false
			in := newSignedIn(c.service, c.admin, func(string) { noted = true })
			for range 2 {
				err := in.call(t.Context(), apiCall{path: "/x"}, nil)
				var e *Error
				switch {
				case c.err == "":
					if err != nil {
						t.Fatal(err)
					}
				case err == nil || !strings.Contains(err.Error(), c.err) || !errors.As(err, &e) || e.Kind != c.kind:
					t.Fatalf("err = %v, want %q of kind %s", err, c.err, c.kind)
				}
			}
			if c.service.logins != c.logins || c.service.calls != c.calls || noted != c.note {
				t.Fatalf("%d logins, %d calls, noted %v; want %d, %d, %v", c.service.logins, c.service.calls, noted, c.logins, c.calls, c.note)
			}
		})
	}
}

// stubborn accepts every login and no token.
type stubborn struct{ service }

func (s *stubborn) call(ctx context.Context, c apiCall, into any) error {
	err := s.service.call(ctx, c, into)
	s.good = ""
	return err
}

func TestTokensThatDoNotHelp(t *testing.T) {
	s := &stubborn{}
	err := newSignedIn(s, byPassword, noNote).call(t.Context(), apiCall{path: "/x"}, nil)
	if !unauthorized(err) || s.logins != 2 || s.calls != 2 {
		t.Fatalf("err = %v after %d logins and %d calls, want a 401 after 2 and 2", err, s.logins, s.calls)
	}
}

func TestWaitingForALoginEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{slow: time.Hour}
		in := newSignedIn(s, byPassword, noNote)
		var wg sync.WaitGroup
		wg.Go(func() { _ = in.call(t.Context(), apiCall{path: "/x"}, nil) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := in.call(ctx, apiCall{path: "/x"}, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != record.CancelledKind || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Fatalf("err = %v after %v", err, time.Since(began))
		}
		wg.Wait()
	})
}
