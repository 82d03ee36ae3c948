//go:build !linux

package alarm

import "time"

// bell is never made.
type bell struct{}

func newBell() (*bell, error)   { return nil, nil }
func (*bell) set(time.Duration) {}
func (*bell) wait() bool        { return false }
func (*bell) close()            {}
