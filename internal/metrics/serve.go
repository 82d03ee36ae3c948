package metrics

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Page is the handler of /metrics, for scraping, native histograms included.
type Page struct {
	handler http.Handler

	mu     sync.Mutex
	last   time.Time     // when the last scrape ended
	every  time.Duration // between the last two
	scrape chan struct{} // closed when one has ended that began in Linger; nil before
}

// NewPage returns the page of what g gathers.
func NewPage(g prometheus.Gatherer) *Page {
	return &Page{handler: promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 4})}
}

// ServeHTTP implements [http.Handler].
func (s *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	awaited := s.scrape
	s.mu.Unlock()
	s.handler.ServeHTTP(w, r)
	s.scraped(awaited)
}

func (s *Page) scraped(awaited chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() {
		s.every = now.Sub(s.last)
	}
	s.last = now
	if awaited != nil && awaited == s.scrape {
		close(awaited)
		s.scrape = nil
	}
}

// longestLinger bounds the wait for a last scrape.
const longestLinger = 90 * time.Second

// Patience is how long a last scrape may be waited for: half as long again as
// the last two were apart. It is 0 if nobody scrapes regularly.
func (s *Page) Patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.every == 0 {
		return 0
	}
	return min(s.every+s.every/2+time.Second, longestLinger)
}

// Linger waits for one more scrape, from its beginning to its end, so that
// whoever scrapes has the final numbers. It gives up after Patience, or when ctx ends, and reports whether a
// scrape came.
func (s *Page) Linger(ctx context.Context) bool {
	s.mu.Lock()
	next := make(chan struct{})
	s.scrape = next
	s.mu.Unlock()
	patience := time.NewTimer(s.Patience())
	defer patience.Stop()
	select {
	case <-next:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}
