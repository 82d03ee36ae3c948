package worker

import (
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/server"
)

// Pulse beats while load is made, at every tick of the fleet.
func (w *Worker) Pulse() *server.Pulse { return &w.pulse }

// Status is what the run shows over HTTP.
func (w *Worker) Status() server.Status { return w.StatusOf(w.Snapshot()) }

// StatusOf is the same of a snapshot, of all workers together for instance.
func (w *Worker) StatusOf(s live.Snapshot) server.Status {
	out := server.Status{
		Run: w.RunID, Scenario: w.Scenario.Metadata.Name, Worker: w.Worker, Workers: w.Workers,
		Stage: s.Stage, Ready: s.Stage == live.Running,
		Phase: s.Phase, ElapsedSeconds: s.Elapsed.Seconds(), PlannedSeconds: s.Total.Seconds(),
		Users: server.Users{Active: s.Users, Wanted: s.TargetUsers},
		Requests: server.Requests{
			Total: s.Totals.Requests, Succeeded: s.Totals.Succeeded, Refused: s.Totals.Refused,
			Failed: s.Totals.Failed, Cancelled: s.Totals.Cancelled, Retried: s.Totals.Retried,
		},
		ErrorRate: s.Totals.ErrorRate(), PromptTokens: s.Totals.PromptTokens, CompletionTokens: s.Totals.CompletionTokens,
		CostUSD: float64(s.Totals.CostMicroUSD) / 1e6, Warnings: len(s.Warnings),
	}
	if s.Open != nil {
		out.Arrivals = &server.Arrivals{PerSecond: s.Open.Rate, Due: s.Open.Arrivals, Dropped: s.Open.Dropped}
	}
	return out
}
