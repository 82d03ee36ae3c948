package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// ErrBusy is a ledger that another process is at work on.
var ErrBusy = errors.New("another process is at work on this run")

// Claim makes this process the only one that works on the things in a ledger,
// until release is called or the process ends. The error is [ErrBusy] if
// another one does: the run itself, which goes on creating, or a clean-up of it.
func Claim(path string) (release func() error, err error) {
	f, err := os.Open(path) //nolint:gosec // the path is the caller's
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	if lock(f) {
		return f.Close, nil
	}
	err = fmt.Errorf("%w; wait for it, or end it", ErrBusy)
	var h Header
	if line, readErr := bufio.NewReader(f).ReadBytes('\n'); readErr == nil && json.Unmarshal(line, &h) == nil && h.PID != 0 {
		err = fmt.Errorf("%w: it was started as process %d, and has not ended or is being cleaned up; wait for it, or end it", ErrBusy, h.PID)
	}
	return nil, errors.Join(err, f.Close())
}
