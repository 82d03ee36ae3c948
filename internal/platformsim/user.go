package platformsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// userBody is a user as the API shows it.
type userBody struct {
	UserID      string          `json:"userId"`
	OrgID       string          `json:"orgId"`
	Email       string          `json:"email"`
	DisplayName string          `json:"displayName"`
	Status      string          `json:"status"`
	MFAEnrolled bool            `json:"mfaEnrolled"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	CreatedAt   string          `json:"createdAt"`
	UpdatedAt   string          `json:"updatedAt"`
}

func (u *user) show() userBody {
	return userBody{
		UserID: u.id, OrgID: u.org.id, Email: u.email, DisplayName: u.displayName, Status: u.status,
		Metadata: u.metadata, CreatedAt: stamp(u.created), UpdatedAt: stamp(u.updated),
	}
}

// ofUser calls h with the user that the path names, the directory locked.
func (p *Platform) ofUser(r *http.Request, h func(*directory, *user) reply) reply {
	return p.inOrg(r, func(d *directory, o *org) reply {
		id := strings.ToLower(r.PathValue("user"))
		if !isID(id) {
			return invalid("the user id is not a UUID")
		}
		u := o.users[id]
		if u == nil {
			return notFound("user")
		}
		return h(d, u)
	})
}

// invite creates a user. As documented, the user is active at once; whether
// anybody was mailed is left open.
func (p *Platform) invite(r *http.Request) reply {
	var in struct {
		Email          string          `json:"email"`
		DisplayName    string          `json:"displayName"`
		Roles          []string        `json:"roles"`
		Metadata       json.RawMessage `json:"metadata"`
		ExpiresInHours float64         `json:"expiresInHours"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	email := strings.ToLower(strings.TrimSpace(in.Email))
	if email == "" {
		return invalid("email is required")
	}
	if a := p.inOrg(r, func(d *directory, o *org) reply {
		taken, racing := o.emails[email] != nil, d.inviting[o.id+email]
		switch {
		case racing && p.quirks.InviteRaces:
			return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "failed to create user")
		case taken || racing:
			return conflict("a user with this e-mail exists")
		}
		d.inviting[o.id+email] = true
		return ok(nil)
	}); a.status != http.StatusOK {
		return a
	}
	hashed := !p.quirks.SlowInvites || p.hash(r.Context(), p.hashCost)

	if in.ExpiresInHours <= 0 {
		in.ExpiresInHours = 72
	}
	return p.inOrg(r, func(d *directory, o *org) reply {
		delete(d.inviting, o.id+email)
		if !hashed {
			return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "the invitation was given up")
		}
		now := time.Now()
		u := &user{
			id: newID(), email: email, displayName: in.DisplayName, org: o, status: active,
			metadata: compact(in.Metadata), created: now, updated: now,
		}
		if u.displayName == "" {
			u.displayName, _, _ = strings.Cut(email, "@")
		}
		status := active
		if p.quirks.PendingInvites {
			u.status, status = invited, "pending"
			u.metadata = nil
		}
		d.addUser(u)
		return reply{status: http.StatusAccepted, body: map[string]string{
			"inviteId": u.id, "email": u.email, "status": status,
			"expiresAt": now.Add(time.Duration(in.ExpiresInHours * float64(time.Hour))).UTC().Format(time.RFC3339Nano),
		}}
	})
}

func (p *Platform) listUsers(r *http.Request) reply {
	return p.inOrg(r, func(_ *directory, o *org) reply {
		list := []userBody{}
		if p.quirks.EmptyLists {
			return ok(list)
		}
		users := slices.SortedFunc(maps.Values(o.users), func(a, b *user) int {
			if c := a.created.Compare(b.created); c != 0 {
				return c
			}
			return strings.Compare(a.email, b.email)
		})
		for _, u := range users {
			if !u.service {
				list = append(list, u.show())
			}
		}
		return ok(list)
	})
}

func (p *Platform) getUser(r *http.Request) reply {
	return p.ofUser(r, func(_ *directory, u *user) reply { return ok(u.show()) })
}

func (p *Platform) patchUser(r *http.Request) reply {
	var in struct {
		Status      string          `json:"status"`
		DisplayName string          `json:"displayName"`
		Metadata    json.RawMessage `json:"metadata"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	if in.Status != "" && in.Status != active && in.Status != suspended && in.Status != invited {
		return invalid("invalid status")
	}
	if len(in.Metadata) > 0 && in.Metadata[0] != '{' && string(in.Metadata) != "null" {
		return invalid("metadata must be an object")
	}
	return p.ofUser(r, func(_ *directory, u *user) reply {
		u.updated = time.Now()
		if in.Status != "" {
			u.status = in.Status
			if p.quirks.PatchDropsFields {
				return ok(u.show())
			}
		}
		if in.DisplayName != "" {
			u.displayName = in.DisplayName
		}
		if in.Metadata != nil {
			u.metadata = compact(in.Metadata)
		}
		return ok(u.show())
	})
}

func (p *Platform) deleteUser(r *http.Request) reply {
	return p.ofUser(r, func(d *directory, u *user) reply {
		d.removeUser(u, p.quirks.KeyCache)
		return reply{status: http.StatusNoContent}
	})
}

// serviceAccountBody is a service account as the API shows it.
type serviceAccountBody struct {
	ServiceAccountID string `json:"serviceAccountId"`
	OrgID            string `json:"orgId"`
	Name             string `json:"name"`
	Status           string `json:"status"`
	CreatedAt        string `json:"createdAt"`
}

func (u *user) showService() serviceAccountBody {
	return serviceAccountBody{u.id, u.org.id, u.displayName, u.status, stamp(u.created)}
}

func (p *Platform) createServiceAccount(r *http.Request) reply {
	var in struct {
		Name     string          `json:"name"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	if in.Name == "" {
		return invalid("name is required")
	}
	return p.inOrg(r, func(d *directory, o *org) reply {
		for _, u := range o.users {
			if u.service && u.displayName == in.Name {
				if p.quirks.TextErrors {
					return refuse(http.StatusInternalServerError, "INTERNAL_ERROR", "failed to create service account")
				}
				return conflict("a service account with this name exists")
			}
		}
		now := time.Now()
		u := &user{
			id: newID(), displayName: in.Name, org: o, service: true, status: active,
			metadata: compact(in.Metadata), created: now, updated: now,
		}
		d.addUser(u)
		return reply{status: http.StatusCreated, body: u.showService()}
	})
}

func (p *Platform) getServiceAccount(r *http.Request) reply {
	return p.ofUser(r, func(_ *directory, u *user) reply {
		if !u.service {
			return notFound("service account")
		}
		return ok(u.showService())
	})
}
