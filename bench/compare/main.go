//go:build linux

// Command compare has other load testers and this one do the same work against
// the same server, in turn, and prints what each of them cost as ratios. Run
// it from the root of the repository:
//
//	go run ./bench/compare
//
// The server is bench/server, in a process of its own. What is compared is the
// CPU time of the client's process: on a machine that others use too it is
// steadier than any rate. Each tool has its turn in every round, in which it
// works twice, briefly and for longer. The difference of the two is what
// requests or events cost; the rest is the cost of its start and end, with
// whatever it makes ready and reports, which no longer run has more of. A
// figure is the median of the rounds.
//
// How much each tool adds to latency it says itself, when it has little to do
// and the server a delay that it knows.
//
// Two controls say how far there is to go: the bare reader (bench/reader), the
// least that Go's net stack allows, and wrk, the same in C.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var (
	duration = flag.Duration("duration", 5*time.Second, "how long each tool works in each round, in whole seconds, beyond the 2s of its short run")
	rounds   = flag.Int("rounds", 5, "how often each has its turn")
	cache    = flag.String("cache", "", "`FOLDER` into which peers are installed (default loadtest-peers in the user's cache)")
	only     = flag.String("only", "", "`WORK` to do alone: whole, stream, latency, memory or scale; the last takes minutes and is only done by name")
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "loadtest-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if *cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		*cache = filepath.Join(home, "loadtest-peers")
	}
	if err := os.MkdirAll(*cache, 0o750); err != nil {
		return err
	}
	ours, reader, wrk, hey, vegeta, k6, err := find(ctx, *cache, dir)
	if err != nil {
		return err
	}
	there := 0
	for _, t := range []*tool{wrk, hey, vegeta, k6} {
		if t.path == "" {
			fmt.Fprintf(os.Stderr, "without %s: %v\n", t.name, t.missing)
			continue
		}
		there++
	}
	if there < 2 {
		return errors.New("there are fewer than two others to compare with")
	}
	s, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, n := range []int{pacedUsers, 50, 200, fewUsers, manyUsers} {
		if err := writeKeys(dir, n); err != nil {
			return err
		}
	}

	if *only == "" || *only == "whole" {
		w := work{url: s.url, connections: 50, duration: *duration}
		t, err := compare(ctx, s, "Whole answers, 50 connections", "request", w, func(c count) int64 { return c.Requests }, ours, reader, wrk, hey, vegeta, k6)
		if err != nil {
			return err
		}
		t.bar("CPU a request ÷ hey's", ours, hey, 1.2)
		t.bar("CPU a request ÷ k6's", ours, k6, 0.25)
		t.bar("goal: CPU a request ÷ wrk's", ours, wrk, 2)
	}
	if *only == "" || *only == "stream" {
		w := work{url: s.url, connections: 200, duration: *duration, stream: true}
		t, err := compare(ctx, s, "Streams of 100 events, 200 at a time, an event every 10 ms; we time every gap, the others none", "event", w, func(c count) int64 { return c.Events }, ours, reader, wrk, hey, k6)
		if err != nil {
			return err
		}
		t.bar("CPU an event ÷ the bare reader's", ours, reader, 1.3)
	}
	if *only == "" || *only == "latency" {
		if err := latency(ctx, dir, ours, reader, hey, vegeta, k6); err != nil {
			return err
		}
	}
	switch *only {
	case "", "memory":
		return memory(ctx, s, ours, k6)
	case "scale":
		return scale(ctx, dir, s, ours)
	}
	return nil
}

// table are the costs of tools, by name, one for each round.
type table struct {
	unit   string
	cpu    map[string][]float64 // µs a unit
	whole  map[string][]float64 // µs a unit, start and end included
	fixed  map[string][]float64 // ms of start and end
	memory map[string][]float64 // MiB
}

// compare prints what the tools cost, and how they compare with the first.
func compare(ctx context.Context, s *server, title, unit string, w work, units func(count) int64, tools ...*tool) (*table, error) {
	tools = slices.DeleteFunc(tools, func(t *tool) bool { return t.path == "" })
	t := &table{unit: unit, cpu: map[string][]float64{}, whole: map[string][]float64{}, fixed: map[string][]float64{}, memory: map[string][]float64{}}
	for range *rounds {
		for _, tool := range tools {
			short, long := w, w
			short.duration, long.duration = brief, brief+w.duration
			few, little, err := measure(ctx, s, tool, short, units)
			if err != nil {
				return nil, err
			}
			many, c, err := measure(ctx, s, tool, long, units)
			if err != nil {
				return nil, err
			}
			if many <= few {
				return nil, fmt.Errorf("%s made %d %ss in %v and no more in %v", tool.name, few, unit, short.duration, long.duration)
			}
			each := (c.cpu - little.cpu).Seconds() / float64(many-few)
			t.cpu[tool.name] = append(t.cpu[tool.name], each*1e6)
			t.whole[tool.name] = append(t.whole[tool.name], c.cpu.Seconds()*1e6/float64(many))
			t.fixed[tool.name] = append(t.fixed[tool.name], max(0, little.cpu.Seconds()-each*float64(few))*1e3)
			t.memory[tool.name] = append(t.memory[tool.name], float64(c.memory)/(1<<20))
		}
	}
	fmt.Printf("\n## %s\n\n| tool | CPU a %s, µs: median (all) | ÷ %s's | the same with start and end | start and end, ms | peak memory, MiB |\n|---|---|---|---|---|---|\n", title, unit, tools[0].name)
	slices.SortStableFunc(tools, func(a, b *tool) int { return cmp.Compare(median(t.cpu[a.name]), median(t.cpu[b.name])) })
	for _, tool := range tools {
		cpu, whole := t.cpu[tool.name], t.whole[tool.name]
		fmt.Printf("| %s | %.1f (%.1f–%.1f) | %.2f | %.1f (%.1f–%.1f) | %.0f | %.0f |\n", tool.name, median(cpu), slices.Min(cpu), slices.Max(cpu), median(cpu)/median(t.cpu["loadtest"]),
			median(whole), slices.Min(whole), slices.Max(whole), median(t.fixed[tool.name]), median(t.memory[tool.name]))
	}
	fmt.Println()
	return t, nil
}

// brief is how long the short run of a round lasts.
const brief = 2 * time.Second

// measure has a tool do the work, and returns how much of it was done.
func measure(ctx context.Context, s *server, t *tool, w work, units func(count) int64) (int64, cost, error) {
	before, err := s.count(ctx)
	if err != nil {
		return 0, cost{}, err
	}
	c, err := t.run(ctx, w)
	if err != nil {
		return 0, c, err
	}
	after, err := s.count(ctx)
	return units(after) - units(before), c, err
}

// bar prints whether our CPU time kept a promise, by what requests or events
// cost and by what they cost in the longer run with its start and end. Each
// round is a ratio of two neighbours in time, which share what else the machine
// did.
func (t *table) bar(what string, ours, theirs *tool, most float64) {
	if theirs.path == "" {
		fmt.Printf("- %s: not known, since %s is not there\n", what, theirs.name)
		return
	}
	for _, by := range []struct {
		how string
		cpu map[string][]float64
	}{{"", t.cpu}, {", with start and end", t.whole}} {
		var ratios []float64
		for i, c := range by.cpu[ours.name] {
			ratios = append(ratios, c/by.cpu[theirs.name][i])
		}
		verdict(what+by.how, ratios, median(ratios) <= most, fmt.Sprintf("at most %.2f", most))
	}
}

func verdict(what string, ratios []float64, pass bool, wanted string) {
	result := "MISS"
	if pass {
		result = "pass"
	}
	fmt.Printf("- %s: %.2f (%.2f–%.2f), wanted %s: %s\n", what, median(ratios), slices.Min(ratios), slices.Max(ratios), wanted, result)
}

// The users whose memory is compared. They come one after the other over
// thinking, and think as long: so that each asks once, and requests do not pile
// up, whose memory is another matter. There are so many that what varies from
// run to run is little beside theirs; as many of k6's
// would be more than most machines have room for.
const (
	fewUsers, manyUsers = 5_000, 50_000
	fewOfK6, manyOfK6   = 100, 1_000
	thinking            = 20 * time.Second
)

// memory prints what one more user costs: the difference in peak memory
// between many users and few, over the difference of their numbers.
func memory(ctx context.Context, s *server, ours, k6 *tool) error {
	if k6.path == "" {
		return nil
	}
	perUser := func(t *tool, few, many int) (float64, error) {
		var used [2]int64
		for i, n := range []int{few, many} {
			c, err := t.run(ctx, work{url: s.url, connections: n, duration: thinking, think: thinking, ramp: true})
			if err != nil {
				return 0, err
			}
			used[i] = c.memory
		}
		return float64(used[1]-used[0]) / float64(many-few) / 1024, nil
	}
	var a, b, ratios []float64
	for range *rounds {
		x, err := perUser(ours, fewUsers, manyUsers)
		if err != nil {
			return err
		}
		y, err := perUser(k6, fewOfK6, manyOfK6)
		if err != nil {
			return err
		}
		a, b, ratios = append(a, x), append(b, y), append(ratios, y/x)
	}
	fmt.Printf("\n## Memory of one more user, who thinks for %v: %d and %d users, %d and %d of k6\n\n| tool | KiB: median (all) |\n|---|---|\n", thinking, fewUsers, manyUsers, fewOfK6, manyOfK6)
	fmt.Printf("| loadtest | %.2f (%.2f–%.2f) |\n| k6 | %.1f (%.1f–%.1f) |\n\n", median(a), slices.Min(a), slices.Max(a), median(b), slices.Min(b), slices.Max(b))
	verdict("k6's memory a user ÷ ours", ratios, median(ratios) >= 50, "at least 50")
	return nil
}

// scale prints what many users cost us: with streams of an event a second, and
// thinking.
func scale(ctx context.Context, dir string, s *server, ours *tool) error {
	slow, err := serve(ctx, dir, "-every", "1s", "-events", "20")
	if err != nil {
		return err
	}
	defer slow.stop()
	fmt.Printf("\n## Many users in one process\n\n")
	for _, job := range []struct {
		what   string
		most   float64 // MiB
		server *server
		work   work
	}{
		{"10,000 streams at a time, an event a second each", 512, slow, work{connections: 10_000, duration: 40 * time.Second, stream: true}},
		{"100,000 users who think for two minutes", 2048, s, work{connections: 100_000, duration: 90 * time.Second, think: 2 * time.Minute, ramp: true}},
	} {
		job.work.url = job.server.url
		if err := writeKeys(dir, job.work.connections); err != nil {
			return err
		}
		before, err := job.server.count(ctx)
		if err != nil {
			return err
		}
		c, err := ours.run(ctx, job.work)
		if err != nil {
			return err
		}
		after, err := job.server.count(ctx)
		if err != nil {
			return err
		}
		memory := float64(c.memory) / (1 << 20)
		fmt.Printf("%d requests, %d events, %v CPU\n", after.Requests-before.Requests, after.Events-before.Events, c.cpu.Round(time.Millisecond))
		verdict(job.what+": peak memory, MiB", []float64{memory}, memory < job.most, fmt.Sprintf("less than %.0f", job.most))
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// server is a bench/server at work.
type server struct {
	url string
	cmd *exec.Cmd
}

func serve(ctx context.Context, dir string, flags ...string) (*server, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "server"), flags...) //nolint:gosec // our own paths
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s := &server{url: strings.TrimSpace(line), cmd: cmd}
	if err != nil {
		s.stop()
	}
	return s, err
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
}

// count is what a server has answered.
type count struct{ Requests, Events int64 }

func (s *server) count(ctx context.Context) (c count, err error) {
	return c, s.get(ctx, "/count", &c)
}
