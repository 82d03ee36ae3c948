//go:build amd64 || arm64

package platformsim

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// However late a request is read, it arrived when it arrived; and in all else
// the connection is as any other.
func TestArrivedAt(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	listener := stamping{plain}
	defer listener.Close()                                   //nolint:errcheck // a test
	client, err := net.Dial("tcp", listener.Addr().String()) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // a test
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	s, ok := conn.(*stamped)
	if !ok {
		t.Fatalf("the connection is a %T", conn)
	}
	// The kernel begins to stamp a moment after it was first asked to.
	for began, known := time.Now(), false; !known; {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the kernel stamps nothing that arrives")
		}
		if _, err := client.Write([]byte("now")); err != nil {
			t.Fatal(err)
		}
		if err := s.raw.Read(func(fd uintptr) bool { // until something may be read
			_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK) //nolint:gosec // a descriptor
			return !errors.Is(err, unix.EAGAIN)
		}); err != nil {
			t.Fatal(err)
		}
		readable := time.Now()
		for time.Since(readable) < 20*time.Millisecond { //nolint:revive // busy with something else
		}
		b := make([]byte, 10)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "now" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		at := arrivedAt(conn, time.Now())
		if known = s.at.Load() != 0; known && (at.After(readable) || at.Before(began)) {
			t.Errorf("it arrived %v after it was readable", at.Sub(readable))
		}
	}
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("after its deadline: %v", err)
	}
	if err := errors.Join(conn.SetReadDeadline(time.Time{}), client.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // as a reader must
		t.Errorf("at the end: %d, %v", n, err)
	}
	now := time.Now()
	if at := arrivedAt(client, now); !at.Equal(now) {
		t.Errorf("a connection that knows nothing says %v", at)
	}
}
