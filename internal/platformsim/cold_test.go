package platformsim

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// ColdKeysWithin lets a crash of cold keys take as long as this machine needs
// to make them all known.
func (p *Platform) ColdKeysWithin(d time.Duration) { p.cold.window = d }

// closing is a connection that can only be closed.
type closing struct {
	net.Conn
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func TestColdKeysAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		keys    int
		apart   time.Duration
		crashes bool
	}{
		"too many":     {coldLimit, time.Millisecond, true},
		"few":          {coldLimit - 1, 0, false},
		"one by one":   {10 * coldLimit, 2 * time.Millisecond, false},
		"just too far": {coldLimit, (coldWindow + coldLimit - 2) / (coldLimit - 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			var cold coldKeys
			conn := &closing{}
			cold.watch(conn, http.StateNew)
			began := time.Now()
			for i := range c.keys {
				cold.seen(began.Add(time.Duration(i) * c.apart))
			}
			if conn.closed != c.crashes {
				t.Errorf("the connections were reset: %v, want %v", conn.closed, c.crashes)
			}
		})
	}
}
