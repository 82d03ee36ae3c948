//go:build !unix

package platform

import "net"

// canListen says that net/http is to send everything, since here nobody can
// tell whether a server has closed an idle connection.
const canListen = false

func listen(net.Conn) func() bool { return func() bool { return false } }
