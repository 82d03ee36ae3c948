package processes

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// gatherTime is how long a child may take to say what its metrics are; then
// those that it said last stand.
const gatherTime = 5 * time.Second

var wireFormat = expfmt.NewFormat(expfmt.TypeProtoDelim)

// Offer says whose metrics the parent gets when it asks. Without it, or with
// nil, it gets none.
func (c *Child) Offer(g prometheus.Gatherer) {
	c.metering.Lock()
	defer c.metering.Unlock()
	c.metered = g
}

// sayMetrics says the metrics as they are now, later ones later. Who has none
// says so, since the parent may wait.
func (c *Child) sayMetrics() {
	c.metering.Lock()
	defer c.metering.Unlock()
	said := new(bytes.Buffer)
	if c.metered != nil {
		families, _ := c.metered.Gather() // what could be gathered
		encoder := expfmt.NewEncoder(said, wireFormat)
		for _, f := range families {
			_ = encoder.Encode(f) // into memory
		}
	}
	c.say(report{Gathered: true, Metrics: said.Bytes()})
}

// meter keeps what one child said of its metrics.
type meter struct {
	mu    sync.Mutex
	asked chan struct{} // closed by the answer; nil if nothing was asked
	over  bool          // no answer will come
	last  []byte
}

// heard notes an answer.
func (m *meter) heard(metrics []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = metrics
	m.answered()
}

// end notes that the child has ended. What one said that was lost is not in
// the result, and so is shown no more.
func (m *meter) end(lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	if lost {
		m.last = nil
	}
	m.answered()
}

func (m *meter) answered() {
	if m.asked != nil {
		close(m.asked)
		m.asked = nil
	}
}

// ask asks a child, unless it still owes an answer, and returns what is closed
// by that; nil if nothing will come.
func (m *meter) ask(of *hand) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || m.asked != nil {
		return m.asked
	}
	m.asked = make(chan struct{})
	of.tell(command{Gather: true})
	return m.asked
}

func (m *meter) families() (out []*dto.MetricFamily, err error) {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	decoder := expfmt.NewDecoder(bytes.NewReader(last), wireFormat)
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
}

// Gather implements [prometheus.Gatherer]: the metrics of all children, who are
// asked for them now, and of those that have ended in order.
func (c *Crew) Gather() ([]*dto.MetricFamily, error) {
	patience := time.NewTimer(gatherTime)
	defer patience.Stop()
	var awaited []<-chan struct{}
	var all prometheus.Gatherers
	for _, h := range c.hands {
		if answer := h.meter.ask(h); answer != nil {
			awaited = append(awaited, answer)
		}
		all = append(all, prometheus.GathererFunc(h.meter.families))
	}
	for _, answer := range awaited {
		select {
		case <-answer:
		case <-patience.C:
			return all.Gather()
		}
	}
	return all.Gather()
}
