// Package tracing sends a span for each request to an OpenTelemetry collector,
// by OTLP over HTTP. The platform's own spans of the request are its children,
// since both have the names that travelled as traceparent.
//
// Nobody waits for the collector: records are put into a queue, and what finds
// it full is dropped and counted. A collector that is slow or gone costs spans
// and nothing else.
package tracing

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

const (
	queueLength = 4096        // spans that wait
	batchLength = 512         // spans of one call
	interval    = time.Second // between calls, at most
)

// Wanted reports whether OpenTelemetry's variables of the environment ask for
// spans, and what is wrong with them.
func Wanted(getenv func(string) string) (yes bool, err error) {
	if getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		at := getenv(name)
		if at == "" {
			continue
		}
		if u, err := url.Parse(at); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return false, fmt.Errorf("%s is no address such as http://localhost:4318", name)
		}
		for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
			if p := getenv(name); p != "" && p != "http/protobuf" {
				return false, fmt.Errorf("%s is %s, and only http/protobuf is spoken here", name, p)
			}
		}
		return true, nil
	}
	return false, nil
}

// Options describe who sends.
type Options struct {
	// Service is service.name; empty means loadtest.
	Service, Version string
	// Attributes are those of the resource: what runs.
	Attributes map[string]string
	// Patience bounds what Close waits; 0 means 5 s.
	Patience time.Duration
}

// Exporter sends spans. Make one with [Start].
type Exporter struct {
	client   otlptrace.Client
	patience time.Duration
	resource *resource.Resource
	scope    *common.InstrumentationScope
	queue    chan request
	closing  chan struct{}
	done     chan struct{}
	cancel   context.CancelFunc

	mu      sync.Mutex
	account Account
}

// request is a record that waits, without what is not its own.
type request struct {
	record.Record
	epoch time.Time
}

// Account says what became of the spans.
type Account struct {
	Sent    uint64
	Dropped uint64 // the queue was full
	Failed  uint64 // the collector did not take them
	Err     error  // why, at last
}

// Lost is how many spans the collector does not have.
func (a Account) Lost() uint64 { return a.Dropped + a.Failed }

// Start begins to send to where the environment says (OTEL_EXPORTER_OTLP_*,
// with headers, certificates, compression and time-out). The caller must Close
// the exporter, after the last record.
func Start(o Options) (*Exporter, error) {
	if o.Service == "" {
		o.Service = "loadtest"
	}
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Exporter{
		client: otlptracehttp.NewClient(otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: interval, MaxInterval: o.Patience, MaxElapsedTime: 2 * o.Patience,
		})),
		patience: o.Patience,
		resource: &resource.Resource{}, scope: &common.InstrumentationScope{Name: "loadtest", Version: o.Version},
		queue: make(chan request, queueLength), closing: make(chan struct{}), done: make(chan struct{}), cancel: cancel,
	}
	e.resource.Attributes = attributes{}.text("service.name", o.Service).text("service.version", o.Version)
	for name, value := range o.Attributes {
		e.resource.Attributes = attributes(e.resource.Attributes).text(name, value)
	}
	if err := e.client.Start(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("prepare to send traces: %w", err)
	}
	go e.run(ctx)
	return e, nil
}

// Since returns a sink for records whose moments count from epoch. It takes
// those whose traces are sampled.
func (e *Exporter) Since(epoch time.Time) record.Sink {
	return record.SinkFunc(func(r *record.Record) {
		if !r.Trace.Sampled {
			return
		}
		q := request{*r, epoch}
		q.Gaps, q.Checks, q.Values = nil, nil, nil
		select {
		case e.queue <- q:
		default:
			e.mu.Lock()
			e.account.Dropped++
			e.mu.Unlock()
		}
	})
}

// Close sends what is left, for [Options.Patience] at most, and says what became of
// all. Nothing must be added any more.
func (e *Exporter) Close() Account {
	defer time.AfterFunc(e.patience, e.cancel).Stop()
	close(e.closing)
	<-e.done
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.account
}

func (e *Exporter) run(ctx context.Context) {
	defer close(e.done)
	defer func() { _ = e.client.Stop(context.WithoutCancel(ctx)) }() // which only marks it as stopped
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	batch := make([]*trace.Span, 0, batchLength)
	send := func() {
		if len(batch) > 0 {
			e.send(ctx, batch)
			batch = batch[:0]
		}
	}
	add := func(q request) {
		if batch = append(batch, q.span()); len(batch) == batchLength {
			send()
		}
	}
	for {
		select {
		case q := <-e.queue:
			add(q)
		case <-ticker.C:
			send()
		case <-e.closing:
			for len(e.queue) > 0 {
				add(<-e.queue)
			}
			send()
			return
		}
	}
}

func (e *Exporter) send(ctx context.Context, spans []*trace.Span) {
	err := e.client.UploadTraces(ctx, []*trace.ResourceSpans{{
		Resource: e.resource, ScopeSpans: []*trace.ScopeSpans{{Scope: e.scope, Spans: spans}},
	}})
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.account.Failed, e.account.Err = e.account.Failed+uint64(len(spans)), err
		return
	}
	e.account.Sent += uint64(len(spans))
}
