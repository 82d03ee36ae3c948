package metrics

import (
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Upper bounds of classic buckets, in the unit of the metric.
var (
	answerMs  = []float64{10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000}
	tokenMs   = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000}
	makingMs  = []float64{0.001, 0.01, 0.1, 1, 10, 100}
	answerSec = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120}
	thinkSec  = []float64{0.1, 0.5, 1, 2, 5, 10, 20, 30, 60}
	lagSec    = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1, 10}
	rate      = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}
	tokens    = []float64{16, 64, 256, 1024, 4096, 16_384, 65_536}
	ratio     = []float64{0.01, 0.1, 0.5, 1, 2, 10, 100}
	percent   = []float64{10, 25, 50, 75, 90, 100}
)

// fixed is a histogram of numbers that are no durations. Its buckets are those
// of the metric.
type fixed struct {
	bounds []float64
	counts []uint64
	count  uint64
	sum    float64
}

func newFixed(bounds []float64) fixed {
	return fixed{bounds: bounds, counts: make([]uint64, len(bounds))}
}

func (f *fixed) record(v float64) {
	f.count++
	f.sum += v
	for i, bound := range f.bounds {
		if v <= bound {
			f.counts[i]++
			return
		}
	}
}

func (f *fixed) classic() *dto.Histogram { return classic(f.bounds, f.counts, f.count, f.sum) }

// classic makes a metric of the values in each bucket.
func classic(bounds []float64, counts []uint64, count uint64, sum float64) *dto.Histogram {
	h := &dto.Histogram{SampleCount: &count, SampleSum: &sum, Bucket: make([]*dto.Bucket, len(bounds))}
	var below uint64
	for i := range bounds {
		below += counts[i]
		h.Bucket[i] = &dto.Bucket{UpperBound: &bounds[i], CumulativeCount: proto.Uint64(below)}
	}
	return h
}

// classicOf makes a classic histogram of durations, in the given unit. Its
// buckets are as exact as h: a value within 0.4% of a bound may be on the other
// side of it. Count and sum are exact.
func classicOf(h *stats.Histogram, unit time.Duration, bounds []float64) *dto.Histogram {
	counts := make([]uint64, len(bounds))
	i := 0
	h.Each(func(lo, hi time.Duration, n uint64) {
		v := float64(lo+(hi-lo)/2) / float64(unit)
		for i < len(bounds) && v > bounds[i] {
			i++
		}
		if i < len(bounds) {
			counts[i] += n
		}
	})
	return classic(bounds, counts, h.Count(), float64(h.Sum())/float64(unit))
}

const (
	// schema is the resolution of native histograms: 8 buckets for every power
	// of two, each 9% wide.
	schema           = 3
	bucketsPerDouble = 8
	// zeroThreshold is below a nanosecond.
	zeroThreshold = 1e-10
)

// nativeOf makes a native histogram of durations, in seconds.
func nativeOf(h *stats.Histogram) *dto.Histogram {
	out := &dto.Histogram{
		SampleCount: proto.Uint64(h.Count()), SampleSum: proto.Float64(h.Sum().Seconds()),
		Schema: proto.Int32(schema), ZeroThreshold: proto.Float64(zeroThreshold), ZeroCount: proto.Uint64(0),
	}
	next, last := int32(0), int64(0) // the index after the last bucket, and its count
	put := func(index int32, n uint64) {
		if len(out.PositiveSpan) == 0 || index != next {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(index - next), Length: proto.Uint32(0)})
		}
		*out.PositiveSpan[len(out.PositiveSpan)-1].Length++
		out.PositiveDelta = append(out.PositiveDelta, int64(n)-last) //nolint:gosec // a count of requests
		next, last = index+1, int64(n)                               //nolint:gosec // as above
	}
	var open int32
	var held uint64
	h.Each(func(lo, hi time.Duration, n uint64) {
		mid := lo + (hi-lo)/2
		if mid == 0 {
			*out.ZeroCount += n
			return
		}
		index := int32(math.Ceil(math.Log2(mid.Seconds()) * bucketsPerDouble))
		if held > 0 && index != open {
			put(open, held)
			held = 0
		}
		open = index
		held += n
	})
	if held > 0 {
		put(open, held)
	}
	if len(out.PositiveSpan) == 0 { // else nobody could tell that it is native
		out.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	return out
}

// quantiles of user_latency_seconds.
var quantiles = []float64{0.5, 0.9, 0.95, 0.99}

func summaryOf(h *stats.Histogram) *dto.Summary {
	s := &dto.Summary{SampleCount: proto.Uint64(h.Count()), SampleSum: proto.Float64(h.Sum().Seconds())}
	for _, q := range quantiles {
		v := math.NaN()
		if h.Count() > 0 {
			v = h.Quantile(q).Seconds()
		}
		s.Quantile = append(s.Quantile, &dto.Quantile{Quantile: proto.Float64(q), Value: &v})
	}
	return s
}
