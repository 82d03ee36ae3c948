//go:build !linux

package alarm

import "time"

// Bell is never made.
type Bell struct{}

// NewBell returns nil: there are no bells here.
func NewBell() (*Bell, error) { return nil, nil }

// Set does nothing.
func (*Bell) Set(time.Duration) {}

// Wait does nothing.
func (*Bell) Wait() bool { return false }

// Close does nothing.
func (*Bell) Close() {}
