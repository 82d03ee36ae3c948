package rendezvous

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

const (
	patience = 5 * time.Second // with the answer to a beat
	// settled is how long before the start a worker wants no better knowledge of
	// it: the users must be got ready.
	settled = time.Second
	// farewells is how often the last beat is sent, if it does not arrive.
	farewells = 3
	// pause is between attempts at handing over a document; the first ones are shorter.
	pause = 2 * time.Second
)

// Membership is a worker's place in a run.
type Membership struct {
	Worker, Attempt int
	Host            string // the machine that is its own
	// Leader is this process's own; if it is nil, another leads, at URL.
	Leader *Leader
	URL    string
	Token  secret.String
	// Patience is how long a worker that is ready waits for a leader that does
	// not answer.
	Patience time.Duration
}

// Member is a worker that beats.
type Member struct {
	Membership
	stop   func(export.Stop) // called once
	client *http.Client
	hurry  chan struct{} // asks for a beat at once
	known  chan struct{} // closed when the start is
	end    context.CancelFunc
	ended  chan struct{} // closed when nothing beats any more

	mu       sync.Mutex // guards what follows
	count    int        // of beats
	snapshot func() live.Snapshot
	ready    bool
	start    time.Time // by our clock; zero: not known
	name     time.Time
	trip     time.Duration // the fastest round trip; the start was heard by it
	fixed    bool          // the start is not changed any more
	carried  *stats.Totals
	answered time.Time // the last time; at first, when it joined
	stopped  bool
	failed   string
}

// Join prepares a place in a run; [Member.Listen] takes it.
func Join(m Membership) *Member {
	return &Member{
		Membership: m, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}},
		hurry: make(chan struct{}, 1), known: make(chan struct{}), ended: make(chan struct{}),
		answered: time.Now(),
	}
}

// Listen begins to beat. It calls stop, once, when the run is to end.
func (m *Member) Listen(stop func(export.Stop)) {
	m.stop = stop
	ctx, end := context.WithCancel(context.Background())
	m.end = end
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			_ = m.beat(ctx, false) // the next one says all that this one did
			wait := time.NewTimer(m.every())
			select {
			case <-wait.C:
			case <-m.hurry:
			case <-ctx.Done():
			}
			wait.Stop()
		}
	}()
}

func (m *Member) every() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.start.IsZero() || time.Now().Before(m.start) {
		return beforeLoad
	}
	return underLoad
}

// Ready says that everything is ready for the load, and waits until the leader
// says when that begins, which may be in the past, and what earlier attempts have
// counted.
func (m *Member) Ready(ctx context.Context) (at time.Time, carried stats.Totals, err error) {
	m.mu.Lock()
	m.ready, m.answered = true, time.Now()
	m.mu.Unlock()
	m.hasten()
	select {
	case <-m.known:
	case <-ctx.Done():
		return at, carried, context.Cause(ctx)
	}
	m.mu.Lock()
	wait := time.NewTimer(time.Until(m.start) - settled)
	m.mu.Unlock()
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return at, carried, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fixed = true
	if m.carried != nil {
		carried = *m.carried
	}
	return m.start, carried, nil
}

// Follow tells snapshots from now on; stop keeps the last one.
func (m *Member) Follow(snapshot func() live.Snapshot) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot = snapshot
	return func() {
		last := snapshot()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.snapshot = func() live.Snapshot { return last }
	}
}

// Fail says why this worker cannot begin: nobody will.
func (m *Member) Fail(why string) {
	m.mu.Lock()
	m.failed = why
	m.mu.Unlock()
	m.hasten()
}

// Sign writes into a document whose it is, and by which name all know the start.
func (m *Member) Sign(b *export.Bundle) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.Run.Attempt, b.Run.Host = m.Attempt, m.Host
	if m.carried != nil {
		b.Run.Carried = m.carried.Requests
	}
	if len(b.Phases) > 0 && !m.name.IsZero() {
		b.Run.Started = m.name
	}
}

// Leave ends the beats, with a last one. ended says that the document is handed
// over and nobody will come in this worker's place; else the others wait.
func (m *Member) Leave(ctx context.Context, ended bool) {
	m.end()
	<-m.ended
	defer m.client.CloseIdleConnections()
	m.mu.Lock()
	m.ready = m.ready && ended
	m.mu.Unlock()
	for n := range farewells {
		if m.beat(ctx, ended) == nil || ctx.Err() != nil || n == farewells-1 {
			return
		}
		wait := time.NewTimer(beforeLoad)
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

func (m *Member) hasten() {
	select {
	case m.hurry <- struct{}{}:
	default: // it is asked for already
	}
}

// beat tells the leader how this worker stands, and does what it answers.
func (m *Member) beat(ctx context.Context, ended bool) error {
	m.mu.Lock()
	snapshot := m.snapshot
	m.mu.Unlock()
	var now *live.Snapshot
	if snapshot != nil { // which may take its time, and locks of its own
		s := snapshot()
		now = &s
	}
	m.mu.Lock()
	m.count++
	b := Beat{Worker: m.Worker, Attempt: m.Attempt, Count: m.count, Ready: m.ready, Start: m.name, Carried: m.carried, Snapshot: now, Failed: m.failed, Ended: ended}
	if !m.start.IsZero() {
		ago := time.Since(m.start)
		b.Began = &ago
	}
	m.mu.Unlock()
	sent := time.Now()
	a, err := m.ask(ctx, b)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if stop := m.heard(a, err, sent, time.Since(sent)); stop != nil {
		m.stop(*stop)
	}
	return err
}

// heard takes in an answer, and returns why the run is to end for this worker,
// the first time.
func (m *Member) heard(a Answer, err error, sent time.Time, trip time.Duration) *export.Stop {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		waited := time.Since(m.answered)
		if !m.ready || !m.start.IsZero() || waited < m.Patience || m.stopped {
			return nil // limits hold without a leader, and so does the plan
		}
		m.stopped = true
		return &export.Stop{Reason: "broken", Detail: fmt.Sprintf("no word of when to begin for %s: %v", human.Duration(waited), err)}
	}
	m.answered = time.Now()
	if a.Carried != nil && m.carried == nil {
		m.carried = a.Carried
	}
	if a.StartIn != nil && !m.fixed && (m.start.IsZero() || a.Start.Equal(m.name) && trip < m.trip) {
		if m.start.IsZero() {
			defer close(m.known)
		}
		m.start, m.name, m.trip = sent.Add(trip/2+*a.StartIn), a.Start, trip
	}
	if a.Stop == nil || m.stopped {
		return nil
	}
	m.stopped = true
	return a.Stop
}

// ask sends a beat to whoever leads.
func (m *Member) ask(ctx context.Context, b Beat) (a Answer, err error) {
	if m.Leader != nil {
		return m.Leader.Beat(b)
	}
	body, err := json.Marshal(b)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = m.post(ctx, "/rendezvous", body, nil, func(in io.Reader) error { return json.NewDecoder(in).Decode(&a) })
	return a, err
}

func (m *Member) post(ctx context.Context, path string, body []byte, headers map[string]string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(m.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("tell the leader: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(TokenHeader, m.Token.Reveal())
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return fmt.Errorf("tell the leader: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	if resp.StatusCode > 299 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // as much as came
		return fmt.Errorf("tell the leader at %s: it answers %s: %s", m.URL, resp.Status, bytes.TrimSpace(why))
	}
	if read == nil {
		return nil
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("the answer of the leader at %s is not understood: %w", m.URL, err)
	}
	return nil
}

// Deliver hands the document of this worker's attempt to the leader, again and
// again until it has it or ctx ends.
func (m *Member) Deliver(ctx context.Context, document []byte) error {
	name := DocumentName(m.Worker, m.Attempt)
	if m.Leader != nil {
		m.Leader.shelf.Put(name, document)
		return nil
	}
	headers := map[string]string{ChecksumHeader: checksum(document)}
	for n := 1; ; n++ {
		err := m.post(ctx, "/documents/"+name, document, headers, nil)
		if err == nil {
			return nil
		}
		wait := time.NewTimer(min(pause, time.Duration(n)*200*time.Millisecond))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}
