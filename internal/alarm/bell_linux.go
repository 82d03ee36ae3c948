package alarm

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bell is a timerfd in the runtime's poller: it rings once at the moment that
// it was set to last.
type bell struct {
	file *os.File
	fd   int // file's; File.Fd would take it out of the poller
}

func newBell() (*bell, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timerfd: %w", err)
	}
	return &bell{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// set sets the bell to ring after d, which is positive. It must not be called
// after close.
func (b *bell) set(d time.Duration) {
	// It can fail only for a bad descriptor or a bad time.
	_ = unix.TimerfdSettime(b.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}

// wait blocks until the bell has rung, or reports false once it is closed.
func (b *bell) wait() bool {
	var rung [8]byte
	_, err := b.file.Read(rung[:])
	return err == nil
}

func (b *bell) close() { _ = b.file.Close() } // nothing was written to it
