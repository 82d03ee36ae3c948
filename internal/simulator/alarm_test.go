package simulator

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// notes is an alarm that remembers what it was told, and when.
type notes struct {
	mu sync.Mutex
	at map[time.Time]time.Time
}

func (n *notes) Wake(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[at] = time.Now()
}

// TestTheAlarmKnowsEveryMoment: whatever somebody waits for, a thought or a
// retry, the alarm was told of beforehand.
func TestTheAlarmKnowsEveryMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &llm{service: time.Second, fails: func(n int) error {
			if n%4 == 1 {
				return &platform.Error{Kind: record.HTTPError, Status: 500}
			}
			return nil
		}}
		alarm := &notes{at: map[time.Time]time.Time{}}
		f := newFleet(t, l, Options{Users: population(2, 3), Script: once(script(t)), Alarm: alarm})
		f.opt.Asker = &Retry{Asker: l, RetryPolicy: RetryPolicy{Attempts: 3}, Now: f.now, Alarm: alarm}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		retries := 0
		for _, q := range l.asked {
			if q.Attempt > 1 {
				retries++
			}
			if q.Scheduled == 0 { // nobody thinks before his first question
				continue
			}
			told, ok := alarm.at[f.opt.Epoch.Add(q.Scheduled)]
			if !ok || q.At > q.Scheduled || told.After(f.opt.Epoch.Add(q.Scheduled)) {
				t.Errorf("attempt %d of %s, due at %v and sent at %v: told at %v", q.Attempt, q.Request.ID, q.Scheduled, q.At, told)
			}
		}
		if retries == 0 || len(l.asked) < 60 {
			t.Errorf("%d requests, %d of them retries", len(l.asked), retries)
		}
	})
}
