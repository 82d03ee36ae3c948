package platformsim_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim"
)

func TestTheRouterSpeaksTLS(t *testing.T) {
	lent := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is good for 127.0.0.1
	defer lent.Close()
	for http1, want := range map[bool]string{true: "HTTP/1.1", false: "HTTP/2.0"} {
		p, err := platformsim.New(platformsim.Options{Models: instant()})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(platformsim.Listen{TLS: &tls.Config{Certificates: lent.TLS.Certificates, MinVersion: tls.VersionTLS12}, HTTP1: http1}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.RouterURL(), "https://") || !strings.HasPrefix(p.UserOrgURL(), "http://") {
			t.Errorf("%s and %s", p.RouterURL(), p.UserOrgURL())
		}
		transport := lent.Client().Transport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2, transport.TLSClientConfig.NextProtos = true, nil
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.RouterURL()+"/v1/status/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Proto != want {
			t.Errorf("it speaks %s, want %s", resp.Proto, want)
		}
		transport.CloseIdleConnections()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
