//go:build amd64 || arm64

package platformsim

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stamping is a listener whose connections know when what was read from them
// had arrived at this machine.
type stamping struct{ net.Listener }

// Accept implements [net.Listener].
func (s stamping) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if c := newStamped(tcp); c != nil {
			return c, nil
		}
	}
	return conn, err
}

// stamped reads with the kernel's word on when the last of it had arrived
// (SO_TIMESTAMPNS, socket(7)), so that the truth does not depend on when this
// process was woken.
type stamped struct {
	*net.TCPConn
	raw syscall.RawConn
	at  atomic.Int64 // ns since 1970; 0: not known
}

// newStamped returns nil where nothing stamps what arrives.
func newStamped(conn *net.TCPConn) *stamped {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil // conn itself will say why
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) //nolint:gosec // a descriptor
	})
	if err != nil || refused != nil {
		return nil
	}
	return &stamped{TCPConn: conn, raw: raw}
}

// Read implements [io.Reader].
func (s *stamped) Read(b []byte) (n int, err error) {
	var refused error
	var said [64]byte // one message of 32
	err = s.raw.Read(func(fd uintptr) bool {
		var told int
		for {
			n, told, _, _, refused = unix.Recvmsg(int(fd), b, said[:], 0) //nolint:gosec // a descriptor
			if !errors.Is(refused, unix.EINTR) {
				break
			}
		}
		s.at.Store(stampIn(said[:max(0, told)]))
		return !errors.Is(refused, unix.EAGAIN)
	})
	switch {
	case err != nil:
		return 0, err
	case refused != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("recvmsg", refused)}
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// stampIn is the moment in a control message: struct cmsghdr, of 16 bytes on
// these machines, and struct timespec.
func stampIn(said []byte) int64 {
	if len(said) < unix.SizeofCmsghdr+16 ||
		binary.NativeEndian.Uint32(said[8:]) != unix.SOL_SOCKET || binary.NativeEndian.Uint32(said[12:]) != unix.SO_TIMESTAMPNS {
		return 0
	}
	at := said[unix.SizeofCmsghdr:]
	return time.Unix(int64(binary.NativeEndian.Uint64(at)), int64(binary.NativeEndian.Uint64(at[8:]))).UnixNano() //nolint:gosec // signed in C
}

// arrivedAt is when the last bytes read from conn had arrived, seen at now.
func arrivedAt(conn net.Conn, now time.Time) time.Time {
	s, ok := conn.(*stamped)
	if !ok {
		return now
	}
	at := s.at.Load()
	late := now.Sub(time.Unix(0, at))              // by the wall clock
	if at == 0 || late < 0 || late > time.Minute { // rather the clock was set
		return now
	}
	return now.Add(-late)
}
