package platform

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Client sends inference calls and takes their time. It is safe for
// concurrent use, and speaks HTTP/2 where the server does.
type Client struct {
	epoch time.Time
	peer
	transport *http.Transport
	plain     *plain            // sends the calls; nil if calls does
	calls     http.RoundTripper // transport, or what is around it
	targets   map[Endpoint]*target
	header    http.Header
	hostname  string // a Host header to send in place of the address's
	hide      censor
}

// target is one call of the API.
type target struct {
	op     string
	method string
	url    *url.URL
	head   []byte // of a request on the wire, up to the headers of a call
}

// NewClient returns a client whose moments count from epoch, which must hold
// a monotonic reading, as time.Now gives it; the zero time means now.
func NewClient(conn Connection, epoch time.Time) (*Client, error) {
	base, err := conn.base()
	if err != nil {
		return nil, err
	}
	transport, err := conn.transport()
	if err != nil {
		return nil, err
	}
	if epoch.IsZero() {
		epoch = time.Now()
	}
	c := &Client{
		epoch: epoch, peer: peer{timeout: conn.timeout()}, transport: transport, calls: transport,
		targets: make(map[Endpoint]*target, len(endpointPaths)),
		header:  http.Header{"User-Agent": {"loadtest"}, "Content-Type": {"application/json"}},
	}
	if conn.Wrap != nil {
		c.calls = conn.Wrap(transport)
	}
	for name, value := range conn.Headers {
		if !headerName(name) {
			return nil, fmt.Errorf("%q cannot be the name of a header", name)
		}
		if !headerSafe(value.Reveal()) {
			return nil, fmt.Errorf("the header %s holds a line break or another character that no header may carry", name)
		}
		if name = http.CanonicalHeaderKey(name); name == "Host" {
			c.hostname = value.Reveal()
			continue
		}
		c.header[name] = []string{value.Reveal()}
		if !value.Empty() {
			c.hide = append(c.hide, value.Reveal())
		}
	}
	for endpoint, path := range endpointPaths {
		u, err := url.Parse(base + path)
		if err != nil {
			return nil, fmt.Errorf("the address %q is not usable: %w", conn.BaseURL, err)
		}
		method := http.MethodPost
		if endpoint == ModelList {
			method = http.MethodGet
		}
		c.targets[endpoint] = &target{op: method + " " + path, method: method, url: u, head: c.head(method, u)}
		c.host = withPort(u)
		if c.plain == nil && conn.plain(transport, u) {
			c.plain = &plain{transport: transport, address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")), timeout: c.timeout}
		}
	}
	return c, nil
}

// head is what all requests to u begin with. The headers that a call may set
// itself are not in it, nor those that net/http does not let anybody set.
func (c *Client) head(method string, u *url.URL) []byte {
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), cmp.Or(c.hostname, u.Host))
	for name, values := range c.header {
		switch {
		case name == "Authorization", name == "Accept", name == "X-Request-Id", name == "Traceparent":
		case name == "Content-Length", name == "Transfer-Encoding", name == "Trailer":
		case name == "Content-Type" && method != http.MethodPost:
		default:
			head = fmt.Appendf(head, "%s: %s\r\n", name, values[0])
		}
	}
	return head
}

func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme // "http" and "https" are names of ports as well
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Epoch is the moment from which this client's moments count.
func (c *Client) Epoch() time.Time { return c.epoch }

// Now is the time since the epoch on the monotonic clock, never zero. Use it
// for moments that are to be compared with those of an [Exchange].
func (c *Client) Now() time.Duration { return sinceEpoch(c.epoch) }

// Close closes idle connections. Calls that are on their way go on.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	if c.plain != nil {
		c.plain.closeIdle()
	}
}

// buffers are what a call needs for as long as it lasts.
type buffers struct {
	request []byte
	wire    []byte
	body    linkBody
	watch   *watcher // of nothing but calls on connections used before
	whole   []byte
	events  eventStream
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// release gives buffers back, except for those that a huge answer has grown.
func (b *buffers) release() {
	const most = 1 << 20
	b.body = linkBody{}
	if cap(b.request) <= most && cap(b.wire) <= most && cap(b.whole) <= most && cap(b.events.buf) <= most && cap(b.events.data) <= most {
		b.events.src = nil
		pool.Put(b)
	}
}

// drainPatience is how long to wait, after an answer is complete, for the
// server to end the body, without which the connection cannot be used again.
const drainPatience = 100 * time.Millisecond

// Do sends one call and fills x, which it resets first. It sends the request
// once and tries nothing again. The error is nil or an [*Error]; x.Done is
// set in any case, and everything else as far as the call came.
//
// The time-out of the [Connection] holds for the whole call. A call that ends
// with ctx, for whatever reason, is cancelled; one that ends by the time-out
// has timed out.
//
// Status is that of the HTTP answer; an error inside a stream may name
// another one in its Error.Status.
func (c *Client) Do(ctx context.Context, q *Request, x *Exchange) error {
	*x = Exchange{Gaps: x.Gaps[:0], Answer: x.Answer[:0], Whole: x.Whole[:0]}
	k := call{c: c, q: q, x: x, parent: ctx, ctx: ctx}
	e := k.do()
	if x.Done == 0 {
		x.Done = c.Now()
	}
	if e != nil { // not the nil pointer as an error
		return e
	}
	return nil
}

// call is one Do.
type call struct {
	c      *Client
	q      *Request
	x      *Exchange
	op     string
	parent context.Context
	ctx    context.Context     // parent, or one that the time-out ends too
	hurry  func(time.Duration) // leaves less time for the rest of the answer
	*buffers
}

// response is the head of an answer.
type response struct {
	status    int
	mediaType string
	backend   string
	header    http.Header // nil for a success that plain has read
	body      io.ReadCloser
}

func (k *call) do() *Error {
	c, q, x := k.c, k.q, k.x
	k.op = "call " + string(q.Endpoint)
	if err := q.check(); err != nil {
		return &Error{Op: k.op, Kind: record.Validation, Message: k.hide().line(err.Error()), Err: err}
	}
	t := c.targets[q.Endpoint]
	k.op = t.op

	k.buffers = pool.Get().(*buffers)
	defer k.release()
	if k.request = k.request[:0]; t.method == http.MethodPost {
		k.request = q.appendBody(k.request)
		x.RequestBytes = int64(len(k.request))
	}
	var resp response
	var err error
	if c.plain != nil {
		resp, err = k.sendPlain(t)
	} else {
		cancel := k.bound()
		defer cancel(nil)
		resp, err = k.send(t)
	}
	if err != nil {
		return k.broken(err, "no answer")
	}
	defer resp.body.Close() //nolint:errcheck // only read from
	x.Status, x.Backend = resp.status, resp.backend
	if x.FirstByte == 0 {
		x.FirstByte = c.Now()
	}

	whole := resp.mediaType == "application/json" || strings.HasSuffix(resp.mediaType, "+json")
	switch {
	case resp.status < 200 || resp.status > 299:
		_ = k.readAll(resp.body, maxComplaint) // the status is known; the words are extra
		x.Done = c.Now()
		return refused(k.op, resp.status, resp.header, k.whole, x.RequestBytes, k.hide())
	case q.Stream && !whole:
		return k.stream(resp.body, resp.mediaType)
	default:
		x.Unstreamed = q.Stream
		return k.answer(resp.body)
	}
}

// sendPlain sends the request by c.plain.
func (k *call) sendPlain(t *target) (response, error) {
	q, b := k.q, append(k.wire[:0], t.head...)
	accept := ""
	if q.Stream {
		accept = "text/event-stream"
	}
	authorization := ""
	if !q.Key.Empty() {
		authorization = "Bearer "
	}
	b = k.appendHeader(b, "Authorization", authorization, q.Key.Reveal())
	b = k.appendHeader(b, "Accept", accept, "")
	b = k.appendHeader(b, "X-Request-Id", q.ID, "")
	if q.Trace.ID.IsZero() {
		b = k.appendHeader(b, "Traceparent", "", "")
	} else {
		b = append(q.Trace.AppendHeader(append(b, "Traceparent: "...)), "\r\n"...)
	}
	if t.method == http.MethodPost {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), k.x.RequestBytes, 10), "\r\n"...)
	}
	k.wire = append(append(b, "\r\n"...), k.request...)
	if k.watch == nil || !k.watch.epoch.Equal(k.c.epoch) {
		k.watch = &watcher{epoch: k.c.epoch}
	}
	k.watch.headByte.Store(0)
	k.watch.reused.Store(false)
	k.x.Sent = k.c.Now()
	resp, l, err := k.c.plain.send(k.ctx, t.method, k.wire, k.c.epoch.Add(k.x.Sent+k.c.timeout), k.watch)
	if k.watch.report(k.x); !k.x.Reused {
		k.watch = nil // what dialled may go on calling it
	}
	if err != nil {
		return resp, err
	}
	k.body = linkBody{l: l}
	resp.body, k.hurry = &k.body, k.body.hurry
	return resp, nil
}

// appendHeader appends a header of the call, in two parts, or if it has none,
// of the connection.
func (k *call) appendHeader(b []byte, name, value, more string) []byte {
	if value == "" {
		if set := k.c.header[name]; len(set) > 0 {
			value = set[0]
		} else {
			return b
		}
	}
	b = append(append(append(b, name...), ": "...), value...)
	return append(append(b, more...), "\r\n"...)
}

// send sends the request by net/http. The context must be bound.
func (k *call) send(t *target) (response, error) {
	q, x := k.q, k.x
	watch := &watcher{epoch: k.c.epoch}
	req := k.c.request(httptrace.WithClientTrace(k.ctx, watch.trace()), t.method, t.url, q.Key)
	if t.method == http.MethodPost {
		// A copy, since the transport may still be sending when the answer is
		// there. What it sends from memory it sends with the head, in one write.
		body := bytes.Clone(k.request)
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = x.RequestBytes
	} else {
		delete(req.Header, "Content-Type")
	}
	if q.Stream {
		req.Header["Accept"] = []string{"text/event-stream"}
	}
	if q.ID != "" {
		req.Header["X-Request-Id"] = []string{q.ID}
	}
	if !q.Trace.ID.IsZero() {
		req.Header["Traceparent"] = []string{string(q.Trace.AppendHeader(make([]byte, 0, 55)))}
	}
	x.Sent = k.c.Now()
	resp, err := k.c.calls.RoundTrip(req) //nolint:bodyclose // the caller does
	watch.report(x)
	if err != nil {
		return response{}, err
	}
	return response{status: resp.StatusCode, mediaType: mediaType(resp.Header.Get("Content-Type")), backend: backend(resp.Header.Get(backendHeader)), header: resp.Header, body: resp.Body}, nil
}

func mediaType(contentType string) string {
	media, _, _ := mime.ParseMediaType(contentType)
	return media
}

// bound lets the time-out end the context too, until cancel is called.
func (k *call) bound() context.CancelCauseFunc {
	ctx, cancel := context.WithCancelCause(k.parent)
	k.ctx = ctx
	timer := time.AfterFunc(k.c.timeout, func() { cancel(errTimeout) })
	k.hurry = func(d time.Duration) {
		if timer.Stop() {
			timer.Reset(d)
		}
	}
	return func(cause error) {
		timer.Stop()
		cancel(cause)
	}
}

// request prepares a request without a body.
func (c *Client) request(ctx context.Context, method string, to *url.URL, key secret.String) *http.Request {
	req := (&http.Request{
		Method: method, URL: to, Host: c.hostname, Header: make(http.Header, len(c.header)+4),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	for name, values := range c.header {
		req.Header[name] = values
	}
	if !key.Empty() {
		req.Header["Authorization"] = []string{"Bearer " + key.Reveal()}
	}
	return req
}

func (k *call) hide() censor {
	if k.q.Key.Empty() {
		return k.c.hide
	}
	return append(censor{k.q.Key.Reveal()}, k.c.hide...)
}

// broken describes a call that got no complete answer. got says how far it
// came: "no answer", "no complete answer".
func (k *call) broken(err error, got string) *Error {
	return k.c.broken(k.parent, k.ctx, k.op, err, got, k.hide())
}

// maxComplaint bounds what is read of an error's body.
const maxComplaint = 64 << 10

var errLongAnswer = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

// readAll reads a body into k.whole, to its end, so that the connection can
// be used again.
func (k *call) readAll(body io.Reader, most int) error {
	k.whole = k.whole[:0]
	for {
		if len(k.whole) == cap(k.whole) {
			k.whole = append(k.whole, make([]byte, max(8<<10, len(k.whole)))...)[:len(k.whole)]
		}
		n, err := body.Read(k.whole[len(k.whole):cap(k.whole)])
		k.whole = k.whole[:len(k.whole)+n]
		k.x.ResponseBytes += int64(n)
		if len(k.whole) > most {
			return errLongAnswer
		}
		if err != nil {
			if errors.Is(err, io.EOF) { // not: unexpected EOF
				return nil
			}
			return err
		}
	}
}

// answer reads and takes apart a whole answer.
func (k *call) answer(body io.Reader) *Error {
	x, q := k.x, k.q
	err := k.readAll(body, maxAnswer)
	if x.Done = k.c.Now(); err == nil {
		x.Done = arrival(body, k.c.epoch)
	}
	switch {
	case errors.Is(err, errLongAnswer):
		return k.invalid(err.Error(), nil)
	case err != nil:
		return k.broken(err, "no complete answer")
	}
	if q.Body != nil {
		x.Whole = append(x.Whole, k.whole...)
	}
	var r reply
	switch {
	case !k.parse(&r, k.whole, false):
		return k.invalid("the answer is not a JSON object: ", k.whole)
	case r.fault:
		return faulted(k.op, k.complaint(k.whole), false, k.hide())
	case q.Endpoint == Embeddings && r.vectors == 0:
		return k.invalid("the answer holds no embedding: ", k.whole)
	case q.Endpoint == ModelList:
		if !r.listed {
			return k.invalid("the answer holds no list of models: ", k.whole)
		}
		x.UsageKnown = true // a list takes no tokens
		return nil
	case q.Endpoint != Embeddings && r.choices == 0:
		return k.invalid("the answer holds no choice: ", k.whole)
	}
	x.Answer = appendUnquoted(x.Answer, r.answer())
	if filled(r.finish) {
		x.FinishReason = r.finishReason()
	}
	if r.promptKnown && (r.completionKnown || q.Endpoint == Embeddings) {
		x.Usage, x.UsageKnown, x.CachedKnown = r.usage, true, r.cachedKnown
	}
	return nil
}

// stream reads a stream of events as they come.
func (k *call) stream(body io.Reader, mediaType string) *Error {
	x, events := k.x, &k.events
	events.reset(body, k.c.epoch)
	u := unfold{x: x}
	defer func() {
		u.finish()
		x.ResponseBytes += events.bytes
	}()
	var r reply
	for n := 0; ; {
		data, err := events.next()
		switch {
		case errors.Is(err, io.EOF): // not: unexpected EOF
			x.Done = arrival(body, k.c.epoch)
			switch {
			case x.FinishReason != "":
				return nil // not every server says [DONE]
			case n == 0 && mediaType != "text/event-stream":
				return k.invalid(fmt.Sprintf("the answer to a streaming request is neither an event stream nor JSON, but %q", mediaType), nil)
			default:
				return &Error{Op: k.op, Kind: record.StreamInterrupted, Err: io.ErrUnexpectedEOF,
					Message: fmt.Sprintf("the stream ended after %d chunks without a finish_reason or [DONE]", x.Chunks)}
			}
		case errors.Is(err, errLongEvent):
			x.Done = k.c.Now()
			return k.invalid(err.Error(), nil)
		case err != nil:
			x.Done = k.c.Now()
			e := k.broken(err, "no complete stream")
			if e.Kind != record.Timeout && e.Kind != record.CancelledKind {
				e.Kind = record.StreamInterrupted
			}
			return e
		}
		data = bytes.TrimSpace(data)
		if len(data) == 0 {
			continue
		}
		n++
		x.Done = events.at
		if string(data) == "[DONE]" {
			k.drain(events)
			if x.Chunks == 0 && x.FinishReason == "" {
				return k.invalid("the stream ended without an answer", nil)
			}
			return nil
		}
		switch ok := k.parse(&r, data, true); {
		case events.failed, ok && r.fault:
			return faulted(k.op, k.complaint(data), true, k.hide())
		case !ok:
			return k.invalid("a chunk of the stream is not a JSON object: ", data)
		}
		if u.add(&r, events.at); len(x.Answer) > maxAnswer {
			return k.invalid(errLongAnswer.Error(), nil)
		}
		if k.q.Endpoint == Responses && x.FinishReason != "" { // there is no [DONE]
			k.drain(events)
			return nil
		}
	}
}

// parse reads a document of the answer: a whole one or a chunk.
func (k *call) parse(r *reply, doc []byte, chunk bool) bool {
	switch {
	case k.q.Endpoint == Responses && chunk:
		return r.parseEvent(doc)
	case k.q.Endpoint == Responses:
		return r.parseWhole(doc)
	case chunk:
		return r.parse(doc, "delta")
	default:
		return r.parse(doc, "message")
	}
}

// complaint is the document in which an error says what is wrong.
func (k *call) complaint(doc []byte) []byte {
	if k.q.Endpoint == Responses {
		return complaintOf(doc)
	}
	return doc
}

// drain waits a little for the end of the body.
func (k *call) drain(events *eventStream) {
	k.hurry(drainPatience)
	for events.bytes < maxAnswer {
		events.start = len(events.buf)
		events.seen = events.start
		if events.fill() != nil {
			return
		}
	}
}

// invalid describes an answer that makes no sense, quoting its beginning.
func (k *call) invalid(what string, quote []byte) *Error {
	return &Error{Op: k.op, Kind: record.InvalidResponse, Status: k.x.Status,
		Message: k.hide().line(what + string(quote[:min(len(quote), 4*maxMessage)]))}
}

// watcher notes when the connection phases of one call began and ended. The
// transport may go on calling it after the call is over, when it dialled a
// connection that was not needed after all; hence the atomics.
type watcher struct {
	epoch                             time.Time
	dnsStart, connectStart, tlsStart  atomic.Int64
	dns, connect, handshake, headByte atomic.Int64 // the first three are durations
	reused                            atomic.Bool
}

func (w *watcher) trace() *httptrace.ClientTrace {
	now := func() int64 { return int64(sinceEpoch(w.epoch)) }
	// Several addresses are tried at once; the first to start and the first
	// to succeed count.
	took := func(total, start *atomic.Int64) { total.CompareAndSwap(0, max(1, now()-start.Load())) }
	return &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { w.dnsStart.CompareAndSwap(0, now()) },
		DNSDone:      func(httptrace.DNSDoneInfo) { took(&w.dns, &w.dnsStart) },
		ConnectStart: func(string, string) { w.connectStart.CompareAndSwap(0, now()) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				took(&w.connect, &w.connectStart)
			}
		},
		TLSHandshakeStart: func() { w.tlsStart.CompareAndSwap(0, now()) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				took(&w.handshake, &w.tlsStart)
			}
		},
		GotConn:              func(i httptrace.GotConnInfo) { w.reused.Store(i.Reused) },
		GotFirstResponseByte: func() { w.headByte.CompareAndSwap(0, now()) },
	}
}

// report writes what was seen. A call that began to dial and then was served
// by a connection that had become free has not waited for the dialling.
func (w *watcher) report(x *Exchange) {
	x.FirstByte = time.Duration(w.headByte.Load())
	if x.Reused = w.reused.Load(); x.Reused {
		return
	}
	x.DNS = time.Duration(w.dns.Load())
	x.Connect = time.Duration(w.connect.Load())
	x.TLS = time.Duration(w.handshake.Load())
}

// backendHeader names who answered, on platforms that say it.
const backendHeader = "X-Routing-Backend"

// longestBackend bounds the name of a backend, which becomes a label.
const longestBackend = 64

// backend is the name of the one that answered, as far as it is one.
func backend[T string | []byte](name T) string {
	if len(name) > longestBackend || !utf8.ValidString(string(name)) {
		return ""
	}
	return string(name)
}
