package platform

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Connection says how to reach one of the platform's services.
type Connection struct {
	// BaseURL is scheme, host and an optional path prefix; /v1/… is appended.
	BaseURL string
	// Timeout bounds a whole call, the body included; 0 means 60 s.
	Timeout time.Duration
	// Insecure accepts any certificate.
	Insecure bool
	// CAFile holds PEM certificates trusted in addition to the system's.
	CAFile string
	// Headers are sent with every call. Their values may be secrets.
	Headers map[string]secret.String
	// MaxConns bounds the connections kept and opened; 0 means no bound on
	// opening, and as many idle ones kept as are needed.
	MaxConns int
	// Wrap puts something around net/http's transport, which then sends the
	// inference calls; nil: nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
}

const defaultTimeout = 60 * time.Second

func (c Connection) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

// base checks the URL and returns it without a trailing slash. A base that
// already ends in /v1, as OpenAI clients write it, is accepted.
func (c Connection) base() (string, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("the address %q is not usable: write it like http://host:8080", c.BaseURL)
	}
	if u.User != nil {
		return "", errors.New("the address contains a user name or password: give credentials as keys, not in the URL")
	}
	return strings.TrimSuffix(strings.TrimSuffix(c.BaseURL, "/"), "/v1"), nil
}

// transport returns an HTTP transport tuned for many long-lived connections
// to one host.
func (c Connection) transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          0, // no bound: one host, one pool
		MaxIdleConnsPerHost:   1 << 16,
		MaxConnsPerHost:       c.MaxConns,
		DisableCompression:    true, // a compressed stream has no chunk times
		ForceAttemptHTTP2:     true,
		WriteBufferSize:       4 << 10,
		ReadBufferSize:        4 << 10,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: c.Insecure, //nolint:gosec // the user asked for it with tlsVerify: false
			ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA file %s holds no PEM certificate", c.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// plain reports whether calls to u need nothing that only net/http can: TLS,
// HTTP/2, a proxy, a bound on connections, names in other alphabets, or
// something around the transport.
func (c Connection) plain(t *http.Transport, u *url.URL) bool {
	if !hasSockets || u.Scheme != "http" || c.Wrap != nil || c.MaxConns != 0 || !headerSafe(u.Host) {
		return false
	}
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' || r == '%' }) {
		return false
	}
	proxy, err := t.Proxy(&http.Request{URL: u})
	return err == nil && proxy == nil
}
