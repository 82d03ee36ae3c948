package jobs

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// Wanted is what a scenario says about how many workers it has.
type Wanted struct {
	Replicas       int // as asked for; 0: by the users
	Users          int // at most, of all organizations
	UsersPerWorker int
	// Most is how many workers the scenario can be shared out to, and Each what
	// each of them needs one of: "organization" or "user".
	Most int
	Each string
}

// Workers says how many workers a run has, and in a sentence why, where that is
// not what was asked for.
func (w Wanted) Workers() (n int, remark string) {
	n = w.Replicas
	if n <= 0 {
		n = max(1, (w.Users+w.UsersPerWorker-1)/max(1, w.UsersPerWorker))
		remark = fmt.Sprintf("%s for up to %s, %d each (spec.workers.usersPerWorker)", human.Plural(n, "worker"), human.Plural(w.Users, "user"), w.UsersPerWorker)
	}
	if most := max(1, w.Most); n > most {
		remark = fmt.Sprintf("%s and no more: each needs at least one %s, and there are %d; %d had been asked for by spec.workers", human.Plural(most, "worker"), w.Each, w.Most, n)
		n = most
	}
	return n, remark
}

// What a process takes, by docs/load-testing/performance-tuning.md: its memory
// with few users, and what a user who thinks for a second and reads a stream
// adds; CPU of a user who asks every second for 55 events is 1.4 ms a second,
// twice that is planned with.
const (
	processBytes = 64 << 20
	userBytes    = (40 + 29) << 10
	baseMilliCPU = 100
	userMilliCPU = 3
)

// Size is what a worker with so many users asks for where the scenario does not
// say: memory is doubled and rounded, and is its limit too, since a worker that
// pushes others out measures nothing; CPU has no limit, since a quota stops the
// process for the rest of every 100 ms in which it is used up.
func Size(users int) Resources {
	const step = 64 << 20
	memory := max(256<<20, 2*(processBytes+int64(users)*userBytes))
	memory = (memory + step - 1) / step * step
	bytes := *resource.NewQuantity(memory, resource.BinarySI)
	return Resources{
		CPU:    *resource.NewMilliQuantity(baseMilliCPU+int64(users)*userMilliCPU, resource.DecimalSI),
		Memory: bytes, MemoryLimit: bytes,
	}
}
