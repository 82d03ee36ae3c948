//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groups is where this machine's control groups (version 1) are.
const groups = "/sys/fs/cgroup"

// slot is the place of one cluster on this machine: a folder, a network
// namespace, addresses and control groups. Whoever holds the lock of its file
// has it; the kernel lets go of the lock when the holder dies, and the next
// one clears what that has left.
type slot struct {
	n    int
	dir  string
	lock *os.File
}

// takeSlot finds a free slot and clears it.
func takeSlot(ctx context.Context, cache string) (*slot, error) {
	const slots = 16 // of which each has addresses
	for n := range slots {
		s := &slot{n: n, dir: filepath.Join(cache, "cluster.state", strconv.Itoa(n))}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, err
		}
		var err error
		if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return nil, err
		}
		err = unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return s, errors.Join(s.clear(ctx), os.RemoveAll(s.logs()), os.MkdirAll(s.logs(), 0o700))
		}
		_ = s.lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", s.lock.Name(), err)
		}
	}
	return nil, fmt.Errorf("%d test clusters run on this machine already; their folders are in %s", slots, filepath.Join(cache, "cluster.state"))
}

func (s *slot) name() string  { return fmt.Sprintf("loadtest-%d", s.n) }
func (s *slot) netns() string { return "/var/run/netns/" + s.name() }
func (s *slot) state() string { return filepath.Join(s.dir, "state") }
func (s *slot) logs() string  { return filepath.Join(s.dir, "log") }
func (s *slot) group(controller string) string {
	return filepath.Join(groups, controller, s.name())
}

// The addresses are of the networks set aside for benchmarks (RFC 2544), which
// are on nobody's way.
func (s *slot) pods() string         { return fmt.Sprintf("198.18.%d.0/24", s.n) }
func (s *slot) gateway() string      { return fmt.Sprintf("198.18.%d.1", s.n) }
func (s *slot) services() string     { return fmt.Sprintf("198.19.%d.0/24", s.n) }
func (s *slot) firstService() string { return fmt.Sprintf("198.19.%d.1", s.n) }
func (s *slot) host() string         { return fmt.Sprintf("198.19.%d.1", 128+s.n) }
func (s *slot) node() string         { return fmt.Sprintf("198.19.%d.2", 128+s.n) }

// furnish makes the folder, the control groups and the network. A cable leads
// from the machine into the namespace, so that tests, the node, pods and
// services reach each other by their addresses.
func (s *slot) furnish(ctx context.Context) error {
	if err := os.MkdirAll(s.state(), 0o700); err != nil {
		return err
	}
	controllers, err := s.controllers()
	if err != nil {
		return err
	}
	for _, c := range controllers {
		if err := os.Mkdir(s.group(c), 0o755); err != nil { // #nosec G301 -- the kernel's
			return err
		}
	}
	// A group without CPUs and memory holds no process.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(groups, "cpuset", file)) // #nosec G304 -- the kernel's
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.group("cpuset"), file), all, 0o600); err != nil { // #nosec G703 -- as above
			return err
		}
	}
	in := []string{"nsenter", "--net=" + s.netns(), "--"}
	for _, line := range []string{
		"ip netns add NAME",
		"ip link add NAME type veth peer name host netns NAME",
		"ip addr add HOST/30 dev NAME",
		"ip link set NAME up",
		"in ip link set lo up",
		"in ip addr add NODE/30 dev host",
		"in ip link set host up",
		"in ip route add default via HOST",
		"in ip link add cni0 type bridge",
		"in ip addr add GATEWAY/24 dev cni0",
		"in ip link set cni0 up",
		"in sysctl -qw net.ipv4.ip_forward=1",
		"ip route add PODS via NODE",
		"ip route add SERVICES via NODE",
	} {
		words := strings.Fields(strings.NewReplacer("NAME", s.name(), "HOST", s.host(), "NODE", s.node(), "GATEWAY", s.gateway(), "PODS", s.pods(), "SERVICES", s.services()).Replace(line))
		if words[0] == "in" {
			words = append(slices.Clone(in), words[1:]...)
		}
		if err := command(ctx, words...); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, words ...string) error {
	if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil { // #nosec G204 -- ours
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

// controllers are the hierarchies of control groups.
func (s *slot) controllers() ([]string, error) {
	entries, err := os.ReadDir(groups)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() { // the others are links to these
			names = append(names, e.Name())
		}
	}
	if !slices.Contains(names, "pids") {
		return nil, fmt.Errorf("%s has no pids: the test cluster needs control groups of version 1", groups)
	}
	return names, nil
}

// clear ends what runs in the slot, daemons, shims and pods, and removes all
// of it but the logs. What was killed has not tidied up, which this does.
func (s *slot) clear(ctx context.Context) error {
	if err := retry(func() error { return killAll(s.group("pids")) }); err != nil {
		return err
	}
	if err := retry(s.unmount); err != nil {
		return err
	}
	for path, remove := range map[string][]string{
		"/sys/class/net/" + s.name(): {"ip", "link", "del", s.name()},
		s.netns():                    {"ip", "netns", "del", s.name()},
	} {
		if _, err := os.Stat(path); err == nil {
			if err := command(ctx, remove...); err != nil {
				return err
			}
		}
	}
	controllers, err := s.controllers()
	if err != nil {
		return err
	}
	for _, c := range controllers {
		if err := retry(func() error { return removeGroup(s.group(c)) }); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.state())
}

// free gives the slot to the next one.
func (s *slot) free(ctx context.Context) error { return errors.Join(s.clear(ctx), s.lock.Close()) }

// retry repeats what depends on the kernel's having ended something.
func retry(f func() error) error {
	const most, pause = 200, 50 * time.Millisecond
	var err error
	for range most {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(pause)
	}
	return err
}

// killAll kills the processes of a control group and those below it, and fails
// as long as there are any.
func killAll(group string) error {
	left := 0
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return gone(err)
		}
		text, err := os.ReadFile(path) // #nosec G304,G122 -- the kernel's
		if err != nil {
			return gone(err)
		}
		for line := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(line)
			if err != nil || pid <= 1 {
				continue // 0 is a process that this namespace does not see
			}
			left++
			_ = unix.Kill(pid, unix.SIGKILL) // it may just have ended
		}
		return nil
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d processes in %s do not end", left, group)
	}
	return err
}

// gone forgives that something is no longer there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func removeGroup(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return gone(err)
	})
	for _, dir := range slices.Backward(dirs) {
		err = errors.Join(err, gone(unix.Rmdir(dir)))
	}
	return err
}

// unmount takes down what is mounted in the slot's folder, and fails as long
// as something is, so that nothing is removed through it.
func (s *slot) unmount() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var left []string
	for line := range strings.Lines(string(mounts)) {
		if point := strings.Fields(line)[1]; strings.HasPrefix(point, s.state()+"/") {
			left = append(left, point)
		}
	}
	for _, point := range slices.Backward(left) {
		_ = unix.Unmount(point, unix.MNT_DETACH) // looked at again
	}
	if len(left) > 0 {
		return fmt.Errorf("still mounted: %s", strings.Join(left, ", "))
	}
	return nil
}
