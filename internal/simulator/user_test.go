package simulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// runOnce runs users through a script and returns what they asked.
func runOnce(t *testing.T, l *llm, o Options) (*Fleet, []asked) {
	t.Helper()
	f := newFleet(t, l, o)
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, l.asked
}

func TestAnHourOfThinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Think = Fixed(3600)
		_, got := runOnce(t, &llm{service: 2 * time.Second}, Options{Users: population(1, 1), Script: s})
		if len(got) != 10 {
			t.Fatalf("%d questions, want 10", len(got))
		}
		for i, a := range got {
			want := time.Duration(i) * (time.Hour + 2*time.Second)
			if a.Scheduled != want || a.At != want {
				t.Errorf("question %d was due at %v and asked at %v, want %v", i, a.Scheduled, a.At, want)
			}
			if a.Request.ID != fmt.Sprintf("run-0-%d", i) || a.Request.Endpoint != platform.Chat || a.Phase != loadpattern.Steady || !a.Measured {
				t.Errorf("question %d: %+v", i, a)
			}
		}
	})
}

// TestContextOverTenTurns is a conversation as the platform sees it.
func TestContextOverTenTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.MultiTurn, s.Turns, s.Context = 1, Count{Min: 10, Max: 10}, -1
		_, got := runOnce(t, &llm{}, Options{Users: population(1, 1), Script: s})
		for i, a := range got {
			if a.Turn != i || len(a.Messages) != 2*i+1 || a.Request.Model != "m" {
				t.Fatalf("turn %d is marked %d and carries %d messages, want %d", i, a.Turn, len(a.Messages), 2*i+1)
			}
			for earlier := range i {
				question, answer := a.Messages[2*earlier], a.Messages[2*earlier+1]
				own := got[earlier].Messages[2*earlier]
				if question != own || answer.Content != "Answer to: "+own.Content || answer.Role != "assistant" {
					t.Fatalf("turn %d does not carry turn %d: %v, %v", i, earlier, question, answer)
				}
			}
		}
	})
}

func TestConversationsAreAsFrequentAndLongAsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Questions = Count{Min: 3000, Max: 3000}
		s.MultiTurn, s.Turns = 0.3, Count{Min: 2, Max: 6}
		_, got := runOnce(t, &llm{}, Options{Users: population(1, 2), Script: s})
		conversations, long, turns := 0.0, 0.0, 0.0
		for _, a := range got {
			switch a.Turn {
			case 0:
				conversations++
			case 1:
				long++
				turns += 2
			default:
				turns++
			}
		}
		if share := long / conversations; math.Abs(share-0.3) > 0.03 {
			t.Errorf("%.3f of the conversations have several turns, want 0.3", share)
		}
		if mean := turns / long; math.Abs(mean-4) > 0.2 {
			t.Errorf("they have %.2f turns on average, want 4", mean)
		}
	})
}

func TestRequestsFollowTheScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Questions = Count{Min: 2000, Max: 2000}
		s.Models = []Model{{"small", 1}}
		s.Targets = []Target{{func(q questions.Question) bool { return q.Complex }, []Model{{"large", 3}, {"huge", 1}, {"never", 0}}}}
		s.StreamingRatio = 0.25
		s.MaxTokens = Number{Min: 100, Max: 300}
		s.Temperature = &Number{Base: 0.7, Variance: 0.1, Distribution: Gaussian}
		s.Salt = Salt{Strategy: SaltOrg}
		users := population(1, 1)
		users[0].Keys = []secret.String{secret.New("k0"), secret.New("k1"), secret.New("k2")}
		_, got := runOnce(t, &llm{}, Options{Users: users, Script: s})
		models, streams, tokens, temperature := map[string]float64{}, 0.0, 0.0, 0.0
		for i, a := range got {
			models[a.Request.Model]++
			if a.Request.Stream {
				streams++
			}
			if a.Request.MaxTokens < 100 || a.Request.MaxTokens > 300 || !a.Request.HasTemperature {
				t.Fatalf("request %+v", a.Request)
			}
			tokens += float64(a.Request.MaxTokens) / float64(len(got))
			temperature += a.Request.Temperature / float64(len(got))
			if a.Request.CacheSalt != "org-a" || a.Request.Key.Reveal() != fmt.Sprint("k", i%3) {
				t.Fatalf("request %d has the salt %q or the wrong key", i, a.Request.CacheSalt)
			}
		}
		if share := streams / 2000; math.Abs(share-0.25) > 0.04 {
			t.Errorf("%.3f of the requests ask for a stream, want 0.25", share)
		}
		if math.Abs(tokens-200) > 5 || math.Abs(temperature-0.7) > 0.01 {
			t.Errorf("max tokens %.1f and temperature %.3f on average, want 200 and 0.7", tokens, temperature)
		}
		if ratio := models["large"] / models["huge"]; math.Abs(ratio-3) > 0.6 || models["never"] > 0 || models["small"] < 300 {
			t.Errorf("models %v; want large three times as often as huge, and small for simple questions", models)
		}
	})
}

func TestSalts(t *testing.T) {
	id := Identity{Org: "acme", User: "ann"}
	for _, tt := range []struct {
		salt Salt
		want string
	}{
		{Salt{}, ""}, {Salt{Strategy: SaltOrg}, "acme"}, {Salt{Strategy: SaltUser}, "acme/ann"},
		{Salt{Strategy: SaltCustom, Custom: "pepper"}, "pepper"},
	} {
		if got := tt.salt.For(id); got != tt.want {
			t.Errorf("%+v gives %q, want %q", tt.salt, got, tt.want)
		}
	}
}

func TestOtherEndpoints(t *testing.T) {
	for _, endpoint := range []platform.Endpoint{platform.Completions, platform.Embeddings} {
		synctest.Test(t, func(t *testing.T) {
			s := once(script(t))
			s.Endpoint, s.MultiTurn, s.Turns, s.StreamingRatio, s.MaxTokens = endpoint, 1, Count{Min: 5, Max: 5}, 1, Fixed(64)
			f := newFleet(t, nil, Options{Users: population(1, 1), Script: s, Asker: AskerFunc(func(_ context.Context, c *Call) error {
				req := c.Request
				embeds := endpoint == platform.Embeddings
				if req.Endpoint != endpoint || req.Input == "" || len(req.Messages) > 0 || req.Stream == embeds || (req.MaxTokens == 0) != embeds || c.Turn != 0 {
					t.Errorf("%s: %+v, turn %d", endpoint, req, c.Turn)
				}
				return nil
			})})
			if err := f.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func texts(got []asked) string {
	var b strings.Builder
	for _, a := range got {
		fmt.Fprintln(&b, a.Request.ID, a.Request.Model, a.Request.Stream, a.Request.MaxTokens, a.Messages[len(a.Messages)-1].Content)
	}
	return b.String()
}

// TestARunCanBeRepeated: the same seed asks the same, whatever was answered.
func TestARunCanBeRepeated(t *testing.T) {
	ask := func(seed uint64, fails func(int) error) string {
		var out string
		synctest.Test(t, func(t *testing.T) {
			s := once(script(t))
			s.MultiTurn, s.Turns, s.StreamingRatio = 0.5, Count{Min: 2, Max: 4}, 0.5
			s.Think = Number{Base: 5, Variance: 2, Min: 1, Max: 9, Distribution: Gaussian}
			l := &llm{service: time.Second, fails: fails}
			f := newFleet(t, l, Options{Seed: seed, Users: population(1, 1), Script: s})
			f.opt.Asker = &Retry{Asker: l, RetryPolicy: RetryPolicy{Attempts: 2}, Now: f.now}
			if err := f.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			firsts := l.asked[:0]
			for _, a := range l.asked {
				if a.Attempt == 1 {
					firsts = append(firsts, a)
				}
			}
			out = texts(firsts)
		})
		return out
	}
	first := ask(7, nil)
	if again := ask(7, nil); again != first {
		t.Errorf("the same seed asked\n%s\nand then\n%s", first, again)
	}
	if failing := ask(7, func(n int) error { return []error{nil, kind(record.Timeout)}[n%2] }); failing != first {
		t.Errorf("failures changed the questions from\n%s\nto\n%s", first, failing)
	}
	if other := ask(8, nil); other == first {
		t.Error("another seed asked the same")
	}
}

func TestLoops(t *testing.T) {
	sessions := func(t *testing.T, l Loop, p loadpattern.Pattern) (perSession []string) {
		synctest.Test(t, func(t *testing.T) {
			s := script(t)
			s.Loop = l
			_, got := runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 1), Script: s, Pattern: p})
			for _, a := range got {
				for len(perSession) <= a.Session {
					perSession = append(perSession, "")
				}
				perSession[a.Session] += a.Messages[0].Content + "\n"
			}
		})
		return perSession
	}
	// Ten questions take 60 s, less the first think time.
	got := sessions(t, Loop{Max: 3}, nil)
	if len(got) != 3 || got[0] == got[1] || got[1] == got[2] {
		t.Errorf("three loops gave %d sessions; want three different ones", len(got))
	}
	got = sessions(t, Loop{Max: 3, SameSeed: true}, nil)
	if len(got) != 3 || got[0] != got[1] || got[1] != got[2] {
		t.Errorf("three loops with one seed gave %d sessions; want three equal ones", len(got))
	}
	if got := sessions(t, Loop{For: 150 * time.Second}, nil); len(got) != 3 {
		t.Errorf("looping for 150 s gave %d sessions, want 3: none begins later", len(got))
	}
	if got := sessions(t, Loop{}, loadpattern.Phases{{Duration: 10 * time.Minute, Target: 1}}); len(got) != 10 {
		t.Errorf("ten minutes gave %d sessions of a minute, want 10", len(got))
	}
}

func TestSessionsEndWhenTheirTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		s.Loop.Max = 2
		s.SessionLength = Fixed(32) // due after 0, 6, 12, 18, 24 and 30 s
		var mu sync.Mutex
		var ends []SessionEnd
		_, got := runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 1), Script: s,
			Watch: Watch{Session: func(e SessionEnd) { mu.Lock(); ends = append(ends, e); mu.Unlock() }}})
		if fmt.Sprint(ends) != "[time_up time_up]" {
			t.Errorf("the sessions ended by %v", ends)
		}
		for i, a := range got {
			// The second begins when the first is over, with thinking.
			want := time.Duration(i) * 6 * time.Second
			if i >= 6 {
				want = 32*time.Second + 5*time.Second + time.Duration(i-6)*6*time.Second
			}
			if a.Scheduled != want {
				t.Errorf("question %d was due at %v, want %v", i, a.Scheduled, want)
			}
		}
		if len(got) != 6+5 {
			t.Errorf("%d questions, want 6 and 5", len(got))
		}
	})
}

func TestASessionTooShortForAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		s.Loop.Max = 5
		s.SessionLength = Fixed(0.001)
		_, got := runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 1), Script: s})
		if len(got) != 5 {
			t.Errorf("%d questions, want the first of each of 5 sessions", len(got))
		}
	})
}

func TestQuestionsPerSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Questions = Count{Min: 5, Max: 20, Distribution: Gaussian}
		_, got := runOnce(t, &llm{}, Options{Users: population(3, 200), Script: s})
		perUser := map[string]float64{}
		for _, a := range got {
			perUser[strings.TrimRight(a.Request.ID, "0123456789")]++
		}
		var xs []float64
		for _, n := range perUser {
			if n < 5 || n > 20 {
				t.Errorf("a session of %v questions", n)
			}
			xs = append(xs, n)
		}
		if mean, deviation := moments(xs); len(xs) != 600 || math.Abs(mean-12.5) > 0.5 || math.Abs(deviation-2.5) > 0.3 {
			t.Errorf("%d sessions of %.2f ± %.2f questions, want 600 of 12.5 ± 2.5", len(xs), mean, deviation)
		}
	})
}

func TestThinkTimesAreThoseConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.Questions = Count{Min: 100, Max: 100}
		s.Think = Number{Base: 5, Variance: 2, Min: 1, Max: 15, Distribution: Gaussian}
		var mu sync.Mutex
		var told []float64
		_, got := runOnce(t, &llm{service: time.Second}, Options{Users: population(1, 100), Script: s,
			Watch: Watch{Thought: func(d time.Duration) { mu.Lock(); told = append(told, d.Seconds()); mu.Unlock() }}})
		last := map[string]time.Duration{}
		var seen []float64
		for _, a := range got {
			if before, ok := last[a.User]; ok {
				seen = append(seen, (a.At - before - time.Second).Seconds())
			}
			last[a.User] = a.At
		}
		for name, xs := range map[string][]float64{"seen by the platform": seen, "told to the watch": told} {
			if mean, deviation := moments(xs); len(xs) != 9900 || math.Abs(mean-5) > 0.1 || math.Abs(deviation-2) > 0.1 {
				t.Errorf("%s: %d think times of %.2f ± %.2f s, want 9900 of 5 ± 2", name, len(xs), mean, deviation)
			}
		}
	})
}

func TestQuestionsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := once(script(t))
		s.MultiTurn, s.Turns = 1, Count{Min: 2, Max: 2}
		var watched []string
		_, got := runOnce(t, &llm{}, Options{Users: population(1, 1), Script: s,
			Watch: Watch{Question: func(q questions.Question, _ time.Duration) { watched = append(watched, q.Text) }}})
		for i, a := range got {
			if text := a.Messages[len(a.Messages)-1].Content; text != watched[i] {
				t.Errorf("question %d was %q and asked as %q", i, watched[i], text)
			}
		}
	})
}

func TestStagger(t *testing.T) {
	for _, stagger := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := once(script(t))
			s.Stagger, s.Think, s.Questions = stagger, Fixed(10), Count{Min: 1, Max: 1}
			_, got := runOnce(t, &llm{}, Options{Users: population(4, 250), Script: s})
			var firsts []float64
			for _, a := range got {
				firsts = append(firsts, a.At.Seconds())
			}
			if !stagger {
				if mean, deviation := moments(firsts); mean != 0 || deviation != 0 {
					t.Errorf("without stagger the first questions come after %.2f ± %.2f s", mean, deviation)
				}
				return
			}
			if d := kolmogorov(firsts, flat{0, 10}.cdf); d > 1.95 {
				t.Errorf("the first questions are not spread evenly over 10 s: √n·D = %.2f", d)
			}
		})
	}
}

func TestStopAfterErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  int
		ignore Codes
		err    error
		want   int
	}{
		{"by default users carry on", 0, nil, status(500, 0), 10},
		{"stop", 1, nil, status(500, 0), 3},
		{"stop at the third", 3, nil, status(500, 0), 9},
		{"ignored", 1, Codes{"500"}, status(500, 0), 10},
		{"another ignored", 1, Codes{"429"}, status(500, 0), 3},
		{"not the platform's", 1, nil, errors.New("bug"), 3},
		{"not sent", 1, nil, fmt.Errorf("held: %w", ErrNotSent), 10},
		{"he may ask no more", 0, nil, fmt.Errorf("%w: %w", ErrNotSent, ErrEnough), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := script(t)
				s.StopAfter, s.Ignore, s.Loop.Max = tt.after, tt.ignore, 1
				l := &llm{fails: func(n int) error {
					if n%3 == 2 { // every third question fails
						return tt.err
					}
					return nil
				}}
				_, got := runOnce(t, l, Options{Users: population(1, 1), Script: s})
				if len(got) != tt.want {
					t.Errorf("%d questions, want %d", len(got), tt.want)
				}
			})
		})
	}
}

// TestShedQuestions: an open circuit costs the question and the wait, and is
// counted by the fleet.
func TestShedQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &llm{fails: func(n int) error {
			if n == 4 {
				return &platform.Error{Kind: record.CircuitOpen, RetryAfter: 20 * time.Second, Err: ErrNotSent}
			}
			return nil
		}}
		f, got := runOnce(t, l, Options{Users: population(1, 1), Script: once(script(t))})
		if f.Shed() != 1 || len(got) != 10 {
			t.Errorf("%d shed of %d, want 1 of 10", f.Shed(), len(got))
		}
		if wait := got[5].At - got[4].At; wait != 25*time.Second {
			t.Errorf("after a shed question the user waited for %v, want 20 s and then his 5 s of thinking", wait)
		}
	})
}

func TestScriptCheck(t *testing.T) {
	good := script(t)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	bad := Script{
		Questions: Count{Min: 0, Max: 3}, Think: Number{Base: -1}, SessionLength: Number{Min: 2, Max: 1},
		MaxTokens: Number{Distribution: "odd"}, Temperature: &Number{Base: math.NaN()}, MultiTurn: 2, Turns: Count{},
		StreamingRatio: math.NaN(), MaxBody: -1, Loop: Loop{Max: -1}, Endpoint: "images", Salt: Salt{Strategy: "pepper"},
		Models: []Model{{"", 1}}, Targets: []Target{{Models: []Model{{"m", 0}}}, {}},
	}
	err := bad.Check()
	for _, want := range []string{"no source", "questions per session", "think time", "session duration", "max tokens", `"odd"`, "temperature",
		"probability of a conversation", "turns per conversation", "share of streams", "largest body", "loop", `"images"`, `"pepper"`,
		"cannot be chosen", "sum to zero", "needs models"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() = %v\nit should mention %q", err, want)
		}
	}
	none := script(t)
	none.Models = nil
	if err := none.Check(); err == nil || !strings.Contains(err.Error(), "no model") {
		t.Errorf("a script without models: %v", err)
	}
}

// BenchmarkUser is what a question costs on this side, with everything but the
// network: making it, the conversation, the record.
func BenchmarkUser(b *testing.B) {
	src, err := questions.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	epoch := time.Now()
	left := b.N
	direct := Direct{clientFunc(func(_ context.Context, _ *platform.Request, ex *platform.Exchange) error {
		ex.Answer = append(ex.Answer[:0], "An answer of a few words."...)
		ex.Done = 1
		return nil
	})}
	recorder := &Recorder{Asker: direct, Sink: record.SinkFunc(func(*record.Record) { left-- }), Now: func() time.Duration { return time.Since(epoch) }}
	f, err := New(Options{RunID: "run", Users: population(1, 1), Pattern: loadpattern.Always(1), Asker: recorder, Script: Script{
		Source: src, Questions: Count{Min: 10, Max: 10}, Models: []Model{{"m", 1}}, Loop: Loop{Max: max(1, b.N/10)},
		MultiTurn: 0.3, Turns: Count{Min: 2, Max: 5}, Context: -1,
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := f.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}
