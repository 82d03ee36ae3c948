package platform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// scripted is a server in memory. Connection by connection, each request is
// answered with the next of the answers, byte for byte in pieces of a given
// size; an answer that is the last of its connection hangs up.
type scripted struct {
	answers []string
	piece   int
	hangUp  bool // after every answer

	mu     sync.Mutex
	asked  int
	dialed int
}

func (s *scripted) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.mu.Lock()
	s.dialed++
	s.mu.Unlock()
	go func() {
		defer theirs.Close()
		in := make([]byte, 64<<10)
		for {
			n := 0
			for !bytes.Contains(in[:n], []byte("the end")) { // of the body
				m, err := theirs.Read(in[n:])
				if err != nil {
					return
				}
				n += m
			}
			s.mu.Lock()
			answer := s.answers[s.asked%len(s.answers)]
			s.asked++
			s.mu.Unlock()
			for len(answer) > 0 {
				n := min(s.piece, len(answer))
				if _, err := io.WriteString(theirs, answer[:n]); err != nil {
					return
				}
				answer = answer[n:]
			}
			if s.hangUp {
				return
			}
		}
	}()
	return ours, nil
}

// seen is what a caller can tell of an answer.
type seen struct {
	status    int
	mediaType string
	body      string
	err       string // "": complete; "head", "body": broken there
}

// calls is how often to ask. Whether a connection is found closed that was idle
// is left to chance.
func (s *scripted) calls() int {
	if s.hangUp {
		return 1
	}
	return 2
}

// byPlain and byNetHTTP ask the server in two ways.
func byPlain(s *scripted) (got []seen) {
	t := &http.Transport{DialContext: s.dial, ReadBufferSize: 4 << 10, IdleConnTimeout: time.Minute}
	p := &plain{transport: t, address: "platform:80", timeout: time.Second}
	defer p.closeIdle()
	for range s.calls() {
		out := []byte("POST /v1/x HTTP/1.1\r\nHost: platform\r\nContent-Length: 7\r\n\r\nthe end")
		resp, l, err := p.send(context.Background(), http.MethodPost, out, time.Now().Add(time.Second), &watcher{epoch: time.Now()})
		if err != nil {
			got = append(got, seen{err: "head"})
			continue
		}
		b := &linkBody{l: l}
		got = append(got, read(resp.status, resp.mediaType, b))
	}
	return got
}

func byNetHTTP(s *scripted) (got []seen) {
	t := &http.Transport{DialContext: s.dial, DisableCompression: true, MaxResponseHeaderBytes: longestHead}
	defer t.CloseIdleConnections()
	for range s.calls() {
		synctest.Wait() // until its reader has seen what follows the last answer
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://platform/v1/x", strings.NewReader("the end"))
		if err != nil {
			panic(err)
		}
		resp, err := t.RoundTrip(req) //nolint:bodyclose // read does
		if err != nil {
			got = append(got, seen{err: "head"})
		} else {
			got = append(got, read(resp.StatusCode, mediaType(resp.Header.Get("Content-Type")), resp.Body))
		}
		cancel()
	}
	return got
}

func read(status int, mediaType string, body io.ReadCloser) seen {
	s := seen{status: status, mediaType: mediaType}
	data, err := io.ReadAll(body)
	if s.body = string(data); err != nil {
		s.err = "body"
	}
	body.Close()
	return s
}

// disagree says what the two ways see differently in the same bytes, if
// anything. What came before a body broke off may differ: net/http reads
// ahead. It must run in a bubble.
func disagree(answers []string, piece int, hangUp bool) string {
	a := &scripted{answers: answers, piece: piece, hangUp: hangUp}
	b := &scripted{answers: answers, piece: piece, hangUp: hangUp}
	mine, theirs := byPlain(a), byNetHTTP(b)
	for i := range mine {
		if mine[i].err == "body" && theirs[i].err == "body" {
			mine[i].body, theirs[i].body = "", ""
		}
	}
	synctest.Wait()
	if slices.Equal(mine, theirs) && a.dialed == b.dialed {
		return ""
	}
	return fmt.Sprintf("plain, %d connections: %+v\nnet/http, %d: %+v\nof %q in pieces of %d, hanging up: %v", a.dialed, mine, b.dialed, theirs, answers, piece, hangUp)
}

func agree(t *testing.T, answers []string, piece int, hangUp bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if d := disagree(answers, piece, hangUp); d != "" {
			t.Error(d)
		}
	})
}

var shapes = []string{
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n!!!\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: a\r\nX-More: b\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTrailer: X-Trailer\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
	"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
	"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 500 Oops\r\n\r\n",
	"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
	"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=\"x\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 000 \nContent-Length:5\n\n00000",
	"HTTP/1.1 2x0 OK\r\n\r\n",
	"SSH-2.0-OpenSSH_9.6\r\n",
	"\x15\x03\x01\x00\x02\x02\x46",
	"HTTP/1.1 200 OK\r\n: nameless\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nX-Tab:\ta\r\nContent-Length:\t5\r\n\r\nhello",
}

// TestPlainAgreesWithNetHTTP asks both ways for every pair of answers, in
// pieces of several sizes, from servers that hang up after each and do not.
func TestPlainAgreesWithNetHTTP(t *testing.T) {
	for i, a := range shapes {
		for _, b := range []string{shapes[0], shapes[(i+7)%len(shapes)]} {
			for _, piece := range []int{1, 4 << 10} {
				agree(t, []string{a, b}, piece, true)
				agree(t, []string{a, b}, piece, false)
			}
		}
	}
}

// TestPlainAgreesOnNoise damages answers at random.
func TestPlainAgreesOnNoise(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		answer := []byte(rapid.SampledFrom(shapes).Draw(r, "answer"))
		for range rapid.IntRange(0, 3).Draw(r, "damages") {
			at := rapid.IntRange(0, len(answer)).Draw(r, "at")
			with := []byte(rapid.SampledFrom([]string{"", "\r", "\n", "\r\n", ":", " ", "0", "9", "\x00", "Connection: close\r\n", "\xff", ",", "x"}).Draw(r, "with"))
			answer = slices.Replace(answer, at, min(len(answer), at+rapid.IntRange(0, 3).Draw(r, "for")), with...)
		}
		hangUp, piece := rapid.Bool().Draw(r, "hanging up"), 4<<10
		if hangUp { // else what follows an answer may come when nobody listens: a pipe is no socket
			piece = rapid.SampledFrom([]int{3, 4 << 10}).Draw(r, "piece")
		}
		d := ""
		synctest.Test(t, func(*testing.T) { d = disagree([]string{string(answer)}, piece, hangUp) })
		if d != "" {
			r.Fatal(d)
		}
	})
}

func FuzzPlain(f *testing.F) {
	for _, s := range shapes {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		agree(t, []string{answer}, 4<<10, true)
		agree(t, []string{answer}, 4<<10, false)
	})
}

// resting returns the connection used last, if it is idle.
func (p *plain) resting() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		return p.idle[n-1]
	}
	return nil
}

// alive reports whether a connection can be used again.
func (l *link) alive() bool {
	silence := errHungUp
	err := l.socket.raw.Read(func(fd uintptr) bool {
		silence = quiet(fd)
		return true
	})
	return err == nil && silence == nil
}

// TestStaleConnections lets servers hang up while a connection is idle: it is
// not used again, and nothing is sent twice.
func TestStaleConnections(t *testing.T) {
	var asked atomic.Int64
	var hungUp atomic.Bool
	c := raw(t, func(w wire, _ *http.Request) {
		asked.Add(1)
		w.json(`{"choices":[{"message":{"content":"x"}}]}`)
		if hungUp.Load() {
			w.Close() // without having said so
		}
	})
	hungUp.Store(true)
	var x Exchange
	for i := range 20 {
		if err := c.Do(t.Context(), askWhole(), &x); err != nil {
			t.Fatal(err)
		}
		if i == 0 && x.Reused {
			t.Error("the first connection was used before")
		}
		for l := c.plain.resting(); l.alive(); { // until the end of the connection has arrived
			if err := t.Context().Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := asked.Load(); n != 20 {
		t.Errorf("%d requests for 20 calls", n)
	}
}

// TestNoQuestionIsAskedTwice: a server that hangs up on a request may have
// seen it, on a connection used before too.
func TestNoQuestionIsAskedTwice(t *testing.T) {
	var asked atomic.Int64
	c := raw(t, func(w wire, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && asked.Add(1) == 4:
			w.Close()
		case r.Method == http.MethodGet:
			w.json(`{"data":[]}`)
		case asked.Add(1) == 2:
			w.Close()
		default:
			w.json(`{"choices":[{"message":{"content":"x"}}]}`)
		}
	})
	var x Exchange
	if err := c.Do(t.Context(), askWhole(), &x); err != nil {
		t.Fatal(err)
	}
	e := kindOf(t, c.Do(t.Context(), askWhole(), &x))
	if e.Kind != record.Connection || !x.Reused || asked.Load() != 2 {
		t.Errorf("%v is %s after %d requests; %+v", e, e.Kind, asked.Load(), x)
	}
	// A list may be asked for again.
	list := &Request{Endpoint: ModelList}
	for range 2 {
		if err := c.Do(t.Context(), list, &x); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 5 {
		t.Errorf("%d requests", asked.Load())
	}
}

// TestUnaskedWords: a connection on which a server speaks unasked is not used.
func TestUnaskedWords(t *testing.T) {
	var n atomic.Int64
	c := raw(t, func(w wire, _ *http.Request) {
		w.json(fmt.Sprintf(`{"choices":[{"message":{"content":"%d"}}]}`, n.Add(1)))
		w.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
	})
	var x Exchange
	for i := range 3 {
		if err := c.Do(t.Context(), askWhole(), &x); err != nil || string(x.Answer) != fmt.Sprint(i+1) {
			t.Fatal(err, string(x.Answer))
		}
		for l := c.plain.resting(); l != nil && l.alive(); {
			if err := t.Context().Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestIdleConnectionsEnd: what is idle for long is closed, and what the
// client has closed does not come back.
func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, time.Minute, func(w wire, _ *http.Request) { w.json(`{"choices":[{"message":{"content":"x"}}]}`) })
		var x Exchange
		call := func(reused bool) {
			t.Helper()
			if err := c.Do(t.Context(), askWhole(), &x); err != nil || x.Reused != reused {
				t.Fatalf("%v; reused: %v", err, x.Reused)
			}
		}
		call(false)
		time.Sleep(80 * time.Second)
		call(true)
		time.Sleep(100 * time.Second)
		if c.plain.resting() != nil {
			t.Error("an idle connection was kept")
		}
		call(false)
		c.Close()
		if c.plain.resting() != nil || c.plain.reaper != nil {
			t.Error("something is left of a closed client")
		}
		synctest.Wait()
	})
}
