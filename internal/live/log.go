package live

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Log is a writer for log lines that share the terminal with the view. While
// a view is drawn, whole lines appear above it; else all goes straight to the
// writer below. It is safe for concurrent use.
type Log struct {
	w io.Writer

	mu      sync.Mutex
	held    []byte // not yet on the screen
	holding bool
	wake    func()
}

// NewLog returns a Log over w, which is on the same terminal as the view or
// anywhere else.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// Write implements io.Writer. While a view is drawn it never fails.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.holding {
		return l.w.Write(b)
	}
	l.held = append(l.held, b...)
	if l.wake != nil && bytes.IndexByte(b, '\n') >= 0 {
		l.wake()
	}
	return len(b), nil
}

// hold keeps lines back until they are taken; wake is called when there are some.
func (l *Log) hold(wake func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding, l.wake = true, wake
}

// take returns the whole lines held back, without the last line's end.
func (l *Log) take() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := bytes.LastIndexByte(l.held, '\n')
	if end < 0 {
		return "", false
	}
	lines := strings.ReplaceAll(string(l.held[:end]), "\r", "")
	l.held = append([]byte(nil), l.held[end+1:]...)
	return lines, true
}

// release lets lines through again, first those held back.
func (l *Log) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding, l.wake = false, nil
	if len(l.held) > 0 {
		_, _ = l.w.Write(l.held) // a log has nobody to tell
		l.held = nil
	}
}
