package human

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Ink styles text for a terminal; the zero value leaves it plain. It uses the
// sixteen named colours only, so that a person's own theme decides how they
// look.
type Ink struct {
	// Color turns the escape sequences on. Whether it should (a terminal, no
	// NO_COLOR) is for the caller to know.
	Color bool
}

func (k Ink) paint(code, s string) string {
	if !k.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[m"
}

// Bold makes s stand out.
func (k Ink) Bold(s string) string { return k.paint("1", s) }

// Dim makes s step back: labels, units, hints.
func (k Ink) Dim(s string) string { return k.paint("2", s) }

// Good is for what is as it should be.
func (k Ink) Good(s string) string { return k.paint("32", s) }

// Bad is for what went wrong.
func (k Ink) Bad(s string) string { return k.paint("31", s) }

// Warn is for what deserves a look.
func (k Ink) Warn(s string) string { return k.paint("33", s) }

// Accent is for what moves: bars and sparklines.
func (k Ink) Accent(s string) string { return k.paint("36", s) }

// Width is the number of columns s takes on a terminal, escapes not counted.
func Width(s string) int { return ansi.StringWidth(s) }

// Left pads s with spaces on the right to width columns, or cuts it with "…".
func Left(s string, width int) string {
	s = Cut(s, width)
	return s + strings.Repeat(" ", max(0, width-Width(s)))
}

// Right pads s with spaces on the left to width columns, or cuts it with "…".
func Right(s string, width int) string {
	s = Cut(s, width)
	return strings.Repeat(" ", max(0, width-Width(s))) + s
}

// Cut shortens s to width columns, the last of which is then "…".
func Cut(s string, width int) string { return ansi.Truncate(s, max(0, width), "…") }

// nonBreakingHyphen is one column wide, and no place to break a line.
const nonBreakingHyphen = "\u2011"

// Wrap breaks s at spaces into lines of at most width columns; a word that is
// longer is broken.
func Wrap(s string, width int) []string {
	// Hyphens are in what people copy: IDs, paths, commands.
	s = strings.ReplaceAll(Clean(s), "-", nonBreakingHyphen)
	return strings.Split(strings.ReplaceAll(ansi.Wrap(s, max(1, width), ""), nonBreakingHyphen, "-"), "\n")
}

// Clean makes one line of s and drops control characters: text that came from
// a server must not steer the terminal.
func Clean(s string) string {
	return strings.Join(strings.FieldsFunc(ansi.Strip(s), func(r rune) bool {
		return r <= ' ' || (r >= 0x7f && r < 0xa0)
	}), " ")
}

// Bar draws a ratio, cut off at 0 and 1, as a bar of width columns with steps
// of half a column. It is full only at 1.
func (k Ink) Bar(ratio float64, width int) string {
	if width <= 0 {
		return ""
	}
	halves := int(min(max(ratio, 0), 1) * float64(width) * 2)
	done := strings.Repeat("━", halves/2)
	if halves%2 > 0 {
		done += "╸"
	}
	return k.Accent(done) + k.Dim(strings.Repeat("─", width-Width(done)))
}

// Sparkline draws values as one column each, scaled from 0 to the largest.
// A negative value is unknown and leaves a gap.
func Sparkline(values []float64) string {
	const steps = "▁▂▃▄▅▆▇█"
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case v < 0:
			b.WriteByte(' ')
		case top == 0:
			b.WriteString("▁")
		default:
			b.WriteRune([]rune(steps)[min(7, int(v/top*8))])
		}
	}
	return b.String()
}
