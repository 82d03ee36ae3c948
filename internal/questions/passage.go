package questions

import (
	"math/rand/v2"
	"strings"
	"sync"
)

// statements make up generated texts. They claim nothing that needs to be
// true: a text has to be long, readable and different every time.
var statements = []string{
	"The records of {city} mention {theme} {12..90} times in the {3..9} years after {event}.",
	"What {person} wrote about {theme} was read in {city2} long before it reached {city}.",
	"In {country}, where {resource} had become {2..9} times as expensive, {issue} was discussed more openly than {theme}.",
	"{person} and {person2} disagreed about {invention}, and neither of them asked what {audience} would make of it.",
	"A survey of {120..980} households in {city} found that {12..88} of every hundred blamed {issue} on {theme}.",
	"Travellers who came from {country} by way of {landform} needed between {5..40} and {41..120} days, depending on the month.",
	"The engineers chose {store} over {store2}, since {system} had lost {2..60} minutes of data after {change}.",
	"By {month} the price of {resource} in {city} stood at {101..999}, and {theme} had been forgotten.",
	"Much of what is known about {theme} in {era} rests on {3..40} letters that were found in {city}.",
	"Those who had expected {concept} to solve the problem of {system} found that {concept2} mattered more.",
	"For {audience}, the connection between {event} and {theme} is harder to see than that between {event2} and {invention}.",
	"Between {country} and {country2} lay {landform}, and with it {200..1900/10} kilometres of poor road.",
	"{invention} spread through {region} in {10..90} years, but in {city} it was resisted by {audience}.",
	"The committee met {3..30} times, heard {audience} on {issue}, and adjourned until {month}.",
	"No fewer than {1000..9000/10} tonnes of {resource} passed through {city} in the year of {event}.",
}

var statementTexts = sync.OnceValue(func() []*text { return mustCompile(statements) })

// passage appends a text of at least so many words to b, in paragraphs.
func passage(b []byte, rng *rand.Rand, words int) []byte {
	texts := statementTexts()
	const inParagraph = 5
	for n := 0; words > 0; n++ {
		switch {
		case n == 0:
		case n%inParagraph == 0:
			b = append(b, "\n\n"...)
		default:
			b = append(b, ' ')
		}
		start := len(b)
		b, _ = texts[rng.IntN(len(texts))].fill(b, rng, "")
		words-- // the first word has no space before it
		for _, c := range b[start:] {
			if c == ' ' {
				words--
			}
		}
	}
	return b
}

// Texts are what long questions are about. A text is what a user might paste
// into a chat: documents of a library, or [Generated] ones.
type Texts interface {
	Text(rng *rand.Rand) string
}

// Generated are texts that are made up anew each time, of 250 to 600 words,
// which is well over 200 tokens for any tokenizer.
type Generated struct{}

var _ Texts = Generated{}

// Text implements [Texts].
func (Generated) Text(rng *rand.Rand) string {
	const fewest, most = 250, 600
	return string(passage(nil, rng, fewest+rng.IntN(most-fewest+1)))
}

// Prose is a sort of text that is made up without meaning.
type Prose string

// The sorts of prose.
const (
	Lorem      Prose = "lorem"      // Latin words
	Words      Prose = "words"      // English words
	Sentences  Prose = "sentences"  // whole ones, so there may be a few words more
	Paragraphs Prose = "paragraphs" // of such sentences
)

var latin = strings.Fields(`lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et
	dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis aute
	irure in reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt
	culpa qui officia deserunt mollit anim id est laborum`)

// Text makes a text of so many words; of an unknown sort it is Lorem.
func Text(rng *rand.Rand, sort Prose, words int) string {
	switch sort {
	case Paragraphs:
		return string(passage(nil, rng, words))
	case Sentences:
		return strings.ReplaceAll(string(passage(nil, rng, words)), "\n\n", " ")
	case Words:
		return strings.Join(strings.Fields(string(passage(nil, rng, words)))[:max(0, words)], " ")
	}
	out := make([]string, max(0, words))
	for i := range out {
		out[i] = latin[rng.IntN(len(latin))]
	}
	return strings.Join(out, " ")
}
