package ledger

import (
	"cmp"
	"slices"
)

// State is how far an outstanding thing has come.
type State uint8

// The states.
const (
	Unconfirmed State = iota + 1 // to be created; whether it was is not known
	Existing                     // created
	Suspended                    // disabled, but something under it is not
	Unknown                      // only what is under it was written down
)

// OutstandingOrg is an organization that is still to be removed, or has
// something under it that is.
type OutstandingOrg struct {
	Slug  string
	ID    string // empty if Unconfirmed
	State State
	Part  int // as that of its [Entry]
	Users []OutstandingUser
}

// OutstandingUser is a user of such an organization.
type OutstandingUser struct {
	Email string // as planned
	ID    string // empty if Unconfirmed
	State State
	Keys  []OutstandingKey
}

// OutstandingKey is a key of such a user.
type OutstandingKey struct {
	Name  string
	ID    string // empty if Unconfirmed
	State State  // Unconfirmed or Existing
}

// Outstanding returns what is still to be removed, in the order of creation.
func (l *Ledger) Outstanding() []OutstandingOrg {
	l.mu.Lock()
	defer l.mu.Unlock()
	var orgs []OutstandingOrg
	for slug, o := range inOrder(l.tree) {
		org := OutstandingOrg{Slug: slug, ID: o.id, State: o.state(), Part: o.part}
		for email, u := range inOrder(o.under) {
			user := OutstandingUser{Email: email, ID: u.id, State: u.state()}
			for name, k := range inOrder(u.under) {
				if k.remains() {
					user.Keys = append(user.Keys, OutstandingKey{Name: name, ID: k.id, State: k.state()})
				}
			}
			if u.remains() || len(user.Keys) > 0 {
				org.Users = append(org.Users, user)
			}
		}
		if o.remains() || len(org.Users) > 0 {
			orgs = append(orgs, org)
		}
	}
	return orgs
}

// Count returns how many organizations, users and keys are outstanding.
func Count(orgs []OutstandingOrg) (n int) {
	for _, o := range orgs {
		if o.State == Unconfirmed || o.State == Existing {
			n++
		}
		for _, u := range o.Users {
			if u.State == Unconfirmed || u.State == Existing {
				n++
			}
			n += len(u.Keys)
		}
	}
	return n
}

// tree is the things of one level by name: organizations, the users of one,
// the keys of one user.
type tree map[string]*node

type node struct {
	order int // of appearance
	op    Op  // the last step; empty if only something under it was written
	id    string
	part  int
	under tree
}

func newTree() tree { return tree{} }

func (t tree) at(name string) *node {
	n := t[name]
	if n == nil {
		n = &node{order: len(t), under: tree{}}
		t[name] = n
	}
	return n
}

func (t tree) apply(e Entry) {
	n := t.at(e.Slug)
	if e.Kind != OrgKind {
		n = n.under.at(e.Email)
	}
	if e.Kind == KeyKind {
		n = n.under.at(e.Name)
	}
	switch {
	case e.Op == Intend && n.op == Created:
		// Intended again, by a run that was started again: it still exists.
	case e.Op == Removed:
		*n = node{order: n.order, op: Removed, under: tree{}}
	default:
		n.op = e.Op
		n.part = max(n.part, e.Part)
		if e.ID != "" {
			n.id = e.ID
		}
	}
}

func (n *node) remains() bool { return n.op == Intend || n.op == Created }

func (n *node) state() State {
	switch n.op {
	case Intend:
		return Unconfirmed
	case Created:
		return Existing
	case Disabled:
		return Suspended
	default:
		return Unknown
	}
}

// inOrder iterates over a level in order of appearance.
func inOrder(t tree) func(yield func(string, *node) bool) {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(t[a].order, t[b].order) })
	return func(yield func(string, *node) bool) {
		for _, name := range names {
			if !yield(name, t[name]) {
				return
			}
		}
	}
}
