package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// TokenEnv is the variable of the environment that holds [Options.Token].
const TokenEnv = "LOADTEST_PPROF_TOKEN" //nolint:gosec // a name

// Listener is a server at an address.
type Listener struct {
	http *http.Server
	at   net.Listener
	done chan struct{}
}

// Start serves s at address, which is host:port; port 0 takes a free one. Without
// a host, that is this machine alone, or every address of a pod.
func Start(ctx context.Context, address string, s *Server) (*Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the address %q is not host:port: %w", address, err)
	}
	if host == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		host = "127.0.0.1"
	}
	at, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	if s.opt.Profiles && s.opt.Token.Empty() && !isLoopback(at.Addr().String()) {
		_ = at.Close()
		return nil, fmt.Errorf("profiles at %s would be open to the network: listen at 127.0.0.1, or set %s", at.Addr(), TokenEnv)
	}
	l := &Listener{
		// Answers have no time limit: a profile takes as long as it is asked to.
		http: &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10},
		at:   at, done: make(chan struct{}),
	}
	go func() {
		defer close(l.done)
		_ = l.http.Serve(at) // returns when Close is called
	}()
	return l, nil
}

// URL is where the server is.
func (l *Listener) URL() string { return "http://" + l.at.Addr().String() }

// Close ends the server, and lets answers under way a second to end.
func (l *Listener) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := l.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.http.Close()
	}
	<-l.done
	return err
}
