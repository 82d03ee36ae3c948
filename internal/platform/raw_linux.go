package platform

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls are made without a word to Go's scheduler, which would otherwise
// be told that the thread may be away for long. On sockets that do not block it
// never is. Telling costs little, except in a process that was idle just
// before, as one that waits for servers mostly was: then it wakes the runtime's
// monitor, a thread of its own, for each event of a stream.

// rawReceive is recvmsg(2).
func rawReceive(fd uintptr, m *unix.Msghdr) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(m)), 0) //nolint:gosec // as package syscall has it
	heard(fd)
	return outcome(n, errno)
}

func outcome(n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EAGAIN: // without an allocation
		return 0, errAgain
	default:
		return 0, errno
	}
}

// errAgain is EAGAIN.
var errAgain error = syscall.EAGAIN
