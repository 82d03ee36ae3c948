// Command platform measures how much `loadtest platform` serves from another
// process of the same machine: short whole requests, sent by wrk, and streams,
// read by this program. Run it from the root of the repository:
//
//	go run ./bench/platform
//
// Both ends share the machine's CPUs: what the platform alone can do is more.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/target"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

var (
	duration    = flag.Duration("duration", 10*time.Second, "how long each measurement lasts, in whole seconds")
	connections = flag.Int("connections", 64, "connections of wrk, and streams at a time from instant models")
	paced       = flag.Int("paced", 500, "streams at a time from models that take their time")
	speed       = flag.Float64("speed", 2, "how many times as fast as usual those models are")
)

//go:embed short.lua
var short []byte

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "loadtest-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	script := filepath.Join(dir, "short.lua")
	if err := os.WriteFile(script, short, 0o600); err != nil {
		return err
	}
	bin, err := target.Build(ctx, dir)
	if err != nil {
		return err
	}

	fmt.Println("short requests, answered whole, by instant models")
	p, err := target.Start(ctx, bin, dir, "--instant")
	if err != nil {
		return err
	}
	key, err := tenant(ctx, p)
	if err != nil {
		return errors.Join(err, p.Stop())
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(*connections), fmt.Sprintf("-d%ds", int(duration.Seconds())), "--latency", "-s", script, p.Router) //nolint:gosec // our own paths
	wrk.Env = append(os.Environ(), "KEY="+key.Reveal())
	wrk.Stdout, wrk.Stderr = os.Stdout, os.Stderr
	if err := wrk.Run(); err != nil {
		return errors.Join(fmt.Errorf("wrk: %w", err), p.Stop())
	}

	fmt.Println("\nstreams from instant models: one write holds many events")
	if err := errors.Join(streams(ctx, p, key, *connections), p.Stop()); err != nil {
		return err
	}

	fmt.Println("\nstreams from models that take their time: about one event a write")
	if p, err = target.Start(ctx, bin, dir, "--speed", strconv.FormatFloat(*speed, 'g', -1, 64)); err != nil {
		return err
	}
	if key, err = tenant(ctx, p); err != nil {
		return errors.Join(err, p.Stop())
	}
	return errors.Join(streams(ctx, p, key, *paced), p.Stop())
}

// tenant creates an organization with one user and returns the user's key.
func tenant(ctx context.Context, p *target.Platform) (secret.String, error) {
	t, err := platform.NewTenancy(platform.Connection{BaseURL: p.UserOrg}, platform.Admin{Key: p.AdminKey})
	if err != nil {
		return secret.String{}, err
	}
	org, err := t.CreateOrg(ctx, platform.NewOrg{Name: "Bench", Slug: "bench"})
	if err != nil {
		return secret.String{}, err
	}
	user, err := t.InviteUser(ctx, org, "bench@example.com", nil, nil)
	if err != nil {
		return secret.String{}, err
	}
	key, err := t.IssueKey(ctx, org, user, platform.NewKey{Name: "bench"})
	return key.Secret, err
}

// streams keeps n streams going and prints what came.
func streams(ctx context.Context, p *target.Platform, key secret.String, n int) error {
	reading, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	var events, reads, finished atomic.Int64
	var readers sync.WaitGroup
	var failed atomic.Pointer[error]
	before, err := p.UsedCPU()
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range n {
		model := []string{"sim-small", "sim-medium"}[i%2]
		readers.Go(func() {
			if err := read(reading, p.Router, model, key, &events, &reads, &finished); err != nil && reading.Err() == nil {
				failed.Store(&err)
				cancel()
			}
		})
	}
	readers.Wait()
	took := time.Since(began).Seconds()
	if err := failed.Load(); err != nil {
		return *err
	}
	after, err := p.UsedCPU()
	if err != nil {
		return err
	}
	truth, err := p.Totals(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  %d at a time: %.0f events/s, %.1f events a read, %.0f streams/s; the platform used %.2f CPUs, worst step %v late, saturated: %v\n", n,
		float64(events.Load())/took, float64(events.Load())/float64(reads.Load()), float64(finished.Load())/took,
		(after-before).Seconds()/took, truth.Lateness.Step.Round(time.Microsecond), truth.Lateness.Saturated)
	return nil
}

// read asks for one stream after the other on a connection of its own.
func read(ctx context.Context, router, model string, key secret.String, events, reads, finished *atomic.Int64) error {
	address := strings.TrimPrefix(router, "http://")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only read from
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	body := `{"model":"` + model + `","stream":true,"max_tokens":200,"ignore_eos":true,"messages":[{"role":"user","content":"Tell me a story."}]}`
	request := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer " + key.Reveal() +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	event, end := []byte("data: "), []byte("\r\n0\r\n\r\n")
	buf := make([]byte, 64<<10)
	for {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		for kept := 0; ; { // buf[:kept] is the end of the read before
			n, err := conn.Read(buf[kept:])
			if err != nil {
				return err
			}
			reads.Add(1)
			got := buf[:kept+n]
			if bytes.HasPrefix(got, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(got, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("the platform refused: %.200s", got)
			}
			events.Add(int64(bytes.Count(got, event)))
			if bytes.HasSuffix(got, end) {
				break
			}
			// What may be the beginning of an event, or of the end, stays.
			tail := got[max(0, len(got)-len(end)+1):]
			if i := bytes.LastIndex(tail, event); i >= 0 {
				tail = tail[i+len(event):]
			}
			kept = copy(buf, tail)
		}
		finished.Add(1)
	}
}
