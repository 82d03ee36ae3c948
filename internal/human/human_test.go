package human_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

type pair[T any] struct {
	in   T
	want string
}

func check[T any](t *testing.T, name string, f func(T) string, pairs []pair[T]) {
	t.Helper()
	for _, p := range pairs {
		if got := f(p.in); got != p.want {
			t.Errorf("%s(%v) = %q, want %q", name, p.in, got, p.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	const ms = time.Millisecond
	check(t, "Duration", human.Duration, []pair[time.Duration]{
		{0, "0s"}, {850, "850ns"}, {12_345, "12.3µs"}, {999_900, "1ms"}, {612_345_678, "612ms"},
		{2*time.Second + 344*ms, "2.34s"}, {59*time.Second + 940*ms, "59.9s"}, {59*time.Second + 960*ms, "1m00s"},
		{65 * time.Second, "1m05s"}, {59*time.Minute + 31*time.Second, "1h00m"}, {123 * time.Minute, "2h03m"}, {-5 * ms, "-5ms"},
	})
	check(t, "Clock", human.Clock, []pair[time.Duration]{
		{0, "00:00"}, {134 * time.Second, "02:14"}, {time.Hour + 2*time.Minute + 14*time.Second, "1:02:14"}, {-time.Second, "00:00"},
	})
	check(t, "Money", human.Money, []pair[int64]{
		{0, "$0.00"}, {1, "$0.000001"}, {1234, "$0.001234"}, {12_345, "$0.0123"}, {500_000, "$0.50"},
		{999_999, "$1.00"}, {1_234_567_890, "$1,234.57"}, {10_000_000, "$10.00"}, {-1234, "-$0.001234"},
	})
	check(t, "Rate", human.Rate, []pair[float64]{
		{0, "0"}, {0.25, "0.25"}, {9.996, "10.0"}, {48.23, "48.2"}, {99.96, "100"}, {3120.4, "3,120"},
		{math.NaN(), human.Unknown}, {math.Inf(1), human.Unknown}, {-250, "-250"},
	})
	check(t, "Count", human.Count, []pair[uint64]{{0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}})
	check(t, "Short", human.Short, []pair[uint64]{
		{9999, "9,999"}, {12_345, "12.3k"}, {99_960, "100k"}, {999_600, "1.0M"}, {1_234_000_000, "1.2G"}, {math.MaxUint64, "18447P"},
	})
	check(t, "Plural", func(n int) string { return human.Plural(n, "user") }, []pair[int]{{0, "0 users"}, {1, "1 user"}, {1200, "1,200 users"}, {-2, "-2 users"}})
	check(t, "Percent", human.Percent, []pair[float64]{
		{0, "0%"}, {1, "100%"}, {1e-6, "<0.01%"}, {0.008, "0.80%"}, {0.123, "12.3%"}, {0.999999, "99.99%"}, {1.5, "150.0%"}, {math.NaN(), human.Unknown},
	})
}

func TestInk(t *testing.T) {
	plain, color := human.Ink{}, human.Ink{Color: true}
	if got := plain.Bold("x") + plain.Bad("y"); got != "xy" {
		t.Errorf("without colour: %q", got)
	}
	if got := color.Bad("y"); got != "\x1b[31my\x1b[m" {
		t.Errorf("with colour: %q", got)
	}
	if got := color.Bad(""); got != "" {
		t.Errorf("nothing painted: %q", got)
	}
}

func TestWrapKeepsWhatPeopleCopy(t *testing.T) {
	got := human.Wrap("removed by: loadtest cleanup --run 20261123-174019-0631", 42)
	if want := []string{"removed by: loadtest cleanup --run", "20261123-174019-0631"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestColumns(t *testing.T) {
	painted := human.Ink{Color: true}.Good("né")
	for _, s := range []string{human.Left(painted, 5), human.Right(painted, 5), human.Left("too long", 5), human.Right("日本語", 5)} {
		if human.Width(s) != 5 {
			t.Errorf("%q is %d columns wide, want 5", s, human.Width(s))
		}
	}
	if got := human.Cut("abcdef", 4); got != "abc…" {
		t.Errorf("Cut = %q", got)
	}
	if got := human.Clean("a\x1b[2Jb\r\n\tc\u009b31md"); strings.ContainsAny(got, "\x1b\u009b\n\r\t") || !strings.HasPrefix(got, "ab c") {
		t.Errorf("Clean = %q", got)
	}
	for _, line := range human.Wrap("one two three averyveryverylongword end", 9) {
		if human.Width(line) > 9 {
			t.Errorf("wrapped line %q is too wide", line)
		}
	}
}

func TestBarAndSparkline(t *testing.T) {
	var k human.Ink
	check(t, "Bar", func(r float64) string { return k.Bar(r, 4) }, []pair[float64]{
		{-1, "────"}, {0, "────"}, {0.5, "━━──"}, {0.4, "━╸──"}, {0.999, "━━━╸"}, {1, "━━━━"}, {7, "━━━━"},
	})
	if got := k.Bar(0.5, 0); got != "" {
		t.Errorf("Bar of no width = %q", got)
	}
	if got := human.Sparkline([]float64{0, 1, -1, 4, 8}); got != "▁▂ ▅█" {
		t.Errorf("Sparkline = %q", got)
	}
	if got := human.Sparkline(slices.Repeat([]float64{0}, 3)); got != "▁▁▁" {
		t.Errorf("Sparkline of zeros = %q", got)
	}
}
