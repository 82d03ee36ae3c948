package report_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report/reporttest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var terminalFiles = []string{"results/20260303-140211-7f3a/result.json", "results/20260303-140211-7f3a/report.html"}

// terminalCases are runs that ended in different ways.
var terminalCases = []struct {
	name   string
	opts   report.TerminalOptions
	bundle func() *export.Bundle
}{
	{"passed", report.TerminalOptions{Width: 80, Files: terminalFiles, CostLimitMicroUSD: 10_000_000}, quiet},
	{"color", report.TerminalOptions{Width: 80, Color: true, Files: terminalFiles, CostLimitMicroUSD: 1_000_000}, troubled},
	{"failed", report.TerminalOptions{Width: 80, Files: terminalFiles, CostLimitMicroUSD: 1_000_000}, troubled},
	{"wide", report.TerminalOptions{Width: 120, Files: terminalFiles}, troubled},
	{"narrow", report.TerminalOptions{Width: 60}, troubled},
	{"many", report.TerminalOptions{}, crowded},
	{"unknown", report.TerminalOptions{Width: 80}, unpriced},
	{"open", report.TerminalOptions{Width: 80}, openLoad},
	{"limited", report.TerminalOptions{Width: 80}, limited},
	{"broken", report.TerminalOptions{Width: 80}, func() *export.Bundle {
		return &export.Bundle{
			Run:       export.Run{ID: "r1", Scenario: "tenants-chat"},
			Verdict:   verdict.Judge(verdict.Input{Broken: "could not create organization 1: the platform answered 401"}),
			Stop:      export.Stop{Reason: "broken"},
			Bootstrap: &export.Bootstrap{},
		}
	}},
}

func quiet() *export.Bundle {
	return reporttest.Load{Orgs: []string{"acme"}, Users: 6, Scale: 0.5, Streams: 1}.Bundle()
}

func openLoad() *export.Bundle {
	b := reporttest.Load{Orgs: []string{"acme", "globex"}, Users: 6, Scale: 0.5, Streams: 1}.Bundle()
	for i := range b.Phases {
		b.Phases[i].TargetUsers = 0
		b.Phases[i].Arrivals = &export.Arrivals{Intended: 5000, Dropped: uint64(10 * i)}
	}
	b.Headline.Arrivals = export.MeasuredArrivals(b.Phases)
	b.Orgs[0].Arrivals = &export.Arrivals{Intended: 10_000}
	b.Orgs[1].Arrivals = &export.Arrivals{Intended: 10_000, Dropped: 60}
	b.Verdict.Reasons = append(b.Verdict.Reasons, "under less load than was asked for: 60 of 20000 arrivals (0.30%) could not start")
	return b
}

// limited is a run in which the load generator had too little CPU.
func limited() *export.Bundle {
	b := quiet()
	b.Headline.Users = &export.UserLoad{Intended: 6, Delivered: 5.5}
	o := &health.Observations{
		Duration: b.Run.Duration, CPUs: 1, CPUTime: b.Run.Duration * 9 / 10, Throttled: &health.Throttling{Periods: 1400, Throttled: 700, Time: time.Minute},
		Descriptors: &health.Room{Used: 31, Limit: 1024}, Ports: &health.Room{Used: 40, Limit: 28232},
	}
	o.ReadLag.RecordN(5*time.Millisecond, 900)
	o.ReadLag.RecordN(80*time.Millisecond, 100)
	b.Generator = &export.Generator{Observed: o, Judgement: health.Judge(health.Evidence{Observations: o, Latency: &b.Summary.Overall().Latency})}
	b.Quality = export.NewQuality(b, nil)
	b.Verdict = verdict.Judge(verdict.Input{Overall: b.Summary.Overall(), Generator: b.Generator.Reasons})
	return b
}

func crowded() *export.Bundle {
	l := reporttest.Load{Users: 48, Scale: 0.5, Streams: 1, Burst: true}
	for i := range 12 {
		l.Orgs = append(l.Orgs, fmt.Sprintf("org-%d", i+1))
	}
	return l.Bundle()
}

// troubled is a run over three orgs with something to say in every section.
func troubled() *export.Bundle {
	b := reporttest.Sample()
	b.Stop = export.Stop{Reason: "limit", Detail: "cost limit of $1.00 reached"}
	b.Verdict.Reasons = append(b.Verdict.Reasons, "stopped early: cost limit of $1.00 reached")
	b.Warnings = append(b.Warnings, "A message from \x1b[2Joutside\r\nthat tries to steer the terminal.")
	b.Cleanup = &export.Cleanup{Status: "incomplete", DeletedUsers: 8, RevokedKeys: 12, Suspended: 3, Remaining: 1, Notes: []string{"DELETE initech timed out"}}
	return b
}

// unpriced is a run without streams, usage and prices: little is known.
func unpriced() *export.Bundle {
	c := stats.NewCollector(stats.Objective{})
	for i := range 9 {
		c.Add(&record.Record{Org: "a", UserIndex: i, Measured: true, Final: true, Endpoint: "chat", Done: 1e9})
	}
	b := &export.Bundle{Run: export.Run{ID: "r2", Scenario: "no-stream", Duration: 9e9, MeasuredDuration: 9e9}, Summary: c.Summary(), Stop: export.Stop{Reason: "interrupted"}}
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
	b.Verdict = verdict.Judge(verdict.Input{Overall: b.Summary.Overall(), Interrupted: true, Thresholds: []verdict.Threshold{{Metric: verdict.TTFT, Quantile: 0.5, Latency: 1e9}}})
	return b
}

func TestTerminalGolden(t *testing.T) {
	for _, c := range terminalCases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := report.Terminal(&out, c.bundle(), c.opts); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "terminal-"+c.name+".golden")
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("differs from %s; look, then run with -update\n%s", file, out.String())
			}
		})
	}
}

func TestTerminalFitsAndStaysPlain(t *testing.T) {
	for _, c := range terminalCases {
		var painted, plain bytes.Buffer
		b := c.bundle()
		for width := 60; width <= 200; width += 10 {
			o := c.opts
			o.Width = width
			for _, o.Color = range []bool{true, false} {
				out := &plain
				if o.Color {
					out = &painted
				}
				out.Reset()
				if err := report.Terminal(out, b, o); err != nil {
					t.Fatal(err)
				}
			}
			if strings.ContainsRune(plain.String(), '\x1b') {
				t.Errorf("%s: escape sequences without colour", c.name)
			}
			if ansi.Strip(painted.String()) != plain.String() {
				t.Errorf("%s at %d columns: colour changes the text", c.name, width)
			}
			for line := range strings.Lines(plain.String()) {
				if n := ansi.StringWidth(strings.TrimSuffix(line, "\n")); n > width && !strings.Contains(line, "results/") {
					t.Errorf("%s: a line of %d columns on %d: %q", c.name, n, width, line)
				}
			}
		}
	}
}

type full struct{ error }

func (f full) Write([]byte) (int, error) { return 0, f.error }

func TestTerminalReturnsTheWritersError(t *testing.T) {
	want := errors.New("no space left")
	if err := report.Terminal(full{want}, quiet(), report.TerminalOptions{}); !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
}
