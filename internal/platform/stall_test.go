package platform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// stall answers requests on a connection, and on some of them stops, anywhere
// between the first byte read and the last one written, until the client hangs
// up. What it has stopped to read it reads when all calls are over.
func stall(conn net.Conn, rng *rand.Rand, over <-chan struct{}) {
	defer conn.Close()
	body := `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`
	chunk := `data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}` + "\n\n"
	whole := fmt.Sprintf(jsonHead, len(body), body)
	stream := streamHead + strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk), 3) + "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
	br := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if rng.IntN(8) == 0 { // with the body unread
			<-over
			_, _ = io.Copy(io.Discard, br) // ends as it may
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		answer := whole
		if req.Header.Get("Accept") != "" {
			answer = stream
		}
		stop := len(answer)
		if rng.IntN(2) == 0 {
			stop = rng.IntN(len(answer) + 1)
		}
		for at := 0; at < stop; {
			n := min(stop-at, 1+rng.IntN(200))
			if _, err := io.WriteString(conn, answer[at:at+n]); err != nil {
				return
			}
			at += n
		}
		if stop < len(answer) {
			_, _ = io.Copy(io.Discard, br) // ends as it may
			return
		}
	}
}

// TestStallsEnd has servers stall at every point while users leave and calls
// time out at any moment: every call ends, for a reason that is the true one,
// and no connection is left behind.
func TestStallsEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for seed := uint64(0); ; seed++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { stall(conn, rand.New(rand.NewPCG(seed, 1)), over) }) //nolint:gosec // chance, no secret
		}
	})
	c := newClient(t, Connection{BaseURL: "http://" + listener.Addr().String(), Timeout: 3 * time.Millisecond})
	large := strings.Repeat("x", 8<<20)

	var users sync.WaitGroup
	for u := range 8 {
		users.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(u), 2)) //nolint:gosec // chance, no secret
			var x Exchange
			for range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				leaving := time.AfterFunc(time.Duration(rng.IntN(8000))*time.Microsecond, cancel)
				for range 4 {
					q := ask()
					q.Stream = rng.IntN(2) == 0
					if rng.IntN(40) == 0 {
						q.Messages = []Message{{"user", large}}
					}
					err := c.Do(ctx, q, &x)
					if err == nil {
						continue
					}
					switch e := kindOf(t, err); {
					case e.Kind == record.Timeout:
					case e.Kind == record.CancelledKind && ctx.Err() != nil:
					default:
						t.Errorf("%v is %s; left: %v", e, e.Kind, ctx.Err())
					}
				}
				leaving.Stop()
				cancel()
			}
		})
	}
	users.Wait()
	close(over)
	c.Close()
	listener.Close()
	serving.Wait()
}
