package rendezvous

import "net/http"

// Die ends the beats as kill -9 does.
func (m *Member) Die() { m.end(); <-m.ended }

// Through lets a member's calls go another way.
func (m *Member) Through(n http.RoundTripper) { m.client.Transport = n }
