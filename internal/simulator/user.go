package simulator

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

// SessionEnd says why a session ended.
type SessionEnd string

// The reasons, as the metrics name them.
const (
	SessionCompleted SessionEnd = "completed" // all questions were asked
	SessionTimeUp    SessionEnd = "time_up"   // its duration had passed
	SessionRetired   SessionEnd = "retired"   // the user was no longer wanted, or the run ended
	SessionErrors    SessionEnd = "errors"    // as many questions failed as the script allows
	SessionLimit     SessionEnd = "limit"     // the user may ask nothing more, by a limit
)

// briefly is the least time that a user whose question was held back stands
// back too, lest one who never thinks should spin.
const briefly = 100 * time.Millisecond

// user is one simulated user. At most one goroutine works for him at a time,
// and none while he thinks; what he is between two of them is here.
type user struct {
	*Identity
	fleet  *Fleet
	script *compiled

	loop     int           // sessions begun
	first    int           // the first of them that counts
	began    time.Duration // when that did
	asked    int           // questions, for their IDs
	failures int           // questions that failed and were not to be ignored

	// Of the session, if there is one:
	total, put int           // questions there will be, and were
	end        time.Duration // when its duration will have passed
	due        time.Duration // when to ask the next question, if ready
	rng        *rand.Rand    // decides what the user does in this session
	types      turnstile
	talk       *talk // the conversation; nil between two

	way  *rand.Rand    // decides what happens to his questions on the way
	free time.Duration // when the user last became free to think and ask

	inSession bool
	ready     bool // it is decided when to ask next
	fresh     bool // nothing asked since coming to work
	sent      bool // whether the last question was, at least once
	enough    bool // he may ask nothing more, ever: a limit says so
}

// talk is a conversation of one user.
type talk struct {
	conversation
	kind        *variety
	own         Dialog // if the kind has an Interaction
	model, salt string
	question    questions.Question
	turn, turns int // those asked, and how many there will be
}

// talks and calls are for whoever asks next: a user who thinks has no call, and
// between two conversations no talk. There may be a hundred thousand of him.
var (
	talks = sync.Pool{New: func() any { return new(talk) }}
	calls = sync.Pool{New: func() any { return new(Call) }}
)

func newUser(f *Fleet, id *Identity) user {
	s := f.scriptOf(id.OrgIndex)
	return user{
		Identity: id, fleet: f, script: s, types: turnstile{kinds: s.kinds, selection: s.Selection, user: id.UserIndex},
		// Loop −1 belongs to no session: what happens on the way must not
		// change what the user asks next.
		way: questions.Seed(f.opt.Seed, id.OrgIndex, id.UserIndex, -1),
	}
}

// respite is what a user does when he does not work.
type respite uint8

const (
	thinking respite = iota // until his next question is due
	away                    // he is no longer wanted
	retired                 // he has done all he will ever do
)

// come readies a user who comes to work.
func (u *user) come() { u.free, u.fresh = u.fleet.now(), true }

// work asks what is due, question after question, until the user has to wait,
// or is to do nothing more: after leaving is done he asks nothing. Cancelling
// ctx breaks off the answer being read.
func (u *user) work(ctx, leaving context.Context) respite {
	for {
		if !u.ready && !u.plan(leaving) {
			if u.hasMore() {
				return away
			}
			return retired
		}
		if leaving.Err() == nil && u.due > u.fleet.now() {
			return thinking
		}
		if leaving.Err() != nil || u.fleet.overAt(u.due) {
			u.endSession(SessionRetired)
			return away
		}
		if u.talk == nil {
			u.converse(u.types.next(), u.total-u.put)
		} else {
			u.followUp()
		}
		switch why := u.ask(ctx, leaving); why {
		case "":
		case SessionRetired:
			u.endSession(why)
			return away
		default:
			u.endSession(why)
			return retired
		}
	}
}

// plan decides when to ask next, in this session or another one. It reports
// whether there is anything to ask.
func (u *user) plan(leaving context.Context) bool {
	for {
		if !u.inSession {
			if !u.hasMore() || leaving.Err() != nil { // a session that asks nothing is none
				return false
			}
			u.session()
		}
		if u.put == u.total {
			u.endSession(SessionCompleted)
			continue
		}
		u.due = u.free + u.pause()
		// The first question is always asked, so that every session does something.
		if u.put > 0 && u.due >= u.end {
			u.free = max(u.free, u.end)
			u.endSession(SessionTimeUp)
			continue
		}
		u.ready = true
		return true
	}
}

// endSession lets go of everything that was of the session.
func (u *user) endSession(why SessionEnd) {
	u.inSession, u.ready = false, false
	u.hush()
	if f := u.fleet.opt.Watch.Session; f != nil {
		f(why)
	}
}

func (u *user) hasMore() bool {
	l := u.script.Loop
	return (l.Max == 0 || u.loop-u.first < l.Max) && (l.For == 0 || u.loop == u.first || u.free-u.began < l.For)
}

// renew makes a new user of one who has finished. Sessions go on counting, so
// that he asks other questions.
func (u *user) renew() { u.first, u.failures = u.loop, 0 }

// session begins one.
func (u *user) session() {
	s := u.script
	seed := u.loop
	if s.Loop.SameSeed {
		seed = 0
	}
	u.rng = questions.Seed(u.fleet.opt.Seed, u.OrgIndex, u.UserIndex, seed)
	if u.loop == u.first {
		u.began = u.free
	}
	u.loop++

	u.inSession, u.put = true, 0
	u.total = s.questions.draw(u.rng)
	u.end = math.MaxInt64
	if length := seconds(s.sessionLength, u.rng); length > 0 {
		u.end = u.free + length
	}
	u.types.begin(u.rng)
}

// converse begins a conversation of a kind, with its first question. It has no
// more turns than most.
func (u *user) converse(k *variety, most int) {
	s, t := u.script, talks.Get().(*talk) //nolint:errcheck,forcetypeassert // nothing else is in it
	u.talk = t
	t.kind, t.turns, t.salt = k, 1, k.Salt.For(*u.Identity)
	if k.Interaction != nil {
		t.own = k.Interaction.Begin(*u.Identity, u.rng)
	}
	if s.MultiTurn > 0 && u.rng.Float64() < s.MultiTurn && k.Endpoint == platform.Chat && !k.Single {
		t.turns = s.turns.draw(u.rng)
	}
	if t.own != nil {
		t.turns = t.own.Turns()
	} else {
		t.question = u.invent(nil)
		t.model = k.model(t.question, u.rng)
	}
	t.turns = min(t.turns, most)
	t.begin(s.Context, s.MaxBody-envelope(t.model, t.salt))
}

// followUp goes on with a conversation.
func (u *user) followUp() {
	if t := u.talk; t.own == nil {
		t.question = u.invent(&t.question)
	}
}

// hush ends the conversation, if there is one.
func (u *user) hush() {
	t := u.talk
	if t == nil {
		return
	}
	u.talk = nil
	t.begin(0, 0)
	*t = talk{conversation: t.conversation}
	talks.Put(t)
}

// invent makes up a question, to follow up on another unless that is nil.
func (u *user) invent(previous *questions.Question) (q questions.Question) {
	watch := u.fleet.opt.Watch.Question
	var start time.Time
	if watch != nil {
		start = time.Now()
	}
	if previous == nil {
		q = u.talk.kind.Source.Next(u.rng)
	} else {
		q = questions.FollowUp(u.rng, *previous)
	}
	if watch != nil {
		watch(q, time.Since(start))
	}
	return q
}

// pause draws the time to think before the next question. Nobody thinks
// before the very first.
func (u *user) pause() time.Duration {
	think := seconds(u.script.think, u.rng)
	if !u.fresh {
		if f := u.fleet.opt.Watch.Thought; f != nil {
			f(think)
		}
		return think
	}
	u.fresh = false
	if u.script.Stagger {
		// Not from the session's numbers, which a later loop may have to repeat.
		return time.Duration(u.way.Float64() * float64(think))
	}
	return 0
}

// ask puts the question of the conversation. It returns why the session ends
// with it, or nothing.
func (u *user) ask(ctx, leaving context.Context) SessionEnd {
	t, c := u.talk, calls.Get().(*Call) //nolint:errcheck,forcetypeassert // nothing else is in it
	c.Org, c.User, c.UserIndex, c.Session, c.Turn = u.Org, u.User, u.UserIndex, u.loop-1, t.turn
	c.Rand, c.Leaving, c.PhaseAt = u.way, leaving, u.fleet.phaseOf
	u.ready = false
	t.turn++
	u.put++
	u.prepare(c)
	c.Schedule(u.due)
	err := u.fleet.opt.Asker.Ask(ctx, c)
	u.free = u.fleet.now()
	u.sent = !errors.Is(err, ErrNotSent) || c.Attempt > 1

	switch {
	case t.turn == t.turns:
		u.hush()
	case t.own != nil || t.kind.Endpoint != platform.Chat:
	case err != nil:
		t.answer(nil)
	default:
		t.answer(c.Exchange.Answer)
	}
	*c = Call{Exchange: emptied(c.Exchange)}
	calls.Put(c)
	var perr *platform.Error
	switch isPlatform := errors.As(err, &perr); {
	case err == nil:
	case errors.Is(err, ErrEnough):
		u.enough = true
		return SessionLimit
	case errors.Is(err, ErrNotSent):
		u.fleet.shed.Add(1)
		wait := briefly
		if isPlatform { // an open circuit says for how long it will be
			wait = max(wait, perr.RetryAfter)
		}
		u.free += wait
	case ctx.Err() != nil:
		return SessionRetired
	case !isPlatform || !u.script.Ignore.Match(perr):
		u.failures++
		if u.failures == u.script.StopAfter {
			return SessionErrors
		}
	}
	return ""
}

// prepare fills in the request.
func (u *user) prepare(c *Call) {
	s, t, req := u.script, u.talk, &c.Request
	c.TestType, c.Strategy = t.kind.Name, t.question.Strategy
	req.Endpoint, req.Model, req.CacheSalt = t.kind.Endpoint, t.model, t.salt
	if n := len(u.Keys); n > 0 {
		req.Key = u.Keys[u.asked%n]
	}
	id := append(append(make([]byte, 0, 64), u.fleet.opt.RunID...), '-')
	id = append(strconv.AppendInt(id, int64(u.UserIndex), 10), '-')
	req.ID = string(strconv.AppendInt(id, int64(u.asked), 10))
	u.asked++
	if t.own != nil {
		c.Judge = t.own.Judge
		t.own.Request(req)
		return
	}
	// Drawn whether needed or not, so that one setting does not shift the
	// random numbers behind another.
	stream := u.rng.Float64() < *t.kind.StreamingRatio
	tokens := int(math.Round(s.tokens.draw(u.rng)))
	switch {
	case req.Endpoint == platform.Chat:
		req.Messages = t.ask(t.question.Text)
	case !req.Endpoint.Infers():
		c.Strategy, req.Model = "", ""
	default:
		req.Input = t.question.Text
	}
	if req.Endpoint.Generates() {
		req.Stream, req.MaxTokens = stream, tokens
		if s.temperature != nil {
			req.Temperature, req.HasTemperature = s.temperature.draw(u.rng), true
		}
	}
}
