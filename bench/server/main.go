// Command server answers inference calls without any model: always the same
// answer, whole or as a stream of events of which each is a write of its own.
// It counts what it answered; GET /count tells.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	listen = flag.String("listen", "127.0.0.1:0", "`ADDRESS` to listen on")
	every  = flag.Duration("every", 10*time.Millisecond, "time between events")
	// One only names the role, one only ends the answer, one has usage, and
	// between them are tokens.
	events = flag.Int("events", 100, "how many events a stream has before [DONE], at least 4")

	delay = flag.Duration("delay", 0, "how long a whole answer takes; GET /latency then tells how long they did take")

	requests, sent atomic.Int64

	mu   sync.Mutex
	took []time.Duration // whole answers, since GET /latency, with a delay
)

const (
	whole = `{"id":"chatcmpl-42","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"The tallest mountain of the Alps is Mont Blanc, at 4,806 metres."},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":16,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":0}}}`
	head  = `data: {"id":"chatcmpl-42","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":`
)

// event is the i-th of a stream.
func event(i int) []byte {
	switch i {
	case 0:
		return []byte(head + `[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n")
	case *events - 2:
		return []byte(head + `[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n")
	case *events - 1:
		usage := fmt.Sprintf(`[],"usage":{"prompt_tokens":14,"completion_tokens":%d,"total_tokens":%d}}`, *events-3, *events+11)
		return []byte(head + usage + "\n\ndata: [DONE]\n\n")
	default:
		return []byte(head + `[{"index":0,"delta":{"content":" word` + strconv.Itoa(i) + `"},"finish_reason":null}]}` + "\n\n")
	}
}

var stream [][]byte

func answer(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	requests.Add(1)
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		if *delay == 0 {
			_, _ = io.WriteString(w, whole)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		time.Sleep(*delay - time.Since(began))
		_, _ = io.WriteString(w, whole)
		_ = http.NewResponseController(w).Flush() // a client that is gone misses nothing
		mu.Lock()
		took = append(took, time.Since(began))
		mu.Unlock()
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	tick := time.NewTicker(*every)
	defer tick.Stop()
	for _, e := range stream {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		if _, err := w.Write(e); err != nil || flusher.Flush() != nil {
			return
		}
		sent.Add(1)
	}
}

// latency tells how long the middle and the 99th of a hundred answers took, and
// forgets them.
func latency(w http.ResponseWriter, _ *http.Request) {
	mu.Lock()
	all := took
	took = nil
	mu.Unlock()
	slices.Sort(all)
	at := func(percent int) time.Duration {
		if len(all) == 0 {
			return 0
		}
		return all[(len(all)*percent+99)/100-1]
	}
	_ = json.NewEncoder(w).Encode(map[string]time.Duration{"p50": at(50), "p99": at(99)})
}

func main() {
	flag.Parse()
	for i := range *events {
		stream = append(stream, event(i))
	}
	http.HandleFunc("POST /v1/chat/completions", answer)
	http.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"bench","object":"model"}]}`)
	})
	http.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]int64{"requests": requests.Load(), "events": sent.Load()})
	})
	http.HandleFunc("GET /latency", latency)
	at, err := new(net.ListenConfig).Listen(context.Background(), "tcp", *listen)
	if err == nil {
		fmt.Println("http://" + strings.TrimSpace(at.Addr().String()))
		err = (&http.Server{ReadHeaderTimeout: time.Minute}).Serve(at)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
