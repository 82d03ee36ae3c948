package stats_test

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// TestMemoryDoesNotGrowWithRequests feeds a collector with a day's requests,
// and holds what it keeps after a tenth of them against what it keeps of all.
func TestMemoryDoesNotGrowWithRequests(t *testing.T) {
	const (
		requests = 500_000
		day      = 24 * time.Hour
		users    = 1000
	)
	rng := rand.New(rand.NewPCG(1, 2))
	c := stats.NewCollector(stats.Objective{E2E: 1500 * time.Millisecond})
	// Drawing every value costs more than collecting it.
	e2e, ttft, gaps := make([]time.Duration, 4096), make([]time.Duration, 4096), make([]time.Duration, 4096)
	for i := range e2e {
		e2e[i] = time.Second + time.Duration(rng.Int64N(int64(time.Second)))
		ttft[i] = 50*time.Millisecond + time.Duration(rng.Int64N(int64(50*time.Millisecond)))
		gaps[i] = 5*time.Millisecond + time.Duration(rng.Int64N(int64(15*time.Millisecond)))
	}
	names := make([]string, users)
	for i := range names {
		names[i] = "user-" + strconv.Itoa(i)
	}
	feed := func(n, of int) {
		at := time.Duration(float64(day) * float64(n) / float64(of))
		user := n % users
		r := record.Record{
			Org: []string{"a", "b", "c", "d", "e"}[user%5], User: names[user], UserIndex: user,
			Phase: "steady", Measured: true, Final: true,
			Endpoint: "chat", Model: []string{"small", "medium"}[n%2], Stream: n%3 > 0,
			Scheduled: at, Sent: at + gaps[n%4095]/20, Done: at + e2e[n%4093],
			UsageKnown: true, CostKnown: true, PromptTokens: 100, CompletionTokens: 200, CostMicroUSD: 77, Status: 200,
		}
		if r.Stream {
			r.FirstToken, r.LastToken = at+ttft[n%4091], r.Done
			r.Gaps, r.Chunks, r.FirstChunkTokens = gaps[n%4092:][:4], 5, 1
		}
		if n%100 == 0 {
			r.Outcome, r.Kind, r.Status, r.Message = record.Failed, record.HTTPError, 500+n/100%4, "failed at "+strconv.Itoa(n)
		}
		c.Add(&r)
		if n%100 == 0 {
			c.Observe(at, users, r.Phase)
		}
	}
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	for n := range requests / 10 {
		feed(n, requests)
	}
	early := live() - before
	for n := requests / 10; n < requests; n++ {
		feed(n, requests)
	}
	late := live() - before
	t.Logf("kept of %d requests: %d KiB, of %d: %d KiB", requests/10, early>>10, requests, late>>10)

	if got := c.Overall().All.Requests; got != requests {
		t.Fatalf("%d requests counted of %d", got, requests)
	}
	// The histograms fill up and the timeline gets its full length; anything
	// kept of each request would be a pointer at least, 8 bytes.
	if perRequest := float64(late-early) / (requests * 9 / 10); perRequest > 4 {
		t.Errorf("memory grew by %.1f bytes a request", perRequest)
	}
}
