package record

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// Trace is the place of a request in a distributed trace, by W3C Trace Context:
// the platform's own spans of the request belong to the same trace, as children
// of this span. The zero Trace is none.
type Trace struct {
	ID      TraceID
	Span    SpanID
	Sampled bool // the platform is asked to keep its part
}

// TraceID names a trace, which is one question with all attempts at it.
type TraceID [16]byte

// SpanID names a part of a trace: here, one request on the wire.
type SpanID [8]byte

// NewTrace returns a trace that nobody else has, of which the platform is asked to
// keep its part with the probability ratio. Names are random, and not from the
// seed of a run: a platform that saw the same run twice would otherwise have its
// answers to both in one trace.
func NewTrace(ratio float64) Trace {
	t := Trace{Span: NewSpan()}
	chance := rand.Uint64()
	binary.BigEndian.PutUint64(t.ID[:8], rand.Uint64()|1) // all zeros are no name
	binary.BigEndian.PutUint64(t.ID[8:], chance)
	t.Sampled = float64(chance>>11) < ratio*(1<<53) // as OpenTelemetry does, by the trace's own digits
	return t
}

// NewSpan returns the name of another span of a trace.
func NewSpan() (s SpanID) {
	binary.BigEndian.PutUint64(s[:], rand.Uint64()|1)
	return s
}

// AppendHeader appends the value of the header traceparent.
func (t Trace) AppendHeader(b []byte) []byte {
	b = hex.AppendEncode(append(b, "00-"...), t.ID[:])
	b = hex.AppendEncode(append(b, '-'), t.Span[:])
	if t.Sampled {
		return append(b, "-01"...)
	}
	return append(b, "-00"...)
}

// String returns 16 hexadecimal digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether there is no trace.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// String returns 32 hexadecimal digits, by which tracing systems find a trace;
// nothing if there is none.
func (id TraceID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// MarshalText implements encoding.TextMarshaler.
func (id TraceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TraceID) UnmarshalText(text []byte) error {
	*id = TraceID{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != hex.EncodedLen(len(id)) {
		return hex.ErrLength
	}
	_, err := hex.Decode(id[:], text)
	return err
}
