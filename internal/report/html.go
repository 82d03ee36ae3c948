package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"sync"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

//go:embed assets
var assets embed.FS

// HTML writes the report of b as one file that needs nothing else: styles,
// scripts and data are inside, and its content security policy forbids every
// request to the network. It is whole without JavaScript, which adds the
// charts, sorting and the choice of light or dark.
//
// The error is that of w; b is only read. A bundle without requests, or with
// parts missing, still makes a page: what is unknown is said to be so.
func HTML(w io.Writer, b *export.Bundle) error {
	s, err := sheet()
	if err != nil {
		return err
	}
	p := newPage(b)
	p.CSP, p.Style, p.Script = s.csp, s.style, s.script
	if err := s.page.Execute(w, p); err != nil {
		return fmt.Errorf("report: write HTML: %w", err)
	}
	return nil
}

// layout is what all reports share.
type layout struct {
	page          *template.Template
	csp           string
	style, script template.HTML
}

var sheet = sync.OnceValues(func() (*layout, error) {
	read := func(names ...string) (text string, err error) {
		for _, name := range names {
			part, err := assets.ReadFile("assets/" + name)
			if err != nil {
				return "", fmt.Errorf("report: %w", err)
			}
			text += string(part) + "\n"
		}
		return text, nil
	}
	source, err := read("report.html.tmpl")
	if err != nil {
		return nil, err
	}
	page, err := template.New("report").Parse(source)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	css, err := read("uPlot.min.css", "report.css")
	if err != nil {
		return nil, err
	}
	js, err := read("uPlot.iife.min.js", "report.js")
	if err != nil {
		return nil, err
	}
	return &layout{
		page: page,
		csp: fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; img-src data:; base-uri 'none'; form-action 'none'",
			digest(js), digest(css)),
		style:  template.HTML("<style>" + css + "</style>"),  // #nosec G203 -- our own embedded file
		script: template.HTML("<script>" + js + "</script>"), // #nosec G203 -- our own embedded files
	}, nil
})

// digest is the name of an inline script or style in a content security policy.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
