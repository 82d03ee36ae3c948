package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// What this tool may add to a percentile before it says so: a tenth of it, and
// at any rate a millisecond, which is as exact as it promises to be.
const (
	Share = 0.10
	Floor = time.Millisecond
)

// When a resource counts as used up.
const (
	fullRoom      = 0.90 // of descriptors or ports
	fullCPU       = 0.80 // of the CPUs; waiting grows without bound towards all of them
	fullThrottled = 0.05 // of the periods in which the quota applies
)

// Evidence is what a judgement is made from.
type Evidence struct {
	Observations *Observations // nil if nothing was observed
	Latency      *stats.Latencies
	// HeldBack names the limits of the scenario that made requests wait; that
	// wait is in the send lag.
	HeldBack []string
	// Embedded says that the platform was in the same process.
	Embedded bool
}

// Judgement says whether the load generator shows in the numbers.
type Judgement struct {
	Limited bool `json:"limited"`
	// Reasons name what it was short of and what to do, in one sentence each.
	Reasons []string `json:"reasons,omitempty"`
	// Marks are the percentiles of which it is part.
	Marks []Mark `json:"marks,omitempty"`
}

// Mark is a percentile of which the load generator is a notable part.
type Mark struct {
	Metric   string        `json:"metric"` // ttft, itl or e2e
	Quantile float64       `json:"quantile"`
	Value    time.Duration `json:"valueNs"`
	// Added is how much of Value the generator itself may have added, at most.
	Added time.Duration `json:"addedNs"`
}

// Marked returns the mark of a percentile, nil if it has none.
func (j *Judgement) Marked(metric string, q float64) *Mark {
	if j == nil {
		return nil
	}
	for i, m := range j.Marks {
		if m.Metric == metric && m.Quantile == q {
			return &j.Marks[i]
		}
	}
	return nil
}

// Judge says what the generator added to the percentiles, and for want of what.
//
// What it adds to a percentile is taken to be the same percentile of its own
// lateness: in sending, which counts in TTFT and E2E, and in reading, which
// counts in all. That supposes that the requests which were late are also the
// slow ones, so it is the most that can be expected. In reading it is the
// later of the sentinel, which sees what the whole process suffers, and of the
// runtime's scheduler latency, which sees many goroutines wake at once.
func Judge(e Evidence) Judgement {
	var j Judgement
	if e.Observations == nil {
		return j
	}
	o, l := e.Observations, e.Latency
	var worst Mark
	var sending, reading time.Duration // of the worst
	if l != nil {
		for _, m := range []struct {
			name  string
			h     *stats.Histogram
			front bool // counts from the scheduled moment
		}{{"ttft", &l.TTFT, true}, {"itl", &l.ITL, false}, {"e2e", &l.E2E, true}} {
			for _, q := range []float64{0.50, 0.95, 0.99} {
				value, known := m.h.Known(q)
				if !known {
					continue
				}
				read, _ := o.ReadLag.Known(q)
				wait, _ := o.Scheduling.Known(q)
				read = max(read, wait)
				var sent time.Duration
				if m.front {
					sent, _ = l.SendLag.Known(q)
				}
				added := min(sent+read, value)
				if added <= Floor || float64(added) <= Share*float64(value) {
					continue
				}
				mark := Mark{Metric: m.name, Quantile: q, Value: value, Added: added}
				j.Marks = append(j.Marks, mark)
				if worst.Metric == "" || mark.part() > worst.part() {
					worst, sending, reading = mark, sent, read
				}
			}
		}
	}
	if worst.Metric != "" {
		j.Reasons = append(j.Reasons, fmt.Sprintf("this tool itself may have added %s (%s) to %s: %s",
			human.Duration(worst.Added), human.Percent(worst.part()), worst.Name(), o.shortage(e, sending, reading)))
	}
	if o.Descriptors.share() >= fullRoom {
		j.Reasons = append(j.Reasons, fmt.Sprintf("%s of %s file descriptors were open, and what cannot be opened fails: raise the limit (ulimit -n), or use more workers",
			human.Count(o.Descriptors.Used), human.Count(o.Descriptors.Limit)))
	}
	if o.Ports.share() >= fullRoom {
		j.Reasons = append(j.Reasons, fmt.Sprintf("connections took up to %s of %s local ports, and without one none can be opened: widen net.ipv4.ip_local_port_range, or use more workers on other addresses",
			human.Count(o.Ports.Used), human.Count(o.Ports.Limit)))
	}
	j.Limited = len(j.Reasons) > 0
	return j
}

func (m Mark) part() float64 { return float64(m.Added) / float64(m.Value) }

// Name is the percentile as people say it: "TTFT p99".
func (m Mark) Name() string {
	return cmp.Or(map[string]string{"ttft": "TTFT", "itl": "ITL"}[m.Metric], m.Metric) + fmt.Sprintf(" p%g", m.Quantile*100)
}

// shortage says what the process was short of, judging by the clearest sign,
// and what to do about it.
func (o *Observations) shortage(e Evidence, sending, reading time.Duration) string {
	cores := fmt.Sprintf("%s of %s CPUs", human.Rate(o.Cores()), human.Rate(o.CPUs))
	remedy := "give it more CPU, or spread the load over more workers"
	if e.Embedded {
		remedy = "give it more CPU, or run the simulated platform in a process of its own (loadtest platform)"
	}
	pause, _ := o.Pauses.Known(0.99)
	switch {
	case len(e.HeldBack) > 0 && sending > reading:
		return "it held requests back to keep limits." + joined(e.HeldBack) + ", and latency counts that wait: ask for less load, or raise the limit"
	case o.Throttled != nil && o.Throttled.Periods > 0 && float64(o.Throttled.Throttled) >= fullThrottled*float64(o.Throttled.Periods):
		return fmt.Sprintf("its cgroup ran out of CPU quota in %s of the periods (it used %s): raise the CPU limit, or spread the load over more workers",
			human.Percent(float64(o.Throttled.Throttled)/float64(o.Throttled.Periods)), cores)
	case o.Cores() >= fullCPU*o.CPUs && o.CPUs > 0:
		return "CPU: it used " + cores + "; " + remedy
	case pause >= (sending+reading)/2:
		return fmt.Sprintf("garbage collection: its pauses had a p99 of %s; give it memory and set GOGC=400, or spread the load over more workers", human.Duration(pause))
	case reading >= Floor || o.ReadLag.Count() == 0:
		return "the CPU was not there when it was needed, though it used only " + cores + ": run it where less else runs, or spread the load over more workers"
	default:
		return "many requests were due at once; spread the load over more workers, or over time"
	}
}

func joined(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	s := names[0]
	for _, n := range names[1:] {
		s += " and limits." + n
	}
	return s
}
