// Package target starts a platform in another process, for measurements.
package target

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Build builds the tool of this repository, whose root is the current folder,
// into dir and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "loadtest")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/loadtest").CombinedOutput(); err != nil { //nolint:gosec // our own paths
		return "", fmt.Errorf("build the tool: %w\n%s", err, out)
	}
	return bin, nil
}

// OwnPeaks has the peak memory of children that begin from now on count from
// little: on Linux it begins with their parent's, whose memory they share until
// they execute. (5 is CLEAR_REFS_MM_HIWATER_RSS.)
func OwnPeaks() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere they have their own
}

// Platform is a `loadtest platform` on ports of its own.
type Platform struct {
	Router, UserOrg, Management string
	AdminKey                    secret.String

	cmd *exec.Cmd
}

// Start starts the platform of bin with further flags, and returns when it is
// ready. The caller must Stop it. Its key file is made in dir.
func Start(ctx context.Context, bin, dir string, flags ...string) (*Platform, error) {
	const anyPort = "127.0.0.1:0"
	keyFile := filepath.Join(dir, "admin.key")
	cmd := exec.CommandContext(ctx, bin, append([]string{"platform", "--admin-key-file", keyFile, //nolint:gosec // as above
		"--router-addr", anyPort, "--user-org-addr", anyPort, "--management-addr", anyPort}, flags...)...)
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
	p := &Platform{Router: where["router"], UserOrg: where["user/org API"], Management: where["management"], cmd: cmd}
	key, err := os.ReadFile(keyFile) //nolint:gosec // as above
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	p.AdminKey = secret.New(strings.TrimSpace(string(key)))
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the platform
	return p, nil
}

// Stop ends the platform in order.
func (p *Platform) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// Totals asks the platform what it did.
func (p *Platform) Totals(ctx context.Context) (t platformsim.Totals, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Management+"/truth/totals", http.NoBody)
	if err != nil {
		return t, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	return t, json.NewDecoder(resp.Body).Decode(&t)
}

// UsedCPU is the CPU time that the platform has used so far. It is read from
// Linux's /proc.
func (p *Platform) UsedCPU() (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all of Go's Linux ports
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // from the third field of proc_pid_stat(5)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields", p.cmd.Process.Pid, len(fields))
	}
	var used time.Duration
	for _, field := range fields[11:13] { // utime and stime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(ticks) * tick
	}
	return used, nil
}
