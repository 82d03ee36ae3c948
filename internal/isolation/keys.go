package isolation

import (
	"fmt"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// Key is what became of one key after it was withdrawn: revoked, or its user
// suspended. Moments count from when the platform had confirmed that, and are
// those at which requests were sent: one that was on its way says nothing.
type Key struct {
	Accepted     int           // requests that the platform served
	Refused      int           // requests that it refused because of the key
	LastAccepted time.Duration // meaningless without Accepted
	FirstRefused time.Duration // meaningless without Refused
	// Effective is the first refusal after which nothing was accepted;
	// meaningless unless Ended.
	Effective time.Duration
	Ended     bool
	// Watched is the last request that was answered either way.
	Watched time.Duration
}

// Add notes an answer to a request sent at a moment; moments ascend.
func (k *Key) Add(sent time.Duration, accepted bool) {
	k.Watched = sent
	if accepted {
		k.Accepted++
		k.LastAccepted, k.Ended = sent, false
		return
	}
	if k.Refused++; k.Refused == 1 {
		k.FirstRefused = sent
	}
	if !k.Ended {
		k.Effective, k.Ended = sent, true
	}
}

// KeysResult is a verdict on withdrawn keys and the evidence for it.
type KeysResult struct {
	Verdict Verdict
	Reason  string
	// Late keys were accepted later than they should; Endless ones of them until
	// nobody tried any more. Unseen ones were not tried for long enough to say.
	Late, Endless, Unseen int
	// Median and Max are of the times until keys stopped working, where one that
	// did not counts as infinite: then they are not known.
	Median, Max           time.Duration
	MedianKnown, MaxKnown bool
}

// Keys judges whether withdrawn keys stop working within a time. Only answers
// to requests that were sent later than that speak against the platform, so
// that no slowness of either side does.
func Keys(keys []Key, within time.Duration) KeysResult {
	var r KeysResult
	var times []time.Duration
	last := time.Duration(0) // until when a key was accepted, at least
	watched := time.Duration(0)
	for _, k := range keys {
		late := k.Accepted > 0 && k.LastAccepted > within
		switch {
		case late:
			r.Late++
			last = max(last, k.LastAccepted)
			if !k.Ended {
				r.Endless++
				watched = max(watched, k.Watched)
			}
		case !k.Ended:
			r.Unseen++
		}
		if k.Ended {
			times = append(times, k.Effective)
		}
	}
	slices.Sort(times)
	if n := len(keys); n > 0 {
		if i := (n - 1) / 2; i < len(times) {
			r.Median, r.MedianKnown = times[i], true
		}
		if len(times) == n {
			r.Max, r.MaxKnown = times[n-1], true
		}
	}
	switch of := len(keys); {
	case r.Late > 0:
		r.Verdict = Outlived
		r.Reason = fmt.Sprintf("%d of %d keys were accepted later than %s after the platform had confirmed, the last after %s", r.Late, of, human.Duration(within), human.Duration(last))
		if r.Endless > 0 {
			r.Reason += fmt.Sprintf("; %d never stopped working while watched, for up to %s", r.Endless, human.Duration(watched))
		}
	case of == 0 || r.Unseen > 0:
		r.Verdict = Undecided
		r.Reason = fmt.Sprintf("%d of %d keys were not tried for long enough: let the load last longer", r.Unseen, of)
	default:
		r.Verdict = InTime
		r.Reason = fmt.Sprintf("none of %d keys was accepted later than %s after the platform had confirmed, and all were refused", of, human.Duration(within))
	}
	return r
}
