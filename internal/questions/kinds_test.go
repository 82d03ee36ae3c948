package questions_test

import (
	"strings"
	"testing"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/questions"
)

func source(t *testing.T) questions.Source {
	t.Helper()
	src, err := questions.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestFreshQuestionsBeginDifferently(t *testing.T) {
	src, rng := questions.Fresh(source(t)), questions.Seed(1, 2, 3, 4)
	seen := map[string]bool{}
	for range 10_000 {
		q := src.Next(rng)
		beginning := q.Text[:8]
		if seen[beginning] {
			t.Fatalf("two questions begin with %q", beginning)
		}
		seen[beginning] = true
		if q.Strategy == "" || !strings.Contains(q.Text, ": ") {
			t.Fatalf("%+v", q)
		}
	}
}

func TestRepeatedQuestionsShareALongBeginning(t *testing.T) {
	src, rng := questions.Repeated(source(t), 7), questions.Seed(1, 2, 3, 4)
	texts := map[string]bool{}
	for range 1000 {
		texts[src.Next(rng).Text] = true
	}
	if len(texts) < 2 || len(texts) > 20 {
		t.Errorf("%d different questions; want a few", len(texts))
	}
	var shared string
	for text := range texts {
		if shared == "" {
			shared = text
		}
		for !strings.HasPrefix(text, shared) {
			shared = shared[:len(shared)-1]
		}
	}
	for text := range texts {
		if len(shared)*10 < len(text)*7 {
			t.Errorf("only %d of %d bytes are shared", len(shared), len(text))
		}
	}
	if again := questions.Repeated(source(t), 7).Next(questions.Seed(9, 9, 9, 9)); !texts[again.Text] {
		t.Error("another user of the run asks something else")
	}
	if other := questions.Repeated(source(t), 8).Next(questions.Seed(9, 9, 9, 9)); strings.HasPrefix(other.Text, shared) {
		t.Error("another run begins in the same way, and would find its questions in the cache")
	}
}

func TestQuestionsAboutTexts(t *testing.T) {
	rng := questions.Seed(1, 2, 3, 4)
	tasks, of := questions.About(questions.Generated{}, nil), questions.About(questions.Generated{}, source(t))
	first := tasks.Next(rng)
	for range 200 {
		q := tasks.Next(rng)
		if words := len(strings.Fields(q.Text)); words < 250 || words > 800 {
			t.Fatalf("a long question has %d words", words)
		}
		if !q.Complex || q.Strategy != questions.Document || q.Text == first.Text || !strings.Contains(q.Text, "text above") {
			t.Fatalf("%+v", q)
		}
		if q := of.Next(rng); !q.Complex || q.Strategy == questions.Document {
			t.Fatalf("with a strategy of its own: %+v", q)
		}
	}
	if next := questions.FollowUp(rng, first); strings.Contains(next.Text, "{topic}") || len(next.Text) > 500 {
		t.Errorf("the follow-up is %q", next.Text)
	}
}

func TestProseHasItsLength(t *testing.T) {
	rng := questions.Seed(1, 2, 3, 4)
	for sort, slack := range map[questions.Prose]int{questions.Lorem: 0, questions.Words: 0, questions.Sentences: 40, questions.Paragraphs: 40, "": 0} {
		for _, want := range []int{0, 1, 30, 500} {
			text := questions.Text(rng, sort, want)
			if n := len(strings.Fields(text)); n < want || n > want+slack {
				t.Errorf("%s: %d words, want %d", sort, n, want)
			}
			if sort != questions.Paragraphs && strings.Contains(text, "\n") {
				t.Errorf("%s has paragraphs", sort)
			}
		}
	}
}
