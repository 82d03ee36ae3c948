//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// tinyDisk mounts a file system of so many KB.
func tinyDisk(t *testing.T, kb int) folder {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("only root can mount a disk that is full: run make e2e as root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kb)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder(dir)
}

// fill takes all room on the disk.
func (f folder) fill(t *testing.T) {
	t.Helper()
	file, err := os.Create(filepath.Join(string(f), "fill"))
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk does not fill: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func (f folder) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(string(f), "fill")); err != nil {
		t.Fatal(err)
	}
}

// many has so many tenants that their removal fills blocks of the ledger.
const many = `
  organizations: {count: 80}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior:
    questionsPerSession: {min: 3, max: 3}
    thinkTimeSeconds: {min: 0, max: 0.05}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 8
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: 5s}]}
`

func diskRun(t *testing.T, p *simulated, disk folder, temp, name, spec string) *process {
	t.Helper()
	return launch(t, []string{"ADMIN_KEY=" + adminKey, "TMPDIR=" + temp},
		"run", newFolder(t).scenario(t, name, reach(p.router, p.userOrg, "")+spec), "--output-dir", string(disk))
}

// TestDiskFillsUnderLoad takes the room away while the run goes on: its
// results go elsewhere, its tenants all the same.
func TestDiskFillsUnderLoad(t *testing.T) {
	t.Parallel()
	p, disk, temp := startPlatform(t, "--instant"), tinyDisk(t, 512), t.TempDir()
	run := diskRun(t, p, disk, temp, "fills", many)
	p.served(100)
	disk.fill(t)
	run.exits(1)
	run.says("✓ PASSED fills", "no space left on device", "the results are in "+temp, "80 orgs, 80 users, 80 keys deleted")
	p.holdsNothing()
	elsewhere := regexp.MustCompile(`(?m)^Results +(.*)/result\.json$`).FindStringSubmatch(run.out.String())
	if elsewhere == nil {
		t.Fatalf("the summary does not say where the results are: %s", &run.out)
	}
	p.agrees(document(t, elsewhere[1]))
	if half, err := filepath.Glob(filepath.Join(string(disk), "fills", "*.*[lm]")); err != nil || len(half) != 1 { // the ledger
		t.Errorf("%v, %v", half, err)
	}

	disk.empty(t)
	disk.cleanup(t, "fills").exits(0)
	again := disk.cleanup(t, "fills")
	again.exits(0)
	again.says("left nothing behind")
}

// TestDiskIsFull begins without room for the ledger: nothing is created.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	p, disk, temp := startPlatform(t, "--instant"), tinyDisk(t, 64), t.TempDir()
	disk.fill(t)
	run := diskRun(t, p, disk, temp, "full", small)
	run.exits(1)
	run.says("create the ledger", "no space left on device", "no load was made, broken")
	p.holdsNothing()
	if n := p.truth().Requests; n != 0 {
		t.Errorf("%d requests were sent", n)
	}

	// There is no room anywhere.
	run = diskRun(t, p, disk, string(disk), "nowhere", small)
	run.exits(1)
	run.says("no space left on device", "the summary above is all there is", "‼ BROKEN nowhere")
	p.holdsNothing()
}

// TestDiskFillsWhileCreating leaves no room for the ledger in the middle of
// bootstrap: creation stops, and what there is is removed.
func TestDiskFillsWhileCreating(t *testing.T) {
	t.Parallel()
	p, disk, temp := startPlatform(t, "--instant"), tinyDisk(t, 32), t.TempDir()
	run := diskRun(t, p, disk, temp, "creating", many)
	run.exits(1)
	run.says("the ledger", "cannot be written any more", "no space left on device", "orgs,")
	p.holdsNothing()
}

// TestDiskIsReadOnly is a mistake in what was given: exit code 2, and no call.
func TestDiskIsReadOnly(t *testing.T) {
	t.Parallel()
	p, disk := startPlatform(t, "--instant"), tinyDisk(t, 64)
	if err := syscall.Mount("", string(disk), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	run := diskRun(t, p, disk, t.TempDir(), "readonly", small)
	run.exits(2)
	run.says("read-only file system", "choose another with --output-dir")
	if run.out.String() != "" {
		t.Errorf("it says on standard output: %s", &run.out)
	}
	p.holdsNothing()
	if n := p.truth().Requests; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
