package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob/blobtest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// podFiles are a scenario and secrets, as they are mounted.
func podFiles(t *testing.T, spec string, secrets map[string]string) (scenario, folder string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"scenario.yaml": "apiVersion: loadtest.ai-aas.dev/v1\nkind: LoadTestScenario\nmetadata: {name: pods}\nspec:\n" + spec}
	for name, text := range secrets {
		files[filepath.Join("secret", name)] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "scenario.yaml"), filepath.Join(dir, "secret")
}

func pod(t *testing.T, args ...string) (code int, lines []map[string]any) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), "test", append([]string{"pod"}, args...), cli.Streams{Out: &out, Err: &errs})
	if errs.Len() > 0 {
		t.Logf("standard error: %s", errs.String())
	}
	for line := range strings.Lines(out.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line of the log is no JSON: %v: %s", err, line)
		}
		lines = append(lines, entry)
	}
	return code, lines
}

// A pod takes everything from files, and its document goes into the bucket.
func TestAPodAndItsBucket(t *testing.T) {
	p, err := platformsim.New(platformsim.Options{Seed: 1, Models: platformsim.AtSpeed(platformsim.DefaultModels(), 20)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background()) //nolint:errcheck // nothing hangs on it
	s3 := blobtest.New(t, "results")
	scenario, secrets := podFiles(t, fmt.Sprintf(`
  organizations: {count: 1, namingPattern: "org-{timestamp}"}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {questionsPerSession: {min: 2, max: 2}, thinkTimeSeconds: {min: 0, max: 0}, maxTokensPerRequest: 4}
  targets: {apiRouterUrl: %q, userOrgUrl: "${WHERE}"}
  cleanup: {exportResultsTo: "s3://results/runs/{testRunId}"}
`, p.RouterURL()), map[string]string{
		"token": "the-token\n", "admin-api-key": p.AdminKey().Reveal() + "\n", "env/WHERE": p.UserOrgURL(), "env/..data": "of the volume",
		"env/AWS_ENDPOINT_URL": s3.URL, "env/AWS_ACCESS_KEY_ID": "id", "env/AWS_SECRET_ACCESS_KEY": "secret",
	})
	for _, name := range []string{"WHERE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "") // and as it was afterwards
	}
	t.Setenv("JOB_COMPLETION_INDEX", "0")
	t.Setenv("LOADTEST_ATTEMPT", "2")
	code, lines := pod(t, "--config", scenario, "--secrets", secrets, "--run", "r1", "--seed", "3", "--started", time.Now().Add(-time.Hour).Format(time.RFC3339Nano),
		"--workers", "1", "--hold", "1m", "--listen", "127.0.0.1:0", "--output-dir", t.TempDir())
	if code != 0 || len(lines) < 3 {
		t.Fatalf("exit code %d: %v", code, lines)
	}
	if keys := s3.Keys(); len(keys) != 1 || keys[0] != "runs/r1/workers/0-2.json" {
		t.Fatalf("in the bucket: %v", keys)
	}
	b, err := export.Decode([]byte(s3.Object("runs/r1/workers/0-2.json")))
	if err != nil {
		t.Fatal(err)
	}
	if int64(b.Headline.Requests) != p.Totals().Requests || b.Run.Attempt != 2 || b.Run.Host == "" || p.State().Orgs != 0 {
		t.Errorf("%d requests, %d in truth; %+v; %d organizations", b.Headline.Requests, p.Totals().Requests, b.Run, p.State().Orgs)
	}
	if want := "org-" + time.Now().Add(-time.Hour).UTC().Format("20060102"); !strings.HasPrefix(b.Orgs[0].Name, want) {
		t.Errorf("organization %s", b.Orgs[0].Name)
	}
}

// lonely is worker 0 of two, of which the other never comes, with a platform and a
// bucket.
func lonely(t *testing.T, spec string) (p *platformsim.Platform, s3 *blobtest.Server, args []string) {
	t.Helper()
	p, err := platformsim.New(platformsim.Options{Seed: 1, Models: platformsim.AtSpeed(platformsim.DefaultModels(), 20)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(platformsim.Listen{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	s3 = blobtest.New(t, "results")
	scenario, secrets := podFiles(t, fmt.Sprintf(`
  organizations: {count: 2}
  users: {perOrg: {min: 1, max: 1}}
  targets: {apiRouterUrl: %q, userOrgUrl: %q}
  cleanup: {exportResultsTo: "s3://results/"}
%s`, p.RouterURL(), p.UserOrgURL(), spec), map[string]string{"token": "the-token", "admin-api-key": p.AdminKey().Reveal()})
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": s3.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "JOB_COMPLETION_INDEX": "0"} {
		t.Setenv(name, value)
	}
	return p, s3, []string{"pod", "--config", scenario, "--secrets", secrets, "--run", "r1", "--seed", "3", "--started", "2026-11-23T10:00:00Z",
		"--workers", "2", "--listen", "127.0.0.1:0", "--output-dir", t.TempDir()}
}

// document is what a worker has put into the bucket.
func document(t *testing.T, s3 *blobtest.Server, name string) *export.Bundle {
	t.Helper()
	b, err := export.Decode([]byte(s3.Object("workers/" + name + ".json")))
	if err != nil {
		t.Fatalf("%v: there is %v", err, s3.Keys())
	}
	return b
}

// Worker 0 goes on without one that never comes if that is the policy, unless it
// has itself come in another's place: then there was a run, and it is over.
func TestOnLateWorker(t *testing.T) {
	const asks = "  userBehavior: {questionsPerSession: {min: 1, max: 1}, thinkTimeSeconds: {min: 0, max: 0}, maxTokensPerRequest: 4}\n"
	for name, c := range map[string]struct {
		policy, attempt, stop string
	}{
		"fail":               {"fail", "0", "broken"},
		"continue":           {"continue", "0", "completed"},
		"continue, too late": {"continue", "1", "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			p, s3, args := lonely(t, asks)
			t.Setenv("LOADTEST_ATTEMPT", c.attempt)
			var out bytes.Buffer
			code := cli.Run(context.Background(), "test", append(args, "--on-late-worker", c.policy, "--start-timeout", "100ms", "--hold", "1s"), cli.Streams{Out: &out, Err: &out})
			b := document(t, s3, "0-"+c.attempt)
			if late := strings.Contains(b.Stop.Detail, "one worker was not ready 100ms after the first: worker 1 (never heard of)"); code != 0 || b.Stop.Reason != c.stop || late != (c.stop == "broken") {
				t.Errorf("exit code %d, %+v: %s", code, b.Stop, out.String())
			}
			if p.State().Orgs != 0 || (p.Totals().Requests > 1) != (c.stop == "completed") { // one is of the pre-flight
				t.Errorf("%d organizations, %d requests", p.State().Orgs, p.Totals().Requests)
			}
		})
	}
}

// A document that nobody fetches, and no bucket keeps, is not safe.
func TestADocumentThatNobodyFetches(t *testing.T) {
	_, s3, args := lonely(t, "  advanced: {dryRun: true}\n")
	s3.Damages = func(key string) bool { return strings.Contains(key, "workers/") }
	t.Setenv("LOADTEST_ATTEMPT", "0")
	var out bytes.Buffer
	code := cli.Run(context.Background(), "test", append(args, "--workers", "1", "--hold", "1s"), cli.Streams{Out: &out, Err: &out})
	if code != 1 || !strings.Contains(out.String(), "nobody collected the documents 0-0") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// A pod that is taken away leaves its tenants to whoever comes in its place, if
// somebody does, and its document in the bucket, or with the leader.
func TestAPodIsTakenAway(t *testing.T) {
	for policy, c := range map[string]struct {
		orgs    int
		damaged bool // the bucket does not keep what it takes
	}{"replace": {orgs: 1}, "continue": {damaged: true}} {
		t.Run(policy, func(t *testing.T) {
			shelf := rendezvous.NewShelf()
			lead := rendezvous.NewLeader(rendezvous.Rules{Workers: 2, Patience: 100 * time.Millisecond, GoOn: true}, shelf)
			leader := httptest.NewServer(rendezvous.Desk{Token: secret.New("the-token"), Shelf: shelf, Leader: lead, Stop: lead.Stop}.Handler())
			defer leader.Close()
			p, s3, args := lonely(t, "  userBehavior: {thinkTimeSeconds: {min: 0.1, max: 0.1}, maxTokensPerRequest: 4}\n  looping: {enabled: true}\n  loadPattern: {type: steady, phases: [{name: endless, duration: 10m}]}\n")
			t.Setenv("LOADTEST_ATTEMPT", "0")
			t.Setenv("JOB_COMPLETION_INDEX", "1")
			s3.Damages = func(key string) bool { return c.damaged && strings.Contains(key, "workers/") }
			ctx, takeAway := context.WithCancel(context.Background())
			defer takeAway()
			var out bytes.Buffer
			code := make(chan int)
			go func() {
				code <- cli.Run(ctx, "test", append(args, "--on-worker-loss", policy, "--leader", leader.URL), cli.Streams{Out: &out, Err: &out})
			}()
			for p.Totals().Requests < 3 {
				select {
				case got := <-code:
					t.Fatalf("exit code %d: %s", got, out.String())
				case <-time.After(10 * time.Millisecond):
				}
			}
			takeAway()
			if got := <-code; got != 143 {
				t.Errorf("exit code %d: %s", got, out.String())
			}
			if names := shelf.Names(); (len(names) == 1 && names[0] == "1-0") != c.damaged {
				t.Errorf("the leader has %v: %s", names, out.String())
			}
			if !c.damaged {
				if b := document(t, s3, "1-0"); b.Stop.Detail != export.TakenAway || b.Headline.Requests < 3 {
					t.Errorf("%+v, %d requests", b.Stop, b.Headline.Requests)
				}
			}
			if got := p.State().Orgs; got != c.orgs {
				t.Errorf("%d organizations are left, want %d", got, c.orgs)
			}
			if w := lead.View().Workers[1]; w.Ended != (policy != "replace") {
				t.Errorf("nobody comes in its place, or else the leader waits: %+v", w)
			}
		})
	}
}

// What is wrong with the input ends a pod with 2, which fails its Job at once.
func TestWhatAPodCannotUse(t *testing.T) {
	const good = "  targets: {apiRouterUrl: \"http://127.0.0.1:1\", userOrgUrl: \"http://127.0.0.1:1\", adminApiKey: k}\n"
	token := map[string]string{"token": "the-token"}
	for name, c := range map[string]struct {
		spec    string
		secrets map[string]string
		index   string
		args    []string
		want    string
	}{
		"no targets":        {"  seed: 1\n", token, "0", nil, "has no targets"},
		"no token":          {good, nil, "0", nil, "the run's token is not in"},
		"a stranger":        {good, token, "3", nil, "JOB_COMPLETION_INDEX is 3, of 2 workers"},
		"no number":         {good, token, "x", nil, "JOB_COMPLETION_INDEX is \"x\""},
		"no leader":         {good, token, "1", nil, "--leader must say where worker 0 is"},
		"a broken scenario": {good + "  looping: 3\n", token, "0", nil, "spec.looping"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario, secrets := podFiles(t, c.spec, c.secrets)
			t.Setenv("JOB_COMPLETION_INDEX", c.index)
			code, lines := pod(t, append([]string{"--config", scenario, "--secrets", secrets, "--run", "r1", "--seed", "3", "--started", "2026-11-23T10:00:00Z",
				"--workers", "2", "--listen", "127.0.0.1:0", "--output-dir", t.TempDir()}, c.args...)...)
			if said := fmt.Sprint(lines); code != 2 || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d: %s", code, said)
			}
		})
	}
	if code, _ := pod(t, "--on-late-worker", "wait"); code != 2 {
		t.Errorf("an unknown policy: exit code %d", code)
	}
}
