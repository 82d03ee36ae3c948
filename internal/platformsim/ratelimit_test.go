package platformsim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// limited runs f with a platform whose clock is the bubble's.
func limited(t *testing.T, o platformsim.Options, f func(t *testing.T, p *platformsim.Platform, m member)) {
	synctest.Test(t, func(t *testing.T) {
		o.Models = instant()
		p, err := platformsim.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		f(t, p, tenant(t, p, "acme", nil))
	})
}

func limit(rps float64, burst int) platformsim.Options {
	return platformsim.Options{RateLimit: platformsim.RateLimit{RequestsPerSecond: rps, Burst: burst}}
}

// passed sends n requests, one every gap, and counts those that passed.
func passed(p *platformsim.Platform, m member, n int, gap func() time.Duration) (ok int) {
	for range n {
		if m.ask(p, chatPath, hello).status == 200 {
			ok++
		}
		time.Sleep(gap())
	}
	return ok
}

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestLimiterIsExact(t *testing.T) {
	for _, c := range []struct {
		name    string
		rps     float64
		burst   int
		n       int
		gap     time.Duration
		want    int
		defects platformsim.Defects
	}{
		{name: "at the rate all pass", rps: 10, burst: 1, n: 200, gap: 100 * time.Millisecond, want: 200},
		{name: "a nanosecond too soon", rps: 10, burst: 1, n: 2, gap: 100*time.Millisecond - 1, want: 1},
		{name: "burst at once", rps: 10, burst: 20, n: 50, want: 20},
		// 240 requests in 8 s: the burst, and what 7.967 s bring.
		{name: "above the rate", rps: 10, burst: 20, n: 240, gap: time.Second / 30, want: 20 + 79},
		{name: "a third", rps: 1. / 3, burst: 1, n: 10, gap: time.Second, want: 4},
		{name: "burst by default is the rate", rps: 4, n: 10, want: 4},
		{name: "the lax one lets a fifth more through", rps: 10, burst: 1, n: 1000, gap: 10 * time.Millisecond, want: 112,
			defects: platformsim.Defects{LaxLimiter: true}}, // calls come every 10 ms, tokens every 83.3: a pass every 90
	} {
		t.Run(c.name, func(t *testing.T) {
			o := limit(c.rps, c.burst)
			o.Defects = c.defects
			limited(t, o, func(t *testing.T, p *platformsim.Platform, m member) {
				if got := passed(p, m, c.n, every(c.gap)); got != c.want {
					t.Errorf("%d of %d passed, want %d", got, c.n, c.want)
				}
			})
		})
	}
}

func TestRetryAfterIsRight(t *testing.T) {
	limited(t, limit(0.4, 1), func(t *testing.T, p *platformsim.Platform, m member) {
		first := m.ask(p, chatPath, hello)
		if first.header.Get("X-Ratelimit-Limit") != "0.4" || first.header.Get("X-Ratelimit-Remaining") != "0" {
			t.Errorf("headers: %v", first.header)
		}
		time.Sleep(time.Millisecond)
		a := m.ask(p, chatPath, hello)
		if a.status != 429 || a.text(t, "code") != "RATE_LIMIT_EXCEEDED" || a.header.Get("Retry-After") != "3" ||
			a.field(t, "retry_after_seconds") != 2.499 || a.field(t, "limit_context.limit") != 1.0 ||
			a.field(t, "limit_context.remaining") != 0.0 || a.field(t, "limit_context.current_usage") != 1.0 {
			t.Errorf("refused: %d %v %s", a.status, a.header, a.body)
		}
		time.Sleep(2498 * time.Millisecond)
		if a := m.ask(p, chatPath, hello); a.status != 429 {
			t.Errorf("a millisecond too soon: %d", a.status)
		}
		time.Sleep(time.Millisecond)
		if a := m.ask(p, chatPath, hello); a.status != 200 {
			t.Errorf("in time: %d %s", a.status, a.body)
		}
	})
}

func TestLimitIsPerOrgAndPerKey(t *testing.T) {
	limited(t, limit(10, 10), func(t *testing.T, p *platformsim.Platform, m member) {
		mate := m.withUser(t, asAdmin(t, p), "mate@acme.invalid")
		other := tenant(t, p, "other", nil)
		if n := passed(p, m, 6, every(0)); n != 6 {
			t.Errorf("first key: %d of 6", n)
		}
		if n := passed(p, mate, 6, every(0)); n != 4 {
			t.Errorf("second key of the org: %d of 6, want the 4 that are left", n)
		}
		if n := passed(p, other, 12, every(0)); n != 10 {
			t.Errorf("another org: %d of 12, want its own 10", n)
		}
		// A limit of the org's own, from now on.
		asAdmin(t, p).do("PATCH", "/v1/orgs/other", `{"rateLimit":{"requestsPerSecond":1000,"burst":50}}`)
		time.Sleep(time.Second)
		if n := passed(p, other, 60, every(0)); n != 50 {
			t.Errorf("with a limit of its own: %d of 60, want 50", n)
		}
		// Lists of models are free.
		if a := do(p.Router(), "GET", "/v1/models", "", "X-API-Key", m.key); a.status != 200 {
			t.Errorf("models: %d", a.status)
		}
	})
}

// TestLimitOfAKeysOwn: it holds beside that of its organization, or without one.
func TestLimitOfAKeysOwn(t *testing.T) {
	for name, lossy := range map[string]bool{"exact": false, "lossy": true} {
		for _, org := range []int{0, 8} {
			t.Run(fmt.Sprint(name, ", the organization's ", org), func(t *testing.T) {
				o := limit(float64(org), org)
				o.Quirks.LimiterLosesFractions = lossy
				limited(t, o, func(t *testing.T, p *platformsim.Platform, m member) {
					a, path := asAdmin(t, p), "/v1/orgs/acme/users/"+m.user+"/keys"
					if got := a.do("POST", path, `{"rateLimit":{"requestsPerSecond":-1}}`).status; got != 400 {
						t.Errorf("a negative limit: %d", got)
					}
					issued := a.do("POST", path, `{"rateLimit":{"requestsPerSecond":0.5,"burst":3}}`)
					if issued.field(t, "rateLimit.burst") != 3.0 {
						t.Errorf("issued: %s", issued.body)
					}
					slow := member{key: issued.text(t, "secret")}
					if n := passed(p, slow, 4, every(0)); n != 3 {
						t.Errorf("%d of 4 passed, want 3", n)
					}
					refused := slow.ask(p, chatPath, hello)
					if refused.header.Get("X-Ratelimit-Limit") != "0.5" || refused.header.Get("X-Ratelimit-Remaining") != "0" || refused.header.Get("Retry-After") != "2" {
						t.Errorf("refused: %v", refused.header)
					}
					want := 20 // no limit
					if org > 0 {
						want = org - 3
					}
					if lossy && org > 0 {
						want -= 2 // those refused to the other key cost the organization's tokens all the same
					}
					if n := passed(p, m, 20, every(0)); n != want {
						t.Errorf("%d of the other key's 20 passed, want %d", n, want)
					}
					time.Sleep(2 * time.Second)
					if n := passed(p, slow, 4, every(0)); n != 1 {
						t.Errorf("after two seconds %d passed, want 1", n)
					}
				})
			})
		}
	}
}

// The measurements of the real limiter, from the platform's contract.
func TestLimiterThatLosesFractions(t *testing.T) {
	lossy := func(rps float64, burst int) platformsim.Options {
		o := limit(rps, burst)
		o.Quirks.LimiterLosesFractions = true
		return o
	}
	limited(t, lossy(10, 20), func(t *testing.T, p *platformsim.Platform, m member) {
		if n := passed(p, m, 240, every(time.Second/30)); n != 20 {
			t.Errorf("a steady 30/s at 10 rps: %d passed, want the burst of 20", n)
		}
	})
	limited(t, lossy(10, 20), func(t *testing.T, p *platformsim.Platform, m member) {
		if n := passed(p, m, 90, every(time.Second/9)); n != 90 {
			t.Errorf("9/s at 10 rps: %d of 90 passed", n)
		}
	})
	limited(t, lossy(10, 20), func(t *testing.T, p *platformsim.Platform, m member) {
		mate := m.withUser(t, asAdmin(t, p), "mate@acme.invalid")
		n := 0
		for range 80 { // two keys at 8/s each, in turn
			n += passed(p, m, 1, every(time.Second/16)) + passed(p, mate, 1, every(time.Second/16))
		}
		if n != 20 {
			t.Errorf("two keys at 8/s each: %d passed, want the burst of 20", n)
		}
	})
	limited(t, lossy(100, 200), func(t *testing.T, p *platformsim.Platform, m member) {
		rng := rand.New(rand.NewPCG(1, 2))
		began := time.Now()
		n := passed(p, m, 85*60, func() time.Duration { return time.Duration(rng.ExpFloat64() / 85 * float64(time.Second)) })
		if rate := float64(n) / time.Since(began).Seconds(); rate < 60 || rate > 70 {
			t.Errorf("Poisson arrivals of 85/s at 100 rps: %.1f/s passed, want about 65", rate)
		}
	})
}
