// Package alarm makes timers go off on time.
//
// A Go process with nothing to do sleeps in epoll_wait, which counts whole
// milliseconds. For a timer the runtime sleeps the whole ones, wakes early, and
// then sleeps one more: on Linux, timers go off up to 1 ms late, and half of
// that on average. A tool that counts latency from the moment at which a
// request was meant to leave counts that in.
//
// A [Clock] is told of the moments that matter. It keeps a timerfd set to the
// earliest of them, to the nanosecond, and the runtime waits for that as it
// does for a socket. When it rings the runtime wakes, and while it is awake it
// lets go off what is due. So whoever waits goes on waiting with package time,
// which testing/synctest can turn forward, and nothing but punctuality depends
// on the clock. Elsewhere than on Linux the runtime waits precisely by itself,
// or cannot be helped in this way, and a Clock does nothing.
package alarm

import (
	"sync"
	"time"
)

// rest is the least time between two rings. Where moments crowd, it makes one
// ring do for several: it bounds what the clock costs, and adds at most that
// much to how late a timer is.
const rest = 200 * time.Microsecond

// Clock wakes the runtime at given moments. Make one with [New]. Its methods
// may be called by many at once, and on nil, which does nothing.
type Clock struct {
	start time.Time
	bell  *Bell
	done  chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	closed bool
	due    moments       // what has not passed yet, from start
	next   time.Duration // when the bell is to ring; 0 if it is not
	rung   time.Duration // when it did last
}

// New returns a clock at work; the caller must Close it. The error says that
// the system refused, and that timers will be as late as they are without one.
// Where there is nothing to do, both are nil.
func New() (*Clock, error) {
	b, err := NewBell()
	if b == nil {
		return nil, err
	}
	c := &Clock{start: time.Now(), bell: b, done: make(chan struct{})}
	go c.run()
	return c, nil
}

// Wake asks for the runtime to be awake at a moment. It is to be called before
// waiting for that moment, and takes a fraction of a microsecond. There is no
// need to call a moment off.
func (c *Clock) Wake(at time.Time) {
	if c == nil {
		return
	}
	d := max(1, at.Sub(c.start))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.due.push(d)
	if c.next == 0 || d < c.next {
		c.set()
	}
}

// set sets the bell to the earliest moment, of which there is one; c.mu is
// locked.
func (c *Clock) set() {
	c.next = max(c.due[0], c.rung+rest)
	c.bell.Set(max(1, c.next-time.Since(c.start)))
}

// run strikes off what has passed, whenever the bell rings.
func (c *Clock) run() {
	defer close(c.done)
	for c.bell.Wait() {
		c.mu.Lock()
		c.next, c.rung = 0, time.Since(c.start)
		for len(c.due) > 0 && c.due[0] <= c.rung {
			c.due.pop()
		}
		if len(c.due) > 0 {
			c.set()
		}
		c.mu.Unlock()
	}
}

// Close ends the clock's work. Calling it again does nothing.
func (c *Clock) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	if !c.closed {
		c.closed, c.due = true, nil
		c.bell.Close()
	}
	c.mu.Unlock()
	<-c.done
}
