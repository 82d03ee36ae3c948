package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
)

// Whoever left no document is told, attempt by attempt, with what was last heard
// of it, by whoever knew it.
func TestLost(t *testing.T) {
	document := func(worker, attempt int) *export.Bundle {
		return &export.Bundle{Run: export.Run{Worker: worker, Attempt: attempt}}
	}
	h := &harvest{
		run:       &jobs.Run{Workers: 5},
		documents: map[string]*export.Bundle{"0-0": document(0, 0), "1-1": document(1, 1), "2-0": document(2, 0)},
		heard: map[string]rendezvous.WorkerView{
			"0-0": {Requests: 90},
			"1-0": {Worker: 1, Requests: 30},
			"1-1": {Worker: 1, Attempt: 1, Requests: 70, Before: 31},
			"2-1": {Worker: 2, Attempt: 1, Requests: 50, Before: 42}, // the first attempt's are in its document
			"3-0": {Worker: 3, Failed: "no keys"},
		},
		view: monitor.View{Pods: []monitor.Pod{{Worker: 1, Why: "it was killed"}, {Worker: 3, Why: "it ended with exit code 1"}, {Worker: 4, Attempt: 1, Why: "its node went"}}},
	}
	want := []export.Lost{
		{Worker: 1, Reason: "it was killed", Requests: 30},
		{Worker: 2, Attempt: 1, Reason: "its pod was lost", Requests: 8},
		{Worker: 3, Reason: "no keys"},
		{Worker: 4, Reason: "its pod was lost"}, {Worker: 4, Attempt: 1, Reason: "its node went"},
	}
	if diff := cmp.Diff(want, h.lost()); diff != "" {
		t.Error(diff)
	}
}

// The Job names those who failed a moment after it has ended the pods of the
// others for it: until then their documents tell who went first.
func TestGone(t *testing.T) {
	document := func(worker int, load time.Duration, why string) *export.Bundle {
		return &export.Bundle{Run: export.Run{Worker: worker, Duration: load}, Stop: export.Stop{Reason: "interrupted", Detail: why}}
	}
	h := &harvest{documents: map[string]*export.Bundle{
		"0-0": document(0, 2*time.Second, export.TakenAway), "1-0": document(1, time.Second, export.TakenAway), "2-0": document(2, time.Millisecond, "enough seen"),
	}}
	if got := h.gone(); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("by their documents %v went, want 1 and then 0", got)
	}
	h.view.Lost = []int{2}
	if got := h.gone(); !slices.Equal(got, []int{2}) {
		t.Errorf("by the Job %v went, want 2", got)
	}
}
