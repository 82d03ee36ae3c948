//go:build unix

package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the file for this process and reports whether no other has it. The
// system gives it back when the process ends, however it does. On a file
// system without locks everybody has it.
func lock(f *os.File) (taken bool) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // #nosec G115 -- a descriptor
	return !errors.Is(err, unix.EWOULDBLOCK)
}
