//go:build e2e

package e2e

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// small is a load of six users, who stream and mostly do not try again.
const small = `
  organizations: {count: 2}
  users: {perOrg: {min: 3, max: 3}}
  userBehavior:
    questionsPerSession: {min: 3, max: 3}
    thinkTimeSeconds: {min: 0, max: 0.05}
    modelPreferences: [{model: sim-small}]
    maxTokensPerRequest: 8
    errorHandling: {retryAttempts: 1, retryBackoffMs: 5}
`

// reach names a platform as the target. An answer may take as long as it does
// on a machine with much else to do, unless rest holds another timeout.
func reach(router, userOrg, rest string) string {
	if !strings.Contains(rest, "timeout:") {
		rest += ", timeout: 20s"
	}
	return fmt.Sprintf("  targets: {apiRouterUrl: %q, userOrgUrl: %q, adminApiKey: \"${ADMIN_KEY}\"%s}\n", router, userOrg, rest)
}

// overTLS serves a platform's address by TLS, and returns the address and
// the file of the authority that signed it.
func overTLS(t *testing.T, service string) (address, caFile string) {
	t.Helper()
	to, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	server := httptest.NewUnstartedServer(proxy)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // bad handshakes are the point
	server.StartTLS()
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, caFile
}

// TestCannotBegin is what a run meets that cannot even begin: a message that
// names the cause and what to do, exit code 1, the documents all the same, and
// nothing left behind.
func TestCannotBegin(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--instant"), newFolder(t)
	const nobody = "http://127.0.0.1:1"
	secureRouter, _ := overTLS(t, p.router)
	secureUserOrg, _ := overTLS(t, p.userOrg)
	host := func(address string) string { return address[strings.Index(address, "//")+2:] }
	https := func(address string) string { return "https://" + host(address) }
	for name, c := range map[string]struct {
		targets  string
		env      string
		says     []string
		requests uint64 // that were sent
	}{
		"down": {targets: reach(nobody, nobody, ""), says: []string{
			"connection refused: nothing listens at 127.0.0.1:1", "check that the User/Org service is up and can be reached from here at " + nobody}},
		"router-down": {targets: reach(nobody, p.userOrg, ""), requests: 4, says: []string{
			"the pre-flight request to " + nobody + " failed", "nothing listens at 127.0.0.1:1"}},
		"no-such-name": {targets: reach("http://no-such-host.invalid", "http://no-such-host.invalid", ""), says: []string{
			"no-such-host.invalid", "http://no-such-host.invalid"}},
		"wrong-key": {targets: reach(p.router, p.userOrg, ""), env: "ADMIN_KEY=not-this-one", says: []string{
			"401 Unauthorized", "the admin key was refused: check it"}},
		"swapped": {targets: reach(p.userOrg, p.router, ""), says: []string{
			"401 Unauthorized", "so said " + p.router}},
		"wrong-path": {targets: reach(p.router+"/elsewhere", p.userOrg, ""), requests: 2, says: []string{
			"404 Not Found", "check targets.apiRouterUrl, which is the part before /v1"}},
		"untrusted": {targets: reach(secureRouter, secureUserOrg, ""), says: []string{
			"is signed by an authority this machine does not trust: set targets.caFile", host(secureUserOrg)}},
		"untrusted-router": {targets: reach(secureRouter, p.userOrg, ""), requests: 2, says: []string{
			"is signed by an authority this machine does not trust: set targets.caFile", host(secureRouter)}},
		"tls-to-plain": {targets: reach(https(p.router), https(p.userOrg), ""), says: []string{
			host(p.userOrg) + " does not speak TLS: write http:// in the address"}},
		"plain-to-tls": {targets: reach("http://"+host(secureRouter), "http://"+host(secureUserOrg), ""), says: []string{
			"speaks TLS", "write https:// in the address"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := "ADMIN_KEY=" + adminKey
			if c.env != "" {
				env = c.env
			}
			run := launch(t, []string{env}, "run", out.scenario(t, name, c.targets+small), "--output-dir", string(out))
			run.exits(1)
			run.says(append(c.says, "‼ BROKEN "+name, "no load was made, broken")...)
			if stderr := run.err.String(); strings.Count(stderr, "loadtest: ") != 1 {
				t.Errorf("standard error does not tell it once: %s", stderr)
			}
			b := out.document(t, name)
			if b.Verdict.Status != verdict.Broken || b.Stop.Reason != "broken" || b.Cleanup.Status != "done" || b.Headline.Requests != c.requests {
				t.Errorf("%+v, %+v, %+v, %d requests, want %d", b.Verdict, b.Stop, b.Cleanup, b.Headline.Requests, c.requests)
			}
			p.holdsNothing()
		})
	}
	if n := p.truth().Requests; n != 0 {
		t.Errorf("the platform answered %d questions", n)
	}

	// The same address, trusted.
	router, routerCA := overTLS(t, p.router)
	run := out.run(t, "trusted", reach(router, p.userOrg, fmt.Sprintf(", caFile: %q", routerCA))+small)
	run.exits(0)
	if b := out.document(t, "trusted"); b.Headline.Connect == nil {
		t.Error("no connection was made over TLS")
	}
	out.run(t, "trusting", reach(secureRouter, secureUserOrg, ", tlsVerify: false")+small).exits(0)
	p.holdsNothing()
}

// failures are what a platform can do to every request, and what must be said
// of it.
var failures = []struct {
	name, fault string
	cause       string // in the message when the very first request meets it
	kind        record.Kind
	refused     bool
	targets     string // beside the addresses
}{
	{name: "http-500", fault: "http-500=1", cause: "500 Internal Server Error", kind: record.HTTPError},
	{name: "http-503", fault: "http-503=1", cause: "503 Service Unavailable", kind: record.HTTPError, refused: true},
	{name: "too-many", fault: "storm=1", cause: "429 Too Many Requests", kind: record.RateLimited, refused: true},
	{name: "truncated", fault: "truncate=1", cause: "without a finish_reason or [DONE]", kind: record.StreamInterrupted},
	{name: "garbage", fault: "garbage=1", cause: "is not a JSON object", kind: record.InvalidResponse},
	{name: "wrong-json", fault: "wrong-json=1", cause: "200 OK", kind: record.InvalidResponse},
	{name: "reset", fault: "reset=1", cause: "connection reset by", kind: record.Connection},
	{name: "reset-midway", fault: "reset-midway=1", cause: "connection reset by", kind: record.StreamInterrupted},
	{name: "stall", fault: "stall=1,stall-for=1h", cause: "no complete stream within 2s", kind: record.Timeout, targets: ", timeout: 2s"},
}

// TestFailsFromTheFirstRequest lets the pre-flight request meet each failure:
// the run cannot be carried out, and says so after one request and not after
// ten minutes.
func TestFailsFromTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, c := range failures {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, out := startPlatform(t, "--instant", "--faults", c.fault), newFolder(t)
			run := out.run(t, c.name, reach(p.router, p.userOrg, c.targets)+small)
			run.exits(1)
			run.says("the pre-flight request to "+p.router+" failed, so no load was made", c.cause)
			b := out.document(t, c.name)
			if b.Verdict.Status != verdict.Broken || b.Headline.Requests == 0 || b.Headline.Requests > 6 || b.Summary.Overall().All.Succeeded != 0 {
				t.Errorf("%+v, %d requests", b.Verdict, b.Headline.Requests)
			}
			p.agrees(b)
			p.holdsNothing()
		})
	}
}

// TestFailsMidway lets each failure begin under load: a threshold is crossed,
// and the counts are honest.
func TestFailsMidway(t *testing.T) {
	t.Parallel()
	for _, c := range failures {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, out := startPlatform(t, "--speed", "10"), newFolder(t)
			run := out.run(t, c.name, reach(p.router, p.userOrg, c.targets)+small+`
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: 5s}]}
  slo: {errorRate: 1%}
`)
			p.served(30)
			p.faults(c.fault)
			run.exits(99)
			run.says("✗ FAILED", "error rate was")
			b := out.document(t, c.name)
			all := b.Summary.Overall()
			if b.Verdict.Status != verdict.Failed || all.All.Succeeded < 20 || all.All.Failed+all.All.Refused == 0 {
				t.Errorf("%+v, %+v", b.Verdict, all.All)
			}
			if c.refused != (all.All.Refused > 0) || c.refused == (all.All.Failed > 0) {
				t.Errorf("%d refused and %d failed", all.All.Refused, all.All.Failed)
			}
			for _, e := range all.Errors {
				if e.Kind != c.kind {
					t.Errorf("%d errors are called %s %d: %s", e.Count, e.Kind, e.Status, e.Example)
				}
			}
			p.agrees(b)
			p.holdsNothing()
		})
	}
}

// TestThePlatformDies kills the platform under load. There is nobody left to
// clean up at, which must be told with what to do about it.
func TestThePlatformDies(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--speed", "10"), newFolder(t)
	run := out.run(t, "dies", reach(p.router, p.userOrg, "")+small+`
  looping: {enabled: true}
  loadPattern: {type: steady, phases: [{name: steady, duration: 5s}]}
  slo: {errorRate: 1%}
`)
	p.served(30)
	p.signal(syscall.SIGKILL)
	run.exits(99)
	run.says("connection", "clean-up is incomplete", "loadtest cleanup --run dies --config ", "--output-dir "+string(out))
	b := out.document(t, "dies")
	all := b.Summary.Overall()
	if all.All.Succeeded < 20 || all.All.Failed == 0 || b.Cleanup.Status != "incomplete" || b.Cleanup.Remaining != 14 {
		t.Errorf("%+v, clean-up %+v", all.All, b.Cleanup)
	}
	for _, e := range all.Errors {
		if e.Kind != record.Connection && e.Kind != record.StreamInterrupted {
			t.Errorf("%d errors are called %s: %s", e.Count, e.Kind, e.Example)
		}
	}
	again := out.cleanup(t, "dies")
	again.exits(1)
	again.says("nothing listens at", "14 things remain on "+p.userOrg)
}

// TestCleanupFails lets only the User/Org service go down: the verdict
// stands, but leaving tenants behind is no success.
func TestCleanupFails(t *testing.T) {
	t.Parallel()
	p, out := startPlatform(t, "--instant"), newFolder(t)
	run := out.run(t, "left", reach(p.router, p.userOrg, "")+small+"  loadPattern: {type: steady, phases: [{name: steady, duration: 5s}]}\n  looping: {enabled: true}\n")
	p.served(30)
	p.manage(http.MethodPut, "/outages", `{"userOrg":true}`, nil)
	run.exits(1)
	run.says("✓ PASSED left", "clean-up is incomplete",
		"finish it with: loadtest cleanup --run left --config "+filepath.Join(string(out), "left.yaml")+" --output-dir "+string(out))
	b := out.document(t, "left")
	if b.Verdict.Status != verdict.Passed || b.Cleanup.Status != "incomplete" || b.Cleanup.Remaining != 14 {
		t.Errorf("%+v, clean-up %+v", b.Verdict, b.Cleanup)
	}
	p.manage(http.MethodPut, "/outages", `{}`, nil)
	out.cleanup(t, "left").exits(0)
	p.holdsNothing()
}
