//go:build !race

package platform

import (
	"syscall"
	"unsafe"
)

// rawRead is read(2).
func rawRead(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // as package syscall has it
	return outcome(n, errno)
}

// rawWrite is write(2).
func rawWrite(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // as package syscall has it
	return outcome(n, errno)
}

// heard has nothing to say to a race detector.
func heard(uintptr) {}
