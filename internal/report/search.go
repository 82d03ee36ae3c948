package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/capacity"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// outcomeOf writes what a step came to, in a few words.
func outcomeOf(s capacity.Step) string {
	switch {
	case s.OwnLimit != "":
		return "not counted: " + s.OwnLimit
	case s.Passed:
		return "held"
	case len(s.Broke) > 0:
		return s.Broke[0]
	}
	return "broke"
}

func optional(d *time.Duration) string {
	if d == nil {
		return human.Unknown
	}
	return human.Duration(*d)
}

func loadOf(load float64) string { return strconv.FormatFloat(load, 'g', 4, 64) }

// search tells the steps of a search.
func (t *terminal) search() {
	s := t.b.Search
	if s == nil {
		return
	}
	t.section("Steps", "load in "+s.Unit)
	t.line(t.Dim("      load  ttft p95  answers/s  errors  "))
	for _, step := range s.Steps {
		word := human.Clean(outcomeOf(step))
		if step.Passed && step.OwnLimit == "" {
			word = t.Good(word)
		}
		t.line(fmt.Sprintf("  %8s  %8s  %9.4g  %6s  %s", loadOf(step.Load), optional(step.TTFT), step.RequestsPerSecond,
			fmt.Sprintf("%.3g%%", 100*step.ErrorRate), word))
	}
}

// addSearch fills the curve of a search and the table of its steps.
func (p *page) addSearch(s *capacity.Search) {
	if s == nil {
		return
	}
	p.SearchLede = s.Answer() + "."
	p.Search = table{
		ID: "search-table", Caption: "Steps", Headed: true,
		Columns: []column{{Name: "Phase"}, numberOf("Load", s.Unit), numberOf("TTFT p95", "of what was answered"), numberOf("Answers/s", "successes per second of the step, those after its end included"),
			numberOf("Goodput/s", "of these, those within the objectives"),
			numberOf("Errors", "share of the answered"), numberOf("Requests", "answered, in the measured part"), {Name: "Outcome"}},
	}
	for _, step := range s.Steps {
		ttft := nothing()
		if step.TTFT != nil {
			ttft = timed(*step.TTFT)
		}
		mark := "fail"
		if step.Passed {
			mark = "pass"
		}
		if step.OwnLimit != "" {
			mark = ""
		}
		p.Search.Rows = append(p.Search.Rows, []cell{
			text(step.Phase), number(loadOf(step.Load), step.Load), ttft, number(loadOf(step.RequestsPerSecond), step.RequestsPerSecond),
			number(loadOf(step.GoodputPerSecond), step.GoodputPerSecond),
			number(fmt.Sprintf("%.3g%%", 100*step.ErrorRate), step.ErrorRate), counted(step.Requests), {Text: outcomeOf(step), Mark: mark},
		})
	}
	var limit float64
	for _, c := range s.Limits {
		limit = max(limit, ms(c))
	}
	for _, c := range []struct {
		title string
		limit float64
		y     func(capacity.Step) float64
	}{
		{"TTFT p95, milliseconds", limit, func(s capacity.Step) float64 {
			if s.TTFT == nil {
				return math.NaN()
			}
			return ms(*s.TTFT)
		}},
		{"Answers within the objectives, per second", 0, func(s capacity.Step) float64 { return s.GoodputPerSecond }},
		{"Errors, percent", 0, func(s capacity.Step) float64 { return 100 * s.ErrorRate }},
	} {
		p.SearchCurves = append(p.SearchCurves, curve(s, c.title, c.limit, c.y))
	}
}

// curve draws the steps over their load, which is logarithmic, with the
// interval that was found and the promise.
func curve(s *capacity.Search, title string, limit float64, value func(capacity.Step) float64) template.HTML {
	const width, height, left, bottom, top = 720.0, 220.0, 60.0, 30.0, 24.0
	low, high, most := math.Inf(1), 0.0, limit*1.1
	for _, step := range s.Steps {
		low, high = min(low, step.Load), max(high, step.Load)
		if v := value(step); !math.IsNaN(v) {
			most = max(most, v)
		}
	}
	if most == 0 {
		most = 1
	}
	x := func(load float64) float64 {
		if high <= low {
			return (width + left) / 2
		}
		return left + (width-left-20)*math.Log(load/low)/math.Log(high/low)
	}
	y := func(v float64) float64 { return height - bottom - (height-bottom-top)*v/most }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s over load" fill="currentColor" font-size="12">`, width, height, title)
	fmt.Fprintf(&b, `<text x="%g" y="14">%s</text>`, left, title)
	if s.Low > 0 && s.High > 0 {
		fmt.Fprintf(&b, `<rect x="%.1f" y="%g" width="%.1f" height="%g" opacity=".15"/>`, x(s.Low), top, max(2, x(s.High)-x(s.Low)), height-bottom-top)
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="end">%s</text>`, x(s.Low)-4, top+10, loadOf(s.Limit))
	}
	if limit > 0 {
		fmt.Fprintf(&b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="currentColor" stroke-dasharray="5 4"/><text x="%g" y="%.1f">promised</text>`, left, width-20, y(limit), y(limit), left+4, y(limit)-4)
	}
	fmt.Fprintf(&b, `<path d="M%g %gV%gH%g" fill="none" stroke="currentColor" opacity=".5"/>`, left, top, height-bottom, width-20)
	for _, tick := range []float64{0, most / 2, most} {
		fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`, left-6, y(tick)+4, loadOf(tick))
	}
	steps := slices.Clone(s.Steps)
	slices.SortStableFunc(steps, func(a, b capacity.Step) int { return int(math.Copysign(1, a.Load-b.Load)) })
	for _, tick := range []float64{low, math.Sqrt(low * high), high} {
		if len(steps) > 0 {
			fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%.3g</text>`, x(tick), height-10, tick)
		}
	}
	for _, step := range steps {
		if v := value(step); !math.IsNaN(v) {
			fill := `fill="none" stroke="currentColor"`
			if step.Passed {
				fill = ""
			}
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" %s/>`, x(step.Load), y(v), fill)
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // #nosec G203 -- numbers and constants only
}
