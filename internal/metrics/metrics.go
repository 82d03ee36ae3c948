package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// Options say whose metrics these are and what they are held against.
type Options struct {
	RunID  string
	Worker int
	// Labels are added to every metric.
	Labels map[string]string
	// PerUser is up to how many users have series of their own. If there are
	// more, organizations have them, with the user_id "all".
	PerUser int
	// Prices are those of the scenario.
	Prices platform.Prices
	// Objective and Promises are what the platform promised.
	Objective stats.Objective
	Promises  []Promise
	// State is asked at every look for what records do not tell.
	State func() State
}

// Promise is a percentile that the platform promised to keep.
type Promise struct {
	Metric   string  // ttft, itl, tpot or e2e
	Quantile float64 // 0: the mean
	Latency  time.Duration
}

// The stages of a worker, as worker_status names them.
const (
	Starting  = "starting"
	Bootstrap = "bootstrap"
	Preflight = "preflight"
	Running   = "running"
	Cleanup   = "cleanup"
	Finished  = "finished"
)

var stages = []string{Starting, Bootstrap, Preflight, Running, Cleanup, Finished}

// LimitTypes are the values of the label of limit_breached.
var LimitTypes = []string{"cost", "error_rate", "duration", "requests", "concurrency"}

// State is what a worker knows of itself at a moment.
type State struct {
	Stage   string
	Elapsed time.Duration // of the load
	Phases  []Phase       // of the load so far; the last is the present one
	Active  int           // users at work, or requests under way
	Orgs    int           // created
	// CostUsed and ErrorRateUsed are shares of their limits; nil without one.
	CostUsed, ErrorRateUsed *float64
	// Breached is the limit that ended the run, one of LimitTypes; or empty.
	Breached string
}

// Phase is one phase of the load so far.
type Phase struct {
	Name    string
	Elapsed time.Duration
}

// Metrics folds records, and what else a worker tells it, into metrics. It is
// a [prometheus.Gatherer] and safe for concurrent use.
type Metrics struct {
	opt      Options
	families map[string]*described
	room     space // of users and errors
	backroom space // of backends
	exports  exports
	windows  map[string]int // of models, in tokens; not written any more when records come
	process  process

	gathering sync.Mutex // one at a time, so that the others' CPUs are left to the load

	mu       sync.RWMutex // guards the maps; what they hold has locks of its own
	users    int
	people   map[int]*person
	owners   map[[2]string]*owner
	backends map[[3]string]*backend
	first    map[string]string // backends, by model
	flights  map[[2]string]*atomic.Int64

	own        sync.Mutex // guards what follows
	phases     map[string]uint64
	lag        stats.Histogram
	think      stats.Histogram
	bootstraps stats.Histogram
	sessions   map[string]uint64
	questions  map[string]*asked
	salts      map[string]int
	server     []gauge
}

var (
	_ record.Sink         = (*Metrics)(nil)
	_ prometheus.Gatherer = (*Metrics)(nil)
)

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// New makes the metrics of one worker. Its error is about labels that Prometheus
// would not take.
func New(o Options) (*Metrics, error) {
	fixed := map[string]string{"test_run_id": o.RunID, "worker_id": strconv.Itoa(o.Worker)}
	taken := map[string]bool{"test_run_id": true, "worker_id": true, "le": true, "quantile": true, "job": true, "instance": true}
	for _, f := range families {
		for _, l := range f.Labels {
			taken[l] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
		switch {
		case taken[name]:
			return nil, fmt.Errorf("spec.metrics.labels: %s is a label that the metrics have already: choose another name", name)
		case !labelName.MatchString(name) || strings.HasPrefix(name, "__"):
			return nil, fmt.Errorf("spec.metrics.labels: %q cannot be a label: letters, digits and _ may be, not beginning with a digit or __", name)
		}
		fixed[name] = o.Labels[name]
	}
	m := &Metrics{
		opt: o, families: describe(fixed), windows: map[string]int{},
		people: map[int]*person{}, owners: map[[2]string]*owner{}, backends: map[[3]string]*backend{}, flights: map[[2]string]*atomic.Int64{}, first: map[string]string{},
		phases: map[string]uint64{}, sessions: map[string]uint64{}, questions: map[string]*asked{}, salts: map[string]int{},
	}
	m.room.left.Store(Room - backendRoom - reserved)
	m.backroom.left.Store(backendRoom)
	return m, nil
}

// Users says how many there will be, before the first record comes.
func (m *Metrics) Users(n int) {
	m.mu.Lock()
	m.users = n
	m.mu.Unlock()
}

// Windows says how long the models' contexts are, in tokens, as far as is
// known, before the first record of the load comes.
func (m *Metrics) Windows(tokens map[string]int) { m.windows = tokens }

// Bootstrapped says how long creating the tenants took.
func (m *Metrics) Bootstrapped(took time.Duration) {
	m.own.Lock()
	m.bootstraps.Record(took)
	m.own.Unlock()
}

// Thought counts a think time.
func (m *Metrics) Thought(d time.Duration) {
	m.own.Lock()
	m.think.Record(d)
	m.own.Unlock()
}

// SessionEnded counts a session by the reason for its end.
func (m *Metrics) SessionEnded(reason string) {
	m.own.Lock()
	m.sessions[reason]++
	m.own.Unlock()
}

// Salt says how many prompts sent under a salt were found under another.
func (m *Metrics) Salt(salt string, violations int) {
	m.own.Lock()
	m.salts[salt] += violations
	m.own.Unlock()
}

// Add implements [record.Sink].
func (m *Metrics) Add(r *record.Record) { m.add(r, true) }

// BeforeLoad is a sink for requests that were sent before the load began, and
// whose moments count from elsewhere.
func (m *Metrics) BeforeLoad() record.Sink {
	return record.SinkFunc(func(r *record.Record) { m.add(r, false) })
}

func (m *Metrics) add(r *record.Record, inLoad bool) {
	p, to := m.route(r)
	m.addUser(p, to, r)
	m.addBackend(to.llm, r, inLoad)
	if r.Injected() {
		return
	}
	m.own.Lock()
	m.phases[r.Phase]++
	if r.Measured {
		m.lag.Record(r.SendLag())
	}
	m.own.Unlock()
}

func (p *person) find(r *record.Record) *route {
	for _, to := range p.routes {
		if to.model == r.Model && to.testType == r.TestType && to.backend == r.Backend {
			return to
		}
	}
	return nil
}

// route finds where a record belongs.
func (m *Metrics) route(r *record.Record) (*person, *route) {
	m.mu.RLock()
	p := m.people[r.UserIndex]
	if p != nil {
		if to := p.find(r); to != nil {
			m.mu.RUnlock()
			return p, to
		}
	}
	m.mu.RUnlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	if p = m.people[r.UserIndex]; p == nil {
		p = &person{name: r.User, org: r.Org, owner: m.owner(r)}
		m.people[r.UserIndex] = p
	}
	if to := p.find(r); to != nil {
		return p, to
	}
	to := &route{model: r.Model, backend: r.Backend, testType: r.TestType, llm: m.backend(r.Model, r.Backend, r.Org)}
	o := p.owner
	o.mu.Lock()
	defer o.mu.Unlock()
	requested, spent := o.knows(r.Model, r.TestType)
	if requested || m.room.take(requestSeries) {
		to.requests = o.requestsOf(r.Model, r.TestType)
	} else {
		to.requests = o.requestsOf(Other, Other)
	}
	if spent || m.room.take(tokenSeries) {
		to.spent = o.spentOf(r.Model)
	} else {
		to.spent = o.spentOf(Other)
	}
	p.routes = append(p.routes, to)
	return p, to
}

// owner returns whose series a user's records are in; m.mu is locked.
func (m *Metrics) owner(r *record.Record) *owner {
	key := [2]string{r.Org, r.User}
	if m.users > m.opt.PerUser {
		key[1] = All
	}
	if o := m.owners[key]; o != nil {
		return o
	}
	if !m.room.take(ownerSeries) {
		key = [2]string{Other, Other}
	}
	if m.owners[key] == nil {
		m.owners[key] = &owner{org: key[0], user: key[1]}
	}
	return m.owners[key]
}

// backend returns what an organization sees of a model on a backend; m.mu is
// locked. A request that no backend answered goes with the model's first one.
func (m *Metrics) backend(model, id, org string) *backend {
	if model == "" {
		return nil // a call of the management API, or for the list of models
	}
	if id == "" {
		id = m.first[model]
	} else if m.first[model] == "" {
		m.first[model] = id
	}
	for _, key := range [][3]string{{model, id, org}, {model, id, Other}} {
		if b := m.backends[key]; b != nil {
			return b
		}
		if m.backroom.take(backendSeries) {
			m.backends[key] = newBackend(key[0], key[1], key[2])
			return m.backends[key]
		}
	}
	key := [3]string{Other, Other, Other}
	if m.backends[key] == nil {
		m.backends[key] = newBackend(Other, Other, Other)
	}
	return m.backends[key]
}

// mostFlights is how many pairs of model and organization have a gauge of
// requests under way.
const mostFlights = 400

// Begin counts a request as under way until the function that it returns is called.
func (m *Metrics) Begin(model, org string) (end func()) {
	if model == "" {
		return func() {}
	}
	key := [2]string{model, org}
	m.mu.RLock()
	n := m.flights[key]
	m.mu.RUnlock()
	if n == nil {
		m.mu.Lock()
		if m.flights[key] == nil && len(m.flights) >= mostFlights {
			key = [2]string{Other, Other}
		}
		if n = m.flights[key]; n == nil {
			n = new(atomic.Int64)
			m.flights[key] = n
		}
		m.mu.Unlock()
	}
	n.Add(1)
	return func() { n.Add(-1) }
}

// totals are summed up while owners are emitted, so that what is said of the
// run is what is said of its users.
type totals struct {
	outcomes [record.Outcomes]uint64
	tokens   map[string][len(tokenTypes)]uint64
	costs    int64
}

// Gather implements [prometheus.Gatherer]: what is returned is the caller's. The
// error is always nil. It does without a registry, which would check and sort
// what is right by construction, and took most of the time.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	m.gathering.Lock()
	defer m.gathering.Unlock()
	e := emitter{m.families, make(map[string]*dto.MetricFamily, len(m.families))}
	state := State{Stage: Starting}
	if m.opt.State != nil {
		state = m.opt.State()
	}
	m.mu.RLock()
	owners, backends := slices.Collect(maps.Values(m.owners)), slices.Collect(maps.Values(m.backends))
	for key, n := range m.flights {
		e.number("llm_backend_requests_in_flight", float64(n.Load()), key[0], "", key[1])
	}
	m.mu.RUnlock()
	slices.SortFunc(owners, func(a, b *owner) int { return cmp.Or(cmp.Compare(a.org, b.org), cmp.Compare(a.user, b.user)) })
	slices.SortFunc(backends, func(a, b *backend) int {
		return cmp.Or(cmp.Compare(a.model, b.model), cmp.Compare(a.id, b.id), cmp.Compare(a.org, b.org))
	})

	run := totals{tokens: map[string][len(tokenTypes)]uint64{}}
	for _, o := range owners {
		o.emit(e, &run)
	}
	for _, b := range backends {
		m.emitBackend(e, b)
	}
	m.emitTop(e)
	m.emitWorker(e, state)
	m.emitRun(e, state, run)
	m.exports.emit(e)
	return e.all(), nil
}
