package alarm

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMomentsComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m moments
		var want []time.Duration
		// Pushes and pops are mixed; the model is a sorted list.
		for _, v := range rapid.SliceOf(rapid.Int64Range(-5, 100)).Draw(t, "moments, or pops below zero") {
			switch {
			case v >= 0:
				m.push(time.Duration(v))
				i, _ := slices.BinarySearch(want, time.Duration(v))
				want = slices.Insert(want, i, time.Duration(v))
			case len(want) > 0:
				m.pop()
				want = want[1:]
			}
			if len(m) != len(want) {
				t.Fatalf("%d moments, want %d", len(m), len(want))
			}
		}
		for ; len(want) > 0; want = want[1:] {
			if m[0] != want[0] {
				t.Fatalf("the earliest is %d, want %d", m[0], want[0])
			}
			m.pop()
		}
	})
}

// start returns a clock, or skips the test where there is none.
func start(t *testing.T) *Clock {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		t.Skip("there is nothing to do on this system")
	}
	t.Cleanup(c.Close)
	return c
}

// pending is how many moments have not been struck off.
func (c *Clock) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.due)
}

func TestEveryMomentIsRungFor(t *testing.T) {
	c := start(t)
	last := time.Now().Add(20 * time.Millisecond)
	var ringers sync.WaitGroup
	for range 8 {
		ringers.Go(func() {
			for range 200 {
				c.Wake(last.Add(-time.Duration(rand.Int64N(int64(21 * time.Millisecond))))) // some have passed
			}
			c.Wake(last)
		})
	}
	ringers.Wait()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for c.pending() > 0 { // fails by the test's time-out
		<-poll.C
	}
	if c.rung < last.Sub(c.start) {
		t.Errorf("the last ring was at %v, before the last moment %v", c.rung, last.Sub(c.start))
	}
}

func TestCloseWhileWaiting(t *testing.T) {
	c := start(t)
	c.Wake(time.Now().Add(time.Hour))
	c.Close()
	c.Close()
	c.Wake(time.Now())
	if n := c.pending(); n != 0 {
		t.Errorf("a closed clock keeps %d moments", n)
	}
}

func TestNoClockIsFine(*testing.T) {
	var c *Clock
	c.Wake(time.Now())
	c.Close()
}

// BenchmarkLateness is how late a timer goes off in a process that is
// otherwise idle, with a clock and without.
func BenchmarkLateness(b *testing.B) {
	measure := func(c *Clock) func(*testing.B) {
		return func(b *testing.B) {
			late := make([]time.Duration, 0, b.N)
			timer := time.NewTimer(time.Hour)
			for b.Loop() {
				due := time.Now().Add(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
				c.Wake(due)
				timer.Reset(time.Until(due))
				<-timer.C
				late = append(late, time.Since(due))
			}
			slices.Sort(late)
			b.ReportMetric(float64(late[len(late)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(late[len(late)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(0, "ns/op") // says only how long the timers were
		}
	}
	b.Run("runtime", measure(nil))
	c, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.Run("clock", measure(c))
}

// BenchmarkWake is what telling a clock costs that has many moments to mind.
func BenchmarkWake(b *testing.B) {
	c, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	soon := time.Now().Add(time.Hour)
	for range 100_000 {
		c.Wake(soon.Add(time.Duration(rand.Int64N(int64(time.Hour)))))
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Wake(soon.Add(time.Duration(rand.Int64N(int64(time.Hour)))))
	}
}
