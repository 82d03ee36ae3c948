package platformsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Fault is a kind of failure that the router can be told to produce.
type Fault string

// The faults. The first group strikes before a backend sees the request, the
// second while the answer is on its way; a stream is struck between its first
// and its last content chunk, any other answer in the middle of its body.
const (
	NoFault       Fault = ""
	InternalError Fault = "http-500"
	BadGateway    Fault = "http-502"
	Unavailable   Fault = "http-503"
	Storm         Fault = "storm"      // 429, for whole runs of consecutive requests
	Reset         Fault = "reset"      // TCP reset before the head of the answer
	SlowStart     Fault = "slow-start" // nothing for a while, then as usual
	WrongJSON     Fault = "wrong-json" // 200 with JSON that is cut short or not an answer

	ResetMidway Fault = "reset-midway" // TCP reset in the middle
	Truncate    Fault = "truncate"     // a clean end in the middle: no [DONE], half a body
	Stall       Fault = "stall"        // nothing for a while in the middle, then the rest
	Garbage     Fault = "garbage"      // an event that is no JSON; a page of HTML instead of a body
)

// kinds is the order in which rates are laid side by side; Storm stands apart.
var kinds = []Fault{InternalError, BadGateway, Unavailable, Reset, SlowStart, WrongJSON, ResetMidway, Truncate, Stall, Garbage}

// Faults says which failures to produce, and how often. What happens to a
// request depends only on the seed and on its ordinal among the requests that
// had a good key and a token of the rate limiter, counted from 0 since these
// Faults were set: the same questions in the same order fail in the same way.
//
// Its text form, "stall=0.01,stall-for=2s", and its JSON form,
// {"stall":0.01,"stall-for":"2s"}, use the same names.
type Faults struct {
	Rates       map[Fault]float64 // share of requests, 0 to 1; the sum, Storm left out, is at most 1
	Seed        uint64            // 0: the platform's
	StallFor    time.Duration     // 0: 2 s
	SlowFor     time.Duration     // how long a slow start takes; 0: 2 s
	StormLength int               // requests in a storm; 0: 50
}

const (
	defaultPause = 2 * time.Second
	defaultStorm = 50
)

// ParseFaults reads the text form.
func ParseFaults(text string) (Faults, error) {
	f := Faults{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !found {
			return Faults{}, fmt.Errorf("write a fault like reset=0.01, not %q", part)
		}
		if err := f.set(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return Faults{}, err
		}
	}
	return f, f.check()
}

// FaultNames returns the names that the text form knows.
func FaultNames() []string {
	names := []string{string(Storm), "seed", "stall-for", "slow-start-for", "storm-length"}
	for _, k := range kinds {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return names
}

func (f *Faults) set(name, value string) (err error) {
	switch kind := Fault(name); {
	case name == "seed":
		f.Seed, err = strconv.ParseUint(value, 10, 64)
	case name == "stall-for":
		f.StallFor, err = time.ParseDuration(value)
	case name == "slow-start-for":
		f.SlowFor, err = time.ParseDuration(value)
	case name == "storm-length":
		f.StormLength, err = strconv.Atoi(value)
	case kind == Storm || slices.Contains(kinds, kind):
		var rate float64
		if rate, err = strconv.ParseFloat(value, 64); err == nil {
			if f.Rates == nil {
				f.Rates = map[Fault]float64{}
			}
			f.Rates[kind] = rate
		}
	default:
		return fmt.Errorf("there is no fault %q; there are: %s", name, strings.Join(FaultNames(), ", "))
	}
	if err != nil {
		return fmt.Errorf("fault %s: %q is not a value for it", name, value)
	}
	return nil
}

func (f Faults) check() error {
	sum := 0.0
	for kind, rate := range f.Rates {
		if kind != Storm && !slices.Contains(kinds, kind) {
			return fmt.Errorf("there is no fault %q; there are: %s", kind, strings.Join(FaultNames(), ", "))
		}
		if !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("fault %s: a rate is from 0 to 1, not %v", kind, rate)
		}
		if kind != Storm {
			sum += rate
		}
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("the rates of the faults sum to %v, and no request fails twice", sum)
	}
	if f.StallFor < 0 || f.SlowFor < 0 || f.StormLength < 0 {
		return errors.New("the duration of a fault must not be negative")
	}
	return nil
}

// fields returns what is set, by its name in the text form.
func (f Faults) fields() map[string]any {
	m := map[string]any{}
	for kind, rate := range f.Rates {
		if rate != 0 {
			m[string(kind)] = rate
		}
	}
	if f.Seed != 0 {
		m["seed"] = f.Seed
	}
	if f.StallFor != 0 {
		m["stall-for"] = f.StallFor.String()
	}
	if f.SlowFor != 0 {
		m["slow-start-for"] = f.SlowFor.String()
	}
	if f.StormLength != 0 {
		m["storm-length"] = f.StormLength
	}
	return m
}

// String returns the text form, in alphabetical order.
func (f Faults) String() string {
	var parts []string
	for name, value := range f.fields() {
		parts = append(parts, fmt.Sprintf("%s=%v", name, value))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// MarshalJSON implements json.Marshaler.
func (f Faults) MarshalJSON() ([]byte, error) { return json.Marshal(f.fields()) }

// UnmarshalJSON implements json.Unmarshaler.
func (f *Faults) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return errors.New("faults are written like {\"reset\":0.01,\"stall\":0.05,\"stall-for\":\"2s\"}")
	}
	out := Faults{}
	for name, raw := range m {
		if err := out.set(name, strings.Trim(string(raw), `"`)); err != nil {
			return err
		}
	}
	*f = out
	return f.check()
}

// strike is what happens to one request.
type strike struct {
	fault Fault
	where float64 // 0 to 1: how far into the answer
	coin  bool    // which of two variants
}

// faultPlan deals out Faults.
type faultPlan struct {
	Faults
	bounds  []float64 // running sums of the rates, in the order of kinds
	none    bool
	ordinal atomic.Uint64
}

func newFaultPlan(f Faults, seed uint64) *faultPlan {
	if f.Seed == 0 {
		f.Seed = seed
	}
	if f.StallFor == 0 {
		f.StallFor = defaultPause
	}
	if f.SlowFor == 0 {
		f.SlowFor = defaultPause
	}
	if f.StormLength == 0 {
		f.StormLength = defaultStorm
	}
	p := &faultPlan{Faults: f}
	sum := 0.0
	for _, k := range kinds {
		sum += f.Rates[k]
		p.bounds = append(p.bounds, sum)
	}
	p.none = sum == 0 && f.Rates[Storm] == 0
	return p
}

// next decides about the next request.
func (p *faultPlan) next() strike {
	n := p.ordinal.Add(1) - 1
	if p.none {
		return strike{}
	}
	return p.at(n)
}

// at decides about the nth request; it is pure.
func (p *faultPlan) at(n uint64) strike {
	if rate := p.Rates[Storm]; rate > 0 {
		storm := rand.NewPCG(p.Seed, ^(n / uint64(p.StormLength)))
		if unit(storm) < rate {
			return strike{fault: Storm}
		}
	}
	rng := rand.NewPCG(p.Seed, n)
	u := unit(rng)
	for i, bound := range p.bounds {
		if u < bound {
			return strike{fault: kinds[i], where: unit(rng), coin: rng.Uint64()&1 == 1}
		}
	}
	return strike{}
}

// unit returns a number from 0 up to, but not including, 1.
func unit(rng *rand.PCG) float64 { return float64(rng.Uint64()>>11) / (1 << 53) }

// after returns after which of n chunks the strike comes: at least one is
// before it and, of two or more, at least one behind it.
func (s strike) after(n int) int {
	if n <= 2 {
		return 1
	}
	return 1 + int(math.Min(s.where*float64(n-1), float64(n-2)))
}
