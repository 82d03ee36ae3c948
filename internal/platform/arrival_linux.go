//go:build amd64 || arm64

package platform

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arrivals reads from a socket and tells when what it read had arrived there,
// by the kernel's clock at that moment (SO_TIMESTAMPNS, socket(7)): how busy
// this process is, and how long a woken thread waits for a CPU, then shows in
// no latency.
type arrivals struct {
	raw  syscall.RawConn
	conn net.Conn
	step func(fd uintptr) bool

	// Of one read:
	n    int
	err  error
	at   time.Time // without a monotonic part; zero: the kernel did not say
	said [64]byte  // with the bytes: one message of 32
	into unix.Iovec
	msg  unix.Msghdr // into and said
}

// newArrivals returns nil where nothing stamps what arrives.
func newArrivals(conn net.Conn) *arrivals {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil // conn itself will say why
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err != nil || refused != nil {
		return nil
	}
	a := &arrivals{raw: raw, conn: conn}
	a.msg.Iov, a.msg.Iovlen = &a.into, 1
	a.msg.Control = &a.said[0]
	a.step = a.receive
	return a
}

// read is conn.Read.
func (a *arrivals) read(b []byte) (int, error) {
	a.n, a.err, a.at = 0, nil, time.Time{}
	a.into.Base = unsafe.SliceData(b) //nolint:gosec // as package syscall has it
	a.into.SetLen(len(b))
	err := a.raw.Read(a.step)
	a.into.Base = nil
	switch {
	case err != nil:
		return 0, err
	case a.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: a.conn.LocalAddr(), Addr: a.conn.RemoteAddr(), Err: os.NewSyscallError("read", a.err)}
	case a.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return a.n, nil
}

// receive reports whether the wait for something to read is over.
func (a *arrivals) receive(fd uintptr) bool {
	for {
		a.msg.SetControllen(len(a.said))
		n, err := rawReceive(fd, &a.msg)
		switch err { //nolint:errorlint // a number of the kernel's
		case syscall.EINTR:
			continue
		case errAgain:
			return false
		case nil:
			a.n, a.at = n, stamp(a.said[:a.msg.Controllen])
		default:
			a.err = err
		}
		return true
	}
}

// stamp is the moment in a control message: struct cmsghdr, of 16 bytes on these
// machines, and struct timespec.
func stamp(said []byte) time.Time {
	if len(said) < unix.SizeofCmsghdr+16 ||
		binary.NativeEndian.Uint32(said[8:]) != unix.SOL_SOCKET || binary.NativeEndian.Uint32(said[12:]) != unix.SO_TIMESTAMPNS {
		return time.Time{}
	}
	at := said[unix.SizeofCmsghdr:]
	return time.Unix(int64(binary.NativeEndian.Uint64(at)), int64(binary.NativeEndian.Uint64(at[8:]))) //nolint:gosec // signed in C
}
