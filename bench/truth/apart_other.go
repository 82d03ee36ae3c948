//go:build unix && !linux

package main

import "os/exec"

// startApart starts a process where the system likes.
func startApart(cmd *exec.Cmd, _ int) error { return cmd.Start() }
