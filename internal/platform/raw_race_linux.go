//go:build race

package platform

// heard tells the race detector, by reading nothing, that a message was taken
// from whoever wrote.
func heard(fd uintptr) { _, _ = rawRead(fd, nil) }
