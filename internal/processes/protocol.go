// Package processes lets several processes of this program carry out one run.
//
// A parent tells each child what to do and when to begin, and hears how far it
// is and what it measured. They talk over the child's standard input and
// output, in values of JSON: nothing that is said shows in a list of processes.
// A child whose input ends has lost its parent, and ends in order; a parent
// whose child's output ends without a document has lost the child.
package processes

import (
	"encoding/json"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
)

// Order is one worker's part of a run, the first thing that a child hears. It
// may hold secrets.
type Order struct {
	// Name is what the scenario is called in messages, Scenario its text.
	Name     string `json:"name"`
	Scenario []byte `json:"scenario"`
	RunID    string `json:"runId"`
	// Begun is when the run began, for the names that tell.
	Begun   time.Time `json:"begun"`
	Seed    uint64    `json:"seed"`
	Folder  string    `json:"folder"`
	Worker  int       `json:"worker"`
	Workers int       `json:"workers"`
	// Metered says that the parent shows the metrics of its children.
	Metered bool `json:"metered,omitempty"`
	// Requests says that every request gets a line in a file.
	Requests bool `json:"requests,omitempty"`
	// Platform is the embedded platform, which the parent runs; nil if the
	// scenario has targets.
	Platform *Platform `json:"platform,omitempty"`
}

// Platform says where the embedded platform is, and what opens it.
type Platform struct {
	RouterURL  string `json:"routerUrl"`
	UserOrgURL string `json:"userOrgUrl"`
	AdminKey   string `json:"adminKey"`
}

// command is what a parent says after the order.
type command struct {
	// Start is when the load begins.
	Start *time.Time `json:"start,omitempty"`
	Stop  bool       `json:"stop,omitempty"`
	// Gather asks for the metrics as they are now.
	Gather bool `json:"gather,omitempty"`
}

// report is what a child says.
type report struct {
	Snapshot *live.Snapshot `json:"snapshot,omitempty"`
	Ready    bool           `json:"ready,omitempty"`
	// Gathered says that Metrics are those of now: when they were asked for, and
	// unasked before the document. They are length-delimited messages of the
	// Prometheus protocol.
	Gathered bool   `json:"gathered,omitempty"`
	Metrics  []byte `json:"metrics,omitempty"`
	// Document is an [export.Bundle], the last thing but one that is said.
	Document json.RawMessage `json:"document,omitempty"`
	// Failed is why there is none.
	Failed string `json:"failed,omitempty"`
}
