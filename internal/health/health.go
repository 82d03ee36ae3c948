// Package health judges the load generator itself: what it had to work with,
// how late it was, and whether that shows in the numbers.
//
// A [Monitor] observes this process while it makes load; [Judge] is pure and
// says what follows. What is on Linux alone is unknown elsewhere, and unknown
// is not healthy or ill: it is left out.
package health

import (
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Observations are what was seen of this process while it made load.
type Observations struct {
	Duration time.Duration `json:"durationNs"`
	// CPUs is how many CPUs the process may use at a time: GOMAXPROCS, or the
	// quota of its cgroup if that is less. CPUTime is what it used of
	// CPUs × Duration, 0 where that is unknown.
	CPUs    float64       `json:"cpus"`
	CPUTime time.Duration `json:"cpuTimeNs"`
	// Throttled is how its cgroup held it still; nil without a quota.
	Throttled *Throttling `json:"throttled,omitempty"`
	// ReadLag is the time from readable bytes to read bytes: how late a
	// sentinel was read that became readable at random moments, 100 times a
	// second on average. Linux only.
	ReadLag stats.Histogram `json:"readLag"`
	// Scheduling is how long goroutines that could run waited for a CPU, and
	// Pauses how long the garbage collector stopped them all: the runtime's own
	// histograms, whose buckets are up to 25% wide.
	Scheduling stats.Histogram `json:"scheduling"`
	Pauses     stats.Histogram `json:"gcPauses"`
	// Descriptors are the open files and sockets, Ports the local ports that
	// connections take up, those in TIME_WAIT included; both at most. Nil where
	// unknown.
	Descriptors *Room `json:"descriptors,omitempty"`
	Ports       *Room `json:"ports,omitempty"`
	// InFlight is the mean number of requests under way, seen when the sentinel
	// was read; nil without one.
	InFlight *Sample `json:"inFlight,omitempty"`
}

// Throttling is what a cgroup's CPU quota did.
type Throttling struct {
	Periods   uint64        `json:"periods"`
	Throttled uint64        `json:"throttled"` // of these, in how many the quota was used up
	Time      time.Duration `json:"timeNs"`    // CPUs add up
}

// Room is how much of something bounded was used.
type Room struct {
	Used  uint64 `json:"used"`
	Limit uint64 `json:"limit"`
}

func (r *Room) share() float64 {
	if r == nil || r.Limit == 0 {
		return 0
	}
	return float64(r.Used) / float64(r.Limit)
}

// Sample is a mean and its standard error.
type Sample struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	Error float64 `json:"error"`
}

// Cores is how many CPUs were in use on average.
func (o *Observations) Cores() float64 {
	if o.Duration <= 0 {
		return 0
	}
	return float64(o.CPUTime) / float64(o.Duration)
}
