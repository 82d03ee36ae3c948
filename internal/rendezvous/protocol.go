// Package rendezvous lets workers on several machines carry out one run.
//
// One worker leads. Every other tells it how it stands, twice a second before
// the load and once a second under it, and hears what holds for all: when the
// load begins, why it ends early, and what an earlier attempt at its own part
// has used up. Each telling says all there is to know, so that one which is lost
// costs nothing, and a leader that has forgotten everything learns it again.
//
// A start is told as time from now, and each worker corrects it by half of the
// fastest round trip, so that clocks need not agree. Offsets in documents count
// from it, and all documents give it the same name: the leader's time of day.
//
//	POST /rendezvous        a [Beat] for an [Answer]; the leader alone
//	GET  /run               a [View]; the leader alone
//	POST /stop              {"reason": …}
//	GET  /documents         names, as a list
//	GET  /documents/{name}  one document, with its SHA-256 in X-Checksum-Sha256
//	POST /documents/{name}  takes one; the leader alone
//	POST /collected         names that are safe elsewhere
//
// All of them want the run's token in X-Loadtest-Token.
package rendezvous

import (
	"fmt"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// TokenHeader bears the run's token. The API server's proxy keeps Authorization
// for itself.
const TokenHeader = "X-Loadtest-Token" //nolint:gosec // a name

// ChecksumHeader bears the SHA-256 of a document, in hex.
const ChecksumHeader = "X-Checksum-Sha256"

const (
	beforeLoad = 500 * time.Millisecond // between two beats
	underLoad  = time.Second
	// notice is how long before the start it is set: some beats of the slowest
	// worker, even if one is lost.
	notice = 3 * time.Second
	// silence is how long a worker may say nothing and still be taken for ready.
	silence = 10 * time.Second
	// forsaken is how long a worker that says nothing is waited for when all
	// others have ended: as long as a pod takes to come, its first or the next.
	forsaken = 2 * time.Minute
)

// Beat is how a worker stands. Durations are nanoseconds.
type Beat struct {
	Worker  int `json:"worker"`
	Attempt int `json:"attempt"` // at its part of the run, from 0
	// Count counts the beats of an attempt: one that was overtaken says nothing new.
	Count int `json:"count"`
	// Ready says that it waits for the start, or has begun.
	Ready bool `json:"ready"`
	// Began is how long ago the load began, negative if that is still to come;
	// nil if it does not know. Start is what that moment is called.
	Began *time.Duration `json:"began,omitempty"`
	Start time.Time      `json:"start,omitzero"`
	// Carried is what it was told that earlier attempts had counted.
	Carried  *stats.Totals  `json:"carried,omitempty"`
	Snapshot *live.Snapshot `json:"snapshot,omitempty"`
	// Failed is why it cannot begin.
	Failed string `json:"failed,omitempty"`
	// Ended says that it has handed over what it measured, and goes.
	Ended bool `json:"ended,omitempty"`
}

// Answer is what holds for the worker that is answered.
type Answer struct {
	// StartIn is when the load begins, from now; negative if it began. Nil: not yet
	// known. Start is what that moment is called.
	StartIn *time.Duration `json:"startIn,omitempty"`
	Start   time.Time      `json:"start,omitzero"`
	// Stop says that the run is over for it, and why.
	Stop *export.Stop `json:"stop,omitempty"`
	// Carried is what earlier attempts at its part had counted when they were
	// last heard of; nil for a first attempt.
	Carried *stats.Totals `json:"carried,omitempty"`
}

// View is a run as its leader sees it.
type View struct {
	Snapshot live.Snapshot `json:"snapshot"` // the sum
	// Stop is why the run is over, or empty.
	Stop string `json:"stop"`
	// Start is when the load begins or began, by the leader's clock; nil: not yet known.
	Start   *time.Time   `json:"start"`
	Workers []WorkerView `json:"workers"`
	// Documents are the names of those that wait to be collected.
	Documents []string `json:"documents"`
}

// WorkerView is a worker as the leader sees it.
type WorkerView struct {
	Worker  int        `json:"worker"`
	Attempt int        `json:"attempt"` // the latest that was heard of
	Ready   bool       `json:"ready"`
	Began   *time.Time `json:"began"` // the load, as far as it knows
	Stage   string     `json:"stage"` // as [live.Snapshot]
	// Requests are those of all its attempts, Before those of the earlier ones.
	Requests uint64 `json:"requests"`
	Before   uint64 `json:"before"`
	// Ended says that it has handed over what it measured.
	Ended  bool   `json:"ended"`
	Failed string `json:"failed"` // why it cannot begin
	// HeardSecondsAgo is nil for one that was never heard of.
	HeardSecondsAgo *float64 `json:"heardSecondsAgo"`
}

// DocumentName is what the document of a worker's attempt is called.
func DocumentName(worker, attempt int) string { return fmt.Sprintf("%d-%d", worker, attempt) }
