package cli

import (
	"errors"
	"io"
	"os"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLog returns a structured log in a file of its own: a line of JSON an
// event, with constant messages and fields. Without debug, repeated warnings
// are thinned out; see [calm]. Closing it returns why it is not complete, if it
// is not.
func newLog(path string, debug bool, runID string) (*zap.Logger, io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // in the run's own folder
	if err != nil {
		return nil, nil, err
	}
	file := &logWriter{File: f}
	log := logTo(file, debug, runID)
	file.before = func() { _ = log.Core().Sync() } // whose failure is the file's own
	return log, file, nil
}

// logTo returns a structured log; what it is written to keeps its own failures.
func logTo(out zapcore.WriteSyncer, debug bool, runID string) *zap.Logger {
	level := zapcore.InfoLevel
	if debug {
		level = zapcore.DebugLevel
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeDuration = zapcore.StringDurationEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoder), out, level)
	if !debug {
		core = newCalm(core)
	}
	// What cannot be written is told once, at the end, and not line by line
	// across the live view.
	return zap.New(core, zap.ErrorOutput(zapcore.AddSync(io.Discard))).With(zap.String("run", runID))
}

// logWriter remembers the first failure.
type logWriter struct {
	*os.File
	before func() // writes what is left
	mu     sync.Mutex
	failed error
}

// Write implements io.Writer.
func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.File.Write(b)
	if w.failed == nil {
		w.failed = err
	}
	return n, err
}

// Close implements io.Closer.
func (w *logWriter) Close() error {
	w.before()
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.failed, w.File.Close())
}
