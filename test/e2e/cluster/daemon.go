//go:build linux

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// thread carries functions out on one thread of the operating system, until it
// is closed. The kernel kills a daemon when the thread that started it ends
// (Pdeathsig), and with it when this process is killed, in whatever way.
type thread chan func()

func newThread() thread {
	t := make(thread)
	go func() {
		runtime.LockOSThread()
		for f := range t {
			f()
		}
	}()
	return t
}

func (t thread) do(f func() error) error {
	done := make(chan error)
	t <- func() { done <- f() }
	return <-done
}

// daemon is a part of the cluster that is a process of this machine.
type daemon struct {
	name  string
	args  []string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs the daemon in the slot's network namespace and control group.
func (d *daemon) start(on thread, s *slot, path string) error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- ours
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the daemon has its own descriptor
	args := append([]string{"-c", `echo $$ >"$0/cgroup.procs" && exec nsenter --net="$1" -- "${@:2}"`, s.group("pids"), s.netns()}, d.args...)
	d.cmd = exec.CommandContext(context.Background(), "bash", args...) // #nosec G204 -- ours; it lives as long as the cluster
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append(os.Environ(), "PATH="+path)
	d.cmd.Dir = s.state()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := on.do(d.cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	cmd, ended := d.cmd, make(chan struct{})
	d.ended = ended
	go func() {
		_ = cmd.Wait() // the log says why it ended
		close(ended)
	}()
	return nil
}

func (d *daemon) running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// kill ends the daemon at once, as a crash does.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

// tail is the end of the daemon's log.
func (d *daemon) tail() string {
	const most = 2000
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return fmt.Sprintf("the end of %s:\n%s", filepath.Base(d.log), text)
}
