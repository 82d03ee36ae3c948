package platform

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

func TestStatuses(t *testing.T) {
	limited := "X-RateLimit-Limit: 200\r\nX-RateLimit-Remaining: 199\r\n"
	for _, test := range []struct {
		name, head, body string // head: status line and headers
		kind             record.Kind
		code, says       string
		retry            time.Duration
		temporary        bool
		outcome          record.Outcome
	}{
		{"bad key", "401 Unauthorized", `{"error":"invalid API key: unknown","code":"AUTH_INVALID"}`, record.AuthError, "AUTH_INVALID", "invalid API key: unknown", 0, false, record.Failed},
		{"no key", "401 Unauthorized", `{"error":"missing X-API-Key header","code":"AUTH_INVALID"}`, record.AuthError, "AUTH_INVALID", "missing X-API-Key header", 0, false, record.Failed},
		{"no judge", "401 Unauthorized", `{"error":"authentication failed: user-org-service unavailable: EOF","code":"AUTH_INVALID"}`, record.HTTPError, "AUTH_INVALID", "user-org-service unavailable", 0, true, record.Failed},
		{"every key refused", "401 Unauthorized\r\n" + strings.TrimSuffix(limited, "\r\n"), `{"error":"authentication required","code":"AUTH_INVALID"}`, record.AuthError, "AUTH_INVALID", "this version of the router refuses every key", 0, false, record.Failed},
		{"the same words without a limit", "401 Unauthorized", `{"error":"authentication required","code":"AUTH_INVALID"}`, record.AuthError, "AUTH_INVALID", "authentication required", 0, false, record.Failed},
		{"forbidden", "403 Forbidden", "no", record.AuthError, "", "no", 0, false, record.Refused},
		{"budget", "402 Payment Required", `{"error":"budget exceeded","code":"BUDGET_EXCEEDED","limit_context":{"current_usage":10000,"limit":10000,"quota_type":"budget"}}`, record.BudgetExceeded, "BUDGET_EXCEEDED", "budget exceeded", 0, false, record.Refused},
		{"rate limit in seconds", "429 Too Many Requests\r\nRetry-After: 3", `{"error":"rate limit","code":"RATE_LIMIT_EXCEEDED","retry_after_seconds":1}`, record.RateLimited, "RATE_LIMIT_EXCEEDED", "rate limit", 3 * time.Second, true, record.Refused},
		{"rate limit in the body", "429 Too Many Requests", `{"error":"rate limit","retry_after_seconds":1.5}`, record.RateLimited, "", "rate limit", 1500 * ms, true, record.Refused},
		{"rate limit in its context", "429 Too Many Requests", `{"error":"rate limit","limit_context":{"retry_after_seconds":2}}`, record.RateLimited, "", "rate limit", 2 * time.Second, true, record.Refused},
		{"rate limit without a time", "429 Too Many Requests\r\nRetry-After: soon", "", record.RateLimited, "", "does not say why", 0, true, record.Refused},
		{"OpenAI's error", "400 Bad Request", `{"error":{"message":"max_tokens is too large","type":"invalid_request_error","code":null}}`, record.Validation, "invalid_request_error", "max_tokens is too large", 0, false, record.Failed},
		{"OpenAI's unknown model", "404 Not Found", `{"error":{"message":"no model x","type":"invalid_request_error","code":"model_not_found"}}`, record.Validation, "model_not_found", "no model x", 0, false, record.Failed},
		{"vLLM's error", "400 Bad Request", `{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`, record.Validation, "BadRequestError", "too long", 0, false, record.Failed},
		{"FastAPI's error", "422 Unprocessable Entity", `{"detail":"field required"}`, record.Validation, "", "field required", 0, false, record.Failed},
		{"OAuth's error", "400 Bad Request", `{"error":"invalid_grant","error_description":"wrong password"}`, record.Validation, "invalid_grant", "wrong password", 0, false, record.Failed},
		{"too large", "413 Request Entity Too Large", "request body too large\n", record.Validation, "", "request body too large (", 0, false, record.Failed},
		{"no such path", "404 Not Found", "404 page not found\n", record.HTTPError, "", "404 page not found", 0, false, record.Failed},
		{"request timeout", "408 Request Timeout", "", record.HTTPError, "", "does not say why", 0, true, record.Failed},
		{"backend", "502 Bad Gateway", `{"error":"backend: invalid character 'd' looking for beginning of value","code":"BACKEND_ERROR","trace_id":"x"}`, record.HTTPError, "BACKEND_ERROR", "invalid character 'd'", 0, true, record.Failed},
		{"overload", "503 Service Unavailable\r\nRetry-After: 1", "<html>\n<body>try  later</body>\n</html>", record.HTTPError, "", "<html> <body>try later</body> </html>", time.Second, true, record.Refused},
		{"a redirect", "307 Temporary Redirect\r\nLocation: https://elsewhere/v1", "", record.HTTPError, "", "redirects to https://elsewhere/v1", 0, false, record.Failed},
		{"an echo of the key", "401 Unauthorized", `{"error":"invalid API key: \"sk-the-key\" (sk-the-key)"}`, record.AuthError, "", `invalid API key: "[redacted]" ([redacted])`, 0, false, record.Failed},
		{"an echo of the key in text", "500 Oops", "panic: header Bearer sk-the-key", record.HTTPError, "", "Bearer [redacted]", 0, true, record.Failed},
		{"an echo of the key as a code", "400 Bad Request", `{"error":"x","code":"sk-the-key"}`, record.Validation, "[redacted]", "x", 0, false, record.Failed},
		{"a long echo", "500 Oops", strings.Repeat("é", 95) + " sk-the-key " + strings.Repeat("x", 500), record.HTTPError, "", "[redac", 0, true, record.Failed},
		{"a wild text", "500 Oops", "a\x00b\x1b[31m\xff\tc", record.HTTPError, "", "a b [31m\ufffd c", 0, true, record.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, _ *http.Request) {
				w.say("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", test.head, len(test.body), test.body)
			})
			var x Exchange
			e := kindOf(t, c.Do(t.Context(), ask(), &x))
			if e.Kind != test.kind || e.Code != test.code || e.RetryAfter != test.retry || e.Temporary() != test.temporary || e.Outcome() != test.outcome {
				t.Errorf("%+v, temporary %v, %s", e, e.Temporary(), e.Outcome())
			}
			if !strings.Contains(e.Message, test.says) {
				t.Errorf("%q does not say %q", e.Message, test.says)
			}
			if fmt.Sprint(e.Status) != test.head[:3] || x.Status != e.Status || x.Done == 0 || x.FirstByte == 0 {
				t.Errorf("status %d; %+v", e.Status, x)
			}
			if all := fmt.Sprintf("%v %+v %v", e, *e, errors.Unwrap(e)); strings.Contains(all, "sk-the") {
				t.Errorf("the key is in %s", all)
			}
		})
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	c := raw(t, func(w wire, _ *http.Request) {
		w.say("HTTP/1.1 429 Slow\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
	})
	e := kindOf(t, c.Do(t.Context(), ask(), new(Exchange)))
	if e.RetryAfter < 50*time.Second || e.RetryAfter > time.Minute {
		t.Errorf("%v", e.RetryAfter)
	}
}

func TestConnectionHeadersAreSecrets(t *testing.T) {
	c := raw(t, func(w wire, r *http.Request) {
		text := "you sent " + r.Header.Get("X-Gateway-Key")
		w.say("HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	})
	c2 := newClient(t, Connection{BaseURL: "http://" + c.host, Headers: map[string]secret.String{"X-Gateway-Key": secret.New("gw-secret")}})
	if e := kindOf(t, c2.Do(t.Context(), ask(), new(Exchange))); e.Message != "you sent [redacted]" {
		t.Errorf("%v", e)
	}
}

func TestBrokenConnections(t *testing.T) {
	cut := func(w wire) { _ = w.Close() }
	reset := func(w wire) { _ = w.Conn.(*net.TCPConn).SetLinger(0); cut(w) }
	for _, test := range []struct {
		name   string
		script func(wire)
		q      *Request
		kind   record.Kind
		says   string
		chunks int
	}{
		{"closed before the answer", cut, ask(), record.Connection, "closed the connection", 0},
		{"reset before the answer", reset, ask(), record.Connection, "reset by", 0},
		{"closed inside the head", func(w wire) { w.say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"); cut(w) }, ask(), record.Connection, "closed the connection", 0},
		{"closed inside an answer", func(w wire) { w.say(jsonHead, 100, `{"choices":`); cut(w) }, askWhole(), record.Connection, "before the answer was complete", 0},
		{"closed inside a chunk", func(w wire) {
			w.say("%s", strings.Replace(streamHead, "text/event-stream", "application/json", 1))
			w.say("ff\r\n{")
			cut(w)
		}, askWhole(), record.Connection, "before the answer was complete", 0},
		{"closed inside a stream", func(w wire) { w.say(streamHead); w.event(delta("x")); w.say("ff\r\ndata:"); cut(w) }, ask(), record.StreamInterrupted, "before the answer was complete", 1},
		{"closed after the reason", func(w wire) { w.say(streamHead); w.event(delta("x")); w.event(stop); cut(w) }, ask(), record.StreamInterrupted, "before the answer was complete", 1},
		{"reset inside a stream", func(w wire) {
			w.say(streamHead)
			w.event(delta("x"))
			w.event(delta("y"))
			reset(w)
		}, ask(), record.StreamInterrupted, "", -1}, // a reset may overtake what was sent
		{"bad chunking", func(w wire) { w.say(streamHead); w.event(delta("x")); w.say("zz\r\n") }, ask(), record.StreamInterrupted, "", 1},
		{"no HTTP", func(w wire) { w.say("SSH-2.0-OpenSSH\r\n"); cut(w) }, ask(), record.InvalidResponse, "does not speak HTTP", 0},
		{"no HTTP but the key", func(w wire) { w.say("sk-the-key\r\n"); cut(w) }, ask(), record.InvalidResponse, "does not speak HTTP", 0},
		{"a TLS alert", func(w wire) { w.say("\x15\x03\x01\x00\x02\x02\x46"); cut(w) }, ask(), record.TLS, "write https://", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := raw(t, func(w wire, _ *http.Request) { test.script(w) })
			var x Exchange
			e := kindOf(t, c.Do(t.Context(), test.q, &x))
			if e.Kind != test.kind || !strings.Contains(e.Message, test.says) || test.chunks >= 0 && x.Chunks != test.chunks || x.Done == 0 {
				t.Errorf("%v is %s; %+v", e, e.Kind, x)
			}
			if all := fmt.Sprintf("%v %+v %v", e, *e, errors.Unwrap(e)); strings.Contains(all, "sk-the-key") {
				t.Errorf("the key is in %s", all)
			}
			if e.Err == nil {
				t.Error("the cause is missing")
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var x Exchange
	e := kindOf(t, newClient(t, Connection{BaseURL: "http://" + address}).Do(t.Context(), ask(), &x))
	if e.Kind != record.Connection || e.Message != "connection refused: nothing listens at "+address || !errors.Is(e, syscall.ECONNREFUSED) || x.Done < x.Sent || x.Status != 0 {
		t.Errorf("%v is %s; %+v", e, e.Kind, x)
	}
}

func TestUnknownHost(t *testing.T) {
	e := kindOf(t, newClient(t, Connection{BaseURL: "http://no-such-host.invalid"}).Do(t.Context(), ask(), new(Exchange)))
	if e.Kind != record.DNS || !strings.Contains(e.Message, "no-such-host.invalid") {
		t.Errorf("%v is %s", e, e.Kind)
	}
}

// TestExplain covers what cannot be brought about in a test.
func TestExplain(t *testing.T) {
	dial := func(errno error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	for _, test := range []struct {
		err  error
		kind record.Kind
		says string
	}{
		{&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}, record.DNS, "the name h does not exist"},
		{&net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}, record.DNS, "could not be looked up: i/o timeout"},
		{dial(syscall.ETIMEDOUT), record.Timeout, "no connection to h:1: it does not answer"},
		{dial(syscall.EHOSTUNREACH), record.Connection, "no route to h:1"},
		{dial(syscall.EMFILE), record.Connection, "ulimit -n"},
		{dial(syscall.EADDRNOTAVAIL), record.Connection, "no port left"},
		{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(syscall.ECONNREFUSED)}, record.Connection, "nothing listens at the proxy"},
		{&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, record.Timeout, "timed out"},
		{errors.New("net/http: TLS handshake timeout"), record.Timeout, "TLS handshake"},
		{errors.New("remote error: tls: handshake failure"), record.TLS, "no TLS connection to h:1"},
		{errors.New("http2: server sent GOAWAY"), record.Connection, "GOAWAY"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, record.TLS, "is not valid: "},
		{x509.HostnameError{Host: "h", Certificate: &x509.Certificate{}}, record.TLS, "for another host: no host"},
	} {
		if kind, message := explain(test.err, "h:1"); kind != test.kind || !strings.Contains(message, test.says) {
			t.Errorf("%v: %s, %q", test.err, kind, message)
		}
	}
}

// certificate makes a self-signed one.
func certificate(t *testing.T, names []string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func pemFile(t *testing.T, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTLS(t *testing.T) {
	now := time.Now()
	day := 24 * time.Hour
	good := certificate(t, []string{"127.0.0.1"}, now.Add(-day), now.Add(day))
	old := certificate(t, []string{"127.0.0.1"}, now.Add(-3*day), now.Add(-day))
	future := certificate(t, []string{"127.0.0.1"}, now.Add(day), now.Add(3*day))
	other := certificate(t, []string{"elsewhere.example", "also.example"}, now.Add(-day), now.Add(day))
	needsClient := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}

	for _, test := range []struct {
		name   string
		server *tls.Config // nil: plain HTTP
		scheme string
		conn   Connection
		says   string // empty: it works
	}{
		{"trusted", &tls.Config{Certificates: []tls.Certificate{good}}, "https", Connection{CAFile: pemFile(t, good.Certificate[0])}, ""},
		{"unchecked", &tls.Config{Certificates: []tls.Certificate{other}}, "https", Connection{Insecure: true}, ""},
		{"unknown authority", &tls.Config{Certificates: []tls.Certificate{good}}, "https", Connection{}, "set targets.caFile"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{old}}, "https", Connection{CAFile: pemFile(t, old.Certificate[0])}, "expired on " + now.Add(-day).UTC().Format("2006-01-02")},
		{"not yet valid", &tls.Config{Certificates: []tls.Certificate{future}}, "https", Connection{CAFile: pemFile(t, future.Certificate[0])}, "check the clocks"},
		{"another host", &tls.Config{Certificates: []tls.Certificate{other}}, "https", Connection{CAFile: pemFile(t, other.Certificate[0])}, "another host"},
		{"client certificate wanted", needsClient, "https", Connection{CAFile: pemFile(t, good.Certificate[0])}, "no TLS connection"},
		{"TLS to a plain server", nil, "https", Connection{}, "write http://"},
		{"plain to a TLS server", &tls.Config{Certificates: []tls.Certificate{good}}, "http", Connection{}, "write https://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"x"}}]}`)
			}))
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			if test.server != nil {
				srv.TLS = test.server
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			test.conn.BaseURL = test.scheme + "://" + srv.Listener.Addr().String()
			var x Exchange
			err := newClient(t, test.conn).Do(t.Context(), askWhole(), &x)
			if test.says == "" {
				if err != nil || x.TLS <= 0 {
					t.Errorf("%v; %+v", err, x)
				}
				return
			}
			if e := kindOf(t, err); e.Kind != record.TLS || !strings.Contains(e.Message, test.says) || e.Temporary() {
				t.Errorf("%v is %s", e, e.Kind)
			}
		})
	}
}
