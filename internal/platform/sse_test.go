package platform

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// byStandard interprets a whole stream by the letter of the standard,
// without regard to cost.
func byStandard(stream string) (events []string) {
	stream = strings.TrimPrefix(stream, "\ufeff")
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	lines := strings.Split(stream, "\n")
	data := ""
	for _, line := range lines[:len(lines)-1] { // the last one has no end
		name, value, colon := strings.Cut(line, ":")
		switch {
		case line == "":
			if data != "" {
				events = append(events, strings.TrimSuffix(data, "\n"))
			}
			data = ""
		case name == "data":
			if colon {
				value = strings.TrimPrefix(value, " ")
			}
			data += value + "\n"
		}
	}
	return events
}

// pieces is a reader that gives one piece at a time.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

func readEvents(t *testing.T, e *eventStream, src io.Reader) (events []string) {
	t.Helper()
	e.reset(src, time.Now())
	for {
		data, err := e.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return events
		}
		events = append(events, string(data))
	}
}

var streams = []string{
	"data: one\n\ndata: two\n\n",
	"data: one\r\n\r\ndata: two\r\n\r\n",
	"data: one\r\rdata: two\r\r",
	"\ufeffdata: with a byte order mark\n\n",
	"\ufeff\ufeffdata: only one mark goes\n\n", "\xef\xbbdata: half a mark\n\n", "\xef\xbb",
	": keep-alive\n\n:\n\ndata: one\n: comment inside\ndata: of two lines\n\n",
	"data\n\ndata:\n\ndata:  one space stays\n\n",
	"data:no space\n\nevent: ping\n\nid: 7\nretry: 10\ndata: last\n\n",
	"data: a\n\n\n\n\r\n\rdata: b\n\r\n", "data: not ended", "data: not ended\n", "data: x\nevent: error\n\n",
	"datax: no\ndat: no\n data: no\nDATA: no\n\ndata : no\n\n", "", "\n", "\r", "\r\n",
	"data: colon: inside: it\n\n", "data: \x00\xff\n\n",
}

func TestEventStreamSplitAnywhere(t *testing.T) {
	var e eventStream
	for _, stream := range streams {
		want := byStandard(stream)
		for i := range len(stream) + 1 {
			for j := i; j <= len(stream); j++ {
				src := pieces{[]byte(stream[:i]), []byte(stream[i:j]), []byte(stream[j:])}
				if got := readEvents(t, &e, &src); !slices.Equal(got, want) {
					t.Fatalf("%q split at %d and %d: %q, want %q", stream, i, j, got, want)
				}
			}
		}
		if got := readEvents(t, &e, iotest.OneByteReader(strings.NewReader(stream))); !slices.Equal(got, want) {
			t.Fatalf("%q byte by byte: %q, want %q", stream, got, want)
		}
		if got := readEvents(t, &e, iotest.DataErrReader(strings.NewReader(stream))); !slices.Equal(got, want) {
			t.Fatalf("%q with the end in the last read: %q, want %q", stream, got, want)
		}
	}
}

func TestEventStreamKnownValues(t *testing.T) {
	var e eventStream
	got := readEvents(t, &e, strings.NewReader(": hello\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata:x\n\ndata: lost"))
	if want := []string{"{\"a\":\n1}", "x"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEventStreamNamesErrors(t *testing.T) {
	var e eventStream
	e.reset(strings.NewReader("event: error\ndata: a\n\ndata: b\n\nevent: error\n\ndata: c\n\nevent: errors\ndata: d\n\n"), time.Now())
	var got []string
	for {
		data, err := e.next()
		if err != nil {
			break
		}
		got = append(got, fmt.Sprint(string(data), e.failed))
	}
	if want := []string{"atrue", "bfalse", "cfalse", "dfalse"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEventStreamBounds(t *testing.T) {
	var e eventStream
	fits := strings.Repeat("x", maxEvent-100)
	if got := readEvents(t, &e, strings.NewReader("data: "+fits+"\n\n")); len(got) != 1 || got[0] != fits {
		t.Errorf("%d events", len(got))
	}
	for name, stream := range map[string]string{
		"a line":             "data: " + strings.Repeat("x", maxEvent+1) + "\n\n",
		"a line without end": strings.Repeat("x", 2*maxEvent),
		"a comment":          ":" + strings.Repeat("x", 2*maxEvent) + "\n",
		"many lines":         strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", maxEvent/1000+2) + "\n",
	} {
		e.reset(strings.NewReader(stream), time.Now())
		if _, err := e.next(); !errors.Is(err, errLongEvent) {
			t.Errorf("%s: %v", name, err)
		}
		if cap(e.buf) > 2*maxEvent {
			t.Errorf("%s: the buffer grew to %d bytes", name, cap(e.buf))
		}
	}
	// Comments without end are no event and need no memory.
	e.reset(io.LimitReader(endless(": keep-alive\n\n"), 8<<20), time.Now())
	if _, err := e.next(); !errors.Is(err, io.EOF) || cap(e.buf) > 2*maxEvent {
		t.Errorf("%v, %d bytes of buffer", err, cap(e.buf))
	}
}

type endless string

func (s endless) Read(b []byte) (int, error) {
	n := 0
	for n+len(s) <= len(b) {
		n += copy(b[n:], s)
	}
	if n == 0 {
		n = copy(b, s)
	}
	return n, nil
}

// late gives its pieces after pauses.
type late struct {
	pieces []string
	pause  time.Duration
}

func (l *late) Read(b []byte) (int, error) {
	if len(l.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(l.pause) // in a bubble, where it costs no time
	n := copy(b, l.pieces[0])
	l.pieces = l.pieces[1:]
	return n, nil
}

func TestEventTimesAreThoseOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e eventStream
		e.reset(&late{pause: 10 * time.Millisecond, pieces: []string{
			"data: a\n\ndata: b\n\ndata: c", // 10 ms: two events and a half
			"\n", "\n",                      // 30 ms: the third is complete
			": keep-alive\n\n", // 40 ms
			"data: d\n\n",      // 50 ms
		}}, time.Now())
		var got []time.Duration
		for {
			_, err := e.next()
			if err != nil {
				break
			}
			got = append(got, e.at)
			time.Sleep(3 * time.Millisecond) // the caller works
		}
		ms := time.Millisecond
		// The second event was there with the first, however long that one
		// took to handle; what is read later is shifted by the caller's work
		// (6 ms and 9 ms), since this source waits only while it is read.
		if want := []time.Duration{10 * ms, 10 * ms, 36 * ms, 59 * ms}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// Events that begin alike are looked at together, with the times at which they
// came, and at the latest with the first that begins otherwise.
func TestEventsThatCanWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const begin = `data: {"id":"chatcmpl-1","choices":[`
		for _, last := range []string{"data: [DONE]\n\n", `data: {"error":"no more of this, the model is gone"}` + "\n\n", begin + "] the same, and\n\ndata: [DONE]\n\n"} {
			var pieces []string
			var want []time.Duration
			for i := range 50 { // more than there is room for at a time
				pieces = append(pieces, begin+strings.Repeat("x", 5*i)+"]}\n\n")
				want = append(want, time.Duration(i+1)*time.Millisecond)
			}
			pieces = append(pieces, last)
			src := &late{pause: time.Millisecond, pieces: pieces}
			var e eventStream
			e.reset(src, time.Now())
			for i, at := range want {
				data, err := e.next()
				if err != nil || "data: "+string(data)+"\n\n" != pieces[i] || e.at != at {
					t.Fatalf("%d came at %v: %q, %v", i, e.at, data, err)
				}
			}
			if data, err := e.next(); err != nil || !strings.HasPrefix(last, "data: "+string(data)+"\n\n") || e.at != 51*time.Millisecond {
				t.Errorf("the last came at %v: %q, %v", e.at, data, err)
			}
			if now := time.Since(e.epoch); now != 51*time.Millisecond {
				t.Errorf("it was seen at %v", now)
			}
		}
	})
}

func FuzzEventStream(f *testing.F) {
	for i, stream := range streams {
		f.Add(stream, uint16(i), uint16(2*i+1))
	}
	f.Fuzz(func(t *testing.T, stream string, i, j uint16) {
		if len(stream) >= maxEvent {
			t.Skip()
		}
		a, b := int(i)%(len(stream)+1), int(j)%(len(stream)+1)
		a, b = min(a, b), max(a, b)
		src := pieces{[]byte(stream[:a]), []byte(stream[a:b]), []byte(stream[b:])}
		var e eventStream
		got := readEvents(t, &e, &src)
		if want := byStandard(stream); !slices.Equal(got, want) {
			t.Fatalf("%q split at %d and %d: %q, want %q", stream, a, b, got, want)
		}
		if e.bytes != int64(len(stream)) {
			t.Fatalf("%d bytes counted of %d", e.bytes, len(stream))
		}
	})
}

// cannedStream is a stream as vLLM writes it, with n content chunks.
func cannedStream(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	for range n {
		b.WriteString(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" w\u00f6rd"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	}
	fmt.Fprintf(&b, `data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n"+
		`data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":%d,"total_tokens":%d}}`+"\n\ndata: [DONE]\n\n", n, n+11)
	return b.Bytes()
}
