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
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const ms = time.Millisecond

// wire is the server's end of one connection.
type wire struct {
	net.Conn
	t *testing.T
}

func (w wire) say(format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...) // the client may have hung up, which is its right
}

const (
	jsonHead   = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s"
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)

func (w wire) json(body string) { w.say(jsonHead, len(body), body) }

// chunk sends one chunk of a chunked body; an empty one ends it.
func (w wire) chunk(s string) { w.say("%x\r\n%s\r\n", len(s), s) }

// event sends data as an event in a chunk of its own.
func (w wire) event(data string) { w.chunk("data: " + data + "\n\n") }

// serveWire answers each request on a connection by script until one side
// hangs up.
func serveWire(t *testing.T, conn net.Conn, script func(wire, *http.Request)) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		script(wire{conn, t}, req)
	}
}

// raw returns a client of a TCP server that answers by script, byte for byte.
func raw(t *testing.T, script func(wire, *http.Request)) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serveWire(t, conn, script) })
		}
	})
	c := newClient(t, Connection{BaseURL: "http://" + l.Addr().String()})
	t.Cleanup(func() { l.Close(); c.Close(); running.Wait() })
	return c
}

// piped is raw over memory, for use in a bubble where time is ours.
func piped(t *testing.T, timeout time.Duration, script func(wire, *http.Request)) *Client {
	t.Helper()
	c := newClient(t, Connection{BaseURL: "http://platform:8080", Timeout: timeout})
	c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serveWire(t, theirs, script)
		return ours, nil
	}
	return c
}

func newClient(t *testing.T, conn Connection) *Client {
	t.Helper()
	c, err := NewClient(conn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ask() *Request {
	return &Request{Endpoint: Chat, Model: "m", Messages: []Message{{"user", "Hello?"}}, Stream: true, Key: secret.New("sk-the-key"), ID: "r-1"}
}

func askWhole() *Request {
	q := ask()
	q.Stream = false
	return q
}

// kindOf returns the error as an *Error, which it must be.
func kindOf(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if len(e.Message) > maxMessage || strings.ContainsAny(e.Message, "\r\n") {
		t.Errorf("the message is not one line of at most %d bytes: %q", maxMessage, e.Message)
	}
	if e.Message == "" {
		t.Errorf("%v says nothing to a person", e)
	}
	return e
}

const (
	role  = `{"choices":[{"delta":{"role":"assistant","content":""}}]}`
	usage = `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":8}}}`
	stop  = `{"choices":[{"delta":{},"finish_reason":"stop"}]}`
)

func delta(text string) string { return `{"choices":[{"delta":{"content":"` + text + `"}}]}` }

func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	var body []byte
	c := raw(t, func(w wire, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.json(`{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})
	var x Exchange
	if err := c.Do(t.Context(), askWhole(), &x); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer sk-the-key", "X-Api-Key": "", "X-Request-Id": "r-1", "User-Agent": "loadtest", "Content-Type": "application/json",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if got.Method != "POST" || got.URL.Path != "/v1/chat/completions" || string(body) != `{"model":"m","messages":[{"role":"user","content":"Hello?"}]}` {
		t.Errorf("%s %s %s", got.Method, got.URL, body)
	}
	if x.RequestBytes != int64(len(body)) || got.ContentLength != x.RequestBytes {
		t.Errorf("%d bytes counted, %d declared, %d sent", x.RequestBytes, got.ContentLength, len(body))
	}
}

func TestConnectionHeadersAndBase(t *testing.T) {
	var got atomic.Pointer[http.Request]
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r) }))
	defer srv.Close()
	c := newClient(t, Connection{BaseURL: srv.URL + "/gateway/v1/", Headers: map[string]secret.String{
		"x-tenant": secret.New("a"), "host": secret.New("virtual.example"), "authorization": secret.New("Basic x"), "user-agent": secret.New("mine")}})
	q := askWhole()
	q.Key = secret.String{}
	_ = c.Do(t.Context(), q, new(Exchange)) // the answer is empty
	r := got.Load()
	if r.URL.Path != "/gateway/v1/chat/completions" || r.Host != "virtual.example" || r.Header.Get("X-Tenant") != "a" ||
		r.Header.Get("Authorization") != "Basic x" || r.Header.Get("User-Agent") != "mine" || r.Header.Get("X-Request-Id") != "r-1" {
		t.Errorf("%s %s %v", r.Host, r.URL.Path, r.Header)
	}
	q.Key = secret.New("sk")
	_ = c.Do(t.Context(), q, new(Exchange))
	if a := got.Load().Header.Values("Authorization"); !slices.Equal(a, []string{"Bearer sk"}) {
		t.Errorf("a request's own key yields to the connection's: %q", a)
	}
	if _, err := NewClient(Connection{BaseURL: srv.URL, Headers: map[string]secret.String{"x": secret.New("sec\nret")}}, time.Now()); err == nil || strings.Contains(err.Error(), "ret\"") {
		t.Errorf("a header with a line break: %v", err)
	}
	if _, err := NewClient(Connection{BaseURL: "platform:8080"}, time.Now()); err == nil {
		t.Error("an address without a scheme is accepted")
	}
}

// TestStreamTiming holds every moment of a stream against the times at which
// the server wrote, to the nanosecond.
func TestStreamTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, 0, func(w wire, _ *http.Request) {
			time.Sleep(50 * ms)
			w.say(streamHead)
			time.Sleep(30 * ms)
			w.event(role)
			w.chunk(": keep-alive\n\n")
			time.Sleep(120 * ms) // 200
			w.event(delta("One"))
			time.Sleep(20 * ms) // 220
			w.event(delta(" two"))
			time.Sleep(400 * ms) // 620: a stall
			w.chunk("data: " + delta(" th") + "\n\ndata: " + delta("ree") + "\n\n")
			time.Sleep(5 * ms) // 625
			w.event(stop)
			w.event(usage)
			time.Sleep(5 * ms) // 630
			w.event("[DONE]")
			time.Sleep(7 * ms) // the end of the body comes late and is not waited for in Done
			w.chunk("")
		})
		time.Sleep(time.Second)
		var x Exchange
		if err := c.Do(t.Context(), ask(), &x); err != nil {
			t.Fatal(err)
		}
		if now := c.Now(); now != 1637*ms {
			t.Errorf("Do returned at %v", now)
		}
		for name, m := range map[string][2]time.Duration{
			"Sent": {x.Sent, 0}, "FirstByte": {x.FirstByte, 50 * ms}, "FirstToken": {x.FirstToken, 200 * ms},
			"LastToken": {x.LastToken, 620 * ms}, "Done": {x.Done, 630 * ms},
		} {
			if m[0] != time.Second+m[1] {
				t.Errorf("%s: %v, want %v", name, m[0], time.Second+m[1])
			}
		}
		if want := []time.Duration{20 * ms, 400 * ms, 0}; !slices.Equal(x.Gaps, want) {
			t.Errorf("gaps %v, want %v", x.Gaps, want)
		}
		if x.Chunks != 4 || x.FirstChunkTokens != 1 || !x.UsageKnown || x.Usage != (Usage{9, 4, 8}) ||
			x.FinishReason != "stop" || string(x.Answer) != "One two three" || x.Status != 200 || x.Unstreamed || x.Reused {
			t.Errorf("%+v, answer %q", x, x.Answer)
		}

		// The second call uses the connection and the slices of the first.
		first := x.ResponseBytes
		if err := c.Do(t.Context(), ask(), &x); err != nil {
			t.Fatal(err)
		}
		if !x.Reused || x.Connect != 0 || len(x.Gaps) != 3 || string(x.Answer) != "One two three" || x.ResponseBytes != first {
			t.Errorf("second call: %+v", x)
		}
		c.Close()
		synctest.Wait()
	})
}

func TestWholeTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := `{"choices":[{"message":{"content":"Hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}`
		c := piped(t, 0, func(w wire, _ *http.Request) {
			time.Sleep(50 * ms)
			w.say(jsonHead, len(body), body[:10])
			time.Sleep(30 * ms)
			w.say("%s", body[10:])
		})
		var x Exchange
		if err := c.Do(t.Context(), askWhole(), &x); err != nil {
			t.Fatal(err)
		}
		if x.FirstByte != 50*ms || x.Done != 80*ms || x.FirstToken != 0 || x.LastToken != 0 || x.Chunks != 0 || x.Sent == 0 || x.Unstreamed {
			t.Errorf("%+v", x)
		}
		if x.ResponseBytes != int64(len(body)) || string(x.Answer) != "Hi" || x.FinishReason != "length" || x.Usage != (Usage{9, 4, 0}) {
			t.Errorf("%+v", x)
		}
		c.Close()
		synctest.Wait()
	})
}

func TestWholeAnswers(t *testing.T) {
	for _, test := range []struct {
		name, body string
		endpoint   Endpoint
		answer     string
		usage      Usage
		known      bool
		kind       record.Kind
	}{
		{"null content", `{"choices":[{"message":{"content":null,"tool_calls":[]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, Chat, "", Usage{1, 2, 0}, true, record.None},
		{"no usage", `{"choices":[{"message":{"content":"x"}}]}`, Chat, "x", Usage{}, false, record.None},
		{"half a usage", `{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":3}}`, Chat, "x", Usage{}, false, record.None},
		{"completion", `{"choices":[{"text":"a\nb"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, Completions, "a\nb", Usage{3, 2, 0}, true, record.None},
		{"embedding", `{"data":[{"embedding":[0.1,0.2]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`, Embeddings, "", Usage{3, 0, 0}, true, record.None},
		{"no embedding", `{"data":[],"usage":{"prompt_tokens":3}}`, Embeddings, "", Usage{}, false, record.InvalidResponse},
		{"no choice", `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}`, Chat, "", Usage{}, false, record.InvalidResponse},
		{"nothing", ``, Chat, "", Usage{}, false, record.InvalidResponse},
		{"cut off", `{"choices":[{"message":{"content":"x`, Chat, "", Usage{}, false, record.InvalidResponse},
		{"a page", `<html>Welcome</html>`, Chat, "", Usage{}, false, record.InvalidResponse},
		{"an error", `{"error":{"message":"no","code":503}}`, Chat, "", Usage{}, false, record.HTTPError},
		{"an error without a code", `{"error":"no"}`, Chat, "", Usage{}, false, record.InvalidResponse},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, _ *http.Request) { w.json(test.body) })
			q := &Request{Endpoint: test.endpoint, Model: "m", Messages: []Message{{"user", "x"}}, Input: "x"}
			var x Exchange
			err := c.Do(t.Context(), q, &x)
			if test.kind != record.None {
				if e := kindOf(t, err); e.Kind != test.kind {
					t.Errorf("%v is %s, want %s", err, e.Kind, test.kind)
				}
			} else if err != nil || string(x.Answer) != test.answer || x.Usage != test.usage || x.UsageKnown != test.known {
				t.Errorf("%v, %+v, answer %q", err, x, x.Answer)
			}
			if x.Done < x.FirstByte || x.FirstByte < x.Sent || x.Sent == 0 || x.Status != 200 {
				t.Errorf("%+v", x)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	done := "[DONE]"
	continuous := func(text string, n int) string {
		return fmt.Sprintf(`{"choices":[{"delta":{"content":"%s"}}],"usage":{"prompt_tokens":9,"completion_tokens":%d}}`, text, n)
	}
	for _, test := range []struct {
		name   string
		events []string
		chunks int
		first  int // tokens in the first chunk
		answer string
		finish string
		usage  Usage
		kind   record.Kind
	}{
		{"usage last", []string{role, delta("a"), delta("b"), stop, usage, done}, 2, 2, "ab", "stop", Usage{9, 4, 8}, ""},
		{"usage with the end", []string{delta("a"), delta("b"), `{"choices":[{"delta":{"content":"c"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`, done}, 3, 1, "abc", "length", Usage{9, 3, 0}, ""},
		{"continuous usage", []string{continuous("", 0), continuous("abc", 3), continuous("d", 4), stop, usage, done}, 2, 3, "abcd", "stop", Usage{9, 4, 8}, ""},
		{"usage is not erased by null", []string{continuous("a", 1), `{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}`, done}, 1, 1, "a", "stop", Usage{9, 1, 0}, ""},
		{"three of four tokens by share", []string{delta("abcdef"), delta("gh"), stop, usage, done}, 2, 3, "abcdefgh", "stop", Usage{9, 4, 8}, ""},
		{"a share leaves one for each", []string{delta("abcdefabcdef"), delta("g"), delta("h"), stop, usage, done}, 3, 2, "abcdefabcdefgh", "stop", Usage{9, 4, 8}, ""},
		{"a share is at least one", []string{delta("a"), delta("bcdefghijklmnopqrst"), stop, usage, done}, 2, 1, "abcdefghijklmnopqrst", "stop", Usage{9, 4, 8}, ""},
		{"more chunks than tokens", []string{delta("a"), delta("b"), delta("c"), delta("d"), delta("e"), stop, usage, done}, 5, 1, "abcde", "stop", Usage{9, 4, 8}, ""},
		{"no usage", []string{delta("ab"), delta("c"), stop, done}, 2, 1, "abc", "stop", Usage{}, ""},
		{"everything in one chunk", []string{`{"choices":[{"delta":{"content":"abcd"},"finish_reason":"stop"}]}`, usage, done}, 1, 4, "abcd", "stop", Usage{9, 4, 8}, ""},
		{"reasoning counts, and is no answer", []string{`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`, delta("a"), stop, done}, 2, 1, "a", "stop", Usage{}, ""},
		{"arguments count", []string{`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}`, `{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`, done}, 1, 1, "", "tool_calls", Usage{}, ""},
		{"text", []string{`{"choices":[{"text":"a"}]}`, `{"choices":[{"text":"b","finish_reason":"stop"}]}`, done}, 2, 1, "ab", "stop", Usage{}, ""},
		{"an odd reason", []string{delta("a"), `{"choices":[{"delta":{},"finish_reason":"eos_token"}]}`, done}, 1, 1, "a", "eos_token", Usage{}, ""},
		{"an empty reason is none", []string{`{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}`}, 1, 1, "a", "", Usage{}, record.StreamInterrupted},
		{"no end but a reason", []string{delta("a"), stop, usage}, 1, 4, "a", "stop", Usage{9, 4, 8}, ""},
		{"an end but no reason", []string{delta("a"), done}, 1, 1, "a", "", Usage{}, ""},
		{"no content", []string{role, stop, done}, 0, 0, "", "stop", Usage{}, ""},
		{"neither end nor reason", []string{role, delta("a"), delta("b")}, 2, 1, "ab", "", Usage{}, record.StreamInterrupted},
		{"nothing", nil, 0, 0, "", "", Usage{}, record.StreamInterrupted},
		{"only the end", []string{done}, 0, 0, "", "", Usage{}, record.InvalidResponse},
		{"cut off JSON", []string{delta("a"), `{"choices":[{"delta":{"content":"b`}, 1, 1, "a", "", Usage{}, record.InvalidResponse},
		{"garbage", []string{"<oops>"}, 0, 0, "", "", Usage{}, record.InvalidResponse},
		{"an error with a status", []string{delta("a"), `{"error":{"message":"overloaded","type":"x","code":503}}`, done}, 1, 1, "a", "", Usage{}, record.HTTPError},
		{"an error with a code", []string{delta("a"), `{"error":"slow down","code":"RATE_LIMIT_EXCEEDED"}`}, 1, 1, "a", "", Usage{}, record.RateLimited},
		{"an error with neither", []string{delta("a"), `{"error":{"message":"worker died"}}`}, 1, 1, "a", "", Usage{}, record.StreamInterrupted},
		{"an error event of vLLM", []string{`{"object":"error","message":"bad","type":"BadRequestError","code":400}`}, 0, 0, "", "", Usage{}, record.Validation},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, _ *http.Request) {
				w.say(streamHead)
				for _, e := range test.events {
					w.event(e)
				}
				w.chunk("")
			})
			var x Exchange
			err := c.Do(t.Context(), ask(), &x)
			if test.kind != "" {
				if e := kindOf(t, err); e.Kind != test.kind {
					t.Errorf("%v is %s, want %s", err, e.Kind, test.kind)
				}
			} else if err != nil {
				t.Error(err)
			}
			if x.Chunks != test.chunks || x.FirstChunkTokens != test.first || string(x.Answer) != test.answer || x.FinishReason != test.finish || x.Usage != test.usage {
				t.Errorf("%+v, answer %q", x, x.Answer)
			}
			if len(x.Gaps) != max(0, x.Chunks-1) || x.Done == 0 || x.LastToken > x.Done {
				t.Errorf("%+v", x)
			}
			if sum := x.LastToken - x.FirstToken; sum != total(x.Gaps) {
				t.Errorf("gaps sum to %v, first to last token is %v", total(x.Gaps), sum)
			}
		})
	}
}

func total(gaps []time.Duration) (sum time.Duration) {
	for _, g := range gaps {
		sum += g
	}
	return sum
}

func TestErrorEvent(t *testing.T) {
	c := raw(t, func(w wire, _ *http.Request) {
		w.say(streamHead)
		w.event(delta("a"))
		w.chunk("event: error\ndata: the worker died\n\n")
		w.chunk("")
	})
	e := kindOf(t, c.Do(t.Context(), ask(), new(Exchange)))
	if e.Kind != record.StreamInterrupted || !strings.Contains(e.Message, "the worker died") || !e.Temporary() {
		t.Errorf("%v is %s", e, e.Kind)
	}
}

// TestStreamInEveryShape sends one stream as CRLF, CR and LF, with a byte
// order mark and comments, in chunks of one byte.
func TestStreamInEveryShape(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		stream := "\ufeff:" + end + end
		for _, data := range []string{role, delta("Grüße"), delta(`\u4e16\n`), stop, usage, "[DONE]"} {
			stream += ": keep-alive" + end + end + "data:" + data + end + end
		}
		c := raw(t, func(w wire, _ *http.Request) {
			w.say(streamHead)
			for i := range len(stream) {
				w.chunk(stream[i : i+1])
			}
			w.chunk("")
		})
		var x Exchange
		if err := c.Do(t.Context(), ask(), &x); err != nil {
			t.Fatal(err)
		}
		if string(x.Answer) != "Grüße世\n" || x.Chunks != 2 || x.Usage != (Usage{9, 4, 8}) || x.ResponseBytes != int64(len(stream)) {
			t.Errorf("%q: %+v, answer %q", end, x, x.Answer)
		}
	}
}

func TestStreamAnsweredWhole(t *testing.T) {
	c := raw(t, func(w wire, _ *http.Request) {
		w.json(`{"choices":[{"message":{"content":"all at once"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":3}}`)
	})
	var x Exchange
	if err := c.Do(t.Context(), ask(), &x); err != nil {
		t.Fatal(err)
	}
	if !x.Unstreamed || x.Chunks != 0 || x.FirstToken != 0 || x.FirstChunkTokens != 0 || string(x.Answer) != "all at once" || x.Usage != (Usage{2, 3, 0}) {
		t.Errorf("%+v", x)
	}
}

func TestStreamAnsweredWithAPage(t *testing.T) {
	c := raw(t, func(w wire, _ *http.Request) {
		w.say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")
	})
	if e := kindOf(t, c.Do(t.Context(), ask(), new(Exchange))); e.Kind != record.InvalidResponse || !strings.Contains(e.Message, "text/html") {
		t.Errorf("%v is %s", e, e.Kind)
	}
}

// TestConnectionsAreReused makes sure that whatever the answer, a complete one
// leaves its connection to the next call.
func TestConnectionsAreReused(t *testing.T) {
	var dialled atomic.Int64
	script := []func(wire){
		func(w wire) { w.json(`{"choices":[{"message":{"content":"x"}}]}`) },
		func(w wire) { w.json(`{"choices":[]}`) },
		func(w wire) { w.say("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nlater") },
		func(w wire) {
			w.say(streamHead)
			for _, e := range []string{delta("x"), stop, "[DONE]"} {
				w.event(e)
			}
			w.chunk("")
		},
		func(w wire) { w.say(streamHead); w.event(stop); w.chunk("") },
	}
	n := 0
	c := raw(t, func(w wire, _ *http.Request) { script[n](w); n++ })
	dial := c.transport.DialContext
	c.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled.Add(1)
		return dial(ctx, network, addr)
	}
	var x Exchange
	for i := range script {
		_ = c.Do(t.Context(), ask(), &x) // some are errors, which is not the point
		if x.Reused != (i > 0) {
			t.Errorf("call %d: reused is %v", i, x.Reused)
		}
	}
	if dialled.Load() != 1 {
		t.Errorf("%d connections", dialled.Load())
	}
}

func TestConnectTimes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"x"}}]}`)
	}))
	defer srv.Close()
	c := newClient(t, Connection{BaseURL: strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)})
	var x Exchange
	if err := c.Do(t.Context(), askWhole(), &x); err != nil {
		t.Fatal(err)
	}
	if x.DNS <= 0 || x.Connect <= 0 || x.TLS != 0 || x.Reused || x.DNS+x.Connect > x.Done-x.Sent {
		t.Errorf("first call: %+v", x)
	}
	if err := c.Do(t.Context(), askWhole(), &x); err != nil {
		t.Fatal(err)
	}
	if x.DNS != 0 || x.Connect != 0 || !x.Reused {
		t.Errorf("second call: %+v", x)
	}
}

// TestHTTP2 streams over HTTP/2, many calls at once on one connection.
func TestHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s", r.Proto)
		}
		if r.Header.Get("X-Request-Id") == "reset" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "data: %s\n\n", delta("x"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range []string{role, delta("a"), delta("b"), stop, usage, "[DONE]"} {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", e)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	c := newClient(t, Connection{BaseURL: srv.URL, CAFile: pemFile(t, srv.Certificate().Raw)})
	var x Exchange
	if err := c.Do(t.Context(), ask(), &x); err != nil {
		t.Fatal(err)
	}
	if x.TLS <= 0 || x.FirstByte < x.Sent || x.FirstToken < x.FirstByte || x.Chunks != 2 || string(x.Answer) != "ab" {
		t.Errorf("%+v", x)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			var x Exchange
			if err := c.Do(t.Context(), ask(), &x); err != nil || !x.Reused || x.Chunks != 2 || x.TLS != 0 {
				t.Errorf("%v, %+v", err, x)
			}
		})
	}
	all.Wait()
	q := ask()
	q.ID = "reset"
	if e := kindOf(t, c.Do(t.Context(), q, &x)); e.Kind != record.StreamInterrupted || x.Chunks != 1 {
		t.Errorf("%v is %s; %+v", e, e.Kind, x)
	}
}

// TestTLSSessionsAreResumed: a further connection takes the session of the
// first up again.
func TestTLSSessionsAreResumed(t *testing.T) {
	var mu sync.Mutex
	var resumed []bool
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		resumed = append(resumed, r.TLS.DidResume)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"x"}}]}`)
	}))
	defer srv.Close()
	c := newClient(t, Connection{BaseURL: srv.URL, CAFile: pemFile(t, srv.Certificate().Raw)})
	var x Exchange
	for range 3 {
		if err := c.Do(t.Context(), askWhole(), &x); err != nil || x.Reused || x.TLS <= 0 {
			t.Fatalf("%v; %+v", err, x)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []bool{false, true, true}; !slices.Equal(resumed, want) {
		t.Errorf("resumed: %v, want %v", resumed, want)
	}
}

func TestTimeouts(t *testing.T) {
	hang := func(w wire) { _, _ = w.Read(make([]byte, 1)) } // until the client hangs up
	for _, test := range []struct {
		name   string
		script func(wire)
		q      *Request
		says   string
		chunks int
	}{
		{"no answer", hang, ask(), "no answer within 2s", 0},
		{"a head and no body", func(w wire) { w.say(jsonHead, 10, ""); hang(w) }, askWhole(), "no complete answer within 2s", 0},
		{"a stream that stalls", func(w wire) {
			w.say(streamHead)
			w.event(delta("x"))
			w.event(delta("y"))
			hang(w)
		}, ask(), "no complete stream within 2s", 2},
		{"a stream that never ends", func(w wire) {
			w.say(streamHead)
			for range 100 {
				w.event(delta("x"))
				time.Sleep(100 * ms)
			}
		}, ask(), "no complete stream within 2s", 20},
		{"keep-alives only", func(w wire) {
			w.say(streamHead)
			for range 100 {
				w.chunk(": keep-alive\n\n")
				time.Sleep(100 * ms)
			}
		}, ask(), "no complete stream within 2s", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := piped(t, 2*time.Second, func(w wire, _ *http.Request) { test.script(w) })
				time.Sleep(time.Second)
				var x Exchange
				e := kindOf(t, c.Do(t.Context(), test.q, &x))
				if e.Kind != record.Timeout || e.Message != test.says || !errors.Is(e, context.DeadlineExceeded) || !e.Temporary() {
					t.Errorf("%v is %s", e, e.Kind)
				}
				if x.Done != 3*time.Second || x.Sent != time.Second || x.Chunks < test.chunks || x.Chunks > test.chunks+1 {
					t.Errorf("%+v", x)
				}
				c.Close()
				time.Sleep(time.Minute) // until the server has noticed
			})
		})
	}
}

func TestCancellation(t *testing.T) {
	reason := errors.New("the run is over")
	for _, streaming := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := piped(t, time.Minute, func(w wire, _ *http.Request) {
				if streaming {
					w.say(streamHead)
					w.event(delta("x"))
				}
				_, _ = w.Read(make([]byte, 1))
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(reason) })
			var x Exchange
			e := kindOf(t, c.Do(ctx, ask(), &x))
			if e.Kind != record.CancelledKind || !errors.Is(e, reason) || e.Outcome() != record.Cancelled || x.Done != time.Second {
				t.Errorf("%v is %s; %+v", e, e.Kind, x)
			}
			// The end of the caller's own time is the caller's affair.
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			if e := kindOf(t, c.Do(ctx, ask(), &x)); e.Kind != record.CancelledKind || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("%v is %s", e, e.Kind)
			}
			// A context that is over before the call sends nothing.
			if e := kindOf(t, c.Do(ctx, ask(), &x)); e.Kind != record.CancelledKind || x.Done == 0 {
				t.Errorf("%v is %s; %+v", e, e.Kind, x)
			}
			c.Close()
			synctest.Wait()
		})
	}
}

func TestServerThatHoldsTheStreamOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, time.Minute, func(w wire, _ *http.Request) {
			w.say(streamHead)
			w.event(delta("x"))
			w.event("[DONE]")
			_, _ = w.Read(make([]byte, 1))
		})
		var x Exchange
		if err := c.Do(t.Context(), ask(), &x); err != nil {
			t.Fatal(err)
		}
		if x.Done >= ms || c.Now() != drainPatience {
			t.Errorf("done at %v, returned at %v", x.Done, c.Now())
		}
		c.Close()
		synctest.Wait()
	})
}

func TestInvalidRequestIsNotSent(t *testing.T) {
	c := raw(t, func(wire, *http.Request) { t.Error("it was sent") })
	var x Exchange
	e := kindOf(t, c.Do(t.Context(), &Request{Endpoint: Chat, Model: "m"}, &x))
	if e.Kind != record.Validation || x.Done == 0 || x.Sent != 0 || e.Temporary() {
		t.Errorf("%v is %s; %+v", e, e.Kind, x)
	}
}

// TestDoLeavesNothingBehind makes calls that end in every way and then counts.
func TestDoLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	n := 0
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				serveWire(t, conn, func(w wire, _ *http.Request) {
					n++
					switch n % 4 {
					case 0:
						w.json(`{"choices":[{"message":{"content":"x"}}]}`)
					case 1:
						w.say(streamHead)
						w.event(delta("x"))
						w.Close()
					case 2:
						w.say(streamHead)
						w.event("[oops]")
					case 3:
						w.say("HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nno!")
					}
				})
			})
		}
	})
	c, err := NewClient(Connection{BaseURL: "http://" + l.Addr().String()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var x Exchange
	for range 20 {
		_ = c.Do(t.Context(), ask(), &x) // most are errors, as meant
	}
	c.Close()
	l.Close()
	running.Wait()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 1_000_000 {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// TestStreamAllocations makes sure that a stream of any length costs the same
// number of allocations.
func TestStreamAllocations(t *testing.T) {
	c := newClient(t, Connection{BaseURL: "http://platform"})
	x := &Exchange{}
	k := call{c: c, q: ask(), x: x, ctx: t.Context(), parent: t.Context(), hurry: func(time.Duration) {}, buffers: new(buffers)}
	cost := func(n int) float64 {
		body := bytes.NewReader(nil)
		canned := cannedStream(n)
		return testing.AllocsPerRun(20, func() {
			body.Reset(canned)
			*x = Exchange{Gaps: x.Gaps[:0], Answer: x.Answer[:0]}
			if e := k.stream(body, "text/event-stream"); e != nil || x.Chunks != n {
				t.Fatal(e, x.Chunks)
			}
		})
	}
	long, short := cost(1000), cost(1)
	if long != short {
		t.Errorf("%v allocations for 1000 chunks, %v for one", long, short)
	}
	if long > 0 {
		t.Errorf("%v allocations", long)
	}
}

// TestOneWrite: a request leaves whole, whoever sends it. In two parts, the
// server might wait for the second.
func TestOneWrite(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"plain":    nil,
		"net/http": func(rt http.RoundTripper) http.RoundTripper { return rt },
	} {
		c := newClient(t, Connection{BaseURL: "http://platform", Wrap: wrap})
		first := make(chan string, 1)
		c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				b := make([]byte, 64<<10)
				n, _ := theirs.Read(b) // one write, however long
				first <- string(b[:n])
				_ = theirs.Close()
			}()
			return ours, nil
		}
		if err := c.Do(t.Context(), askWhole(), new(Exchange)); err == nil {
			t.Errorf("%s: no error when the server hangs up", name)
		}
		if got := <-first; !strings.HasPrefix(got, "POST ") || !strings.Contains(got, "Hello?") {
			t.Errorf("%s: the first write is %q", name, got)
		}
	}
}

func TestModels(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         []ModelInfo
		status       int
		unsupported  bool
	}{
		{"a list", fmt.Sprintf(jsonHead, 70, `{"object":"list","data":[{"id":"b","max_model_len":9},{"id":"a"},{}]} `), []ModelInfo{{ID: "b", ContextLength: 9}, {ID: "a"}}, 0, false},
		{"an empty list", fmt.Sprintf(jsonHead, 11, `{"data":[]}`), []ModelInfo{}, 0, false},
		{"no such route", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\n404 page not found\n", nil, 404, true},
		{"a bad key", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 23\r\n\r\n{\"error\":\"sk-the-key?\"}", nil, 401, false},
		{"no JSON", fmt.Sprintf(jsonHead, 3, `<x>`), nil, 200, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, r *http.Request) {
				if r.Method != "GET" || r.URL.Path != "/v1/models" || r.Header.Get("Authorization") != "Bearer sk-the-key" {
					t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
				}
				w.say("%s", test.answer)
			})
			got, err := c.Models(t.Context(), secret.New("sk-the-key"))
			if test.status == 0 {
				if err != nil || !slices.Equal(got, test.want) || got == nil {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			e := kindOf(t, err)
			if e.Status != test.status || errors.Is(err, errors.ErrUnsupported) != test.unsupported || strings.Contains(err.Error(), "sk-the-key") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestModelListAsLoad(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		kind         record.Kind
	}{
		{"a list", fmt.Sprintf(jsonHead, 35, `{"object":"list","data":[{"id":1}]}`), record.None},
		{"an empty list", fmt.Sprintf(jsonHead, 11, `{"data":[]}`), record.None},
		{"no list", fmt.Sprintf(jsonHead, 8, `{"a":[]}`), record.InvalidResponse},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, r *http.Request) {
				if r.Method != "GET" || r.URL.Path != "/v1/models" || r.ContentLength > 0 || r.Header.Get("X-Request-Id") != "id-1" {
					t.Errorf("%s %s, %d bytes, %v", r.Method, r.URL, r.ContentLength, r.Header)
				}
				w.say("%s", test.answer)
			})
			var x Exchange
			err := c.Do(t.Context(), &Request{Endpoint: ModelList, ID: "id-1"}, &x)
			if test.kind != record.None {
				if e := kindOf(t, err); e.Kind != test.kind {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || x.Status != 200 || !x.UsageKnown || x.Usage != (Usage{}) || x.RequestBytes != 0 || x.FirstByte == 0 {
				t.Errorf("%+v, %v", x, err)
			}
		})
	}
	if err := (&Request{Endpoint: ModelList, Stream: true}).check(); err == nil {
		t.Error("a list that streams")
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c, err := NewClient(Connection{BaseURL: "http://platform"}, start)
		if err != nil {
			t.Fatal(err)
		}
		if c.Now() == 0 || !c.Epoch().Equal(start) {
			t.Errorf("%v after %v", c.Now(), c.Epoch())
		}
		time.Sleep(time.Hour)
		if c.Now() != time.Hour {
			t.Errorf("%v", c.Now())
		}
		if c, err = NewClient(Connection{BaseURL: "http://platform"}, time.Time{}); err != nil || !c.Epoch().Equal(start.Add(time.Hour)) {
			t.Errorf("%v, %v", c.Epoch(), err)
		}
	})
}

// benchmarkDo measures whole calls over a loopback connection to a server
// that only reads and writes bytes.
func benchmarkDo(b *testing.B, q *Request, answer []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	size := len(q.appendBody(nil))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 64<<10)
				for {
					for n := 0; ; {
						m, err := conn.Read(buf[n:])
						if err != nil {
							return
						}
						n += m
						if head := bytes.Index(buf[:n], []byte("\r\n\r\n")); head >= 0 && n == head+4+size {
							break
						}
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	c, err := NewClient(Connection{BaseURL: "http://" + l.Addr().String()}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var x Exchange
	b.ReportAllocs()
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		if err := c.Do(b.Context(), q, &x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream100(b *testing.B) {
	stream := cannedStream(100)
	var answer bytes.Buffer
	answer.WriteString(streamHead)
	for event := range bytes.SplitAfterSeq(stream, []byte("\n\n")) {
		if len(event) > 0 {
			fmt.Fprintf(&answer, "%x\r\n%s\r\n", len(event), event)
		}
	}
	answer.WriteString("0\r\n\r\n")
	benchmarkDo(b, ask(), answer.Bytes())
}

func BenchmarkWhole(b *testing.B) {
	body := `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 100) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":100,"total_tokens":111}}`
	benchmarkDo(b, askWhole(), fmt.Appendf(nil, jsonHead, len(body), body))
}

// BenchmarkChunk is the work for one chunk of a stream, from bytes to moments.
func BenchmarkChunk(b *testing.B) {
	doc := []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" w\u00f6rd"},"logprobs":null,"finish_reason":null}]}`)
	var x Exchange
	u := unfold{x: &x}
	var r reply
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		x.Gaps, x.Answer = x.Gaps[:0], x.Answer[:0]
		if !r.parse(doc, "delta") {
			b.Fatal("not parsed")
		}
		u.add(&r, 1)
	}
}
