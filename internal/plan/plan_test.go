package plan

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func spec() Spec {
	return Spec{
		RunID: "20261123-ab12", Seed: 7, Started: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		Orgs: 3, OrgName: "loadtest-org-{index}", UserName: "user-{org}-{index}",
		Users: Users{Min: 2, Max: 2}, Workers: 1,
	}
}

func TestNames(t *testing.T) {
	orgs := Make(spec())
	want := Org{Index: 2, Name: "loadtest-org-2", Slug: "loadtest-org-2-20261123-ab12", Users: []User{
		{Index: 2, Name: "user-2-1", Email: "user-2-1@loadtest-org-2-20261123-ab12.loadtest.invalid"},
		{Index: 3, Name: "user-2-2", Email: "user-2-2@loadtest-org-2-20261123-ab12.loadtest.invalid"},
	}}
	if diff := cmp.Diff(want, orgs[1]); diff != "" {
		t.Error(diff)
	}
	s := spec()
	s.OrgName = "Ä {run} / {timestamp} #{index}"
	if got := Make(s)[0]; got.Name != "Ä 20261123-ab12 / 20261123100000 #1" || got.Slug != "20261123-ab12-20261123100000-1" {
		t.Errorf("name %q, slug %q", got.Name, got.Slug)
	}
}

func TestEveryUserHasANameAndAnAddressOfItsOwn(t *testing.T) {
	for pattern, want := range map[string]string{
		"user-{random}": `^user-[0-9a-f]{8}$`, "{run} {timestamp} {index}": `^20261123-ab12 20261123100000 [12]$`, "利用者": `^利用者$`,
	} {
		s := spec()
		s.UserName = pattern
		seen := map[string]bool{}
		for _, o := range Make(s) {
			for _, u := range o.Users {
				if !regexp.MustCompile(want).MatchString(u.Name) || strings.HasPrefix(u.Email, "@") || seen[u.Email] {
					t.Errorf("%s: user %q, %q", pattern, u.Name, u.Email)
				}
				seen[u.Email] = true
			}
		}
	}
}

func TestLongNamesStayUniqueAndUsable(t *testing.T) {
	s := spec()
	s.OrgName = "an-organization-with-a-name-that-is-much-too-long-for-any-platform-{index}"
	seen := map[string]bool{}
	for _, o := range Make(s) {
		if len(o.Slug) > 63 || seen[o.Slug] || !strings.HasSuffix(o.Slug, s.RunID) {
			t.Errorf("slug %q: %d characters", o.Slug, len(o.Slug))
		}
		seen[o.Slug] = true
	}
}

func TestOverrides(t *testing.T) {
	s := spec()
	s.Budget = Budget{LimitMicroUSD: 5}
	s.Overrides = []Override{{Index: 2, Budget: &Budget{LimitMicroUSD: 1}, Users: &Users{Min: 9, Max: 9}}}
	orgs := Make(s)
	for i, want := range []struct {
		users int
		limit int64
	}{{2, 5}, {9, 1}, {2, 5}} {
		if len(orgs[i].Users) != want.users || orgs[i].Budget.LimitMicroUSD != want.limit {
			t.Errorf("org %d: %d users, limit %d; want %+v", i+1, len(orgs[i].Users), orgs[i].Budget.LimitMicroUSD, want)
		}
	}
}

func TestPlanLaws(t *testing.T) {
	slugs := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	rapid.Check(t, func(t *rapid.T) {
		s := spec()
		s.Seed = rapid.Uint64().Draw(t, "seed")
		s.Orgs = rapid.IntRange(0, 40).Draw(t, "orgs")
		s.Workers = rapid.IntRange(1, 7).Draw(t, "workers")
		s.Spread = rapid.SampledFrom([]Spread{"", Even, Shuffled, Weighted}).Draw(t, "spread")
		s.Users.Min = rapid.IntRange(0, 20).Draw(t, "min")
		s.Users.Max = s.Users.Min + rapid.IntRange(0, 20).Draw(t, "span")
		s.Users.Distribution = rapid.SampledFrom([]Distribution{Random, Gaussian, Uniform}).Draw(t, "distribution")
		s.Whole = rapid.Bool().Draw(t, "whole")
		orgs := Make(s)
		if diff := cmp.Diff(orgs, Make(s)); diff != "" {
			t.Fatalf("not repeatable: %s", diff)
		}
		next, seen := 0, map[string]bool{}
		for _, o := range orgs {
			if !slugs.MatchString(o.Slug) || seen[o.Slug] {
				t.Fatalf("slug %q is malformed or repeated", o.Slug)
			}
			seen[o.Slug] = true
			if n := len(o.Users); n < s.Users.Min || n > s.Users.Max {
				t.Fatalf("%d users, want %d to %d", n, s.Users.Min, s.Users.Max)
			}
			for _, u := range o.Users {
				if u.Index != next {
					t.Fatalf("user index %d, want %d", u.Index, next)
				}
				next++
			}
		}
		covered, fewest, most := 0, s.Orgs, 0
		users, largest, split := make([]int, s.Workers), 0, false
		parts := make([]Org, len(orgs)) // the parts of each, put together again
		for w := range s.Workers {
			mine := ForWorker(orgs, w)
			fewest, most = min(fewest, len(mine)), max(most, len(mine))
			for _, o := range mine {
				users[w] += len(o.Users)
				whole := &parts[o.Index-1]
				if o.Part <= 1 {
					covered++
					*whole = o
					continue
				}
				if split = true; whole.Part >= o.Part || whole.Worker != o.Worker {
					t.Fatalf("worker %d has part %d of org %d, which worker %d begins, after part %d", w, o.Part, o.Index, whole.Worker, whole.Part)
				}
				whole.Part, whole.Users = o.Part, append(whole.Users, o.Users...)
			}
		}
		for i := range parts {
			largest = max(largest, len(orgs[i].Users))
			if parts[i].Part = 0; len(parts[i].Users) == 0 {
				parts[i].Users = orgs[i].Users
			}
		}
		if !reflect.DeepEqual(orgs, parts) {
			t.Fatalf("the workers' parts are not the plan: %s", cmp.Diff(orgs, parts))
		}
		alone := s.Whole || next == 0 || len(orgs) >= s.Workers && largest*s.Workers <= 2*next
		switch {
		case covered != s.Orgs:
			t.Fatalf("the workers run %d orgs of %d", covered, s.Orgs)
		case alone && split:
			t.Fatal("an org was split, though whole ones would do")
		case !alone && slices.Max(users) > slices.Min(users)+1:
			t.Fatalf("the workers have %v users", users)
		case !alone:
		case fewest == 0 && most > 1:
			t.Fatalf("a worker has none while another has %d", most)
		case s.Spread != Weighted && most > fewest+1:
			t.Fatalf("the workers have %d to %d orgs each", fewest, most)
		case s.Spread == Weighted && slices.Max(users)-slices.Min(users) > largest:
			t.Fatalf("the workers have %v users, though the largest org has %d", users, largest)
		}
	})
}

func TestSpreadOverWorkers(t *testing.T) {
	s := spec()
	s.Orgs, s.Workers = 6, 3
	for i, users := range []int{1, 9, 2, 3, 8, 7} {
		s.Overrides = append(s.Overrides, Override{Index: i + 1, Users: &Users{Min: users, Max: users}})
	}
	for spread, want := range map[Spread][]int{
		Even:     {0, 1, 2, 0, 1, 2},
		Weighted: {0, 0, 1, 2, 1, 2}, // 9, 8 and 7; then 3 to the 7, 2 to the 8 and 1 to the 9
	} {
		s.Spread = spread
		var got []int
		for _, o := range Make(s) {
			got = append(got, o.Worker)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", spread, diff)
		}
	}
	// Drawn from the seed: each org is with each worker equally often.
	const seeds = 3000
	var seen [6][3]int
	s.Spread, s.Users, s.Overrides = Shuffled, Users{}, nil
	for s.Seed = range uint64(seeds) {
		for i, o := range Make(s) {
			seen[i][o.Worker]++
		}
	}
	for i, workers := range seen {
		for w, n := range workers {
			if n < seeds/3-150 || n > seeds/3+150 {
				t.Errorf("org %d was with worker %d in %d of %d seeds", i+1, w, n, seeds)
			}
		}
	}
}

func TestLargeOrganizationsAreSplit(t *testing.T) {
	sizes := func(s Spec, users ...int) (all [][]int) {
		s.Orgs, s.Overrides = len(users), nil
		for i, n := range users {
			s.Overrides = append(s.Overrides, Override{Index: i + 1, Users: &Users{Min: n, Max: n}})
		}
		orgs := Make(s)
		for w := range s.Workers {
			var mine []int
			for _, o := range ForWorker(orgs, w) {
				mine = append(mine, o.Index, o.Part, len(o.Users))
			}
			all = append(all, mine)
		}
		return all
	}
	type parts = [][]int // of each worker: index, part, users
	s := spec()
	s.Workers = 3
	whole := s
	whole.Whole = true
	for _, tt := range []struct {
		spec Spec
		orgs []int
		want parts
	}{
		{s, []int{10}, parts{{1, 1, 4}, {1, 2, 3}, {1, 3, 3}}},
		{s, []int{4, 4}, parts{{1, 1, 3}, {1, 2, 1, 2, 1, 2}, {2, 2, 2}}},
		{s, []int{100, 2, 3}, parts{{1, 1, 35}, {1, 2, 35}, {1, 3, 30, 2, 0, 2, 3, 0, 3}}},
		{s, []int{20, 5, 5}, parts{{1, 0, 20}, {2, 0, 5}, {3, 0, 5}}}, // twice the fair share, and no more
		{s, []int{0, 6}, parts{{1, 0, 0, 2, 1, 2}, {2, 2, 2}, {2, 3, 2}}},
		{s, []int{0, 0}, parts{{1, 0, 0}, {2, 0, 0}, nil}},
		{whole, []int{10}, parts{{1, 0, 10}, nil, nil}},
	} {
		if diff := cmp.Diff(tt.want, sizes(tt.spec, tt.orgs...)); diff != "" {
			t.Errorf("orgs of %v users: %s", tt.orgs, diff)
		}
	}
}

func TestSharesSumToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "total")
		n := rapid.IntRange(1, 60).Draw(t, "workers")
		var sum, lo, hi int64 = 0, math.MaxInt64, 0
		for w := range n {
			share := Share(total, w, n)
			sum, lo, hi = sum+share, min(lo, share), max(hi, share)
		}
		if sum != total || hi-lo > 1 {
			t.Fatalf("shares of %d over %d sum to %d and differ by %d", total, n, sum, hi-lo)
		}
	})
}

func TestGaussianUsersAreGaussian(t *testing.T) {
	s := spec()
	s.Orgs, s.Users = 20_000, Users{Min: 10, Max: 70, Distribution: Gaussian}
	var sum, squares float64
	for _, o := range Make(s) {
		n := float64(len(o.Users))
		sum += n
		squares += n * n
	}
	mean := sum / float64(s.Orgs)
	sigma := math.Sqrt(squares/float64(s.Orgs) - mean*mean)
	if math.Abs(mean-40) > 0.3 || math.Abs(sigma-10) > 0.3 {
		t.Errorf("mean %.2f σ %.2f, want 40 and 10", mean, sigma)
	}
}
