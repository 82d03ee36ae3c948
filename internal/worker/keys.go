package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/bootstrap"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/isolation"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/ledger"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/plan"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/simulator"
)

// KeyCheck names the phase of the requests that test withdrawn keys.
const KeyCheck = "key-check"

const (
	keyAnswer = 4 // tokens
	// keyRefusals in a row, and a key is taken to have stopped working: several
	// routers with caches of their own may accept and refuse it by turns.
	keyRefusals = 5
	// keyGrace is how long an answer may be waited for when the load is over.
	keyGrace = time.Second
)

// keyTest withdraws keys while the load runs. Their users take no part in it.
type keyTest struct {
	*Worker
	spec   config.KeyLifecycle
	first  int // the UserIndex of the first of its users; those of the load are below
	trials []*keyTrial
}

// keyTrial is one key, from its issue to its end.
type keyTrial struct {
	action  string // export.Revoke or export.Suspend
	due     time.Duration
	orgName string
	org     platform.OrgRef
	planned plan.User
	user    platform.UserRef
	key     platform.Key

	withdrawn, took time.Duration
	seen            isolation.Key
}

// newKeyTest adds to planned organizations the users whose keys are to be
// withdrawn; nil if none are, as in a search. It is the first worker's alone.
func (w *Worker) newKeyTest(whole, orgs []plan.Org) *keyTest {
	spec := w.Scenario.Spec.KeyLifecycle
	if w.Worker > 0 || w.Step > 0 || len(orgs) == 0 || spec.Revoke+spec.Suspend == 0 {
		return nil
	}
	t := &keyTest{Worker: w, spec: spec}
	for _, o := range whole {
		t.first += len(o.Users)
	}
	for left := [2]int{spec.Revoke, spec.Suspend}; left[0]+left[1] > 0; {
		for i, action := range [2]string{export.Revoke, export.Suspend} {
			if left[i] == 0 {
				continue
			}
			left[i]--
			n := len(t.trials)
			org := &orgs[n%len(orgs)]
			name := fmt.Sprintf("%s-%d", KeyCheck, n+1)
			k := &keyTrial{action: action, due: spec.At + time.Duration(n)*spec.Every, planned: plan.User{
				Index: t.first + n, Name: name, Email: name + "@" + org.Slug + ".loadtest.invalid",
			}}
			org.Users = append(org.Users, k.planned)
			t.trials = append(t.trials, k)
		}
	}
	return t
}

// made takes a user who was created, and reports whether he is one of the
// test's.
func (t *keyTest) made(o bootstrap.Org, u bootstrap.User) bool {
	if t == nil || u.Index < t.first {
		return false
	}
	k := t.trials[u.Index-t.first]
	k.orgName, k.org, k.user = o.Name, platform.OrgRef{ID: o.ID, Slug: o.Slug}, platform.UserRef{ID: u.ID, Email: u.Email}
	return true
}

// run withdraws the keys when they are due and tries them until they have
// stopped working, have been watched for long enough, or ctx ends with the load.
func (t *keyTest) run(ctx context.Context, client *platform.Client, stop func(error)) {
	asker, _ := t.stack(client, t.sums(false), stop, nil)
	to := t.job.calls()[0].EndpointModel
	answers, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(keyGrace, cut) })()
	var trials sync.WaitGroup
	for i, k := range t.trials {
		call := &simulator.Call{
			Org: k.orgName, User: k.planned.Name, UserIndex: k.planned.Index, Phase: KeyCheck, Aside: record.KeyTest, Leaving: ctx,
			Request: smallRequest(to, false, keyAnswer),
		}
		call.Request.CacheSalt = t.job.script.Salt.For(simulator.Identity{Org: k.orgName, User: k.planned.Name})
		n := 0
		try := func() (sent time.Duration, accepted, told bool) {
			n++
			call.Request.Key, call.Request.ID = k.key.Secret, fmt.Sprintf("%s-%s-%d-%d", t.RunID, KeyCheck, i+1, n)
			call.Schedule(client.Now())
			err := asker.Ask(answers, call)
			accepted, told = keyAnswered(err)
			return call.Exchange.Sent, accepted, told
		}
		trials.Go(func() {
			err := crash.Guard("the test of withdrawn keys", func() error { return t.follow(ctx, answers, k, client.Now, try) })
			if crashed := (*crash.Error)(nil); errors.As(err, &crashed) {
				stop(err)
			} else if err != nil && ctx.Err() == nil {
				t.warn("the key of %s in %s could not be tested: %v", k.planned.Name, k.orgName, err)
			}
		})
	}
	trials.Wait()
	t.Log.Info("withdrawn keys checked", zap.Int("keys", len(t.trials)))
}

// follow carries one trial out. try uses the key, and says whether it was
// accepted, if that could be told.
func (t *keyTest) follow(ctx, answers context.Context, k *keyTrial, now func() time.Duration, try func() (sent time.Duration, accepted, told bool)) error {
	if !pause(ctx, k.due-now()) {
		return nil
	}
	if err := t.issue(answers, k); err != nil {
		return err
	}
	// It is used right before, so that a router that remembers good keys does so
	// for as long as it ever will.
	for {
		if _, accepted, _ := try(); accepted {
			break
		}
		if !pause(ctx, 100*time.Millisecond) {
			return nil
		}
	}
	begun := now()
	if err := t.withdraw(answers, k); err != nil {
		return err
	}
	k.withdrawn = now()
	k.took = k.withdrawn - begun
	for refusals := 0; ; {
		sent, accepted, told := try()
		sent -= k.withdrawn
		if told {
			k.seen.Add(sent, accepted)
			if refusals++; accepted {
				refusals = 0
			}
			if refusals == keyRefusals || sent >= t.spec.Watch {
				return nil
			}
		}
		// Ever less often: the time is found to a twentieth, or a fiftieth of within.
		if !pause(ctx, max(t.spec.Within/50, (now()-k.withdrawn)/20)) {
			return nil
		}
	}
}

// issue makes the key, which stands in the ledger before it exists.
func (t *keyTest) issue(ctx context.Context, k *keyTrial) error {
	entry := ledger.Key(k.org.Slug, k.planned.Email, KeyCheck)
	if err := t.ledger.Intend(entry); err != nil {
		return err
	}
	var err error
	if k.key, err = t.tenancy.IssueKey(ctx, k.org, k.user, platform.NewKey{Name: k.planned.Name, ExpiryDays: t.job.keys.expiryDays}); err != nil {
		return err
	}
	return t.ledger.Created(entry, k.key.ID)
}

// withdraw revokes the key or suspends its user.
func (t *keyTest) withdraw(ctx context.Context, k *keyTrial) error {
	if k.action == export.Suspend {
		return t.tenancy.SuspendUser(ctx, k.org, k.user)
	}
	how, err := t.tenancy.RemoveKey(ctx, k.org, k.user, k.key.ID)
	if err != nil {
		return err
	}
	if err := dropped(t.ledger, ledger.Key(k.org.Slug, k.planned.Email, KeyCheck), how); err != nil {
		t.Log.Warn("the ledger was not written", zap.Error(err)) // the clean-up finds the key gone
	}
	return nil
}

// keyAnswered says what an answer tells about the key that was used: nothing,
// if it is about something else.
func keyAnswered(err error) (accepted, told bool) {
	var e *platform.Error
	switch {
	case err == nil:
		return true, true
	case errors.As(err, &e) && e.Kind == record.AuthError:
		return false, true
	default:
		return false, false
	}
}

// pause waits, and reports whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// describe puts the verdicts into the document.
func (t *keyTest) describe(b *export.Bundle) {
	for _, action := range []string{export.Revoke, export.Suspend} {
		v := export.KeyLifecycle{Action: action, Within: t.spec.Within}
		var seen []isolation.Key
		never := 0
		for _, k := range t.trials {
			switch {
			case k.action != action:
				continue
			case k.withdrawn == 0:
				never++
				continue
			}
			seen = append(seen, k.seen)
			v.Keys = append(v.Keys, k.export())
		}
		if len(seen)+never == 0 {
			continue
		}
		r := isolation.Keys(seen, t.spec.Within)
		if never > 0 && r.Verdict != isolation.Outlived {
			r.Verdict = isolation.Undecided
			r.Reason = fmt.Sprintf("%d of %d keys were never withdrawn: the load ended before, or it failed", never, never+len(seen))
		}
		v.Verdict, v.Reason, v.Late, v.Endless = string(r.Verdict), r.Reason, r.Late, r.Endless
		v.Median, v.Max = known(r.Median, r.MedianKnown), known(r.Max, r.MaxKnown)
		b.KeyLifecycle = append(b.KeyLifecycle, v)
		switch r.Verdict {
		case isolation.Outlived:
			t.find("security: keys outlive "+outlived[action], "%s", r.Reason)
		case isolation.Undecided:
			t.warn("keyLifecycle.%s is undecided: %s", action, r.Reason)
		case isolation.InTime:
		}
	}
}

// outlived is what keys outlive.
var outlived = map[string]string{export.Revoke: "their revocation", export.Suspend: "the suspension of their user"}

func (k *keyTrial) export() export.WithdrawnKey {
	s := &k.seen
	return export.WithdrawnKey{
		Org: k.orgName, User: k.planned.Name, Withdrawn: k.withdrawn, Took: k.took, Accepted: s.Accepted, Refused: s.Refused,
		LastAccepted: known(s.LastAccepted, s.Accepted > 0), FirstRefused: known(s.FirstRefused, s.Refused > 0), Effective: known(s.Effective, s.Ended),
		Watched: s.Watched,
	}
}

func known(d time.Duration, is bool) *time.Duration {
	if !is {
		return nil
	}
	return &d
}
