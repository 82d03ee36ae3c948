package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
)

// notice is how long before the load begins all children are told when, so that
// even the last one hears of it in time.
const notice = 250 * time.Millisecond

// Link is the parent's end of what connects it with a child.
type Link struct {
	To   io.WriteCloser // the child's standard input
	From io.Reader      // its standard output
	Wait func() error   // how it ended, once From has
}

// Spawn starts a child.
func Spawn(cmd *exec.Cmd) (Link, error) {
	to, err := cmd.StdinPipe()
	if err != nil {
		return Link{}, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return Link{}, err
	}
	return Link{To: to, From: from, Wait: cmd.Wait}, cmd.Start()
}

// Crew is the children, as the parent sees them.
type Crew struct {
	hands []*hand
	heard chan heard
	tally *live.Tally
}

// hand is one child.
type hand struct {
	Link
	meter    meter
	mu       sync.Mutex // guards out
	out      *json.Encoder
	ready    bool
	document *export.Bundle
	failed   string // why there is no document
	over     bool
}

// heard is what a child said, or that it has ended.
type heard struct {
	worker int
	report
	over error // nil: it goes on
}

// errEnded is how a child ends that nothing happened to.
var errEnded = errors.New("it ended without a result")

// NewCrew gives every child its order. Their places are the indexes of the
// workers.
func NewCrew(links []Link, orders []Order) *Crew {
	c := &Crew{heard: make(chan heard), tally: live.NewTally(len(links))}
	for _, l := range links {
		h := &hand{Link: l, out: json.NewEncoder(l.To)}
		h.mu.Lock() // the order is the first thing said
		c.hands = append(c.hands, h)
	}
	for i := range links {
		go c.listen(i, orders[i])
	}
	return c
}

// listen gives the order and passes on what the child says until it ends. A
// child that cannot be told anything is heard to have ended.
func (c *Crew) listen(worker int, order Order) {
	h := c.hands[worker]
	_ = h.out.Encode(order) // who cannot be told has ended, which is heard
	h.mu.Unlock()
	in := json.NewDecoder(h.From)
	lost := true
	for {
		var said report
		if err := in.Decode(&said); err != nil {
			over := h.Wait()
			if over == nil && !errors.Is(err, io.EOF) {
				over = fmt.Errorf("it said something that is not understood: %w", err)
			}
			if over == nil {
				over = errEnded
			}
			c.tally.Gone(worker)
			h.meter.end(lost)
			c.heard <- heard{worker: worker, over: over}
			return
		}
		if s := said.Snapshot; s != nil {
			c.tally.Note(worker, *s)
			continue
		}
		if said.Gathered {
			h.meter.heard(said.Metrics)
			continue
		}
		lost = lost && said.Document == nil
		c.heard <- heard{worker: worker, report: said}
	}
}

// Run sees the children through the run: all begin at one moment, when all are
// ready. If one fails before that, or ctx is cancelled, all are told to stop;
// one that dies later is lost, and the others go on. Run returns when all have
// ended.
func (c *Crew) Run(ctx context.Context) (documents []*export.Bundle, lost []export.Lost) {
	started, stopped := false, false
	tell := func(what command) {
		for _, h := range c.hands {
			if !h.over {
				h.tell(what)
			}
		}
	}
	interrupted := ctx.Done()
	for slices.ContainsFunc(c.hands, func(h *hand) bool { return !h.over }) {
		select {
		case <-interrupted:
			interrupted, stopped = nil, true
			tell(command{Stop: true})
			continue
		case said := <-c.heard:
			c.hands[said.worker].hear(said)
		}
		if started || stopped {
			continue
		}
		switch c.before() {
		case failed:
			stopped = true
			tell(command{Stop: true})
		case ready:
			started = true
			at := time.Now().Add(notice).UTC()
			tell(command{Start: &at})
		case waiting:
		}
	}
	for i, h := range c.hands {
		if h.document != nil {
			documents = append(documents, h.document)
			continue
		}
		lost = append(lost, export.Lost{Worker: i, Reason: h.failed, Requests: c.tally.Totals(i).Requests})
	}
	return documents, lost
}

// tell says something to a child. One that cannot be told has ended, which is heard.
func (h *hand) tell(what any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.out.Encode(what) // as above
}

func (h *hand) hear(said heard) {
	switch {
	case said.Ready:
		h.ready = true
	case said.Failed != "":
		h.failed = said.Failed
	case said.Document != nil:
		document, err := export.Decode(said.Document)
		if err != nil {
			h.failed = err.Error()
			return
		}
		h.document = document
	case said.over != nil:
		h.over = true
		if h.failed == "" {
			h.failed = said.over.Error()
		}
		_ = h.To.Close() // nobody reads from it
	}
}

// state is how it stands before the load.
type state int

const (
	waiting state = iota
	ready         // all are, but for those who had nothing to do
	failed
)

func (c *Crew) before() state {
	if slices.ContainsFunc(c.hands, func(h *hand) bool {
		return h.over && (h.document == nil || h.document.Stop.Reason == "broken" || h.document.Stop.Reason == "interrupted")
	}) {
		return failed
	}
	if slices.ContainsFunc(c.hands, func(h *hand) bool { return !h.over && !h.ready }) {
		return waiting
	}
	return ready
}

// Age is how long ago the loop of a child last went round, as far as is known; of
// all that are expected to the longest, if any are.
func (c *Crew) Age() (age time.Duration, expected bool) {
	oldest := c.tally.Beat()
	if oldest.IsZero() {
		return 0, false
	}
	return time.Since(oldest), true
}

// Snapshot is the sum of what all children said last.
func (c *Crew) Snapshot() live.Snapshot { return c.tally.Snapshot() }
