//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestAStarvedGeneratorSaysSo gives the tool a small part of one CPU: three
// others want all of it and are 9 times as important each. What it then
// measures is itself, and it must say that. (That it does not say so when left
// alone is a matter of pure functions, tested in package health: this machine
// may be busy with anything.)
func TestAStarvedGeneratorSaysSo(t *testing.T) {
	for _, name := range []string{"taskset", "nice"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("without %s nothing can be starved: %v", name, err)
		}
	}
	p, out := startPlatform(t), newFolder(t)
	for range 3 {
		burner := exec.CommandContext(t.Context(), "taskset", "-c", "0", "sh", "-c", "while :; do :; done")
		if err := burner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = burner.Process.Kill() // it has no end of its own
			_ = burner.Wait()
		})
	}
	path := out.scenario(t, "starved", p.targets()+`
  organizations: {count: 1}
  users: {perOrg: {min: 30, max: 30}}
  userBehavior:
    questionsPerSession: {min: 5, max: 10}
    thinkTimeSeconds: {min: 0, max: 0.01}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 40
    streamingRatio: 1
  looping: {enabled: true}
  loadPattern: {phases: [{name: steady, duration: 5s, targetActiveUsers: 30, measure: true}]}
`)
	run := prepare(t, []string{"ADMIN_KEY=" + adminKey}, "run", path, "--output-dir", string(out))
	nice, err := exec.LookPath("nice")
	if err != nil {
		t.Fatal(err)
	}
	run.cmd.Args = append([]string{"nice", "-n", "10", "taskset", "-c", "0", run.cmd.Path}, run.cmd.Args[1:]...)
	run.cmd.Path = nice
	run.cmd.Stdout, run.cmd.Stderr = &run.out, &run.err
	run.start()
	run.exits(0)
	run.says("generator-limited: this tool itself may have added", "spread the load over more workers")
	b := out.document(t, "starved")
	if g := b.Generator; !b.Verdict.GeneratorLimited || g == nil || !g.Limited || len(g.Marks) == 0 || !strings.Contains(strings.Join(b.Verdict.Reasons, "\n"), g.Reasons[0]) {
		t.Errorf("%+v, %+v", b.Verdict, g)
	}
}
