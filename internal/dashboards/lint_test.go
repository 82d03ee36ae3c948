package dashboards_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/dashboards"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/metrics"
)

// TestLint wants nothing to be found in any dashboard.
func TestLint(t *testing.T) {
	all := stored(t)
	uids := uidsOf(all)
	panels := 0
	for name, d := range all {
		for _, finding := range lint(d, uids) {
			t.Errorf("%s: %s", name, finding)
		}
		panels += len(d.Panels)
	}
	if len(uids) != len(all) {
		t.Errorf("%d uids for %d dashboards", len(uids), len(all))
	}
	t.Logf("%d dashboards, %d panels", len(all), panels)
}

// TestLintFinds breaks a dashboard in every way that the linter knows.
func TestLintFinds(t *testing.T) {
	expr := func(text string) func(*dashboard.Dashboard) {
		return func(d *dashboard.Dashboard) {
			d.Panels[1].Panel.Targets[0].(*prometheus.Dataquery).Expr = text
		}
	}
	uids := uidsOf(stored(t))
	const of = `{test_run_id="$run",job="$job",worker_id=~"$worker"}`
	const mine = `{test_run_id="$run",job="$job",worker_id=~"$worker",org_id=~"$org",model=~"$model"}`
	for finding, harm := range map[string]func(*dashboard.Dashboard){
		"no title":                          func(d *dashboard.Dashboard) { d.Panels[0].Panel.Title = nil },
		"no description":                    func(d *dashboard.Dashboard) { d.Panels[0].Panel.Description = nil },
		"no unit":                           func(d *dashboard.Dashboard) { d.Panels[0].Panel.FieldConfig.Defaults.Unit = nil },
		"data source":                       func(d *dashboard.Dashboard) { d.Panels[0].Panel.Datasource = &common.DataSourceRef{} },
		"overlap":                           func(d *dashboard.Dashboard) { d.Panels[1].Panel.GridPos.X-- },
		"beyond the grid":                   func(d *dashboard.Dashboard) { d.Panels[5].Panel.GridPos.W++ },
		"have the id":                       func(d *dashboard.Dashboard) { d.Panels[1].Panel.Id = d.Panels[0].Panel.Id },
		"the variables are":                 func(d *dashboard.Dashboard) { d.Templating.List = d.Templating.List[1:] },
		"leads nowhere":                     func(d *dashboard.Dashboard) { nowhere := "/d/loadtest-nowhere"; d.Links[0].Url = &nowhere },
		"forgets":                           func(d *dashboard.Dashboard) { d.Links[0].IncludeVars = false },
		"there is no variable":              expr(`loadtest_worker_users_active{test_run_id="$nobody"}`),
		"does not parse":                    expr(`sum(loadtest_worker_users_active`),
		"no such metric":                    expr(`sum(loadtest_worker_users` + of + `)`),
		"is a summary":                      expr(`sum(loadtest_user_latency_seconds` + mine + `)`),
		"has no label planet":               expr(`sum by (planet) (loadtest_worker_users_active` + of + `)`),
		"has no label colour":               expr(`sum(loadtest_worker_users_active{test_run_id="$run",job="$job",worker_id=~"$worker",colour="red"})`),
		"does not filter by org_id":         expr(`sum(rate(loadtest_user_requests_total{test_run_id="$run",job="$job",worker_id=~"$worker",model=~"$model"}[$__rate_interval]))`),
		"does not filter by job":            expr(`sum(loadtest_worker_users_active{test_run_id="$run",worker_id=~"$worker"})`),
		"a window of 5m0s":                  expr(`sum(rate(loadtest_user_requests_total` + mine + `[5m]))`),
		"rate of a gauge":                   expr(`sum(rate(loadtest_worker_users_active` + of + `[$__rate_interval]))`),
		"deriv of a counter":                expr(`sum(deriv(loadtest_worker_orgs_created_total` + of + `[$__rate_interval]))`),
		"of a subquery":                     expr(`max_over_time(sum(loadtest_worker_users_active` + of + `)[5m:1m])`),
		"without le":                        expr(`histogram_quantile(0.9, sum by (model) (rate(loadtest_llm_generation_total_seconds_bucket` + mine + `[$__rate_interval])))`),
		"must not be summarized again":      expr(`avg(histogram_quantile(0.9, sum by (le) (rate(loadtest_llm_generation_total_seconds_bucket` + mine + `[$__rate_interval]))))`),
		"only if histograms are native":     expr(`histogram_quantile(0.9, sum(rate(loadtest_llm_generation_seconds` + mine + `[$__rate_interval])))`),
		"unbounded":                         expr(`sum by (user_id) (rate(loadtest_user_requests_total` + mine + `[$__rate_interval]))`),
		"does not say how users are":        expr(`topk(3, sum by (user_id) (rate(loadtest_user_requests_total` + mine + `[$__rate_interval])))`),
		"the legend names planet, which no": func(d *dashboard.Dashboard) { legend(d, "{{planet}}") },
	} {
		d := read(t, filepath.Join(folder, "overview.json"))
		harm(&d)
		found := lint(d, uids)
		if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, finding) }) {
			t.Errorf("%q was not found, but: %q", finding, found)
		}
	}
}

func legend(d *dashboard.Dashboard, text string) {
	d.Panels[0].Panel.Targets[0].(*prometheus.Dataquery).LegendFormat = &text
}

func uidsOf(all map[string]dashboard.Dashboard) map[string]bool {
	uids := map[string]bool{}
	for _, d := range all {
		uids[*d.Uid] = true
	}
	return uids
}

// Values of variables by which a query is known again once it is parsed.
const (
	rateInterval = 61 * time.Second
	interval     = 7 * time.Second
	wholeRange   = 13 * time.Minute
)

var values = map[string]string{
	"datasource": "d", "run": "r", "job": "j", "worker": "w", "org": "o", "model": "m",
	"__rate_interval": rateInterval.String(), "__interval": interval.String(), "__range": "13m",
	"__url_time_range": "", "__all_variables": "",
}

// lint says what is wrong with a dashboard.
func lint(d dashboard.Dashboard, uids map[string]bool) (findings []string) {
	found := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	if d.Uid == nil || d.Title == nil || d.Description == nil || len(d.Tags) == 0 || d.Time == nil || d.Refresh == nil {
		found("no uid, title, description, tag, time range or refresh")
	}
	defined := maps.Clone(values)
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Query != nil && v.Query.String != nil {
			if _, err := dashboards.Expand(*v.Query.String, defined); err != nil {
				found("%v", err)
			}
		}
	}
	if want := []string{"datasource", "run", "job", "worker", "org", "model"}; !slices.Equal(names, want) {
		found("the variables are %v, not %v", names, want)
	}
	link := func(where string, url *string) {
		if url == nil {
			found("%s: a link without an address", where)
			return
		}
		target, _, _ := strings.Cut(strings.TrimPrefix(*url, "/d/"), "?")
		if !uids[target] {
			found("%s: the link to %s leads nowhere", where, *url)
		}
	}
	for _, l := range d.Links {
		link("dashboard", l.Url)
		if !l.IncludeVars || !l.KeepTime {
			found("the link to %s forgets variables or time", l.Title)
		}
	}
	ids := map[uint32]string{}
	taken := map[[2]uint32]string{}
	for _, entry := range d.Panels {
		p := entry.Panel
		if p == nil {
			found("a row, where panels are laid out without")
			continue
		}
		title := "?"
		if p.Title != nil {
			title = *p.Title
		} else {
			found("panel %d: no title", *p.Id)
		}
		say := func(format string, args ...any) { found("%s: "+format, append([]any{title}, args...)...) }
		if before, double := ids[*p.Id]; double {
			say("and %s have the id %d", before, *p.Id)
		}
		ids[*p.Id] = title
		about := ""
		if p.Description != nil {
			about = *p.Description
		}
		if len(about) < 10 || !strings.HasSuffix(about, ".") {
			say("no description")
		}
		if p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil || *p.FieldConfig.Defaults.Unit == "" {
			say("no unit")
		}
		at := p.GridPos
		if at.X+at.W > 24 {
			say("reaches beyond the grid")
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" && !slices.Contains(findings, title+": overlaps "+other) {
					say("overlaps %s", other)
				}
				taken[[2]uint32{x, y}] = title
			}
		}
		for _, l := range p.Links {
			link(title, l.Url)
		}
		if len(p.Targets) == 0 {
			say("no query")
		}
		if !variableSource(p.Datasource) {
			say("the data source is not the variable")
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			q, ok := target.(*prometheus.Dataquery)
			if !ok || !variableSource(q.Datasource) || q.RefId == nil || refs[*q.RefId] {
				say("a query that is not for Prometheus, whose data source is not the variable, or without an id of its own")
				continue
			}
			refs[*q.RefId] = true
			for _, finding := range lintQuery(*q, about) {
				say("%s", finding)
			}
		}
	}
	return findings
}

func variableSource(s *common.DataSourceRef) bool {
	return s != nil && s.Uid != nil && *s.Uid == "${datasource}" && s.Type != nil && *s.Type == "prometheus"
}

var inLegend = regexp.MustCompile(`{{(\w+)}}`)

// lintQuery says what is wrong with a query of a panel that is described by about.
func lintQuery(q prometheus.Dataquery, about string) (findings []string) {
	found := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	text, err := dashboards.Expand(q.Expr, values)
	if err != nil {
		return []string{err.Error()}
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{fmt.Sprintf("%s does not parse: %v", q.Expr, err)}
	}
	grouped := map[string]bool{}
	var native, classic bool
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			for _, l := range n.Grouping {
				grouped[l] = true
			}
			if n.Op.String() != "topk" && n.Op.String() != "max" && n.Op.String() != "min" && calls(n.Expr, "histogram_quantile") {
				found("%s: a percentile must not be summarized again", n)
			}
		case *parser.SubqueryExpr:
			found("%s: %s of a subquery: it is not what was measured", q.Expr, n)
		case *parser.Call:
			if n.Func.Name == "histogram_quantile" && !merged(n.Args[1]) {
				found("%s: a percentile of buckets without le", n)
			}
		case *parser.VectorSelector:
			f, series := familyOf(n.Name)
			if f == nil {
				found("%s: no such metric, or not by that name", n.Name)
				return nil
			}
			native = native || f.Kind == metrics.Native
			classic = classic || f.Kind == metrics.Histogram && series == "_bucket"
			lintSelector(found, n, f, series, path)
		}
		return nil
	})
	if native && !classic {
		found("%s: has data only if histograms are native", q.Expr)
	}
	if grouped["user_id"] {
		if !strings.HasPrefix(q.Expr, "topk(") {
			found("%s: unbounded: there may be thousands of users", q.Expr)
		}
		if !strings.Contains(about, "metrics.perUser") && !strings.Contains(about, "names ten at most") {
			found("%s: the description does not say how users are bounded", q.Expr)
		}
	}
	if q.LegendFormat != nil {
		for _, m := range inLegend.FindAllStringSubmatch(*q.LegendFormat, -1) {
			if !grouped[m[1]] {
				found("the legend names %s, which no aggregation of %s keeps", m[1], q.Expr)
			}
		}
	}
	return findings
}

// lintSelector looks at the series of a family that are selected, below path.
func lintSelector(found func(string, ...any), n *parser.VectorSelector, f *metrics.Family, series string, path []parser.Node) {
	own := append([]string{"test_run_id", "job", "worker_id"}, f.Labels...)
	if series == "_bucket" {
		own = append(own, "le")
	}
	filtered := map[string]bool{}
	for _, m := range n.LabelMatchers {
		if m.Name != model.MetricNameLabel && !slices.Contains(own, m.Name) {
			found("%s has no label %s", n.Name, m.Name)
		}
		filtered[m.Name] = true
	}
	for _, must := range []string{"test_run_id", "job", "worker_id", "org_id", "model"} {
		if slices.Contains(own, must) && !filtered[must] {
			found("%s does not filter by %s, which a variable chooses", n, must)
		}
	}
	if n.OriginalOffset != 0 && n.OriginalOffset != interval {
		found("%s: an offset of %v", n, n.OriginalOffset)
	}
	counts := f.Kind == metrics.Counter || f.Kind == metrics.Histogram || f.Kind == metrics.Native || series != ""
	if f.Kind == metrics.Summary && series == "" {
		found("%s is a summary: its percentiles cannot be merged", n.Name)
	}
	for i, above := range path {
		switch a := above.(type) {
		case *parser.AggregateExpr:
			for _, l := range a.Grouping {
				if !slices.Contains(own, l) {
					found("%s has no label %s", n.Name, l)
				}
			}
		case *parser.MatrixSelector:
			call, ok := path[i-1].(*parser.Call)
			if !ok {
				continue
			}
			want := map[string]time.Duration{"last_over_time": wholeRange}[call.Func.Name]
			switch call.Func.Name {
			case "rate", "increase":
				want = rateInterval
				if !counts {
					found("%s: %s of a gauge", call, call.Func.Name)
				}
			case "deriv":
				want = rateInterval
				if counts {
					found("%s: deriv of a counter", call)
				}
			}
			if a.Range != want {
				found("%s: %s over a window of %v", n.Name, call.Func.Name, a.Range)
			}
		}
	}
}

// familyOf finds whose series a name is, and with which suffix.
func familyOf(name string) (*metrics.Family, string) {
	name, ours := strings.CutPrefix(name, metrics.Prefix)
	for _, f := range metrics.Families() {
		if !ours {
			break
		}
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			if name != f.Name+suffix {
				continue
			}
			bare := f.Kind != metrics.Histogram
			if (suffix == "") == bare || f.Kind == metrics.Summary && suffix != "_bucket" {
				return &f, suffix
			}
		}
	}
	return nil, ""
}

func calls(node parser.Node, function string) (found bool) {
	parser.Inspect(node, func(n parser.Node, _ []parser.Node) error {
		c, ok := n.(*parser.Call)
		found = found || ok && c.Func.Name == function
		return nil
	})
	return found
}

// merged reports whether an expression is of buckets that are merged by le, or
// of native histograms, which need no le.
func merged(node parser.Node) (ok bool) {
	sum, isSum := node.(*parser.AggregateExpr)
	if !isSum || sum.Op.String() != "sum" {
		return false
	}
	parser.Inspect(sum.Expr, func(n parser.Node, _ []parser.Node) error {
		if v, is := n.(*parser.VectorSelector); is {
			f, _ := familyOf(v.Name)
			ok = slices.Contains(sum.Grouping, "le") != (f != nil && f.Kind == metrics.Native)
		}
		return nil
	})
	return ok
}
