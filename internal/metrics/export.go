package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	dto "github.com/prometheus/client_model/go"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
)

// Target is a place that metrics are handed over to.
type Target struct {
	Name string // pushgateway, remote_write or otlp
	URL  string // as people may read it
	// Push hands over all metrics as they are now.
	Push func(ctx context.Context, families []*dto.MetricFamily) error
	// Close lets go of the target, after the last push.
	Close func(ctx context.Context) error
}

const (
	// pushTime bounds one attempt.
	pushTime = 10 * time.Second
	// lastTime bounds the attempts at the last push. A target that never took
	// anything gets one.
	lastTime = 5 * time.Second
	// firstPause keeps a target that is down from costing more than one that is
	// not: every attempt has fresh numbers, which take CPU time to make.
	firstPause = time.Second
)

// Exporter pushes metrics to a target while a run lasts. It runs beside the
// load: however slow or dead the target is, no request waits for it.
type Exporter struct {
	target  Target
	metrics *Metrics
	stop    context.CancelFunc
	done    chan struct{}

	ok, failed int
	last       error // of the last attempt
}

// Export starts to push to a target, at once and then at every interval.
// Stop must be called.
func (m *Metrics) Export(t Target, interval time.Duration) *Exporter {
	ctx, stop := context.WithCancel(context.Background())
	x := &Exporter{target: t, metrics: m, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for ctx.Err() == nil {
			x.attempts(ctx, interval)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return x
}

// Stop ends the pushing with a last push, and says in a sentence for people
// what could not be delivered; empty if all is well.
func (x *Exporter) Stop(ctx context.Context) (problem string) {
	x.stop()
	<-x.done
	known := x.ok > 0
	patience := lastTime
	if !known {
		patience = 0
	}
	x.attempts(ctx, patience)
	delivered := x.last
	if x.target.Close != nil && x.ok > 0 {
		ctx, cancel := context.WithTimeout(ctx, pushTime)
		defer cancel()
		if err := x.target.Close(ctx); err != nil && delivered == nil {
			return fmt.Sprintf("%s at %s has the metrics, but was not left in order: %v", x.target.Name, x.target.URL, err)
		}
	}
	switch total := x.ok + x.failed; {
	case delivered != nil && x.ok == 0:
		return fmt.Sprintf("no metrics reached %s at %s, in %d attempts: %v; the result has all measurements", x.target.Name, x.target.URL, total, delivered)
	case delivered != nil:
		return fmt.Sprintf("metrics at %s at %s are not complete: %d of %d attempts failed, the last one too: %v; the result has all measurements", x.target.Name, x.target.URL, x.failed, total, delivered)
	case x.failed > 0:
		return fmt.Sprintf("metrics did not reach %s at %s in %d of %d attempts; it has the last ones", x.target.Name, x.target.URL, x.failed, total)
	}
	return ""
}

// attempts pushes what there is, again and again while it fails, until
// patience is over.
func (x *Exporter) attempts(ctx context.Context, patience time.Duration) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, 5*time.Second
	_, _ = backoff.Retry(ctx, func() (struct{}, error) { // the error is kept
		err := x.push(ctx)
		interrupted := err != nil && ctx.Err() != nil // by us: no fault of the target's
		if !interrupted {
			x.last = err
			x.count(err)
			x.metrics.exports.count(x.target.Name, err)
		}
		if patience == 0 && err != nil {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(max(patience, time.Nanosecond)))
}

func (x *Exporter) count(err error) {
	if err == nil {
		x.ok++
	} else {
		x.failed++
	}
}

func (x *Exporter) push(ctx context.Context) error {
	return crash.Guard("the exporter", func() error { return x.hand(ctx) })
}

func (x *Exporter) hand(ctx context.Context) error {
	families, err := x.metrics.Gather()
	if err != nil {
		return fmt.Errorf("gather the metrics: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pushTime, errSlow)
	defer cancel()
	if err = x.target.Push(ctx, families); err != nil && errors.Is(context.Cause(ctx), errSlow) {
		return errSlow
	}
	return err
}

var errSlow = fmt.Errorf("it did not take them within %v", pushTime)

// exports count the attempts of all exporters.
type exports struct {
	mu     sync.Mutex
	counts []exportCount
}

type exportCount struct {
	name       string
	ok, failed uint64
}

func (c *exports) count(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.counts, func(have exportCount) bool { return have.name == name })
	if i < 0 {
		i = len(c.counts)
		c.counts = append(c.counts, exportCount{name: name})
	}
	if err == nil {
		c.counts[i].ok++
	} else {
		c.counts[i].failed++
	}
}

func (c *exports) emit(e emitter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.counts {
		e.number("worker_export_attempts_total", float64(n.ok), n.name, "ok")
		e.number("worker_export_attempts_total", float64(n.failed), n.name, "failed")
	}
}
