package metrics_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

const ms = time.Millisecond

// traffic are records of so many users in so many organizations, who use
// three models and three test types; half of the answers are streams.
func traffic(users, orgs, records int) []*record.Record {
	out := make([]*record.Record, records)
	for i := range out {
		u := i % users
		r := &record.Record{
			Org: fmt.Sprintf("org-%d", u%orgs), User: fmt.Sprintf("user-%d", u), UserIndex: u, Phase: "steady", Attempt: 1, Measured: true, Final: true,
			Endpoint: "chat", Model: []string{"sim-small", "sim-medium", "m"}[i/users%3], TestType: []string{"random_short", "long", "cached"}[i/users/3%3],
			Backend: "b-0", Stream: i%2 == 0, Status: 200,
			Scheduled: time.Duration(i) * ms, Sent: time.Duration(i)*ms + ms/10, FirstByte: time.Duration(i+9) * ms, Done: time.Duration(i+200+i%100) * ms,
			UsageKnown: true, PromptTokens: 100 + i%50, CompletionTokens: 60, CachedKnown: true, CachedTokens: i % 3, CostKnown: true, CostMicroUSD: int64(i % 7),
			FinishReason: "stop",
		}
		if r.Stream {
			r.FirstToken, r.LastToken, r.Chunks, r.FirstChunkTokens = r.Scheduled+20*ms, r.Done, 55, 1
			r.Gaps = make([]time.Duration, 54)
			for g := range r.Gaps {
				r.Gaps[g] = time.Duration(3+g%5) * ms
			}
		}
		if i%53 == 7 {
			r.Outcome, r.Kind, r.Status = record.Failed, record.HTTPError, 500+i/50%4
		}
		out[i] = r
	}
	return out
}

// fresh are metrics, and the same as a checker of them gathers them.
func fresh(tb testing.TB, users int, o metrics.Options) (*metrics.Metrics, prometheus.Gatherer) {
	tb.Helper()
	if o.RunID == "" {
		o.RunID = "run"
	}
	if o.PerUser == 0 {
		o.PerUser = 200
	}
	if o.Prices == nil {
		o.Prices = platform.DefaultPrices()
	}
	m, err := metrics.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	m.Users(users)
	return m, prometheus.Gatherers{m}
}

func BenchmarkAdd(b *testing.B) {
	m, _ := fresh(b, 200, metrics.Options{})
	records := traffic(200, 20, 1<<13)
	for _, r := range records {
		m.Add(r)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			m.Add(records[i&(1<<13-1)])
		}
	})
}

// BenchmarkExport is one look at all metrics, as a scrape or a push makes it:
// of 50 users and of as many series as there can be.
func BenchmarkExport(b *testing.B) {
	for _, size := range []struct{ users, orgs int }{{50, 5}, {200, 200}} {
		m, _ := fresh(b, size.users, metrics.Options{})
		for _, r := range traffic(size.users, size.orgs, 100*size.users) {
			m.Add(r)
		}
		b.Run(fmt.Sprintf("users=%d", size.users), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				families, err := m.Gather()
				if err != nil {
					b.Fatal(err)
				}
				n = 0
				encode := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeProtoDelim))
				for _, f := range families {
					n += series(f)
					if err := encode.Encode(f); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n), "series")
		})
	}
}
