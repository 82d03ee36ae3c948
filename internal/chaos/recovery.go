package chaos

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Back is how many answers in a row a success rate is taken over, before and
// after an outage.
const Back = 20

// Recovery measures how long each organization takes to get over each outage.
// It is a [record.Sink]. Requests that were harmed say nothing about that and
// are left out.
type Recovery struct {
	outages []Span // in order

	mu   sync.Mutex
	orgs map[string][]course // one of each outage
}

var _ record.Sink = (*Recovery)(nil)

// course is how one org fared around one outage.
type course struct {
	before, after recent
	first, back   time.Duration // when; 0 is never
}

// recent is the last few answers.
type recent struct {
	good  [Back]bool
	count int // of all, ever
	ok    int // of those in good
}

func (r *recent) add(good bool) {
	at := &r.good[r.count%Back]
	if r.count >= Back && *at {
		r.ok--
	}
	*at = good
	if good {
		r.ok++
	}
	r.count++
}

// rate of success, 1 if nothing is known.
func (r *recent) rate() float64 {
	if r.count == 0 {
		return 1
	}
	return float64(r.ok) / float64(min(r.count, Back))
}

// NewRecovery watches outages, given as offsets on the records' clock.
func NewRecovery(outages []Span) *Recovery {
	r := &Recovery{orgs: map[string][]course{}}
	r.outages = slices.SortedFunc(slices.Values(outages), func(a, b Span) int { return cmp.Compare(a.At, b.At) })
	return r
}

// Add implements [record.Sink].
func (r *Recovery) Add(rec *record.Record) {
	if rec.Injected() || rec.Outcome == record.Cancelled {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	courses := r.orgs[rec.Org]
	if courses == nil {
		courses = make([]course, len(r.outages))
		r.orgs[rec.Org] = courses
	}
	good := rec.Outcome == record.Success
	for i := range r.outages {
		c, outage := &courses[i], r.outages[i]
		switch {
		case rec.Done <= outage.At:
			c.before.add(good)
		case rec.Sent < outage.End(), i+1 < len(r.outages) && rec.Done > r.outages[i+1].At:
		default:
			if c.after.add(good); good && c.first == 0 {
				c.first = rec.Done
			}
			if c.back == 0 && c.after.count >= Back && c.after.rate() >= c.before.rate() {
				c.back = rec.Done
			}
		}
	}
}

// Recovered is how one org got over one outage. Times count from its end.
type Recovered struct {
	Org string
	// Answers came to requests that were sent after the outage.
	Answers int
	// First is the time to the first success, Rate that until the success rate
	// over [Back] answers was what it had been before. They mean nothing unless
	// HasFirst and HasRate: it did not happen in this run.
	First, Rate       time.Duration
	HasFirst, HasRate bool
}

// Of tells about the outage of that place in time, by org.
func (r *Recovery) Of(outage int) []Recovered {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.outages[outage].End()
	var out []Recovered
	for org, courses := range r.orgs {
		c := &courses[outage]
		v := Recovered{Org: org, Answers: c.after.count}
		if v.HasFirst = c.first > 0; v.HasFirst {
			v.First = c.first - end
		}
		if v.HasRate = c.back > 0; v.HasRate {
			v.Rate = c.back - end
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Recovered) int { return cmp.Compare(a.Org, b.Org) })
	return out
}

// Outages are those watched, in order.
func (r *Recovery) Outages() []Span { return r.outages }
