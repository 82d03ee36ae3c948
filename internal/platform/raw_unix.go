//go:build unix && (!linux || race)

package platform

import "syscall"

// rawRead is read(2), which for the race detector takes a message from whoever
// wrote.
func rawRead(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// rawWrite is write(2), which for the race detector leaves a message.
func rawWrite(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }
