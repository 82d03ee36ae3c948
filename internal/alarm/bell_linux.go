package alarm

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bell is a timerfd in the runtime's poller: it rings once at the moment that
// it was set to last. Make one with [NewBell].
type Bell struct {
	file *os.File
	fd   int // file's; File.Fd would take it out of the poller
}

// NewBell returns a bell that is not set; the caller must Close it. The error
// says that the system refused. Where there are no bells, both are nil.
func NewBell() (*Bell, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timerfd: %w", err)
	}
	return &Bell{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// Set sets the bell to ring after d, which is positive. It must not be called
// after Close.
func (b *Bell) Set(d time.Duration) {
	// It can fail only for a bad descriptor or a bad time.
	_ = unix.TimerfdSettime(b.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}

// Wait blocks until the bell has rung, or reports false once it is closed.
func (b *Bell) Wait() bool {
	var rung [8]byte
	_, err := b.file.Read(rung[:])
	return err == nil
}

// Close ends the bell; it is not to be set again.
func (b *Bell) Close() { _ = b.file.Close() } // nothing was written to it
