package results_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/results"
)

// attempt is a document of one of several attempts: from late until end.
func attempt(worker, workers, n int, late, end time.Duration, seen []*record.Record) *export.Bundle {
	b := document(worker, workers, seen)
	b.Run.Attempt, b.Run.Late, b.Run.Duration, b.Run.Host = n, late, end, "pod-"+string(rune('a'+worker))+string(rune('0'+n))
	b.Headline = export.NewHeadline(b.Summary, end)
	for i := range b.Phases {
		p := &b.Phases[i]
		p.TargetUsers = 5
		p.End = min(p.End, max(end, p.Start))
		p.Start = max(p.Start, min(late, p.End))
	}
	b.Bootstrap = &export.Bootstrap{Orgs: 1, Users: 5, Keys: 5}
	return b
}

// However many attempts there are at each worker's part, and in whatever order
// their documents come, the merged document has the same bytes, and its
// percentiles are those of all requests.
func TestAttemptsInAnyOrder(t *testing.T) {
	for seed := range uint64(1) {
		rng := rand.New(rand.NewPCG(seed, 0))
		const workers = 10
		var parts []*export.Bundle
		var exact []time.Duration
		requests := uint64(0)
		for w := range workers {
			var late time.Duration
			for n := range 1 + rng.IntN(3) {
				seen := records(rng, 40)
				for _, r := range seen {
					if r.Measured && r.Outcome == record.Success && !r.Injected() {
						exact = append(exact, r.E2E())
					}
				}
				end := late + time.Duration(rng.Int64N(int64(3*time.Second)))
				b := attempt(w, workers, n, late, end, seen)
				requests += b.Headline.Requests
				b.Generator = &export.Generator{Observed: &health.Observations{Duration: end - late, CPUs: 1, CPUTime: time.Second}}
				parts, late = append(parts, b), end+time.Second
			}
		}
		var first []byte
		for range 3 {
			rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			merged, err := results.Merge(parts[0], parts, nil)
			if err != nil {
				t.Fatal(err)
			}
			// What a verdict would be made of does not depend on who came first.
			data := encode(t, merged)
			if first == nil {
				first = data
			}
			if !bytes.Equal(first, data) {
				t.Fatalf("another order, another document:\n%s", cmp.Diff(string(first), string(data)))
			}
			if merged.Headline.Requests != requests || len(merged.Run.Lost) > 0 || merged.Phases[0].TargetUsers != 5*workers {
				t.Fatalf("%d requests of %d, lost %v, %+v", merged.Headline.Requests, requests, merged.Run.Lost, merged.Phases[0])
			}
		}
		slices.Sort(exact)
		merged, err := results.Merge(parts[0], parts, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := &merged.Summary.Overall().Latency.E2E
		for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 1} {
			truth := exact[int(math.Ceil(q*float64(len(exact))-1e-9))-1]
			if off := math.Abs(float64(h.Quantile(q)-truth)) / float64(truth); off > 0.01 {
				t.Fatalf("p%v is %v and should be %v", q*100, h.Quantile(q), truth)
			}
		}
	}
}

func TestAWorkerThatWasReplaced(t *testing.T) {
	seen := records(rand.New(rand.NewPCG(1, 1)), 20)
	began := []*export.Bundle{attempt(0, 2, 0, 0, 10*time.Second, seen), attempt(1, 2, 0, 0, 3*time.Second, seen)}
	began[1].Stop = export.Stop{Reason: "interrupted", Detail: export.TakenAway}
	began[1].Cleanup = &export.Cleanup{Status: "retained", Remaining: 9}
	began[0].Headline.Users = &export.UserLoad{Intended: 5, Delivered: 5}
	began[1].Headline.Users = &export.UserLoad{Intended: 5, Delivered: 4}
	began[1].Run.MeasuredDuration = time.Second
	next := attempt(1, 2, 1, 5*time.Second, 10*time.Second, seen)
	next.Run.Carried = began[1].Headline.Requests
	next.Headline.Users, next.Run.MeasuredDuration = &export.UserLoad{Intended: 5, Delivered: 4}, 5*time.Second
	next.Cleanup = &export.Cleanup{Status: "done", DeletedOrgs: 1}

	b, err := results.Merge(next, []*export.Bundle{next, began[0], began[1]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Stop != (export.Stop{Reason: "completed"}) || len(b.Run.Lost) > 0 || b.Run.StartSpread != 0 || b.Run.Attempt != 0 || b.Run.Host != "" {
		t.Errorf("%+v, %+v", b.Stop, b.Run)
	}
	if diff := cmp.Diff(&export.Cleanup{Status: "done", DeletedOrgs: 1}, b.Cleanup); diff != "" {
		t.Error(diff)
	}
	if u := b.Headline.Users; u == nil || u.Intended != 10 || math.Abs(u.Delivered-(5+4*6./8)) > 1e-9 {
		t.Errorf("users %+v", u)
	}
	if b.Bootstrap.Users != 10 || b.Bootstrap.Keys != 15 || b.Phases[1].TargetUsers != 10 || b.Phases[1].Start != 2*time.Second {
		t.Errorf("%+v, %+v", b.Bootstrap, b.Phases)
	}
	if got := strings.Join(b.Warnings, "\n"); !strings.Contains(got, "worker 1 made no load for 2s: it was lost 3s after the start, and attempt 1 came in its place") {
		t.Errorf("warnings %s", got)
	}

	next.Run.Late = 2 * time.Second
	if b, err = results.Merge(next, []*export.Bundle{next, began[0], began[1]}, nil); err != nil || !strings.Contains(strings.Join(b.Warnings, "\n"), "at the same time, for 1s") {
		t.Errorf("%v: %q", err, b.Warnings)
	}
}

// Who was lost and replaced is told, and does not break the run: whoever chose
// that wants to know how the platform did.
func TestAnAttemptThatLeftNothing(t *testing.T) {
	seen := records(rand.New(rand.NewPCG(1, 1)), 20)
	zero := attempt(0, 2, 0, 0, 10*time.Second, seen)
	for name, c := range map[string]struct {
		late    time.Duration
		carried uint64
		said    []export.Lost
		want    []export.Lost
	}{
		"under load":        {5 * time.Second, 42, nil, []export.Lost{{Worker: 1, Reason: "it left no result", Requests: 42, Replaced: true}}},
		"and somebody knew": {5 * time.Second, 42, []export.Lost{{Worker: 1, Reason: "OOMKilled", Requests: 40}}, []export.Lost{{Worker: 1, Reason: "OOMKilled", Requests: 42, Replaced: true}}},
		"before the load":   {0, 0, nil, nil},
		"as was known":      {0, 0, []export.Lost{{Worker: 1, Reason: "its node went"}}, nil},
		"and begun anew":    {0, 0, []export.Lost{{Worker: 1, Reason: "its node went", Requests: 40}}, []export.Lost{{Worker: 1, Reason: "its node went", Requests: 40, Replaced: true}}},
	} {
		next := attempt(1, 2, 1, c.late, 10*time.Second, seen)
		next.Run.Carried = c.carried
		b, err := results.Merge(zero, []*export.Bundle{next, zero}, c.said)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, b.Run.Lost); diff != "" || b.Stop != (export.Stop{Reason: "completed"}) {
			t.Errorf("%s: %s, %+v", name, diff, b.Stop)
		}
		if _, said := b.Run.Losses(); len(said) != len(c.want) || c.want != nil && !strings.HasPrefix(said[0], "attempt 0 of worker 1 of 2 was lost and replaced (") {
			t.Errorf("%s: %q", name, said)
		}
	}
	// The last one is not replaced.
	next := attempt(1, 2, 1, 5*time.Second, 10*time.Second, seen)
	b, err := results.Merge(zero, []*export.Bundle{next, zero}, []export.Lost{{Worker: 1, Attempt: 2, Reason: "OOMKilled", Requests: 7}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Stop != (export.Stop{Reason: "broken", Detail: "attempt 2 of worker 1 of 2 was lost (OOMKilled): its requests, at least 7, are in no number"}) || len(b.Run.Lost) != 2 || b.Run.Lost[1].Replaced {
		t.Errorf("%+v, lost %+v", b.Stop, b.Run.Lost)
	}
}

// The only worker of a run, when it is replaced, begins anew and knows nothing of
// what was lost: that it was is known by the number of its attempt.
func TestTheOnlyWorkerWasReplaced(t *testing.T) {
	only := attempt(0, 1, 1, 0, 10*time.Second, records(rand.New(rand.NewPCG(1, 1)), 20))
	for _, said := range [][]export.Lost{nil, {{Reason: "it left no result"}}} {
		b, err := results.Merge(only, []*export.Bundle{only}, said)
		if err != nil {
			t.Fatal(err)
		}
		_, replaced := b.Run.Losses()
		if diff := cmp.Diff([]string{"attempt 0 of worker 0 of 1 was lost and replaced (it left no result): its requests, if it made any, are in no number"}, replaced); diff != "" || b.Stop.Reason != "completed" {
			t.Errorf("%+v, %s", b.Stop, diff)
		}
		if !slices.Contains(b.Warnings, "worker 0 was lost; attempt 1 began the load anew") {
			t.Errorf("warnings %q", b.Warnings)
		}
	}
}

// One pod among many that was short of CPU is not hidden by the others.
func TestPodsAreJudgedByThemselvesToo(t *testing.T) {
	all := records(rand.New(rand.NewPCG(1, 2)), 400)
	var parts []*export.Bundle
	for w := range 4 {
		b := attempt(w, 4, 0, 0, 10*time.Second, all[w*100:][:100])
		b.Generator = &export.Generator{Observed: &health.Observations{Duration: 10 * time.Second, CPUs: 1, CPUTime: time.Second}}
		parts = append(parts, b)
	}
	parts[2].Generator.Judgement = health.Judgement{Limited: true, Reasons: []string{"short of CPU"}}
	b, err := results.Merge(parts[0], parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g := b.Generator; !g.Limited || !slices.Equal(g.Reasons, []string{"short of CPU (worker 2)"}) || g.Observed.CPUs != 4 || g.Observed.CPUTime != 4*time.Second {
		t.Errorf("%+v", g)
	}
	// Of several the worst speaks.
	parts[3].Generator.Judgement = health.Judgement{Limited: true, Reasons: []string{"very short of CPU"}, Marks: []health.Mark{{Value: 2, Added: 1}}}
	if b, err = results.Merge(parts[0], parts, nil); err != nil {
		t.Fatal(err)
	}
	if g := b.Generator; !slices.Equal(g.Reasons, []string{"very short of CPU (worker 3, the worst of 2 of 4 workers that were short of something)"}) {
		t.Errorf("%q", g.Reasons)
	}
}
