package chaos

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

func TestSharesAreKept(t *testing.T) {
	p := Plan{Seed: 3, DNSFailures: 0.05, Failures: 0.1, Resets: 0.15, SlowReads: 0.05, Truncations: 0.2, Latency: 20 * time.Millisecond, Variance: 10 * time.Millisecond}
	const n = 20_000
	for _, stream := range []bool{true, false} {
		got := map[Fault]float64{}
		var delay time.Duration
		for i := range n {
			f := p.Fate(i%50, i/50, stream)
			got[f.Fault] += 1.0 / n
			if f.Delay < 10*time.Millisecond || f.Delay > 30*time.Millisecond || f.After < 0 || f.After >= earliest {
				t.Fatalf("%+v", f)
			}
			delay += f.Delay
		}
		want := map[Fault]float64{DNSFailure: 0.05, Failure: 0.1, Reset: 0.15, SlowRead: 0.05, Truncation: 0.2, None: 0.45}
		if !stream {
			want[Truncation], want[None] = 0, 0.65
		}
		for fault, share := range want {
			if math.Abs(got[fault]-share) > 0.015 { // four standard deviations
				t.Errorf("stream %v: a share of %.3f suffered %q, want %.3f", stream, got[fault], fault, share)
			}
		}
		if mean := delay / n; mean < 19*time.Millisecond || mean > 21*time.Millisecond {
			t.Errorf("the mean delay is %v, want 20ms", mean)
		}
	}
}

func TestFateIsRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Plan{Seed: rapid.Uint64().Draw(t, "seed"), Failures: 0.5, Latency: time.Second, Variance: time.Second}
		user, n, stream := rapid.IntRange(0, 1000).Draw(t, "user"), rapid.IntRange(0, 1e6).Draw(t, "n"), rapid.Bool().Draw(t, "stream")
		if a, b := p.Fate(user, n, stream), p.Fate(user, n, stream); a != b || a.Delay < 0 {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
	a, b := Plan{Seed: 1, Failures: 0.5}, Plan{Seed: 2, Failures: 0.5}
	same := 0
	for n := range 1000 {
		if a.Fate(1, n, false).Fault == b.Fate(1, n, false).Fault {
			same++
		}
	}
	if same > 600 {
		t.Errorf("two seeds agree on %d of 1000 requests", same)
	}
	if f := (&Plan{}).Fate(1, 1, true); f.Fault != None || f.Delay != 0 {
		t.Errorf("without a plan: %+v", f)
	}
}

func TestDown(t *testing.T) {
	p := Plan{Outages: []Span{{10 * time.Second, 2 * time.Second}, {30 * time.Second, time.Second}}}
	for at, want := range map[time.Duration]bool{
		0: false, 10*time.Second - 1: false, 10 * time.Second: true, 12*time.Second - 1: true, 12 * time.Second: false, 30 * time.Second: true, time.Hour: false,
	} {
		if p.Down(at) != want {
			t.Errorf("at %v: down is %v", at, !want)
		}
	}
}

func TestRecovery(t *testing.T) {
	r := NewRecovery([]Span{{100 * time.Second, 5 * time.Second}, {50 * time.Second, 10 * time.Second}})
	at := func(org string, done time.Duration, outcome record.Outcome, kind record.Kind) {
		r.Add(&record.Record{Org: org, Sent: done - 100*time.Millisecond, Done: done, Outcome: outcome, Kind: kind})
	}
	// Before: nine of ten succeed.
	for i := range 50 {
		outcome := record.Success
		if i%10 == 9 {
			outcome = record.Failed
		}
		at("a", time.Duration(i)*time.Second, outcome, record.None)
		at("b", time.Duration(i)*time.Second, record.Success, record.None)
	}
	at("a", 55*time.Second, record.Failed, record.ChaosInjected)
	// The outage ends at 60 s. a fails for three seconds more, b never comes back to what it was.
	for i := range 35 {
		outcome := record.Success
		if i < 3 {
			outcome = record.Failed
		}
		at("a", 61*time.Second+time.Duration(i)*time.Second, outcome, record.None)
		outcome = record.Success
		if i%2 == 0 {
			outcome = record.Refused
		}
		at("b", 61*time.Second+time.Duration(i)*time.Second, outcome, record.None)
	}
	at("a", 60*time.Second, record.Success, record.None)            // was sent before the end
	at("b", 61*time.Second, record.Success, record.ChaosInjected)   // harmed by us
	at("b", 61*time.Second, record.Cancelled, record.CancelledKind) // says nothing

	got := r.Of(0)
	// Of a's answers the first three fail; eighteen of twenty are good once the first is forgotten.
	want := []Recovered{
		{Org: "a", Answers: 35, First: 4 * time.Second, Rate: 21 * time.Second, HasFirst: true, HasRate: true},
		{Org: "b", Answers: 35, First: 2 * time.Second, HasFirst: true},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if second := r.Of(1); len(second) != 2 || second[0].HasFirst || second[0].Answers != 0 {
		t.Errorf("nothing came after the second outage: %+v", second)
	}
}
