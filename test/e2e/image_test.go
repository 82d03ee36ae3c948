//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// workerImage and imageVersion are the image's name and the program's
	// version as docs/load-testing/kubernetes.md has them.
	workerImage  = "registry.example.com/load-test-worker:v1.2.3"
	imageVersion = "v1.2.3"
	// slowest is how long one step of an image may take: that of a program that
	// was never compiled, on a machine with much other work.
	slowest = 30 * time.Minute
)

// packed is an archive of the workers' image, for nodes to import.
func packed(t *testing.T) string {
	t.Helper()
	d := startDocker(t)
	defer d.stop()
	d.build(modules(t), runtime.GOARCH)
	archive := filepath.Join(t.TempDir(), "image.tar")
	d.run("save", "--output="+archive, workerImage)
	return archive
}

// TestImage builds the image for both kinds of machines, holds it against what
// it promises, and runs the one that can run here with no more than it asks for.
func TestImage(t *testing.T) {
	d := startDocker(t)
	defer d.stop()
	proxy := modules(t)
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		d.build(proxy, arch)
		d.judge(arch, machine)
		if arch != runtime.GOARCH {
			continue
		}
		alone := []string{"run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", workerImage}
		if said := d.run(append(alone, "version")...); !strings.HasPrefix(said, "loadtest "+imageVersion+" ") {
			t.Errorf("the image says %q, want its version %s", said, imageVersion)
		}
		if said := d.run(append(alone, "version", "--sbom")...); !strings.Contains(said, `"CycloneDX"`) || !strings.Contains(said, `"pkg:golang/github.com/spf13/cobra@v`) {
			t.Errorf("the image is made of %.500s", said)
		}
	}
}

// judge wants an image small, static, of nobody in particular and labelled.
func (d *docker) judge(arch string, machine elf.Machine) {
	d.t.Helper()
	var about []struct {
		Architecture string
		Size         int64
		Config       struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(d.run("image", "inspect", workerImage)), &about); err != nil || len(about) != 1 {
		d.t.Fatalf("inspect the image: %d of them, %v", len(about), err)
	}
	made := about[0]
	d.t.Logf("the image for %s: %.1f MB", arch, float64(made.Size)/1e6)
	const most = 50e6
	if made.Architecture != arch || made.Size > most || made.Config.User != "65532:65532" || !slices.Equal(made.Config.Entrypoint, []string{"/loadtest"}) ||
		made.Config.Labels["org.opencontainers.image.version"] != imageVersion {
		d.t.Errorf("the image is %+v; want it for %s, of user 65532:65532, with its version and at most %.0f bytes", made, arch, most)
	}

	container, dir := d.run("create", "--platform=linux/"+arch, workerImage), d.t.TempDir()
	for _, file := range []string{"/loadtest", "/etc/ssl/certs/ca-certificates.crt"} {
		d.run("cp", container+":"+file, dir)
	}
	d.run("rm", container)
	certificates, err := os.ReadFile(filepath.Join(dir, "ca-certificates.crt")) // #nosec G304 -- ours
	if err != nil || !bytes.Contains(certificates, []byte("BEGIN CERTIFICATE")) {
		d.t.Errorf("the certificates for %s: %v, %.50q", arch, err, certificates)
	}
	program, err := elf.Open(filepath.Join(dir, "loadtest"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer program.Close() //nolint:errcheck // only read from
	libraries, err := program.ImportedLibraries()
	if program.Machine != machine || program.Section(".interp") != nil || len(libraries) > 0 {
		d.t.Errorf("the program is for %v and wants %q (%v); want it static, for %v", program.Machine, libraries, err, machine)
	}
}

// docker is Debian's engine with a store of its own, which outlives the tests:
// what was compiled for an image once is not compiled again.
type docker struct {
	t      *testing.T
	engine *process
	lock   *os.File
	store  string
	socket string
}

// startDocker waits for the store, in which one engine works at a time. The
// engine is the first process of a namespace: when it ends, or the test is
// killed, the kernel ends all that it has started, takes down what it has
// mounted, and lets go of the lock, which it holds too. It sees no /run, in which
// another engine's containerd may be.
func startDocker(t *testing.T) *docker {
	t.Helper()
	dir := t.TempDir()
	store := installed(t, "images")
	lock, err := os.OpenFile(store+".lock", os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- ours
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() }) // if that was not done before
	within(t, slowest, "no other test uses "+store, func() bool {
		return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil // #nosec G115 -- a descriptor
	})
	d := &docker{t: t, lock: lock, store: store, socket: filepath.Join(dir, "socket")}
	if err := d.open(); err != nil {
		t.Fatal(err)
	}

	args := []string{"-c", `mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && exec "$0" "$@"`, "dockerd",
		"--host=unix://" + d.socket, "--data-root=" + d.store, "--exec-root=" + filepath.Join(dir, "exec"), "--pidfile=" + filepath.Join(dir, "pid"),
		"--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"}
	d.engine = &process{t: t, args: args, cmd: exec.Command("sh", args...), ended: make(chan struct{})} // #nosec G204 -- ours
	d.engine.cmd.Stdout, d.engine.cmd.Stderr = &d.engine.out, &d.engine.err
	d.engine.cmd.ExtraFiles = []*os.File{lock}
	d.engine.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	d.engine.start()
	until(t, "docker answers", func() bool {
		select {
		case <-d.engine.ended:
			t.Fatalf("dockerd ended:\n%s", &d.engine.err)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return d.command(ctx, "version").Run() == nil
	})
	return d
}

// open makes the store anew if whoever used it last was killed or failed: half
// of it may be missing.
func (d *docker) open() error {
	if _, err := os.Stat(d.mark()); err == nil {
		if err := os.RemoveAll(d.store); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.store, 0o700); err != nil {
		return err
	}
	return os.WriteFile(d.mark(), nil, 0o600)
}

// mark is a file that is there while the store is in use.
func (d *docker) mark() string { return filepath.Join(d.store, "in-use") }

// stop ends the engine in order, so that its store is whole.
func (d *docker) stop() {
	if !d.t.Failed() { // what no build refers to any more
		d.run("image", "prune", "--force")
		d.run("builder", "prune", "--force", "--filter=type=regular")
	}
	_ = d.engine.cmd.Process.Signal(syscall.SIGTERM) // or it has ended
	select {
	case <-d.engine.ended:
	case <-time.After(patience):
		d.t.Errorf("dockerd does not end:\n%s", &d.engine.err)
	}
	if !d.t.Failed() {
		if err := os.Remove(d.mark()); err != nil {
			d.t.Error(err)
		}
	}
	_ = d.lock.Close()
}

// build builds the image as users do.
func (d *docker) build(proxy, arch string) {
	d.t.Helper()
	d.provideBase()
	typed := strings.Fields(commands(d.t, "The image")[0])
	d.run(append(typed[1:], "--network=host", "--platform=linux/"+arch, "--build-arg=GOPROXY="+proxy)...)
}

func TestAStoreThatWasLeftOpenIsMadeAnew(t *testing.T) {
	d := &docker{t: t, store: filepath.Join(t.TempDir(), "store")}
	kept := filepath.Join(d.store, "layer")
	open := func() {
		t.Helper()
		if err := d.open(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	if err := errors.Join(os.WriteFile(kept, nil, 0o600), os.Remove(d.mark())); err != nil {
		t.Fatal(err)
	}
	open()
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a store that was left in order lost a layer: %v", err)
	}
	open()
	if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer is there still, although an engine was killed while it wrote (%v)", err)
	}
}

// command is one of Debian's client, whatever else is called docker here.
func (d *docker) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/usr/bin/docker", args...) // #nosec G204 -- ours
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+d.socket, "DOCKER_BUILDKIT=1", "DOCKER_CONFIG="+filepath.Dir(d.socket))
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a command, which must succeed, and returns what it prints.
func (d *docker) run(args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), slowest)
	defer cancel()
	cmd := d.command(ctx, args...)
	cmd.Dir = "../.."
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		d.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, &said)
	}
	d.t.Logf("docker %s: %v", args[0], time.Since(begun).Round(100*time.Millisecond))
	return strings.TrimSpace(out.String())
}

// provideBase makes what the Dockerfile begins with, under that name, from
// what is on this machine: Go, busybox, and an apk that knows the one package
// that is asked of it. Tests cannot count on a place to pull images from; all
// else of the Dockerfile is built as it stands.
func (d *docker) provideBase() {
	d.t.Helper()
	read := func(path, pattern string) string {
		text, err := os.ReadFile(path) // #nosec G304 -- ours
		if err != nil {
			d.t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			d.t.Fatalf("%s has no %s", path, pattern)
		}
		return string(found[1])
	}
	base := read("../../deploy/docker/Dockerfile", `(?m)^FROM --platform=\$BUILDPLATFORM (\S+) AS build$`)
	if want := "golang:" + read("../../go.mod", `(?m)^go (\d+\.\d+)`) + "-alpine"; base != want {
		d.t.Fatalf("the Dockerfile begins with %s, and go.mod wants %s", base, want)
	}
	label := "go=" + goEnv(d.t, "GOVERSION")
	if d.run("images", "--quiet", "--filter=label="+label, base) != "" {
		return
	}

	root := d.t.TempDir()
	links := map[string]string{"usr/local/go": goEnv(d.t, "GOROOT"), "bin/busybox": "/bin/busybox", "ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt"}
	for _, applet := range []string{"sh", "mkdir", "cp", "test"} {
		links["bin/"+applet] = "/bin/busybox"
	}
	for _, dir := range []string{"bin", "usr/local", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			d.t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			d.t.Fatal(err)
		}
	}
	const apk = "#!/bin/sh\n" + `test "$*" = "add --no-cache ca-certificates" && mkdir -p /etc/ssl/certs && cp /ca-certificates.crt /etc/ssl/certs/` + "\n"
	if err := os.WriteFile(filepath.Join(root, "bin/apk"), []byte(apk), 0o700); err != nil { // #nosec G306 -- it is run
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), slowest)
	defer cancel()
	pack := exec.CommandContext(ctx, "tar", "--create", "--dereference", "--exclude=*_test.go", "--exclude=testdata", "--exclude=./usr/local/go/test", "--directory="+root, ".") // #nosec G204 -- ours
	take := d.command(ctx, "import", "--change=ENV PATH=/usr/local/go/bin:/bin HOME=/root GOPATH=/go GOTOOLCHAIN=local", "--change=LABEL "+label, "-", base)
	var said bytes.Buffer
	pack.Stderr, take.Stderr = &said, &said
	pipe, err := pack.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	take.Stdin = pipe
	if err := pack.Start(); err != nil {
		d.t.Fatal(err)
	}
	err = take.Run()
	if packed := pack.Wait(); err != nil || packed != nil {
		d.t.Fatalf("import %s: %v, %v\n%s", base, err, packed, &said)
	}
}

// modules serves what this machine has downloaded of other people's code, so
// that an image needs nothing more to be built than the tests themselves.
func modules(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), slowest)
	defer cancel()
	get := exec.CommandContext(ctx, "go", "mod", "download")
	get.Dir = "../.."
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"))))
	t.Cleanup(server.Close)
	return server.URL
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output() // #nosec G204 -- ours
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
