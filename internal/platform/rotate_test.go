package platform

import (
	"errors"
	"net/http"
	"testing"
)

// A key is rotated by one call, where there is one, and else by two, with what
// both left told even if the second fails.
func TestRotateKey(t *testing.T) {
	const (
		rotate = "POST /v1/orgs/{org}/api-keys/{key}/rotate"
		issue  = "POST /v1/orgs/{org}/users/{user}/keys"
		remove = "DELETE /v1/orgs/{org}/users/{user}/keys/{key}"
	)
	made := says(201, `{"apiKeyId":"k-2","secret":"s-2"}`)
	for _, c := range []struct {
		name   string
		routes map[string]http.HandlerFunc
		id     string
		failed bool
	}{
		{"in one call", map[string]http.HandlerFunc{rotate: made}, "k-2", false},
		{"in two", map[string]http.HandlerFunc{rotate: says(501, "not implemented"), issue: made, remove: says(204, "")}, "k-2", false},
		{"in half", map[string]http.HandlerFunc{rotate: says(501, "not implemented"), issue: made, remove: says(403, "no")}, "k-2", true},
		{"not at all", map[string]http.HandlerFunc{rotate: says(403, "no")}, "", true},
		{"without an id", map[string]http.HandlerFunc{rotate: says(200, "{}")}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tenancy, _ := serve(t, c.routes)
			key, err := tenancy.RotateKey(t.Context(), OrgRef{ID: "o-1", Slug: "acme"}, UserRef{ID: "u-1"}, "k-1", NewKey{Name: "n"})
			if key.ID != c.id || (err != nil) != c.failed {
				t.Errorf("%q, %v", key.ID, err)
			}
		})
	}
}

// Once tries nothing again, and shares what was found out.
func TestOnce(t *testing.T) {
	calls := 0
	all, _ := serve(t, map[string]http.HandlerFunc{"GET /v1/orgs": func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusBadGateway)
	}})
	var e *Error
	if err := all.Once().ListOrgs(t.Context()); !errors.As(err, &e) || e.Status != http.StatusBadGateway || calls != 1 || all.Retries() != 0 {
		t.Errorf("%v after %d calls", err, calls)
	}
	all.Once().face.note("shared")
	if notes := all.Notes(); len(notes) != 1 {
		t.Errorf("%q", notes)
	}
}
