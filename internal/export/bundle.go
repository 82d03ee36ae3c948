// Package export defines the artefact of a run: one versioned JSON document.
//
// Every worker writes one. It carries histograms, not percentiles, so that
// merging the documents of many workers gives exactly what one worker would
// have measured; the Headline is derived from them after merging, for people
// and for jq. It never contains a secret.
package export

import (
	"fmt"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// Schema names this version of the document.
const Schema = "loadtest.ai-aas.dev/result/v1"

// Bundle is the document. Durations are nanoseconds; offsets count from Run.Started.
type Bundle struct {
	Schema   string          `json:"schema"`
	Tool     Tool            `json:"tool"`
	Run      Run             `json:"run"`
	Verdict  verdict.Verdict `json:"verdict"`
	Headline Headline        `json:"headline"`
	Phases   []Phase         `json:"phases"`
	Orgs     []Org           `json:"orgs"`
	Stop     Stop            `json:"stop"`
	// Throttled are the limits of our own that made requests wait.
	Throttled []Throttle `json:"throttled,omitempty"`
	// Search is what a search for the most load found; nil if the load was the scenario's.
	Search *capacity.Search `json:"search,omitempty"`
	// Isolation says whether tenants are kept apart, a verdict for each test made.
	Isolation []Isolation `json:"isolation,omitempty"`
	// KeyLifecycle says whether keys that were withdrawn under load stopped
	// working, a verdict for each way of withdrawing them.
	KeyLifecycle []KeyLifecycle `json:"keyLifecycle,omitempty"`
	// Chaos is what this tool broke on purpose; nil if nothing.
	Chaos *Chaos `json:"chaos,omitempty"`
	// Bootstrap is nil when the users brought their own keys.
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
	Cleanup   *Cleanup   `json:"cleanup,omitempty"`
	// Generator is what this tool had to work with, and whether it shows in the
	// numbers; nil without a load.
	Generator *Generator `json:"generator,omitempty"`
	// Quality is how far the statistics can be trusted; nil without a load.
	Quality *Quality `json:"quality,omitempty"`
	// Findings are about the platform: what it does differently from what it
	// promises. Warnings are about this run: what weakens its numbers.
	Findings []Finding      `json:"findings"`
	Warnings []string       `json:"warnings"`
	Summary  *stats.Summary `json:"summary"`
}

// Tool is the program that measured.
type Tool struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	CPUs    int    `json:"cpus"`
}

// Run says what was run.
type Run struct {
	ID             string            `json:"id"`
	Scenario       string            `json:"scenario"` // metadata.name
	ScenarioSHA256 string            `json:"scenarioSha256,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"` // of the scenario, as they are
	Seed           uint64            `json:"seed"`
	Target         Target            `json:"target"`
	// Started is when the first phase began, after bootstrap.
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"durationNs"` // of the load: until the last answer
	// MeasuredDuration is the part of Duration outside warm-up and cool-down.
	MeasuredDuration time.Duration `json:"measuredDurationNs"`
	// CostLimitMicroUSD is what the run was allowed to spend; 0 if anything.
	CostLimitMicroUSD int64 `json:"costLimitMicroUSD,omitempty"`
	// Worker is the index of the worker whose document it is; 0 where those of
	// all are merged.
	Worker  int `json:"worker"`
	Workers int `json:"workers"`
	// Attempt is which attempt at the worker's part it is, from 0: a pod that is
	// lost is replaced.
	Attempt int `json:"attempt,omitempty"`
	// Host is the pod that it ran in; empty where all workers share a machine.
	Host string `json:"host,omitempty"`
	// Late is how long after Started this worker began, at the load's present: it
	// came late, or in place of one that was lost.
	Late time.Duration `json:"lateNs,omitempty"`
	// Carried is how many requests earlier attempts had counted when they were
	// last heard of.
	Carried uint64 `json:"carried,omitempty"`
	// StartSpread is how long after the first of several workers the last one
	// began, first attempts alone; 0 before they are merged.
	StartSpread time.Duration `json:"startSpreadNs,omitempty"`
	// Lost are the workers whose document is missing: what they measured is in
	// no number.
	Lost []Lost `json:"lost,omitempty"`
}

// Lost is a worker's attempt that left no document.
type Lost struct {
	Worker  int    `json:"worker"`
	Attempt int    `json:"attempt,omitempty"`
	Reason  string `json:"reason"`
	// Requests is how many it had counted when it was last heard of.
	Requests uint64 `json:"requests"`
	// Replaced says that a later attempt took its place and left a document: the
	// run was carried out, but for the numbers of this attempt.
	Replaced bool `json:"replaced,omitempty"`
}

// Losses say what is in no number, a sentence for each attempt that was lost: for
// good, or replaced.
func (r *Run) Losses() (forGood, replaced []string) {
	for _, l := range r.Lost {
		into, how, who := &forGood, "lost", fmt.Sprintf("worker %d of %d", l.Worker, r.Workers)
		if l.Replaced {
			into, how = &replaced, "lost and replaced"
		}
		if l.Replaced || l.Attempt > 0 {
			who = fmt.Sprintf("attempt %d of %s", l.Attempt, who)
		}
		requests := "if it made any"
		if l.Requests > 0 {
			requests = "at least " + human.Count(l.Requests)
		}
		*into = append(*into, fmt.Sprintf("%s was %s (%s): its requests, %s, are in no number", who, how, human.Clean(l.Reason), requests))
	}
	return forGood, replaced
}

// Target is what was tested.
type Target struct {
	RouterURL  string `json:"routerUrl"`
	UserOrgURL string `json:"userOrgUrl,omitempty"`
	Embedded   bool   `json:"embedded"` // the simulated platform of this tool
}

// Headline are the numbers people ask for first, over the measured requests.
// A latency is nil when nothing was measured: unknown is not zero.
type Headline struct {
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	GoodputPerSecond  float64 `json:"goodputPerSecond"` // successes within the objectives
	TokensPerSecond   float64 `json:"tokensPerSecond"`  // completion tokens
	ErrorRate         float64 `json:"errorRate"`
	Requests          uint64  `json:"requests"` // all, warm-up included
	CostMicroUSD      int64   `json:"costMicroUSD"`
	// MaxUsers is the most users at a time; under open load, of requests under way.
	MaxUsers int `json:"maxUsers"`
	// Users is the closed load as it was meant and as it was made; nil under open load.
	Users *UserLoad `json:"users,omitempty"`
	// Arrivals are those of the measured phases; nil under closed load.
	Arrivals *ArrivalRates `json:"arrivals,omitempty"`
	E2E      *Quantiles    `json:"e2e,omitempty"`
	TTFT     *Quantiles    `json:"ttft,omitempty"`
	ITL      *Quantiles    `json:"itl,omitempty"`
	TPOT     *Quantiles    `json:"tpot,omitempty"`
	Connect  *Quantiles    `json:"connect,omitempty"`
	SendLag  *Quantiles    `json:"sendLag,omitempty"`
}

// Quantiles of one latency. A percentile is missing, 0 here, if there are too
// few values to know it: fewer than 6 for p50, 36 for p90, 72 for p95, 368 for p99.
type Quantiles struct {
	Count uint64        `json:"count"`
	Mean  time.Duration `json:"meanNs"`
	Min   time.Duration `json:"minNs"`
	P50   time.Duration `json:"p50Ns,omitempty"`
	P90   time.Duration `json:"p90Ns,omitempty"`
	P95   time.Duration `json:"p95Ns,omitempty"`
	P99   time.Duration `json:"p99Ns,omitempty"`
	Max   time.Duration `json:"maxNs"`
	// 95% confidence intervals of percentiles that are known; none of ITL, whose
	// values depend on one another.
	P50CI *Range `json:"p50Ci95Ns,omitempty"`
	P95CI *Range `json:"p95Ci95Ns,omitempty"`
	P99CI *Range `json:"p99Ci95Ns,omitempty"`
}

// Range is from the first to the second.
type Range [2]time.Duration

// UserLoad is closed load, averaged over the measured phases.
type UserLoad struct {
	Intended  float64 `json:"intended"`  // active users that were asked for
	Delivered float64 `json:"delivered"` // and that there were
}

// Phase is one phase as it ran.
type Phase struct {
	Name     string        `json:"name"`
	Start    time.Duration `json:"startNs"`
	End      time.Duration `json:"endNs"`
	Measured bool          `json:"measured"`
	// Constant says that the load was not meant to change.
	Constant    bool `json:"constant,omitempty"`
	TargetUsers int  `json:"targetUsers"`
	// Arrivals is nil under closed load.
	Arrivals *Arrivals `json:"arrivals,omitempty"`
}

// Arrivals is open load as it was meant and as it was made: of Intended
// requests, Dropped were never sent: too many others were under way, or limits of
// our own held them back until the load was over.
type Arrivals struct {
	Intended uint64 `json:"intended"`
	Dropped  uint64 `json:"dropped"`
}

// ArrivalRates are arrivals, and per second.
type ArrivalRates struct {
	Arrivals
	IntendedPerSecond  float64 `json:"intendedPerSecond"`
	DeliveredPerSecond float64 `json:"deliveredPerSecond"`
}

// Org is one tenant of the run.
type Org struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Slug  string `json:"slug,omitempty"`
	Users int    `json:"users"`
	// BudgetMicroUSD is the spending limit set at creation; 0 if none.
	BudgetMicroUSD int64 `json:"budgetMicroUSD,omitempty"`
	// Arrivals are those of its users, in all phases; nil under closed load.
	Arrivals *Arrivals `json:"arrivals,omitempty"`
}

// TakenAway is the detail of [Stop] in a document of a pod that was told to end
// by its cluster, and not by a person.
const TakenAway = "its pod was taken away"

// Stop says why the load ended.
type Stop struct {
	// Reason is completed, limit, interrupted or broken.
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Throttle is what one limit of the scenario made requests wait for. The
// waiting is part of their send lag and latency.
type Throttle struct {
	Limit    string        `json:"limit"` // maxCostUsd, maxRequestsPerSecond or maxConcurrentReqs
	Requests int64         `json:"requests"`
	Total    time.Duration `json:"totalNs"`
	Longest  time.Duration `json:"longestNs"`
}

// The kinds of isolation that are judged.
const (
	CacheSalt      = "cache salt isolation"
	NoisyNeighbour = "noisy neighbour"
	Budget         = "budget isolation"
	RateLimit      = "rate limit accuracy"
)

// Isolation is the verdict on one way of keeping tenants apart, and its evidence.
type Isolation struct {
	Kind    string `json:"kind"`            // cache salt isolation, noisy neighbour, budget isolation or rate limit accuracy
	Org     string `json:"org,omitempty"`   // whose budget or rate limit it is
	Model   string `json:"model,omitempty"` // the models that were asked, for the other kinds
	Verdict string `json:"verdict"`         // leak, no leak; harmed, not harmed; violated, held; undecided
	Reason  string `json:"reason"`
	// The evidence: the member of the kind, and nil the others.
	Salts     *Salts          `json:"salts,omitempty"`
	Neighbour *Neighbour      `json:"neighbour,omitempty"`
	Budget    *BudgetEvidence `json:"budget,omitempty"`
	RateLimit *RateEvidence   `json:"rateLimit,omitempty"`
}

// BudgetEvidence is what one tenant spent of its budget, and what the others felt.
type BudgetEvidence struct {
	LimitMicroUSD     int64 `json:"limitMicroUSD"`
	SpentMicroUSD     int64 `json:"spentMicroUSD"`
	OverspentMicroUSD int64 `json:"overspentMicroUSD"`
	// Overspent is the same as a part of the budget.
	Overspent float64 `json:"overspent"`
	// Refused counts refusals because of the budget; Early came before it could
	// have been spent, and the first of all at FirstRefusal, when FirstSpent can
	// have been booked at most.
	Refused            int           `json:"refused"`
	Early              int           `json:"early"`
	FirstRefusal       time.Duration `json:"firstRefusalNs"` // from the start of the load
	FirstSpentMicroUSD int64         `json:"firstSpentMicroUSD"`
	// Late requests were answered when the budget had long been overspent.
	Late         int   `json:"late"`
	LateMicroUSD int64 `json:"lateMicroUSD"`
	// UnknownCosts counts requests whose cost nobody knows.
	UnknownCosts int `json:"unknownCosts,omitempty"`
	// Wronged are other tenants refused although their own budgets were not
	// spent, and how often.
	Wronged map[string]int `json:"wronged,omitempty"`
	// Errors and Latency compare the others before and after the first refusal.
	Errors  Change `json:"errors"`
	Latency Change `json:"latency"`
}

// Change is a comparison: of shares of errors, or of median latencies in
// seconds. The bounds are of the difference. What is not known is nil.
type Change struct {
	Verdict        string   `json:"verdict"` // violated, held or undecided
	Before         *float64 `json:"before,omitempty"`
	After          *float64 `json:"after,omitempty"`
	Low            *float64 `json:"low,omitempty"`
	High           *float64 `json:"high,omitempty"`
	Margin         float64  `json:"margin"` // a difference up to it does not matter
	RequestsBefore int      `json:"requestsBefore"`
	RequestsAfter  int      `json:"requestsAfter"`
}

// RateEvidence is a rate limit as promised and as it was met.
type RateEvidence struct {
	Requests  int     `json:"requests"`  // sent for the test
	PerSecond float64 `json:"perSecond"` // promised
	Burst     int     `json:"burst"`
	// AtOnce passed before the first refusal.
	AtOnce int `json:"atOnce"`
	// Offered requests between two refusals, Allowed of which passed; and the
	// bounds of the rate that follow; all are 0 if it is not known.
	Offered int           `json:"offered"`
	Allowed int           `json:"allowed"`
	Over    time.Duration `json:"overNs"`
	Low     float64       `json:"lowPerSecond"`
	High    float64       `json:"highPerSecond"`
	// The overshoot is a part of the promised rate; negative is less.
	OvershootLow  float64 `json:"overshootLow"`
	OvershootHigh float64 `json:"overshootHigh"`
	// Waits are refusals whose Retry-After was waited for, WrongWaits those
	// after which a request was refused again.
	Waits      int           `json:"waits"`
	WrongWaits int           `json:"wrongWaits"`
	RetryAfter time.Duration `json:"retryAfterNs"` // the longest
}

// Salts is the evidence on cache salts.
type Salts struct {
	// Violations is how many of Pairs show a leak: security violations.
	Violations int `json:"violations"`
	// Violated lists them, unless the scenario asks for their number alone.
	Violated []Violation `json:"violated,omitempty"`
	Requests int         `json:"requests"` // sent for the test, retries not counted
	// TokensKnown says that the platform's account of cached tokens tells
	// prompts that were sent before from others; BaselineTokens is the most
	// that it shows for one that was not.
	TokensKnown    bool `json:"tokensKnown"`
	BaselineTokens int  `json:"baselineTokens"`
	// Medians of TTFT: of readers' prompts that are new, of owners' that are
	// repeated, of readers' that an owner has sent before.
	Cold  time.Duration `json:"coldNs"`
	Warm  time.Duration `json:"warmNs"`
	Cross time.Duration `json:"crossNs"`
	// PLeak and PClean are one-sided p of Mann–Whitney tests: of cross being
	// below cold, and of warm being below cross.
	PLeak  float64    `json:"pLeak"`
	PClean float64    `json:"pClean"`
	Pairs  []SaltPair `json:"pairs,omitempty"`
}

// Neighbour is what others felt of an organization that sends much.
type Neighbour struct {
	Aggressor string `json:"aggressor"`
	Requests  int    `json:"requests"` // sent for the test, retries not counted
	// Quiet and Loud are the 95th percentiles of the others' TTFT without and
	// with the aggressor, counted from sending; a failed request counts as slow.
	Quiet time.Duration `json:"quietP95Ns"`
	Loud  time.Duration `json:"loudP95Ns"`
	// Ratio is how many times as long that of a round is with the aggressor
	// (Hodges–Lehmann), within Low and High with 99.8% confidence; Bar is where
	// harm begins. The first three are 0 if there were too few rounds.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Bar   float64 `json:"bar"`
	// Rounds are the ratios of single rounds.
	Rounds []float64 `json:"rounds,omitempty"`
	// Lag is the 95th percentile of how late this tool sent the others' requests.
	Lag time.Duration `json:"lagP95Ns"`
	// Fairness is Jain's index of goodput over fair share, with the aggressor.
	Fairness float64        `json:"fairness"`
	Orgs     []NeighbourOrg `json:"orgs,omitempty"`
}

// NeighbourOrg is what one organization had of the platform while the
// aggressor was loud, in requests per second.
type NeighbourOrg struct {
	Org     string  `json:"org"`
	Wanted  float64 `json:"wanted"`  // sent
	Goodput float64 `json:"goodput"` // answered within the objectives
	Fair    float64 `json:"fair"`    // max-min fair share of the goodput of all
}

// Violation is a prompt sent under one salt and found in the cache under another.
type Violation struct {
	Salt      string `json:"salt"`
	ReadUnder string `json:"readUnder"`
	Pair      int    `json:"pair"` // index into Pairs
}

// SaltPair is what the four requests of one pair of tenants showed.
type SaltPair struct {
	Cold    SaltProbe `json:"cold"`    // the owner's prompt, new
	Warm    SaltProbe `json:"warm"`    // the owner's prompt, repeated
	Cross   SaltProbe `json:"cross"`   // the owner's prompt, by the reader
	Control SaltProbe `json:"control"` // another prompt by the reader, new
}

// SaltProbe is what one request showed.
type SaltProbe struct {
	// TTFT counts from sending; to the complete answer if there are no streams.
	TTFT         time.Duration `json:"ttftNs"`
	CachedTokens *int          `json:"cachedTokens,omitempty"` // nil if the platform did not say
}

// The actions that withdraw keys.
const (
	Revoke  = "revoke"  // the key
	Suspend = "suspend" // its user
)

// KeyLifecycle is the verdict on one way of withdrawing keys, and its evidence.
type KeyLifecycle struct {
	Action  string `json:"action"`  // revoke or suspend
	Verdict string `json:"verdict"` // outlived, in time or undecided
	Reason  string `json:"reason"`
	// Within is how soon a key had to stop working.
	Within time.Duration `json:"withinNs"`
	// Late keys were accepted later than that, Endless ones of them until nobody
	// tried any more.
	Late    int `json:"late"`
	Endless int `json:"endless"`
	// Median and Max are of the times until keys stopped working; nil if they lie
	// among those that did not.
	Median *time.Duration `json:"medianNs,omitempty"`
	Max    *time.Duration `json:"maxNs,omitempty"`
	Keys   []WithdrawnKey `json:"keys,omitempty"`
}

// WithdrawnKey is what became of one key. LastAccepted, FirstRefused, Effective
// and Watched count from Withdrawn to the moment at which a request was sent.
type WithdrawnKey struct {
	Org  string `json:"org"`
	User string `json:"user"`
	// Withdrawn is when the platform had confirmed, from the start of the load,
	// and Took what that took.
	Withdrawn    time.Duration  `json:"withdrawnNs"`
	Took         time.Duration  `json:"tookNs"`
	Accepted     int            `json:"accepted"` // after Withdrawn
	Refused      int            `json:"refused"`
	LastAccepted *time.Duration `json:"lastAcceptedNs,omitempty"` // nil if none was
	FirstRefused *time.Duration `json:"firstRefusedNs,omitempty"` // nil if none was
	// Effective is the first refusal after which nothing was accepted; nil if
	// the key still worked in the end.
	Effective *time.Duration `json:"effectiveNs,omitempty"`
	Watched   time.Duration  `json:"watchedNs"`
}

// Chaos is what this tool broke on purpose, and how the tenants got over it.
// The requests are in no other number but cost and tokens.
type Chaos struct {
	Injected uint64       `json:"injected"` // requests that were harmed
	Faults   []ChaosFault `json:"faults,omitempty"`
	// Delayed requests are not harmed: the delay is in no latency.
	Delayed    uint64        `json:"delayed,omitempty"`
	DelayTotal time.Duration `json:"delayTotalNs,omitempty"`
	Outages    []Outage      `json:"outages,omitempty"`
}

// ChaosFault is how many requests suffered one fault: dns, failure, outage,
// reset, slow_read or truncation.
type ChaosFault struct {
	Fault    string `json:"fault"`
	Requests uint64 `json:"requests"`
}

// Outage is a time in which nothing got through, and what came after.
type Outage struct {
	At         time.Duration `json:"atNs"` // from the start of the load
	Duration   time.Duration `json:"durationNs"`
	Recoveries []Recovery    `json:"recoveries,omitempty"`
}

// Recovery is how one org got over an outage. Times count from its end; nil
// means that it did not happen in this run.
type Recovery struct {
	Org string `json:"org"`
	// Answers came to requests that were sent after the outage.
	Answers int `json:"answers"`
	// FirstSuccess is the time to the first success, SuccessRate that until
	// the success rate over 20 answers was again what it had been before.
	FirstSuccess *time.Duration `json:"firstSuccessNs,omitempty"`
	SuccessRate  *time.Duration `json:"successRateNs,omitempty"`
}

// Bootstrap is what creating the tenants took.
type Bootstrap struct {
	Orgs     int           `json:"orgs"`
	Users    int           `json:"users"`
	Keys     int           `json:"keys"`
	Retries  int           `json:"retries"`
	Duration time.Duration `json:"durationNs"`
	// Notes say where the platform had to be approached differently.
	Notes []string `json:"notes,omitempty"`
}

// Cleanup is what became of the tenants.
type Cleanup struct {
	// Status is done, retained, incomplete or unneeded.
	Status string `json:"status"`
	// Deleted, Revoked and Suspended count what was removed, and what could
	// only be disabled because the platform cannot delete.
	DeletedOrgs  int           `json:"deletedOrgs"`
	DeletedUsers int           `json:"deletedUsers"`
	DeletedKeys  int           `json:"deletedKeys"`
	RevokedKeys  int           `json:"revokedKeys"`
	Suspended    int           `json:"suspended"` // users and orgs
	Remaining    int           `json:"remaining"` // still usable on the platform
	Duration     time.Duration `json:"durationNs"`
	Notes        []string      `json:"notes,omitempty"`
}

// Finding is something learned about the platform.
type Finding struct {
	Title  string `json:"title"`  // "streaming is not supported"
	Detail string `json:"detail"` // the evidence
}
