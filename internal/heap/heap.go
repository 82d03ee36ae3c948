// Package heap decides how much memory the garbage collector may let pass
// between two collections, and how much there is.
//
// The runtime's own rule is as much as was alive. That is little for the few
// megabytes of a small run, which would be collected many times a second, and
// much for a hundred thousand users, who mostly think. The rule here is a fixed
// room, and half of what is alive where that is more.
package heap

import (
	"io/fs"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cgroup"
)

const (
	// room is how much may be allocated between two collections at least, in bytes.
	room = 32 << 20
	// least is how much may be at least in percent of what is alive.
	least = 50
	// most is the runtime's own: after a collection the last percentage holds
	// until the rule has been applied, and what is alive may have grown a lot.
	most = 100
)

var once sync.Once

// Govern sets the rule for the rest of the process, unless the environment has
// one (GOGC). Where a control group limits the memory, the collector is to keep
// within nine tenths of that, or of its share if so many processes are to share
// it, unless the environment says within what (GOMEMLIMIT). Only the first call
// counts.
func Govern(processes int) {
	once.Do(func() {
		if all := limit(os.DirFS("/")); all > 0 && os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(all / 10 * 9 / int64(max(1, processes)))
		}
		if os.Getenv("GOGC") == "" {
			(&governor{ballast: make([]byte, room)}).govern()
		}
	})
}

// governor is garbage at every collection: its finalizer learns what was alive.
type governor struct {
	percent int // in force; 0: the runtime's own
	// ballast is alive and never touched, so that the system provides nothing of
	// it: with it most is enough for room.
	ballast []byte
}

func (g *governor) govern() {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(alive)
	sum := uint64(0)
	for _, s := range alive {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	// Setting it stops the world for a moment: not for a trifle.
	if p := percent(sum); math.Abs(float64(p-g.percent)) > float64(g.percent)/20 {
		debug.SetGCPercent(p)
		g.percent = p
	}
	runtime.SetFinalizer(g, (*governor).govern)
}

// percent is what GOGC has to be when so many bytes are alive, of which those
// of stacks and globals count too.
func percent(alive uint64) int {
	return int(min(most, max(least, 100*room/max(1, alive))))
}

// limit is the lowest of what the control groups around this process allow it, in
// bytes; 0 if they do not limit it.
func limit(fsys fs.FS) (lowest int64) {
	for folder, version := range cgroup.Folders(fsys, "memory") {
		file := folder + "/memory.max"
		if version == 1 {
			file = folder + "/memory.limit_in_bytes"
		}
		// Version 1 says that there is none by the largest number of whole pages.
		if n := cgroup.Number(fsys, file); n > 0 && n < math.MaxInt64>>1 && (lowest == 0 || n < lowest) {
			lowest = n
		}
	}
	return lowest
}
