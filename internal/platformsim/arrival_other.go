//go:build !linux || !(amd64 || arm64)

package platformsim

import (
	"net"
	"time"
)

// stamping does nothing here.
type stamping struct{ net.Listener }

// arrivedAt is now, since nothing tells more.
func arrivedAt(_ net.Conn, now time.Time) time.Time { return now }
