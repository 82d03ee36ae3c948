package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// transcript is output that is read while it is written.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{}, 1)} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// until waits for a text to be written.
func (s *transcript) until(t *testing.T, text string) string {
	t.Helper()
	late := time.After(time.Minute) // on the slowest machine
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.more:
		case <-late:
			t.Fatalf("%q was not written, but: %s", text, s)
		}
	}
	return s.String()
}

var anyPorts = []string{"--router-addr", "127.0.0.1:0", "--user-org-addr", "127.0.0.1:0", "--management-addr", "127.0.0.1:0"}

func runPlatform(ctx context.Context, out io.Writer, args ...string) error {
	cmd := platformCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, anyPorts...))
	cmd.SetOut(out)
	cmd.SetErr(out)
	return cmd.ExecuteContext(ctx)
}

func TestPlatformServesUntilInterrupted(t *testing.T) {
	const key = "the-secret-of-the-administrator"
	t.Setenv(adminKeyEnv, key)
	truth := filepath.Join(t.TempDir(), "truth.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newTranscript()
	ended := make(chan error, 1)
	go func() {
		ended <- runPlatform(ctx, out, "--seed", "7", "--truth", truth, "--as-observed", "--quirk", "login-only=off", "--faults", "stall=0.5,stall-for=1ms", "--defect", "lax-limiter")
	}()
	said := out.until(t, "Ready.")
	for _, want := range []string{"seed           7\n", "faults         stall-for=1ms,stall=0.5\n", "defects        lax-limiter\n", "rate limit     100/s", "no-delete", "its key is that of " + adminKeyEnv} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in:\n%s", want, said)
		}
	}
	if strings.Contains(said, "login-only") {
		t.Errorf("a quirk that was switched off is on:\n%s", said)
	}
	url := regexp.MustCompile(`user/org API +(http://\S+)`).FindStringSubmatch(said)[1]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/orgs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the User/Org API: %d", resp.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an interrupt is a platform's usual end, but: %v", err)
	}
	if said := out.until(t, "served 0 requests"); strings.Contains(said, key) {
		t.Error("the key was printed")
	}
	if b, err := os.ReadFile(truth); err != nil || !strings.HasPrefix(string(b), `{"format":"loadtest-platform-truth/1"`) {
		t.Errorf("truth file: %s %v", b, err)
	}
}

func TestPlatformMistakes(t *testing.T) {
	t.Setenv(adminKeyEnv, "")
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say --admin-key-file FILE or set " + adminKeyEnv},
		{[]string{"--admin-key-file", empty}, "is empty"},
		{[]string{"--admin-key-file", filepath.Join(dir, "none", "key")}, "make the admin key file"},
		{[]string{"--quirk", "nonsense"}, `there is no quirk "nonsense"`},
		{[]string{"--quirk", "no-delete=maybe"}, "write NAME, NAME=on or NAME=off"},
		{[]string{"--defect", "nonsense"}, `there is no defect "nonsense"`},
		{[]string{"--faults", "stall=2"}, "--faults: fault stall: a rate is from 0 to 1"},
		{[]string{"--rate-limit", "fast"}, "write it like 100 or 100:200"},
		{[]string{"--rate-limit", "100:0"}, "write it like 100 or 100:200"},
		{[]string{"--places", "0"}, "--places must be at least 1"},
		{[]string{"--speed", "0"}, "--speed must be more than 0"},
		{[]string{"--admin-key-file", filepath.Join(dir, "key"), "--truth", filepath.Join(dir, "none", "truth")}, "make the truth file"},
	} {
		err := runPlatform(t.Context(), io.Discard, c.args...)
		if exitCode(err) != exitInput || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want a usage error with %q", c.args, err, c.want)
		}
	}
}

func TestAdminKeyFileIsMadeOnce(t *testing.T) {
	t.Setenv(adminKeyEnv, "")
	path := filepath.Join(t.TempDir(), "admin.key")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it starts and ends
	var keys []string
	for range 2 {
		var out bytes.Buffer
		if err := runPlatform(ctx, &out, "--admin-key-file", path); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(b))
		if strings.Contains(out.String(), strings.TrimSpace(string(b))) {
			t.Error("the key was printed")
		}
	}
	if len(keys[0]) != 44 || keys[0] != keys[1] {
		t.Errorf("keys of %d and %d bytes, want one of 43 and a line end, kept", len(keys[0]), len(keys[1]))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
}
