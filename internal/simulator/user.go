package simulator

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
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
	Identity
	fleet  *Fleet
	script *compiled

	loop     int           // sessions begun
	first    int           // the first of them that counts
	began    time.Duration // when that did
	asked    int           // questions, for their IDs
	failures int           // questions that failed and were not to be ignored

	// Of the session, if there is one:
	inSession  bool
	total, put int           // questions there will be, and were
	end        time.Duration // when its duration will have passed
	turns      int           // of the conversation
	turn       int           // of these, the next
	question   questions.Question
	due        time.Duration // when to ask it
	ready      bool          // it is decided what to ask next, and when

	rng   *rand.Rand // decides what the user does in this session
	types turnstile
	kind  *variety // of the conversation
	own   Dialog   // the conversation, if the kind has an Interaction
	call  Call
	talk  conversation
	id    []byte // scratch

	sent   bool // whether the last question was, at least once
	enough bool // he may ask nothing more, ever: a limit says so

	free  time.Duration // when the user last became free to think and ask
	fresh bool          // nothing asked since coming to work
}

func newUser(f *Fleet, id Identity) *user {
	s := f.scriptOf(id.OrgIndex)
	u := &user{Identity: id, fleet: f, script: s, types: turnstile{kinds: s.kinds, selection: s.Selection, user: id.UserIndex}}
	u.call = Call{
		Org: id.Org, User: id.User, UserIndex: id.UserIndex,
		PhaseAt: f.phaseAt,
		// Loop −1 belongs to no session: what happens on the way must not
		// change what the user asks next.
		Rand: questions.Seed(f.opt.Seed, id.OrgIndex, id.UserIndex, -1),
	}
	return u
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
	u.call.Leaving = leaving
	for {
		if !u.ready && !u.plan() {
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
		switch why := u.ask(ctx); why {
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

// plan decides what to ask next, and when: the next turn of the conversation,
// or the first of another one, or of another session. It reports whether there
// is anything to ask.
func (u *user) plan() bool {
	for {
		if !u.inSession {
			if !u.hasMore() || u.call.leaving() { // a session that asks nothing is none
				return false
			}
			u.session()
		}
		switch {
		case u.turn < u.turns:
			if u.own == nil {
				u.question = u.invent(&u.question)
			}
		case u.put < u.total:
			u.converse()
		default:
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
	u.inSession, u.ready, u.question = false, false, questions.Question{}
	u.talk.begin(0, 0)
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
	u.call.Session = u.loop
	u.loop++

	u.inSession, u.put, u.turn, u.turns = true, 0, 0, 0
	u.total = s.questions.draw(u.rng)
	u.end = math.MaxInt64
	if length := seconds(s.sessionLength, u.rng); length > 0 {
		u.end = u.free + length
	}
	u.types.begin(u.rng)
}

// converse begins a conversation, with its first question.
func (u *user) converse() {
	s := u.script
	u.begin(u.types.next())
	u.turn, u.turns = 0, 1
	if s.MultiTurn > 0 && u.rng.Float64() < s.MultiTurn && u.kind.Endpoint == platform.Chat && !u.kind.Single {
		u.turns = min(s.turns.draw(u.rng), u.total-u.put)
	}
	if u.own != nil {
		u.turns = min(u.own.Turns(), u.total-u.put)
	} else {
		u.question = u.invent(nil)
		u.call.Request.Model = u.kind.model(u.question, u.rng)
	}
	u.talk.begin(s.Context, s.MaxBody-envelope(u.call.Request.Model, u.call.Request.CacheSalt))
}

// begin makes what follows requests of a kind.
func (u *user) begin(k *variety) {
	u.kind = k
	u.call.TestType = k.Name
	u.call.Request = platform.Request{Endpoint: k.Endpoint, CacheSalt: k.Salt.For(u.Identity)}
	u.own, u.call.Judge = nil, nil
	if k.Interaction != nil {
		u.own = k.Interaction.Begin(u.Identity, u.rng)
		u.call.Judge = u.own.Judge
	}
}

// invent makes up a question, to follow up on another unless that is nil.
func (u *user) invent(previous *questions.Question) (q questions.Question) {
	watch := u.fleet.opt.Watch.Question
	var start time.Time
	if watch != nil {
		start = time.Now()
	}
	if previous == nil {
		q = u.kind.Source.Next(u.rng)
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
		return time.Duration(u.call.Rand.Float64() * float64(think))
	}
	return 0
}

// ask puts the question that is ready. It returns why the session ends with
// it, or nothing.
func (u *user) ask(ctx context.Context) SessionEnd {
	u.ready = false
	u.call.Turn = u.turn
	u.turn++
	u.put++
	u.prepare(u.question)
	u.call.Schedule(u.due)
	err := u.fleet.opt.Asker.Ask(ctx, &u.call)
	u.free = u.fleet.now()
	u.sent = !errors.Is(err, ErrNotSent) || u.call.Attempt > 1

	if u.kind.Endpoint == platform.Chat && u.own == nil {
		if err != nil {
			u.talk.answer(nil)
		} else {
			u.talk.answer(u.call.Exchange.Answer)
		}
	}
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
func (u *user) prepare(q questions.Question) {
	s, req := u.script, &u.call.Request
	u.call.Strategy = q.Strategy
	if n := len(u.Keys); n > 0 {
		req.Key = u.Keys[u.asked%n]
	}
	u.id = append(append(u.id[:0], u.fleet.opt.RunID...), '-')
	u.id = append(strconv.AppendInt(u.id, int64(u.UserIndex), 10), '-')
	req.ID = string(strconv.AppendInt(u.id, int64(u.asked), 10))
	u.asked++
	if u.own != nil {
		u.own.Request(req)
		return
	}
	// Drawn whether needed or not, so that one setting does not shift the
	// random numbers behind another.
	stream := u.rng.Float64() < *u.kind.StreamingRatio
	tokens := int(math.Round(s.tokens.draw(u.rng)))
	switch {
	case u.kind.Endpoint == platform.Chat:
		req.Messages = u.talk.ask(q.Text)
	case !u.kind.Endpoint.Infers():
		u.call.Strategy, req.Model = "", ""
	default:
		req.Input = q.Text
	}
	if u.kind.Endpoint.Generates() {
		req.Stream, req.MaxTokens = stream, tokens
		if s.temperature != nil {
			req.Temperature, req.HasTemperature = s.temperature.draw(u.rng), true
		}
	}
}
