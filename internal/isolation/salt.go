package isolation

import (
	"fmt"
	"time"
)

const (
	// MinPairs is how many pairs a verdict wants.
	MinPairs = 8
	// Block is the smallest block of a prefix cache, in tokens (vLLM's default):
	// fewer tokens than that are no hit.
	Block = 16
	// MinGain is the part of a cold TTFT that a cache hit must save before times
	// say anything.
	MinGain = 0.1
)

// Probe is what one request showed.
type Probe struct {
	TTFT        time.Duration // from sending to the first content
	Cached      int           // tokens that the platform says came from its cache
	CachedKnown bool          // it said so
}

// Pair is one test of two tenants with different salts, the owner and the
// reader. Its prompts are sent nowhere else.
type Pair struct {
	Cold    Probe // the owner's prompt for the first time
	Warm    Probe // the same by the owner again: must hit
	Cross   Probe // the same by the reader: must not hit
	Control Probe // another prompt, as long, by the reader: cannot hit
}

// Result is a verdict and the evidence for it.
type Result struct {
	Verdict Verdict
	Reason  string // in words, with the numbers that decided
	// Leaks are the indices of the pairs that show a leak; empty unless the verdict is Leak.
	Leaks []int
	// Baseline is the most cached tokens that a prompt never sent before showed:
	// what all prompts share.
	Baseline int
	// TokensKnown says that the platform reports cached tokens, and that they
	// tell a prompt that was sent before from one that was not.
	TokensKnown bool
	// Medians of TTFT. Cold is that of the reader's controls.
	Cold, Warm, Cross time.Duration
	// PLeak is the chance of the readers' prompts being this much faster than
	// their controls, if they are not; PClean that of the owners' repetitions
	// being this much faster than the readers' prompts, if they are not.
	PLeak, PClean float64
}

// Salt judges whether cache salts keep tenants apart, by the cached tokens
// that the platform reports and, since it may report none or not the truth, by
// TTFT. The order of requests must have been such that a pair's Cross and
// Control could as well have been sent in each other's place.
func Salt(pairs []Pair) Result {
	r := Result{Verdict: Undecided, PLeak: 1, PClean: 1}
	if len(pairs) < MinPairs {
		r.Reason = fmt.Sprintf("only %d pairs of requests were answered at the first attempt, and a verdict wants %d", len(pairs), MinPairs)
		return r
	}
	told := r.tokens(pairs)
	if r.TokensKnown && len(told) > 0 {
		r.Verdict, r.Leaks = Leak, told
	}
	byTime := r.times(pairs)
	switch {
	case r.Verdict == Leak:
		most := 0
		for _, i := range told {
			most = max(most, pairs[i].Cross.Cached)
		}
		r.Reason = fmt.Sprintf("in %d of %d pairs a prompt was served from the cache under another salt, up to %d tokens of it, where prompts never sent before show at most %d",
			len(told), len(pairs), most, r.Baseline)
	case byTime == Leak:
		r.Verdict = Leak
		middle := r.Warm + (r.Cold-r.Warm)/2
		for i, p := range pairs {
			if p.Cross.TTFT < middle {
				r.Leaks = append(r.Leaks, i)
			}
		}
		claim := "cached tokens are not reported"
		if r.TokensKnown {
			claim = "no cached tokens are reported for it"
		}
		r.Reason = fmt.Sprintf("a prompt that another salt has sent is answered as fast as from the cache: TTFT %v, cold %v, cached %v (p = %.2g), though %s",
			round(r.Cross), round(r.Cold), round(r.Warm), r.PLeak, claim)
	case r.TokensKnown:
		r.Verdict = NoLeak
		r.Reason = fmt.Sprintf("in none of %d pairs was a prompt served from the cache under another salt; under its own it was", len(pairs))
	case byTime == NoLeak:
		r.Verdict = NoLeak
		r.Reason = fmt.Sprintf("cached tokens are not reported; by time, a prompt that another salt has sent is as slow as a new one: TTFT %v, cold %v, cached %v (p = %.2g)",
			round(r.Cross), round(r.Cold), round(r.Warm), r.PClean)
	default:
		r.Reason = fmt.Sprintf("the platform reports no cached tokens when a prompt is repeated, and the times do not decide: it has no prefix cache, or its effect is too small (TTFT %v under another salt, cold %v, repeated %v)",
			round(r.Cross), round(r.Cold), round(r.Warm))
	}
	return r
}

// tokens returns the pairs in which the reader hit by the platform's own
// account, and sets what that account is worth. It is worth something if at
// least half of the repetitions hit: prompts may be sent to many replicas, and
// each has a cache of its own.
func (r *Result) tokens(pairs []Pair) (hits []int) {
	for _, p := range pairs {
		r.Baseline = max(r.Baseline, p.Cold.Cached, p.Control.Cached)
	}
	warm, known := 0, false
	for i, p := range pairs {
		known = known || p.Warm.CachedKnown
		if p.Warm.Cached >= r.Baseline+Block {
			warm++
		}
		if p.Cross.Cached >= r.Baseline+Block {
			hits = append(hits, i)
		}
	}
	r.TokensKnown = known && 2*warm >= len(pairs)
	return hits
}

// times judges by TTFT alone: first whether a hit can be seen, then whether
// the reader's prompts look like the reader's controls or like hits.
func (r *Result) times(pairs []Pair) Verdict {
	of := func(probe func(Pair) Probe) []time.Duration {
		out := make([]time.Duration, len(pairs))
		for i, p := range pairs {
			out[i] = probe(p).TTFT
		}
		return out
	}
	cold := of(func(p Pair) Probe { return p.Control })
	warm := of(func(p Pair) Probe { return p.Warm })
	cross := of(func(p Pair) Probe { return p.Cross })
	r.Cold, r.Warm, r.Cross = median(cold), median(warm), median(cross)
	r.PLeak, r.PClean = Faster(cross, cold), Faster(warm, cross)
	gain := r.Cold - r.Warm
	switch {
	case Faster(warm, cold) > Level || float64(gain) < MinGain*float64(r.Cold):
		return Undecided
	case r.PLeak <= Level && r.Cold-r.Cross >= gain/2:
		return Leak
	case r.PClean <= Level && r.Cross-r.Warm >= gain/2:
		return NoLeak
	}
	return Undecided
}

// round keeps three figures or so, for people.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}
