package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/limits"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// SaltCheck names the phase of the requests that test cache salts.
const SaltCheck = "salt-check"

const (
	saltPairs  = 12  // of tenants, for each model
	saltWords  = 500 // of a prompt: dozens of cache blocks
	saltAnswer = 4   // tokens; some models begin with an empty one
)

// checkSalts tests for every model whether cache salts keep tenants apart.
// Its error is that of ctx or of a limit.
func (w *Worker) checkSalts(ctx context.Context, users []simulator.Identity, b *export.Bundle) error {
	if !w.Scenario.Spec.CacheSalt.Enabled {
		w.warn("cacheSalt.validation was not done: cacheSalt.enabled is false, so that no salt is sent")
		return nil
	}
	tenants, salts := w.bySalt(users)
	if len(salts) < 2 {
		w.warn("cacheSalt.validation was not done: it wants tenants of two different salts, and with the strategy %s these %s have %s",
			w.job.script.Salt.Strategy, human.Plural(len(users), "user"), human.Plural(len(salts), "salt"))
		return nil
	}
	client, err := platform.NewClient(w.job.router, time.Now())
	if err != nil {
		return err
	}
	defer client.Close()
	stack, _ := w.stack(client, w.sums(true), nil, nil)
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.RunID)) // never fails
	tested := map[string]bool{}
	for i, to := range w.job.script.Calls() {
		if !to.Generates() || tested[to.Model] {
			continue
		}
		tested[to.Model] = true
		w.setStage("checking cache salts on %s", to.Model)
		c := &saltCheck{
			w: w, asker: stack, client: client, to: to, stream: w.job.script.Streams(),
			// Prompts are not those of an earlier run, whose blocks may still be cached, nor
			// of another worker, which may have users of the same organization.
			rng: rand.New(rand.NewPCG(w.job.seed+uint64(i), h.Sum64()+uint64(w.Worker))), //nolint:gosec // no secret
		}
		for k := range saltPairs {
			owner := k % len(salts)
			reader := (owner + 1 + c.rng.IntN(len(salts)-1)) % len(salts)
			c.pairs = append(c.pairs, &saltPair{
				owner: tenants[salts[owner]], reader: tenants[salts[reader]], prompt: prompt(c.rng), control: prompt(c.rng),
			})
		}
		if err := c.run(ctx); err != nil {
			return err
		}
		b.Isolation = append(b.Isolation, c.judge(w.Scenario.Spec.CacheSalt.Validation.ReportViolations))
	}
	if len(tested) == 0 {
		w.warn("cacheSalt.validation was not done: the scenario asks no model for texts, and it is their prompts that are cached")
	}
	return nil
}

// bySalt returns the first user of every salt, and the salts in the order of users.
func (w *Worker) bySalt(users []simulator.Identity) (first map[string]simulator.Identity, salts []string) {
	first = map[string]simulator.Identity{}
	for _, u := range users {
		salt := w.job.script.Salt.For(u)
		if _, known := first[salt]; !known {
			first[salt], salts = u, append(salts, salt)
		}
	}
	return first, salts
}

// saltCheck is the test of one model.
type saltCheck struct {
	w      *Worker
	asker  simulator.Asker
	client *platform.Client
	to     simulator.EndpointModel
	stream bool
	rng    *rand.Rand
	pairs  []*saltPair
	sent   int
}

// saltPair is one pair while its requests are being sent.
type saltPair struct {
	owner, reader   simulator.Identity
	prompt, control string
	isolation.Pair
	whole  [4]time.Duration // times to the complete answers, as the steps are numbered
	first  [4]time.Duration // to the first token; 0 if there was none
	failed bool             // a request failed or was tried again: the second try may hit what the first left
}

// The steps of a pair, as saltPair numbers them.
const (
	cold = iota
	warm
	cross
	control
)

// run sends the requests, one at a time. The pairs are interleaved at random.
// Each begins with its cold request; the other three come in random order, so
// that whatever changes with time meets the reader's prompt and the reader's
// control alike.
func (c *saltCheck) run(ctx context.Context) error {
	var order []*saltPair
	left := map[*saltPair][]int{}
	for _, p := range c.pairs {
		steps := []int{warm, cross, control}
		c.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		left[p] = append([]int{cold}, steps...)
		for range left[p] {
			order = append(order, p)
		}
	}
	c.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	lost := 0
	for _, p := range order {
		what := left[p][0]
		left[p] = left[p][1:]
		if p.failed {
			continue
		}
		err := c.send(ctx, p, what)
		var exceeded *limits.Exceeded
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &exceeded):
			return err
		case p.failed:
			c.w.Log.Info("a pair of the salt check was lost", zap.String("model", c.to.Model), zap.Error(err))
			if lost++; len(c.pairs)-lost < isolation.MinPairs {
				return nil // no verdict can come of it
			}
		}
	}
	return nil
}

// send makes one request of a pair and notes what it showed.
func (c *saltCheck) send(ctx context.Context, p *saltPair, what int) error {
	who, text := p.owner, p.prompt
	if what == cross || what == control {
		who = p.reader
	}
	if what == control {
		text = p.control
	}
	c.sent++
	call := &simulator.Call{
		Org: who.Org, User: who.User, UserIndex: who.UserIndex, Phase: SaltCheck,
		Request: platform.Request{
			Endpoint: c.to.Endpoint, Model: c.to.Model, Stream: c.stream, MaxTokens: saltAnswer, CacheSalt: c.w.job.script.Salt.For(who),
			ID: fmt.Sprintf("%s-%s-%s-%d", c.w.RunID, SaltCheck, c.to.Model, c.sent),
		},
	}
	if c.to.Endpoint == platform.Chat {
		call.Request.Messages = []platform.Message{{Role: "user", Content: text}}
	} else {
		call.Request.Input = text
	}
	if len(who.Keys) > 0 {
		call.Request.Key = who.Keys[0]
	}
	call.Schedule(c.client.Now())
	err := c.asker.Ask(ctx, call)
	if err != nil || call.Attempt > 1 {
		p.failed = true
		return err
	}
	x := &call.Exchange
	p.whole[what] = x.Done - x.Sent
	if x.FirstToken > 0 {
		p.first[what] = x.FirstToken - x.Sent
	}
	*[4]*isolation.Probe{&p.Cold, &p.Warm, &p.Cross, &p.Control}[what] = isolation.Probe{Cached: x.Usage.CachedTokens, CachedKnown: x.CachedKnown}
	return nil
}

// judge makes the verdict. Times are to the first token if every answer had
// one, else to the complete answer, which is a few tokens later.
func (c *saltCheck) judge(list bool) export.Isolation {
	var done []*saltPair
	for _, p := range c.pairs {
		if !p.failed && p.whole[cold] > 0 && p.whole[warm] > 0 && p.whole[cross] > 0 && p.whole[control] > 0 {
			done = append(done, p)
		}
	}
	streamed := !slices.ContainsFunc(done, func(p *saltPair) bool { return slices.Contains(p.first[:], 0) })
	pairs := make([]isolation.Pair, len(done))
	for i, p := range done {
		at := p.whole
		if streamed {
			at = p.first
		}
		p.Cold.TTFT, p.Warm.TTFT, p.Cross.TTFT, p.Control.TTFT = at[cold], at[warm], at[cross], at[control]
		pairs[i] = p.Pair
	}
	r := isolation.Salt(pairs)
	out := export.Isolation{
		Kind: export.CacheSalt, Model: c.to.Model, Verdict: string(r.Verdict), Reason: r.Reason,
		Salts: &export.Salts{
			Violations: len(r.Leaks), Requests: c.sent,
			TokensKnown: r.TokensKnown, BaselineTokens: r.Baseline, Cold: r.Cold, Warm: r.Warm, Cross: r.Cross, PLeak: r.PLeak, PClean: r.PClean,
		},
	}
	c.w.outside.salts(done, r.Leaks, c.w.job.script.Salt)
	for _, p := range pairs {
		out.Salts.Pairs = append(out.Salts.Pairs, export.SaltPair{
			Cold: saltProbe(p.Cold), Warm: saltProbe(p.Warm), Cross: saltProbe(p.Cross), Control: saltProbe(p.Control),
		})
	}
	if list {
		for _, i := range r.Leaks {
			out.Salts.Violated = append(out.Salts.Violated, export.Violation{
				Salt: c.w.job.script.Salt.For(done[i].owner), ReadUnder: c.w.job.script.Salt.For(done[i].reader), Pair: i,
			})
		}
	}
	c.w.Log.Info("cache salts checked", zap.String("model", c.to.Model), zap.String("verdict", out.Verdict), zap.String("reason", out.Reason))
	return out
}

func saltProbe(p isolation.Probe) export.SaltProbe {
	out := export.SaltProbe{TTFT: p.TTFT}
	if p.CachedKnown {
		out.CachedTokens = &p.Cached
	}
	return out
}

// saltVocabulary makes prompts that no cache knows by their first block.
var saltVocabulary = strings.Fields("amber anchor apple arrow autumn basket beacon bridge bronze butter candle canyon carbon castle cedar " +
	"circle clover cobalt copper coral cotton crystal desert dragon eagle ember falcon feather fender forest garden garnet ginger glacier " +
	"granite harbor hazel helmet island ivory jacket jasper jungle kettle ladder lantern lemon lichen marble meadow mirror needle nickel " +
	"orchid oyster paddle pepper pillar planet prairie quartz raven ribbon river saddle silver timber velvet walnut willow winter zephyr")

// prompt is long, and unlike any other from its first words on.
func prompt(rng *rand.Rand) string {
	words := make([]string, saltWords)
	for i := range words {
		words[i] = saltVocabulary[rng.IntN(len(saltVocabulary))]
	}
	return strings.Join(words, " ") + ". Answer with one word: what is the first word of this text?"
}
