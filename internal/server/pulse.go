package server

import (
	"sync/atomic"
	"time"
)

// Pulse is the heartbeat of a loop that must not stand still. The zero value
// expects none. It is safe for concurrent use, and waits for nobody.
type Pulse struct{ last atomic.Pointer[time.Time] }

// Beat says that the loop goes round; from now on it is expected to.
func (p *Pulse) Beat() {
	now := time.Now()
	p.last.Store(&now)
}

// Rest says that the loop is over: nothing more is expected.
func (p *Pulse) Rest() { p.last.Store(nil) }

// Age is how long ago the last beat was, and whether any is expected.
func (p *Pulse) Age() (age time.Duration, expected bool) {
	last := p.last.Load()
	if last == nil {
		return 0, false
	}
	return time.Since(*last), true
}
