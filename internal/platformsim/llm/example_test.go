package llm_test

import (
	"context"
	"fmt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// Two turns of a conversation; the second finds the first in the prefix cache.
func Example() {
	ctx := context.Background()
	engine := llm.New(llm.Config{BlockSize: 4}) // no speeds: instant
	defer engine.Close()

	var tokenizer llm.Tokenizer
	var vocabulary llm.Vocabulary
	history := "What does a load test find?"
	for turn := range 2 {
		prompt := tokenizer.Tokenize(nil, history)
		output := vocabulary.Generate(nil, 6, uint64(turn))
		sequence, err := engine.Submit(ctx, llm.Request{
			Prompt: prompt, OutputTokens: output, MaxTokens: len(output), PerEmit: 4,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer sequence.Cancel()
		for sent, done := 0, false; !done; {
			var n int
			if n, done, err = sequence.Next(ctx); err != nil {
				fmt.Println(err)
				return
			}
			for _, token := range output[sent : sent+n] {
				history += vocabulary.Text(token)
			}
			sent += n
		}
		fmt.Printf("%d prompt tokens, %d of them cached\n", len(prompt), sequence.CachedTokens())
		history += " And then?"
	}
	// Output:
	// 7 prompt tokens, 0 of them cached
	// 16 prompt tokens, 12 of them cached
}
