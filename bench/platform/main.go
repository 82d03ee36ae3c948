// Command platform measures how much `loadtest platform` serves from another
// process of the same machine: short whole requests, sent by wrk, and streams,
// read by this program. Run it from the root of the repository:
//
//	go run ./bench/platform
//
// Both ends share the machine's CPUs: what the platform alone can do is more.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

var (
	duration    = flag.Duration("duration", 10*time.Second, "how long each measurement lasts, in whole seconds")
	connections = flag.Int("connections", 64, "connections of wrk, and streams at a time from instant models")
	paced       = flag.Int("paced", 500, "streams at a time from models that take their time")
	speed       = flag.Float64("speed", 1, "how many times as fast as usual those models are")
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
	bin, script := filepath.Join(dir, "loadtest"), filepath.Join(dir, "short.lua")
	if err := os.WriteFile(script, short, 0o600); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/loadtest").CombinedOutput(); err != nil { //nolint:gosec // our own paths
		return fmt.Errorf("build the tool: %w\n%s", err, out)
	}

	fmt.Println("short requests, answered whole, by instant models")
	p, err := start(ctx, bin, dir, "--instant")
	if err != nil {
		return err
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(*connections), fmt.Sprintf("-d%ds", int(duration.Seconds())), "--latency", "-s", script, p.router) //nolint:gosec // as above
	wrk.Env = append(os.Environ(), "KEY="+p.key.Reveal())
	wrk.Stdout, wrk.Stderr = os.Stdout, os.Stderr
	if err := wrk.Run(); err != nil {
		return fmt.Errorf("wrk: %w", err)
	}

	fmt.Println("\nstreams from instant models: one write holds many events")
	if err := p.streams(ctx, *connections); err != nil {
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}

	fmt.Println("\nstreams from models that take their time: about one event a write")
	if p, err = start(ctx, bin, dir, "--speed", strconv.FormatFloat(*speed, 'g', -1, 64)); err != nil {
		return err
	}
	if err := p.streams(ctx, *paced); err != nil {
		return err
	}
	return p.stop()
}

// running is a platform in another process.
type running struct {
	cmd                *exec.Cmd
	router, management string
	key                secret.String
}

func start(ctx context.Context, bin, dir string, flags ...string) (*running, error) {
	keyFile := filepath.Join(dir, "admin.key")
	cmd := exec.CommandContext(ctx, bin, append([]string{"platform", "--admin-key-file", keyFile, "--router-addr", "127.0.0.1:0", //nolint:gosec // as above
		"--user-org-addr", "127.0.0.1:0", "--management-addr", "127.0.0.1:0"}, flags...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	where := map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ready.") {
		if name, url, ok := strings.Cut(lines.Text(), "http://"); ok {
			where[strings.TrimSpace(name)] = "http://" + url
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until the platform ends
	admin, err := os.ReadFile(keyFile)              //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	p := &running{cmd: cmd, router: where["router"], management: where["management"]}
	p.key, err = tenant(ctx, where["user/org API"], secret.New(strings.TrimSpace(string(admin))))
	return p, err
}

// tenant creates an organization with one user and returns the user's key.
func tenant(ctx context.Context, url string, admin secret.String) (secret.String, error) {
	t, err := platform.NewTenancy(platform.Connection{BaseURL: url}, platform.Admin{Key: admin})
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

func (p *running) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// streams keeps n streams going and prints what came.
func (p *running) streams(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	var events, reads, finished atomic.Int64
	var readers sync.WaitGroup
	var failed atomic.Pointer[error]
	before, err := p.usedCPU()
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range n {
		model := []string{"sim-small", "sim-medium"}[i%2]
		readers.Go(func() {
			if err := p.read(ctx, model, &events, &reads, &finished); err != nil && ctx.Err() == nil {
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
	after, err := p.usedCPU()
	if err != nil {
		return err
	}
	truth, err := p.totals()
	if err != nil {
		return err
	}
	fmt.Printf("  %d at a time: %.0f events/s, %.1f events a read, %.0f streams/s; the platform used %.2f CPUs, worst step %v late, saturated: %v\n", n,
		float64(events.Load())/took, float64(events.Load())/float64(reads.Load()), float64(finished.Load())/took,
		(after-before).Seconds()/took, truth.Lateness.Step.Round(time.Microsecond), truth.Lateness.Saturated)
	return nil
}

// read asks for one stream after the other on a connection of its own.
func (p *running) read(ctx context.Context, model string, events, reads, finished *atomic.Int64) error {
	address := strings.TrimPrefix(p.router, "http://")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only read from
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	body := `{"model":"` + model + `","stream":true,"max_tokens":200,"ignore_eos":true,"messages":[{"role":"user","content":"Tell me a story."}]}`
	request := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer " + p.key.Reveal() +
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

func (p *running) totals() (t platformsim.Totals, err error) {
	resp, err := http.Get(p.management + "/truth/totals") //nolint:noctx // loopback
	if err != nil {
		return t, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	return t, json.NewDecoder(resp.Body).Decode(&t)
}

// usedCPU is the CPU time that the platform has used so far, where there is /proc.
func (p *running) usedCPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // from the third of proc_pid_stat(5)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
