package simulator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Prices knows what tokens cost; [platform.Prices] does.
type Prices interface {
	// Cost is in millionths of a dollar; ok is false for a model without a price.
	Cost(model string, usage platform.Usage) (microUSD int64, ok bool)
}

// Recorder sends one record per attempt to a sink.
type Recorder struct {
	Asker
	Sink   record.Sink
	Prices Prices // nil: no cost is known
	// Now is the offset from the run's epoch, on the client's clock.
	Now func() time.Duration
}

var _ Asker = (*Recorder)(nil)

var records = sync.Pool{New: func() any { return new(record.Record) }}

// Ask implements [Asker].
func (r *Recorder) Ask(ctx context.Context, c *Call) error {
	// An asker that fails before it reaches the client must not leave the
	// previous answer standing here.
	c.Exchange = emptied(c.Exchange)
	c.Checks, c.Values = nil, nil
	err := r.Asker.Ask(ctx, c)
	if err != nil && errors.Is(err, ErrNotSent) {
		return err
	}
	if c.Exchange.Done == 0 {
		c.Exchange.Done = r.Now()
	}
	rec := records.Get().(*record.Record)
	r.fill(rec, c, err)
	r.Sink.Add(rec)
	*rec = record.Record{} // keeps no answer's buffers alive
	records.Put(rec)
	return err
}

func (r *Recorder) fill(rec *record.Record, c *Call, err error) {
	req, ex := &c.Request, &c.Exchange
	*rec = record.Record{
		ID: req.ID, Trace: req.Trace, Org: c.Org, User: c.User, UserIndex: c.UserIndex,
		Phase: c.Phase, Session: c.Session, Turn: c.Turn, Attempt: max(1, c.Attempt),
		Measured: c.Measured, Final: c.final(err),

		Endpoint: string(req.Endpoint), Model: req.Model, Backend: ex.Backend, Strategy: c.Strategy, TestType: c.TestType, Stream: req.Stream,

		Scheduled: c.Scheduled, Sent: ex.Sent, FirstByte: ex.FirstByte,
		FirstToken: ex.FirstToken, LastToken: ex.LastToken, Done: ex.Done,
		DNS: ex.DNS, Connect: ex.Connect, TLS: ex.TLS, Reused: ex.Reused,
		Gaps: ex.Gaps, Chunks: ex.Chunks, FirstChunkTokens: ex.FirstChunkTokens,

		UsageKnown: ex.UsageKnown, PromptTokens: ex.Usage.PromptTokens,
		CompletionTokens: ex.Usage.CompletionTokens, CachedTokens: ex.Usage.CachedTokens, CachedKnown: ex.CachedKnown,

		Status: ex.Status, FinishReason: ex.FinishReason,
		RequestBytes: ex.RequestBytes, ResponseBytes: ex.ResponseBytes,
		Checks: c.Checks, Values: c.Values,
	}
	switch {
	case !req.Endpoint.Infers():
		rec.CostKnown = true // nobody charges for it
	case ex.UsageKnown && r.Prices != nil:
		rec.CostMicroUSD, rec.CostKnown = r.Prices.Cost(req.Model, ex.Usage)
	}
	if err != nil {
		explain(rec, err)
	}
	switch {
	case ex.Injected:
		rec.Kind = record.ChaosInjected
	case c.Aside != record.None:
		rec.Kind = c.Aside
	}
}

// explain says on the record what went wrong.
func explain(rec *record.Record, err error) {
	message := err.Error()
	var perr *platform.Error
	switch {
	case errors.As(err, &perr):
		message = strings.TrimPrefix(message, perr.Op+": ") // the record has the endpoint
		rec.Outcome, rec.Kind, rec.RetryAfter = perr.Outcome(), perr.Kind, perr.RetryAfter
		if rec.Status == 0 {
			rec.Status = perr.Status
		}
	case errors.Is(err, context.Canceled):
		rec.Outcome, rec.Kind = record.Cancelled, record.CancelledKind
	case errors.Is(err, context.DeadlineExceeded):
		rec.Outcome, rec.Kind = record.Failed, record.Timeout
	default:
		rec.Outcome, rec.Kind = record.Failed, record.HTTPError
	}
	rec.Message = oneLine(message)
}

// longestMessage bounds the message of a record, in bytes.
const longestMessage = 400

func oneLine(s string) string {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	if len(s) > longestMessage {
		s = strings.ToValidUTF8(s[:longestMessage], "") + "…"
	}
	return s
}
