package live

import (
	"errors"
	"fmt"
	"os"

	"github.com/charmbracelet/x/term"
	"github.com/muesli/cancelreader"
)

// ctrlC is what the key sends while the terminal does not make a signal of it.
const ctrlC = 0x03

// keyboard reads keys one by one, without echo.
type keyboard struct {
	restore func() error
	reader  cancelreader.CancelReader
	done    chan struct{}
}

// listen takes the keyboard over and calls interrupt for every Ctrl-C, from
// one goroutine; all other keys are dropped. It returns nil if in is not a
// terminal or its keys cannot be read one by one; Ctrl-C is a signal then.
func listen(in *os.File, interrupt func()) (*keyboard, error) {
	if !term.IsTerminal(in.Fd()) {
		return nil, nil
	}
	restore, err := takeOver(in)
	if err != nil || restore == nil {
		return nil, err
	}
	reader, err := cancelreader.NewReader(in)
	if err != nil {
		return nil, errors.Join(err, restore())
	}
	k := &keyboard{restore: restore, reader: reader, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		keys := make([]byte, 64)
		for {
			n, err := reader.Read(keys)
			for _, key := range keys[:n] {
				if key == ctrlC {
					interrupt()
				}
			}
			if err != nil {
				return // cancelled, or the terminal is gone
			}
		}
	}()
	return k, nil
}

// close gives the keyboard back as it was found.
func (k *keyboard) close() error {
	if k == nil {
		return nil
	}
	if k.reader.Cancel() {
		<-k.done
		_ = k.reader.Close() // closes what it opened to be cancelled, not the terminal
	}
	if err := k.restore(); err != nil {
		return fmt.Errorf("live view: restore the terminal (run \"stty sane\"): %w", err)
	}
	return nil
}
