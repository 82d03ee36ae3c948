package results_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/results"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// records are requests of a run of ten seconds, by many users of a few orgs.
func records(rng *rand.Rand, n int) []*record.Record {
	var all []*record.Record
	for range n {
		user := rng.IntN(12)
		at := time.Duration(rng.Int64N(int64(9 * time.Second)))
		r := &record.Record{
			Org: fmt.Sprintf("org-%d", user%3), User: fmt.Sprintf("user-%d", user), UserIndex: user, Phase: "warm-up", Attempt: 1 + rng.IntN(2),
			Model: "m", Endpoint: "chat", Stream: rng.IntN(2) == 0, Scheduled: at, Sent: at + time.Duration(rng.IntN(1e6)),
			Done: at + time.Duration(math.Exp(16+2*rng.NormFloat64())), UsageKnown: true, PromptTokens: rng.IntN(100), CompletionTokens: 2 + rng.IntN(100),
			CostKnown: true, CostMicroUSD: rng.Int64N(50), Outcome: record.Success, Status: 200,
			Checks: []record.Check{{Name: "short", Problem: []string{"", "long", "longer"}[rng.IntN(3)]}},
			Values: []record.Value{{Name: "words", Value: float64(rng.IntN(100))}},
		}
		if at >= 2*time.Second {
			r.Phase, r.Measured = "steady", true
		}
		switch rng.IntN(10) {
		case 0:
			r.Outcome, r.Kind, r.Status, r.Message = record.Failed, record.HTTPError, 503, fmt.Sprintf("backend %d is away", rng.IntN(3))
		case 1:
			r.Outcome, r.Kind = record.Success, record.ChaosInjected
		default:
			if r.Stream {
				r.FirstToken, r.LastToken, r.Chunks = r.Sent+(r.Done-r.Sent)/3, r.Done, 3
				r.Gaps = []time.Duration{(r.Done - r.Sent) / 3, (r.Done - r.Sent) / 3}
			}
		}
		all = append(all, r)
	}
	return all
}

// document is what one worker that saw some of the records writes.
func document(worker, workers int, seen []*record.Record) *export.Bundle {
	c := stats.NewCollector(stats.Objective{E2E: 100 * time.Millisecond})
	for _, r := range seen {
		c.Add(r)
	}
	b := &export.Bundle{
		Schema: export.Schema, Run: export.Run{ID: "run", Seed: 3, Workers: workers, Worker: worker, Started: start, Duration: 10 * time.Second},
		Phases: []export.Phase{{Name: "warm-up", End: 2 * time.Second}, {Name: "steady", Start: 2 * time.Second, End: 10 * time.Second, Measured: true}},
		Stop:   export.Stop{Reason: "completed"}, Summary: c.Summary(),
		Warnings: []string{"said by all"}, Findings: []export.Finding{{Title: "b", Detail: "of all"}, {Title: "a", Detail: "of all"}},
	}
	// What is told of an organization is a sum over the workers that have users of
	// it; here a request stands for one.
	orgs := map[string]int{}
	for _, r := range seen {
		orgs[r.Org]++
	}
	for name, n := range orgs {
		b.Orgs = append(b.Orgs, export.Org{Index: int(name[len(name)-1]-'0') + 1, Name: name, Users: n, BudgetMicroUSD: 7, Arrivals: &export.Arrivals{Intended: uint64(n), Dropped: uint64(2 * n)}})
	}
	for _, r := range seen {
		if r.Injected() {
			if b.Chaos == nil {
				b.Chaos = &export.Chaos{Faults: []export.ChaosFault{{Fault: "reset"}}}
			}
			b.Chaos.Injected++
			b.Chaos.Faults[0].Requests++
		}
	}
	if len(seen) > 0 {
		b.Throttled = []export.Throttle{{Limit: "maxRequestsPerSecond", Requests: int64(len(seen)), Total: time.Duration(len(seen)), Longest: 7}}
	}
	return b
}

func encode(t interface{ Fatal(...any) }, b *export.Bundle) []byte {
	data, err := export.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// However the requests are split among workers, and in whatever order their
// documents come, the merged document is that of one worker who saw them all.
func TestAnySplitGivesTheSameDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		all := records(rng, rapid.IntRange(0, 60).Draw(t, "requests"))
		seen := make([][]*record.Record, workers)
		for _, r := range all {
			w := rng.IntN(workers)
			seen[w] = append(seen[w], r)
		}
		tenants := func(b *export.Bundle, n int) *export.Bundle {
			b.Bootstrap = &export.Bootstrap{Orgs: n, Users: n, Keys: n, Retries: n}
			b.Cleanup = &export.Cleanup{Status: "done", DeletedOrgs: n, DeletedUsers: n, DeletedKeys: n, RevokedKeys: n, Suspended: n}
			return b
		}
		var parts []*export.Bundle
		for w, mine := range seen {
			read, err := export.Decode(encode(t, tenants(document(w, workers, mine), len(mine))))
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, read)
		}
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		merged, err := results.Merge(parts[0], parts, nil)
		if err != nil {
			t.Fatal(err)
		}
		one := tenants(document(0, 1, all), len(all))
		want, err := results.Merge(one, []*export.Bundle{one}, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Said by each of several, and known to be several.
		want.Run.Workers = workers
		if workers > 1 {
			suffix := fmt.Sprintf(" (each of %d workers)", workers)
			want.Warnings[0] += suffix
			for i := range want.Findings {
				want.Findings[i].Detail += suffix
			}
		}
		if got, want := encode(t, merged), encode(t, want); !bytes.Equal(got, want) {
			t.Fatalf("merged and whole differ:\n%s\n%s", got, want)
		}
		var exact []time.Duration
		for _, r := range all {
			if r.Measured && r.Outcome == record.Success && !r.Injected() {
				exact = append(exact, r.E2E())
			}
		}
		slices.Sort(exact)
		h := &merged.Summary.Overall().Latency.E2E
		if h.Count() != uint64(len(exact)) {
			t.Fatalf("%d latencies of %d", h.Count(), len(exact))
		}
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			if len(exact) == 0 {
				break
			}
			truth := exact[int(math.Ceil(q*float64(len(exact))-1e-9))-1]
			if off := math.Abs(float64(h.Quantile(q)-truth)) / float64(truth); off > 0.01 {
				t.Fatalf("p%v is %v and should be %v", q*100, h.Quantile(q), truth)
			}
		}
	})
}

func TestWhatIsNotASum(t *testing.T) {
	second := func(n float64) *time.Duration { d := time.Duration(n * float64(time.Second)); return &d }
	parts := []*export.Bundle{document(2, 4, nil), document(0, 4, nil), document(1, 4, nil)}
	for _, p := range parts { // those of workers 2, 0, 1
		p.Chaos = &export.Chaos{Outages: []export.Outage{{At: time.Second, Recoveries: []export.Recovery{
			{Org: "o", Answers: 2, FirstSuccess: second(1 + float64(p.Run.Worker)), SuccessRate: second(4 + float64(p.Run.Worker))},
		}}}}
		p.Phases[1].TargetUsers, p.Phases[1].Arrivals = 5, &export.Arrivals{Intended: 10, Dropped: 1}
		p.Bootstrap = &export.Bootstrap{Orgs: 1, Users: 5, Keys: 5, Duration: time.Second}
		p.Cleanup = &export.Cleanup{Status: "done", DeletedOrgs: 1, Duration: time.Second}
		p.Summary.Timeline.Observe(0, 5, "steady")
	}
	late := parts[0]
	late.Run.Started = start.Add(1200 * time.Millisecond)
	late.Warnings = append(late.Warnings, "said by one")
	late.Cleanup.Status, late.Stop = "incomplete", export.Stop{Reason: "limit", Detail: "enough"}
	late.Phases = late.Phases[:1]
	late.Chaos.Outages[0].Recoveries[0].SuccessRate = nil
	late.Summary.Groups = []*stats.Group{{Errors: []stats.ErrorCount{{Kind: record.Timeout, Count: 1, FirstAt: time.Second}}}}

	b, err := results.Merge(late, parts, []export.Lost{{Worker: 3, Reason: "signal: killed", Requests: 1234}})
	if err != nil {
		t.Fatal(err)
	}
	if r := b.Run; !r.Started.Equal(start) || r.Duration != 11200*time.Millisecond || r.StartSpread != 1200*time.Millisecond ||
		r.MeasuredDuration != 8*time.Second || r.Workers != 4 || r.Worker != 0 || len(r.Lost) != 1 {
		t.Errorf("run %+v", r)
	}
	want := []export.Phase{
		{Name: "warm-up", End: 3200 * time.Millisecond},
		{Name: "steady", Start: 2 * time.Second, End: 10 * time.Second, Measured: true, TargetUsers: 10, Arrivals: &export.Arrivals{Intended: 20, Dropped: 2}},
	}
	if diff := cmp.Diff(want, b.Phases); diff != "" {
		t.Error(diff)
	}
	if r := b.Chaos.Outages[0].Recoveries[0]; r.Answers != 6 || *r.FirstSuccess != time.Second || r.SuccessRate != nil {
		t.Errorf("recovery %+v", r)
	}
	if b.Bootstrap.Users != 15 || b.Bootstrap.Duration != time.Second || b.Cleanup.Status != "incomplete" || b.Cleanup.DeletedOrgs != 3 {
		t.Errorf("%+v, %+v", b.Bootstrap, b.Cleanup)
	}
	wantWarnings := []string{"said by all (each of 3 workers)", "said by one (worker 2)",
		"the last worker began 1.2s after the first: for so long there was less load than asked for"}
	if diff := cmp.Diff(wantWarnings, b.Warnings); diff != "" {
		t.Error(diff)
	}
	wantStop := "worker 3 of 4 was lost (signal: killed): its requests, at least 1,234, are in no number"
	if b.Stop.Reason != "broken" || b.Stop.Detail != wantStop {
		t.Errorf("%+v", b.Stop)
	}
	if e := b.Summary.Overall().Errors[0]; e.FirstAt != 2200*time.Millisecond || late.Summary.Groups[0].Errors[0].FirstAt != time.Second {
		t.Errorf("%+v", e)
	}
	var users []int
	for _, in := range b.Summary.Timeline.Intervals {
		users = append(users, in.Users)
	}
	if diff := cmp.Diff([]int{10, 5}, users); diff != "" {
		t.Errorf("users by the second: %s", diff)
	}
}

// Every field of the document is merged, or is known not to be: whoever adds one
// has to say what it is of several workers together.
func TestNothingIsForgotten(t *testing.T) {
	known := map[string]string{
		"Bundle": "Schema Tool Run Verdict Headline Phases Orgs Stop Throttled Search Isolation KeyLifecycle Chaos Bootstrap Cleanup " +
			"Generator Quality Findings Warnings Summary",
		"Run": "ID Scenario ScenarioSHA256 Labels Annotations Seed Target Started Duration MeasuredDuration CostLimitMicroUSD " +
			"Worker Workers Attempt Host Late Carried StartSpread Lost",
		"Headline":     "RequestsPerSecond GoodputPerSecond TokensPerSecond ErrorRate Requests CostMicroUSD MaxUsers Users Arrivals E2E TTFT ITL TPOT Connect SendLag",
		"Phase":        "Name Start End Measured Constant TargetUsers Arrivals",
		"Org":          "Index Name Slug Users BudgetMicroUSD Arrivals",
		"Chaos":        "Injected Faults Delayed DelayTotal Outages",
		"Cleanup":      "Status DeletedOrgs DeletedUsers DeletedKeys RevokedKeys Suspended Remaining Duration Notes",
		"Observations": "Duration CPUs CPUTime Throttled ReadLag Scheduling Pauses Descriptors Ports InFlight",
	}
	for _, of := range []any{export.Bundle{}, export.Run{}, export.Headline{}, export.Phase{}, export.Org{}, export.Chaos{}, export.Cleanup{}, health.Observations{}} {
		kind := reflect.TypeOf(of)
		for _, f := range reflect.VisibleFields(kind) {
			if !slices.Contains(strings.Fields(known[kind.Name()]), f.Name) {
				t.Errorf("%s.%s is new: let Merge do something about it, and then list it here", kind.Name(), f.Name)
			}
		}
	}
}

// What the generators observed is judged once, from what all of them saw.
func TestTheGeneratorIsJudgedOnce(t *testing.T) {
	all := records(rand.New(rand.NewPCG(1, 2)), 400)
	var parts []*export.Bundle
	for w := range 2 {
		b := document(w, 2, all[w*200:][:200])
		o := &health.Observations{Duration: 10 * time.Second, CPUs: 2, CPUTime: 9 * time.Second, InFlight: &health.Sample{Count: 100, Mean: 3, Error: 0.1}}
		for range 500 {
			o.ReadLag.Record(time.Second)
		}
		b.Generator = &export.Generator{Observed: o}
		b.Quality = &export.Quality{Concurrency: &export.Concurrency{Seen: 3, Implied: 3}}
		b.Headline.Users = &export.UserLoad{Intended: 6, Delivered: 5}
		b.Chaos = nil
		parts = append(parts, b)
	}
	b, err := results.Merge(parts[0], parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g := b.Generator; !g.Limited || len(g.Reasons) != 1 || !strings.Contains(g.Reasons[0], "CPU: it used 1.80 of 2.00 CPUs") {
		t.Errorf("%+v", g.Judgement)
	}
	if c := b.Quality.Concurrency; c.Seen != 6 || math.Abs(c.Implied-6) > 1e-6 || !c.Agree {
		t.Errorf("%+v", c)
	}
	if u := b.Headline.Users; u == nil || u.Intended != 12 || u.Delivered != 10 {
		t.Errorf("%+v", u)
	}
	parts[1].Quality = nil
	if b, err := results.Merge(parts[0], parts, nil); err != nil || b.Quality.Concurrency != nil {
		t.Errorf("%+v, %v: Little's law of requests that nobody added up", b.Quality, err)
	}
}

func TestMergeRefusesWhatIsNotOfTheRun(t *testing.T) {
	for want, change := range map[string]func(*export.Bundle){
		"is of run other":          func(b *export.Bundle) { b.Run.ID = "other" },
		"with seed 4":              func(b *export.Bundle) { b.Run.Seed = 4 },
		"worker 0 of run run is":   func(b *export.Bundle) { b.Run.Worker = 0 },
		"worker 2 of 2":            func(b *export.Bundle) { b.Run.Worker = 2 },
		"worker 1 of 3":            func(b *export.Bundle) { b.Run.Workers = 3 },
		"phase 1 is other":         func(b *export.Bundle) { b.Phases[0].Name = "other" },
		"not one of the 2 of run ": func(b *export.Bundle) { b.Run.Lost = []export.Lost{{}} },
	} {
		parts := []*export.Bundle{document(0, 2, nil), document(1, 2, nil)}
		change(parts[1])
		if _, err := results.Merge(parts[0], parts, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if b, err := results.Merge(document(0, 2, nil), nil, nil); err != nil || b.Stop.Reason != "broken" || len(b.Run.Lost) != 2 {
		t.Errorf("%+v, %v", b, err)
	}
}
