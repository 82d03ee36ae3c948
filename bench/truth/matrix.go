//go:build unix

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/bench/truthlog"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// cell is one platform and one load.
type cell struct {
	Name      string
	TTFT, ITL time.Duration // of a question alone; ITL is between chunks
	Tokens    int           // of an answer
	PerChunk  int
	// FirstAlone gives the first token an event of its own, so that TTFT is one
	// of the engine's steps, however long the time between events.
	FirstAlone bool
	Quirks     platformsim.Quirks
	TLS        bool
	HTTP2      bool

	Models   int // each with an engine of its own; 0 means 1
	Users    int
	Think    time.Duration // at most, from 0
	Arrivals float64       // a second; 0: closed load
	Duration time.Duration
	Quick    bool   // also with -quick
	Truth    string // file of the log
	// Bar is what the 99th percentile of TTFT's error may be; 0: no promise.
	Bar time.Duration
}

// matrix is one cell in the middle, and others that differ from it in one
// respect each, from one end of its range to the other.
func matrix() (cells []cell) {
	duration := *length
	if *quick {
		duration = min(duration, 5*time.Second)
	}
	add := func(name string, quick bool, change func(*cell)) {
		c := cell{Name: name, TTFT: 5 * time.Millisecond, ITL: 10 * time.Millisecond, Tokens: 32, PerChunk: 1,
			Users: 40, Think: 500 * time.Millisecond, Duration: duration, Quick: quick}
		change(&c)
		cells = append(cells, c)
	}
	add("middle: TTFT 5 ms, ITL 10 ms, 40 users", true, func(*cell) {})
	for _, d := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second} {
		add("TTFT "+d.String(), false, func(c *cell) {
			c.TTFT, c.Users, c.Duration = d, 8, max(duration, 8*d)
		})
	}
	for _, d := range []time.Duration{200 * time.Microsecond, time.Millisecond, 100 * time.Millisecond} {
		add("ITL "+d.String(), d == time.Millisecond, func(c *cell) { c.ITL, c.Users = d, 20 })
	}
	for _, n := range []int{4, 16, 64} {
		add(fmt.Sprintf("%d tokens a chunk", n), n == 16, func(c *cell) { c.PerChunk, c.Tokens = n, 4*n+1 })
	}
	add("chunks split at every byte", true, func(c *cell) { c.Quirks.StreamSplits = true })
	add("keep-alive comments", false, func(c *cell) { c.Quirks.StreamComments = true })
	add("CR LF", false, func(c *cell) { c.Quirks.StreamCRLF = true })
	add("split, with comments and CR LF", true, func(c *cell) {
		c.Quirks.StreamSplits, c.Quirks.StreamComments, c.Quirks.StreamCRLF = true, true, true
	})
	add("no usage", true, func(c *cell) { c.Quirks.NoStreamUsage = true })
	for _, n := range []int{1, 100, 500} {
		add(fmt.Sprintf("%d users", n), false, func(c *cell) {
			c.Users = n
			if n > 100 {
				c.ITL = 100 * time.Millisecond
			}
		})
	}
	add("5000 streams, ITL 1s", false, func(c *cell) {
		c.Users, c.ITL, c.Tokens, c.TTFT, c.Think, c.Duration = 5000, time.Second, 10, 0, 10*time.Second, max(duration, 20*time.Second)
	})
	// Of several models, whose steps do not come at one moment. A step takes 40 ms
	// and writes to a 25th of the streams.
	add("10000 streams of 8 models, an event a second", false, func(c *cell) {
		c.Users, c.Models, c.ITL, c.Tokens, c.PerChunk, c.FirstAlone, c.TTFT = 10_500, 8, time.Second, 501, 25, true, 0
		c.Think, c.Duration = 2*time.Second, max(duration, 40*time.Second)
		c.Bar = 5 * time.Millisecond
	})
	// As much as the platform and the tool can do side by side on two cores.
	add("busy: 600 users, 200 tokens", false, func(c *cell) {
		c.Users, c.ITL, c.Tokens, c.Think = 600, 10*time.Millisecond, 200, 200*time.Millisecond
	})
	// About half of two cores, in all, of models that each write to some 20 streams
	// at a time.
	add("half of the CPU: 500 users of 32 models, 200 tokens", false, func(c *cell) {
		c.Users, c.Models, c.ITL, c.Tokens, c.Think = 500, 32, 10*time.Millisecond, 200, 200*time.Millisecond
		c.Bar = time.Millisecond
	})
	add("open, 30 arrivals/s", true, func(c *cell) { c.Arrivals = 30 })
	add("open, 200 arrivals/s of 8 tokens", false, func(c *cell) { c.Arrivals, c.Tokens = 200, 8 })
	add("TLS, HTTP/1.1", false, func(c *cell) { c.TLS = true })
	add("TLS, HTTP/2", true, func(c *cell) { c.TLS, c.HTTP2 = true, true })
	add("TLS, HTTP/2, open", false, func(c *cell) { c.TLS, c.HTTP2, c.Arrivals = true, true, 30 })
	add("TLS, HTTP/2, split, with comments and CR LF, 16 tokens a chunk", false, func(c *cell) {
		c.TLS, c.HTTP2, c.PerChunk, c.Tokens = true, true, 16, 65
		c.Quirks.StreamSplits, c.Quirks.StreamComments, c.Quirks.StreamCRLF = true, true, true
	})
	return cells
}

// outcome is what came of a cell.
type outcome struct {
	result   *export.Bundle
	requests []truthlog.Request
	log      []platformsim.Entry
	busy     float64 // the share of the machine's CPUs that the tool and the platform had during the load, 0 to 1
	memory   int64   // what the tool had of it at most, in bytes
}

const eachHead = `
Each request, ours minus the truth, in µs: the median, and the 99th percentile and the greatest by size. Those that had to connect count
in ITL alone: the log does not know how long that took.

| cell | requests | connected | tokens | token error | TTFT p50, p99, max | the same since sent | ITL p50, p99, max | e2e p50, p99, max | CPU | memory |
|---|---|---|---|---|---|---|---|---|---|---|`

const percentilesHead = `
Percentiles of the result minus those of the log, in µs, of the truth in ms.

| cell | TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | e2e p50 | e2e p99 | rounding |
|---|---|---|---|---|---|---|---|`

// compare prints the cell's line, and returns that of its percentiles and, if
// there is a bar, what became of it. Its error says what had to be equal and was
// not.
func (c cell) compare(o outcome) (percentiles, bar string, err error) {
	overall := o.result.Summary.Overall()
	var requests, tokens, prompt, chunks int64
	for _, e := range o.log {
		requests++
		tokens += int64(e.CompletionTokens)
		prompt += int64(e.PromptTokens)
		chunks += int64(len(e.Chunks))
	}
	all := overall.All
	if all.Succeeded != all.Requests { // those that never arrived cannot be equal
		return "", "", fmt.Errorf("%d of %d requests did not succeed: the machine is too busy for this cell", all.Requests-all.Succeeded, all.Requests)
	}
	wrong := int64(all.CompletionTokens) - tokens
	var errs []error
	equal := func(what string, ours, theirs int64) {
		if ours != theirs {
			errs = append(errs, fmt.Errorf("%s: %d, in truth %d", what, ours, theirs))
		}
	}
	equal("requests", int64(all.Requests), requests)
	equal("requests one by one", int64(len(o.requests)), requests)
	equal("chunks", int64(all.Chunks), chunks)
	exact := fmt.Sprint(wrong)
	if c.Quirks.NoStreamUsage {
		// What the platform does not say is unknown. It must not be guessed.
		equal("answers without usage", int64(all.UsageUnknown), int64(all.Streams))
		exact = "not told"
	} else {
		equal("completion tokens", int64(all.CompletionTokens), tokens)
		equal("prompt tokens", int64(all.PromptTokens), prompt)
	}
	each, err := truthlog.Match(o.log, o.requests)
	if err != nil {
		return "", "", errors.Join(append(errs, err)...)
	}
	name := c.Name
	if o.result.Verdict.GeneratorLimited {
		name += " !"
	}
	line := fmt.Sprintf("| %s | %d | %d | %d | %s |", name, requests, each.Connected, tokens, exact)
	for _, list := range [][]time.Duration{each.TTFT, each.SinceSent, each.ITL, each.E2E} {
		p50, p99, most := truthlog.Spread(list)
		rare := "–"
		if uint64(len(list)) >= stats.Enough(0.99) {
			rare = fmt.Sprint(p99.Microseconds())
		}
		line += fmt.Sprintf(" %+d, %s, %d |", p50.Microseconds(), rare, most.Microseconds())
	}
	fmt.Printf("%s %.0f%% | %d MiB |\n", line, 100*o.busy, o.memory>>20)

	percentiles = "| " + name + " |"
	rounding := 0.0
	metrics := truthlog.Metrics(o.log, &overall.Latency)
	for _, i := range []int{0, 2, 1} { // TTFT, ITL, e2e
		m := metrics[i]
		equal(m.Name+" values", int64(m.Ours.Count()), int64(len(m.Truth)))
		rounding = max(rounding, m.Rounding())
		for _, q := range []float64{0.50, 0.99} {
			if _, known := m.Ours.Known(q); !known {
				percentiles += " – |"
				continue
			}
			ours, truth := m.Quantile(q)
			percentiles += fmt.Sprintf(" %+d of %.1f |", (ours - truth).Microseconds(), float64(truth)/1e6)
		}
	}
	percentiles += fmt.Sprintf(" %.2f%% |", 100*rounding)
	if rounding > 0.01 {
		errs = append(errs, fmt.Errorf("a percentile of the histogram is %.2f%% off the exact one", 100*rounding))
	}
	if c.Bar > 0 {
		_, p99, _ := truthlog.Spread(each.TTFT)
		_, sent, _ := truthlog.Spread(each.SinceSent)
		result := "MISS"
		if p99 <= c.Bar {
			result = "pass"
		}
		bar = fmt.Sprintf("- %s: TTFT error p99 %v (since sent %v) at %.0f%% CPU, wanted at most %v: %s", c.Name,
			p99.Round(time.Microsecond), sent.Round(time.Microsecond), 100*o.busy, c.Bar, result)
	}
	return percentiles, bar, errors.Join(errs...)
}
