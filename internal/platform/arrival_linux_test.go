//go:build amd64 || arm64

package platform

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// However late bytes are read, they came when they came.
func TestArrival(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // a test
	go func() {
		if server, err := listener.Accept(); err == nil {
			_, _ = io.Copy(server, server)
			_ = server.Close()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String()) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	l := &link{conn: conn, stamps: newArrivals(conn), left: -1}
	// The kernel begins to stamp a moment after it was first asked to.
	for began, stamped := time.Now(), false; !stamped; {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the kernel stamps nothing that arrives")
		}
		if _, err := conn.Write([]byte("now")); err != nil {
			t.Fatal(err)
		}
		if err := raw.Read(func(fd uintptr) bool { // until something may be read
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
			return !errors.Is(err, syscall.EAGAIN)
		}); err != nil {
			t.Fatal(err)
		}
		readable := time.Now()
		for time.Since(readable) < 20*time.Millisecond { //nolint:revive // busy with something else
		}
		b := make([]byte, 10)
		if n, err := l.Read(b); err != nil || string(b[:n]) != "now" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		if stamped = !l.stamps.at.IsZero(); stamped && (l.came.After(readable) || l.came.Before(began)) {
			t.Errorf("came %v after it was readable", l.came.Sub(readable))
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // as a reader must
		t.Errorf("at the end: %d, %v", n, err)
	}
}
