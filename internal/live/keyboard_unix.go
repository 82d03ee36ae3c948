//go:build unix && !aix && !illumos

package live

import (
	"os"

	"github.com/charmbracelet/x/term"
	"github.com/charmbracelet/x/termios"
	"golang.org/x/sys/unix"
)

// takeOver puts the terminal into raw mode, except that output keeps its line
// ends: what a stray print or a panic writes stays readable.
func takeOver(in *os.File) (restore func() error, err error) {
	fd := in.Fd()
	was, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	restore = func() error { return term.Restore(fd, was) }
	now, err := termios.GetTermios(int(fd)) // #nosec G115 -- a file descriptor
	if err == nil {
		err = termios.SetTermios(int(fd), uint32(now.Ispeed), uint32(now.Ospeed), nil, nil, // #nosec G115
			map[termios.O]bool{termios.OPOST: true, termios.ONLCR: true}, nil, nil)
	}
	if err != nil {
		_ = restore() // the first error says more
		return nil, err
	}
	return restore, nil
}

// foreground reports whether this process may use the terminal. A job in the
// background that changes it is stopped by the kernel.
func foreground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP) // #nosec G115
	return err != nil || group == unix.Getpgrp()                // not our controlling terminal: nobody stops us
}
