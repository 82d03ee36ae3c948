package stats

import (
	"cmp"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// SlowestKept is how many of the slowest requests are kept by name.
const SlowestKept = 10

// Slow is one request that took long.
type Slow struct {
	// ID and TraceID name it in the platform's log and traces.
	ID       string         `json:"id"`
	TraceID  record.TraceID `json:"traceId,omitzero"`
	Org      string         `json:"org"`
	Phase    string         `json:"phase"`
	Endpoint string         `json:"endpoint"`
	Model    string         `json:"model,omitempty"`
	At       time.Duration  `json:"atNs"` // when it was due
	E2E      time.Duration  `json:"e2eNs"`
	// TTFT is 0 if no answer was streamed.
	TTFT time.Duration `json:"ttftNs,omitempty"`
}

func slowOf(r *record.Record) Slow {
	ttft, _ := r.TTFT()
	return Slow{
		ID: r.ID, TraceID: r.Trace.ID, Org: r.Org, Phase: r.Phase, Endpoint: r.Endpoint, Model: r.Model,
		At: r.Scheduled, E2E: r.E2E(), TTFT: ttft,
	}
}

// compareSlow puts the slowest first, and settles ties so that merging has one result.
func compareSlow(a, b Slow) int {
	return cmp.Or(cmp.Compare(b.E2E, a.E2E), cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID))
}

// addSlow puts s into its place of a sorted list, if it has one.
func addSlow(list []Slow, s Slow) []Slow {
	i, _ := slices.BinarySearchFunc(list, s, compareSlow)
	if i >= SlowestKept {
		return list
	}
	return slices.Insert(list[:min(len(list), SlowestKept-1)], i, s)
}

// tooQuick reports whether a latency has no place in a list, which is what
// nearly all find.
func tooQuick(list []Slow, e2e time.Duration) bool {
	return len(list) == SlowestKept && e2e < list[SlowestKept-1].E2E
}
