package platformsim

import (
	"math"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/jsonstring"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// embed answers a request for embeddings. The model is busy with all texts in
// one sequence, for as long as computing the prompt takes.
func (c *call) embed() {
	seq, ok := c.submit(llm.Request{MaxTokens: 1})
	if !ok {
		return
	}
	defer seq.Cancel()
	if _, _, err := seq.Next(c.r.Context()); err != nil {
		c.gaveUp(err)
		return
	}
	c.charge()
	b := append(c.out[:0], `{"object":"list","data":[`...)
	vector := make([]float64, c.backend.Dimensions)
	var tokens []llm.Token
	for i, text := range c.ask.Input.texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = appendInt(b, i)
		b = append(b, `,"embedding":[`...)
		tokens = llm.Tokenizer{}.Tokenize(tokens[:0], text)
		fillVector(vector, tokens)
		for j, v := range vector {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendUnit(b, v)
		}
		b = append(b, ']', '}')
	}
	b = append(b, `],"model":`...)
	b = jsonstring.Append(b, c.ask.Model)
	b = append(b, ',')
	b = c.appendUsage(b)
	c.out = append(b, '}', '\n')
	c.sendStruck()
}

// fillVector computes the embedding of a text: every token adds to four
// dimensions chosen by its hash, and the sum is scaled to length 1. So texts
// that share words are near each other.
func fillVector(v []float64, tokens []llm.Token) {
	clear(v)
	v[0] = 1e-3 // no text is nowhere
	for _, t := range tokens {
		h := scramble(uint64(t))
		for range 4 {
			sign := float64(h&1)*2 - 1
			v[h>>1%uint64(len(v))] += sign
			h = scramble(h)
		}
	}
	norm := 0.0
	for _, x := range v {
		norm += x * x
	}
	norm = math.Sqrt(norm)
	for i := range v {
		v[i] /= norm
	}
}
