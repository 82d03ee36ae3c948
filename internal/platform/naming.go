package platform

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// name is what calls are found by on the platform.
type name struct {
	id    string
	trace record.Trace
}

type nameKey struct{}

// Named returns a context in which calls of the User/Org API carry the id as
// X-Request-Id and the trace as traceparent, as inference calls do. All calls
// that one operation takes have the same.
func Named(ctx context.Context, id string, trace record.Trace) context.Context {
	return context.WithValue(ctx, nameKey{}, name{id, trace})
}

// Naming says how those calls of the User/Org API are named that are not
// [Named]: of what creates and removes tenants.
type Naming struct {
	Prefix string  // of the ids, which a number follows
	Ratio  float64 // the share of traces that the platform is asked to keep, 0 to 1
	// Sink, unless it is nil, gets a record of every such call, whose moments count
	// from Epoch. Its endpoint is the call with * for whatever is named in it.
	Sink  record.Sink
	Epoch time.Time
}

// TenantPhase is the phase of the records that a [Naming] has made.
const TenantPhase = "tenants"

// Name names calls; it must be called before the first. A call that is tried
// again has another id and another span then, in the same trace.
func (t *Tenancy) Name(n Naming) { t.wire.namer = &namer{Naming: n} }

// namer names calls. A nil one leaves them as they are.
type namer struct {
	Naming
	count atomic.Int64
}

type triesKey struct{}

// tries returns a context in which all tries of a call are in one trace.
func tries(ctx context.Context) context.Context {
	return context.WithValue(ctx, triesKey{}, new(record.Trace))
}

// call names a call, unless that has been done, sends it, and tells of it.
func (n *namer) call(ctx context.Context, c apiCall, send func(context.Context) (status int, err error)) error {
	if _, named := ctx.Value(nameKey{}).(name); named || n == nil {
		_, err := send(ctx)
		return err
	}
	trace := record.NewTrace(n.Ratio)
	if earlier, ok := ctx.Value(triesKey{}).(*record.Trace); ok {
		if !earlier.ID.IsZero() {
			trace.ID, trace.Sampled = earlier.ID, earlier.Sampled
		}
		*earlier = trace
	}
	r := record.Record{
		ID: n.Prefix + strconv.FormatInt(n.count.Add(1), 10), Trace: trace, Phase: TenantPhase, Endpoint: c.method + " " + pattern(c.path),
		Sent: time.Since(n.Epoch), Final: true,
	}
	r.Scheduled = r.Sent
	var err error
	r.Status, err = send(Named(ctx, r.ID, trace))
	if n.Sink == nil {
		return err
	}
	r.Done = time.Since(n.Epoch)
	if e := (*Error)(nil); errors.As(err, &e) {
		r.Outcome, r.Kind, r.Message = e.Outcome(), e.Kind, e.Error()
	}
	n.Sink.Add(&r)
	return err
}

// pattern is a path of the User/Org API without names: /v1/orgs/*/users.
func pattern(path string) string {
	parts := strings.Split(path, "/") // "", v1, a collection, one of it, a collection, …
	if len(parts) > 2 && parts[2] == "auth" {
		return path
	}
	for i := 3; i < len(parts); i += 2 {
		parts[i] = "*"
	}
	return strings.Join(parts, "/")
}

// addHeaders adds the names that a context has.
func addHeaders(ctx context.Context, to http.Header) {
	n, ok := ctx.Value(nameKey{}).(name)
	if !ok {
		return
	}
	if n.id != "" {
		to.Set("X-Request-Id", n.id)
	}
	if !n.trace.ID.IsZero() {
		to.Set("Traceparent", string(n.trace.AppendHeader(nil)))
	}
}
