package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

func TestTogether(t *testing.T) {
	a := &health.Observations{
		Duration: 10 * time.Second, CPUs: 2, CPUTime: 5 * time.Second, Throttled: &health.Throttling{Periods: 100, Throttled: 3, Time: time.Second},
		Descriptors: &health.Room{Used: 10, Limit: 100}, InFlight: &health.Sample{Count: 5, Mean: 3, Error: 0.3},
	}
	a.ReadLag.Record(time.Millisecond)
	b := &health.Observations{
		Duration: 9 * time.Second, CPUs: 2, CPUTime: 6 * time.Second, Throttled: &health.Throttling{Periods: 101, Throttled: 4, Time: 2 * time.Second},
		Descriptors: &health.Room{Used: 50, Limit: 100}, Ports: &health.Room{Used: 7, Limit: 10}, InFlight: &health.Sample{Count: 5, Mean: 4, Error: 0.4},
	}
	b.ReadLag.Record(time.Second)
	want := &health.Observations{
		Duration: 10 * time.Second, CPUs: 2, CPUTime: 11 * time.Second, Throttled: b.Throttled, Descriptors: b.Descriptors, Ports: b.Ports,
		InFlight: &health.Sample{Count: 10, Mean: 7, Error: 0.5},
	}
	histograms := cmpopts.IgnoreTypes(stats.Histogram{})
	for _, all := range [][]*health.Observations{{a, nil, b}, {b, a}} {
		got := health.Together(all)
		if diff := cmp.Diff(want, got, histograms, cmpopts.EquateApprox(0, 1e-9)); diff != "" || got.ReadLag.Count() != 2 || got.ReadLag.Max() != time.Second {
			t.Error(diff, got.ReadLag.Count())
		}
	}
	if health.Together([]*health.Observations{nil}) != nil {
		t.Error("nobody observed something")
	}
}
