package cli

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Of warnings and errors that say the same, stormLines are written in a
// stormWindow.
const (
	stormLines  = 10
	stormWindow = time.Second
)

// calm keeps a storm of errors from filling the log: of lines with the same
// message, and the same field "kind" if there is one, it lets a few through a
// second and counts the others. The next line that gets through says how many
// there were in between, in the field "suppressed", and Sync writes what was
// not said yet. Lines below a warning are left alone: nothing repeats there
// that was not asked for.
//
// zap's own sampler counts by message alone, so that a storm of one kind would
// hide another, and it does not say in the log what is missing.
type calm struct {
	zapcore.Core
	storm *storm
}

type storm struct {
	mu    sync.Mutex
	kinds map[stormKey]*gust
}

// stormKey has few values: messages are constants, kinds a closed set.
type stormKey struct {
	level         zapcore.Level
	message, kind string
}

type gust struct {
	begin      time.Time
	written    int // since begin
	suppressed int // since the last line
}

func newCalm(core zapcore.Core) zapcore.Core {
	return &calm{Core: core, storm: &storm{kinds: map[stormKey]*gust{}}}
}

// With implements [zapcore.Core].
func (c *calm) With(fields []zapcore.Field) zapcore.Core {
	return &calm{Core: c.Core.With(fields), storm: c.storm}
}

// Check implements [zapcore.Core].
func (c *calm) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements [zapcore.Core].
func (c *calm) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level < zapcore.WarnLevel || e.Level > zapcore.ErrorLevel {
		return c.Core.Write(e, fields)
	}
	key := stormKey{level: e.Level, message: e.Message}
	for i := range fields {
		if fields[i].Key == "kind" && fields[i].Type == zapcore.StringType {
			key.kind = fields[i].String
			break
		}
	}
	missing, ok := c.storm.pass(key, e.Time)
	if !ok {
		return nil
	}
	if missing > 0 {
		fields = append(fields[:len(fields):len(fields)], zap.Int("suppressed", missing))
	}
	return c.Core.Write(e, fields)
}

// pass reports whether a line may be written, and how many like it were not.
func (s *storm) pass(key stormKey, now time.Time) (missing int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.kinds[key]
	if g == nil {
		g = &gust{begin: now}
		s.kinds[key] = g
	}
	if now.Sub(g.begin) >= stormWindow {
		g.begin, g.written = now, 0
	}
	if g.written == stormLines {
		g.suppressed++
		return 0, false
	}
	g.written++
	missing, g.suppressed = g.suppressed, 0
	return missing, true
}

// Sync implements [zapcore.Core].
func (c *calm) Sync() error {
	c.storm.mu.Lock()
	rest := map[stormKey]int{}
	for key, g := range c.storm.kinds {
		if g.suppressed > 0 {
			rest[key], g.suppressed = g.suppressed, 0
		}
	}
	c.storm.mu.Unlock()
	for key, n := range rest {
		err := c.Core.Write(zapcore.Entry{Level: key.level, Time: time.Now(), Message: "lines were suppressed"},
			[]zapcore.Field{zap.String("of", key.message), zap.String("kind", key.kind), zap.Int("suppressed", n)})
		if err != nil {
			return err
		}
	}
	return c.Core.Sync()
}
