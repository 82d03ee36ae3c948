package requestlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

var epoch = time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)

func TestLine(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		record record.Record
		want   string
	}{
		"a stream": {record.Record{
			ID: "r-1-0", Trace: record.Trace{ID: record.TraceID{15: 1}, Span: record.SpanID{7: 2}},
			Org: "org \"one\"", User: "user-1", UserIndex: 7, Phase: "steady", Session: 1, Turn: 2, Attempt: 1, Measured: true, Final: true,
			Endpoint: "chat", Model: "m", Backend: "b", Strategy: "historical", TestType: "long", Stream: true,
			Scheduled: 1500 * ms, Sent: 1501 * ms, FirstByte: 1510 * ms, FirstToken: 1520 * ms, LastToken: 1560 * ms, Done: 1561 * ms,
			DNS: ms, Connect: 2 * ms, TLS: 3 * ms, Gaps: []time.Duration{10 * ms, 30 * ms}, Chunks: 3, FirstChunkTokens: 1,
			UsageKnown: true, PromptTokens: 40, CompletionTokens: 5, CachedTokens: 16, CachedKnown: true, CostMicroUSD: 9, CostKnown: true,
			Status: 200, FinishReason: "stop", RequestBytes: 100, ResponseBytes: 900,
			Checks: []record.Check{{Name: "status is 200"}, {Name: "it is short", Problem: "it is long"}},
			Values: []record.Value{{Name: "length", Value: 1.5}, {Name: "sum", Value: math.Inf(1)}},
		}, `{"at":"2026-11-23T22:00:01.500000000Z","id":"r-1-0","traceId":"00000000000000000000000000000001","spanId":"0000000000000002",
			"org":"org \"one\"","user":"user-1","phase":"steady","measured":true,"session":1,"turn":2,"attempt":1,"final":true,
			"endpoint":"chat","model":"m","backend":"b","strategy":"historical","testType":"long","stream":true,"outcome":"success",
			"status":200,"finishReason":"stop","sentNs":1000000,"dnsNs":1000000,"connectNs":2000000,"tlsNs":3000000,"reused":false,
			"firstByteNs":10000000,"ttftNs":20000000,"lastTokenNs":60000000,"e2eNs":61000000,"tpotNs":10000000,"chunks":3,
			"gapsNs":[10000000,30000000],"promptTokens":40,"completionTokens":5,"cachedTokens":16,"costMicroUSD":9,
			"requestBytes":100,"responseBytes":900,
			"checks":[{"name":"status is 200"},{"name":"it is short","problem":"it is long"}],
			"values":[{"name":"length","value":1.5},{"name":"sum","value":null}]}`},
		"a refusal": {record.Record{
			ID: "r-1-1", Attempt: 2, Endpoint: "chat", Scheduled: ms, Sent: ms, FirstByte: 3 * ms, Done: 3 * ms, Reused: true,
			Outcome: record.Refused, Kind: record.RateLimited, Status: 429, Message: "slow\ndown", RetryAfter: time.Second,
		}, `{"at":"2026-11-23T22:00:00.001000000Z","id":"r-1-1","measured":false,"session":0,"turn":0,"attempt":2,"final":false,
			"endpoint":"chat","stream":false,"outcome":"refused","kind":"rate_limited","status":429,"message":"slow\ndown",
			"retryAfterNs":1000000000,"sentNs":0,"reused":true,"firstByteNs":2000000,"e2eNs":2000000,"requestBytes":0,"responseBytes":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			line := appendLine(nil, &test.record, epoch)
			if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
				t.Errorf("it is not one line: %s", line)
			}
			var got, want map[string]any
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nwant %v", line, want)
			}
		})
	}
}

// Many add at once; what is there in the end has the name, and is their owner's alone.
func TestWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	l, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second one of that name: %v", err)
	}
	sink := l.Since(epoch)
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for range 500 {
				sink.Add(&record.Record{ID: "a request", Done: 1})
			}
		})
	}
	adding.Wait()
	if a := l.Close(); a != (Account{Path: path, Written: 2000}) {
		t.Errorf("account %+v", a)
	}
	data, err := os.ReadFile(path) //nolint:gosec // in a folder of the test's
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), `"id":"a request"`); n != 2000 || strings.Count(string(data), "\n") != n {
		t.Errorf("%d lines", n)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(path + Partial); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there too: %v", Partial, err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file is begun over a whole one: %v", err)
	}
}

// disk is a file with so much room; a write waits for gate, if there is one.
type disk struct {
	data []byte
	room int
	gate chan struct{}
}

func (d *disk) Write(b []byte) (int, error) {
	if d.gate != nil {
		<-d.gate
	}
	n := min(len(b), d.room-len(d.data))
	d.data = append(d.data, b[:n]...)
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error { d.data = d.data[:size]; return nil }
func (d *disk) Sync() error               { return nil }
func (d *disk) Close() error              { return nil }

// A disk that is full leaves whole lines, a name that says so, and an account of
// every line.
func TestDiskFull(t *testing.T) {
	line := len(appendLine(nil, &record.Record{}, epoch))
	d := &disk{room: 10*line + line/2}
	l := start("requests.jsonl", d)
	sink := l.Since(epoch)
	for range 100 {
		sink.Add(&record.Record{})
	}
	a := l.Close()
	if a.Written != 10 || a.Lost != 90 || !errors.Is(a.Err, syscall.ENOSPC) || a.Path != "requests.jsonl"+Partial {
		t.Errorf("account %+v", a)
	}
	if len(d.data) != 10*line || d.data[len(d.data)-1] != '\n' {
		t.Errorf("%d bytes of lines of %d", len(d.data), line)
	}
}

// Nobody waits for a disk that stands still: what finds no room is counted.
func TestSlowDisk(t *testing.T) {
	d := &disk{room: math.MaxInt, gate: make(chan struct{})}
	l := start("requests.jsonl", d)
	sink := l.Since(epoch)
	long := record.Record{Message: strings.Repeat("x", 1<<20)}
	const added = 3 * maxWaiting >> 20
	for range added {
		sink.Add(&long)
	}
	close(d.gate)
	a := l.Close()
	if a.Written+a.Lost != added || a.Lost < added-2*maxWaiting>>20 || a.Lost == 0 || a.Err != nil || a.Path != "requests.jsonl"+Partial {
		t.Errorf("account %+v of %d", a, added)
	}
	if n := bytes.Count(d.data, []byte("\n")); n != int(a.Written) { //nolint:gosec // few
		t.Errorf("%d lines, %d are said to be written", n, a.Written)
	}
}

func BenchmarkAdd(b *testing.B) {
	l := start("requests.jsonl", discard{})
	sink := l.Since(epoch)
	r := record.Record{ID: "20261123-224158-4335-1-0", Org: "org-1", User: "user-1", Phase: "steady", Endpoint: "chat", Model: "m", Stream: true, Gaps: make([]time.Duration, 27), Chunks: 28}
	for i := range r.Gaps {
		r.Gaps[i] = 10*time.Millisecond + time.Duration(i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			sink.Add(&r)
		}
	})
	b.ReportMetric(float64(l.Close().Lost)/float64(b.N), "lost/op")
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Truncate(int64) error        { return nil }
func (discard) Sync() error                 { return nil }
func (discard) Close() error                { return nil }
