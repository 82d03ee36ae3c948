package platformsim

import (
	"maps"
	"sync"
	"time"
)

// Counts are sums over requests.
type Counts struct {
	Requests         int64           `json:"requests"`
	ByStatus         map[int]int64   `json:"byStatus"` // 0: no head was sent
	Faults           map[Fault]int64 `json:"faults,omitempty"`
	Aborted          int64           `json:"aborted"`
	PromptTokens     int64           `json:"promptTokens"`
	CompletionTokens int64           `json:"completionTokens"`
	CachedTokens     int64           `json:"cachedTokens"`
	CostMicroUSD     int64           `json:"costMicroUSD"`
	Chunks           int64           `json:"chunks"`
	Bytes            int64           `json:"bytes"`
}

func (c *Counts) add(e *Entry) {
	if c.ByStatus == nil {
		c.ByStatus = map[int]int64{}
	}
	c.Requests++
	c.ByStatus[e.Status]++
	if e.Fault != NoFault {
		if c.Faults == nil {
			c.Faults = map[Fault]int64{}
		}
		c.Faults[e.Fault]++
	}
	if e.Aborted {
		c.Aborted++
	}
	c.PromptTokens += int64(e.PromptTokens)
	c.CompletionTokens += int64(e.CompletionTokens)
	c.CachedTokens += int64(e.CachedTokens)
	c.CostMicroUSD += e.CostMicroUSD
	c.Chunks += int64(len(e.Chunks))
	c.Bytes += e.Bytes
}

func (c Counts) clone() Counts {
	c.ByStatus, c.Faults = maps.Clone(c.ByStatus), maps.Clone(c.Faults)
	return c
}

// Totals are sums over all requests of the router since the start, or since
// the truth was last deleted.
type Totals struct {
	Counts
	Orgs     map[string]Counts `json:"orgs"` // by slug; requests without a good key are in none
	Lateness Lateness          `json:"lateness"`
	// TruthError says why the truth could not be written, if it could not.
	TruthError string `json:"truthError,omitempty"`
}

// Lateness tells how far the platform itself was behind, for want of CPU or
// because clients read slowly. A measurement taken while it is saturated says
// more about this machine than about a platform.
type Lateness struct {
	// Step is how late the end of a model's step was seen, at worst.
	Step time.Duration `json:"step"`
	// Writes counts the writes of streams; WriteSum and WriteMax are how long
	// after its tokens were handed over each had left.
	Writes   int64         `json:"writes"`
	WriteSum time.Duration `json:"writeSum"`
	WriteMax time.Duration `json:"writeMax"`
	// Beats counts the beats of a clock every 10 ms; late are those seen 5 ms
	// or more after their time, BeatMax is the worst. Only with listeners.
	Beats     int64         `json:"beats"`
	LateBeats int64         `json:"lateBeats"`
	BeatMax   time.Duration `json:"beatMax"`
	// Saturated says that more than one beat in a hundred was late.
	Saturated bool `json:"saturated"`
}

const (
	beat     = 10 * time.Millisecond
	lateBeat = 5 * time.Millisecond
)

// tally keeps Totals.
type tally struct {
	mu   sync.Mutex
	all  Counts
	orgs map[string]*Counts
	late Lateness
}

func (t *tally) add(e *Entry, writes int64, sum, worst time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.add(e)
	if e.Org != "" {
		c := t.orgs[e.Org]
		if c == nil {
			if t.orgs == nil {
				t.orgs = map[string]*Counts{}
			}
			c = &Counts{}
			t.orgs[e.Org] = c
		}
		c.add(e)
	}
	t.late.Writes += writes
	t.late.WriteSum += sum
	t.late.WriteMax = max(t.late.WriteMax, worst)
}

// beat notes that the clock was seen late.
func (t *tally) beat(late time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late.Beats++
	if late >= lateBeat {
		t.late.LateBeats++
	}
	t.late.BeatMax = max(t.late.BeatMax, late)
}

func (t *tally) totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Totals{Counts: t.all.clone(), Orgs: make(map[string]Counts, len(t.orgs)), Lateness: t.late}
	for slug, c := range t.orgs {
		out.Orgs[slug] = c.clone()
	}
	out.Lateness.Saturated = t.late.LateBeats*100 > t.late.Beats
	return out
}

func (t *tally) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all, t.orgs, t.late = Counts{}, nil, Lateness{}
}

// keepTime beats until stop is closed. Its schedule is absolute, so that one
// late beat does not hide the next.
func (p *Platform) keepTime(stop <-chan struct{}) {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	for due := time.Now().Add(beat); ; due = due.Add(beat) {
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-stop:
				return
			}
		} else {
			select {
			case <-stop:
				return
			default:
			}
		}
		p.tally.beat(time.Since(due))
	}
}
