package main

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startApart starts a process on every other CPU of this machine's, from the
// first or from the second: tool and platform are to measure themselves, and
// not how they take turns. On a machine with one CPU they share it.
func startApart(cmd *exec.Cmd, from int) error {
	var all, half unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("ask for this machine's CPUs: %w", err)
	}
	for n, cpu := 0, 0; n < all.Count(); cpu++ {
		if all.IsSet(cpu) {
			if n%2 == from {
				half.Set(cpu)
			}
			n++
		}
	}
	if half.Count() == 0 {
		return cmd.Start()
	}
	// A process inherits from the thread that starts it, which must do nothing else.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &half); err != nil {
		return fmt.Errorf("keep to some CPUs: %w", err)
	}
	defer unix.SchedSetaffinity(0, &all) //nolint:errcheck // it was let before
	return cmd.Start()
}
