package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/bootstrap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cleanup"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// tenants are the users of this worker, and the ledger of what was created
// for them; nil if they brought their own keys.
type tenants struct {
	users   []simulator.Identity
	ledger  *ledger.Ledger
	release func() error // of the ledger, for others to clean up; nil if it is not ours
}

// tenants creates the planned tenants, or takes those that bring their keys.
// On an error the ledger, if there is one, still says what exists.
func (w *Worker) tenants(ctx context.Context, b *export.Bundle) (*tenants, error) {
	if !w.job.createTenants {
		b.Orgs = w.job.ownOrgs
		b.Cleanup = &export.Cleanup{Status: "unneeded"}
		return &tenants{users: w.job.ownUsers}, nil
	}
	whole := plan.Make(w.job.plan)
	orgs := plan.ForWorker(whole, w.Worker)
	for _, o := range orgs {
		b.Orgs = append(b.Orgs, export.Org{Index: o.Index, Name: o.Name, Slug: o.Slug, Users: len(o.Users), BudgetMicroUSD: o.Budget.LimitMicroUSD})
	}
	book, err := ledger.Create(LedgerPath(w.Folder, w.Worker), ledger.Header{
		RunID: w.RunID, Started: time.Now().UTC(), UserOrgURL: w.job.userOrg.BaseURL, RouterURL: w.job.router.BaseURL,
		Embedded: w.Embedded, ToolVersion: w.Tool.Version, Worker: w.Worker, PID: os.Getpid(),
	})
	if err != nil {
		return nil, err
	}
	t := &tenants{ledger: book}
	if t.release, err = ledger.Claim(book.Path()); err != nil {
		return t, err
	}
	w.ledger, w.places = book, map[int]*place{}
	w.keys = w.newKeyTest(whole, orgs)
	w.setStage("creating tenants")
	made, err := bootstrap.Run(ctx, bootstrap.Options{
		Orgs: orgs, RunID: w.RunID, Tenancy: w.tenancy, Ledger: book,
		KeysPerUser: w.job.keys.perUser, KeyName: w.job.keys.name, KeyExpiryDays: w.job.keys.expiryDays, KeyRateLimit: w.job.keys.rateLimit,
		RateLimit: w.job.rateLimit, Roles: w.job.roles, Metadata: w.job.userMetadata, OrgMetadata: w.job.orgMetadata,
		Progress: func(done, total int) { w.setStage("creating tenants %d/%d", done, total) },
	})
	if err != nil {
		return t, fmt.Errorf("create the tenants: %w", err)
	}
	first := 0 // organizations whose first users are here: of several workers each is counted by one
	for _, o := range made.Orgs {
		if o.Worker == w.Worker {
			first++
		}
	}
	b.Bootstrap = &export.Bootstrap{
		Orgs: first, Users: made.Users, Keys: made.Keys, Retries: int(made.Retries), Duration: made.Duration, Notes: made.Notes,
	}
	if w.Attempt > 0 && !w.tenancy.ListsUsers() {
		w.find("keys cannot be taken over", "the earlier attempts at the part of worker %d issued keys that nobody can list here: they stay valid after the clean-up, though their secrets are lost with the pods", w.Worker)
	}
	w.mu.Lock()
	w.created = first
	w.mu.Unlock()
	w.outside.bootstrapped(made.Duration)
	for _, o := range made.Orgs {
		for i, u := range o.Users {
			if w.keys.made(o, u) {
				continue
			}
			w.places[u.Index] = &place{org: platform.OrgRef{ID: o.ID, Slug: o.Slug}, user: platform.UserRef{ID: u.ID, Email: u.Email}, planned: o.Org.Users[i].Email}
			t.users = append(t.users, simulator.Identity{Org: o.Name, OrgIndex: o.Index, User: u.Name, UserIndex: u.Index, Keys: u.Keys})
		}
	}
	w.Log.Info("tenants created", zap.Int("orgs", len(made.Orgs)), zap.Int("users", made.Users), zap.Int("keys", made.Keys),
		zap.Duration("took", made.Duration), zap.Int64("retries", made.Retries))
	return t, nil
}

// removeTenants runs whatever became of the run, with a time of its own.
func (w *Worker) removeTenants(ctx context.Context, book *ledger.Ledger, b *export.Bundle) {
	defer func() {
		if err := book.Close(); err != nil {
			w.warn("the ledger %s was not closed properly: %v", book.Path(), err)
		}
	}()
	if w.Retain != nil && w.Retain() {
		b.Cleanup = &export.Cleanup{Status: "retained", Remaining: ledger.Count(book.Outstanding()),
			Notes: []string{"the tenants are left to whoever comes in this worker's place"}}
		return
	}
	if w.job.retain {
		remaining := ledger.Count(book.Outstanding())
		b.Cleanup = &export.Cleanup{Status: "retained", Remaining: remaining,
			Notes: []string{fmt.Sprintf("the scenario keeps the tenants; remove them with: loadtest cleanup --run %s", w.RunID)}}
		return
	}
	w.setStage("cleaning up")
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	b.Cleanup = RemoveTenants(ctx, w.tenancy, book, w.Log)
	w.Log.Info("tenants removed", zap.String("status", b.Cleanup.Status), zap.Int("orgs", b.Cleanup.DeletedOrgs),
		zap.Int("remaining", b.Cleanup.Remaining), zap.Duration("took", b.Cleanup.Duration))
	switch {
	case b.Cleanup.Status == "done":
	case b.Cleanup.Remaining > 0:
		w.warn("clean-up is incomplete: %s may remain on the platform", human.Plural(b.Cleanup.Remaining, "thing"))
	default:
		w.warn("the tenants are removed, but that could not be written into the ledger %s", book.Path())
	}
}

// PlanLedger opens, or begins, a ledger in o.Folder that names the organizations
// and users of the plan of a whole run, as begun and in doubt: by it, what workers
// left is found whose own ledgers are lost.
func PlanLedger(o Options) (*ledger.Ledger, error) {
	var j job
	if o.Scenario.Spec.Seed == nil {
		return nil, errors.New("the run has no seed")
	}
	j.seed = *o.Scenario.Spec.Seed
	if err := j.tenants(o); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Folder, planLedger)
	if _, err := os.Stat(path); err == nil {
		return ledger.Open(path)
	}
	book, err := ledger.Create(path, ledger.Header{
		RunID: o.RunID, Started: o.Begun.UTC(), UserOrgURL: j.userOrg.BaseURL, ToolVersion: o.Tool.Version, PID: os.Getpid(),
	})
	if err != nil || !j.createTenants {
		return book, err
	}
	var writing errgroup.Group // concurrent writers share a sync
	for _, org := range plan.Make(j.plan) {
		writing.Go(func() error { return book.Intend(ledger.Org(org.Slug)) })
		for _, user := range org.Users {
			writing.Go(func() error { return book.Intend(ledger.User(org.Slug, user.Email)) })
		}
	}
	if err := writing.Wait(); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return book, nil
}

// planLedger is the name of that ledger.
const planLedger = "ledger-plan.jsonl"

// fewFailures is how many failures of a clean-up are told: they mostly have
// one cause.
const fewFailures = 3

// RemoveTenants removes what the ledger says is outstanding, and reports it
// in the words of the result document. The log gets faults of this tool.
func RemoveTenants(ctx context.Context, tenancy *platform.Tenancy, book *ledger.Ledger, log *zap.Logger) *export.Cleanup {
	started := time.Now()
	report, err := cleanup.Run(ctx, cleanup.Options{Ledger: book, Tenancy: tenancy})
	for _, failure := range report.Failures {
		logCrash(log, failure)
	}
	c := &export.Cleanup{
		Status: "done", DeletedOrgs: report.DeletedOrgs, DeletedUsers: report.DeletedUsers, DeletedKeys: report.DeletedKeys,
		RevokedKeys: report.RevokedKeys, Suspended: report.Suspended, Remaining: report.Remaining,
		Duration: time.Since(started), Notes: report.Notes,
	}
	if err != nil {
		c.Status = "incomplete"
		for i, failure := range report.Failures {
			if i == fewFailures {
				c.Notes = append(c.Notes, fmt.Sprintf("and %d more failures", len(report.Failures)-i))
				break
			}
			c.Notes = append(c.Notes, failure.Error())
		}
		if len(report.Failures) == 0 {
			c.Notes = append(c.Notes, err.Error())
		}
	}
	return c
}

// preflight sends one real request to every model and endpoint, since that a server answers its health
// checks proves nothing. It also finds out which models there are, if the
// scenario names none, and whether streams work.
func (w *Worker) preflight(ctx context.Context, users []simulator.Identity) error {
	if len(users) == 0 {
		return errors.New("the plan has no users: set users.perOrg to at least one")
	}
	script := &w.job.script
	first, _ := w.whoAsks(users, 0)
	w.outside.learn(len(users), func() ([]platform.ModelInfo, error) { return w.models(ctx, first.Keys[0]) })
	if len(script.Models) == 0 {
		models, err := w.models(ctx, first.Keys[0])
		if err != nil {
			return fmt.Errorf("the scenario names no model under userBehavior.modelPreferences, and the target was asked for its models in vain: %w", err)
		}
		script.Models = []simulator.Model{{Name: models[0].ID, Weight: 1}}
		if err := w.job.affordable(); err != nil {
			return err
		}
		w.Log.Info("model chosen", zap.String("model", models[0].ID), zap.Int("listed", len(models)))
	}
	calls := w.job.calls()
	if err := w.checkStreaming(ctx, first, calls[0].EndpointModel); err != nil {
		return err
	}
	for _, c := range calls[1:] {
		who, here := w.whoAsks(users, c.org)
		if !here {
			continue // another worker has them
		}
		if _, err := w.probe(ctx, who, c.EndpointModel, script.Streams()); err != nil {
			if c.Model != "" {
				err = fmt.Errorf("model %s: %w", c.Model, err)
			}
			return w.explainPreflight(err)
		}
	}
	return nil
}

// whoAsks is the first user of an organization, or, if that is 0, of one that
// has no models of its own, as far as there is one.
func (w *Worker) whoAsks(users []simulator.Identity, org int) (who simulator.Identity, here bool) {
	i := slices.IndexFunc(users, func(u simulator.Identity) bool {
		return u.OrgIndex == org || org == 0 && w.job.special[u.OrgIndex].models == nil
	})
	if i < 0 && org == 0 {
		i = 0
	}
	if i < 0 {
		return simulator.Identity{}, false
	}
	return users[i], true
}

// checkStreaming makes one call. Where streams fail and whole answers do
// not, the run does without streams and says so.
func (w *Worker) checkStreaming(ctx context.Context, first simulator.Identity, call simulator.EndpointModel) error {
	streaming := w.job.script.Streams() && call.Generates()
	streamed, err := w.probe(ctx, first, call, streaming)
	var perr *platform.Error
	switch {
	case err == nil && streaming && !streamed:
		w.withoutStreaming("a request for a stream was answered in one piece")
		return nil
	case err == nil:
		return nil
	case !streaming, !errors.As(err, &perr), perr.Kind == record.AuthError, perr.Outcome() != record.Failed:
		return w.explainPreflight(err)
	}
	if _, plainErr := w.probe(ctx, first, call, false); plainErr != nil {
		return w.explainPreflight(err)
	}
	// A platform that fails now and then must not be taken for one that
	// cannot stream.
	_, err = w.probe(ctx, first, call, true)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, !errors.As(err, &perr):
		return w.explainPreflight(err)
	}
	w.withoutStreaming(fmt.Sprintf("a streamed request failed twice (%v) and the same request without streaming succeeded", perr))
	return nil
}

func (w *Worker) withoutStreaming(why string) {
	w.job.script.StreamingRatio = 0
	for i := range w.job.script.Types {
		w.job.script.Types[i].StreamingRatio = nil
	}
	w.find("streaming is not supported", "%s; all requests of this run are sent without streaming, so there is no TTFT and no ITL", why)
}

// models asks the target which models it has.
func (w *Worker) models(ctx context.Context, key secret.String) ([]platform.ModelInfo, error) {
	client, err := platform.NewClient(w.job.router, time.Now())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	asked := record.Record{
		ID: w.RunID + "-" + PreFlight + "-models", Trace: record.NewTrace(w.TraceRatio), Phase: PreFlight, Endpoint: "GET /v1/models", Sent: client.Now(),
	}
	asked.Scheduled = asked.Sent
	models, err := client.Models(platform.Named(ctx, asked.ID, asked.Trace), key)
	if w.Traces != nil {
		asked.Done = client.Now()
		if e := (*platform.Error)(nil); errors.As(err, &e) {
			asked.Status, asked.Outcome, asked.Kind, asked.Message = e.Status, e.Outcome(), e.Kind, e.Error()
		}
		w.Traces.Since(client.Epoch()).Add(&asked)
	}
	if err == nil && len(models) == 0 {
		err = errors.New("its list of models is empty")
	}
	return models, err
}

// explainPreflight says what a failed pre-flight request means and what a
// person can do.
func (w *Worker) explainPreflight(err error) error {
	advice := ""
	var e *platform.Error
	if errors.As(err, &e) {
		switch {
		case e.Kind == record.AuthError && w.job.createTenants:
			advice = "; the key was issued a moment ago: do targets.apiRouterUrl and targets.userOrgUrl belong to the same platform?"
		case e.Kind == record.AuthError:
			advice = "; check the keys under targets.credentials"
		case e.Status == http.StatusNotFound && strings.HasSuffix(e.Op, "/v1/responses"):
			advice = "; if the model is right, this platform has no Responses API: leave test types with the endpoint responses out"
		case e.Status == http.StatusNotFound:
			advice = "; check targets.apiRouterUrl, which is the part before /v1, and the model's name"
		case e.Kind == record.Timeout:
			advice = "; look whether the platform is well, or raise targets.timeout"
		case e.Temporary():
			advice = "; look whether the platform is well"
		}
	}
	return fmt.Errorf("the pre-flight request to %s failed, so no load was made: %w%s", w.job.router.BaseURL, err, advice)
}
