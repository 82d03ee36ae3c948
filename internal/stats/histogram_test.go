package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func durations(t *rapid.T) []time.Duration {
	raw := rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64), 1, 300).Draw(t, "values")
	shift := rapid.SliceOfN(rapid.IntRange(0, 62), len(raw), len(raw)).Draw(t, "shifts")
	out := make([]time.Duration, len(raw))
	for i := range raw {
		out[i] = time.Duration(raw[i] >> shift[i])
	}
	return out
}

func filled(values []time.Duration) *Histogram {
	h := new(Histogram)
	for _, v := range values {
		h.Record(v)
	}
	return h
}

// nearestRank is the definition that Quantile approximates.
func nearestRank(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(1, int(math.Ceil(q*float64(len(sorted))-1e-9)))-1]
}

func TestBucketsTileTheNumberLine(t *testing.T) {
	next := int64(0)
	for pg := range pages {
		for sub := range subBuckets {
			lo, hi := bounds(pg, sub)
			if lo != next {
				t.Fatalf("bucket %d.%d starts at %d, want %d", pg, sub, lo, next)
			}
			for _, v := range []int64{lo, hi} {
				if p, s := locate(v); p != pg || s != sub {
					t.Fatalf("%d is put into %d.%d, want %d.%d", v, p, s, pg, sub)
				}
			}
			if hi == math.MaxInt64 {
				return
			}
			next = hi + 1
		}
	}
	t.Fatal("the last bucket does not reach the largest duration")
}

func TestQuantileIsWithinHalfAPercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := durations(t)
		h := filled(values)
		slices.Sort(values)
		for _, q := range []float64{0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
			want, got := nearestRank(values, q), h.Quantile(q)
			if off := math.Abs(float64(got-want)) / max(1, float64(want)); off > 1.0/256+1e-9 {
				t.Fatalf("q%v of %v: got %v, want %v, off by %.3f%%", q, values, got, want, off*100)
			}
		}
		if h.Min() != values[0] || h.Max() != values[len(values)-1] {
			t.Fatalf("min %v max %v of %v", h.Min(), h.Max(), values)
		}
	})
}

func TestMergeIsThePooledHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := durations(t), durations(t), durations(t)
		pooled := filled(slices.Concat(a, b, c))
		left, right := filled(a), filled(c)
		left.Merge(filled(b))
		left.Merge(filled(c))
		right.Merge(filled(b))
		right.Merge(filled(a))
		for name, h := range map[string]*Histogram{"(a+b)+c": left, "(c+b)+a": right} {
			// the sum is floating: equal up to its own rounding
			if math.Abs(h.sum-pooled.sum) > pooled.sum*1e-12 {
				t.Fatalf("%s: sum %v, want %v", name, h.sum, pooled.sum)
			}
			h.sum = pooled.sum
			if diff := cmp.Diff(pooled, h, cmp.AllowUnexported(Histogram{})); diff != "" {
				t.Fatalf("%s differs from the pooled histogram:\n%s", name, diff)
			}
		}
	})
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := filled(durations(t))
		data, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, &back, cmp.AllowUnexported(Histogram{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestUnmarshalRefusesContradictions(t *testing.T) {
	for name, doc := range map[string]string{
		"lengths differ":  `{"count":1,"index":[1,2],"counts":[1]}`,
		"count differs":   `{"count":2,"index":[1],"counts":[1]}`,
		"negative index":  `{"count":1,"index":[-1],"counts":[1]}`,
		"beyond the end":  `{"count":1,"index":[99999],"counts":[1]}`,
		"repeated bucket": `{"count":2,"index":[5,0],"counts":[1,1]}`,
		"sum overflows":   `{"count":2,"index":[7000,7000],"counts":[1,1]}`,
		"not an object":   `[]`,
	} {
		var h Histogram
		if err := json.Unmarshal([]byte(doc), &h); err == nil {
			t.Errorf("%s: %s was accepted", name, doc)
		}
	}
}

func TestFailuresCountAsInfinitelyLate(t *testing.T) {
	h := new(Histogram)
	h.RecordN(10*time.Millisecond, 94)
	if _, ok := h.QuantileWithLate(0.95, 6); ok {
		t.Error("with 6 of 100 failed, p95 must be infinite")
	}
	if got, ok := h.QuantileWithLate(0.94, 6); !ok || got != 10*time.Millisecond {
		t.Errorf("p94 = %v, %v; want 10ms", got, ok)
	}
	if h.Quantile(1) != 10*time.Millisecond {
		t.Error("without failures the histogram must not change")
	}
}

func TestEmptyHistogram(t *testing.T) {
	h := new(Histogram)
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Error("an empty histogram must read as zero with count 0")
	}
	h.Record(-time.Second)
	if h.Count() != 1 || h.Max() != 0 {
		t.Error("a negative duration must count as zero")
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]time.Duration, 1024)
	for i := range values {
		values[i] = time.Duration(rng.ExpFloat64() * float64(50*time.Millisecond))
	}
	var h Histogram
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Record(values[i&1023])
	}
}
