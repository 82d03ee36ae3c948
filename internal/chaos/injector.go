package chaos

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Slow reading takes this many bytes at a time, and pauses in between.
const (
	slowBytes = 256
	slowPause = 50 * time.Millisecond
)

// Injector carries a plan out. It is safe for concurrent use.
type Injector struct {
	plan Plan
	now  func() time.Duration

	mu      sync.Mutex
	users   map[int]int // requests so far
	faults  map[Fault]uint64
	delayed uint64
	delay   time.Duration
}

// NewInjector returns an injector; now is the offset from the start of the load.
func NewInjector(p Plan, now func() time.Duration) *Injector {
	return &Injector{plan: p, now: now, users: map[int]int{}, faults: map[Fault]uint64{}}
}

// Count is how many requests suffered a fault.
type Count struct {
	Fault Fault
	Count uint64
}

// Counts are the faults that struck, by name.
func (i *Injector) Counts() []Count {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []Count
	for _, f := range []Fault{DNSFailure, Failure, Outage, Reset, SlowRead, Truncation} {
		if n := i.faults[f]; n > 0 {
			out = append(out, Count{f, n})
		}
	}
	return slices.Clip(out)
}

// Delayed is the number of requests that were delayed, and by how much together.
func (i *Injector) Delayed() (requests uint64, total time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.delayed, i.delay
}

// Strike is the harm that is planned for one request.
type Strike struct {
	of   *Injector
	fate Fate
	hit  atomic.Bool
}

// Next draws the lot of a user's next request. The caller waits for Delay,
// and sends the request under [Strike.Context].
func (i *Injector) Next(user int, stream bool) *Strike {
	i.mu.Lock()
	n := i.users[user]
	i.users[user]++
	i.mu.Unlock()
	return &Strike{of: i, fate: i.plan.Fate(user, n, stream)}
}

// Delay is how long to hold the request back.
func (s *Strike) Delay() time.Duration { return s.fate.Delay }

// Delayed notes that the request was held back.
func (s *Strike) Delayed(d time.Duration) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.delayed++
	s.of.delay += d
}

// Hit reports whether the request was harmed.
func (s *Strike) Hit() bool { return s.hit.Load() }

func (s *Strike) land(f Fault) {
	if s.hit.CompareAndSwap(false, true) {
		s.of.mu.Lock()
		s.of.faults[f]++
		s.of.mu.Unlock()
	}
}

type strikeKey struct{}

// Context carries the strike to the transport.
func (s *Strike) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, strikeKey{}, s)
}

// Wrap puts the injector around a transport. Requests without a [Strike] in
// their context pass unharmed.
func (i *Injector) Wrap(next http.RoundTripper) http.RoundTripper { return &transport{i, next} }

type transport struct {
	*Injector
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	s, _ := req.Context().Value(strikeKey{}).(*Strike)
	if s == nil {
		return t.next.RoundTrip(req)
	}
	if err := t.before(req, s); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a transport closes it even if it fails
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		resp.Body = &body{ReadCloser: resp.Body, ctx: req.Context(), strike: s}
	}
	return resp, err
}

// before fails a request that is not to arrive, as a dialler would.
func (t *transport) before(req *http.Request, s *Strike) error {
	refused := func() error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	switch {
	case t.plan.Down(t.now()):
		s.land(Outage)
		return refused()
	case s.fate.Fault == DNSFailure:
		s.land(DNSFailure)
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", Name: req.URL.Hostname(), IsTemporary: true}}
	case s.fate.Fault == Failure:
		s.land(Failure)
		return refused()
	}
	return nil
}

// body is an answer that may break off. Closing it early tears the connection
// down, so that the platform sees the reset too.
type body struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // a Reader is given none
	strike *Strike
	read   int
	broken error
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.broken != nil {
		return 0, b.broken
	}
	s := b.strike
	fault := s.fate.Fault
	if fault == SlowRead {
		if err := b.pause(); err != nil {
			return 0, err
		}
		p = p[:min(len(p), slowBytes)]
	}
	breaks := fault == Reset || fault == Truncation
	if breaks {
		p = p[:min(len(p), max(0, s.fate.After-b.read))]
	}
	n, err := 0, error(nil)
	if len(p) > 0 {
		n, err = b.ReadCloser.Read(p)
		b.read += n
	}
	reset := func() error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	switch ended := err != nil && b.ctx.Err() == nil; {
	case s.of.plan.Down(s.of.now()):
		return b.end(Outage, 0, reset())
	case fault == Reset && (b.read >= s.fate.After || ended): // at the end of a short answer, if need be
		return b.end(Reset, n, reset())
	case fault == Truncation && b.read >= s.fate.After && !ended:
		return b.end(Truncation, n, io.EOF)
	}
	return n, err
}

func (b *body) end(f Fault, n int, err error) (int, error) {
	b.strike.land(f)
	b.broken = err
	_ = b.Close()
	return n, err
}

func (b *body) pause() error {
	b.strike.land(SlowRead)
	timer := time.NewTimer(slowPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}
