package stats

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// traffic returns n plausible records of one worker.
func traffic(seed uint64, n int) []*record.Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]*record.Record, n)
	for i := range out {
		at := time.Duration(rng.Int64N(int64(20 * time.Second)))
		user := rng.IntN(7)
		r := &record.Record{
			Org: fmt.Sprintf("org-%d", user%3), User: fmt.Sprintf("u%d", user), UserIndex: user,
			Phase: "steady", Measured: rng.IntN(5) > 0, Final: true,
			Endpoint: "chat", Model: "m", Stream: rng.IntN(2) == 0,
			Scheduled: at, Sent: at + time.Duration(rng.Int64N(int64(time.Millisecond))),
			Done: at + time.Duration(1+rng.Int64N(int64(time.Second))), Reused: true,
			UsageKnown: true, PromptTokens: 10 + rng.IntN(10), CompletionTokens: 5, CachedTokens: rng.IntN(8), CachedKnown: rng.IntN(2) == 0,
			CostKnown: true, CostMicroUSD: rng.Int64N(100),
		}
		if r.Stream {
			r.FirstToken = at + (r.Done-at)/3
			r.LastToken = r.Done
			r.Gaps = []time.Duration{time.Millisecond, 3 * time.Millisecond}
			r.Chunks, r.FirstChunkTokens = 3, 1
		}
		if rng.IntN(10) == 0 {
			r.Outcome, r.Kind, r.Status, r.Message = record.Failed, record.HTTPError, 500+rng.IntN(3), "boom"
			r.UsageKnown, r.CostKnown = false, false
		}
		out[i] = r
	}
	return out
}

func collect(records []*record.Record) *Summary {
	c := NewCollector(Objective{E2E: 500 * time.Millisecond})
	for _, r := range records {
		c.Add(r)
	}
	return c.Summary()
}

// same compares what a reader of the file would see; sums of floats may
// differ in the last digit with the order of adding.
func same(t *testing.T, want, got *Summary) {
	t.Helper()
	var a, b any
	for v, s := range map[*any]*Summary{&a: want, &b: got} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(a, b, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Fatal(diff)
	}
}

func TestMergedWorkersEqualOneWorker(t *testing.T) {
	all := traffic(1, 3000)
	parts := []*Summary{collect(all[:500]), collect(all[500:1700]), collect(all[1700:])}
	forward, backward := NewSummary(), NewSummary()
	for i := range parts {
		forward.Merge(parts[i])
		backward.Merge(parts[len(parts)-1-i])
	}
	want := collect(all)
	// examples are those of the earliest error, which is unique by time
	same(t, want, forward)
	same(t, want, backward)
}

func TestMergeSharesNothing(t *testing.T) {
	part := collect(traffic(2, 200))
	before, _ := json.Marshal(part)
	sum := NewSummary()
	sum.Merge(part)
	sum.Merge(part)
	after, _ := json.Marshal(part)
	if string(before) != string(after) {
		t.Error("merging changed what was merged")
	}
	if got, want := sum.Overall().All.Requests, 2*part.Overall().All.Requests; got != want {
		t.Errorf("requests %d, want %d", got, want)
	}
}

func TestSummaryRoundTrip(t *testing.T) {
	want := collect(traffic(3, 500))
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := NewSummary()
	if err := json.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	same(t, want, got)
	got.Merge(want) // what was read must still merge
	if n := got.Overall().All.Requests; n != 1000 {
		t.Errorf("requests %d, want 1000", n)
	}
}

func TestRollupAddsUp(t *testing.T) {
	records := traffic(4, 1000)
	s := collect(records)
	var want Totals
	var latencies uint64
	for _, r := range records {
		want.add(r, Objective{E2E: 500 * time.Millisecond}.Met(r))
		if r.Measured && r.Outcome == record.Success {
			latencies++
		}
	}
	for name, by := range map[string]func(Key) Key{"org": ByOrg, "model": ByModel, "phase": ByPhase, "endpoint": ByEndpoint} {
		var got Totals
		var n uint64
		for _, g := range s.Rollup(by) {
			got.Merge(g.All)
			n += g.Latency.E2E.Count()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s", name, diff)
		}
		if n != latencies {
			t.Errorf("by %s: %d latencies, want %d: failures or warm-up got in", name, n, latencies)
		}
	}
	var users Totals
	for _, u := range s.Users {
		users.Merge(u.Totals)
	}
	if diff := cmp.Diff(want, users); diff != "" {
		t.Errorf("users: %s", diff)
	}
	var intervals Totals
	for _, in := range s.Timeline.Intervals {
		intervals.Merge(in.Totals)
	}
	if diff := cmp.Diff(want, intervals); diff != "" {
		t.Errorf("timeline: %s", diff)
	}
}

func TestTimelineStaysBounded(t *testing.T) {
	tl := NewTimeline()
	r := &record.Record{Final: true}
	const n = 10 * maxIntervals
	for i := range n {
		r.Done = time.Duration(i) * time.Second
		r.Scheduled = r.Done - 10*time.Millisecond
		tl.add(r, true)
		tl.Observe(r.Done, 5, "steady")
	}
	if len(tl.Intervals) > maxIntervals {
		t.Fatalf("%d intervals", len(tl.Intervals))
	}
	if tl.Interval != 16*time.Second {
		t.Errorf("interval %v, want 16s for %d s of run", tl.Interval, n)
	}
	var count, latencies uint64
	for _, in := range tl.Intervals {
		e2e, _ := in.Latency()
		count += in.Totals.Requests
		latencies += e2e.Count()
		if in.Users != 5 {
			t.Fatalf("users %d, want 5", in.Users)
		}
	}
	if count != n || latencies != n {
		t.Errorf("%d requests and %d latencies after coarsening, want %d", count, latencies, n)
	}
}

func TestTimelinesOfDifferentIntervalsMerge(t *testing.T) {
	long, short := NewTimeline(), NewTimeline()
	long.add(&record.Record{Done: 2 * maxIntervals * time.Second, Scheduled: time.Second}, true)
	short.add(&record.Record{Done: 3 * time.Second, Scheduled: time.Second}, true)
	short.Observe(3*time.Second, 4, "a")
	long.Observe(3*time.Second, 2, "a")
	for _, pair := range [][2]*Timeline{{long.clone(), short}, {short.clone(), long}} {
		into, from := pair[0], pair[1]
		into.Merge(from)
		if into.Interval != long.Interval {
			t.Errorf("interval %v, want %v", into.Interval, long.Interval)
		}
		if got := into.Intervals[0].Users; got != 6 {
			t.Errorf("users %d, want 4+2", got)
		}
		if got := into.Intervals[0].Totals.Requests; got != 1 {
			t.Errorf("requests %d in the first interval, want 1", got)
		}
	}
}

func TestCollectorIsSafeForManyUsers(t *testing.T) {
	c := NewCollector(Objective{})
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			for _, r := range traffic(seed, 200) {
				c.Add(r)
			}
		})
	}
	for range 5 {
		c.Summary()
		c.Overall()
	}
	wg.Wait()
	if n := c.Overall().All.Requests; n != 1600 {
		t.Errorf("%d requests, want 1600", n)
	}
	if a, b := c.Summary().Overall(), c.Overall(); a.Latency.E2E.Count() != b.Latency.E2E.Count() || a.All != b.All {
		t.Error("Overall and Summary disagree")
	}
}

func TestErrorsKeepTheFirstExample(t *testing.T) {
	c := NewCollector(Objective{})
	for i, at := range []time.Duration{5, 2, 9} {
		c.Add(&record.Record{UserIndex: i, Done: at * time.Second, Outcome: record.Refused, Kind: record.RateLimited,
			Status: 429, Message: fmt.Sprintf("at %d", at), Final: i == 2})
	}
	errs := c.Summary().Overall().Errors
	want := []ErrorCount{{Kind: record.RateLimited, Status: 429, Count: 3, Example: "at 2", FirstAt: 2 * time.Second}}
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Error(diff)
	}
}

// TestRetriesAreAttemptsThatWereMade: one that was planned and cut short is none.
func TestRetriesAreAttemptsThatWereMade(t *testing.T) {
	c := NewCollector(Objective{})
	for attempt := 1; attempt <= 3; attempt++ { // a fourth would follow, were the run not over
		c.Add(&record.Record{Attempt: attempt, Outcome: record.Failed, Kind: record.HTTPError, Status: 500})
	}
	if got := c.Summary().Overall().All.Retried; got != 2 {
		t.Errorf("%d retries, want 2", got)
	}
}

func BenchmarkCollectorAdd(b *testing.B) {
	c := NewCollector(Objective{E2E: time.Second})
	records := traffic(1, 1024)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			c.Add(records[i&1023])
		}
	})
}

func TestRequestsBeforeTheLoadAreNotOnTheTimeline(t *testing.T) {
	c := NewCollector(Objective{})
	for _, r := range traffic(1, 50) {
		c.BeforeLoad().Add(r)
	}
	s := c.Summary()
	if s.Overall().All.Requests != 50 || len(s.Users) == 0 || len(s.Timeline.Intervals) != 0 {
		t.Errorf("%d requests, %d users, %d intervals", s.Overall().All.Requests, len(s.Users), len(s.Timeline.Intervals))
	}
}

func TestWhatWeHarmedIsCountedApart(t *testing.T) {
	c := NewCollector(Objective{})
	for _, r := range []record.Record{
		{Outcome: record.Success, Done: time.Second},
		{Outcome: record.Failed, Kind: record.ChaosInjected, Done: time.Second},
		{Outcome: record.Success, Kind: record.ChaosInjected, Done: time.Minute, UsageKnown: true, CompletionTokens: 5, CostKnown: true, CostMicroUSD: 7},
	} {
		r.Measured, r.Org, r.Final = true, "a", true
		c.Add(&r)
	}
	s := c.Summary()
	g := s.Overall()
	for name, got := range map[string]Totals{"all": g.All, "measured": g.Measured, "user": s.Users[0].Totals} {
		if got.Requests != 1 || got.Succeeded != 1 || got.Failed != 0 || got.Injected != 2 || got.ErrorRate() != 0 || got.CostMicroUSD != 7 || got.CompletionTokens != 5 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if g.Latency.E2E.Count() != 1 || g.Latency.E2E.Max() != time.Second || len(g.Errors) != 0 || s.Users[0].MeasuredCount != 1 {
		t.Errorf("latency of %d, at most %v; errors %+v", g.Latency.E2E.Count(), g.Latency.E2E.Max(), g.Errors)
	}
}
