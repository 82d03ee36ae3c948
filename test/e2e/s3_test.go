//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

const (
	accessKey = "the-access-key-of-these-tests"
	secretKey = "the-secret-key-of-these-tests"
)

// store is an S3 server of its own, with one bucket.
type store struct {
	*blob.Bucket
	url  string
	cmd  *exec.Cmd
	args []string
}

// startStore runs the server until the test ends.
func startStore(t *testing.T) *store {
	t.Helper()
	return startStoreAt(t, "127.0.0.1")
}

// startStoreAt does so at an address of this machine.
func startStoreAt(t *testing.T, host string) *store {
	t.Helper()
	program := installed(t, "versitygw")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("there is no S3 server (run make e2e, which installs it): %v", err)
	}
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := &store{url: "http://" + addr, args: []string{program, "--port", addr, "posix", "--sidecar", t.TempDir(), t.TempDir()}}
	s.start(t)
	t.Cleanup(s.stop)
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the S3 server has a bucket", func() bool {
		err := client.MakeBucket(t.Context(), "docs", minio.MakeBucketOptions{})
		return err == nil || minio.ToErrorResponse(err).Code == "BucketAlreadyOwnedByYou"
	})
	if s.Bucket, err = blob.Open(blob.Location{Endpoint: s.url, Bucket: "docs", AccessKey: secret.New(accessKey), SecretKey: secret.New(secretKey)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// start lets the server run, for the first time or again.
func (s *store) start(t *testing.T) {
	t.Helper()
	var said transcript
	s.cmd = exec.Command(s.args[0], s.args[1:]...) // #nosec G204 -- ours
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// stop ends the server; a second time it does nothing.
func (s *store) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *store) keys(t *testing.T, folder string) (keys []string) {
	t.Helper()
	objects, err := s.List(context.WithoutCancel(t.Context()), folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		keys = append(keys, strings.TrimPrefix(o.Key, folder))
	}
	return keys
}

// TestDocumentsInABucket reads a library from a real server, from the cache,
// and from the cache when the server is gone.
func TestDocumentsInABucket(t *testing.T) {
	t.Parallel()
	s, p, out, cache := startStore(t), startPlatform(t, "--instant"), newFolder(t), t.TempDir()
	for n := 1; n <= 3; n++ {
		text := strings.Repeat(fmt.Sprintf("Sentence of manual %d, which goes on. ", n), 20*n)
		if err := s.Put(t.Context(), fmt.Sprintf("manuals/manual-%d.txt", n), "text/plain", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	const reading = `
  organizations: {count: 1}
  users: {perOrg: {min: 1, max: 1}}
  userBehavior: {questionsPerSession: {min: 9, max: 9}, thinkTimeSeconds: {min: 0, max: 0}, maxTokensPerRequest: 4}
  testTypes: [{name: long}]
  documentLibrary:
    enabled: true
    storage: {type: %s, endpoint: %q, bucket: %s, folder: %s, accessKey: "${READER}", secretKey: "${READER_SECRET}"}
    documentCount: %d
    selectionStrategy: sequential
`
	library := func(kind, endpoint, bucket, folder string, count int) string {
		return fmt.Sprintf(reading, kind, endpoint, bucket, folder, count)
	}
	run := func(name, secret, spec string) *process {
		t.Helper()
		return launch(t, []string{"ADMIN_KEY=" + adminKey, "XDG_CACHE_HOME=" + cache, "READER=" + accessKey, "READER_SECRET=" + secret},
			"run", out.scenario(t, name, reach(p.router, p.userOrg, "")+spec), "--output-dir", string(out))
	}
	// tokens are those of all prompts: of nine documents, three times each.
	tokens := func(name string, warnings ...string) uint64 {
		t.Helper()
		b := out.document(t, name)
		for i, want := range warnings {
			if len(b.Warnings) <= i || !strings.Contains(b.Warnings[i], want) {
				t.Errorf("%s: warnings %q, want %q", name, b.Warnings, want)
			}
		}
		if len(b.Warnings) != len(warnings) {
			t.Errorf("%s: warnings %q", name, b.Warnings)
		}
		return b.Summary.Overall().All.PromptTokens
	}

	first := run("first", secretKey, library("s3", s.url, "docs", "manuals", 3))
	first.exits(0)
	second := run("second", secretKey, library("minio", s.url, "docs", "manuals", 3))
	second.exits(0)
	if one, two := tokens("first"), tokens("second"); one < 9*200 || one > two+60 || two > one+60 {
		t.Errorf("%d tokens of prompts, and then %d: they are not about the same documents", one, two)
	}

	for name, c := range map[string]struct {
		secret, spec, want string
	}{
		"wrong":   {"not-the-secret", library("s3", s.url, "docs", "manuals", 3), "the secret key is wrong"},
		"nowhere": {secretKey, library("s3", s.url, "none", "manuals", 3), "there is no such bucket"},
		"empty":   {secretKey, library("s3", s.url, "docs", "others", 3), "the document library others/ in the bucket docs at " + s.url + " lacks 3 of its 3 documents"},
		"few":     {secretKey, library("s3", s.url, "docs", "manuals", 4), "lacks 1 of its 4 documents (numbers 4)"},
	} {
		refused := run(name, c.secret, c.spec)
		refused.exits(2)
		refused.says(c.want)
		if _, err := os.Stat(filepath.Join(string(out), name)); !os.IsNotExist(err) {
			t.Errorf("%s: a run that has not begun leaves a folder: %v", name, err)
		}
		if text := refused.err.String() + refused.out.String(); strings.Contains(text, c.secret) {
			t.Errorf("%s shows the secret key: %s", name, text)
		}
	}

	s.stop()
	away := run("away", secretKey, library("s3", s.url, "docs", "manuals", 3))
	away.exits(0)
	if one, three := tokens("first"), tokens("away", "the documents are those of the cache"); one > three+60 || three > one+60 {
		t.Errorf("%d tokens of prompts, and then %d: they are not about the same documents", one, three)
	}
	gone := run("gone", secretKey, library("s3", s.url, "docs", "manuals", 2)+"  advanced: {debug: true}\n")
	gone.exits(0)
	tokens("gone", "the documents are those of the cache")
	if err := os.RemoveAll(filepath.Join(cache, "loadtest")); err != nil {
		t.Fatal(err)
	}
	without := run("without", secretKey, library("s3", s.url, "docs", "manuals", 3))
	without.exits(0)
	tokens("without", "long questions are about generated texts instead")
	for _, done := range []*process{first, second, away, gone, without} {
		hides(t, done, out, secretKey, accessKey)
	}
	p.holdsNothing()
}

// TestResultsGoIntoABucket exports a run to a real server.
func TestResultsGoIntoABucket(t *testing.T) {
	t.Parallel()
	s, p, out := startStore(t), startPlatform(t, "--instant"), newFolder(t)
	const load = `
  organizations: {count: 1}
  users: {perOrg: {min: 2, max: 2}}
  userBehavior: {questionsPerSession: {min: 3, max: 3}, thinkTimeSeconds: {min: 0, max: 0}, maxTokensPerRequest: 4}
  cleanup: {exportResultsTo: "s3://%s/{name}/{testRunId}"}
`
	run := func(name, bucket, secret, more string) *process {
		t.Helper()
		return launch(t, []string{"ADMIN_KEY=" + adminKey, "AWS_ENDPOINT_URL=" + s.url, "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secret},
			"run", out.scenario(t, name, reach(p.router, p.userOrg, "")+fmt.Sprintf(load, bucket)+more), "--output-dir", string(out))
	}
	good := run("good", "docs", secretKey, "")
	good.exits(0)
	good.says("s3://docs/good/good/result.json", "s3://docs/good/good/report.html")
	if got := s.keys(t, "good/good/"); !slices.Equal(got, []string{"report.html", "result.json", "scenario.yaml"}) {
		t.Errorf("the bucket has %v", got)
	}
	objects, err := s.List(t.Context(), "good/good/")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		data, err := s.Get(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{adminKey, secretKey, accessKey} {
			if strings.Contains(string(data), hidden) {
				t.Errorf("%s shows a secret", o.Key)
			}
		}
		name := filepath.Base(o.Key)
		if name == "scenario.yaml" {
			if _, err := config.Parse(name, data, nil); err != nil {
				t.Errorf("the scenario cannot be loaded again: %v", err)
			}
			continue
		}
		local, err := os.ReadFile(filepath.Join(string(out), "good", name)) // #nosec G304 -- the test's own folder
		if err != nil || string(local) != string(data) {
			t.Errorf("%s in the bucket differs from the local one: %v", name, err)
		}
		if name == "result.json" {
			if b, err := export.Decode(data); err != nil || b.Run.ID != "good" {
				t.Errorf("the result: %v", err)
			}
		}
	}

	before := p.truth().Requests
	wrong := run("wrong", "docs", "not-the-secret", "")
	wrong.exits(2)
	wrong.says("spec.cleanup.exportResultsTo: cannot write wrong/wrong/scenario.yaml in the bucket docs", "the secret key is wrong")
	nowhere := run("nowhere", "none", secretKey, "")
	nowhere.exits(2)
	nowhere.says("there is no such bucket")
	if now := p.truth().Requests; now != before {
		t.Errorf("%d requests were sent though the results cannot go where they should", now-before)
	}

	// The server leaves while the run goes on.
	leaves := run("leaves", "docs", secretKey, `
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: 2s}]}
`)
	p.served(before + 20)
	s.stop()
	leaves.exits(1)
	leaves.says("export the results to s3://docs/leaves/leaves/", "cannot be reached", "they are in "+filepath.Join(string(out), "leaves"), "✓ PASSED leaves")
	out.document(t, "leaves")

	away := run("away", "docs", secretKey, "")
	away.exits(1)
	away.says("warning: spec.cleanup.exportResultsTo", "it is tried again when the run is over", "✓ PASSED away")
	out.document(t, "away")
	hides(t, away, out, secretKey, accessKey, adminKey)
}
