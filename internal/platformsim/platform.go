package platformsim

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Options say what platform to simulate. The zero value is the documented
// platform with [DefaultModels], without rate limits or faults.
type Options struct {
	// Seed determines the lengths and texts of answers, the faults and the
	// coin tosses of quirks; not ids and secrets.
	Seed uint64

	AdminKey      secret.String // opens the User/Org API; empty: a random one, see Platform.AdminKey
	AdminEmail    string        // of the account to log in with; empty: admin@platform.invalid
	AdminPassword secret.String // empty: a random one, see Platform.AdminPassword

	Models []Model // nil: DefaultModels
	// Cost is the price of one request in micro-dollars and whether the model
	// has a price; without one, a request costs nothing. Nil: the models' own.
	Cost func(model string, u platform.Usage) (microUSD int64, ok bool)

	RateLimit RateLimit // of organizations that bring none of their own
	Quirks    Quirks
	Defects   Defects
	Faults    Faults
	// HashCost is what hashing a password takes under the quirk slow-invites; 0: 60 ms.
	HashCost time.Duration
	// KeyMemory is for how long a good key is not looked up again under the
	// quirk key-cache; 0: 60 s, as the real router has it.
	KeyMemory time.Duration

	Truth     io.Writer // receives the ground truth as lines of JSON; nil: nobody
	KeepTruth int       // number of last entries that Truth returns
}

// Platform is a simulated platform at work. All methods may be called
// concurrently, but Start and Close only once each.
type Platform struct {
	seed          uint64
	started       time.Time
	adminKey      secret.String
	adminEmail    string
	adminPassword secret.String
	rateLimit     RateLimit
	quirks        Quirks
	defects       Defects
	hashCost      time.Duration
	keyMemory     time.Duration
	cost          func(string, platform.Usage) (int64, bool)

	dir      atomic.Pointer[directory]
	backends map[string]*backend
	models   []*backend // in the order of Options.Models
	faults   atomic.Pointer[faultPlan]
	outages  atomic.Pointer[Outages]
	requests atomic.Uint64 // makes trace ids

	shared  sharedAccount
	hashing chan struct{} // one slot: one password is hashed at a time
	tosses  struct {
		sync.Mutex
		rng *rand.PCG
	}
	cold coldKeys

	truth *truthLog // nil without a writer
	ring  ring
	tally tally

	users    http.Handler
	inflight gauge
	servers  []*server // router, User/Org API, management
	stop     chan struct{}
	serving  sync.WaitGroup
}

// Outages are parts of the platform that are down.
type Outages struct {
	UserOrg  bool `json:"userOrg"`  // the User/Org service, on which checking keys depends
	Backends bool `json:"backends"` // all models
}

// New returns a platform that is ready to serve by its handlers; Start gives
// it ports. The caller must Close it.
func New(o Options) (*Platform, error) {
	if err := o.Faults.check(); err != nil {
		return nil, err
	}
	if o.RateLimit.RequestsPerSecond < 0 || o.RateLimit.Burst < 0 {
		return nil, errors.New("the rate limit must not be negative")
	}
	if o.Models == nil {
		o.Models = DefaultModels()
	}
	if o.AdminKey.Empty() {
		o.AdminKey = secret.New(newSecret())
	}
	if o.AdminEmail == "" {
		o.AdminEmail = "admin@platform.invalid"
	}
	if o.AdminPassword.Empty() {
		o.AdminPassword = secret.New(newSecret())
	}
	if o.HashCost <= 0 {
		o.HashCost = 60 * time.Millisecond
	}
	if o.KeyMemory <= 0 {
		o.KeyMemory = time.Minute
	}
	prices := platform.Prices{}
	p := &Platform{
		seed: o.Seed, started: time.Now(),
		adminKey: o.AdminKey, adminEmail: strings.ToLower(o.AdminEmail), adminPassword: o.AdminPassword,
		rateLimit: o.RateLimit, quirks: o.Quirks, defects: o.Defects, hashCost: o.HashCost, keyMemory: o.KeyMemory, cost: o.Cost,
		backends: map[string]*backend{},
		hashing:  make(chan struct{}, 1),
		ring:     ring{size: o.KeepTruth},
		stop:     make(chan struct{}),
	}
	for _, m := range o.Models {
		if m.Name == "" {
			return nil, errors.New("a model of the platform has no name")
		}
		if _, twice := prices[m.Name]; twice {
			return nil, fmt.Errorf("the platform has two models named %s", m.Name)
		}
		prices[m.Name] = m.Price
	}
	if p.cost == nil {
		p.cost = prices.Cost
	}
	for _, m := range o.Models {
		b := newBackend(m, o.Defects)
		p.backends[m.Name] = b
		p.models = append(p.models, b)
	}
	p.tosses.rng = rand.NewPCG(o.Seed, 0x70055)
	p.faults.Store(newFaultPlan(o.Faults, o.Seed))
	p.outages.Store(&Outages{})
	p.populate()
	p.users = p.userOrg()
	if o.Truth != nil {
		p.truth = newTruthLog(o.Truth)
		p.truth.add(p.truthHeader())
	}
	return p, nil
}

// populate starts over with a directory that holds only the administrator.
func (p *Platform) populate() {
	d := newDirectory()
	now := time.Now()
	d.home = newOrg("platform", "Platform", now)
	p.apply(d.home, orgChange{})
	d.admin = &user{
		id: newID(), email: p.adminEmail, displayName: "Administrator", org: d.home, status: active,
		password: p.adminPassword, created: now, updated: now,
	}
	d.addUser(d.admin)
	p.dir.Store(d)
}

// AdminKey returns the key that opens the User/Org API.
func (p *Platform) AdminKey() secret.String { return p.adminKey }

// AdminEmail returns the e-mail of the administrator.
func (p *Platform) AdminEmail() string { return p.adminEmail }

// AdminPassword returns the password of the administrator.
func (p *Platform) AdminPassword() secret.String { return p.adminPassword }

// Seed returns the seed that repeats this platform's behaviour.
func (p *Platform) Seed() uint64 { return p.seed }

// Started returns the moment from which the offsets of the truth count.
func (p *Platform) Started() time.Time { return p.started }

// Faults returns the faults in force.
func (p *Platform) Faults() Faults { return p.faults.Load().Faults }

// SetFaults replaces the faults and counts requests from 0 again.
func (p *Platform) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	p.faults.Store(newFaultPlan(f, p.seed))
	return nil
}

// Outages returns what is down.
func (p *Platform) Outages() Outages { return *p.outages.Load() }

// SetOutages takes parts of the platform down, or up again.
func (p *Platform) SetOutages(o Outages) { p.outages.Store(&o) }

// Truth returns the last entries, as many as Options.KeepTruth says, in the
// order in which the requests ended. A request is entered just after its
// answer is complete, so its client may be a moment ahead.
func (p *Platform) Truth() []Entry { return p.ring.list() }

// Totals returns the sums over all requests.
func (p *Platform) Totals() Totals {
	t := p.tally.totals()
	for _, b := range p.models {
		t.Lateness.Step = max(t.Lateness.Step, b.engine.Load().Stats().MaxLate)
	}
	if p.truth != nil {
		if err := p.truth.failure(); err != nil {
			t.TruthError = err.Error()
		}
	}
	return t
}

// ClearTruth forgets entries and totals. What was written stays written.
func (p *Platform) ClearTruth() {
	p.ring.clear()
	p.tally.clear()
}

// Reset makes the platform forget everything: organizations, users and keys,
// money and limits, what models have cached, the truth, and outages. Faults
// stay and count from 0 again. Requests under way are cut off.
func (p *Platform) Reset() {
	p.populate()
	p.shared.reset()
	for _, b := range p.models {
		b.restart()
	}
	p.SetOutages(Outages{})
	p.faults.Store(newFaultPlan(p.Faults(), p.seed))
	p.ClearTruth()
}

func (p *Platform) sinceStart() int64 { return int64(time.Since(p.started)) }

// chance returns a seeded random number from 0 to 1.
func (p *Platform) chance() float64 {
	p.tosses.Lock()
	defer p.tosses.Unlock()
	return unit(p.tosses.rng)
}

// hash takes the time that hashing a password takes, one at a time; false
// means that ctx was done first.
func (p *Platform) hash(ctx context.Context, cost time.Duration) bool {
	select {
	case p.hashing <- struct{}{}:
		defer func() { <-p.hashing }()
		return pause(ctx, cost)
	case <-ctx.Done():
		return false
	}
}

// pause waits; false means that ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// UserOrg returns the User/Org API.
func (p *Platform) UserOrg() http.Handler { return p.users }

// Router returns the inference API.
func (p *Platform) Router() http.Handler { return http.HandlerFunc(p.route) }

// Listen says where to listen; empty means a free port of 127.0.0.1. The
// management API has no authentication and therefore keeps to loopback.
type Listen struct {
	UserOrg, Router, Management string
	// TLS makes the router speak TLS, and HTTP/2 unless HTTP1 is set; nil: it
	// speaks HTTP/1.1 without.
	TLS   *tls.Config
	HTTP1 bool
}

// connKey is where the context of a request has its connection.
type connKey struct{}

// server is one listener and who serves it.
type server struct {
	http.Server
	listener net.Listener
	tls      bool
}

// Start listens on three ports and serves them until Close. If one of them
// cannot be had, none is kept.
func (p *Platform) Start(l Listen) error {
	if err := loopback(l.Management); err != nil {
		return err
	}
	for _, s := range []struct {
		what, address string
		handler       http.Handler
	}{{"the router", l.Router, p.Router()}, {"the User/Org API", l.UserOrg, p.UserOrg()}, {"the management API", l.Management, p.Management()}} {
		if s.address == "" {
			s.address = "127.0.0.1:0"
		}
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.address)
		if err != nil {
			for _, earlier := range p.servers {
				_ = earlier.listener.Close() // the error of note is the one above
			}
			p.servers = nil
			return fmt.Errorf("listen for %s: %w", s.what, err)
		}
		srv := &server{listener: listener}
		srv.Handler = s.handler
		srv.ReadHeaderTimeout = 10 * time.Second
		srv.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // broken clients are the point
		p.servers = append(p.servers, srv)
	}
	if p.quirks.ColdKeyCrash {
		p.servers[0].ConnState = p.cold.watch
	}
	// What is written of it is the truth. Under TLS bytes that arrived are no request yet.
	if router := p.servers[0]; l.TLS == nil && p.truth != nil {
		router.listener = stamping{router.listener}
		router.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	}
	if router := p.servers[0]; l.TLS != nil {
		router.tls, router.TLSConfig, router.Protocols = true, l.TLS, new(http.Protocols)
		router.Protocols.SetHTTP1(true)
		router.Protocols.SetHTTP2(!l.HTTP1)
	}
	for _, srv := range p.servers {
		p.serving.Go(func() { // ends when Close closes the listener
			if srv.tls {
				_ = srv.ServeTLS(srv.listener, "", "")
				return
			}
			_ = srv.Serve(srv.listener)
		})
	}
	p.serving.Go(func() { p.keepTime(p.stop) })
	return nil
}

// loopback checks an address that must not be reached from elsewhere.
func loopback(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the management address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the management API has no authentication and must listen on loopback, not on %q", address)
	}
	return nil
}

func (p *Platform) url(i int) string {
	if i >= len(p.servers) {
		return ""
	}
	scheme := "http://"
	if p.servers[i].tls {
		scheme = "https://"
	}
	return scheme + p.servers[i].listener.Addr().String()
}

// RouterURL returns where the router listens; empty before Start.
func (p *Platform) RouterURL() string { return p.url(0) }

// UserOrgURL returns where the User/Org API listens; empty before Start.
func (p *Platform) UserOrgURL() string { return p.url(1) }

// ManagementURL returns where the management API listens; empty before Start.
func (p *Platform) ManagementURL() string { return p.url(2) }

// Close stops listening, waits for the answers under way until ctx is done,
// cuts the rest off, and writes the truth to its end. Its error is that of
// writing the truth; being cut short is none.
func (p *Platform) Close(ctx context.Context) error {
	for _, srv := range p.servers {
		_ = srv.listener.Close() // Serve closes it too
	}
	idle := p.inflight.drain()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	for _, srv := range p.servers {
		_ = srv.Close() // what it could complain of is closed already
	}
	for _, b := range p.models {
		b.engine.Load().Close()
	}
	<-idle // every handler's context is done now
	close(p.stop)
	p.serving.Wait()
	if p.truth != nil {
		if err := p.truth.close(); err != nil {
			return fmt.Errorf("write the ground truth: %w", err)
		}
	}
	return nil
}

// gauge counts the requests under way.
type gauge struct {
	mu       sync.Mutex
	n        int
	draining chan struct{} // closed when n is 0; nil while requests are let in
}

func (g *gauge) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining != nil {
		return false
	}
	g.n++
	return true
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.draining != nil {
		close(g.draining)
	}
}

// drain lets nobody in any more; the channel is closed when nobody is left.
func (g *gauge) drain() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = make(chan struct{})
	if g.n == 0 {
		close(g.draining)
	}
	return g.draining
}

// sharedAccount is what all organizations spent together; the defect
// SharedBudget holds each of them to it.
type sharedAccount struct {
	mu sync.Mutex
	account
}

func (s *sharedAccount) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = account{}
}

// account returns what o is held to; o.mu is locked.
func (p *Platform) account(o *org) *account {
	if !p.defects.SharedBudget {
		return &o.spent
	}
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	copied := p.shared.account
	return &copied
}

// coldKeys counts keys that are checked for the first time. The real router
// keeps them in a map without a lock and dies of many at once.
type coldKeys struct {
	window time.Duration // 0 means coldWindow
	mu     sync.Mutex
	recent []time.Time
	conns  map[net.Conn]struct{}
}

const (
	coldLimit  = 64 // keys
	coldWindow = 100 * time.Millisecond
)

func (c *coldKeys) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if c.conns == nil {
			c.conns = map[net.Conn]struct{}{}
		}
		c.conns[conn] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(c.conns, conn)
	}
}

// seen notes a cold key and, if it was one too many, resets every connection.
func (c *coldKeys) seen(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	window := cmp.Or(c.window, coldWindow)
	c.recent = append(slices.DeleteFunc(c.recent, func(t time.Time) bool { return now.Sub(t) >= window }), now)
	if len(c.recent) < coldLimit {
		return
	}
	c.recent = c.recent[:0]
	for conn := range c.conns {
		resetConn(conn)
	}
}

// resetConn closes a connection so that its peer sees a reset.
func resetConn(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // without it the peer sees a clean end, which is bad enough
	}
	_ = conn.Close()
}
