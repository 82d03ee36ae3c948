package processes_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/processes"
)

// counts are the values that the parent shows, by worker.
func counts(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			all[m.Label[0].GetValue()] += m.Counter.GetValue()
		}
	}
	return fmt.Sprint(all)
}

// The parent shows the metrics of all children as they are when it is asked,
// and their last ones after they have ended, without those of one that died.
func TestTheParentShowsTheMetricsOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := func(died error) func(*processes.Child) error {
			return func(c *processes.Child) error {
				c.Listen(func(export.Stop) {})
				at, _, err := c.Ready(context.Background())
				if err != nil {
					return err
				}
				reg := prometheus.NewRegistry()
				n := prometheus.NewCounter(prometheus.CounterOpts{Name: "n", ConstLabels: prometheus.Labels{"worker_id": strconv.Itoa(c.Order.Worker)}})
				reg.MustRegister(n)
				c.Order.Metered = true
				time.Sleep(time.Until(at))
				n.Inc()
				c.Offer(reg)
				time.Sleep(time.Minute)
				n.Add(10)
				if died == nil {
					c.Finish(document(c, "completed"))
				}
				return died
			}
		}
		c := crew(t, child(nil), child(nil), child(errKilled))
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			c.Run(t.Context())
		}()
		if got := counts(t, c); got != "map[]" {
			t.Errorf("before the load: %s", got)
		}
		time.Sleep(time.Second)
		if got := counts(t, c); got != "map[0:1 1:1 2:1]" {
			t.Errorf("under load: %s", got)
		}
		<-ran
		if got := counts(t, c); got != "map[0:11 1:11]" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// A child that does not answer holds nobody up for ever.
func TestTheParentDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := make(chan struct{})
		c := crew(t, func(c *processes.Child) error {
			c.Offer(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
				<-enough
				return nil, nil
			}))
			c.Listen(func(export.Stop) {})
			<-enough
			return errKilled
		})
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			c.Run(t.Context())
		}()
		for range 2 { // it is not asked again before it has answered
			began := time.Now()
			if got := counts(t, c); got != "map[]" || time.Since(began) != 5*time.Second {
				t.Errorf("%s after %v", got, time.Since(began))
			}
		}
		close(enough)
		<-ran
	})
}
