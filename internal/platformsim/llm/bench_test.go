//go:build unix

package llm_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// BenchmarkInstantRequests is a short chat request without the HTTP around it:
// 200 tokens of prompt, 16 of output, one an event.
func BenchmarkInstantRequests(b *testing.B) {
	e := llm.New(llm.Config{})
	defer e.Close()
	r := llm.Request{Prompt: prompt(1, 200), MaxTokens: 16, OutputTokens: prompt(2, 16)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			s, err := e.Submit(ctx, r)
			if err != nil {
				b.Error(err)
				return
			}
			for done := false; !done; {
				_, done, _ = s.Next(ctx)
			}
			s.Cancel()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkDecodeEvents has n readers wait for every token. Unpaced, the engine
// takes its steps as fast as it can and readers find several tokens when they
// wake; paced at 500,000 tokens a second, each token costs a wake-up, which is
// what a server pays. The processor time an event tells how far that can go.
func BenchmarkDecodeEvents(b *testing.B) {
	for _, n := range []int{256, 1000} {
		b.Run(fmt.Sprintf("unpaced/%d", n), func(b *testing.B) { decodeEvents(b, n, time.Nanosecond) })
		b.Run(fmt.Sprintf("paced/%d", n), func(b *testing.B) { decodeEvents(b, n, time.Duration(n)*2*time.Microsecond) })
	}
}

func decodeEvents(b *testing.B, n int, step time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const output = 200
	var late time.Duration
	events, before := 0, processorTime(b)
	for b.Loop() {
		e := llm.New(llm.Config{MaxRunning: n, DecodeStep: step})
		var readers sync.WaitGroup
		for i := range n {
			s, err := e.Submit(ctx, llm.Request{Prompt: prompt(i, 4), MaxTokens: output})
			if err != nil {
				b.Fatal(err)
			}
			readers.Go(func() {
				defer s.Cancel()
				for done := false; !done; {
					var err error
					if _, done, err = s.Next(ctx); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		readers.Wait()
		late = max(late, e.Stats().MaxLate)
		e.Close()
		events += n * output
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(processorTime(b)-before)/float64(events), "cpu-ns/event")
	b.ReportMetric(float64(late.Microseconds()), "late-µs")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkTokenize(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, and nobody minds. ", 64)
	dst := make([]llm.Token, 0, len(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		dst = llm.Tokenizer{}.Tokenize(dst[:0], text)
	}
}
