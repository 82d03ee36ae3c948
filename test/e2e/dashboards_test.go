//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/dashboards"
)

// watched is a load about which every panel of every dashboard has something
// to say: with limits, promises, prices, salts that are checked, two models,
// phases, and an exporter; the platform sees to the errors.
const watched = `
  organizations: {count: 3, namingPattern: "team-{index}", overrides: [{index: 3, users: {min: 7, max: 7}}]}
  users: {perOrg: {min: 4, max: 4}, namingPattern: "user-{index}"}
  userBehavior:
    questionsPerSession: {min: 4, max: 8}
    thinkTimeSeconds: {min: 0.05, max: 0.6}
    questionStrategies: [{name: mixed, weight: 2}, {name: technical}]
    modelPreferences: [{model: sim-small, weight: 2}, {model: sim-medium}]
    maxTokensPerRequest: {base: 48, variance: 24, min: 8, max: 96, distribution: gaussian}
    streamingRatio: 0.7
    conversationStyle: {multiTurnProbability: 0.5, turnsPerConversation: {min: 2, max: 4}, contextRetention: true}
    errorHandling: {retryAttempts: 1}
  cacheSalt: {enabled: true, strategy: org_id, validation: {enabled: true}}
  looping: {enabled: true}
  slo: {ttft: {p95: 400ms}, e2e: {p95: 2s}, itl: {p95: 60ms}}
  limits: {maxCostUsd: 1, maxErrorRate: 99%}
`

// TestDashboards asks a real Prometheus that scraped a real run every question
// that a dashboard asks, and none may be left without an answer: while the run
// lasts, and when it is over. The run is scraped, pushes and writes at once, and
// whichever of these is looked at, the totals are those of the result.
func TestDashboards(t *testing.T) {
	t.Parallel()
	scale := 1
	pictures := os.Getenv("LOADTEST_SCREENSHOTS") != ""
	if pictures {
		scale = 4 // there is more to see
	}
	m, p, out, otel := startMonitoring(t), startPlatform(t), newFolder(t), startCollector(t)
	spec := p.targets() + watched + fmt.Sprintf(`
  loadPattern:
    type: custom
    phases:
      - {name: warm-up, duration: %[1]ds, targetActiveUsers: 5, measure: true}
      - {name: ramp, duration: %[2]ds, targetActiveUsers: 15, rampStrategy: linear, measure: true}
      - {name: steady, duration: %[3]ds, targetActiveUsers: 15}
  metrics: {pushgatewayUrl: %[4]q, remoteWriteUrl: %[5]q, otlpEndpoint: %[6]q, exportInterval: 1s}
`, 4*scale, 6*scale, 14*scale, m.gatewayAt, m.prometheusURL+"/api/v1/write", otel.url)
	run := launch(t, []string{"ADMIN_KEY=" + adminKey}, "run", out.scenario(t, "dashboards", spec), "--output-dir", string(out), "--listen", m.scraped)
	until(t, "the load runs", func() bool { v, _ := m.one(`loadtest_worker_status{job="run",phase="running"}`); return v == 1 })
	p.faults("http-500=0.03,truncate=0.04,storm=0.04,storm-length=2,seed=7") // the same requests, by their number, in every run
	if code := run.wait(); code != 0 && code != 99 {                         // whether promises are kept is not the question
		t.Fatalf("exit code %d:\n%s\n%s", code, &run.out, &run.err)
	}

	moment := func(which string) float64 {
		v, there := m.one(which + `(timestamp(loadtest_worker_users_active{job="run"} > 0)[10m:1s])`)
		if !there {
			t.Fatal("no user was seen at work")
		}
		return v
	}
	g := &grafana{t: t, monitoring: m, from: moment("min_over_time"), to: moment("max_over_time")}
	files, err := filepath.Glob("../../dashboards/load-testing/*.json")
	if err != nil || len(files) != 9 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	var shown []*board
	queries := 0
	for _, file := range files {
		d, err := dashboards.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		b := &board{Dashboard: d, name: strings.TrimSuffix(filepath.Base(file), ".json")}
		g.choose(b, "run", true)
		for _, entry := range b.Panels {
			b.answers = append(b.answers, g.ask(b, entry.Panel))
			queries += len(entry.Panel.Targets)
		}
		shown = append(shown, b)
	}
	t.Logf("%d dashboards, %d queries", len(shown), queries)

	// When the run is over, all values ticked one by one.
	until(t, "the end is there by every way", func() bool {
		v, _ := m.one(`count(max_over_time(loadtest_worker_status{phase="finished"}[5m]) == 1)`)
		return v == 3
	})
	want := float64(out.document(t, "dashboards").Headline.Requests)
	over := &grafana{t: t, monitoring: m, from: g.from, to: float64(time.Now().UnixMilli()) / 1000}
	for _, job := range []string{"run", "loadtest", ""} {
		for _, file := range shown {
			b := *file
			over.choose(&b, job, false)
			for _, entry := range b.Panels {
				answers := over.ask(&b, entry.Panel)
				if *entry.Panel.Title != "Models side by side" {
					continue
				}
				requests := 0.0
				for _, s := range answers[0] {
					requests += s.last()
				}
				if requests != want {
					t.Errorf("%v requests on the dashboard of the job %q, %v in the result", requests, job, want)
				}
			}
		}
	}

	// Pictures are drawn in any case, so that this can be relied on.
	here := filepath.Join(t.TempDir(), "dashboard.html")
	var chromium = browser(t)
	for _, b := range shown {
		page, height := b.draw(g.from, g.to)
		if err := os.WriteFile(here, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		do(chromium, t, chromedp.EmulateViewport(pageWidth, int64(height)), chromedp.Navigate((&url.URL{Scheme: "file", Path: here}).String()))
		if panels := eval[int](chromium, t, `document.querySelectorAll("section").length`); panels != len(b.Panels) {
			t.Errorf("%s: %d panels are drawn, of %d", b.name, panels, len(b.Panels))
		}
		shoot(chromium, t, "dashboard-"+b.name, false)
	}
}

// board is a dashboard, and what there is to be seen on it.
type board struct {
	dashboard.Dashboard
	name    string
	values  map[string]string // of variables
	answers [][][]series      // of panels and their queries
}

// series is one as it is shown.
type series struct {
	labels map[string]string
	points [][2]float64 // moment and value, NaN left out
}

func (s series) last() float64 { return s.points[len(s.points)-1][1] }

// grafana asks as Grafana asks.
type grafana struct {
	t *testing.T
	*monitoring
	from, to float64
}

const (
	// scraping is how often Prometheus scrapes, points how many Grafana wants.
	scraping, points = 1, 200
)

// step is $__interval, in whole seconds.
func (g *grafana) step() int {
	return max(scraping, int(math.Ceil((g.to-g.from)/points)))
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// choose gives the dashboard's variables the values that there are: of jobs this
// one, of others all by what Grafana puts in for All, or by name.
func (g *grafana) choose(b *board, job string, all bool) {
	seconds := func(n int) string { return strconv.Itoa(n) + "s" }
	b.values = map[string]string{
		"datasource": "", "__interval": seconds(g.step()), "__rate_interval": seconds(max(g.step()+scraping, 4*scraping)),
		"__range": seconds(int(math.Ceil(g.to - g.from))),
	}
	want := map[string]int{"run": 1, "job": 2, "worker": 1, "org": 3, "model": 2}
	for _, v := range b.Templating.List {
		if v.Type != dashboard.VariableTypeQuery {
			continue
		}
		text, err := dashboards.Expand(*v.Query.String, b.values)
		if err != nil {
			g.t.Fatal(err)
		}
		q := labelValues.FindStringSubmatch(text)
		if q == nil {
			g.t.Fatalf("%s: the query of %s is %s", b.name, v.Name, text)
		}
		var answer struct{ Data []string }
		address := fmt.Sprintf("%s/api/v1/label/%s/values?match[]=%s&start=%.3f&end=%.3f", g.prometheusURL, q[2], url.QueryEscape(q[1]), g.from, g.to)
		if err := g.get(address, &answer); err != nil {
			g.t.Fatalf("%s: %v", text, err)
		}
		if len(answer.Data) != want[v.Name] {
			g.t.Errorf("%s: %s has the values %q", b.name, v.Name, answer.Data)
		}
		switch {
		case v.Name == "job":
			if job != "" && !slices.Contains(answer.Data, job) {
				g.t.Errorf("%s: %q cannot be chosen among %q", b.name, job, answer.Data)
			}
			b.values[v.Name] = job
		case v.Multi == nil || !*v.Multi:
			b.values[v.Name] = answer.Data[0]
		case all:
			b.values[v.Name] = *v.AllValue
		default:
			b.values[v.Name] = "(" + strings.Join(answer.Data, "|") + ")"
		}
	}
}

// ask asks a panel's queries. Each must have an answer.
func (g *grafana) ask(b *board, p *dashboard.Panel) (answers [][]series) {
	for _, target := range p.Targets {
		q := target.(*prometheus.Dataquery)
		expr, err := dashboards.Expand(q.Expr, b.values)
		if err != nil {
			g.t.Fatal(err)
		}
		address := fmt.Sprintf("%s/api/v1/query_range?query=%s&start=%.3f&end=%.3f&step=%d", g.prometheusURL, url.QueryEscape(expr), g.from, g.to, g.step())
		if *q.Instant {
			address = fmt.Sprintf("%s/api/v1/query?query=%s&time=%.3f", g.prometheusURL, url.QueryEscape(expr), g.to)
		}
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
					Values [][2]any
				}
			}
		}
		if err := g.get(address, &answer); err != nil {
			g.t.Errorf("%s, %s: %s: %v", b.name, *p.Title, expr, err)
		}
		var found []series
		for _, r := range answer.Data.Result {
			if *q.Instant {
				r.Values = [][2]any{r.Value}
			}
			s := series{labels: r.Metric}
			for _, point := range r.Values {
				v, err := strconv.ParseFloat(point[1].(string), 64)
				if err != nil {
					g.t.Fatal(err)
				}
				if !math.IsNaN(v) {
					s.points = append(s.points, [2]float64{point[0].(float64), v})
				}
			}
			if len(s.points) > 0 {
				found = append(found, s)
			}
		}
		if len(found) == 0 {
			g.t.Errorf("%s, %s: there is no data for %s", b.name, *p.Title, expr)
		}
		answers = append(answers, found)
	}
	return answers
}

// legend is what a series is called.
func legend(q *prometheus.Dataquery, s series) string {
	return regexp.MustCompile(`{{(\w+)}}`).ReplaceAllStringFunc(*q.LegendFormat, func(name string) string { return s.labels[strings.Trim(name, "{}")] })
}

// byLegend sorts series as people look for them.
func byLegend(q *prometheus.Dataquery, all []series) []series {
	slices.SortStableFunc(all, func(a, b series) int { return strings.Compare(legend(q, a), legend(q, b)) })
	return all
}
