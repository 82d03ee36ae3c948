//go:build unix

package platform

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// canListen says that listen can.
const canListen = true

// listen returns a function that reports whether an idle connection can be
// used: whether the server has neither closed it nor said anything unasked.
func listen(conn net.Conn) func() bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true } // not a socket: a pipe of a test
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var buf [1]byte
	quiet := false
	peek := func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
		return true // there is nothing to wait for
	}
	return func() bool {
		quiet = false
		return raw.Read(peek) == nil && quiet
	}
}
