package platform

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// eventStream takes a server-sent event stream apart, as the WHATWG standard
// has it ("Interpreting an event stream"): lines end with LF, CR or CRLF, a
// colon starts a comment, several data lines make one event, a blank line
// ends it, and an event without its blank line never happened.
//
// It keeps time: an event came when what the read that completed it returned
// had arrived, and events that came in one read came at one time. What the
// caller does with an event cannot make the next one look late.
//
// So events need not be looked at as they come. One that begins as the one
// before it did waits in the buffer for others, since what it is looked at with
// is then fetched from memory once for all of them. An error, the end of an
// answer, and whatever else somebody may have to act on, begins otherwise.
//
// It may be used again after reset and then allocates nothing.
type eventStream struct {
	src   io.Reader
	epoch time.Time

	buf   []byte // what was read; buf[start:] is not yet consumed
	start int
	seen  int // no line ends in buf[start:seen]
	err   error

	reads     []received // of the last fill
	of        int        // which of them the last event came with
	beginning [32]byte   // of what was read last

	begun   bool // the byte order mark is behind us
	afterCR bool // a LF now belongs to the line before

	data []byte
	// failed is set with an event that the server named "error".
	failed bool
	// at is when the event had arrived that next returned last, from the epoch.
	at time.Duration
	// bytes counts what was read.
	bytes int64
}

// received is what one read returned.
type received struct {
	end int // in buf
	at  time.Duration
}

// maxEvent bounds a line of a stream, and the data of an event. The longest
// honest event, a last chunk with log-probabilities, is a hundredth of it.
const maxEvent = 1 << 20

var errLongEvent = errors.New("an event of the stream is longer than 1 MiB")

var byteOrderMark = []byte("\ufeff")

func (e *eventStream) reset(src io.Reader, epoch time.Time) {
	*e = eventStream{src: src, epoch: epoch, buf: e.buf[:0], reads: e.reads[:0], data: e.data[:0]}
}

// next returns the data of the next event, good until the call after. It may
// be empty. At the end of the body the error is io.EOF.
func (e *eventStream) next() ([]byte, error) {
	e.data, e.failed = e.data[:0], false
	lines := 0
	var only []byte // the data, while it is one line that is still in buf
	for {
		line, ok := e.line()
		if !ok {
			e.data, only = append(e.data, only...), nil
			if err := e.fill(); err != nil {
				return nil, err
			}
			continue
		}
		if len(line) == 0 {
			if lines == 0 {
				e.failed = false
				continue
			}
			for e.reads[e.of].end < e.start {
				e.of++
			}
			if e.at = e.reads[e.of].at; only != nil {
				return only, nil
			}
			return e.data, nil
		}
		name, value := line, []byte(nil)
		if i := bytes.IndexByte(line, ':'); i >= 0 {
			name, value = line[:i], line[i+1:]
			if len(value) > 0 && value[0] == ' ' {
				value = value[1:]
			}
		}
		switch string(name) {
		case "data":
			if len(e.data)+len(only)+len(value) >= maxEvent {
				return nil, errLongEvent
			}
			if lines++; lines == 1 {
				only = value
				continue
			}
			e.data = append(append(e.data, only...), '\n')
			e.data, only = append(e.data, value...), nil
		case "event":
			e.failed = string(value) == "error"
		}
	}
}

// line returns the next line without its end; false if more must be read.
func (e *eventStream) line() ([]byte, bool) {
	if !e.begun {
		rest := e.buf[e.start:]
		if len(rest) < len(byteOrderMark) && bytes.HasPrefix(byteOrderMark, rest) {
			return nil, false // too early to tell
		}
		e.begun = true
		if bytes.HasPrefix(rest, byteOrderMark) {
			e.start += len(byteOrderMark)
		}
		e.seen = e.start
	}
	if e.afterCR && e.start < len(e.buf) {
		e.afterCR = false
		if e.buf[e.start] == '\n' {
			e.start++
		}
		e.seen = e.start
	}
	rest := e.buf[e.seen:]
	end := bytes.IndexByte(rest, '\n')
	if end >= 0 {
		rest = rest[:end]
	}
	if cr := bytes.IndexByte(rest, '\r'); cr >= 0 {
		end, e.afterCR = cr, true
	}
	if end < 0 {
		e.seen = len(e.buf)
		return nil, false
	}
	line := e.buf[e.start : e.seen+end]
	e.start = e.seen + end + 1
	e.seen = e.start
	return line, true
}

// fill reads what there is, and on while that can wait. It invalidates lines.
func (e *eventStream) fill() error {
	if e.err != nil {
		return e.err
	}
	n := copy(e.buf, e.buf[e.start:])
	e.buf = e.buf[:n]
	e.seen -= e.start
	e.start = 0
	if n == cap(e.buf) {
		if n >= maxEvent {
			return errLongEvent
		}
		grown := make([]byte, n, max(4<<10, 2*n))
		copy(grown, e.buf)
		e.buf = grown
	}
	e.reads, e.of = e.reads[:0], 0
	for range 100 {
		from := len(e.buf)
		n, err := e.src.Read(e.buf[from:cap(e.buf)])
		e.err = err
		if n > 0 {
			e.buf = e.buf[:from+n]
			e.reads = append(e.reads, received{from + n, arrival(e.src, e.epoch)})
			e.bytes += int64(n)
		}
		switch {
		case n > 0 && err == nil && e.canWait(e.buf[from:]):
		case len(e.reads) > 0:
			return nil
		case err != nil:
			return err
		}
	}
	if len(e.reads) > 0 {
		return nil
	}
	return io.ErrNoProgress
}

// canWait reports whether what was read is one event that begins as what was
// read before, and another one may have room behind it.
func (e *eventStream) canWait(piece []byte) bool {
	if len(piece) <= len(e.beginning) {
		return false
	}
	same := string(piece[:len(e.beginning)]) == string(e.beginning[:])
	copy(e.beginning[:], piece)
	return same && cap(e.buf)-len(e.buf) > len(piece) && bytes.Index(piece, []byte("\n\n")) == len(piece)-2
}

// arrival is when what was last read from src had arrived, from the epoch: as
// src knows, or else now.
func arrival(src io.Reader, epoch time.Time) time.Duration {
	if known, ok := src.(interface{ arrived() time.Time }); ok {
		return max(1, known.arrived().Sub(epoch))
	}
	return sinceEpoch(epoch)
}

// sinceEpoch is the time now, from the epoch, on the monotonic clock. It is
// never zero, which says that a moment never came.
func sinceEpoch(epoch time.Time) time.Duration { return max(1, time.Since(epoch)) }
