// Package requestlog writes a line of JSON for each request of a run, for those
// who want more than percentiles.
//
// No request waits for the disk: lines wait in memory, [maxWaiting] at most, and
// what finds no room is left out and counted. A file that lacks nothing has the
// name that was asked for; one that is still written, was left by a process that
// was killed, or lacks lines has [Partial] behind it. Its lines are whole in any
// case but that of the killed process, whose last one may be cut.
package requestlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Partial is the end of the name of a file that lacks lines, or may.
const Partial = ".part"

// maxWaiting bounds the lines that wait to be written, in bytes; as many again
// may be on their way to the disk.
const maxWaiting = 8 << 20

// file is what an [os.File] does here.
type file interface {
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
}

// Log is such a file. Make one with [Create].
type Log struct {
	path    string
	file    file
	size    int64 // of the whole lines in it
	scratch sync.Pool
	wake    chan struct{}
	done    chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []byte
	count   uint64 // of lines that wait
	closing bool
	account Account
}

// Account says what became of the lines.
type Account struct {
	Path    string // of the file
	Written uint64
	Lost    uint64 // were not written
	Err     error  // why the file is not whole; nil if the disk was only too slow
}

// Create begins a file that only its owner may read. The caller must Close it.
// It is an error if there is one, whole or partial.
func Create(path string) (*Log, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create %s: %w", path, os.ErrExist)
	}
	f, err := os.OpenFile(path+Partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // in the run's own folder
	if err != nil {
		return nil, err
	}
	return start(path, f), nil
}

func start(path string, f file) *Log {
	l := &Log{path: path, file: f, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.scratch.New = func() any { return new([]byte) }
	go l.run()
	return l
}

// Since returns a sink for records whose moments count from epoch.
func (l *Log) Since(epoch time.Time) record.Sink {
	return record.SinkFunc(func(r *record.Record) {
		line := l.scratch.Get().(*[]byte)
		*line = appendLine((*line)[:0], r, epoch)
		l.add(*line)
		l.scratch.Put(line)
	})
}

func (l *Log) add(line []byte) {
	l.mu.Lock()
	first := len(l.waiting) == 0
	if l.account.Err != nil || len(l.waiting)+len(line) > maxWaiting {
		l.account.Lost++
		l.mu.Unlock()
		return
	}
	l.waiting = append(l.waiting, line...)
	l.count++
	l.mu.Unlock()
	if first {
		l.nudge()
	}
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close writes what is left, and says what became of all. Nothing must be added
// any more.
func (l *Log) Close() Account {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.nudge()
	<-l.done
	a := l.account // nobody else writes it now
	if a.Err == nil {
		a.Err = l.file.Sync()
	}
	a.Err = errors.Join(a.Err, l.file.Close())
	a.Path = l.path
	if a.Lost > 0 || a.Err != nil {
		a.Path += Partial
	} else if a.Err = os.Rename(l.path+Partial, l.path); a.Err != nil {
		a.Path += Partial
	}
	return a
}

func (l *Log) run() {
	defer close(l.done)
	var spare []byte
	for {
		l.mu.Lock()
		lines, count, closing := l.waiting, l.count, l.closing
		l.waiting, l.count = spare[:0], 0
		l.mu.Unlock()
		if len(lines) > 0 {
			l.write(lines, count)
		} else if closing {
			return
		} else {
			<-l.wake
		}
		spare = lines
	}
}

// write puts lines into the file. If not all of them fit, what is cut is taken
// out again, and nothing more is written.
func (l *Log) write(lines []byte, count uint64) {
	n, err := l.file.Write(lines)
	if err == nil {
		l.size += int64(n)
		l.mu.Lock()
		l.account.Written += count
		l.mu.Unlock()
		return
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	l.size += int64(whole)
	err = errors.Join(err, l.file.Truncate(l.size))
	written := uint64(bytes.Count(lines[:whole], []byte("\n"))) //nolint:gosec // not negative
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account.Err = err
	l.account.Written += written
	l.account.Lost += count - written + l.count
	l.waiting, l.count = l.waiting[:0], 0
}

// appendLine appends a record as a line of JSON. Members without a value are
// left out, and so are measures that there are none of.
func appendLine(b []byte, r *record.Record, epoch time.Time) []byte {
	name := func(name string) {
		b = append(append(append(b, `,"`...), name...), `":`...)
	}
	text := func(what, value string) {
		if value != "" {
			name(what)
			b = jsonstring.Append(b, value)
		}
	}
	number := func(what string, value int64) {
		name(what)
		b = strconv.AppendInt(b, value, 10)
	}
	truth := func(what string, value bool) {
		name(what)
		b = strconv.AppendBool(b, value)
	}
	// after is how long after it was due something happened, if it did.
	after := func(what string, moment time.Duration) {
		if moment != 0 {
			number(what, int64(moment-r.Scheduled))
		}
	}
	took := func(what string, d time.Duration) {
		if d != 0 {
			number(what, int64(d))
		}
	}

	b = append(b, `{"at":"`...)
	b = epoch.Add(r.Scheduled).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, '"')
	text("id", r.ID)
	if !r.Trace.ID.IsZero() {
		text("traceId", r.Trace.ID.String())
		text("spanId", r.Trace.Span.String())
	}
	text("org", r.Org)
	text("user", r.User)
	text("phase", r.Phase)
	truth("measured", r.Measured)
	number("session", int64(r.Session))
	number("turn", int64(r.Turn))
	number("attempt", int64(r.Attempt))
	truth("final", r.Final)
	text("endpoint", r.Endpoint)
	text("model", r.Model)
	text("backend", r.Backend)
	text("strategy", r.Strategy)
	text("testType", r.TestType)
	truth("stream", r.Stream)
	text("outcome", r.Outcome.String())
	text("kind", string(r.Kind))
	if r.Status != 0 {
		number("status", int64(r.Status))
	}
	text("finishReason", r.FinishReason)
	text("message", r.Message)
	took("retryAfterNs", r.RetryAfter)
	after("sentNs", r.Sent)
	took("dnsNs", r.DNS)
	took("connectNs", r.Connect)
	took("tlsNs", r.TLS)
	truth("reused", r.Reused)
	after("firstByteNs", r.FirstByte)
	after("ttftNs", r.FirstToken)
	after("lastTokenNs", r.LastToken)
	after("e2eNs", r.Done)
	if tpot, ok := r.TPOT(); ok {
		number("tpotNs", int64(tpot))
	}
	if r.Stream {
		number("chunks", int64(r.Chunks))
	}
	if len(r.Gaps) > 0 {
		name("gapsNs")
		for i, g := range r.Gaps {
			b = append(b, "[,"[min(i, 1)])
			b = strconv.AppendInt(b, int64(g), 10)
		}
		b = append(b, ']')
	}
	if r.UsageKnown {
		number("promptTokens", int64(r.PromptTokens))
		number("completionTokens", int64(r.CompletionTokens))
	}
	if r.CachedKnown {
		number("cachedTokens", int64(r.CachedTokens))
	}
	if r.CostKnown {
		number("costMicroUSD", r.CostMicroUSD)
	}
	number("requestBytes", r.RequestBytes)
	number("responseBytes", r.ResponseBytes)
	if len(r.Checks) > 0 {
		name("checks")
		for i, c := range r.Checks {
			b = append(b, "[,"[min(i, 1)])
			b = append(b, `{"name":`...)
			b = jsonstring.Append(b, c.Name)
			text("problem", c.Problem)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	if len(r.Values) > 0 {
		name("values")
		for i, v := range r.Values {
			b = append(b, "[,"[min(i, 1)])
			b = append(b, `{"name":`...)
			b = jsonstring.Append(b, v.Name)
			name("value")
			if math.IsInf(v.Value, 0) || math.IsNaN(v.Value) { // a sum that overflowed; JSON has no such number
				b = append(b, "null}"...)
				continue
			}
			b = append(strconv.AppendFloat(b, v.Value, 'g', -1, 64), '}')
		}
		b = append(b, ']')
	}
	return append(b, '}', '\n')
}
