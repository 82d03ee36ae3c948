//go:build !unix || aix || illumos

package live

import "os"

// takeOver leaves the keyboard alone: here Ctrl-C reaches the caller as
// os.Interrupt whether or not a view is drawn.
func takeOver(*os.File) (restore func() error, err error) { return nil, nil }

func foreground(*os.File) bool { return true }
