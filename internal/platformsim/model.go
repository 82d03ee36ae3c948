package platformsim

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platform"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// Model is one model that the platform serves.
type Model struct {
	Name           string
	Backend        llm.Config
	Price          platform.Price // used unless Options.Cost is set
	OutputTokens   Lengths        // length of an answer that max_tokens does not cut short
	TokensPerChunk int            // tokens in one event of a stream; 0 = 1
	FirstAlone     bool           // the first token has an event of its own
	ContextLength  int            // most tokens of prompt and answer together; 0 = 32768
	Dimensions     int            // of its vectors; more than 0 makes it an embedding model
}

// Lengths is a distribution of lengths, in tokens, with exactly this mean:
// evenly from Min to Mean or evenly from Mean to Max.
type Lengths struct{ Min, Mean, Max int }

// draw returns a length for two random numbers.
func (l Lengths) draw(rng *rand.PCG) int {
	if l.Max <= l.Min {
		return max(1, l.Min)
	}
	mean := min(max(l.Mean, l.Min), l.Max)
	from, to := mean, l.Max
	// The lower half has its centre at (min+mean)/2, the upper at (mean+max)/2.
	if rng.Uint64()%uint64(l.Max-l.Min) < uint64(l.Max-mean) {
		from, to = l.Min, mean
	}
	return max(1, from+int(rng.Uint64()%uint64(to-from+1)))
}

// DefaultModels returns a fast and a slow model for chat and completions and
// one for embeddings. A lone question of 200 tokens gets its first token after
// about 30 ms from sim-small and 60 ms from sim-medium, and the next ones every
// 6 and 9 ms.
func DefaultModels() []Model {
	prices := platform.DefaultPrices()
	return []Model{
		{
			Name: "sim-small", Price: prices["sim-small"],
			Backend: llm.Config{
				MaxRunning: 256, MaxWaiting: 4096, PrefillPerSecond: 8000,
				DecodeStep: 6 * time.Millisecond, DecodePerSequence: 20 * time.Microsecond, CacheBlocks: 65536,
			},
			OutputTokens: Lengths{Min: 16, Mean: 120, Max: 400},
		},
		{
			Name: "sim-medium", Price: prices["sim-medium"],
			Backend: llm.Config{
				MaxRunning: 256, MaxWaiting: 4096, PrefillPerSecond: 4000,
				DecodeStep: 9 * time.Millisecond, DecodePerSequence: 40 * time.Microsecond, CacheBlocks: 65536,
			},
			OutputTokens: Lengths{Min: 32, Mean: 220, Max: 800},
		},
		{
			Name: "sim-embed", Price: prices["sim-embed"],
			Backend: llm.Config{
				MaxRunning: 256, MaxWaiting: 4096, PrefillPerSecond: 100_000,
				DecodeStep: 2 * time.Millisecond, CacheBlocks: -1,
			},
			Dimensions: 256,
		},
	}
}

// AtSpeed returns the models with backends that are faster by that factor.
func AtSpeed(models []Model, factor float64) []Model {
	scaled := make([]Model, len(models))
	for i, m := range models {
		slow := func(d *time.Duration) { *d = time.Duration(float64(*d) / factor) }
		slow(&m.Backend.DecodeStep)
		slow(&m.Backend.DecodePerSequence)
		slow(&m.Backend.ColdStart)
		m.Backend.PrefillPerSecond *= factor
		scaled[i] = m
	}
	return scaled
}

// WithPlaces returns the models with backends that work on at most so many
// requests at a time; the others wait.
func WithPlaces(models []Model, places int) []Model {
	narrow := slices.Clone(models)
	for i := range narrow {
		narrow[i].Backend.MaxRunning = places
	}
	return narrow
}

// Instant returns the models with backends that take no time, for measuring
// everything but the models.
func Instant(models []Model) []Model {
	instant := make([]Model, len(models))
	for i, m := range models {
		m.Backend.PrefillPerSecond, m.Backend.DecodeStep, m.Backend.DecodePerSequence, m.Backend.ColdStart = 0, 0, 0, 0
		instant[i] = m
	}
	return instant
}

const (
	defaultContext = 32768
	// maxOutput bounds an answer whatever the model and the client say.
	maxOutput = 1 << 20
)

// backend is a model at work.
type backend struct {
	Model
	engine  atomic.Pointer[llm.Engine]
	instant bool     // it takes no time
	routing []string // value of X-Routing-Backend
}

func newBackend(m Model, d Defects) *backend {
	if m.TokensPerChunk <= 0 {
		m.TokensPerChunk = 1
	}
	if m.ContextLength <= 0 {
		m.ContextLength = defaultContext
	}
	m.Backend.LeakySalt = m.Backend.LeakySalt || d.LeakyCache
	c := m.Backend
	instant := c.PrefillPerSecond == 0 && c.DecodeStep == 0 && c.DecodePerSequence == 0 && c.ColdStart == 0
	b := &backend{Model: m, instant: instant, routing: []string{m.Name + "-0"}}
	b.engine.Store(llm.New(m.Backend))
	return b
}

// restart replaces the engine, with an empty cache; what the old one was
// doing is cut off.
func (b *backend) restart() { b.engine.Swap(llm.New(b.Backend)).Close() }
