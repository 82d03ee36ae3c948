package worker

import (
	"context"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// PreFlight names the phase of the requests sent before the load.
const PreFlight = "pre-flight"

// stack is what every request goes through.
func (w *Worker) stack(client *platform.Client) (simulator.Asker, *simulator.Breaker) {
	sink := record.Tee(append([]record.Sink{w.collector}, w.Sinks...))
	recorder := &simulator.Recorder{Asker: simulator.Direct{Client: client}, Sink: sink, Prices: w.job.prices, Now: client.Now}
	breaker := simulator.NewBreaker(recorder, simulator.BreakerOptions{Changed: w.breakerChanged})
	return &simulator.Retry{Asker: breaker, RetryPolicy: w.job.retry, Now: client.Now}, breaker
}

func (w *Worker) breakerChanged(from, to string) {
	if to == "open" {
		w.warnOnce("circuit breaker", "the platform failed many times in a row, so requests were held back for a while")
	}
	w.Log.Sugar().Infof("circuit breaker: %s to %s", from, to)
}

// probe sends one small request as a user would, before the load begins.
func (w *Worker) probe(ctx context.Context, who simulator.Identity, stream bool) error {
	client, err := platform.NewClient(w.job.router, time.Now())
	if err != nil {
		return err
	}
	defer client.Close()
	stack, _ := w.stack(client)
	call := &simulator.Call{
		Org: who.Org, User: who.User, UserIndex: who.UserIndex, Phase: PreFlight,
		Request: platform.Request{
			Endpoint: platform.Chat, Model: w.job.script.Models[0].Name, Stream: stream, MaxTokens: 16,
			Messages:  []platform.Message{{Role: "user", Content: "Answer with one word: are you ready?"}},
			CacheSalt: w.job.script.Salt.For(who),
			ID:        w.RunID + "-pre-flight",
		},
	}
	if len(who.Keys) > 0 {
		call.Request.Key = who.Keys[0]
	}
	call.Schedule(client.Now())
	return stack.Ask(ctx, call)
}
