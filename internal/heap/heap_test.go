package heap

import (
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"testing/fstest"
)

func TestPercent(t *testing.T) {
	for alive, want := range map[uint64]int{0: 100, 32 << 20: 100, 48 << 20: 66, 64 << 20: 50, 1 << 30: 50, 1 << 40: 50} {
		if got := percent(alive); got != want {
			t.Errorf("with %d MiB alive GOGC is %d, want %d", alive>>20, got, want)
		}
	}
}

// TestGovern has much alive, of which the system provides nothing, and then not.
func TestGovern(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("the environment sets GOGC, which is left alone")
	}
	Govern(1)
	inForce := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	await := func(what string, fits func(uint64) bool) {
		for {
			if metrics.Read(inForce); fits(inForce[0].Value.Uint64()) {
				return
			}
			if t.Context().Err() != nil {
				t.Fatalf("%s: GOGC stays %d", what, inForce[0].Value.Uint64())
			}
			runtime.GC() // after which the finalizer runs, some time
		}
	}
	large := make([]byte, 256<<20)
	await("with 256 MiB alive", func(p uint64) bool { return p == least })
	runtime.KeepAlive(large)
	await("with little alive", func(p uint64) bool { return p > 75 })
}

func TestLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const pod, group = "sys/fs/cgroup/pods/pod", "sys/fs/cgroup/pods"
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"no groups", fstest.MapFS{}, 0},
		{"no limit", fstest.MapFS{"proc/self/cgroup": file("0::/pods/pod\n"), pod + "/memory.max": file("max\n")}, 0},
		{"one around it", fstest.MapFS{"proc/self/cgroup": file("0::/pods/pod\n"), pod + "/memory.max": file("max\n"), group + "/memory.max": file("1073741824\n")}, 1 << 30},
		{"the least", fstest.MapFS{"proc/self/cgroup": file("0::/pods/pod\n"), pod + "/memory.max": file("1048576\n"), group + "/memory.max": file("1073741824\n")}, 1 << 20},
		{"a container's own", fstest.MapFS{"proc/self/cgroup": file("0::/of/the/host\n"), "sys/fs/cgroup/memory.max": file("1048576\n")}, 1 << 20},
		{"version 1", fstest.MapFS{"proc/self/cgroup": file("5:memory:/pod\n4:cpu,cpuacct:/pod\n"), "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": file("1048576\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 1 << 20},
		{"version 1 without", fstest.MapFS{"proc/self/cgroup": file("5:memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 0},
	} {
		if got := limit(c.files); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
