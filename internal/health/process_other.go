//go:build !unix

package health

import "time"

func cpuTime() time.Duration  { return 0 } // unknown
func descriptorLimit() uint64 { return 0 } // unknown
