// Package plan decides who does what: which organizations and users there
// are, what they are called, and which worker runs them.
//
// It is pure: the same [Spec] gives the same plan on every machine, so that
// fifty workers agree without talking to each other.
package plan

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Distribution says how the number of users per organization is drawn.
type Distribution string

// The distributions of users over organizations.
const (
	Random   Distribution = "random"   // any number between min and max, equally likely
	Gaussian Distribution = "gaussian" // around the middle, σ = (max−min)/6, kept within min and max
	Uniform  Distribution = "uniform"  // every organization the mean of min and max
)

// Spread says which worker runs an organization that is run whole.
type Spread string

// The ways to spread whole organizations over workers. Under each of them,
// nobody has two while another has none.
const (
	Even     Spread = "even"     // in turn: 1 to the first, 2 to the second …
	Shuffled Spread = "random"   // in turn, in an order that is drawn from the seed
	Weighted Spread = "weighted" // the largest first, each to whom has the fewest users by then
)

// Budget is what an organization may spend. Zero fields are not set.
type Budget struct {
	LimitMicroUSD  int64
	DailyMicroUSD  int64
	WarnAtMicroUSD int64
	EnableAlerts   bool
}

// Users says how many users an organization gets.
type Users struct {
	Min, Max     int
	Distribution Distribution
}

// Override makes one organization different. Nil fields change nothing.
type Override struct {
	Index  int // 1-based
	Budget *Budget
	Users  *Users
}

// Spec is everything the plan depends on.
type Spec struct {
	RunID     string
	Seed      uint64
	Started   time.Time // for {timestamp} in names
	Orgs      int
	OrgName   string // pattern: {index}, {timestamp}, {random}, {run}
	Budget    Budget
	Overrides []Override
	Users     Users
	UserName  string // pattern: {org} (index of the org), {index}, {timestamp}, {random}, {run}
	Workers   int    // at least 1
	Spread    Spread // over the workers; empty is Even
	Whole     bool   // no organization is split, whatever that does to the balance
}

// Org is one planned organization.
type Org struct {
	Index  int    // 1-based over the whole run
	Name   string // as the pattern says
	Slug   string // unique per run, [a-z0-9-] only: platforms that cannot delete keep slugs for ever
	Budget Budget
	Worker int // who runs it, 0-based; if it is split, who has its first users
	// Part tells the parts of one that is split, from 1, as [ForWorker] returns
	// them; 0 is the whole.
	Part  int
	Users []User
}

// User is one planned user.
type User struct {
	Index  int // 0-based over the whole run
	Worker int // who runs him, 0-based
	Name   string
	Email  string
}

// Make draws the whole plan.
func Make(s Spec) []Org {
	orgs := make([]Org, 0, s.Orgs)
	next := 0
	for i := 1; i <= s.Orgs; i++ {
		rng := rand.New(rand.NewPCG(s.Seed, uint64(i)))
		org := Org{Index: i, Budget: s.Budget}
		users := s.Users
		for _, o := range s.Overrides {
			if o.Index != i {
				continue
			}
			if o.Budget != nil {
				org.Budget = *o.Budget
			}
			if o.Users != nil {
				users = *o.Users
			}
		}
		name := func(pattern string, index int) string {
			return expand(pattern, map[string]string{
				"org":       strconv.Itoa(i),
				"index":     strconv.Itoa(index),
				"timestamp": s.Started.UTC().Format("20060102150405"),
				"random":    fmt.Sprintf("%08x", rng.Uint32()),
				"run":       s.RunID,
			})
		}
		org.Name = name(s.OrgName, i)
		org.Slug = OrgSlug(org.Name, s.RunID, i)
		count := draw(users, rng)
		for n := 1; n <= count; n++ {
			user := User{Index: next, Name: name(s.UserName, n)}
			user.Email = cmp.Or(slug(user.Name), strconv.Itoa(n)) + "@" + org.Slug + ".loadtest.invalid"
			org.Users = append(org.Users, user)
			next++
		}
		orgs = append(orgs, org)
	}
	spread(orgs, s)
	return orgs
}

// spread decides who runs each organization, and so each user.
func spread(orgs []Org, s Spec) {
	workers := max(1, s.Workers)
	if split(orgs, s, workers) {
		return
	}
	order := make([]int, len(orgs)) // in which they are given out
	for i := range order {
		order[i] = i
	}
	switch s.Spread {
	case Shuffled:
		// 0 is the index of no organization.
		rand.New(rand.NewPCG(s.Seed, 0)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	case Weighted:
		slices.SortStableFunc(order, func(a, b int) int { return len(orgs[b].Users) - len(orgs[a].Users) })
	case Even:
	}
	type load struct{ users, orgs int }
	has := make([]load, workers)
	for n, i := range order {
		w := n % workers
		if s.Spread == Weighted {
			w = 0
			for other := range has {
				if cmp.Or(has[other].users-has[w].users, has[other].orgs-has[w].orgs) < 0 {
					w = other
				}
			}
		}
		orgs[i].Worker = w
		for u := range orgs[i].Users {
			orgs[i].Users[u].Worker = w
		}
		has[w] = load{has[w].users + len(orgs[i].Users), has[w].orgs + 1}
	}
}

// unbalanced is how many times its fair share of all users a worker may have
// before organizations are split.
const unbalanced = 2

// split gives each worker users who follow each other, as many as any other has
// or one more, whatever organizations they are of. It does nothing, and reports
// that, where whole organizations do: there is one for each worker, and none is
// too large for one.
func split(orgs []Org, s Spec, workers int) bool {
	all, largest := 0, 0
	for _, o := range orgs {
		all, largest = all+len(o.Users), max(largest, len(o.Users))
	}
	if s.Whole || all == 0 || len(orgs) >= workers && largest*workers <= unbalanced*all {
		return false
	}
	next := 0
	for i := range orgs {
		orgs[i].Worker = min(next, all-1) * workers / all
		for u := range orgs[i].Users {
			orgs[i].Users[u].Worker = next * workers / all
			next++
		}
	}
	return true
}

// maxSlug is the length of a DNS label, which platforms make of a slug.
const maxSlug = 63

// OrgSlug makes a slug of a name. It carries the run's id, so that it is new on
// a platform that cannot delete; a name that must be cut short is told apart by
// the org's index.
func OrgSlug(name, run string, index int) string {
	full := slug(name)
	if !strings.Contains(full, slug(run)) {
		full = slug(name + "-" + run)
	}
	if len(full) <= maxSlug {
		return full
	}
	end := slug(fmt.Sprintf("%d-%s", index, run))
	return slug(full[:max(0, maxSlug-1-len(end))] + "-" + end)
}

// draw returns how many users one organization gets.
func draw(u Users, rng *rand.Rand) int {
	lo, hi := max(0, u.Min), max(u.Min, u.Max)
	switch u.Distribution {
	case Gaussian:
		mean, sigma := float64(lo+hi)/2, float64(hi-lo)/6
		n := int(math.Round(mean + sigma*rng.NormFloat64()))
		return min(max(n, lo), hi)
	case Uniform:
		return int(math.Round(float64(lo+hi) / 2))
	default:
		return lo + rng.IntN(hi-lo+1)
	}
}

func expand(pattern string, vars map[string]string) string {
	for k, v := range vars {
		pattern = strings.ReplaceAll(pattern, "{"+k+"}", v)
	}
	return pattern
}

// slug keeps [a-z0-9] and turns every run of anything else into one dash.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

// ForWorker returns what one worker runs: organizations, each with the users
// that are his.
func ForWorker(orgs []Org, worker int) []Org {
	var mine []Org
	for _, o := range orgs {
		part := o
		part.Users = nil
		for _, u := range o.Users {
			if u.Worker == worker {
				part.Users = append(part.Users, u)
			}
		}
		if n := len(o.Users); n > 0 && o.Users[n-1].Worker != o.Worker {
			part.Part = worker - o.Worker + 1
		}
		if o.Worker == worker || len(part.Users) > 0 {
			mine = append(mine, part)
		}
	}
	return mine
}

// Share splits total over n workers as evenly as whole numbers allow; the
// shares of all workers sum to total.
func Share(total int64, worker, n int) int64 {
	if n <= 1 {
		return total
	}
	share := total / int64(n)
	if int64(worker) < total%int64(n) {
		share++
	}
	return share
}
