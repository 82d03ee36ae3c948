// Package server lets others look at a run while it goes on: is it alive, does
// it make load, how far is it?
//
//	GET /healthz   200, or 503 if the loop that makes the load stands still
//	GET /readyz    200 while load is made, else 503
//	GET /status    the run as JSON, a [Status]
//
// Profiles for go tool pprof are under /debug/pprof/, if they are asked for.
// Other handlers, such as that of metrics, join them by [Server.Handle], so
// that a process has one listener.
package server

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Status is a run at one moment. Counts are cumulative, and of requests on the
// wire, retries and warm-up included. Zeros are zeros; what cannot be known is
// left out.
type Status struct {
	Run      string `json:"run"`
	Scenario string `json:"scenario"`
	Worker   int    `json:"worker"`
	Workers  int    `json:"workers"`
	// Stage is "running" while load is made, else what is done, in words.
	Stage string `json:"stage"`
	Ready bool   `json:"ready"` // load is made

	Phase string `json:"phase,omitempty"`
	// ElapsedSeconds count from the start of the load, PlannedSeconds is how long it is meant to take.
	ElapsedSeconds float64 `json:"elapsedSeconds"`
	PlannedSeconds float64 `json:"plannedSeconds,omitempty"`
	// HeartbeatSeconds is how long ago the loop that makes the load last went round.
	HeartbeatSeconds *float64 `json:"heartbeatSeconds,omitempty"`

	Users    Users     `json:"users"`
	Arrivals *Arrivals `json:"arrivals,omitempty"` // open load only
	Requests Requests  `json:"requests"`

	ErrorRate        float64 `json:"errorRate"` // 0 to 1
	PromptTokens     uint64  `json:"promptTokens"`
	CompletionTokens uint64  `json:"completionTokens"`
	CostUSD          float64 `json:"costUSD"`
	Warnings         int     `json:"warnings"`
}

// Users are at work, and wanted to be; under open load, Active is the requests under way.
type Users struct {
	Active int `json:"active"`
	Wanted int `json:"wanted"`
}

// Arrivals are the requests of open load: wanted per second at the moment, due
// so far, and of these those that could not start.
type Arrivals struct {
	PerSecond float64 `json:"perSecond"`
	Due       uint64  `json:"due"`
	Dropped   uint64  `json:"dropped"`
}

// Requests counts requests by outcome.
type Requests struct {
	Total     uint64 `json:"total"`
	Succeeded uint64 `json:"succeeded"`
	Refused   uint64 `json:"refused"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
	Retried   uint64 `json:"retried"`
}

// Options say what a server shows.
type Options struct {
	// Status is called for every request but those of /healthz.
	Status func() Status
	// Age is how long ago the loop that makes the load last went round, and whether
	// it is expected to; that of a [Pulse].
	Age func() (age time.Duration, expected bool)
	// Patience is how old a heartbeat may be; 0 means 10 s.
	Patience time.Duration
	// Profiles serves pprof: to whoever sends Token as bearer token, or without
	// one to whoever speaks to a loopback address. [Start] refuses profiles
	// without a token anywhere else.
	Profiles bool
	Token    secret.String
}

// Server is the handler of all of it.
type Server struct {
	opt Options
	mux *http.ServeMux
}

// New returns a server; [Start] gives it a listener.
func New(o Options) *Server {
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	s := &Server{opt: o, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /healthz", s.alive)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.HandleFunc("GET /status", s.status)
	if o.Profiles {
		s.mux.Handle("/debug/pprof/", s.guarded(pprof.Index))
		s.mux.Handle("/debug/pprof/cmdline", s.guarded(pprof.Cmdline))
		s.mux.Handle("/debug/pprof/profile", s.guarded(pprof.Profile))
		s.mux.Handle("/debug/pprof/symbol", s.guarded(pprof.Symbol))
		s.mux.Handle("/debug/pprof/trace", s.guarded(pprof.Trace))
	}
	return s
}

// Handle adds a handler, by a pattern of [http.ServeMux].
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

// alive asks for nothing that a stuck run might hold locked.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) {
	if age, expected := s.opt.Age(); expected && age > s.opt.Patience {
		http.Error(w, fmt.Sprintf("the loop that makes the load has stood still for %v", age.Round(time.Millisecond)), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "alive")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if now := s.opt.Status(); !now.Ready {
		http.Error(w, "no load is made: "+now.Stage, http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	now := s.opt.Status()
	if age, expected := s.opt.Age(); expected {
		seconds := age.Seconds()
		now.HeartbeatSeconds = &seconds
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(now) // who asked has gone
}

// guarded lets in whoever has the token, or if there is none, those whom the
// loopback address proves to be on this machine. A browser here may be made to
// ask by a page from elsewhere: it then names that place as host.
func (s *Server) guarded(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := s.opt.Token; !want.Empty() {
			given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if subtle.ConstantTimeCompare([]byte(given), []byte(want.Reveal())) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "profiles are for those with the token", http.StatusUnauthorized)
				return
			}
		} else if local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); local == nil || !isLoopback(local.String()) || !isLoopback(r.Host) {
			http.Error(w, "profiles are for those on this machine", http.StatusForbidden)
			return
		}
		h(w, r)
	})
}

// isLoopback reports whether an address, with or without a port, is one of this machine alone.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
