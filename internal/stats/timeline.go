package stats

import (
	"encoding/json"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// maxIntervals bounds a timeline: when it is full, the interval doubles and
// neighbours are joined, so that a run of any length fits.
const maxIntervals = 1800

// openIntervals is how many of the latest intervals keep a histogram that can
// be added to at once; older ones are packed.
const openIntervals = 3

// Timeline is the run in equal intervals. A request belongs to the interval
// in which it ended.
type Timeline struct {
	Interval  time.Duration `json:"intervalNs"`
	Intervals []*Interval   `json:"intervals"` // the first starts at 0
}

// Interval is one slice of time. Latencies are of successes, measured or not.
type Interval struct {
	Totals Totals `json:"totals"`
	// E2E and TTFT are nil while packed; use Latency to read.
	E2E  *Histogram `json:"e2e,omitempty"`
	TTFT *Histogram `json:"ttft,omitempty"`
	// Users is how many users were active: the highest number seen.
	Users int `json:"users"`
	// Phase is the phase at the end of the interval.
	Phase string `json:"phase,omitempty"`

	packedE2E, packedTTFT packed
}

// NewTimeline returns an empty timeline of one-second intervals.
func NewTimeline() *Timeline { return &Timeline{Interval: time.Second} }

func (t *Timeline) at(offset time.Duration) *Interval {
	i := int(max(0, offset) / t.Interval)
	for i >= maxIntervals {
		t.coarsen()
		i = int(max(0, offset) / t.Interval)
	}
	for len(t.Intervals) <= i {
		t.Intervals = append(t.Intervals, &Interval{})
		if old := len(t.Intervals) - 1 - openIntervals; old >= 0 {
			t.Intervals[old].pack()
		}
	}
	return t.Intervals[i]
}

// coarsen doubles the interval.
func (t *Timeline) coarsen() {
	t.Interval *= 2
	half := t.Intervals[:0]
	for i := 0; i < len(t.Intervals); i += 2 {
		in := t.Intervals[i]
		if i+1 < len(t.Intervals) {
			in.merge(t.Intervals[i+1], max(in.Users, t.Intervals[i+1].Users))
		}
		in.pack()
		half = append(half, in)
	}
	clear(t.Intervals[len(half):])
	t.Intervals = half
}

func (t *Timeline) add(r *record.Record, good bool) {
	in := t.at(r.Done)
	in.Totals.add(r, good)
	if r.Outcome != record.Success || r.Injected() {
		return
	}
	in.unpack()
	in.E2E.Record(r.E2E())
	if ttft, ok := r.TTFT(); ok {
		in.TTFT.Record(ttft)
	}
}

// Observe notes the number of active users and the phase at a moment.
func (t *Timeline) Observe(offset time.Duration, users int, phase string) {
	in := t.at(offset)
	in.Users = max(in.Users, users)
	in.Phase = phase
}

// Merge adds o, another worker's timeline of the same run. Users add up.
func (t *Timeline) Merge(o *Timeline) {
	if o == nil {
		return
	}
	o = o.clone()
	for t.Interval < o.Interval {
		t.coarsen()
	}
	for o.Interval < t.Interval {
		o.coarsen()
	}
	for i, from := range o.Intervals {
		if i >= len(t.Intervals) {
			t.Intervals = append(t.Intervals, from)
			continue
		}
		into := t.Intervals[i]
		into.merge(from, into.Users+from.Users)
		into.pack()
	}
}

func (t *Timeline) clone() *Timeline {
	c := &Timeline{Interval: t.Interval, Intervals: make([]*Interval, len(t.Intervals))}
	for i, in := range t.Intervals {
		n := &Interval{Users: in.Users, Phase: in.Phase}
		n.merge(in, in.Users)
		n.pack()
		c.Intervals[i] = n
	}
	return c
}

func (in *Interval) merge(o *Interval, users int) {
	in.Totals.Merge(o.Totals)
	in.unpack()
	e2e, ttft := o.Latency()
	in.E2E.Merge(e2e)
	in.TTFT.Merge(ttft)
	in.Users = users
	if o.Phase != "" {
		in.Phase = o.Phase
	}
}

// Latency returns the interval's end-to-end and TTFT histograms, never nil.
// They may share memory with the interval: read only.
func (in *Interval) Latency() (e2e, ttft *Histogram) {
	e2e, ttft = in.E2E, in.TTFT
	if e2e == nil {
		e2e = in.packedE2E.histogram()
	}
	if ttft == nil {
		ttft = in.packedTTFT.histogram()
	}
	return e2e, ttft
}

// MarshalJSON implements json.Marshaler; it writes packed histograms as they are.
func (in *Interval) MarshalJSON() ([]byte, error) {
	type plain Interval
	out := plain(*in)
	out.E2E, out.TTFT = in.Latency()
	if out.E2E.Count() == 0 {
		out.E2E = nil
	}
	if out.TTFT.Count() == 0 {
		out.TTFT = nil
	}
	return json.Marshal(&out)
}

func (in *Interval) pack() {
	if in.E2E != nil {
		in.packedE2E, in.E2E = packHistogram(in.E2E), nil
	}
	if in.TTFT != nil {
		in.packedTTFT, in.TTFT = packHistogram(in.TTFT), nil
	}
}

func (in *Interval) unpack() {
	in.E2E, in.TTFT = in.Latency()
	in.packedE2E, in.packedTTFT = nil, nil
}

// packed is a histogram without its empty buckets: the JSON form, which is
// small and already tested.
type packed []byte

func packHistogram(h *Histogram) packed {
	if h.Count() == 0 {
		return nil
	}
	b, err := h.MarshalJSON()
	if err != nil {
		panic("stats: a histogram cannot be encoded: " + err.Error()) // only numbers; cannot happen
	}
	return b
}

func (p packed) histogram() *Histogram {
	h := new(Histogram)
	if len(p) == 0 {
		return h
	}
	if err := h.UnmarshalJSON(p); err != nil {
		panic("stats: a packed histogram does not decode: " + err.Error()) // we packed it
	}
	return h
}
