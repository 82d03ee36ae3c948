package questions

import (
	"math/rand/v2"
	"strconv"
	"sync"
)

// Document is the strategy of questions about a text that name no other.
const Document = "document"

// documentTasks ask about a text that stands before them.
var documentTasks = []string{
	"Summarise the text above for {audience} in {3..9} sentences of at most {10..30} words each.",
	"List the {3..12} most important claims of the text above, each in at most {15..60} words, for {audience}.",
	"What would {audience} find hard to understand in the text above? Explain it in {60..300/5} words.",
	"Which statements of the text above contradict each other, and which would {audience} doubt? Use at most {60..400/5} words.",
	"Write {2..9} questions that {audience} should be able to answer after reading the text above, with answers of at most {12..60} words.",
	"Turn the text above into a letter of {80..400/10} words to {audience}.",
}

var documentTaskTexts = sync.OnceValue(func() []*text { return mustCompile(documentTasks) })

// about asks about texts.
type about struct {
	texts Texts
	of    Source // nil: one of the document tasks
}

// About returns a source of long questions: a text, and below it a question of
// the source of, or, if that is nil, one about the text. All of them count as
// complex. The text comes first, so that whoever asks about the same text
// again finds it in the platform's prefix cache.
func About(texts Texts, of Source) Source { return about{texts, of} }

func (a about) Next(rng *rand.Rand) Question {
	text := a.texts.Text(rng)
	q := Question{Strategy: Document, topic: "the text"}
	if a.of != nil {
		q = a.of.Next(rng)
	} else {
		tasks := documentTaskTexts()
		task, _ := tasks[rng.IntN(len(tasks))].fill(nil, rng, "")
		q.Text = string(task)
	}
	q.Text = text + "\n\n" + q.Text
	q.Complex = true
	return q
}

type fresh struct{ of Source }

// Fresh returns a source whose questions are those of another, each behind a
// reference number of its own: no two begin alike, so that a prefix cache has
// nothing to give.
func Fresh(of Source) Source { return fresh{of} }

func (f fresh) Next(rng *rand.Rand) Question {
	mark := strconv.FormatUint(rng.Uint64(), 36)
	q := f.of.Next(rng)
	q.Text = mark + ": " + q.Text
	return q
}

// What [Repeated] repeats.
const (
	repeatedQuestions = 8   // how many different ones
	repeatedWords     = 300 // of the preamble that they share
)

type repeated []Question

// Repeated returns a source of few questions that come again and again, all
// with the same long beginning, as those of an application with a system
// prompt are: all but the first of them are found in a prefix cache, but for
// the last few tokens. The seed decides which they are; it is the run's, not
// the user's, so that all users ask the same.
func Repeated(of Source, seed uint64) Source {
	rng := rand.New(rand.NewPCG(seed, mix(seed)))
	preamble := string(passage([]byte("You answer questions for the readers of this note. "), rng, repeatedWords)) + "\n\n"
	r := make(repeated, repeatedQuestions)
	for i := range r {
		r[i] = of.Next(rng)
		r[i].Text = preamble + r[i].Text
	}
	return r
}

func (r repeated) Next(rng *rand.Rand) Question { return r[rng.IntN(len(r))] }
