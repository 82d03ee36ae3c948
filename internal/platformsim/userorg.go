package platformsim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// reply is what the User/Org service answers; how it is written down depends
// on the face.
type reply struct {
	status int
	body   any    // nil: none
	code   string // of a refusal; then text says why
	text   string
}

func ok(body any) reply { return reply{status: http.StatusOK, body: body} }

func refuse(status int, code, text string) reply {
	return reply{status: status, code: code, text: text}
}

func invalid(text string) reply {
	return refuse(http.StatusBadRequest, "INVALID_REQUEST", text)
}

func notFound(what string) reply {
	return refuse(http.StatusNotFound, "NOT_FOUND", what+" not found")
}

func conflict(text string) reply { return refuse(http.StatusConflict, "CONFLICT", text) }

func unauthorized(text string) reply {
	return refuse(http.StatusUnauthorized, "UNAUTHORIZED", text)
}

// oauthError is how OAuth (RFC 6749, section 5.2) writes a refusal.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (p *Platform) write(w http.ResponseWriter, a reply) {
	body := a.body
	if a.text != "" {
		if p.quirks.TextErrors {
			http.Error(w, a.text, a.status)
			return
		}
		body = map[string]string{"error": a.text, "code": a.code}
	}
	if body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(body) // the client went away
}

// maxDocument bounds a body of the User/Org API. The real service has no bound.
const maxDocument = 4 << 20

// read decodes the body into v. An empty one is an error only if required.
func read(r *http.Request, v any, required bool) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxDocument+1))
	switch {
	case err != nil:
		return errors.New("the body could not be read")
	case len(b) > maxDocument:
		return errors.New("the body is larger than 4 MiB")
	case len(strings.TrimSpace(string(b))) == 0:
		if required {
			return errors.New("a JSON body is required")
		}
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return errors.New("the body is not the JSON expected here: " + err.Error())
	}
	return nil
}

// userOrg builds the User/Org API of this face.
func (p *Platform) userOrg() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h func(*http.Request) reply) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.write(w, h(r)) })
	}
	admin := func(pattern string, h func(*http.Request) reply) {
		open(pattern, func(r *http.Request) reply {
			if _, refusal := p.caller(r); refusal != nil {
				return *refusal
			}
			return h(r)
		})
	}
	gone := func(text string) func(*http.Request) reply {
		return func(*http.Request) reply {
			return reply{status: http.StatusNotImplemented, code: "NOT_IMPLEMENTED", text: text}
		}
	}

	open("GET /healthz", func(*http.Request) reply { return ok(map[string]string{"status": "ok"}) })
	open("GET /readyz", func(*http.Request) reply { return ok(map[string]string{"status": "ready"}) })
	open("POST /v1/auth/login", p.login)
	open("POST /v1/auth/logout", p.logout)
	open("POST /v1/auth/refresh", func(*http.Request) reply {
		return reply{status: http.StatusBadRequest, body: oauthError{"invalid_grant", "no refresh tokens are issued: log in again"}}
	})
	open("POST /v1/auth/recover", p.recover)
	open("POST /v1/auth/recover/reset", p.resetPassword)
	open("POST /v1/auth/validate-api-key", p.validateKey)
	admin("GET /v1/auth/userinfo", p.userInfo)

	admin("POST /v1/orgs", p.createOrg)
	admin("GET /v1/orgs", p.listOrgs)
	admin("GET /v1/orgs/{org}", p.getOrg)
	admin("PATCH /v1/orgs/{org}", p.patchOrg)
	admin("POST /v1/orgs/{org}/invites", p.invite)
	admin("GET /v1/orgs/{org}/users", p.listUsers)
	admin("GET /v1/orgs/{org}/users/{user}", p.getUser)
	admin("PATCH /v1/orgs/{org}/users/{user}", p.patchUser)
	admin("PUT /v1/orgs/{org}/users/{user}/roles", func(*http.Request) reply { return reply{status: http.StatusNotImplemented} })

	admin("POST /v1/orgs/{org}/users/{user}/api-keys", p.issueKey)
	admin("DELETE /v1/orgs/{org}/api-keys/{key}", p.revokeKey)
	admin("POST /v1/orgs/{org}/api-keys/{key}/revoke", p.revokeKey)
	admin("GET /v1/orgs/{org}/api-keys", gone("not implemented"))
	admin("GET /v1/orgs/{org}/api-keys/{key}", gone("not implemented"))
	admin("PATCH /v1/orgs/{org}/api-keys/{key}", gone("not implemented"))
	admin("POST /v1/orgs/{org}/api-keys/{key}/rotate", gone("not implemented"))

	admin("POST /v1/orgs/{org}/service-accounts", p.createServiceAccount)
	admin("GET /v1/orgs/{org}/service-accounts", func(r *http.Request) reply {
		return p.inOrg(r, func(*directory, *org) reply { return ok([]any{}) })
	})
	admin("GET /v1/orgs/{org}/service-accounts/{user}", p.getServiceAccount)
	admin("PATCH /v1/orgs/{org}/service-accounts/{user}", gone("not implemented"))
	admin("DELETE /v1/orgs/{org}/service-accounts/{user}", gone("not implemented"))
	admin("POST /v1/orgs/{org}/service-accounts/{user}/api-keys", p.issueKey)

	admin("POST /organizations/me/api-keys", p.issueOwnKey)
	admin("GET /organizations/me/api-keys", p.listOwnKeys)
	admin("GET /organizations/me/api-keys/{key}", p.getOwnKey)

	if !p.quirks.APIKeysPath {
		admin("POST /v1/orgs/{org}/users/{user}/keys", p.issueKey)
		admin("GET /v1/orgs/{org}/users/{user}/keys", p.listKeys)
		admin("DELETE /v1/orgs/{org}/users/{user}/keys/{key}", p.revokeKey)
	}
	if !p.quirks.NoDelete {
		admin("DELETE /v1/orgs/{org}", p.deleteOrg)
		admin("DELETE /v1/orgs/{org}/users/{user}", p.deleteUser)
	}
	if !p.quirks.NoBudgets {
		admin("GET /v1/orgs/{org}/budget", p.getBudget)
		admin("GET /v1/orgs/{org}/usage", p.getUsage)
	}

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		status, text, code := http.StatusNotFound, "no such path", "NOT_FOUND"
		if otherMethod(mux, r) {
			status, text, code = http.StatusMethodNotAllowed, "no such method on this path", "METHOD_NOT_ALLOWED"
		}
		p.write(w, reply{status: status, body: map[string]string{"error": text, "code": code, "method": r.Method, "path": r.URL.Path}})
	})

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.inflight.enter() {
			w.Header().Set("Connection", "close")
			p.write(w, refuse(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "the platform is shutting down"))
			return
		}
		defer p.inflight.leave()
		if p.Outages().UserOrg {
			p.write(w, refuse(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "the service is down"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// otherMethod reports whether mux knows the path with another method.
func otherMethod(mux *http.ServeMux, r *http.Request) bool {
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := mux.Handler(&http.Request{Method: m, URL: r.URL, Host: r.Host}); pattern != "/" && pattern != "" {
			return true
		}
	}
	return false
}
