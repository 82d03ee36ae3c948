package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/chaos"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/loadpattern"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// job is a scenario in the words of the packages that carry it out.
type job struct {
	seed uint64

	createTenants bool
	plan          plan.Spec
	userOrg       platform.Connection
	admin         platform.Admin
	rateLimit     platform.RateLimit
	keys          struct {
		perUser, expiryDays int
		name                string
		rateLimit           platform.RateLimit
	}
	roles                     []string
	userMetadata, orgMetadata map[string]any
	retain                    bool

	// without tenants to create: those that bring their keys
	ownUsers []simulator.Identity
	ownOrgs  []export.Org
	ownAll   int // users, of all workers

	router  platform.Connection
	prices  platform.Prices
	script  simulator.Script
	special map[int]special // what single orgs do differently, by index
	retry   simulator.RetryPolicy
	phases  loadpattern.Phases // none: all users, until they have finished
	all     []int              // phases whose target is all users
	replace bool               // users who have finished are replaced
	open    *open              // nil: closed load
	planned time.Duration      // how long the load is meant to take; 0 if nobody knows

	thresholds []verdict.Threshold
	objective  stats.Objective
	limits     limits.Limits
	dryRun     bool
	makeChaos  bool
	chaos      chaos.Plan
}

// special is what an organization does differently; what is nil is as for all.
type special struct {
	think  *simulator.Number
	models []simulator.Model
	rate   float64 // of arrivals under open load; 0 if it shares in the general one
}

// open is open load.
type open struct {
	process loadpattern.Process
	rate    float64    // arrivals per second
	rates   []*float64 // of each phase; nil: as its users are to those of the others
}

// translate is the one place where the scenario's words become ours. warn
// takes remarks, during the run as well; those on one topic are made once.
func translate(ctx context.Context, o Options, warn func(topic, text string)) (job, error) {
	spec := &o.Scenario.Spec
	if spec.Seed == nil {
		return job{}, errors.New("the run has no seed")
	}
	j := job{
		seed:   *spec.Seed,
		router: connection(spec.Targets, spec.Targets.APIRouterURL, spec.Advanced.CorrelationID),
		prices: Prices(o.Scenario),
		retain: !spec.Cleanup.OnCompletion,
		dryRun: spec.Advanced.DryRun,
		retry: simulator.RetryPolicy{
			Attempts: spec.UserBehavior.ErrorHandling.RetryAttempts,
			Base:     spec.UserBehavior.ErrorHandling.RetryBackoff,
			Ignore:   codes(spec.UserBehavior.ErrorHandling.IgnoreErrorCodes),
		},
	}
	if err := j.tenants(o); err != nil {
		return job{}, err
	}
	j.load(spec)
	j.judgement(spec)
	j.harm(spec.Advanced.Chaos)
	var err error
	if j.script, err = script(o, len(j.phases) == 0, newTraffic(ctx, o, warn)); err != nil {
		return job{}, err
	}
	return j, j.affordable()
}

// Limits are those of all workers of a scenario together.
func Limits(s *config.Scenario) limits.Limits {
	var j job
	j.load(&s.Spec)
	return j.limits
}

// harm translates what is broken on purpose.
func (j *job) harm(x config.Chaos) {
	if !x.Enabled {
		return
	}
	j.makeChaos = true
	j.chaos = chaos.Plan{
		Seed: j.seed, DNSFailures: x.DNSFailures, Failures: x.FailureRate, Resets: x.Resets,
		Truncations: x.TruncatedStreams, SlowReads: x.SlowReads,
	}
	if l := x.NetworkLatency; l != nil {
		j.chaos.Latency, j.chaos.Variance = l.Base, l.Variance
	}
	for _, o := range x.Outages {
		j.chaos.Outages = append(j.chaos.Outages, chaos.Span{At: o.At, Duration: o.Duration})
	}
}

// affordable reports models and lengths of answers under which a limit on
// cost cannot be kept.
func (j *job) affordable() error {
	if j.limits.CostMicroUSD == 0 {
		return nil
	}
	var unpriced []string
	generates := false
	for _, c := range j.calls() {
		generates = generates || c.Generates()
		if _, ok := j.prices.Cost(c.Model, platform.Usage{}); !ok && c.Model != "" && !slices.Contains(unpriced, c.Model) {
			unpriced = append(unpriced, c.Model)
		}
	}
	if len(unpriced) > 0 {
		return fmt.Errorf("limits.maxCostUsd cannot be kept: there is no price for the model %s; give one under spec.pricing", strings.Join(unpriced, " nor for "))
	}
	if (generates || len(j.script.Models) == 0) && j.script.MaxTokens.Min < 1 {
		return errors.New("limits.maxCostUsd cannot be kept: an answer whose length is not bounded can cost anything; let userBehavior.maxTokensPerRequest have a min of at least 1")
	}
	return nil
}

// orgCall is what the users of an organization ask; 0 stands for all that
// have no models of their own.
type orgCall struct {
	simulator.EndpointModel
	org int
}

// calls are what the users of any organization ask, each once. As long as
// nobody knows the general model, they are those of organizations that differ.
func (j *job) calls() (all []orgCall) {
	add := func(org int, s simulator.Script) {
		for _, c := range s.Calls() {
			if !slices.ContainsFunc(all, func(have orgCall) bool { return have.EndpointModel == c }) {
				all = append(all, orgCall{c, org})
			}
		}
	}
	if len(j.script.Models) > 0 {
		add(0, j.script)
	}
	scripts := j.scripts()
	for _, org := range slices.Sorted(maps.Keys(scripts)) {
		if s := scripts[org]; len(s.Models) > 0 {
			add(org, s)
		}
	}
	return all
}

func connection(t config.Targets, url, correlationID string) platform.Connection {
	headers := maps.Clone(t.Headers)
	if correlationID != "" {
		if headers == nil {
			headers = map[string]secret.String{}
		}
		headers["X-Correlation-Id"] = secret.New(correlationID)
	}
	return platform.Connection{BaseURL: url, Timeout: t.Timeout, Insecure: !t.TLSVerify, CAFile: t.CAFile, Headers: headers}
}

// Prices are the built-in prices and those of the scenario.
func Prices(s *config.Scenario) platform.Prices {
	prices := platform.DefaultPrices()
	for model, p := range s.Spec.Pricing {
		price := platform.Price{
			PromptPerMillion:     int64(p.PromptPerMillion),
			CompletionPerMillion: int64(p.CompletionPerMillion),
			PerRequest:           int64(p.PerRequest),
		}
		if p.CachedPerMillion != nil {
			price.CachedPerMillion, price.HasCached = int64(*p.CachedPerMillion), true
		}
		prices[model] = price
	}
	return prices
}

// tenants decides who the users are, and who creates them. Its error is about
// secrets that are not where the scenario says.
func (j *job) tenants(o Options) (err error) {
	spec := &o.Scenario.Spec
	if own := spec.Targets.Credentials; own != nil {
		keys, err := own.Resolve(os.LookupEnv)
		if err != nil {
			return err
		}
		j.ownCredentials(keys, o.Worker, max(1, o.Workers))
		return nil
	}
	j.createTenants = true
	if j.userOrg, j.admin, err = UserOrg(o.Scenario); err != nil {
		return err
	}
	j.rateLimit = rateLimit(spec.Organizations.RateLimit)
	begun := o.Begun
	if begun.IsZero() {
		begun = time.Now()
	}
	j.plan = plan.Spec{
		RunID: o.RunID, Seed: j.seed, Started: begun, Workers: o.Workers, Spread: plan.Spread(spec.Organizations.Distribution), Whole: whole(spec),
		Orgs: spec.Organizations.Count, OrgName: spec.Organizations.NamingPattern, Budget: budget(spec.Organizations.Budget),
		Users: users(spec.Users.PerOrg), UserName: spec.Users.NamingPattern,
	}
	for _, override := range spec.Organizations.Overrides {
		p := plan.Override{Index: override.Index}
		if override.Budget != nil {
			b := budget(*override.Budget)
			p.Budget = &b
		}
		if override.Users != nil {
			u := users(*override.Users)
			p.Users = &u
		}
		j.plan.Overrides = append(j.plan.Overrides, p)
	}
	j.keys.perUser, j.keys.expiryDays, j.keys.name = spec.Users.APIKeys.PerUser, spec.Users.APIKeys.ExpiryDays, spec.Users.APIKeys.NamePrefix
	j.keys.rateLimit = rateLimit(spec.Users.APIKeys.RateLimit)
	j.roles = spec.Users.Roles
	j.userMetadata = metadata(spec.Users.Metadata)
	j.orgMetadata = metadata(spec.Organizations.CustomMetadata)
	return nil
}

// ownCredentials makes a user of every user named with the keys, in order, and
// gives them to the workers in turn.
func (j *job) ownCredentials(keys []config.Credential, worker, workers int) {
	type who struct{ org, user string }
	place, orgs := map[who]int{}, map[string]int{}
	for i, c := range keys {
		name := c.User
		if name == "" {
			name = fmt.Sprintf("key-%d", i+1)
		}
		if orgs[c.Org] == 0 {
			orgs[c.Org] = len(orgs) + 1
			j.ownOrgs = append(j.ownOrgs, export.Org{Index: len(orgs), Name: c.Org})
		}
		at, seen := place[who{c.Org, name}]
		if !seen {
			at = len(j.ownUsers)
			place[who{c.Org, name}] = at
			j.ownUsers = append(j.ownUsers, simulator.Identity{Org: c.Org, OrgIndex: orgs[c.Org], User: name, UserIndex: at})
			j.ownOrgs[orgs[c.Org]-1].Users++
		}
		j.ownUsers[at].Keys = append(j.ownUsers[at].Keys, c.Key)
	}
	j.ownAll = len(j.ownUsers)
	j.ownUsers = slices.DeleteFunc(j.ownUsers, func(u simulator.Identity) bool {
		mine := u.UserIndex%workers == worker
		if !mine {
			j.ownOrgs[u.OrgIndex-1].Users--
		}
		return !mine
	})
	j.ownOrgs = slices.DeleteFunc(j.ownOrgs, func(o export.Org) bool { return o.Users == 0 })
}

// whole reports whether organizations must not be split: the tests of budgets and
// rate limits judge by all that an organization does.
func whole(spec *config.Spec) bool {
	return spec.Isolation.Budget.Enabled || spec.Isolation.RateLimit.Enabled
}

// MostWorkers is how many workers a scenario can be shared out to, and what each
// of them needs one of at least: a user, whatever the seed, or an organization,
// if those are not split. Its error is about secrets that are not where the
// scenario says.
func MostWorkers(s *config.Scenario) (n int, each string, err error) {
	spec := &s.Spec
	if own := spec.Targets.Credentials; own != nil {
		keys, err := own.Resolve(os.LookupEnv)
		if err != nil {
			return 0, "", err
		}
		var j job
		j.ownCredentials(keys, 0, 1)
		return j.ownAll, "user", nil
	}
	orgs := spec.Organizations.Count
	least := func(u config.UsersPerOrg) int {
		if users(u).Distribution == plan.Uniform {
			return (u.Min + u.Max) / 2
		}
		return u.Min
	}
	n = orgs * least(spec.Users.PerOrg)
	for _, o := range spec.Organizations.Overrides {
		if o.Users != nil {
			n += least(*o.Users) - least(spec.Users.PerOrg)
		}
	}
	if whole(spec) || n <= orgs {
		return orgs, "organization", nil
	}
	return n, "user", nil
}

// population is how many users each worker has.
func (j *job) population(workers int) []int {
	users := make([]int, max(1, workers))
	if !j.createTenants {
		for w := range users {
			users[w] = int(plan.Share(int64(j.ownAll), w, len(users)))
		}
		return users
	}
	for _, o := range plan.Make(j.plan) {
		for _, u := range o.Users {
			users[u.Worker]++
		}
	}
	return users
}

func sum(numbers []int) (n int) {
	for _, one := range numbers {
		n += one
	}
	return n
}

func budget(b config.Budget) plan.Budget {
	return plan.Budget{
		LimitMicroUSD: int64(b.Limit), DailyMicroUSD: int64(b.Daily), WarnAtMicroUSD: int64(b.WarnAt), EnableAlerts: b.EnableAlerts,
	}
}

func rateLimit(r *config.RateLimit) platform.RateLimit {
	if r == nil {
		return platform.RateLimit{}
	}
	return platform.RateLimit{RequestsPerSecond: r.RequestsPerSecond, Burst: r.Burst}
}

func users(u config.UsersPerOrg) plan.Users {
	return plan.Users{Min: u.Min, Max: u.Max, Distribution: plan.Distribution(u.Distribution)}
}

func metadata(m map[string]string) map[string]any {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func codes(statuses []int) simulator.Codes {
	var out simulator.Codes
	for _, s := range statuses {
		out = append(out, fmt.Sprint(s))
	}
	return out
}

// load translates the phases, and what single organizations do differently.
func (j *job) load(spec *config.Spec) {
	j.replace = spec.LoadPattern.Type == config.Sustained
	if a := spec.LoadPattern.Arrival; a.Model == config.Open {
		j.open = &open{process: loadpattern.Process(a.Process), rate: a.Rate}
	}
	j.special = map[int]special{}
	for _, o := range spec.Organizations.Overrides {
		if !j.createTenants {
			break // the scenario's organizations are not those who bring their keys
		}
		s := special{rate: o.ArrivalRate, models: models(o.Models)}
		if o.ThinkTime != nil {
			n := think(*o.ThinkTime)
			s.think = &n
		}
		j.special[o.Index] = s
	}
	taken := map[string]bool{PreFlight: true, SaltCheck: true, NeighbourCheck: true, KeyCheck: true} // whatever is told by phase goes by its name
	for i, p := range spec.LoadPattern.Sequence() {
		name := p.Name
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s (%d)", p.Name, n)
		}
		taken[name] = true
		if j.open != nil {
			j.open.rates = append(j.open.rates, p.TargetRate)
		}
		if p.Users == config.AllUsers {
			j.all = append(j.all, i)
		}
		j.phases = append(j.phases, loadpattern.Phase{
			Name: name, Duration: p.Duration, Target: max(0, int(p.Users)), Ramp: loadpattern.Ramp(p.RampStrategy), Steps: p.Steps, Measure: p.Measure,
		})
		j.planned += p.Duration
	}
	j.limits = limits.Limits{
		CostMicroUSD: int64(spec.Limits.MaxCost), Duration: spec.Limits.MaxDuration, Requests: spec.Limits.MaxRequests,
		RequestsPerUser: spec.Limits.MaxRequestsPerUser, RequestsPerSecond: spec.Limits.MaxRequestsPerSecond,
		Concurrent: int64(spec.Limits.MaxConcurrentReqs),
	}
	if j.planned > 0 && j.planned <= j.limits.Duration {
		j.limits.Duration = 0 // the phases end it, and no race with them may decide the verdict
	}
	if r := spec.Limits.MaxErrorRate; r != nil {
		j.limits.ErrorRate, j.limits.HasErrorRate = *r, true
	}
}

// pattern is the load for one worker, where each has so many users. Closed load
// is split by users; what is split of open load is its arrivals, by [job.streams].
func (j *job) pattern(users []int, worker int) loadpattern.Pattern {
	if len(j.phases) == 0 {
		return loadpattern.Always(users[worker])
	}
	for _, i := range j.all {
		j.phases[i].Target = sum(users)
	}
	switch {
	case j.open != nil:
		j.open.scale(j.phases)
		return j.phases
	case len(users) > 1:
		return loadpattern.Split(j.phases, users, worker)
	}
	return j.phases
}

// scale gives every phase its rate: its own, or the general one in proportion
// to the number of users.
func (o *open) scale(phases loadpattern.Phases) {
	most := max(1, phases.Peak())
	for i := range phases {
		phases[i].Rate = o.rate * float64(phases[i].Target) / float64(most)
		if own := o.rates[i]; own != nil {
			phases[i].Rate = *own
		}
	}
}

// streams are the arrivals of one worker's users; pattern must have been
// called. The general rate is split by users, and so is an organization's own.
func (j *job) streams(users []simulator.Identity, worker, workers int) (streams []simulator.Stream) {
	whose := func(org int) int { // 0: they share the general rate
		if j.special[org].rate == 0 {
			return 0
		}
		return org
	}
	mine, all := map[int]int{}, map[int]int{}
	var rates []int // in the order of users, the general one last
	for _, u := range users {
		org := whose(u.OrgIndex)
		if mine[org]++; mine[org] == 1 && org > 0 {
			rates = append(rates, org)
		}
	}
	if mine[0] > 0 {
		rates = append(rates, 0)
	}
	if workers > 1 && j.createTenants {
		for _, o := range plan.Make(j.plan) {
			all[whose(o.Index)] += len(o.Users)
		}
	}
	for _, org := range rates {
		of := loadpattern.Arrivals{Phases: j.phases, Process: j.open.process, Share: 1}
		if org > 0 {
			of.Share = j.special[org].rate / j.open.rate
		}
		switch {
		case workers <= 1:
		case !j.createTenants:
			of.Share /= float64(workers)
		default:
			of.Share *= float64(mine[org]) / float64(max(mine[org], all[org]))
		}
		if workers > 1 && (org == 0 || mine[org] < all[org]) {
			of.Lead = float64(worker) / float64(workers)
		}
		streams = append(streams, simulator.Stream{Org: org, Arrivals: of})
	}
	return streams
}

// scripts are those of the organizations that differ; pre-flight has settled
// what they have in common.
func (j *job) scripts() map[int]simulator.Script {
	scripts := map[int]simulator.Script{}
	for org, s := range j.special {
		script := j.script
		if s.think != nil {
			script.Think = *s.think
		}
		if s.models != nil {
			script.Models, script.Targets = s.models, nil
		}
		scripts[org] = script
	}
	return scripts
}

// judgement translates what the platform promised.
func (j *job) judgement(spec *config.Spec) {
	for _, l := range []struct {
		metric    verdict.Metric
		promised  config.Latencies
		objective *time.Duration
	}{
		{verdict.TTFT, spec.SLO.TTFT, &j.objective.TTFT},
		{verdict.ITL, spec.SLO.ITL, &j.objective.ITL},
		{verdict.TPOT, spec.SLO.TPOT, &j.objective.ITL},
		{verdict.E2E, spec.SLO.E2E, &j.objective.E2E},
	} {
		for _, p := range l.promised {
			j.thresholds = append(j.thresholds, verdict.Threshold{Metric: l.metric, Quantile: p.Quantile, Latency: p.Latency})
			*l.objective = p.Latency // the highest percentile comes last
		}
	}
	if r := spec.SLO.ErrorRate; r != nil {
		j.thresholds = append(j.thresholds, verdict.Threshold{Metric: verdict.ErrorRate, Ratio: *r})
	}
	if r := spec.SLO.Availability; r != nil {
		j.thresholds = append(j.thresholds, verdict.Threshold{Metric: verdict.Availability, Ratio: *r})
	}
}

// script translates what a user does. allAtOnce is load without a ramp.
func script(o Options, allAtOnce bool, traffic *traffic) (simulator.Script, error) {
	spec := &o.Scenario.Spec
	b := &spec.UserBehavior
	s := simulator.Script{
		Questions: simulator.Count{
			Min: b.QuestionsPerSession.Min, Max: b.QuestionsPerSession.Max,
			Distribution: simulator.Distribution(b.QuestionsPerSession.Distribution),
		},
		Think:          think(b.ThinkTime),
		Stagger:        allAtOnce,
		MultiTurn:      b.Conversation.MultiTurnProbability,
		Turns:          simulator.Count{Min: b.Conversation.Turns.Min, Max: b.Conversation.Turns.Max},
		MaxTokens:      number(b.MaxTokens),
		StreamingRatio: b.StreamingRatio,
		StopAfter:      b.ErrorHandling.StopOnErrors,
		Ignore:         codes(b.ErrorHandling.IgnoreErrorCodes),
	}
	if b.SessionDuration.Max > 0 {
		s.SessionLength = simulator.Number{
			Min: b.SessionDuration.Min.Seconds(), Max: b.SessionDuration.Max.Seconds(),
			Distribution: simulator.Distribution(b.SessionDuration.Distribution),
		}
	}
	if b.Conversation.ContextRetention {
		s.Context = -1
	}
	if b.Temperature != nil {
		n := number(*b.Temperature)
		s.Temperature = &n
	}
	s.Models, s.Targets = models(b.ModelPreferences), targets(spec.ModelTargeting)
	if spec.CacheSalt.Enabled {
		s.Salt = simulator.Salt{Strategy: simulator.SaltStrategy(spec.CacheSalt.Strategy), Custom: spec.CacheSalt.CustomValue}
	}
	// Without phases the load is over when everybody is, so that somebody who
	// does not loop asks one session; with phases, whoever is wanted goes on.
	switch {
	case spec.Looping.Enabled:
		s.Loop = simulator.Loop{Max: spec.Looping.MaxLoops, For: spec.Looping.MaxDuration, SameSeed: !spec.Looping.SeedRecalculation}
	case allAtOnce:
		s.Loop = simulator.Loop{Max: 1}
	}
	var err error
	if s.Source, err = traffic.general(); err != nil {
		return simulator.Script{}, err
	}
	if s.Types, err = traffic.types(s.Source); err != nil || len(spec.ScenarioMix.Scenarios) == 0 {
		return s, err
	}
	mix, err := traffic.mix(o, s.Source)
	s.Types = append(evenly(s.Types), evenly(mix)...)
	s.Selection = map[string]simulator.Selection{"round_robin": simulator.RoundRobin, "per_user": simulator.PerUser}[spec.ScenarioMix.SelectionStrategy]
	return s, err
}

func think(t config.ThinkTime) simulator.Number {
	return simulator.Number{
		Base: t.Base.Seconds(), Variance: t.Variance.Seconds(), Min: t.Min.Seconds(), Max: t.Max.Seconds(),
		Distribution: simulator.Distribution(t.Distribution),
	}
}

func models(preferences []config.ModelWeight) (out []simulator.Model) {
	for _, m := range preferences {
		out = append(out, simulator.Model{Name: m.Model, Weight: m.Weight})
	}
	return out
}

func number(s config.Spread) simulator.Number {
	return simulator.Number{Base: s.Base, Variance: s.Variance, Min: s.Min, Max: s.Max, Distribution: simulator.Distribution(s.Distribution)}
}

// UserOrg is how a scenario reaches the User/Org API, for those who clean up
// after a run. Its error is about secrets that are not where the scenario says.
func UserOrg(s *config.Scenario) (platform.Connection, platform.Admin, error) {
	t := s.Spec.Targets
	var admin platform.Admin
	var err error
	if admin.Key, err = t.AdminKey(os.LookupEnv); err != nil {
		return platform.Connection{}, platform.Admin{}, err
	}
	if t.AdminLogin != nil {
		admin.Email = t.AdminLogin.Email
		if admin.Password, err = t.AdminLogin.Secret(os.LookupEnv); err != nil {
			return platform.Connection{}, platform.Admin{}, err
		}
	}
	return connection(t, t.UserOrgURL, s.Spec.Advanced.CorrelationID), admin, nil
}
