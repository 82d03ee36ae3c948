package metrics

import (
	"math"
	"runtime"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"
)

// process looks at the process from inside.
type process struct {
	mu   sync.Mutex
	at   time.Time
	used time.Duration
	now  vitals
}

type vitals struct{ memory, goroutines, cpu float64 }

// look measures at most once a second, since several exporters ask at once
// and the use of CPU wants some time to be measured over.
func (p *process) look() vitals {
	p.mu.Lock()
	defer p.mu.Unlock()
	passed := time.Since(p.at)
	if !p.at.IsZero() && passed < time.Second {
		return p.now
	}
	sizes := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(sizes)
	p.now = vitals{
		memory:     float64(sizes[0].Value.Uint64() - sizes[1].Value.Uint64()),
		goroutines: float64(runtime.NumGoroutine()), cpu: math.NaN(),
	}
	if used, ok := cpuTime(); ok {
		if p.at.IsZero() {
			passed = time.Since(born)
		}
		p.now.cpu = (used - p.used).Seconds() / passed.Seconds() / float64(runtime.GOMAXPROCS(0))
		p.used = used
	}
	p.at = time.Now()
	return p.now
}

var born = time.Now()
