package stats

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

const (
	subBits    = 7            // buckets per power of two: 128
	subBuckets = 1 << subBits // a bucket is at most 1/128 of its value wide
	pages      = 64 - subBits
)

type page [subBuckets]uint64

// Histogram counts durations in log-linear buckets: each power of two of
// nanoseconds is cut into 128 equal parts, so that a value read back (the
// middle of its bucket) is off by at most 1/256, 0.4%, and below 128 ns by
// nothing. The layout is HdrHistogram's idea with fixed parameters, which is
// what makes any two histograms addable. The zero value is empty and ready.
//
// Pages of buckets are allocated when first used: latencies that spread over
// a factor of 30 take 5 KiB.
type Histogram struct {
	count    uint64
	sum      float64 // ns; exact up to 2^53
	min, max int64
	pages    [pages]*page
}

func locate(v int64) (pg, sub int) {
	if v < subBuckets {
		return 0, int(v)
	}
	e := bits.Len64(uint64(v)) - subBits - 1
	return e + 1, int(uint64(v)>>e) - subBuckets
}

// bounds returns the lowest and highest value of a bucket.
func bounds(pg, sub int) (lo, hi int64) {
	if pg == 0 {
		return int64(sub), int64(sub)
	}
	e := pg - 1
	lo = int64(sub+subBuckets) << e
	return lo, lo + int64(1)<<e - 1
}

// Record adds one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) { h.RecordN(d, 1) }

// RecordN adds the same duration n times.
func (h *Histogram) RecordN(d time.Duration, n uint64) {
	if n == 0 {
		return
	}
	v := max(0, int64(d))
	pg, sub := locate(v)
	p := h.pages[pg]
	if p == nil {
		p = new(page)
		h.pages[pg] = p
	}
	p[sub] += n
	if h.count == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.count += n
	h.sum += float64(v) * float64(n)
}

// Merge adds everything in o to h. Counts, minimum, maximum and percentiles
// do not depend on the order of merging.
func (h *Histogram) Merge(o *Histogram) {
	if o == nil || o.count == 0 {
		return
	}
	if h.count == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.count += o.count
	h.sum += o.sum
	for i, src := range o.pages {
		if src == nil {
			continue
		}
		dst := h.pages[i]
		if dst == nil {
			dst = new(page)
			h.pages[i] = dst
		}
		for j, n := range src {
			dst[j] += n
		}
	}
}

// Count is the number of recorded durations.
func (h *Histogram) Count() uint64 { return h.count }

// Min is the smallest recorded duration, exactly; 0 when empty.
func (h *Histogram) Min() time.Duration { return time.Duration(h.min) }

// Max is the largest recorded duration, exactly; 0 when empty.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Sum is the total of the recorded durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum) }

// Mean is the arithmetic mean; 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile returns the value at rank ⌈q·count⌉ (nearest rank), 0 < q ≤ 1,
// within 0.4%; 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	d, _ := h.QuantileWithLate(q, 0)
	return d
}

// QuantileWithLate is [Histogram.Quantile] as if late further requests had
// been infinitely slow, which is how a failure counts against an objective.
// It reports false if the quantile falls among those.
func (h *Histogram) QuantileWithLate(q float64, late uint64) (time.Duration, bool) {
	total := h.count + late
	if total == 0 {
		return 0, true
	}
	rank := rankOf(q, total)
	if rank > h.count {
		return 0, false
	}
	lo, hi := h.at(rank)
	return h.clamp(lo + (hi-lo)/2), true
}

func (h *Histogram) clamp(d time.Duration) time.Duration {
	return min(max(d, h.Min()), h.Max())
}

// rankOf is the nearest rank ⌈q·n⌉, from 1 to n.
func rankOf(q float64, n uint64) uint64 {
	rank := uint64(math.Ceil(q*float64(n) - 1e-9))
	return min(max(rank, 1), n)
}

// at returns between which durations the one of a rank lies, 1 ≤ rank ≤ count.
func (h *Histogram) at(rank uint64) (lo, hi time.Duration) {
	var seen uint64
	for pg, p := range h.pages {
		if p == nil {
			continue
		}
		for sub, n := range p {
			seen += n
			if n > 0 && seen >= rank {
				lo, hi := bounds(pg, sub)
				return time.Duration(lo), time.Duration(hi)
			}
		}
	}
	return time.Duration(h.max), time.Duration(h.max)
}

// CountAbove returns how many durations lie in buckets wholly above d.
func (h *Histogram) CountAbove(d time.Duration) uint64 {
	var n uint64
	h.Each(func(lo, _ time.Duration, count uint64) {
		if lo > d {
			n += count
		}
	})
	return n
}

// Each calls f for every bucket that is not empty, in ascending order, with
// its lowest and highest value, both inclusive.
func (h *Histogram) Each(f func(lo, hi time.Duration, count uint64)) {
	for pg, p := range h.pages {
		if p == nil {
			continue
		}
		for sub, n := range p {
			if n > 0 {
				lo, hi := bounds(pg, sub)
				f(time.Duration(lo), time.Duration(hi), n)
			}
		}
	}
}

// histogramJSON is the form in files. Bucket i covers the values whose
// position is (power of two, part): i = 128·page + part, as in locate.
// Index holds the first index and then the distance to each next one.
type histogramJSON struct {
	Count  uint64   `json:"count"`
	SumNs  float64  `json:"sumNs"`
	MinNs  int64    `json:"minNs"`
	MaxNs  int64    `json:"maxNs"`
	Index  []int    `json:"index,omitempty"`
	Counts []uint64 `json:"counts,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{Count: h.count, SumNs: h.sum, MinNs: h.min, MaxNs: h.max}
	last := 0
	for pg, p := range h.pages {
		if p == nil {
			continue
		}
		for sub, n := range p {
			if n > 0 {
				i := pg*subBuckets + sub
				out.Index = append(out.Index, i-last)
				out.Counts = append(out.Counts, n)
				last = i
			}
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler. It refuses a histogram whose
// parts contradict each other.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if len(in.Index) != len(in.Counts) {
		return errors.New("histogram: index and counts differ in length")
	}
	*h = Histogram{sum: in.SumNs, min: in.MinNs, max: in.MaxNs}
	i := 0
	for k, step := range in.Index {
		if step < 0 || (k > 0 && step == 0) || step >= pages*subBuckets {
			return fmt.Errorf("histogram: index %d is out of order", k)
		}
		i += step
		if i >= pages*subBuckets {
			return fmt.Errorf("histogram: bucket %d does not exist", i)
		}
		p := h.pages[i/subBuckets]
		if p == nil {
			p = new(page)
			h.pages[i/subBuckets] = p
		}
		p[i%subBuckets] += in.Counts[k]
		h.count += in.Counts[k]
	}
	if h.count != in.Count {
		return fmt.Errorf("histogram: counts add up to %d, not to %d", h.count, in.Count)
	}
	return nil
}
