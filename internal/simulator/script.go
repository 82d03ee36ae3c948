package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// Identity is who a user is. UserIndex is unique over the whole run, OrgIndex
// names the org in every worker alike; together with the run's seed they
// decide what the user does.
type Identity struct {
	Org       string
	OrgIndex  int
	User      string
	UserIndex int
	// Keys are used in turn, one request each. Without any, none is sent.
	Keys []secret.String
}

// Script is what every user does.
type Script struct {
	// Source makes the questions.
	Source questions.Source
	// Questions is how many a user asks in one session.
	Questions Count
	// SessionLength ends a session early, in seconds: a question that would be
	// due later is not asked. The zero Number sets no bound.
	SessionLength Number
	// Think is the time between an answer and the next question, in seconds.
	Think Number
	// Stagger spreads the first questions of all users over one think time,
	// for load that starts everyone at once without meaning to.
	Stagger bool
	// Loop says what follows a session.
	Loop Loop

	// MultiTurn is the probability, from 0 to 1, that a question opens a
	// conversation of several Turns, each of which counts as a question.
	MultiTurn float64
	Turns     Count // at least 1; needed if MultiTurn > 0
	// Context is how many earlier turns, questions and answers, a turn carries
	// along; below zero, all of them. Fewer if MaxBody leaves no room.
	Context int
	// MaxBody bounds the body of a request, in bytes: the oldest turns are
	// left out to keep below it. 0 means 65,535, the most that the platform's
	// router takes.
	MaxBody int

	// Endpoint is asked; empty means chat. Only chat has conversations.
	Endpoint platform.Endpoint
	// Models are chosen by weight, anew for each conversation.
	Models []Model
	// Targets replace Models for the questions that fit; the first that fits
	// decides, and for a conversation its first question.
	Targets []Target
	// MaxTokens bounds each answer; a draw below 1 is not sent.
	MaxTokens Number
	// Temperature is drawn for each request; nil sends none.
	Temperature *Number
	// StreamingRatio is the share of requests that ask for a stream, 0 to 1.
	StreamingRatio float64
	Salt           Salt
	// TestType labels the records of a script without Types.
	TestType string
	// Types are the kinds of request, if there are several, and Selection says
	// which of them is next.
	Types     []Type
	Selection Selection

	// StopAfter sends a user home for good after so many questions that failed,
	// retries included, for a reason other than those in Ignore; 0 never does.
	StopAfter int
	Ignore    Codes
}

// Model is a model and how often it is chosen: its weight over the sum of all.
type Model struct {
	Name   string
	Weight float64
}

// Loop says how long a user who is wanted goes on. Each session is one loop.
// The bounds count over all the times at which a user is at work.
type Loop struct {
	// Max is the number of sessions; 0 sets no bound. Under a pattern that
	// never ends, such as [loadpattern.Always], something must be bounded.
	Max int
	// For is the time since the user's first session began after which he
	// begins no other; 0 sets no bound.
	For time.Duration
	// SameSeed makes each session repeat the first, questions and think times,
	// instead of drawing from a seed of its own.
	SameSeed bool
}

// SaltStrategy says who shares a prefix cache.
type SaltStrategy string

// The strategies of cache salts.
const (
	NoSalt     SaltStrategy = ""
	SaltOrg    SaltStrategy = "org_id"  // one salt per organization
	SaltUser   SaltStrategy = "user_id" // one salt per user
	SaltCustom SaltStrategy = "custom"  // one salt for all
)

// Salt decides the cache_salt of requests.
type Salt struct {
	Strategy SaltStrategy
	Custom   string
}

// For returns the salt of one user, or nothing.
func (s Salt) For(id Identity) string {
	switch s.Strategy {
	case SaltOrg:
		return id.Org
	case SaltUser:
		return id.Org + "/" + id.User
	case SaltCustom:
		return s.Custom
	default:
		return ""
	}
}

func (s Salt) check() error {
	switch s.Strategy {
	case NoSalt, SaltOrg, SaltUser, SaltCustom:
		return nil
	default:
		return fmt.Errorf("the cache salt strategy %q is unknown: use %s, %s or %s", s.Strategy, SaltOrg, SaltUser, SaltCustom)
	}
}

// largestBody is the most that the platform's router takes.
const largestBody = 64<<10 - 1

// Check reports everything that makes the script unusable, or nil.
func (s *Script) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Source == nil && len(s.Types) == 0 {
		fault("the script has no source of questions")
	}
	errs = append(errs,
		s.Questions.check("questions per session", 1),
		s.SessionLength.check("session duration"),
		s.Think.check("think time"),
		s.MaxTokens.check("max tokens"))
	if s.Temperature != nil {
		errs = append(errs, s.Temperature.check("temperature"))
	}
	if !(s.MultiTurn >= 0 && s.MultiTurn <= 1) {
		fault("the probability of a conversation, %v, is not between 0 and 1", s.MultiTurn)
	}
	if s.MultiTurn > 0 {
		errs = append(errs, s.Turns.check("turns per conversation", 1))
	}
	if !(s.StreamingRatio >= 0 && s.StreamingRatio <= 1) {
		fault("the share of streams, %v, is not between 0 and 1", s.StreamingRatio)
	}
	if s.MaxBody < 0 {
		fault("the largest body, %d bytes, is negative", s.MaxBody)
	}
	if s.Loop.Max < 0 || s.Loop.For < 0 {
		fault("a loop cannot be bounded by %d sessions or %v: give positive bounds, or 0 for none", s.Loop.Max, s.Loop.For)
	}
	errs = append(errs, checkEndpoint(s.Endpoint), s.Salt.check())
	switch {
	case len(s.Types) == 0:
		errs = append(errs, checkModels(s.Models, s.Targets))
		if len(s.Models) == 0 {
			fault("no model to ask: list at least one under modelPreferences")
		}
	default:
		if len(s.Models)+len(s.Targets) > 0 {
			errs = append(errs, checkModels(s.Models, s.Targets))
		}
		sum := 0.0
		for i := range s.Types {
			errs = append(errs, s.Types[i].check(s))
			sum += s.Types[i].Weight
		}
		if !(sum > 0) {
			fault("the weights of the types sum to zero: give at least one of them a positive weight")
		}
	}
	return errors.Join(errs...)
}

// endpoints are what users can ask.
var endpoints = []platform.Endpoint{
	platform.Chat, platform.Completions, platform.Embeddings, platform.Responses, platform.ModelList,
	platform.CreateOrg, platform.ReadOrg, platform.PatchOrg, platform.ListOrgs, platform.InviteUser, platform.SuspendUser,
	platform.IssueKey, platform.RotateKey, platform.RevokeKey,
}

func checkEndpoint(e platform.Endpoint) error {
	if e == "" || slices.Contains(endpoints, e) {
		return nil
	}
	return fmt.Errorf("the endpoint %q is unknown: use one of %v", e, endpoints)
}

func checkModels(models []Model, targets []Target) error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	all := [][]Model{models}
	for _, t := range targets {
		all = append(all, t.Models)
		if len(t.Models) == 0 {
			fault("a target needs models")
		}
	}
	for _, models := range all {
		sum := 0.0
		for _, m := range models {
			if !(m.Weight >= 0) || m.Name == "" {
				fault("the model %q with weight %v cannot be chosen: give a name and a weight from 0 up", m.Name, m.Weight)
			}
			sum += m.Weight
		}
		if len(models) > 0 && !(sum > 0) {
			fault("the weights of the models sum to zero: give at least one of them a positive weight")
		}
	}
	return errors.Join(errs...)
}

// compiled is a script with its distributions worked out; all users share it.
type compiled struct {
	Script
	questions, turns             table
	sessionLength, think, tokens sampler
	temperature                  sampler
	kinds                        []variety
}

func compile(s Script) *compiled {
	c := &compiled{
		Script:        s,
		questions:     s.Questions.table(),
		sessionLength: s.SessionLength.sampler(),
		think:         s.Think.sampler(),
		tokens:        s.MaxTokens.sampler(),
		kinds:         s.kinds(),
	}
	if s.MultiTurn > 0 {
		c.turns = s.Turns.table()
	}
	if s.Temperature != nil {
		c.temperature = s.Temperature.sampler()
	}
	if c.MaxBody == 0 {
		c.MaxBody = largestBody
	}
	return c
}
