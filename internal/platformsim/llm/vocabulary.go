package llm

import (
	"math/rand/v2"
	"strings"
)

// Vocabulary is the fixed table of tokens that the platform generates: ids from 0
// to Len()−1, some punctuation, common English words and a few thousand invented
// ones, each word with the space before it. The table is the same in every process.
type Vocabulary struct{}

// Len is the number of tokens that have a text.
func (Vocabulary) Len() int { return len(words.text) }

// Text is what the token says. It is empty for ids from Len() on, which stand for
// text that only prompts contain.
func (Vocabulary) Text(t Token) string {
	if int(t) >= len(words.text) {
		return ""
	}
	return words.text[t]
}

// Generate appends n tokens of prose to dst. The seed determines them, and fewer
// tokens of the same seed are the beginning of more.
func (Vocabulary) Generate(dst []Token, n int, seed uint64) []Token {
	var rng rand.PCG
	rng.Seed(seed, 0)
	for sentence := 0; n > 0; n-- {
		r := rng.Uint64()
		id := uint64(len(marks)) + r>>32%uint64(len(words.text)-len(marks))
		switch sentence++; {
		case sentence > 4 && r%12 == 0:
			id, sentence = 0, 0 // a full stop
		case r%2 == 0:
			id = uint64(len(marks)) + r>>32%uint64(len(common))
		}
		dst = append(dst, Token(id))
	}
	return dst
}

var (
	marks  = strings.Fields(`. , ; : ! ?`)
	common = strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this have from
		or had an they which one you were all her she there would their we him been has when who will no more if out so
		what up said its about than into them can only other time new some could these two may first then do any like my
		now over such our man me even most made after also did many off before must well back through years much where
		your way down should because long each just state those people too mr how little good world make very year still
		see work life own day here both between under never same another know while last might us great old go come since`)
	onsets = strings.Fields("b c d f g h l m n p r s t v w br ch cl dr fl gr pl pr sh st th tr")
	vowels = strings.Fields("a e i o u ai ea ou")
	codas  = append(strings.Fields("n r s l t m nd st ck"), "")
)

// wordTable is the vocabulary, with the way back from text to token.
type wordTable struct {
	text []string
	// Open addressing by the hash of the text; zero is a free slot.
	hash [2 * wordCount]uint64
	id   [2 * wordCount]Token
}

const wordCount = 4096 // a power of two

var words = newWordTable()

func newWordTable() *wordTable {
	t := &wordTable{text: make([]string, 0, wordCount)}
	for _, m := range marks {
		t.add(m)
	}
	for _, w := range common {
		t.add(" " + w)
	}
	rng := rand.NewPCG(1, 2)
	pick := func(from []string) string { return from[rng.Uint64()%uint64(len(from))] }
	for len(t.text) < wordCount {
		w := pick(onsets) + pick(vowels) + pick(codas)
		if rng.Uint64()%4 != 0 {
			w += pick(onsets) + pick(vowels) + pick(codas)
		}
		if len(w) <= maxPiece {
			t.add(" " + w)
		}
	}
	return t
}

// add enters a text, unless it is there.
func (t *wordTable) add(text string) {
	h := pieceSeed
	for i := range len(text) {
		h = pieceByte(h, text[i])
	}
	slot, known := t.find(h)
	if known {
		return
	}
	t.hash[slot], t.id[slot] = h, Token(len(t.text))
	t.text = append(t.text, text)
}

// find returns the slot of a hash, or the free one where it belongs.
func (t *wordTable) find(h uint64) (slot uint64, known bool) {
	const mask = 2*wordCount - 1
	for slot = h >> 32 & mask; t.hash[slot] != 0; slot = (slot + 1) & mask {
		if t.hash[slot] == h {
			return slot, true
		}
	}
	return slot, false
}

// token is the id of the piece of text with this hash: that of the vocabulary, or
// else one from the upper half of all ids.
func (t *wordTable) token(h uint64) Token {
	if slot, known := t.find(h); known {
		return t.id[slot]
	}
	return Token(mix(h, 0)>>33) | 1<<31
}
