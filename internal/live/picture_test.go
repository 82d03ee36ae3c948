package live

import (
	"fmt"
	"html"
	"image/color"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// TestPicture draws the view as the README shows it. With LIVE_PICTURES set to
// a directory, the pictures are written there.
func TestPicture(t *testing.T) {
	for _, columns := range []int{80, 120} {
		p := page{Ink: human.Ink{Color: true}, title: "tenants-chat", keys: true, width: columns, height: 30}
		frame := p.draw(sampleTrail(250 * time.Second))
		screen := vt.NewEmulator(columns, strings.Count(frame, "\n")+1)
		if _, err := screen.WriteString(strings.ReplaceAll(frame, "\n", "\r\n")); err != nil {
			t.Fatal(err)
		}
		picture := svg(screen)
		name := fmt.Sprintf("live-%d.svg", columns)
		if dir := os.Getenv("LIVE_PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(picture), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, name, strings.TrimSuffix(picture, "\n"))
	}
}

// palette is how the pictures show the named colours in use.
var palette = map[color.Color]string{
	ansi.Red: "#f7768e", ansi.Green: "#9ece6a", ansi.Yellow: "#e0af68", ansi.Cyan: "#7dcfff",
}

// phrases are words with single spaces between: SVG viewers drop others.
var phrases = regexp.MustCompile(`\S+(?: \S+)*`)

// svg is the emulator's screen as a picture. Every phrase of one style is put
// at its own place with its own length, so that columns align in whichever
// monospaced font the viewer has.
func svg(screen *vt.Emulator) string {
	const cell, line, margin = 8.4, 18.0, 16.0
	width, height := float64(screen.Width())*cell+2*margin, float64(screen.Height())*line+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="#1a1b26"/>`+"\n")
	b.WriteString(`<g font-family="ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace" font-size="14" fill="#c0caf5">` + "\n")
	at := func(x, y int) (string, uv.Style) {
		c := screen.CellAt(x, y)
		if c == nil || c.Content == "" {
			return " ", uv.Style{}
		}
		return c.Content, c.Style
	}
	for y := range screen.Height() {
		for x := 0; x < screen.Width(); {
			text, style := at(x, y)
			from := x
			for x++; x < screen.Width(); x++ {
				next, s := at(x, y)
				if !s.Equal(&style) {
					break
				}
				text += next
			}
			look := ""
			if fill, ok := palette[style.Fg]; ok {
				look += ` fill="` + fill + `"`
			}
			if style.Attrs&uv.AttrBold != 0 {
				look += ` font-weight="bold"`
			}
			if style.Attrs&uv.AttrFaint != 0 {
				look += ` opacity="0.55"`
			}
			for _, span := range phrases.FindAllStringIndex(text, -1) {
				phrase := text[span[0]:span[1]]
				column := from + utf8.RuneCountInString(text[:span[0]])
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" textLength="%.1f"%s>%s</text>`+"\n",
					margin+float64(column)*cell, margin+float64(y)*line+13, float64(utf8.RuneCountInString(phrase))*cell,
					look, html.EscapeString(phrase))
			}
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
