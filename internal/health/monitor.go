package health

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/alarm"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// every is the mean time between two readings of the sentinel. A hundred a
// second make a p99 within seconds and cost 0.1% of a CPU.
const every = 10 * time.Millisecond

// Monitor observes this process. Make one with [Start].
type Monitor struct {
	began    time.Time
	before   counters
	inFlight func() int64
	bell     *alarm.Bell
	cancel   context.CancelFunc
	stopped  atomic.Bool // the bell rings once more and is not set again
	done     sync.WaitGroup

	// Of the goroutines, until Stop has waited for them.
	lag         stats.Histogram
	sum, square float64
	descriptors *Room
	ports       *Room
}

// Start begins to observe; the caller must Stop the monitor. inFlight says how
// many requests are under way; nil if nobody knows. crashed is told of a panic,
// after which less is observed.
func Start(inFlight func() int64, crashed func(error)) *Monitor {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Monitor{began: time.Now(), inFlight: inFlight, cancel: cancel}
	m.before.read()
	observe := func(how func()) {
		m.done.Go(func() {
			if err := crash.Guard("the watch over this process", func() error { how(); return nil }); err != nil {
				crashed(err)
			}
		})
	}
	if bell, err := alarm.NewBell(); err == nil && bell != nil {
		m.bell = bell
		observe(m.listen)
	}
	observe(func() { m.look(ctx) })
	return m
}

// listen reads the sentinel: a timer of the kernel's that becomes readable at
// moments of a Poisson process, which see a system as it is on average
// (R. W. Wolff, "Poisson arrivals see time averages", 1982). The moments do
// not depend on when the one before was read, so a process that stands still
// finds all that it has missed: nothing is omitted in coordination with it.
func (m *Monitor) listen() {
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // moments are no secrets
	gap := func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(every)) }
	due := gap()
	for {
		m.bell.Set(max(1, due-time.Since(m.began)))
		if !m.bell.Wait() || m.stopped.Load() {
			return
		}
		now := time.Since(m.began)
		n := 0.0
		if m.inFlight != nil {
			n = float64(m.inFlight())
		}
		for ; due <= now; due += gap() {
			m.lag.Record(now - due)
			m.sum, m.square = m.sum+n, m.square+n*n
		}
	}
}

// look notes the room that is left, now and then.
func (m *Monitor) look(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		m.descriptors, m.ports = m.descriptors.most(descriptors()), m.ports.most(ports())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// most is the fuller of the two.
func (r *Room) most(o *Room) *Room {
	if r == nil || o != nil && o.share() > r.share() {
		return o
	}
	return r
}

// Stop ends the observation and returns what was seen.
func (m *Monitor) Stop() *Observations {
	m.cancel()
	m.stopped.Store(true)
	if m.bell != nil {
		m.bell.Set(1)
	}
	m.done.Wait()
	if m.bell != nil {
		m.bell.Close()
	}
	var after counters
	after.read()
	o := &Observations{
		Duration: time.Since(m.began), CPUs: float64(runtime.GOMAXPROCS(0)), CPUTime: after.cpu - m.before.cpu,
		ReadLag: m.lag, Scheduling: grown(m.before.scheduling, after.scheduling), Pauses: grown(m.before.pauses, after.pauses),
		Descriptors: m.descriptors, Ports: m.ports,
	}
	if q := after.quota; q.cpus > 0 {
		o.CPUs = min(o.CPUs, q.cpus)
		o.Throttled = &Throttling{Periods: q.Periods - min(q.Periods, m.before.quota.Periods),
			Throttled: q.Throttled - min(q.Throttled, m.before.quota.Throttled), Time: max(0, q.Time-m.before.quota.Time)}
	}
	if n := float64(m.lag.Count()); m.inFlight != nil && n > 1 {
		mean := m.sum / n
		o.InFlight = &Sample{Count: m.lag.Count(), Mean: mean, Error: math.Sqrt(max(0, m.square/n-mean*mean) / (n - 1))}
	}
	return o
}

// counters are what only grows.
type counters struct {
	cpu                time.Duration
	scheduling, pauses *metrics.Float64Histogram
	quota              quota
}

func (c *counters) read() {
	c.cpu = cpuTime()
	c.quota = readQuota(root)
	samples := []metrics.Sample{{Name: "/sched/latencies:seconds"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(samples)
	for i, h := range []**metrics.Float64Histogram{&c.scheduling, &c.pauses} {
		if samples[i].Value.Kind() == metrics.KindFloat64Histogram {
			*h = samples[i].Value.Float64Histogram()
		}
	}
}

// grown is what came to a histogram of seconds, each value as the middle of its
// bucket, or the finite end of it.
func grown(before, after *metrics.Float64Histogram) (h stats.Histogram) {
	if after == nil {
		return h
	}
	for i, n := range after.Counts {
		if before != nil && i < len(before.Counts) {
			n -= min(n, before.Counts[i])
		}
		if n == 0 {
			continue
		}
		lo, hi := after.Buckets[i], after.Buckets[i+1]
		switch {
		case math.IsInf(lo, -1):
			lo = hi
		case math.IsInf(hi, 1):
			hi = lo
		}
		h.RecordN(time.Duration((lo+hi)/2*float64(time.Second)), n)
	}
	return h
}
