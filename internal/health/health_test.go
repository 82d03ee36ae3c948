package health

import (
	"errors"
	"math"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

const ms = time.Millisecond

// of is a histogram of a thousand values: half, up to p95, up to p99 and beyond.
func of(p50, p95, p99 time.Duration) (h stats.Histogram) {
	h.RecordN(p50, 500)
	h.RecordN(p95, 450)
	h.RecordN(p99, 45)
	h.RecordN(p99, 5)
	return h
}

func flat(d time.Duration) stats.Histogram { return of(d, d, d) }

// evidence is a minute of a healthy generator.
func evidence() Evidence {
	return Evidence{
		Observations: &Observations{
			Duration: time.Minute, CPUs: 2, CPUTime: 12 * time.Second,
			ReadLag: of(ms/10, ms/5, ms/2), Scheduling: of(ms/1000, ms/100, ms/20), Pauses: flat(ms / 20),
			Descriptors: &Room{60, 1024}, Ports: &Room{50, 28232},
		},
		Latency: &stats.Latencies{
			TTFT: of(30*ms, 60*ms, 90*ms), ITL: of(6*ms, 9*ms, 20*ms), E2E: of(400*ms, 700*ms, 900*ms), SendLag: of(ms/10, ms/5, ms/2),
		},
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Evidence)
		says   string // "" if nothing is to be said
		marks  string
	}{
		{"left alone", func(*Evidence) {}, "", ""},
		{"nothing observed", func(e *Evidence) { e.Observations = nil }, "", ""},
		{"nothing measured", func(e *Evidence) { e.Latency = nil }, "", ""},
		{"late, but the platform is slower", func(e *Evidence) {
			e.Latency.SendLag, e.Latency.TTFT, e.Latency.E2E = flat(9*ms), flat(time.Second), flat(time.Second)
		}, "", ""},
		{"a fast platform and less than a millisecond", func(e *Evidence) { e.Latency.TTFT, e.Latency.E2E, e.Latency.ITL = flat(ms), flat(2*ms), flat(ms) }, "", ""},
		{"too few values to have a p99", func(e *Evidence) {
			e.Observations.ReadLag = of(ms/10, ms/5, 50*ms)
			var h stats.Histogram
			h.RecordN(ms, 300)
			e.Latency.TTFT, e.Latency.E2E, e.Latency.ITL = h, h, h
		}, "", ""},
		{"no CPU left", func(e *Evidence) {
			e.Observations.CPUTime, e.Observations.ReadLag = 117*time.Second, of(ms, 8*ms, 30*ms)
		}, "CPU: it used 1.95 of 2.00 CPUs; give it more CPU", "ttft p0.95 ttft p0.99 itl p0.5 itl p0.95 itl p0.99"},
		{"no CPU left, beside the platform", func(e *Evidence) {
			e.Embedded, e.Observations.CPUTime, e.Observations.ReadLag = true, 117*time.Second, of(ms/10, ms/5, 30*ms)
		}, "loadtest platform", "ttft p0.99 itl p0.99"},
		{"throttled", func(e *Evidence) {
			e.Observations.CPUs, e.Observations.CPUTime = 0.5, 29*time.Second
			e.Observations.Throttled = &Throttling{Periods: 600, Throttled: 300, Time: 20 * time.Second}
			e.Observations.ReadLag = of(ms/10, 20*ms, 60*ms)
		}, "its cgroup ran out of CPU quota in 50.0% of the periods", "ttft p0.95 ttft p0.99 itl p0.95 itl p0.99"},
		{"a noisy neighbour", func(e *Evidence) { e.Observations.ReadLag = of(ms/10, ms/5, 30*ms) },
			"it used only 0.20 of 2.00 CPUs: run it where less else runs", "ttft p0.99 itl p0.99"},
		{"many goroutines wake at once", func(e *Evidence) { e.Observations.Scheduling = of(ms/10, 5*ms, 30*ms) }, "run it where less else runs", "itl p0.95"},
		{"garbage", func(e *Evidence) {
			e.Observations.ReadLag, e.Observations.Pauses = of(ms/10, ms/5, 30*ms), flat(25*ms)
		}, "garbage collection: its pauses had a p99 of", "ttft p0.99"},
		{"held back by a limit", func(e *Evidence) { e.Latency.SendLag, e.HeldBack = flat(300*ms), []string{"maxRequestsPerSecond"} },
			"to keep limits.maxRequestsPerSecond", "e2e p0.5"},
		{"a burst of arrivals", func(e *Evidence) { e.Latency.SendLag = of(ms/10, ms/5, 30*ms) }, "many requests were due at once", "ttft p0.99"},
		{"descriptors", func(e *Evidence) { e.Observations.Descriptors = &Room{1000, 1024} }, "1,000 of 1,024 file descriptors were open", ""},
		{"ports", func(e *Evidence) { e.Observations.Ports = &Room{28000, 28232} }, "ip_local_port_range", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := evidence()
			c.change(&e)
			j := Judge(e)
			said := strings.Join(j.Reasons, "\n")
			if j.Limited != (c.says != "") || !strings.Contains(said, c.says) {
				t.Errorf("limited: %v, %q; want %q", j.Limited, said, c.says)
			}
			var marks []string
			for _, m := range j.Marks {
				marks = append(marks, m.Metric+" p"+strings.TrimSuffix(plain(m.Quantile), "0"))
				if m.Added <= Floor || float64(m.Added) <= Share*float64(m.Value) || m.Added > m.Value || j.Marked(m.Metric, m.Quantile) == nil {
					t.Errorf("%+v", m)
				}
			}
			if c.marks != "" && !strings.Contains(strings.Join(marks, " "), c.marks) || c.says == "" && len(marks) > 0 {
				t.Errorf("marks %q, want %q", marks, c.marks)
			}
		})
	}
	var none *Judgement
	if none.Marked("ttft", 0.5) != nil {
		t.Error("no judgement marks something")
	}
}

func plain(q float64) string {
	return map[float64]string{0.5: "0.50", 0.95: "0.95", 0.99: "0.99"}[q]
}

func TestQuota(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  quota
	}{
		{"nothing", nil, quota{}},
		{"version 2", fstest.MapFS{
			"proc/self/cgroup":                       file("0::/kubepods/pod1/c1\n"),
			"sys/fs/cgroup/kubepods/pod1/c1/cpu.max": file("max 100000\n"),
			"sys/fs/cgroup/kubepods/pod1/cpu.max":    file("150000 100000\n"),
			"sys/fs/cgroup/kubepods/pod1/cpu.stat":   file("usage_usec 5\nnr_periods 100\nnr_throttled 40\nthrottled_usec 2500\n"),
		}, quota{1.5, Throttling{100, 40, 2500 * time.Microsecond}}},
		{"version 2, in a container", fstest.MapFS{
			"proc/self/cgroup":       file("0::/\n"),
			"sys/fs/cgroup/cpu.max":  file("50000 100000\n"),
			"sys/fs/cgroup/cpu.stat": file("nr_periods 7\nnr_throttled 6\nthrottled_usec 1\n"),
		}, quota{0.5, Throttling{7, 6, time.Microsecond}}},
		{"version 1, a path of the host", fstest.MapFS{
			"proc/self/cgroup":                            file("9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n0::/\nnonsense\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  file("200000\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": file("100000\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.stat":          file("nr_periods 9\nnr_throttled 3\nthrottled_time 1234\n"),
		}, quota{2, Throttling{9, 3, 1234}}},
		{"version 1 without a quota", fstest.MapFS{
			"proc/self/cgroup":                   file("1:cpu:/\n"),
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": file("-1\n"), "sys/fs/cgroup/cpu/cpu.cfs_period_us": file("100000\n"),
		}, quota{}},
		{"damaged", fstest.MapFS{"proc/self/cgroup": file("0::/x\n"), "sys/fs/cgroup/x/cpu.max": file("soon\n")}, quota{}},
	} {
		if got := readQuota(c.files); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestPorts(t *testing.T) {
	fsys := fstest.MapFS{
		"proc/sys/net/ipv4/ip_local_port_range": {Data: []byte("32768\t60999\n")},
		"proc/net/sockstat":                     {Data: []byte("sockets: used 9\nTCP: inuse 500 orphan 0 tw 12 alloc 7 mem 1\nUDP: inuse 3\n")},
	}
	if got := portsIn(fsys, &Room{Used: 100, Limit: 1024}); got == nil || *got != (Room{112, 28232}) {
		t.Errorf("%+v", got)
	}
	if portsIn(fstest.MapFS{}, &Room{}) != nil || portsIn(fsys, nil) != nil {
		t.Error("ports are known of nothing")
	}
}

func TestGrown(t *testing.T) {
	edges := []float64{math.Inf(-1), 0, 0.001, 0.003, math.Inf(1)}
	before := &metrics.Float64Histogram{Counts: []uint64{0, 5, 5, 0}, Buckets: edges}
	after := &metrics.Float64Histogram{Counts: []uint64{0, 5, 8, 2}, Buckets: edges}
	h := grown(before, after)
	if h.Count() != 5 || h.Min() != 2*ms || h.Max() != 3*ms {
		t.Errorf("%d values from %v to %v", h.Count(), h.Min(), h.Max())
	}
	if h := grown(nil, nil); h.Count() != 0 {
		t.Error("something grew out of nothing")
	}
}

func TestMonitor(t *testing.T) {
	seen := make(chan struct{})
	calls := 0
	m := Start(func() int64 {
		if calls++; calls == 20 {
			close(seen)
		}
		return 3
	}, nil)
	if m.bell == nil {
		t.Skip("there is no sentinel on this system")
	}
	<-seen
	o := m.Stop()
	if o.Duration <= 0 || o.CPUs <= 0 || o.CPUTime <= 0 {
		t.Errorf("%+v", o)
	}
	if n := o.ReadLag.Count(); n < 20 || o.InFlight == nil || o.InFlight.Count != n || o.InFlight.Mean != 3 || o.InFlight.Error != 0 {
		t.Errorf("%d readings, in flight %+v", n, o.InFlight)
	}
	if d := o.Descriptors; d == nil || d.Used == 0 || d.Limit < d.Used {
		t.Errorf("descriptors %+v", d)
	}
	if again := Start(nil, nil).Stop(); again.InFlight != nil {
		t.Error("nobody counted what is under way")
	}
}

// A fault of this tool while it watches itself is told, and ends no process.
func TestACrashIsTold(t *testing.T) {
	told := make(chan error, 1)
	m := Start(func() int64 { panic("a fault of this tool") }, func(err error) { told <- err })
	if m.bell == nil {
		t.Skip("there is no sentinel on this system")
	}
	var crashed *crash.Error
	if err := <-told; !errors.As(err, &crashed) || !strings.Contains(err.Error(), "the watch over this process crashed") {
		t.Errorf("told of %v", err)
	}
	if o := m.Stop(); o.Duration <= 0 || o.CPUs <= 0 {
		t.Errorf("%+v", o)
	}
}
