//go:build unix

package platform

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasSockets says that a socket can be looked at here.
const hasSockets = true

// socket asks over a connection that was used before, with three system calls:
// one to see that the server has neither closed it nor said anything unasked,
// one to write, and when the answer is there one to read. Package net would
// look for the answer as soon as the request is written, in vain.
//
// It writes from within the wait for something to read. That is registered
// before the look, so that nothing that comes after it is missed.
type socket struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // of the wait: whether it is over

	// Of one request:
	out   []byte
	n     int // how much of it is written
	err   error
	asked bool // it is all written
}

// newSocket returns nil for what is no socket.
func newSocket(conn net.Conn) *socket {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil // conn itself will say why
	}
	s := &socket{raw: raw}
	s.step = func(fd uintptr) bool {
		if s.asked {
			return true
		}
		if s.err = quiet(fd); s.err != nil {
			return true
		}
		s.n, s.err = write(fd, s.out)
		s.asked = s.n == len(s.out)
		return !s.asked
	}
	return s
}

// ask writes a request, or what fits into the socket's buffer, and if that is
// all of it waits for something to read. The connection's deadline holds for both.
func (s *socket) ask(out []byte) (n int, err error) {
	s.out, s.n, s.err, s.asked = out, 0, nil, false
	err = s.raw.Read(s.step)
	s.out = nil
	if s.err != nil {
		err = s.err
	}
	return s.n, err
}

// quiet returns an error if there is something to read, the end included.
func quiet(fd uintptr) error {
	var unasked [1]byte
	for {
		n, err := rawRead(fd, unasked[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return err
		case n == 0:
			return errHungUp
		default:
			return errUnasked
		}
	}
}

// write writes what fits.
func write(fd uintptr, out []byte) (int, error) {
	for {
		n, err := rawWrite(fd, out)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		default:
			return max(0, n), err
		}
	}
}
