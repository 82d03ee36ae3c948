//go:build unix

package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/charmbracelet/x/termios"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// These tests run a program with a view on a pseudo-terminal of its own, as a
// shell would, and look at what an emulator makes of its output. The program
// is this test binary, told by a variable what to be.
const playing = "LIVE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if what := os.Getenv(playing); what != "" {
		os.Exit(play(what))
	}
	os.Exit(m.Run())
}

// play is a program that does what loadtest run does, without the load.
func play(what string) int {
	fmt.Println("before")
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var last Snapshot
	sampleRun(160*time.Second, func(_ time.Duration, s Snapshot) { last = s })
	log := NewLog(os.Stdout)
	start := time.Now()
	interrupts, looks := 0, 0
	looked := make(chan struct{}) // closed at the third look
	o := Options{
		Title: "tenants-chat", In: os.Stdin, Out: os.Stdout, Log: log, Color: true, Plain: what == "plain",
		Snapshot: func() Snapshot {
			if looks++; looks == 3 {
				close(looked)
			}
			s := last
			s.Elapsed += time.Since(start)
			s.Totals.Requests += uint64(looks)
			if looks > 1 {
				s.Warnings = []string{"the sky is falling"}
			}
			if what == "panic" && looks == 3 {
				panic("a fault in the view")
			}
			return s
		},
		Interrupt: func() {
			interrupts++
			_, _ = fmt.Fprintf(log, "interrupt %d\n", interrupts)
			if interrupts == 2 {
				cancel()
			}
		},
	}
	if what == "owner-panic" {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = Run(ctx, o)
		}()
		defer func() {
			cancel()
			<-done
		}()
		<-looked
		panic("a fault in the run")
	}
	if err := Run(ctx, o); err != nil {
		fmt.Println("error:", err)
		return 3
	}
	fmt.Println("summary")
	return 0
}

// console is a terminal with a program on it.
type console struct {
	t        *testing.T
	pty, tty *os.File
	cmd      *exec.Cmd
	was      *unix.Termios
	read     chan struct{} // closed when all output has been seen

	mu     sync.Mutex
	news   *sync.Cond
	screen *vt.Emulator
	raw    bytes.Buffer
}

func start(t *testing.T, what string, columns, rows int) *console {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	c := &console{t: t, pty: master, tty: tty, read: make(chan struct{}), screen: vt.NewEmulator(columns, rows)}
	c.news = sync.NewCond(&c.mu)
	c.resize(columns, rows)
	if c.was, err = termios.GetTermios(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.CommandContext(t.Context(), self)
	c.cmd.Env = append(os.Environ(), playing+"="+what, "TERM=xterm-256color")
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = tty, tty, tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			c.mu.Lock()
			c.raw.Write(buf[:n])
			_, _ = c.screen.Write(buf[:n])
			c.news.Broadcast()
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	answered := make(chan struct{})
	go func() { // answers, as a terminal gives them
		defer close(answered)
		_, _ = io.Copy(master, c.screen)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = tty.Close()
		<-c.read
		_ = c.screen.InputPipe().(io.Closer).Close() // its own Close races with Read
		<-answered
		_ = master.Close()
	})
	return c
}

func (c *console) resize(columns, rows int) {
	c.t.Helper()
	if err := pty.Setsize(c.pty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(columns)}); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.screen.Resize(columns, rows)
	c.mu.Unlock()
}

// text is what a person sees, without empty lines at the end.
func (c *console) text() string {
	lines := strings.Split(c.screen.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// await waits until the screen is as described.
func (c *console) await(what string, ok func(text string) bool) {
	c.t.Helper()
	late := false
	timer := time.AfterFunc(30*time.Second, func() {
		c.mu.Lock()
		late = true
		c.news.Broadcast()
		c.mu.Unlock()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok(c.text()) {
		if late {
			c.t.Fatalf("never saw %s; the screen is\n%s", what, c.text())
		}
		c.news.Wait()
	}
}

func (c *console) awaitText(want string) {
	c.t.Helper()
	c.await(fmt.Sprintf("%q", want), func(text string) bool { return strings.Contains(text, want) })
}

func (c *console) press(keys string) {
	c.t.Helper()
	if _, err := c.pty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// finish waits for the program's end and checks that the terminal is as it was.
func (c *console) finish(exit int) {
	c.t.Helper()
	err := c.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		c.t.Fatal(err)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != exit {
		c.t.Errorf("exit code %d, want %d", code, exit)
	}
	now, err := termios.GetTermios(int(c.tty.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	if *now != *c.was {
		c.t.Errorf("terminal settings are\n%+v, were\n%+v", *now, *c.was)
	}
	// A mark of our own says that everything before it has been seen.
	if _, err := c.tty.WriteString("$ "); err != nil {
		c.t.Fatal(err)
	}
	c.await("the prompt", func(text string) bool { return strings.HasSuffix(text, "$") })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.screen.CursorHidden() {
		c.t.Error("the cursor is hidden")
	}
	raw := c.raw.String()
	if strings.LastIndex(raw, "\x1b[?25l") > strings.LastIndex(raw, "\x1b[?25h") {
		c.t.Error("the cursor was hidden and not shown again")
	}
	// Questions whose answers would be typed into the shell, and keyboard
	// protocols that would outlive a crash.
	for _, unwanted := range []string{"$p", "\x1b[c", "\x1b[6n", "\x1b]11;?", "\x1b[>", "\x1b[?1049h", "\x1b[?2004h"} {
		if strings.Contains(raw, unwanted) {
			c.t.Errorf("the output contains %q", unwanted)
		}
	}
}

func (c *console) shows(want string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.text(); got != want {
		c.t.Errorf("the screen is\n%s\n\nwant\n%s", got, want)
	}
}

func TestCtrlCReachesTheCallerAndTheViewGoesAway(t *testing.T) {
	c := start(t, "run", 80, 24)
	c.awaitText("req/s")
	c.awaitText("! the sky is falling\ntenants-chat  steady 3/4")
	c.awaitText("Ctrl-C stops the run and cleans up")
	c.mu.Lock()
	if !c.screen.CursorHidden() {
		t.Error("the cursor blinks in the view")
	}
	c.mu.Unlock()
	now, err := term.GetState(c.tty.Fd())
	if err != nil {
		t.Fatal(err)
	}
	if now.Lflag&unix.ECHO != 0 {
		t.Error("keys are echoed into the view")
	}
	c.press("xyz\r\x1b[A\x03")
	c.awaitText("stopping; Ctrl-C again stops at once")
	c.awaitText("interrupt 1\ntenants-chat")
	c.press("\x03")
	c.finish(0)
	c.shows("before\n! the sky is falling\ninterrupt 1\ninterrupt 2\nsummary\n$")
}

func TestTerminationRestoresTheTerminal(t *testing.T) {
	c := start(t, "run", 100, 30)
	c.awaitText("the sky is falling")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.finish(0)
	c.shows("before\n! the sky is falling\nsummary\n$")
}

func TestAFaultInTheViewEndsOnlyTheView(t *testing.T) {
	c := start(t, "panic", 100, 60)
	c.awaitText("a fault in the view")
	c.finish(3)
	c.awaitText("error: live view: ")
}

func TestAFaultInTheRunRestoresTheTerminal(t *testing.T) {
	c := start(t, "owner-panic", 100, 60)
	c.awaitText("panic: a fault in the run")
	c.finish(2)
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := c.text(); strings.Contains(text, "req/s") || !strings.Contains(text, "\ngoroutine 1 ") {
		t.Errorf("the trace is not readable below what was there before:\n%s", text)
	}
}

func TestTheViewFollowsTheTerminalsSize(t *testing.T) {
	c := start(t, "run", 120, 30)
	c.awaitText("p95 by the second")
	for _, columns := range []int{80, 46, 200} {
		c.resize(columns, 30)
		want := "of 05:00\n"
		c.await(fmt.Sprintf("a whole view on %d columns", columns), func(text string) bool {
			wide := strings.Contains(text, "whole run") == (columns >= withWholeRun)
			head := ""
			for l := range strings.Lines(text) {
				if strings.HasSuffix(l, want) {
					head = l
				}
			}
			return wide && len([]rune(head)) == columns+1 && strings.HasSuffix(text, "cleans up")
		})
	}
	c.press("\x03\x03")
	c.finish(0)
}

func TestALowTerminalKeepsTheTop(t *testing.T) {
	c := start(t, "run", 80, 8)
	c.await("the head and the first numbers", func(text string) bool {
		return strings.Contains(text, "steady 3/4") && strings.Contains(text, "users     68 of 70") && !strings.Contains(text, "Ctrl-C")
	})
	c.press("\x03")
	c.awaitText("Ctrl-C again stops at once")
	c.press("\x03")
	c.finish(0)
}

func TestPlainLeavesTheTerminalAlone(t *testing.T) {
	c := start(t, "plain", 250, 24)
	c.awaitText("at=02:40 stage=running phase=steady(3/4)")
	now, err := termios.GetTermios(int(c.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *now != *c.was {
		t.Error("plain lines changed the terminal")
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.finish(0)
}
