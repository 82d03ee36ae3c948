package live

import (
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// What was counted in a worker's place stays in the sum, whoever has it.
func TestTallyOfReplacedWorkers(t *testing.T) {
	latency := func(d time.Duration) *stats.Latencies {
		l := &stats.Latencies{}
		l.E2E.Record(d)
		return l
	}
	tally := NewTally(2)
	if s := tally.Snapshot(); s.Stage != "starting" || s.Latency != nil {
		t.Errorf("before anything is said: %+v", s)
	}
	tally.Note(0, Snapshot{Stage: Running, Users: 3, Totals: stats.Totals{Requests: 5}, Latency: latency(time.Second), Open: &Open{Rate: 2, Arrivals: 6, Dropped: 1}})
	if _, any := tally.Before(0); any {
		t.Error("somebody is said to have been there before the first")
	}
	tally.Replace(0)
	tally.Note(0, Snapshot{Stage: Running, Users: 2, Totals: stats.Totals{Requests: 1}, Latency: latency(time.Minute), Open: &Open{Rate: 2, Arrivals: 2}})
	tally.Carry(0, stats.Totals{Requests: 99}) // which is known better
	tally.Carry(1, stats.Totals{Requests: 10})
	s := tally.Snapshot()
	if s.Totals.Requests != 16 || s.Users != 2 || s.Latency.E2E.Count() != 2 || *s.Open != (Open{Rate: 2, Arrivals: 8, Dropped: 1}) {
		t.Errorf("%+v, %+v", s, s.Open)
	}
	if before, any := tally.Before(0); !any || before.Requests != 5 || tally.Totals(0).Requests != 6 || tally.Totals(1).Requests != 10 {
		t.Errorf("%d before, %d in all", before.Requests, tally.Totals(0).Requests)
	}
	tally.Gone(0)
	if s := tally.Snapshot(); s.Users != 0 || s.Totals.Requests != 16 || tally.Stage(0) != "finished" {
		t.Errorf("%+v", s)
	}
}
