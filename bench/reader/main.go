// Command reader is the control of bench/compare: it sends the bytes of a
// request over plain connections and throws the answers away. It parses
// nothing, measures nothing and checks only the status, so it is the least
// that a client on Go's network stack with a goroutine a connection can cost.
// Only with -rate does it take the time of requests, and prints it in seconds,
// one a line.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

var (
	address     = flag.String("address", "", "`HOST:PORT` of the server")
	body        = flag.String("body", "", "what to send")
	connections = flag.Int("connections", 50, "how many at a time")
	duration    = flag.Duration("duration", 5*time.Second, "for how long")
	rate        = flag.Int("rate", 0, "requests a second, of all connections in turn; 0: as many as there can be")
)

func main() {
	flag.Parse()
	request := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: " + *address + "\r\nUser-Agent: reader\r\nContent-Type: application/json\r\n" +
		"Authorization: Bearer bench\r\nContent-Length: " + strconv.Itoa(len(*body)) + "\r\n\r\n" + *body)
	until := time.Now().Add(*duration)
	var readers sync.WaitGroup
	for i := range *connections {
		readers.Go(func() {
			if err := read(request, i, until); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		})
	}
	readers.Wait()
}

// read asks again and again on the i-th connection. An answer ends with its
// last chunk, or as many bytes after its head as that says.
func read(request []byte, i int, until time.Time) error {
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", *address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only read from
	buf := make([]byte, 16<<10)
	last := []byte("\r\n0\r\n\r\n")
	var every time.Duration // between requests
	next := time.Now()
	if *rate > 0 {
		share := time.Second / time.Duration(*rate)
		every, next = share*time.Duration(*connections), next.Add(share*time.Duration(i))
	}
	var took bytes.Buffer
	for time.Now().Before(until) {
		time.Sleep(time.Until(next))
		next = next.Add(every)
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
			return fmt.Errorf("the server refused: %.200s", buf[:n])
		}
		if left, ok := remaining(buf[:n]); ok {
			for ; left > 0; left -= n {
				if n, err = conn.Read(buf); err != nil {
					return err
				}
			}
			if every > 0 {
				fmt.Fprintln(&took, time.Since(began).Seconds())
			}
			continue
		}
		for kept := n; !bytes.HasSuffix(buf[:kept], last); {
			kept = copy(buf, buf[max(0, kept-len(last)):kept])
			if n, err = conn.Read(buf[kept:]); err != nil {
				return err
			}
			kept += n
		}
	}
	_, err = os.Stdout.Write(took.Bytes())
	return err
}

// remaining is how much of an answer has yet to come, if its head says so.
func remaining(got []byte) (int, bool) {
	head, begun, ok := bytes.Cut(got, []byte("\r\n\r\n"))
	_, after, has := bytes.Cut(head, []byte("Content-Length: "))
	if !ok || !has {
		return 0, false
	}
	digits, _, _ := bytes.Cut(after, []byte("\r\n"))
	n, err := strconv.Atoi(string(digits))
	return n - len(begun), err == nil
}
