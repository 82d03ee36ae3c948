package platformsim

import (
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
)

// Entry is what really happened to one request of the router: the ground
// truth to hold a measurement against. Moments are offsets from
// [Platform.Started] on the monotonic clock; zero means that it never came.
type Entry struct {
	ID               string          `json:"id"`                    // X-Request-Id, or one that the platform made
	Traceparent      string          `json:"traceparent,omitempty"` // as the client sent it
	Org              string          `json:"org,omitempty"`         // slug; empty without a good key
	User             string          `json:"user,omitempty"`
	Key              string          `json:"key,omitempty"` // fingerprint
	Endpoint         string          `json:"endpoint"`      // chat, completions, embeddings, inference
	Model            string          `json:"model,omitempty"`
	Stream           bool            `json:"stream,omitempty"`
	Arrived          time.Duration   `json:"arrived"`          // the head of the request reached this machine or, where no kernel says when (not Linux, TLS, no log), was read
	FirstByte        time.Duration   `json:"firstByte"`        // the head of the answer left
	Chunks           []time.Duration `json:"chunks,omitempty"` // when each content chunk left; chunks of one write share the moment
	Done             time.Duration   `json:"done"`
	PromptTokens     int             `json:"promptTokens"`
	CompletionTokens int             `json:"completionTokens"` // generated and, in a stream, sent
	CachedTokens     int             `json:"cachedTokens"`
	CostMicroUSD     int64           `json:"costMicroUSD"`
	Status           int             `json:"status"` // 0: no head was sent
	Code             string          `json:"code,omitempty"`
	FinishReason     string          `json:"finishReason,omitempty"`
	Fault            Fault           `json:"fault,omitempty"`
	Aborted          bool            `json:"aborted,omitempty"` // the client left, or the platform closed
	Bytes            int64           `json:"bytes"`             // of the body
}

// append appends the entry as a line of JSON.
func (e *Entry) append(b []byte) []byte {
	text := func(name, value string) {
		if value != "" {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = jsonstring.Append(b, value)
		}
	}
	number := func(name string, value int64) {
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = strconv.AppendInt(b, value, 10)
	}
	b = append(b, `{"id":`...)
	b = jsonstring.Append(b, e.ID)
	text("traceparent", e.Traceparent)
	text("org", e.Org)
	text("user", e.User)
	text("key", e.Key)
	text("endpoint", e.Endpoint)
	text("model", e.Model)
	if e.Stream {
		b = append(b, `,"stream":true`...)
	}
	number("arrived", int64(e.Arrived))
	number("firstByte", int64(e.FirstByte))
	if len(e.Chunks) > 0 {
		b = append(b, `,"chunks":[`...)
		for i, c := range e.Chunks {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(c), 10)
		}
		b = append(b, ']')
	}
	number("done", int64(e.Done))
	number("promptTokens", int64(e.PromptTokens))
	number("completionTokens", int64(e.CompletionTokens))
	number("cachedTokens", int64(e.CachedTokens))
	number("costMicroUSD", e.CostMicroUSD)
	number("status", int64(e.Status))
	text("code", e.Code)
	text("finishReason", e.FinishReason)
	text("fault", string(e.Fault))
	if e.Aborted {
		b = append(b, `,"aborted":true`...)
	}
	number("bytes", e.Bytes)
	return append(b, '}', '\n')
}

// truthHeader is the first line of a truth file.
type truthHeader struct {
	Format  string    `json:"format"` // "loadtest-platform-truth/1"
	Started time.Time `json:"started"`
	Seed    uint64    `json:"seed"`
}

func (p *Platform) truthHeader() []byte {
	b, _ := json.Marshal(truthHeader{"loadtest-platform-truth/1", p.started.UTC(), p.seed}) // cannot fail
	return append(b, '\n')
}

// maxUnwritten bounds what waits to be written, in bytes. Beyond it requests
// wait: the truth is never dropped.
const maxUnwritten = 4 << 20

// truthLog writes lines in the background.
type truthLog struct {
	w       io.Writer
	mu      sync.Mutex
	room    sync.Cond
	lines   []byte
	err     error
	closing bool
	wake    chan struct{}
	done    chan struct{}
}

// newTruthLog starts the writer; the caller must close it.
func newTruthLog(w io.Writer) *truthLog {
	l := &truthLog{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.room.L = &l.mu
	go l.run()
	return l
}

func (l *truthLog) add(line []byte) {
	l.mu.Lock()
	for len(l.lines) > maxUnwritten {
		l.room.Wait()
	}
	l.lines = append(l.lines, line...)
	l.mu.Unlock()
	l.nudge()
}

func (l *truthLog) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *truthLog) run() {
	defer close(l.done)
	var spare []byte
	for {
		l.mu.Lock()
		full, closing := l.lines, l.closing
		l.lines = spare[:0]
		l.room.Broadcast()
		l.mu.Unlock()
		if len(full) > 0 {
			if _, err := l.w.Write(full); err != nil {
				l.fail(err)
			}
		} else if closing {
			return
		} else {
			<-l.wake
		}
		spare = full
	}
}

func (l *truthLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// failure returns the first error of the writer.
func (l *truthLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// close writes what is left and returns the first error of all writes.
func (l *truthLog) close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.nudge()
	<-l.done
	return l.failure()
}

// ring keeps the last entries.
type ring struct {
	mu      sync.Mutex
	size    int
	entries []Entry
	next    int // where the next one goes, once full
}

func (r *ring) add(e *Entry) {
	if r.size == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) < r.size {
		kept := *e
		kept.Chunks = append([]time.Duration(nil), e.Chunks...)
		r.entries = append(r.entries, kept)
		return
	}
	slot := &r.entries[r.next]
	chunks := append(slot.Chunks[:0], e.Chunks...)
	*slot = *e
	slot.Chunks = chunks
	r.next = (r.next + 1) % r.size
}

// list returns copies of the entries, the oldest first.
func (r *ring) list() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Entry, 0, len(r.entries))
	for i := range r.entries {
		e := r.entries[(r.next+i)%len(r.entries)]
		e.Chunks = append([]time.Duration(nil), e.Chunks...)
		out = append(out, e)
	}
	return out
}

func (r *ring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.next = nil, 0
}
