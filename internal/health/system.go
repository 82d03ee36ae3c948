package health

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cgroup"
)

// root is where /proc and /sys are. Where they are not, all is unknown.
var root = os.DirFS("/")

// quota is the CPU quota of the cgroup of this process.
type quota struct {
	cpus float64 // 0: none, or unknown
	Throttling
}

// readQuota looks in the cgroup of the process and those around it for the
// smallest quota.
func readQuota(fsys fs.FS) (q quota) {
	for folder, version := range cgroup.Folders(fsys, "cpu") {
		read := quotaV1
		if version == 2 {
			read = quotaV2
		}
		if found := read(fsys, folder); found.cpus > 0 && (q.cpus == 0 || found.cpus < q.cpus) {
			q = found
		}
	}
	return q
}

func quotaV1(fsys fs.FS, dir string) (q quota) {
	return q.with(fsys, dir, cgroup.Number(fsys, dir+"/cpu.cfs_quota_us"), cgroup.Number(fsys, dir+"/cpu.cfs_period_us"))
}

func quotaV2(fsys fs.FS, dir string) (q quota) {
	data, _ := fs.ReadFile(fsys, dir+"/cpu.max")
	limit, period, _ := strings.Cut(strings.TrimSpace(string(data)), " ") // "max 100000"
	return q.with(fsys, dir, parse(limit), parse(period))
}

func (q quota) with(fsys fs.FS, dir string, limit, period int64) quota {
	if limit <= 0 || period <= 0 {
		return q
	}
	q.cpus = float64(limit) / float64(period)
	data, _ := fs.ReadFile(fsys, dir+"/cpu.stat")
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n := max(0, parse(value))
		switch name {
		case "nr_periods":
			q.Periods = uint64(n)
		case "nr_throttled":
			q.Throttled = uint64(n)
		case "throttled_usec": // version 2
			q.Time = time.Duration(n) * time.Microsecond
		case "throttled_time": // version 1
			q.Time = time.Duration(n)
		}
	}
	return q
}

// parse returns 0 for what is no number.
func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// descriptors are those that are open, and the soft limit.
func descriptors() *Room {
	limit := descriptorLimit()
	info, err := os.Stat("/proc/self/fd")
	if err != nil || limit == 0 {
		return nil
	}
	used := info.Size() // the number of them since Linux 6.2, before that 0
	if used == 0 {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return nil
		}
		used = int64(len(names))
	}
	return &Room{Used: uint64(max(0, used)), Limit: limit}
}

// ports are those of the local range that this process may have taken: no more
// than it has descriptors and this network namespace TCP sockets, and those
// that wait for late packets.
func ports() *Room { return portsIn(root, descriptors()) }

func portsIn(fsys fs.FS, open *Room) *Room {
	data, err := fs.ReadFile(fsys, "proc/sys/net/ipv4/ip_local_port_range")
	ends := strings.Fields(string(data))
	if err != nil || len(ends) != 2 || parse(ends[1]) < parse(ends[0]) || open == nil {
		return nil
	}
	used, waiting := int64(0), int64(0)
	data, err = fs.ReadFile(fsys, "proc/net/sockstat") // "TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1"
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(fields); i += 2 {
			switch fields[i] {
			case "inuse":
				used = parse(fields[i+1])
			case "tw":
				waiting = parse(fields[i+1])
			}
		}
	}
	return &Room{Used: min(uint64(max(0, used)), open.Used) + uint64(max(0, waiting)), Limit: uint64(parse(ends[1]) - parse(ends[0]) + 1)}
}
