package platform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// plain sends calls over HTTP/1.1 without TLS, to one address. net/http's
// transport keeps two goroutines a connection and hands every request and
// every answer from one to the other; here the caller writes his request and
// reads his answer himself, for less than half of the CPU time. The head of an
// ordinary answer, 200 with a known length or in chunks, is read on the spot;
// any other one is left to [http.ReadResponse].
//
// It repeats a request only if surely none of it has left, or if nothing of an
// answer has come on a connection used before and the method permits it. It
// stays on the safe side where a caller would not notice: a connection whose
// answer was not read to its end, or which says anything unasked, is closed.
type plain struct {
	transport *http.Transport // dials
	address   string          // host:port
	timeout   time.Duration   // of a call
	readers   sync.Pool       // of *bufio.Reader, that no connection holds while it is idle

	mu     sync.Mutex
	idle   []*link // the one used last is the last
	closed bool    // keep no connection until another one is needed
	reaper *time.Timer
}

// longestHead bounds the head of an answer, with the 1xx answers before it,
// and its trailer.
const longestHead = 1 << 20

var errLongHead = fmt.Errorf("malformed HTTP response: its head is longer than %d KiB", longestHead>>10)

// Why an idle connection is not used again.
var (
	errHungUp  = errors.New("the server has closed the connection")
	errUnasked = errors.New("the server has spoken unasked")
)

// longAgo as a deadline ends reading and writing at once.
var longAgo = time.Unix(1, 0)

// longestLate is how long bytes may have lain in a socket; beyond that it is
// rather the clock that was set.
const longestLate = time.Minute

// refusalPatience is how long to wait for an answer to half a request.
const refusalPatience = 50 * time.Millisecond

// link is one connection.
type link struct {
	of     *plain
	conn   net.Conn
	socket *socket // nil if conn is none: a pipe of a test
	br     *bufio.Reader
	stamps *arrivals // nil where nothing tells when bytes arrive
	came   time.Time // when what was read last arrived, as far as is known
	left   int       // how much of a head may still be read; negative: no bound
	reused bool      // for another call before
	began  bool      // something of an answer was read
	late   bool      // reading has timed out, which net/http takes for an end
	since  time.Time // it has been idle

	// The watch over a context outlives the call, since the next one often has
	// the same: that of a user. done tells which context.
	done    <-chan struct{}
	unwatch func() bool

	// Of the call that it is lent to:
	mu     sync.Mutex      // guards ctx, which cut looks at, and conn's deadline
	ctx    context.Context //nolint:containedctx // ends with the call; nil while idle
	length int64           // what is left of the body; −1: as body has it
	body   io.Reader       // reads it if the length is not known
	closes bool            // the server will close the connection
}

// Read implements [io.Reader] for the buffer.
func (l *link) Read(b []byte) (int, error) {
	if l.left == 0 {
		return 0, errLongHead
	}
	if l.left > 0 {
		b = b[:min(len(b), l.left)]
	}
	n, err := l.receive(b)
	l.late = errors.Is(err, os.ErrDeadlineExceeded)
	if n > 0 {
		l.began = true
		if l.left > 0 {
			l.left -= n
		}
	}
	return n, err
}

// receive reads from the connection, and notes when that arrived.
func (l *link) receive(b []byte) (n int, err error) {
	if l.stamps == nil {
		n, err = l.conn.Read(b)
		l.came = time.Now()
		return n, err
	}
	n, err = l.stamps.read(b)
	now := time.Now()
	late := now.Sub(l.stamps.at)
	if l.stamps.at.IsZero() || late < 0 || late > longestLate {
		late = 0
	}
	if came := now.Add(-late); came.After(l.came) {
		l.came = came
	}
	return n, err
}

// send sends a request, as it goes over the wire, and returns the head of the
// answer, and the connection to read its body from. Errors are errTimeout, the
// cause of ctx, or what package net says.
func (p *plain) send(ctx context.Context, method string, out []byte, deadline time.Time, watch *watcher) (response, *link, error) {
	for {
		l, err := p.take(ctx, deadline, watch)
		if err != nil {
			return response{}, nil, err
		}
		resp, sent, err := l.exchange(ctx, method, out, watch)
		if err == nil {
			return resp, l, nil
		}
		stale := l.reused && !l.began && ctx.Err() == nil && !errors.Is(err, errTimeout)
		if !stale || sent && method != http.MethodGet {
			return response{}, nil, err
		}
	}
}

// take returns an idle connection that the server has not closed, or a new one.
func (p *plain) take(ctx context.Context, deadline time.Time, watch *watcher) (*link, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for {
		l := p.pop(ctx)
		if l == nil {
			break
		}
		if l.lend(ctx, deadline) == nil {
			l.reused = true
			watch.reused.Store(true)
			l.br = p.reader(l)
			return l, nil
		}
		l.close()
	}
	watch.reused.Store(false)
	dialling, cancel := context.WithDeadlineCause(httptrace.WithClientTrace(ctx, watch.trace()), deadline, errTimeout)
	defer cancel()
	conn, err := p.transport.DialContext(dialling, "tcp", p.address)
	if err != nil {
		if dialling.Err() != nil {
			err = context.Cause(dialling)
		}
		return nil, err
	}
	l := &link{of: p, conn: conn, socket: newSocket(conn), stamps: newArrivals(conn)}
	l.br = p.reader(l)
	if err := l.lend(ctx, deadline); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// reader is a buffer to read a connection with, which has it until it is idle.
func (p *plain) reader(l *link) *bufio.Reader {
	br, ok := p.readers.Get().(*bufio.Reader)
	if !ok {
		return bufio.NewReaderSize(l, p.transport.ReadBufferSize)
	}
	br.Reset(l)
	return br
}

// lend makes a connection that of a call.
func (l *link) lend(ctx context.Context, deadline time.Time) error {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	if done := ctx.Done(); done != l.done {
		if l.unwatch != nil {
			l.unwatch() // too late is no harm: cut looks whose the connection is
		}
		if l.done, l.unwatch = done, nil; done != nil {
			l.unwatch = context.AfterFunc(ctx, func() { l.cut(done) })
		}
	}
	return l.allow(deadline)
}

// cut ends reading and writing, at once, for the calls with a context.
func (l *link) cut(done <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil && l.ctx.Done() == done {
		_ = l.conn.SetDeadline(longAgo) // fails on a closed connection, as reading will
	}
}

// allow has the connection time out at a moment, unless it is cut off already.
func (l *link) allow(until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return l.conn.SetDeadline(longAgo) // as cut does, or did
	}
	return l.conn.SetDeadline(until)
}

// close closes the connection, to which nobody listens.
func (l *link) close() {
	if l.unwatch != nil {
		l.unwatch()
	}
	_ = l.conn.Close() // what it has to say was heard
}

// pop takes an idle connection, if there is one: the last, unless one of the
// few before it was used with the same context.
func (p *plain) pop(ctx context.Context) *link {
	done := ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	at := n - 1
	for i := at; i >= max(0, n-4); i-- {
		if p.idle[i].done == done {
			at = i
			break
		}
	}
	l := p.idle[at]
	p.idle = slices.Delete(p.idle, at, at+1)
	return l
}

// put keeps a connection for the next request.
func (p *plain) put(l *link) {
	l.br.Reset(nil)
	p.readers.Put(l.br)
	l.br = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.close()
		return
	}
	l.since = time.Now()
	p.idle = append(p.idle, l)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.transport.IdleConnTimeout, p.reap)
	}
}

// reap closes what has been idle for long. It runs while there is anything idle.
func (p *plain) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaper == nil {
		return // all were closed in the meantime
	}
	n := 0 // the ones used last come last
	for n < len(p.idle) && time.Since(p.idle[n].since) >= p.transport.IdleConnTimeout {
		p.idle[n].close()
		n++
	}
	p.idle = slices.Delete(p.idle, 0, n)
	if len(p.idle) > 0 {
		p.reaper.Reset(p.transport.IdleConnTimeout - time.Since(p.idle[0].since))
	} else {
		p.reaper = nil
	}
}

// closeIdle closes what is idle, and the others once they are.
func (p *plain) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.idle {
		l.close()
	}
	p.idle = nil
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
}

// exchange writes a request and reads the head of its answer. The connection
// is closed if there is an error, and goes back when the body has been read.
// sent is false if surely nothing of the request has left.
func (l *link) exchange(ctx context.Context, method string, out []byte, watch *watcher) (resp response, sent bool, err error) {
	l.began, l.left, l.closes = false, longestHead, false
	n, unwritten := l.write(out)
	if unwritten != nil {
		if n == 0 || errors.Is(unwritten, os.ErrDeadlineExceeded) {
			return resp, n > 0, l.broken(unwritten)
		}
		// A server may refuse what it has not read to its end, and hang up.
		_ = l.allow(time.Now().Add(refusalPatience))
	}
	_, err = l.br.Peek(1)
	if err == nil {
		watch.headByte.Store(int64(max(1, l.came.Sub(watch.epoch))))
		resp, err = l.head(method)
	}
	if err != nil {
		if unwritten != nil {
			err = unwritten
		}
		return resp, true, l.broken(err)
	}
	l.left = -1
	l.closes = l.closes || unwritten != nil
	return resp, true, nil
}

// write writes a request, if the server has neither closed the connection nor
// said anything unasked. It may wait for the answer, too.
func (l *link) write(out []byte) (n int, err error) {
	if l.reused && l.socket != nil {
		n, err = l.socket.ask(out)
		if n == len(out) {
			err = nil // it was the answer that did not come, as reading will find
		}
	}
	if n < len(out) && err == nil {
		var m int
		m, err = l.conn.Write(out[n:])
		n += m
	}
	return n, err
}

// head reads the head of an answer.
func (l *link) head(method string) (response, error) {
	buffered, _ := l.br.Peek(l.br.Buffered()) // cannot fail
	if end := bytes.Index(buffered, []byte("\r\n\r\n")); end > 0 {
		if resp, length, ok := ordinary(buffered[:end+2]); ok {
			_, _ = l.br.Discard(end + 4) // cannot fail either
			if l.length = length; length < 0 {
				l.body = &chunks{l: l}
			}
			return resp, nil
		}
	}
	for {
		r, err := http.ReadResponse(l.br, &http.Request{Method: method}) //nolint:bodyclose // Close does what is needed
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF) && !l.began:
			return response{}, io.EOF
		case err != nil && l.late:
			return response{}, os.ErrDeadlineExceeded
		case err != nil:
			return response{}, err
		case 100 <= r.StatusCode && r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		l.closes = r.Close || r.StatusCode < 200 // what net/http would not trust either
		l.body, l.length = r.Body, -1
		return response{status: r.StatusCode, mediaType: mediaType(r.Header.Get("Content-Type")), backend: backend(r.Header.Get(backendHeader)), header: r.Header}, nil
	}
}

// ordinary takes a head apart, lines with their ends, if it is that of an
// answer with the status 200 over HTTP/1.1 which has a length, or else comes in
// chunks (length −1), and after which the connection stays open. It returns no
// header, since nobody asks for that of a success.
func ordinary(head []byte) (r response, length int64, ok bool) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) || !headerSafe(line) {
		return r, 0, false
	}
	length = -2
	var media []byte
	for len(rest) > 0 {
		line, rest, ok = bytes.Cut(rest, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		if !ok || colon < 0 || !headerName(line[:colon]) || !headerSafe(line[colon+1:]) {
			return r, 0, false
		}
		value := bytes.Trim(line[colon+1:], " ")
		switch name := line[:colon]; {
		case isName(name, "Content-Length"):
			n, err := strconv.ParseUint(string(value), 10, 62)
			if length != -2 || err != nil {
				return r, 0, false
			}
			length = int64(n)
		case isName(name, "Transfer-Encoding"):
			if length != -2 || string(value) != "chunked" {
				return r, 0, false
			}
			length = -1
		case isName(name, "Connection"):
			if !isName(value, "keep-alive") {
				return r, 0, false
			}
		case isName(name, "Trailer"):
			return r, 0, false
		case isName(name, "Content-Type"):
			if media != nil {
				return r, 0, false
			}
			media = value
		case isName(name, backendHeader) && r.backend == "":
			r.backend = backend(value)
		}
	}
	if length == -2 {
		return r, 0, false
	}
	switch string(media) {
	case "application/json", "application/json; charset=utf-8":
		r.mediaType = "application/json"
	case "text/event-stream", "text/event-stream; charset=utf-8":
		r.mediaType = "text/event-stream"
	default:
		r.mediaType = mediaType(string(media))
	}
	r.status = http.StatusOK
	return r, length, true
}

func isName(got []byte, name string) bool {
	return len(got) == len(name) && (string(got) == name || strings.EqualFold(string(got), name))
}

// headerName reports whether a header may have the name: a token of RFC 9110.
func headerName[T string | []byte](name T) bool {
	for i := range len(name) {
		c := name[i]
		if letter := c | 0x20; 'a' <= letter && letter <= 'z' || '0' <= c && c <= '9' || c == '-' {
			continue
		}
		if strings.IndexByte("!#$%&'*+.^_`|~", c) < 0 {
			return false
		}
	}
	return len(name) > 0
}

// chunks is a body in chunks with the trailer, which nobody asks for. Chunks
// that are there as a whole, as an event of a stream mostly is, it takes from
// the buffer; the first one that is not, or is out of the ordinary, and what
// follows are left to net/http's reader.
type chunks struct {
	l  *link
	of io.Reader // nil until it is needed
}

// Read implements [io.Reader].
func (c *chunks) Read(b []byte) (n int, err error) {
	br := c.l.br
	for c.of == nil {
		if n == 0 {
			switch _, err := br.Peek(1); {
			case errors.Is(err, io.EOF):
				return 0, io.ErrUnexpectedEOF
			case err != nil:
				return 0, err
			}
		}
		got, _ := br.Peek(br.Buffered()) // cannot fail
		if data, size := wholeChunk(got); data != nil && len(data) <= len(b)-n {
			n += copy(b[n:], data)
			_, _ = br.Discard(size) // it is there
			continue
		}
		if n > 0 {
			return n, nil
		}
		c.of = httputil.NewChunkedReader(br)
	}
	if n, err = c.of.Read(b); err != io.EOF { //nolint:errorlint // an unexpected end is another error
		return n, err
	}
	c.l.left = longestHead
	return n, trailer(br)
}

// wholeChunk returns the data of the chunk that b begins with, and how long it
// is with all that belongs to it. The data is nil if it is not all there, if it
// is the last chunk, or if there is anything unusual about it.
func wholeChunk(b []byte) (data []byte, size int) {
	n, digits := 0, 0
	for ; digits < min(len(b), 6); digits++ {
		switch c := b[digits]; {
		case '0' <= c && c <= '9':
			n = n<<4 | int(c-'0')
			continue
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int(c|0x20-'a'+10)
			continue
		}
		break
	}
	end := digits + 2 + n
	if n == 0 || len(b) < end+2 || b[digits] != '\r' || b[digits+1] != '\n' || b[end] != '\r' || b[end+1] != '\n' {
		return nil, 0
	}
	return b[digits+2 : end], end + 2
}

// trailer reads to the end of a trailer and returns io.EOF. Like net/http, it
// wants to see that end before it reads.
func trailer(br *bufio.Reader) error {
	for size := 2; ; size++ {
		got, err := br.Peek(size)
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case string(got) == "\r\n":
			_, _ = br.Discard(size) // it is there
			return io.EOF
		case bytes.HasSuffix(got, []byte("\r\n\r\n")):
			if _, err := textproto.NewReader(br).ReadMIMEHeader(); err != nil {
				return fmt.Errorf("malformed HTTP trailer: %w", err)
			}
			return io.EOF
		}
	}
}

// linkBody is the body of an answer. It gives the connection back at the end.
type linkBody struct {
	l    *link     // nil once it was given back
	err  error     // how the body ended
	came time.Time // when what was read last arrived
}

// Read implements [io.Reader].
func (b *linkBody) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	l := b.l
	switch {
	case l.length < 0:
		n, err = l.body.Read(p)
	case l.length == 0:
		err = io.EOF
	default:
		n, err = l.br.Read(p[:min(int64(len(p)), l.length)])
		switch l.length -= int64(n); {
		case l.length == 0:
			err = io.EOF
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
	}
	b.came = l.came
	switch {
	case err == io.EOF: //nolint:errorlint // an unexpected end is another error
		l.end(!l.closes)
	case err != nil:
		err = l.broken(err)
	default:
		return n, nil
	}
	b.l, b.err = nil, err
	return n, err
}

// arrived is when what was read last had arrived.
func (b *linkBody) arrived() time.Time { return b.came }

// Close implements [io.Closer].
func (b *linkBody) Close() error {
	if b.l != nil {
		b.l.end(false)
		b.l, b.err = nil, http.ErrBodyReadAfterClose
	}
	return nil
}

// hurry leaves less time for the rest of the body.
func (b *linkBody) hurry(d time.Duration) {
	if b.l != nil {
		_ = b.l.allow(time.Now().Add(d)) // fails on a closed connection, as reading will
	}
}

// broken closes the connection and returns what to say about it.
func (l *link) broken(err error) error {
	ctx := l.ctx
	l.end(false)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTimeout
	default:
		return err
	}
}

// end ends the loan of a connection, which is kept if it can be used again.
func (l *link) end(usable bool) {
	l.mu.Lock()
	usable = usable && l.ctx.Err() == nil && l.br.Buffered() == 0
	l.ctx = nil
	l.mu.Unlock()
	l.body = nil
	if usable {
		l.of.put(l)
	} else {
		l.close()
	}
}
