package platformsim_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

// The benchmarks measure the platform and a client together, on the same
// CPUs: what the platform alone can do is more.

func benchPlatform(b *testing.B, models []platformsim.Model) (*platformsim.Platform, string) {
	b.Helper()
	p := start(b, platformsim.Options{Models: models})
	return p, tenant(b, p, "bench", nil).key
}

// rawRequest returns a request as it goes over the wire, so that little of the
// client is measured.
func rawRequest(path, key, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: platform\r\nContent-Type: application/json\r\nX-Api-Key: " + key +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

func BenchmarkShortRequests(b *testing.B) {
	p, key := benchPlatform(b, platformsim.Instant(platformsim.DefaultModels()))
	request := rawRequest("/v1/chat/completions", key,
		`{"model":"sim-small","messages":[{"role":"user","content":"What is the tallest mountain of the Alps?"}],"max_tokens":16}`)
	address := strings.TrimPrefix(p.RouterURL(), "http://")
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Error(err, resp)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Error(err)
			}
			resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkStream(b *testing.B) {
	const tokens = 200
	p, key := benchPlatform(b, platformsim.Instant(platformsim.DefaultModels()))
	request := rawRequest("/v1/chat/completions", key,
		`{"model":"sim-small","stream":true,"max_tokens":`+strconv.Itoa(tokens)+`,"ignore_eos":true,"messages":[{"role":"user","content":"Tell me a story."}]}`)
	address := strings.TrimPrefix(p.RouterURL(), "http://")
	done := []byte("data: [DONE]")
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 64<<10)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			for tail := []byte(nil); !bytes.HasSuffix(tail, []byte("0\r\n\r\n")); {
				n, err := conn.Read(buf)
				if err != nil {
					b.Error(err)
					return
				}
				tail = append(tail, buf[max(0, n-64):n]...)
				if bytes.HasSuffix(tail, []byte("0\r\n\r\n")) && !bytes.Contains(tail, done) {
					b.Error("no [DONE]")
				}
				tail = tail[max(0, len(tail)-64):]
			}
		}
	})
	b.ReportMetric(float64(b.N)*tokens/b.Elapsed().Seconds(), "events/s")
}
