package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
)

// Asker puts one question and reads the whole answer into c.Exchange. The
// error, if any, is a [*platform.Error] or wraps [ErrNotSent]. Cancelling ctx
// breaks the answer off.
type Asker interface {
	Ask(ctx context.Context, c *Call) error
}

// AskerFunc lets a function be an Asker.
type AskerFunc func(ctx context.Context, c *Call) error

// Ask implements [Asker].
func (f AskerFunc) Ask(ctx context.Context, c *Call) error { return f(ctx, c) }

// ErrNotSent marks errors of questions that were held back on this side: by an
// open circuit, or by a limit. Nothing went to the platform.
var ErrNotSent = errors.New("the request was not sent")

// ErrEnough marks errors of questions whose user may ask nothing more: he goes
// home for good. It comes with [ErrNotSent].
var ErrEnough = errors.New("the user is done")

// Call is one question on its way, with everything that its records will say
// about it.
type Call struct {
	Request  platform.Request
	Exchange platform.Exchange

	Org       string
	User      string
	UserIndex int
	Session   int // 0-based, per user
	Turn      int // 0-based, within a conversation
	Attempt   int // 1 for the first try; Retry counts on
	Strategy  string
	TestType  string

	// Scheduled is when the request is meant to leave; Phase and Measured
	// belong to that moment. Schedule sets all three.
	Scheduled time.Duration
	Phase     string
	Measured  bool

	// Rand is for decisions on the way, such as how long to back off. It is
	// the user's own, and apart from the one that makes his questions.
	Rand *rand.Rand

	// Leaving is done as soon as the user should begin nothing new, while the
	// answer being read may still be finished. Nil means never.
	Leaving context.Context

	// PhaseAt tells which phase a moment belongs to. Nil leaves Phase and
	// Measured as they are.
	PhaseAt func(offset time.Duration) (name string, measured bool)

	// Aside, unless it is empty, is the kind of all records of the call, however
	// it ends: it is no load, and is counted apart.
	Aside record.Kind

	// Judge looks at each answer before it is recorded: at what came, and how
	// long it took. Its error takes the place of err. Nil judges nothing.
	Judge func(x *platform.Exchange, took time.Duration, err error) ([]record.Check, []record.Value, error)
	// Checks and Values are what it found.
	Checks []record.Check
	Values []record.Value

	verdict verdict
}

// verdict tells the recorder whether a failed attempt will be repeated.
type verdict interface {
	again(c *Call, err error) bool
}

// Schedule sets the moment at which the request is meant to leave.
func (c *Call) Schedule(at time.Duration) {
	c.Scheduled = at
	if c.PhaseAt != nil {
		c.Phase, c.Measured = c.PhaseAt(at)
	}
}

// final reports whether err, which may be nil, is the last word on c.
func (c *Call) final(err error) bool {
	return err == nil || c.verdict == nil || !c.verdict.again(c, err)
}

// leaving reports whether the user should begin nothing new.
func (c *Call) leaving() bool { return c.Leaving != nil && c.Leaving.Err() != nil }

// emptied is an exchange with nothing but the buffers of another.
func emptied(x platform.Exchange) platform.Exchange {
	return platform.Exchange{Gaps: x.Gaps[:0], Answer: x.Answer[:0], Whole: x.Whole[:0]}
}
