package worker

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// curve is the number of users meant to be at work for some seconds, by the
// part of them that has passed.
type curve struct {
	seconds float64
	at      func(x float64) float64
}

// TestUsersOverTimeAsThePlatformSeesThem holds what the platform itself counts
// against the scenario's pattern, for every type of pattern and of ramp: users
// who do not think have a request under way at any moment, so the distinct keys
// with one are the users at work, and those who read their last answer. That
// takes 0.4 s, in which no ramp here retires as much as half a user.
//
// The middle of every second is looked at, so that a jump is over. Ramps are
// held against the curve itself, computed here; the pattern rounds it.
func TestUsersOverTimeAsThePlatformSeesThem(t *testing.T) {
	flat := func(seconds, n float64) curve { return curve{seconds, func(float64) float64 { return n }} }
	linear := func(seconds, a, b float64) curve {
		return curve{seconds, func(x float64) float64 { return a + (b-a)*x }}
	}
	exponential := func(seconds, a, b float64) curve {
		return curve{seconds, func(x float64) float64 { return (a+1)*math.Pow((b+1)/(a+1), x) - 1 }}
	}
	smooth := func(seconds, a, b float64) curve {
		return curve{seconds, func(x float64) float64 { return a + (b-a)*(1-math.Cos(math.Pi*x))/2 }}
	}
	steps := func(seconds, a, b, n float64) curve {
		return curve{seconds, func(x float64) float64 { return a + (b-a)/n*(math.Floor(x*n)+1) }}
	}
	for name, c := range map[string]struct {
		pattern string // the scenario's loadPattern
		want    []curve
	}{
		"steady":                 {`{type: steady, phases: [{duration: 8s, targetActiveUsers: 20}]}`, []curve{flat(8, 20)}},
		"ramp up, linear":        {`{type: ramp-up, phases: [{duration: 15s, targetActiveUsers: 15}]}`, []curve{linear(15, 0, 15)}},
		"ramp up, exponential":   {`{phases: [{duration: 20s, targetActiveUsers: 15, rampStrategy: exponential}]}`, []curve{exponential(20, 0, 15)}},
		"ramp up, in five steps": {`{type: step, phases: [{duration: 10s, targetActiveUsers: 20, rampStrategy: step}]}`, []curve{steps(10, 0, 20, 5)}},
		"ramp down, linear": {`{phases: [{duration: 2s, targetActiveUsers: 15, rampStrategy: none}, {duration: 18s, targetActiveUsers: 0}]}`,
			[]curve{flat(2, 15), linear(18, 15, 0)}},
		"ramp down, exponential": {`{phases: [{duration: 2s, targetActiveUsers: 10, rampStrategy: none}, {duration: 20s, targetActiveUsers: 2, rampStrategy: exponential}]}`,
			[]curve{flat(2, 10), exponential(20, 10, 2)}},
		"ramp down, in steps": {`{type: step, phases: [{duration: 2s, targetActiveUsers: 24}, {duration: 8s, targetActiveUsers: 0, rampStrategy: step, steps: 4}]}`,
			[]curve{flat(2, 24), steps(8, 24, 0, 4)}},
		"sustained, users who go home": {`{type: sustained, phases: [{duration: 15s, targetActiveUsers: 10}]}`, []curve{flat(15, 10)}},
		"spike": {`{type: spike, phases: [{duration: 2s, targetActiveUsers: 10}, {duration: 3s, targetActiveUsers: 200}, {duration: 3s, targetActiveUsers: 10}]}`,
			[]curve{flat(2, 10), flat(3, 200), flat(3, 10)}},
		"wave, repeated": {`{type: wave, repeat: 3, phases: [{name: warm-up, duration: 2s, targetActiveUsers: 3, rampStrategy: none},
			{duration: 12s, targetActiveUsers: 9}, {duration: 12s, targetActiveUsers: 3}, {name: cool-down, duration: 2s, targetActiveUsers: 0, rampStrategy: none}]}`,
			[]curve{flat(2, 3), smooth(12, 3, 9), smooth(12, 9, 3), smooth(12, 3, 9), smooth(12, 9, 3), smooth(12, 3, 9), smooth(12, 9, 3), flat(2, 0)}},
		"phases of one's own": {`{type: custom, phases: [{duration: 2s, targetActiveUsers: 5, rampStrategy: none}, {duration: 10s, targetActiveUsers: 12},
			{duration: 3s, targetActiveUsers: 0, rampStrategy: none}, {duration: 2s, targetActiveUsers: 12, rampStrategy: none},
			{duration: 6s, targetActiveUsers: 24, rampStrategy: step, steps: 3}]}`,
			[]curve{flat(2, 5), linear(10, 5, 12), flat(3, 0), flat(2, 12), steps(6, 12, 24, 3)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				truth := ask(t, c.pattern)
				const s = time.Second
				begin, worst := time.Duration(0), 0.0
				for _, curve := range c.want {
					length := time.Duration(curve.seconds) * s
					for at := s / 2; at < length; at += s {
						active := map[string]bool{}
						for _, e := range truth {
							if e.Arrived <= begin+at && begin+at < e.Done {
								active[e.Key] = true
							}
						}
						want := curve.at(at.Seconds() / curve.seconds)
						off := math.Abs(float64(len(active)) - want)
						if worst = max(worst, off); off >= 1 && off > want/100 {
							t.Errorf("at %v the platform sees %d users, want %.2f", begin+at, len(active), want)
						}
					}
					begin += length
				}
				t.Logf("%d requests, off by %.2f users at most", len(truth), worst)
			})
		})
	}
}

// ask lets users without think time loose on a simulated platform, in the
// numbers of a load pattern, and returns what that saw.
func ask(t *testing.T, loadPattern string) []platformsim.Entry {
	t.Helper()
	s, err := config.Parse("x.yaml", []byte(`
apiVersion: loadtest.ai-aas.dev/v1
kind: LoadTestScenario
metadata: {name: x}
spec: {loadPattern: `+loadPattern+`}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	var j job
	j.load(&s.Spec)

	// Two steps of the model of 0.2 s each, one for the prompt.
	p, err := platformsim.New(platformsim.Options{
		Seed: 1, KeepTruth: 100_000, Quirks: platformsim.Quirks{DevKeys: true}, RateLimit: platformsim.RateLimit{RequestsPerSecond: 1e6},
		Models: []platformsim.Model{{Name: "m", OutputTokens: platformsim.Lengths{Min: 1, Max: 1}, Backend: llm.Config{DecodeStep: 200 * time.Millisecond, PrefillPerSecond: 1e9}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := platform.NewClient(platform.Connection{
		BaseURL: "http://platform", Wrap: func(http.RoundTripper) http.RoundTripper { return within{p.Router()} },
	}, p.Started())
	if err != nil {
		t.Fatal(err)
	}
	source, err := questions.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	script := simulator.Script{
		Source: source, Questions: simulator.Count{Min: 10_000, Max: 10_000},
		Models: []simulator.Model{{Name: "m", Weight: 1}}, MaxTokens: simulator.Fixed(1),
	}
	if j.replace {
		script.Questions, script.Loop = simulator.Count{Min: 3, Max: 3}, simulator.Loop{Max: 1}
	}
	pattern := j.pattern([]int{0}, 0)
	var users []simulator.Identity
	for i := range 2 * pattern.Peak() {
		users = append(users, simulator.Identity{
			Org: "acme", OrgIndex: 1, User: fmt.Sprint("user-", i), UserIndex: i, Keys: []secret.String{secret.New(fmt.Sprint("dev-acme-", i))},
		})
	}
	var seen outcomes
	f, err := simulator.New(simulator.Options{
		RunID: "r1", Seed: 9, Users: users, Script: script, Pattern: pattern, Replace: j.replace, Epoch: p.Started(),
		Asker: &simulator.Recorder{Asker: simulator.Direct{Client: client}, Sink: &seen, Now: client.Now},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err != nil {
		t.Error(err)
	}
	client.Close()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	truth := p.Truth()
	if seen.good.Load() != int64(len(truth)) || seen.bad.Load() > 0 {
		t.Errorf("%d requests succeeded and %d failed, of %d that the platform saw", seen.good.Load(), seen.bad.Load(), len(truth))
	}
	return truth
}

// within is a client's transport that calls a handler: no sockets, which
// virtual time knows nothing of.
type within struct{ handler http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}

// outcomes counts what became of requests.
type outcomes struct{ good, bad atomic.Int64 }

func (o *outcomes) Add(r *record.Record) {
	if r.Outcome == record.Success {
		o.good.Add(1)
	} else {
		o.bad.Add(1)
	}
}
