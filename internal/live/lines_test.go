package live

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lineRun is the sample run in lines, ended after the given time.
func lineRun(t *testing.T, o Options, until time.Duration) string {
	t.Helper()
	var snapshots []Snapshot
	sampleRun(until+poll, func(_ time.Duration, s Snapshot) { snapshots = append(snapshots, s) })
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), until)
		defer cancel()
		start := time.Now()
		o.Out = &out
		o.Snapshot = func() Snapshot { return snapshots[int(time.Since(start)/poll)] }
		if err := Run(ctx, o); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != until {
			t.Errorf("ended after %v, want %v", took, until)
		}
	})
	return out.String()
}

func TestLinesGolden(t *testing.T) {
	golden(t, "lines", strings.TrimSuffix(lineRun(t, Options{Every: 20 * time.Second}, 170*time.Second+poll), "\n"))
}

func TestLinesAreRegularAndPromptOnAPhaseChange(t *testing.T) {
	out := lineRun(t, Options{}, 83*time.Second)
	var at []string
	for l := range strings.Lines(out) {
		if stamp, ok := strings.CutPrefix(l, "at="); ok {
			at = append(at, strings.Fields(stamp)[0])
		}
	}
	want := "00:00 00:05 00:10 00:15 00:20 00:25 00:30 00:35 00:40 00:45 00:50 00:55 01:00 01:05 01:10 01:15 01:20 01:23"
	if got := strings.Join(at, " "); got != want {
		t.Errorf("lines at\n%s, want\n%s", got, want)
	}
	out = lineRun(t, Options{Every: time.Minute}, 100*time.Second)
	for _, want := range []string{"at=00:00 ", "at=01:00 ", "at=01:15 stage=running phase=ramp(2/4) ", "at=01:40 "} {
		if !strings.Contains(out, "\n"+want) {
			t.Errorf("no line %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "\nat="); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, out)
	}
}

func TestLinesSayEveryWarningOnceAndCountingIsNoNewStage(t *testing.T) {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		start := time.Now()
		err := Run(ctx, Options{Out: &out, Snapshot: func() Snapshot {
			n := int(time.Since(start) / time.Second)
			warnings := []string{"first", "second\nin \x1b[2Jtwo lines", "third"}
			return Snapshot{Elapsed: time.Since(start), Stage: "creating tenants " + strings.Repeat("1", n+1) + "/9000", Warnings: warnings[:min(n, 3)]}
		}})
		if err != nil {
			t.Error(err)
		}
	})
	want := `# rates and percentiles are of the last 5s before each line
at=00:00 stage="creating tenants 1/9000" phase=– users=0/0 requests=0 req/s=– tokens/s=– errors=– ttft_p50=– ttft_p95=– e2e_p50=– e2e_p95=– cost=$0.00 left=–
warning: first
warning: second in two lines
warning: third
at=00:04 stage="creating tenants 11111/9000" phase=– users=0/0 requests=0 req/s=0.0 tokens/s=0.0 errors=– ttft_p50=– ttft_p95=– e2e_p50=– e2e_p95=– cost=$0.00 left=–
`
	if out.String() != want {
		t.Errorf("got\n%s, want\n%s", out.String(), want)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestLinesEndWhenNobodyReads(t *testing.T) {
	gone := errors.New("broken pipe")
	if err := Run(t.Context(), Options{Out: failing{gone}, Snapshot: func() Snapshot { return Snapshot{} }}); !errors.Is(err, gone) {
		t.Errorf("error = %v, want %v", err, gone)
	}
}

func TestLogPassesThroughExceptWhileHeld(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out)
	write := func(s string) {
		t.Helper()
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	write("before\n")
	woken := 0
	l.hold(func() { woken++ })
	write("one\ntw")
	write("o\nthr")
	if got := out.String(); got != "before\n" {
		t.Errorf("written while held: %q", got)
	}
	if woken != 2 {
		t.Errorf("woken %d times, want once for each write that ends a line", woken)
	}
	if got, ok := l.take(); !ok || got != "one\ntwo" {
		t.Errorf("take = %q, %v", got, ok)
	}
	if got, ok := l.take(); ok {
		t.Errorf("took %q, which is not a whole line", got)
	}
	l.release()
	write("ee\nafter\n")
	if got := out.String(); got != "before\nthree\nafter\n" {
		t.Errorf("written = %q", got)
	}
}
