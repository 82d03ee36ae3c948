package platformsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// orgBody is an organization as the API shows it.
type orgBody struct {
	OrgID     string          `json:"orgId"`
	Name      string          `json:"name"`
	Slug      string          `json:"slug"`
	Status    string          `json:"status"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Budget    *budget         `json:"budget,omitempty"`
	RateLimit *RateLimit      `json:"rateLimit,omitempty"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
}

func (o *org) show() orgBody {
	b := orgBody{
		OrgID: o.id, Name: o.name, Slug: o.slug, Status: o.status, Metadata: o.metadata,
		CreatedAt: stamp(o.created), UpdatedAt: stamp(o.updated),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.budget != (budget{}) {
		copied := o.budget
		b.Budget = &copied
	}
	if o.limit != (RateLimit{}) {
		copied := o.limit
		b.RateLimit = &copied
	}
	return b
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

var goodSlug = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// orgChange is what POST and PATCH of an organization may say.
type orgChange struct {
	Name        string          `json:"name"`
	DisplayName string          `json:"displayName"`
	Slug        string          `json:"slug"`
	Status      string          `json:"status"`
	Metadata    json.RawMessage `json:"metadata"`
	Budget      *budget         `json:"budget"`
	RateLimit   *RateLimit      `json:"rateLimit"`
}

// check returns what is wrong with the change, or "".
func (c orgChange) check() string {
	switch {
	case len(c.Metadata) > 0 && c.Metadata[0] != '{' && string(c.Metadata) != "null":
		return "metadata must be an object"
	case c.Status != "" && c.Status != active && c.Status != suspended:
		return "invalid status"
	case c.RateLimit != nil && (c.RateLimit.RequestsPerSecond < 0 || c.RateLimit.Burst < 0):
		return "a rate limit must not be negative"
	}
	return ""
}

// apply books the change on o, as far as this face knows its fields.
func (p *Platform) apply(o *org, c orgChange) {
	if c.Metadata != nil {
		o.metadata = compact(c.Metadata)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.Budget != nil && !p.quirks.NoBudgets {
		o.budget = *c.Budget
	}
	if c.RateLimit != nil && !p.quirks.NoOrgRateLimit {
		o.limit = *c.RateLimit
	}
	limit := o.limit
	if limit.RequestsPerSecond == 0 {
		limit = p.rateLimit
	}
	o.rate = limit.rate(p.defects)
}

func compact(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return nil
	}
	return b.Bytes()
}

func (p *Platform) createOrg(r *http.Request) reply {
	var in orgChange
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	slug := strings.ToLower(strings.TrimSpace(in.Slug))
	name := strings.TrimSpace(in.Name)
	in.Status = ""
	switch complaint := in.check(); {
	case name == "" || slug == "":
		return invalid("name and slug are required")
	case !p.quirks.AnySlug && (len(slug) > 63 || !goodSlug.MatchString(slug)):
		return invalid("a slug is made of a-z, 0-9 and single dashes, and has 63 characters at most")
	case complaint != "":
		return invalid(complaint)
	}
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slugs[slug] != nil || slug == d.home.slug {
		return conflict("an organization with this slug exists")
	}
	o := newOrg(slug, name, time.Now())
	p.apply(o, in)
	d.addOrg(o)
	return reply{status: http.StatusCreated, body: o.show()}
}

func (p *Platform) listOrgs(*http.Request) reply {
	list := []orgBody{}
	if !p.quirks.EmptyLists {
		d := p.dir.Load()
		d.mu.RLock()
		defer d.mu.RUnlock()
		for _, o := range d.sortedOrgs() {
			list = append(list, o.show())
		}
	}
	return ok(list)
}

// inOrg calls h with the organization that the path names, the directory
// locked.
func (p *Platform) inOrg(r *http.Request, h func(*directory, *org) reply) reply {
	d := p.dir.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.org(r.PathValue("org"))
	if o == nil {
		return notFound("organization")
	}
	return h(d, o)
}

func (p *Platform) getOrg(r *http.Request) reply {
	a := p.inOrg(r, func(_ *directory, o *org) reply { return ok(o.show()) })
	if a.status == http.StatusNotFound && p.quirks.GhostOrgs {
		never := stamp(time.Time{})
		return ok(orgBody{OrgID: zeroID, CreatedAt: never, UpdatedAt: never})
	}
	return a
}

func (p *Platform) patchOrg(r *http.Request) reply {
	var in orgChange
	if err := read(r, &in, true); err != nil {
		return invalid(err.Error())
	}
	if complaint := in.check(); complaint != "" {
		return invalid(complaint)
	}
	a := p.inOrg(r, func(_ *directory, o *org) reply {
		if name := strings.TrimSpace(in.DisplayName + in.Name); name != "" {
			o.name = name
		}
		if in.Status != "" {
			o.status = in.Status
		}
		p.apply(o, in)
		o.updated = time.Now()
		return ok(o.show())
	})
	if a.status == http.StatusNotFound && p.quirks.GhostOrgs {
		return conflict("the organization was modified concurrently")
	}
	return a
}

// deleteOrg deletes an organization with its users and keys; the slug is
// free again.
func (p *Platform) deleteOrg(r *http.Request) reply {
	return p.inOrg(r, func(d *directory, o *org) reply {
		d.removeOrg(o, p.quirks.KeyCache)
		return reply{status: http.StatusNoContent}
	})
}

// budgetBody is an organization's budget and what is left of it.
type budgetBody struct {
	budget
	SpentUSD      usd  `json:"spentUSD"`
	SpentTodayUSD usd  `json:"spentTodayUSD"`
	RemainingUSD  *usd `json:"remainingUSD,omitempty"` // under the tighter of the limits
	Warning       bool `json:"warning"`                // warnAtUSD was reached
	Exhausted     bool `json:"exhausted"`              // requests are refused with 402
}

func (p *Platform) getBudget(r *http.Request) reply {
	return p.inOrg(r, func(_ *directory, o *org) reply {
		o.mu.Lock()
		defer o.mu.Unlock()
		now := time.Now()
		account := p.account(o)
		o.spent.roll(now)
		b := budgetBody{budget: o.budget, Exhausted: o.budget.check(account, now) != nil}
		b.SpentUSD, b.SpentTodayUSD = usd(o.spent.total), usd(o.spent.today)
		b.Warning = b.WarnAtUSD > 0 && b.SpentUSD >= b.WarnAtUSD
		left := func(limit usd, spent int64) {
			if limit == 0 {
				return
			}
			if rest := max(0, limit-usd(spent)); b.RemainingUSD == nil || rest < *b.RemainingUSD {
				b.RemainingUSD = &rest
			}
		}
		left(o.budget.LimitUSD, account.total)
		left(o.budget.DailyUSD, account.today)
		return ok(b)
	})
}

func (p *Platform) getUsage(r *http.Request) reply {
	return p.inOrg(r, func(_ *directory, o *org) reply {
		o.mu.Lock()
		defer o.mu.Unlock()
		return ok(struct {
			usage
			SpentUSD usd `json:"spentUSD"`
		}{o.usage, usd(o.spent.total)})
	})
}
