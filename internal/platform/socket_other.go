//go:build !unix

package platform

import (
	"errors"
	"net"
	"syscall"
)

// hasSockets says that net/http is to send everything, since here nobody can
// tell whether a server has closed an idle connection.
const hasSockets = false

type socket struct{ raw syscall.RawConn }

func newSocket(net.Conn) *socket { return nil }

func (*socket) ask([]byte) (int, error) { return 0, errors.ErrUnsupported }

func quiet(uintptr) error { return errors.ErrUnsupported }
