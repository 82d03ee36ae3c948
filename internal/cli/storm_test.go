package cli

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

type line struct {
	Level, Msg, Kind, Of, Run string
	TS                        time.Time
	Suppressed                int
}

// logged runs write on a log and returns its lines.
func logged(t *testing.T, debug bool, write func(*zap.Logger)) (lines []line) {
	t.Helper()
	path := filepath.Join(t.TempDir(), logFile)
	log, closer, err := newLog(path, debug, "run-1")
	if err != nil {
		t.Fatal(err)
	}
	write(log)
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil || l.Run != "run-1" {
			t.Fatalf("%v: %s", err, s.Text())
		}
		lines = append(lines, l)
	}
	return lines
}

// TestAStormOfErrors: three seconds of thousands of errors of one kind and few
// of another leave few lines, which account for all of them.
func TestAStormOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const moments = 3000
		lines := logged(t, false, func(log *zap.Logger) {
			for i := range moments {
				log.Warn("request failed", zap.String("kind", "timeout"))
				log.With(zap.Int("more", i)).Warn("request failed", zap.String("kind", "timeout"))
				if i%1000 == 0 {
					log.Warn("request failed", zap.String("kind", "dns"))
					log.Error("request failed", zap.String("kind", "timeout"))
				}
				log.Info("load goes on")
				time.Sleep(time.Millisecond) // virtual
			}
		})
		written, accounted := map[string]int{}, map[string]int{}
		for i, l := range lines {
			name := l.Level + " " + l.Msg + " " + l.Kind
			if l.Of != "" {
				name = l.Level + " " + l.Of + " " + l.Kind
				accounted[name] += l.Suppressed
				continue
			}
			written[name]++
			accounted[name] += 1 + l.Suppressed
			if i > 0 && l.TS.Before(lines[i-1].TS) {
				t.Errorf("line %d is out of order", i)
			}
		}
		for name, want := range map[string][2]int{
			"warn request failed timeout":  {3 * stormLines, 2 * moments},
			"warn request failed dns":      {3, 3},
			"error request failed timeout": {3, 3},
			"info load goes on ":           {moments, moments},
		} {
			if written[name] != want[0] || accounted[name] != want[1] {
				t.Errorf("%s: %d lines account for %d of %v", name, written[name], accounted[name], want)
			}
		}
	})
}

func TestDebugLeavesNothingOut(t *testing.T) {
	lines := logged(t, true, func(log *zap.Logger) {
		for range 100 {
			log.Warn("request failed", zap.String("kind", "timeout"))
			log.Debug("request")
		}
	})
	if len(lines) != 200 {
		t.Errorf("%d lines", len(lines))
	}
}

func BenchmarkSuppressedLine(b *testing.B) {
	log, closer, err := newLog(filepath.Join(b.TempDir(), logFile), false, "run-1")
	if err != nil {
		b.Fatal(err)
	}
	defer closer.Close()
	b.ReportAllocs()
	for b.Loop() {
		log.Warn("request failed", zap.String("kind", "timeout"), zap.String("id", "run-1-3-4"), zap.Int("status", 500))
	}
}
