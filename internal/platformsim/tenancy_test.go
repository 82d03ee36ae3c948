package platformsim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// The tool's own client gets along with both faces.
func TestTenancyOnBothFaces(t *testing.T) {
	for name, c := range map[string]struct {
		quirks  platformsim.Quirks
		removal platform.Removal
		orgs    int // left behind
	}{
		"documented": {platformsim.Quirks{}, platform.Deleted, 0},
		"observed":   {platformsim.AsObserved(), platform.Disabled, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, platformsim.Options{Models: instant(), Quirks: c.quirks, HashCost: time.Millisecond})
			tenancy, err := platform.NewTenancy(platform.Connection{BaseURL: p.UserOrgURL()},
				platform.Admin{Key: p.AdminKey(), Email: p.AdminEmail(), Password: p.AdminPassword()})
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			org, err := tenancy.CreateOrg(ctx, platform.NewOrg{Name: "Acme", Slug: "acme-r1", Metadata: map[string]any{platform.RunKey: "r1"}, Budget: platform.Budget{LimitMicroUSD: 1e6}})
			must(err)
			user, err := tenancy.InviteUser(ctx, org, "ann@acme.invalid", nil, nil)
			must(err)
			key, err := tenancy.IssueKey(ctx, org, user, platform.NewKey{Name: "k", RateLimit: platform.RateLimit{RequestsPerSecond: 50, Burst: 60}})
			must(err)
			if a := (member{key: key.Secret.Reveal()}).ask(p, chatPath, hello); a.status != 200 {
				t.Errorf("the key: %d %s", a.status, a.body)
			}
			if ignored := strings.Contains(strings.Join(tenancy.Notes(), "\n"), "rate limits of single keys are not kept"); ignored != (name == "observed") {
				t.Errorf("notes: %q", tenancy.Notes())
			}
			removed := func(r platform.Removal, err error) {
				t.Helper()
				must(err)
				if r != c.removal {
					t.Errorf("%v, want %v", r, c.removal)
				}
			}
			removed(tenancy.RemoveKey(ctx, org, user, key.ID))
			removed(tenancy.RemoveUser(ctx, org, user))
			removed(tenancy.RemoveOrg(ctx, org))
			must(tenancy.Close(ctx))
			if s := p.State(); s.ActiveKeys != 0 || s.Orgs != c.orgs || len(s.Suspended) != c.orgs {
				t.Errorf("left behind: %+v", s)
			}
		})
	}
}
