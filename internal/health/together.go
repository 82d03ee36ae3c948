package health

import (
	"math"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Together is what processes that made load on one machine at the same time
// observed: they share its CPUs, its quota and its ports, and have descriptors
// of their own, of which the fullest counts. Nil entries are left out; nil if
// there are no others.
func Together(all []*Observations) *Observations {
	var sum *Observations
	for _, o := range all {
		if o == nil {
			continue
		}
		if sum == nil {
			sum = &Observations{}
		}
		sum.Duration, sum.CPUs = max(sum.Duration, o.Duration), max(sum.CPUs, o.CPUs)
		sum.CPUTime += o.CPUTime
		for _, h := range [][2]*stats.Histogram{{&sum.ReadLag, &o.ReadLag}, {&sum.Scheduling, &o.Scheduling}, {&sum.Pauses, &o.Pauses}} {
			h[0].Merge(h[1])
		}
		if t := o.Throttled; t != nil && (sum.Throttled == nil || t.Time > sum.Throttled.Time) {
			sum.Throttled = t
		}
		sum.Descriptors, sum.Ports = fuller(sum.Descriptors, o.Descriptors), fuller(sum.Ports, o.Ports)
		if s := o.InFlight; s != nil {
			if sum.InFlight == nil {
				sum.InFlight = &Sample{}
			}
			sum.InFlight.Count += s.Count
			sum.InFlight.Mean += s.Mean
			sum.InFlight.Error = math.Hypot(sum.InFlight.Error, s.Error)
		}
	}
	return sum
}

// Apart is what processes observed on machines of their own, whose CPUs add up.
func Apart(all []*Observations) *Observations {
	sum := Together(all)
	if sum != nil {
		sum.CPUs = 0
	}
	for _, o := range all {
		if o != nil {
			sum.CPUs += o.CPUs
		}
	}
	return sum
}

func fuller(a, b *Room) *Room {
	if a == nil || b.share() > a.share() {
		return b
	}
	return a
}
