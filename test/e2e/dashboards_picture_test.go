//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// What follows draws a dashboard much as Grafana does, on its grid of 24
// columns, from the dashboard's own JSON and what Prometheus answered.

const (
	pageWidth  = 1400
	pageMargin = 16
	cellHeight = 38 // of the grid, gap included
	gap        = 8
	headHeight = 116
)

var palette = []string{"#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"}

var colours = map[string]string{"green": "#73bf69", "yellow": "#fade2a", "red": "#f2495c", "blue": "#5794f2"}

const style = `
*{box-sizing:border-box;margin:0}
body{background:#111217;color:#ccccdc;font:13px Inter,"Helvetica Neue",Arial,sans-serif;position:relative}
header{padding:14px 16px 0}
h1{font-size:18px;font-weight:500;display:inline}
header p{color:#8e8e9c;display:inline;margin-left:12px}
nav{margin-top:12px;display:flex;gap:8px}
nav span{border:1px solid #2f3037;background:#181b1f;border-radius:2px;padding:4px 9px;font-size:12px;white-space:nowrap}
nav b{color:#6e9fff;font-weight:500;margin-right:7px}
nav i{flex:1}
nav .here{border-color:#f55f3e}
section{position:absolute;background:#181b1f;border:1px solid #25272e;border-radius:3px;overflow:hidden;padding:8px 10px}
h2{font-size:13.5px;font-weight:500;height:22px;white-space:nowrap}
svg{display:block}
text{fill:#a2a2b0;font-size:11px}
.big{font-size:30px;font-weight:500;text-anchor:middle}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:11.5px;height:18px;line-height:18px;overflow:hidden}
.legend u{display:inline-block;width:13px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}
.legend em{color:#8e8e9c;font-style:normal;margin-left:6px}
table{width:100%;border-collapse:collapse;font-size:12.5px}
th{text-align:right;color:#6e9fff;font-weight:500;padding:5px 8px;border-bottom:1px solid #2f3037}
td{text-align:right;padding:5px 8px;border-bottom:1px solid #22252b;font-variant-numeric:tabular-nums}
th.l,td.l{text-align:left}
.bar{display:flex;align-items:center;gap:8px;font-size:12px}
.bar span{flex:0 0 auto;text-align:right;white-space:nowrap;overflow:hidden}
.bar div{flex:1;background:#22252b;height:100%}
.bar div div{height:100%}
.bar b{flex:0 0 74px;font-weight:500}
`

// look are the parts of a panel's settings that change how it looks.
type look struct {
	Stacking        struct{ Mode string }
	DrawStyle       string
	ThresholdsStyle struct{ Mode string }
	TextMode        string
	Orientation     string

	painted map[string]string // colours of series
}

func lookOf(p *dashboard.Panel) (l look) {
	l.painted = map[string]string{}
	for _, o := range p.FieldConfig.Overrides {
		if colour, ok := o.Properties[0].Value.(map[string]any); ok && o.Properties[0].Id == "color" {
			l.painted[fmt.Sprint(deref(o.Matcher.Options))] = colours[fmt.Sprint(colour["fixedColor"])]
		}
	}
	for _, part := range []any{p.FieldConfig.Defaults.Custom, p.Options} {
		if text, err := json.Marshal(part); err == nil {
			_ = json.Unmarshal(text, &l) // what is not there stays as it is
		}
	}
	return l
}

// draw returns the page, and how high it is.
func (b *board) draw(from, to float64) (page string, height int) {
	var w strings.Builder
	fmt.Fprintf(&w, "<!doctype html><meta charset=utf-8><style>%s</style><header><h1>%s</h1><p>%s</p>", style, html.EscapeString(*b.Title), html.EscapeString(*b.Description))
	w.WriteString("<nav>")
	for _, v := range b.Templating.List {
		value := b.values[v.Name]
		switch {
		case v.Name == "datasource":
			value = "Prometheus"
		case v.Multi != nil && *v.Multi:
			value = "All"
		}
		fmt.Fprintf(&w, "<span><b>%s</b>%s</span>", *v.Label, html.EscapeString(value))
	}
	w.WriteString("</nav><nav style='margin-top:8px'>")
	for _, l := range b.Links {
		class := ""
		if strings.HasSuffix(*l.Url, *b.Uid) {
			class = " class=here"
		}
		fmt.Fprintf(&w, "<span%s>%s</span>", class, l.Title)
	}
	w.WriteString("<i></i></nav></header>")
	cell := float64(pageWidth-2*pageMargin+gap) / 24
	for i, entry := range b.Panels {
		p, at := entry.Panel, entry.Panel.GridPos
		width, high := int(cell*float64(at.W))-gap, int(at.H)*cellHeight-gap
		fmt.Fprintf(&w, `<section style="left:%dpx;top:%dpx;width:%dpx;height:%dpx"><h2>%s</h2>`,
			pageMargin+int(cell*float64(at.X)), headHeight+int(at.Y)*cellHeight, width, high, html.EscapeString(*p.Title))
		d := drawing{p: p, answers: b.answers[i], w: float64(width - 22), h: float64(high - 42), from: from, to: to, look: lookOf(p)}
		switch p.Type {
		case "timeseries":
			d.overTime(&w)
		case "stat":
			d.stat(&w)
		case "bargauge":
			d.bars(&w)
		case "heatmap":
			d.heat(&w)
		case "table":
			d.table(&w)
		}
		w.WriteString("</section>")
		height = max(height, headHeight+int(at.Y+at.H)*cellHeight+gap)
	}
	return w.String(), height
}

type drawing struct {
	p        *dashboard.Panel
	answers  [][]series
	w, h     float64
	from, to float64
	axis     float64 // where charts begin, right of their marks
	look
}

func (d drawing) query(i int) *prometheus.Dataquery { return d.p.Targets[i].(*prometheus.Dataquery) }

func (d drawing) unit() string { return *d.p.FieldConfig.Defaults.Unit }

// named is a series with its name and colour.
type named struct {
	name, colour string
	series
}

// all are the panel's series in their order.
func (d drawing) all() (all []named) {
	for i, answer := range d.answers {
		if d.p.Type == "timeseries" {
			answer = byLegend(d.query(i), answer)
		}
		for _, s := range answer {
			name := legend(d.query(i), s)
			all = append(all, named{name, cmp.Or(d.painted[name], palette[len(all)%len(palette)]), s})
		}
	}
	return all
}

// threshold is the colour of a value.
func (d drawing) threshold(v float64) string {
	colour := "green"
	for _, step := range d.p.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || v >= *step.Value {
			colour = step.Color
		}
	}
	return colours[colour]
}

func (d drawing) x(moment, left float64) float64 {
	return left + (d.w-left)*(moment-d.from)/(d.to-d.from)
}

// marks are those of the axis, up to a value.
func (d drawing) marks(most float64) []float64 {
	if d.unit() != "bytes" {
		return nice(most)
	}
	const mebibyte = 1 << 20
	marks := nice(most / mebibyte)
	for i := range marks {
		marks[i] *= mebibyte
	}
	return marks
}

// nice are round marks up to a value.
func nice(most float64) (marks []float64) {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/4)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if step*factor*5 >= most {
			step *= factor
			break
		}
	}
	for v := 0.0; v < most+step*0.999; v += step {
		marks = append(marks, v)
	}
	return marks
}

// frame draws the axes of a chart, and returns where a value is.
func (d *drawing) frame(w *strings.Builder, h float64, marks []float64) func(float64) float64 {
	top := marks[len(marks)-1]
	y := func(v float64) float64 { return h - 18 - (h-26)*v/top }
	d.axis = 30
	for _, v := range marks {
		d.axis = max(d.axis, 10+6.2*float64(len([]rune(show(v, d.unit())))))
	}
	for _, v := range marks {
		fmt.Fprintf(w, `<path d="M%.0f %.1fH%.0f" stroke="#2a2c33"/><text x="%.0f" y="%.1f" text-anchor="end">%s</text>`, d.axis, y(v), d.w, d.axis-6, y(v)+4, show(v, d.unit()))
	}
	d.times(w, h)
	return y
}

func (d drawing) times(w *strings.Builder, h float64) {
	n := max(2, math.Floor((d.w-d.axis)/90))
	for i := range int(n) {
		at := d.from + (d.to-d.from)*(float64(i)+0.5)/n
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, d.x(at, d.axis), h-2, time.Unix(int64(at), 0).UTC().Format("15:04:05"))
	}
}

func (d *drawing) overTime(w *strings.Builder) {
	all, h := d.all(), d.h-22
	stacked, columns := d.Stacking.Mode == "normal", d.DrawStyle == "bars"
	base, most := map[float64]float64{}, 0.0
	below := make([][]float64, len(all))
	for i, s := range all {
		for _, p := range s.points {
			below[i] = append(below[i], base[p[0]])
			if stacked {
				base[p[0]] += p[1]
			}
			most = max(most, p[1], base[p[0]])
		}
	}
	if limit := d.p.FieldConfig.Defaults.Max; limit != nil {
		most = *limit
	}
	fmt.Fprintf(w, `<svg width="%.0f" height="%.0f">`, d.w, h)
	y := d.frame(w, h, d.marks(most))
	if d.ThresholdsStyle.Mode == "dashed" {
		for _, step := range d.p.FieldConfig.Defaults.Thresholds.Steps {
			if step.Value != nil && y(*step.Value) > 4 {
				fmt.Fprintf(w, `<path d="M%.0f %.1fH%.0f" stroke="%s" stroke-dasharray="7 5" opacity=".7"/>`, d.axis, y(*step.Value), d.w, colours[step.Color])
			}
		}
	}
	for i, s := range all {
		var line, back []string
		for j, p := range s.points {
			x := d.x(p[0], d.axis)
			if columns {
				width := max(1.5, (d.w-d.axis)/max(30, float64(len(s.points)))*0.8)
				fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x-width/2, y(below[i][j]+p[1]), width, max(0, y(below[i][j])-y(below[i][j]+p[1])), s.colour)
				continue
			}
			line = append(line, fmt.Sprintf("%.1f %.1f", x, y(p[1]+below[i][j])))
			back = append(back, fmt.Sprintf("%.1f %.1f", x, y(below[i][j])))
		}
		if columns {
			continue
		}
		slices.Reverse(back)
		opacity := 0.08
		if stacked {
			opacity = 0.4
		}
		fmt.Fprintf(w, `<path d="M%sL%sZ" fill="%s" opacity="%.2f"/><path d="M%s" fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round"/>`,
			strings.Join(line, "L"), strings.Join(back, "L"), s.colour, opacity, strings.Join(line, "L"), s.colour)
	}
	w.WriteString(`</svg><div class=legend>`)
	for _, s := range all {
		fmt.Fprintf(w, `<span><u style="background:%s"></u>%s<em>%s</em></span>`, s.colour, html.EscapeString(s.name), show(s.last(), d.unit()))
	}
	w.WriteString("</div>")
}

func (d drawing) stat(w *strings.Builder) {
	all := d.all()
	if len(all) == 0 {
		return
	}
	s := all[0]
	text, colour := show(s.last(), d.unit()), d.threshold(s.last())
	fmt.Fprintf(w, `<svg width="%.0f" height="%.0f">`, d.w, d.h+8)
	if d.TextMode == "name" {
		text, colour = s.name, colours["blue"]
	} else if len(s.points) > 1 {
		most := 0.0
		for _, p := range s.points {
			most = max(most, p[1])
		}
		var line []string
		for _, p := range s.points {
			line = append(line, fmt.Sprintf("%.1f %.1f", d.x(p[0], 0), d.h+8-(d.h*0.42)*p[1]/max(most, 1e-12)))
		}
		last, first := s.points[len(s.points)-1], s.points[0]
		fmt.Fprintf(w, `<path d="M%[1]sL%.1[3]f %.1[4]fL%.1[5]f %.1[4]fZ" fill="%[2]s" opacity=".14"/><path d="M%[1]s" fill="none" stroke="%[2]s" opacity=".7"/>`,
			strings.Join(line, "L"), colour, d.x(last[0], 0), d.h+8, d.x(first[0], 0))
	}
	fmt.Fprintf(w, `<text class=big x="%.0f" y="%.0f" style="fill:%s">%s</text></svg>`, d.w/2, d.h*0.56, colour, html.EscapeString(text))
}

func (d drawing) bars(w *strings.Builder) {
	all := d.all()
	if d.Orientation == "vertical" {
		d.histogram(w, all)
		return
	}
	least, most := 0.0, 0.0
	names := 4
	for _, s := range all {
		most = max(most, s.last())
		names = max(names, len(s.name))
	}
	if limit := d.p.FieldConfig.Defaults.Max; limit != nil {
		most = *limit
	}
	if limit := d.p.FieldConfig.Defaults.Min; limit != nil {
		least = *limit
	}
	each := min(34, d.h/float64(max(1, len(all))))
	if d.h/float64(len(all)) < 15 {
		each = 15
		all = all[:min(len(all), int(d.h/each))]
	}
	for _, s := range all {
		share := min(1, max(0, (s.last()-least)/max(most-least, 1e-12)))
		colour := d.threshold(s.last())
		fmt.Fprintf(w, `<div class=bar style="height:%.1fpx;padding:2px 0"><span style="width:%dpx">%s</span><div><div style="width:%.1f%%;background:linear-gradient(90deg,%[5]s55,%[5]s)"></div></div><b style="color:%[5]s">%s</b></div>`,
			each, min(names*7, int(d.w*0.42)), html.EscapeString(s.name), 100*share, colour, show(s.last(), d.unit()))
	}
}

// bounds sorts buckets by their upper bounds.
func bounds(all []named) []named {
	le := func(s named) float64 {
		v, err := strconv.ParseFloat(s.labels["le"], 64)
		if err != nil {
			return math.Inf(1)
		}
		return v
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(le(a), le(b)) })
	return all
}

// histogram draws what is in each bucket and not in the one below.
func (d drawing) histogram(w *strings.Builder, all []named) {
	most, before := 0.0, 0.0
	counts := make([]float64, len(all))
	for i, s := range bounds(all) {
		counts[i], before = s.last()-before, s.last()
		most = max(most, counts[i])
	}
	each, floor := d.w/float64(len(all)), d.h-16
	fmt.Fprintf(w, `<svg width="%.0f" height="%.0f">`, d.w, d.h)
	for i, s := range all {
		x, high := each*float64(i), (floor-22)*counts[i]/max(most, 1)
		fmt.Fprintf(w, `<rect x="%.1f" y="20" width="%.1f" height="%.1f" fill="#22252b"/><rect x="%.1[1]f" y="%.1[4]f" width="%.1[2]f" height="%.1[5]f" fill="#5794f2"/>`+
			`<text x="%.1[6]f" y="12" text-anchor="middle" style="fill:#8ab8ff">%[7]s</text><text x="%.1[6]f" y="%.1[8]f" text-anchor="middle">%[9]s</text>`,
			x+3, each-6, floor-20, floor-high, high, x+each/2, show(counts[i], "short"), d.h-2, s.labels["le"])
	}
	w.WriteString("</svg>")
}

func (d *drawing) heat(w *strings.Builder) {
	all := bounds(d.all())
	count := map[[2]float64]float64{}
	most, top, bottom := 0.0, 0, len(all)
	below := map[float64]float64{}
	for i, s := range all {
		for _, p := range s.points {
			if n := p[1] - below[p[0]]; n > 1e-9 {
				count[[2]float64{float64(i), p[0]}] = n
				most, top, bottom = max(most, n), max(top, i), min(bottom, i)
			}
			below[p[0]] = p[1]
		}
	}
	d.axis = 58
	bottom, top = max(0, bottom-1), min(len(all)-1, top+1)
	rows := float64(top - bottom + 1)
	h := d.h
	high := (h - 22) / rows
	points := 2.0
	for _, s := range all {
		points = max(points, float64(len(s.points)))
	}
	wide := (d.w - d.axis) / points
	fmt.Fprintf(w, `<svg width="%.0f" height="%.0f">`, d.w, h+8)
	for i := bottom; i <= top; i++ {
		y := h - 18 - high*float64(i-bottom+1)
		label := "∞"
		if v, err := strconv.ParseFloat(all[i].labels["le"], 64); err == nil && !math.IsInf(v, 0) {
			label = show(v, d.unit())
		}
		fmt.Fprintf(w, `<text x="%.0f" y="%.1f" text-anchor="end">%s</text>`, d.axis-6, y+5, label)
		for _, p := range all[i].points {
			n := count[[2]float64{float64(i), p[0]}]
			if n == 0 {
				continue
			}
			fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, d.x(p[0], d.axis)-wide/2, y, max(1, wide-1), high-1, orange(math.Sqrt(n/most)))
		}
	}
	d.times(w, h+4)
	w.WriteString("</svg>")
}

// orange is a colour from little to much.
func orange(share float64) string {
	from, to := [3]float64{58, 34, 20}, [3]float64{255, 166, 77}
	c := [3]int{}
	for i := range c {
		c[i] = int(from[i] + (to[i]-from[i])*share)
	}
	return fmt.Sprintf("rgb(%d,%d,%d)", c[0], c[1], c[2])
}

func (d drawing) table(w *strings.Builder) {
	var organize struct {
		IndexByName  map[string]int
		RenameByName map[string]string
	}
	for _, t := range d.p.Transformations {
		if text, err := json.Marshal(t.Options); err == nil && t.Id == "organize" {
			_ = json.Unmarshal(text, &organize) // checked by the tests of the dashboards
		}
	}
	units := map[string]string{}
	for _, o := range d.p.FieldConfig.Overrides {
		units[fmt.Sprint(deref(o.Matcher.Options))] = fmt.Sprint(o.Properties[0].Value)
	}
	fields := make([]string, len(organize.IndexByName))
	labels := 0
	for name, at := range organize.IndexByName {
		fields[at] = name
		if !strings.HasPrefix(name, "Value") {
			labels++
		}
	}
	type line struct {
		cells  []string
		values []float64
	}
	lines, order := map[string]*line{}, []string{}
	for i, answer := range d.answers {
		for _, s := range answer {
			var key []string
			for _, f := range fields[:labels] {
				key = append(key, s.labels[f])
			}
			id := strings.Join(key, "\x00")
			if lines[id] == nil {
				lines[id] = &line{cells: key, values: make([]float64, len(d.answers))}
				for j := range lines[id].values {
					lines[id].values[j] = math.NaN()
				}
				order = append(order, id)
			}
			lines[id].values[i] = s.last()
		}
	}
	var options struct {
		SortBy []struct{ DisplayName string }
	}
	if text, err := json.Marshal(d.p.Options); err == nil {
		_ = json.Unmarshal(text, &options) // as above
	}
	for i, f := range fields[labels:] {
		if len(options.SortBy) > 0 && organize.RenameByName[f] == options.SortBy[0].DisplayName {
			slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(lines[b].values[i], lines[a].values[i]) })
		}
	}
	w.WriteString("<table><tr>")
	for i, f := range fields {
		class := ""
		if i < labels {
			class = " class=l"
		}
		fmt.Fprintf(w, "<th%s>%s</th>", class, organize.RenameByName[f])
	}
	w.WriteString("</tr>")
	for _, id := range order {
		w.WriteString("<tr>")
		for _, c := range lines[id].cells {
			fmt.Fprintf(w, "<td class=l>%s</td>", html.EscapeString(c))
		}
		for i, v := range lines[id].values {
			unit := units[organize.RenameByName[fields[labels+i]]]
			fmt.Fprintf(w, "<td>%s</td>", show(v, cmp.Or(unit, d.unit())))
		}
		w.WriteString("</tr>")
	}
	w.WriteString("</table>")
}

func deref(v any) any {
	if p, ok := v.(*string); ok {
		return *p
	}
	return v
}

// show writes a value as Grafana does.
func show(v float64, unit string) string {
	number := func(v float64) string {
		switch a := math.Abs(v); {
		case math.Abs(v-math.Round(v)) < 1e-9*a || a >= 100:
			return strconv.FormatFloat(v, 'f', 0, 64)
		case a >= 10:
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	scaled := func(steps ...any) string {
		for i := 0; i < len(steps); i += 2 {
			if size := steps[i].(float64); math.Abs(v) >= size || i == len(steps)-2 {
				return number(v/size) + steps[i+1].(string)
			}
		}
		return ""
	}
	switch {
	case math.IsNaN(v):
		return ""
	case v == 0 && unit != "percentunit" && unit != "percent" && unit != "currencyUSD":
		return "0"
	case unit == "s":
		return scaled(60.0, " min", 1.0, " s", 1e-3, " ms", 1e-6, " µs")
	case unit == "ms":
		return scaled(1e3, " s", 1.0, " ms")
	case unit == "percentunit":
		return number(100*v) + "%"
	case unit == "percent":
		return number(v) + "%"
	case unit == "currencyUSD":
		return "$" + number(v)
	case unit == "bytes":
		return scaled(float64(1<<30), " GiB", float64(1<<20), " MiB", float64(1<<10), " KiB")
	case unit == "reqps":
		return number(v) + " req/s"
	case strings.HasPrefix(unit, "suffix:"):
		return number(v) + strings.TrimPrefix(unit, "suffix:")
	}
	return scaled(1e6, " Mil", 1e3, " K", 1.0, "")
}
