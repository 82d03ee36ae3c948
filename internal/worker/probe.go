package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/requestlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// PreFlight names the phase of the requests sent before the load.
const PreFlight = "pre-flight"

// stack is what every request goes through: the gate, and around it what sends
// a request again, or holds it back.
func (w *Worker) stack(client *platform.Client, sums record.Sink, stop func(error), harm *chaos.Injector) (simulator.Asker, *simulator.Breaker) {
	gate := w.gate(client, sums, stop, harm)
	retry := &simulator.Retry{Asker: gate, RetryPolicy: w.job.retry, Now: client.Now, Alarm: w.alarm}
	if w.job.open != nil {
		return retry, nil // open load does not stop because the platform does
	}
	breaker := simulator.NewBreaker(gate, simulator.BreakerOptions{Changed: w.breakerChanged})
	retry.Asker = breaker
	return retry, breaker
}

// sums is what adds up the records of the load, or of before it.
func (w *Worker) sums(before bool) record.Sink {
	sums := record.Tee{w.collector, &w.work}
	if before {
		sums = record.Tee{w.collector.BeforeLoad()}
	}
	if w.spending != nil {
		sums = append(sums, w.spending.sink(before))
	}
	if w.outside != nil {
		sums = append(sums, w.outside.sink(before))
	}
	return sums
}

// gate sends each request that the limits admit, once. Its records go to sums,
// to the caller's sinks, and if the log is to say everything, there. stop ends
// the run when a limit is exceeded; nil is for requests before the load, which
// are no user's and leave that to the caller. harm breaks requests on purpose,
// unless it is nil.
func (w *Worker) gate(client *platform.Client, sums record.Sink, stop func(error), harm *chaos.Injector) *limits.Gate {
	sink := append(record.Tee{sums}, w.Sinks...)
	sink = append(sink, record.SinkFunc(w.logRequest))
	if w.Traces != nil {
		sink = append(sink, w.Traces.Since(client.Epoch()))
	}
	if w.requests != nil {
		sink = append(sink, w.requests.Since(client.Epoch()))
	}
	var asker simulator.Asker = inFlight{simulator.Direct{Client: client}, &w.inFlight}
	if w.places != nil {
		asker = &management{
			Asker: asker, once: w.tenancy.Once(), ledger: w.ledger, now: client.Now, job: &w.job, run: w.RunID, places: w.places, warn: w.warnOnce,
		}
	}
	asker = &simulator.Tracer{Asker: asker, Ratio: w.TraceRatio}
	if harm != nil {
		asker, sink = &simulator.Harm{Asker: asker, Injector: harm}, append(sink, w.recovery)
	}
	recorder := &simulator.Recorder{Asker: w.outside.around(asker), Sink: sink, Prices: w.job.prices, Now: client.Now}
	return &limits.Gate{Asker: recorder, Guard: w.guard, Prices: w.job.prices, Stop: stop, Nobody: stop == nil}
}

// logRequest writes a line about one request: always if the platform failed or
// refused it, else only if the log is to say everything. Its id is the
// X-Request-Id that the platform's own log has, traceId and spanId are those of
// the traceparent that its traces have.
func (w *Worker) logRequest(r *record.Record) {
	level, message := zap.DebugLevel, "request"
	if (r.Outcome == record.Failed || r.Outcome == record.Refused) && !r.Injected() {
		level, message = zap.WarnLevel, "request failed"
	}
	line := w.Log.Check(level, message)
	if line == nil {
		return
	}
	ttft, _ := r.TTFT()
	line.Write(zap.String("id", r.ID), zap.Stringer("traceId", r.Trace.ID), zap.Stringer("spanId", r.Trace.Span),
		zap.String("org", r.Org), zap.String("user", r.User), zap.String("phase", r.Phase),
		zap.String("model", r.Model), zap.Int("attempt", r.Attempt), zap.Bool("final", r.Final), zap.Stringer("outcome", r.Outcome), zap.String("kind", string(r.Kind)),
		zap.Int("status", r.Status), zap.Duration("scheduled", r.Scheduled), zap.Duration("ttft", ttft), zap.Duration("e2e", r.E2E()),
		zap.Int("promptTokens", r.PromptTokens), zap.Int("completionTokens", r.CompletionTokens), zap.String("message", r.Message))
}

// nameTenants has the platform, its logs and traces tell which calls of the
// User/Org API are this run's.
func (w *Worker) nameTenants() {
	n := platform.Naming{Prefix: fmt.Sprintf("%s-%s-%d-", w.RunID, platform.TenantPhase, w.Worker), Ratio: w.TraceRatio, Epoch: time.Now()}
	if w.Attempt > 0 {
		n.Prefix = fmt.Sprintf("%s.%d-%s-%d-", w.RunID, w.Attempt, platform.TenantPhase, w.Worker)
	}
	if w.Traces != nil {
		n.Sink = w.Traces.Since(n.Epoch)
	}
	w.tenancy.Name(n)
}

// closeTraces sends the last spans, and says if any were lost.
func (w *Worker) closeTraces() {
	if w.Traces == nil {
		return
	}
	w.setStage("sending traces")
	spans := w.Traces.Close()
	w.Log.Info("traces sent", zap.Uint64("sent", spans.Sent), zap.Uint64("dropped", spans.Dropped), zap.Uint64("failed", spans.Failed))
	if spans.Lost() == 0 {
		return
	}
	why := ""
	if spans.Err != nil {
		why = ": " + spans.Err.Error()
	}
	w.warn("%d of %d spans are missing from the OpenTelemetry collector, %d since it was too slow and %d that it did not take; no request waited for it, and no number here depends on it%s",
		spans.Lost(), spans.Lost()+spans.Sent, spans.Dropped, spans.Failed, why)
}

// openRequests begins the file with a line for each request, if that is wanted.
// A run does not fail for the want of it.
func (w *Worker) openRequests() {
	if !w.Requests {
		return
	}
	var err error
	if w.requests, err = requestlog.Create(RequestsPath(w.Folder, w.Worker, w.Workers)); err != nil {
		w.warn("the requests are not written one by one: %v", err)
	}
}

// closeRequests writes the last lines, and says if any are missing.
func (w *Worker) closeRequests() {
	if w.requests == nil {
		return
	}
	lines := w.requests.Close()
	w.Log.Info("requests written", zap.String("file", lines.Path), zap.Uint64("written", lines.Written), zap.Uint64("lost", lines.Lost), zap.Error(lines.Err))
	why := "the disk was too slow, and no request waited for it"
	if lines.Err != nil {
		why = lines.Err.Error()
	}
	if lines.Lost > 0 || lines.Err != nil {
		w.warn("%d of %d requests are missing from %s; no number here depends on it: %s", lines.Lost, lines.Lost+lines.Written, filepath.Base(lines.Path), why)
	}
}

func (w *Worker) breakerChanged(from, to string) {
	if to == "open" {
		w.warnOnce("circuit breaker", "requests failed many times in a row, so others were held back for a while")
	}
	w.Log.Info("circuit breaker changed", zap.String("from", from), zap.String("to", to))
}

// probe sends one small request as a user would, before the load begins, and
// reports whether the answer was streamed.
func (w *Worker) probe(ctx context.Context, who simulator.Identity, to simulator.EndpointModel, stream bool) (streamed bool, err error) {
	client, err := platform.NewClient(w.job.router, time.Now())
	if err != nil {
		return false, err
	}
	defer client.Close()
	stream = stream && to.Generates()
	call := &simulator.Call{
		Org: who.Org, User: who.User, UserIndex: who.UserIndex, Phase: PreFlight, Request: smallRequest(to, stream, 16),
	}
	call.Request.CacheSalt, call.Request.ID = w.job.script.Salt.For(who), w.RunID+"-pre-flight"
	if len(who.Keys) > 0 {
		call.Request.Key = who.Keys[0]
	}
	call.Schedule(client.Now())
	stack, _ := w.stack(client, w.sums(true), nil, nil)
	err = stack.Ask(ctx, call)
	return stream && !call.Exchange.Unstreamed, err
}

// smallRequest is a request that any model understands, and answers with as
// many tokens at most.
func smallRequest(to simulator.EndpointModel, stream bool, tokens int) platform.Request {
	const question = "Answer with one word: are you ready?"
	req := platform.Request{Endpoint: to.Endpoint, Model: to.Model}
	switch to.Endpoint {
	case platform.Chat:
		req.Messages = []platform.Message{{Role: "user", Content: question}}
		req.Stream, req.MaxTokens = stream, tokens
	case platform.Responses:
		req.Input, req.Stream, req.MaxTokens = question, stream, max(tokens, 16) // OpenAI takes no fewer
	case platform.Completions:
		req.Input, req.Stream, req.MaxTokens = question, stream, tokens
	case platform.Embeddings:
		req.Input = question
	case platform.ModelList:
	}
	return req
}
