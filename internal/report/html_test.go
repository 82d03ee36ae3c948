package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report/reporttest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// document is a rendered report, parsed as a browser would.
type document struct {
	t    *testing.T
	root *html.Node
	size int
}

func render(t *testing.T, b *export.Bundle) document {
	t.Helper()
	var out bytes.Buffer
	if err := report.HTML(&out, b); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); strings.Contains(s, "ZgotmplZ") {
		t.Error("the template refused a value")
	}
	size := out.Len()
	root, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	d := document{t, root, size}
	for _, word := range []string{"NaN", "Inf", "%!", "<nil>", "0001"} {
		if text := d.text(); strings.Contains(text, word) && word != "0001" || strings.Contains(text, "January 0001") {
			t.Errorf("the page says %q", word)
		}
	}
	return d
}

// find returns the elements for which keep holds, in the order of the page.
func (d document) find(keep func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && keep(n) {
			out = append(out, n)
		}
	}
	return out
}

func (d document) tag(name string) []*html.Node {
	return d.find(func(n *html.Node) bool { return n.Data == name })
}

func (d document) id(id string) *html.Node {
	d.t.Helper()
	found := d.find(func(n *html.Node) bool { return attr(n, "id") == id })
	if len(found) != 1 {
		d.t.Fatalf("%d elements have the id %s", len(found), id)
	}
	return found[0]
}

// text is what is to be read on the page.
func (d document) text() string { return textOf(d.root) }

func TestOpenLoadInHTML(t *testing.T) {
	var out bytes.Buffer
	if err := report.HTML(&out, openLoad()); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(textOf(doc)), " ")
	for _, want := range []string{"Arrivals 83.1 /s", "of 83.3/s intended, 30 of 10,000 dropped", "In flight", "Requests under way", "Arrivals Dropped", "5,000 20", "60 of 10,000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

func textOf(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		if n.Data == "script" || n.Data == "style" {
			return
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
		switch n.Data {
		case "small", "td", "th", "p", "dt", "dd", "li", "div", "h3":
			b.WriteByte(' ')
		}
	}
	walk(n)
	return strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "\u00a0", " ")), " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// table reads a table: row name, then column name, to text.
func (d document) table(id string) map[string]map[string]string {
	d.t.Helper()
	out := map[string]map[string]string{}
	var heads []string
	for n := range d.id(id).Descendants() {
		if n.Type != html.ElementNode || n.Data != "tr" {
			continue
		}
		var cells []string
		for c := range n.ChildNodes() {
			if c.Type == html.ElementNode {
				cells = append(cells, textOf(c))
			}
		}
		if heads == nil {
			heads = cells
			continue
		}
		if len(cells) != len(heads) {
			d.t.Errorf("table %s: a row of %d cells under %d heads: %q", id, len(cells), len(heads), cells)
			continue
		}
		row := map[string]string{}
		for i, h := range heads {
			row[h] = cells[i]
		}
		out[cells[0]] = row
	}
	return out
}

// tiles are the headline numbers: label to value.
func (d document) tiles() map[string]string {
	out := map[string]string{}
	for _, n := range d.find(func(n *html.Node) bool {
		return n.Data == "dt" && n.Parent.Parent.Data == "dl" && attr(n.Parent.Parent, "class") == "tiles panel"
	}) {
		for v := n.NextSibling; v != nil; v = v.NextSibling {
			for s := range v.Descendants() {
				if s.Data == "strong" {
					out[textOf(n)] = textOf(s)
				}
			}
		}
	}
	return out
}

var shown = regexp.MustCompile(`^[≥<$ ]*([\d,.]+) ?(ns|µs|ms|s|%|/s)?`)

// value reads a number as the page writes it: durations in nanoseconds,
// percentages as ratios, dollars in micro-dollars.
func value(t *testing.T, s string) float64 {
	t.Helper()
	m := shown.FindStringSubmatch(s)
	if m == nil {
		t.Errorf("%q is not a number", s)
		return math.NaN()
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
	if err != nil {
		t.Errorf("%q: %v", s, err)
	}
	switch {
	case strings.Contains(s, "$"):
		return v * 1e6
	case m[2] == "%":
		return v / 100
	default:
		return v * map[string]float64{"": 1, "/s": 1, "ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[m[2]]
	}
}

// wantNear holds a number on the page against the truth, up to rounding to
// three figures, and to absolute for percentages and money.
func wantNear(t *testing.T, what, got string, want, absolute float64) {
	t.Helper()
	if v := value(t, got); math.Abs(v-want) > max(0.005*math.Abs(want), absolute) {
		t.Errorf("%s reads %q (%g), want %g", what, got, v, want)
	}
}

const (
	cent  = 5.1e-5 // half of 0.01%
	ofUSD = 51     // half of $0.0001, in micro-dollars
)

func TestHTMLShowsTheBundle(t *testing.T) {
	b := reporttest.Sample()
	d := render(t, b)
	all := b.Summary.Overall()
	measured := b.Run.MeasuredDuration.Seconds()

	t.Run("verdict", func(t *testing.T) {
		text := textOf(d.id("verdict"))
		if !strings.Contains(text, "Failed") || !strings.Contains(text, "Error rate was "+b.Verdict.Checks[4].Observed) {
			t.Errorf("the verdict reads %q", text)
		}
		rows := d.table("thresholds")
		if len(rows) != len(b.Verdict.Checks) {
			t.Errorf("%d thresholds for %d checks", len(rows), len(b.Verdict.Checks))
		}
		names := map[string]string{"ttft p95": "TTFT p95", "ttft p99": "TTFT p99", "itl p95": "ITL p95", "e2e p95": "End-to-end p95",
			"error rate": "Error rate", "availability": "Availability"}
		for _, c := range b.Verdict.Checks {
			row := rows[names[c.Name]]
			want := map[bool]string{true: "held", false: "crossed"}[c.Passed]
			plain := func(s string) string { return strings.ReplaceAll(s, " ", "") }
			if plain(row["Promised"]) != plain(c.Limit) || plain(row["Observed"]) != plain(c.Observed) || !strings.HasPrefix(row["Result"], want) {
				t.Errorf("check %+v is shown as %v", c, row)
			}
			wantNear(t, c.Name+" samples", row["Samples"], float64(c.Samples), 0)
		}
	})

	t.Run("headline", func(t *testing.T) {
		tiles := d.tiles()
		l := &all.Latency
		for label, want := range map[string]float64{
			"Requests":       float64(all.Measured.Requests) / measured,
			"Goodput":        float64(all.Measured.Good) / measured,
			"Output tokens":  float64(all.Measured.CompletionTokens) / measured,
			"Error rate":     float64(all.Measured.Refused+all.Measured.Failed) / float64(all.Measured.Answered()),
			"Users":          48,
			"TTFT p95":       float64(l.TTFT.Quantile(0.95)),
			"ITL p95":        float64(l.ITL.Quantile(0.95)),
			"End-to-end p95": float64(l.E2E.Quantile(0.95)),
			"Cost":           float64(all.All.CostMicroUSD),
			"Cached":         float64(all.All.CachedTokens) / float64(all.All.PromptTokens),
		} {
			wantNear(t, label, tiles[label], want, cent)
		}
		if len(tiles) != 10 {
			t.Errorf("%d headline numbers: %v", len(tiles), tiles)
		}
	})

	t.Run("latencies", func(t *testing.T) {
		rows := d.table("latency-table")
		for name, h := range map[string]*stats.Histogram{
			"End-to-end scheduled to complete answer": &all.Latency.E2E, "TTFT scheduled to first token": &all.Latency.TTFT,
			"ITL between two chunks": &all.Latency.ITL, "TPOT per output token of a request": &all.Latency.TPOT,
			"Connect DNS, TCP and TLS": &all.Latency.Connect, "Send lag this tool's own lateness": &all.Latency.SendLag,
		} {
			row := rows[name]
			if row == nil {
				t.Errorf("no row %q", name)
				continue
			}
			wantNear(t, name+" count", row["Count"], float64(h.Count()), 0)
			for column, want := range map[string]time.Duration{"Mean": h.Mean(), "Min": h.Min(), "p50": h.Quantile(0.5), "p90": h.Quantile(0.9),
				"p95": h.Quantile(0.95), "p99": h.Quantile(0.99), "Max": h.Max()} {
				if q := map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}[column]; h.Count() < stats.Enough(q) {
					if row[column] != "–" {
						t.Errorf("%s %s is %q, though of %d values it is not known", name, column, row[column], h.Count())
					}
					continue
				}
				wantNear(t, name+" "+column, row[column], float64(want), 0)
			}
		}
	})

	slices := func(t *testing.T, id string, by func(stats.Key) stats.Key, name func(stats.Key) string) {
		rows := d.table(id)
		groups := b.Summary.Rollup(by)
		if len(rows) != len(groups) {
			t.Errorf("%d rows for %d groups", len(rows), len(groups))
		}
		for _, g := range groups {
			row := rows[name(g.Key)]
			if row == nil {
				t.Errorf("no row %q", name(g.Key))
				continue
			}
			wantNear(t, "requests", row["Requests"], float64(g.All.Requests), 0)
			wantNear(t, "errors", row["Errors"], g.Measured.ErrorRate(), cent)
			wantNear(t, "goodput", row["Goodput"], float64(g.Measured.Good)/measured, 0)
			wantNear(t, "e2e p95", row["E2E p95"], float64(g.Latency.E2E.Quantile(0.95)), 0)
			if g.Latency.TTFT.Count() > 0 {
				wantNear(t, "ttft p95", row["TTFT p95"], float64(g.Latency.TTFT.Quantile(0.95)), 0)
				wantNear(t, "itl p95", row["ITL p95"], float64(g.Latency.ITL.Quantile(0.95)), 0)
			} else if row["TTFT p95"] != "–" || row["ITL p95"] != "–" {
				t.Errorf("%v has no streams, but %v", g.Key, row)
			}
			wantNear(t, "tokens", row["Tokens out"], float64(g.All.CompletionTokens), 0)
			wantNear(t, "cached", row["Cached"], float64(g.All.CachedTokens)/float64(g.All.PromptTokens), cent)
			wantNear(t, "cost", row["Cost"], float64(g.All.CostMicroUSD), ofUSD)
		}
	}
	t.Run("orgs", func(t *testing.T) {
		slices(t, "orgs-table", stats.ByOrg, func(k stats.Key) string { return k.Org })
		if got := d.table("orgs-table")["acme"]["Users"]; got != "16" {
			t.Errorf("acme has %s users, want 16", got)
		}
	})
	t.Run("models", func(t *testing.T) {
		slices(t, "models-table", stats.ByModel, func(k stats.Key) string { return k.Model })
	})
	t.Run("endpoints", func(t *testing.T) {
		slices(t, "endpoints-table", stats.ByEndpoint, func(k stats.Key) string {
			return k.Endpoint + map[bool]string{true: ", streamed", false: ", whole"}[k.Stream]
		})
	})

	t.Run("phases", func(t *testing.T) {
		rows := d.table("phases-table")
		for _, g := range b.Summary.Rollup(stats.ByPhase) {
			wantNear(t, g.Key.Phase, rows[g.Key.Phase]["Requests"], float64(g.All.Requests), 0)
		}
		if w := rows["warm-up"]; w["Measured"] != "no" || w["E2E p95"] != "–" || w["Lasted"] != "20 s" {
			t.Errorf("warm-up is %v", w)
		}
		if s := rows["steady"]; s["Measured"] != "yes" || s["From"] != "01:40" || s["Lasted"] != "2m 40s" {
			t.Errorf("steady is %v", s)
		}
	})

	t.Run("errors", func(t *testing.T) {
		text := textOf(d.id("errors-table"))
		for _, e := range all.Errors {
			if !strings.Contains(text, string(e.Kind)) || !strings.Contains(text, e.Example) {
				t.Errorf("%+v is not in %q", e, text)
			}
			if wall := b.Run.Started.Add(e.FirstAt).Format("15:04:05"); !strings.Contains(text, wall) {
				t.Errorf("%s was first seen at %s, which is not in the table", e.Kind, wall)
			}
		}
		limited := d.table("errors-table")["rate_limited"]
		if limited["Status"] != "429 Too Many Requests" {
			t.Errorf("rate_limited is %v", limited)
		}
	})

	t.Run("cost", func(t *testing.T) {
		orgs, users := d.table("cost-orgs"), d.table("cost-users")
		wantNear(t, "orgs' total", orgs["Total"]["Cost"], float64(all.All.CostMicroUSD), ofUSD)
		wantNear(t, "users' total", users["Total"]["Cost"], float64(all.All.CostMicroUSD), ofUSD)
		var sum float64
		for name, row := range users {
			if name != "Total" {
				sum += value(t, row["Cost"])
			}
		}
		if len(users) != 12 || math.Abs(sum-float64(all.All.CostMicroUSD)) > 12*ofUSD {
			t.Errorf("%d rows of users add up to %g, want %d", len(users), sum, all.All.CostMicroUSD)
		}
	})

	t.Run("users", func(t *testing.T) {
		slowest, failing := d.table("slowest-users"), d.table("failing-users")
		for _, u := range b.Summary.Users {
			if row := slowest[u.Name+" "+u.Org]; row != nil {
				wantNear(t, u.Name, row["Mean E2E"], float64(u.E2ESum)/float64(u.MeasuredCount), 0)
			}
			if row := failing[u.Name+" "+u.Org]; row != nil {
				wantNear(t, u.Name, row["Errors"], float64(u.Totals.Refused+u.Totals.Failed), 0)
			}
		}
		if len(slowest) != 25 || len(failing) != 25 {
			t.Errorf("%d slowest and %d failing users, want 25 each", len(slowest), len(failing))
		}
		if text := textOf(d.id("users")); !strings.Contains(text, "The first 25 of 48 users with measured answers; all are in result.json.") {
			t.Error("nothing says where the other users are")
		}
	})

	t.Run("run", func(t *testing.T) {
		text := textOf(d.id("run"))
		for _, want := range []string{b.Run.ID, "Seed 42", "2026-03-03 14:02:11 +01:00", "completed", "https://router.platform.example", "48 keys revoked", "3 organizations, 48 users and 48 keys in 1.84 s"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
		}
	})
}

// chartData is the part of the page's data that these tests read.
type chartData struct {
	Interval float64
	Phases   []struct{ Name string }
	Time     []struct {
		ID     string
		Series []struct {
			Label  string
			Values []*float64
		}
		Limits []struct{ Value float64 }
	}
	Dist []struct {
		ID    string
		Share []*float64
	}
}

func (d document) charts() chartData {
	d.t.Helper()
	var c chartData
	if err := json.Unmarshal([]byte(d.id("chart-data").FirstChild.Data), &c); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func TestHTMLChartsComeFromHistograms(t *testing.T) {
	b := reporttest.Sample()
	d := render(t, b)
	c := d.charts()
	join := int(c.Interval / b.Summary.Timeline.Interval.Seconds())
	if join != 2 {
		t.Fatalf("a point stands for %d intervals, want 2", join)
	}
	in := b.Summary.Timeline.Intervals
	gaps := 0
	for i := 0; i < len(in); i += join {
		merged := new(stats.Histogram)
		for _, part := range in[i:min(i+join, len(in))] {
			_, ttft := part.Latency()
			merged.Merge(ttft)
		}
		for k, q := range []float64{0.5, 0.95, 0.99} {
			got := c.Time[1].Series[k].Values[i/join]
			switch {
			case merged.Count() == 0 && got != nil:
				t.Errorf("point %d has a TTFT of %g ms without a stream", i/join, *got)
			case merged.Count() == 0:
				gaps++
			case got == nil || math.Abs(*got*1e6-float64(merged.Quantile(q))) > 1e-3*float64(merged.Quantile(q)):
				t.Errorf("point %d p%g: got %v ms, want %v", i/join, q*100, got, merged.Quantile(q))
			}
		}
	}
	if gaps == 0 {
		t.Error("the sample's outage should leave gaps")
	}
	if c.Time[1].ID != "ttft" || len(c.Time[1].Limits) != 2 || c.Time[1].Limits[0].Value != 800 {
		t.Errorf("the second chart is %s with the limits %v", c.Time[1].ID, c.Time[1].Limits)
	}
	var requests float64
	for _, s := range c.Time[2].Series {
		for i, v := range s.Values {
			length := c.Interval
			if rest := b.Run.Duration.Seconds() - float64(i)*c.Interval; rest < length {
				length = rest
			}
			if v != nil {
				requests += *v * length
			}
		}
	}
	// Numbers in charts have four figures.
	if all := float64(b.Headline.Requests); math.Abs(requests-all) > 0.002*all {
		t.Errorf("the rates add up to %g requests, want %g", requests, all)
	}
	for _, dist := range c.Dist {
		var sum float64
		for _, s := range dist.Share {
			if s != nil {
				sum += *s
			}
		}
		if math.Abs(sum-100) > 0.1 {
			t.Errorf("%s adds up to %g%%", dist.ID, sum)
		}
	}
}

func TestHTMLIsInert(t *testing.T) {
	const evil = `</script><script>alert(1)</script>"'<img src=x onerror=alert(2)>`
	b := reporttest.Load{Orgs: []string{evil, "globex"}, Users: 4, Scale: 0.2, Streams: 1, Burst: true}.Bundle()
	b.Run.Scenario, b.Run.ID, b.Run.Target.RouterURL = evil, evil, "javascript:alert(3)"
	b.Run.Labels = map[string]string{evil: evil}
	b.Tool.Version, b.Stop.Detail = evil, evil
	b.Warnings, b.Findings = []string{evil}, []export.Finding{{Title: evil, Detail: evil}}
	b.Verdict.Reasons = []string{evil}
	b.Verdict.Checks[0].Name, b.Verdict.Checks[0].Observed = evil, evil
	b.Phases[1].Name = evil
	for _, g := range b.Summary.Groups {
		g.Key.Model, g.Key.Endpoint, g.Key.TestType = evil, evil, evil
		for i := range g.Errors {
			g.Errors[i].Example, g.Errors[i].Kind = evil, record.Kind(evil)
		}
	}
	d := render(t, b)
	if scripts := d.tag("script"); len(scripts) != 2 {
		t.Errorf("the page has %d scripts, want its data and its own", len(scripts))
	}
	if images := d.tag("img"); len(images) != 0 {
		t.Errorf("the page has %d images", len(images))
	}
	for _, a := range d.tag("a") {
		if href := attr(a, "href"); !strings.HasPrefix(href, "#") {
			t.Errorf("a link goes to %s", href)
		}
	}
	if d.charts().Phases[1].Name != evil {
		t.Error("the phase's name did not survive in the data")
	}
	if row := d.table("orgs-table")[evil]; row == nil {
		t.Error("the org's name did not survive in the table")
	}
}

func TestHTMLIsSelfContained(t *testing.T) {
	d := render(t, reporttest.Sample())
	var policy string
	for _, n := range d.tag("meta") {
		if attr(n, "http-equiv") == "Content-Security-Policy" {
			policy = attr(n, "content")
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %q", policy)
	}
	for _, n := range d.find(func(n *html.Node) bool { return n.Data == "style" || n.Data == "script" && attr(n, "type") == "" }) {
		sum := sha256.Sum256([]byte(n.FirstChild.Data))
		if name := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, n.Data+"-src "+name) {
			t.Errorf("the policy %q does not let the %s with %s run", policy, n.Data, name)
		}
	}
	for _, n := range d.find(func(*html.Node) bool { return true }) {
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s=%q> does not pass the policy", n.Data, a.Key, a.Val)
			}
			if (a.Key == "src" || a.Key == "href") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "data:") {
				t.Errorf("<%s> loads %s", n.Data, a.Val)
			}
		}
	}
	for _, n := range d.find(func(n *html.Node) bool { return attr(n, "role") == "img" }) {
		if attr(n, "aria-label") == "" {
			t.Error("a chart has no words")
		}
	}
}

func TestHTMLWithoutRequests(t *testing.T) {
	for name, b := range map[string]*export.Bundle{
		"zero":    {},
		"summary": {Run: export.Run{ID: "r1"}, Summary: stats.NewSummary()},
		"bare":    {Summary: &stats.Summary{}},
	} {
		t.Run(name, func(t *testing.T) {
			d := render(t, b)
			for label, v := range d.tiles() {
				if v != "–" {
					t.Errorf("%s is %q, want –", label, v)
				}
			}
			text := d.text()
			for _, want := range []string{"No request was sent.", "No verdict", "The scenario sets no thresholds", "No request was measured, so there is no TTFT.", "nothing was spent"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			if c := d.charts(); len(c.Time)+len(c.Dist) != 0 {
				t.Errorf("there are charts: %+v", c)
			}
		})
	}
}

func TestHTMLWithoutStreams(t *testing.T) {
	b := reporttest.Load{Orgs: []string{"acme"}, Users: 6, Scale: 0.3, Unpriced: true}.Bundle()
	d := render(t, b)
	text, tiles := d.text(), d.tiles()
	for _, want := range []string{"No streams were requested, so there is no TTFT.", "No streams were requested, so there is no inter-token latency.", "The cost is unknown"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, label := range []string{"TTFT p95", "ITL p95", "Cost"} {
		if tiles[label] != "–" {
			t.Errorf("%s is %q, want –", label, tiles[label])
		}
	}
	row := d.table("latency-table")["TTFT scheduled to first token"]
	for column, v := range row {
		if column != "Latency" && v != "–" {
			t.Errorf("TTFT %s is %q, want –", column, v)
		}
	}
	for _, c := range d.charts().Time {
		if c.ID == "ttft" {
			t.Error("there is a chart of TTFT")
		}
	}
}

// TestHTMLOfAPlatformThatNeverSpeaksOfItsCache: nobody knows how much was cached.
func TestHTMLOfAPlatformThatNeverSpeaksOfItsCache(t *testing.T) {
	b := reporttest.Load{Orgs: []string{"acme"}, Users: 6, Scale: 0.3}.Bundle()
	for _, g := range b.Summary.Groups {
		g.All.CachedReported = 0
	}
	d := render(t, b)
	if got := d.tiles()["Cached"]; got != "–" || !strings.Contains(d.text(), "the platform does not say") {
		t.Errorf("cached is %q", got)
	}
	for org, row := range d.table("orgs-table") {
		if row["Cached"] != "–" {
			t.Errorf("%s: cached is %q", org, row["Cached"])
		}
	}
}

func TestHTMLOfOneInterval(t *testing.T) {
	c := stats.NewCollector(stats.Objective{})
	c.Add(&record.Record{Org: "acme", User: "u", Measured: true, Final: true, Endpoint: "chat", Model: "m",
		Sent: time.Microsecond, Done: 250 * time.Millisecond, Status: 200})
	b := &export.Bundle{Run: export.Run{Duration: 250 * time.Millisecond, MeasuredDuration: 250 * time.Millisecond}, Summary: c.Summary()}
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
	d := render(t, b)
	if got := d.tiles()["Requests"]; got != "4.00 /s" {
		t.Errorf("one request in a quarter of a second is %q, want 4.00 /s", got)
	}
	for _, chart := range d.charts().Time {
		if chart.ID == "requests" && (len(chart.Series[0].Values) != 1 || *chart.Series[0].Values[0] != 4) {
			t.Errorf("the chart of requests is %v", chart.Series)
		}
	}
	// No usage and no price: unknown, not zero.
	for _, label := range []string{"Output tokens", "Cost", "Cached", "Users"} {
		if got := d.tiles()[label]; got != "–" {
			t.Errorf("%s is %q, want –", label, got)
		}
	}
	if row := d.table("models-table")["m"]; row["Tokens out"] != "–" || row["Cost"] != "–" {
		t.Errorf("the model's row is %v", row)
	}
}

func TestHTMLOfALongRunIsSmall(t *testing.T) {
	c := stats.NewCollector(stats.Objective{})
	const seconds, perSecond, users, orgs = 1800, 10, 1000, 200
	for i := range seconds * perSecond {
		at := time.Duration(i) * time.Second / perSecond
		r := &record.Record{
			Org: fmt.Sprintf("loadtest-org-%d", i%orgs), User: fmt.Sprintf("user-%d", i%users), UserIndex: i % users, Phase: "steady",
			Measured: true, Final: true, Endpoint: "chat", Model: "m", Stream: true, Scheduled: at, Sent: at,
			FirstToken: at + time.Duration(100+i%777)*time.Millisecond, Done: at + time.Duration(900+i%1777)*time.Millisecond,
			UsageKnown: true, PromptTokens: 10, CompletionTokens: 40, CostKnown: true, CostMicroUSD: 25,
		}
		if i%7 == 0 {
			r.Outcome, r.Kind, r.Status, r.Message = record.Failed, record.HTTPError, 500+i%90, strings.Repeat("the backend is not well ", 5)
		}
		c.Add(r)
	}
	b := &export.Bundle{Run: export.Run{Duration: seconds * time.Second, MeasuredDuration: seconds * time.Second}, Summary: c.Summary()}
	b.Headline = export.NewHeadline(b.Summary, b.Run.MeasuredDuration)
	d := render(t, b)
	t.Logf("%d bytes", d.size)
	if d.size > 1<<20 {
		t.Errorf("the page has %d bytes", d.size)
	}
	if n := len(d.charts().Time[0].Series[0].Values); n > 901 || n < 300 {
		t.Errorf("the charts have %d points", n)
	}
	if rows := d.table("orgs-table"); len(rows) != 100 || !strings.Contains(d.text(), "The first 100 of 200 organizations; all are in result.json.") {
		t.Errorf("%d orgs are shown", len(rows))
	}
}

func TestHTMLReturnsTheWritersError(t *testing.T) {
	full := errors.New("disk full")
	if err := report.HTML(failing{full}, reporttest.Sample()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestVendoredFiles holds the files of others against the sums in the README.
func TestVendoredFiles(t *testing.T) {
	readme, err := os.ReadFile("assets/README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?m)^\\| `(uPlot[^`]+)` .*`([0-9a-f]{64})` \\|$").FindAllStringSubmatch(string(readme), -1)
	if len(lines) != 3 {
		t.Fatalf("the README lists %d files, want 3", len(lines))
	}
	for _, l := range lines {
		data, err := os.ReadFile("assets/" + l[1])
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != l[2] {
			t.Errorf("%s has sha256 %x, the README says %s", l[1], sum, l[2])
		}
		if l[1] == "uPlot.LICENSE" && !bytes.Contains(data, []byte("The MIT License")) {
			t.Error("that is not the licence")
		}
	}
}

// TestHTMLOfABrokenRun: a run that made no load says nothing of the promises
// that its scenario makes.
func TestHTMLOfABrokenRun(t *testing.T) {
	var out bytes.Buffer
	if err := report.HTML(&out, &export.Bundle{Verdict: verdict.Judge(verdict.Input{Broken: "nothing listens there"})}); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "No threshold was judged") || strings.Contains(s, "sets no thresholds") {
		t.Error("the report of a broken run speaks of the scenario's thresholds")
	}
}

func TestHTMLMarksWhatTheGeneratorAdded(t *testing.T) {
	var out bytes.Buffer
	if err := report.HTML(&out, limited()); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(textOf(doc)), " ")
	for _, want := range []string{
		"Passed, generator-limited", "generator-limited: this tool itself may have added", "its cgroup ran out of CPU quota in 50.0% of the periods",
		"p99 is not shown of TTFT (246), end-to-end latency (246), TPOT (246)", "on average 5.50 of 6.00 intended",
		"0.90 of 1.00 CPUs used", "Where the percentiles lie with 95% confidence",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	marks := 0
	for n := range doc.Descendants() {
		if attr(n, "class") == "weak" && textOf(n) == "!" && strings.Contains(attr(n, "title"), "may be this tool's own") {
			marks++
		}
	}
	if marks == 0 {
		t.Error("no percentile is marked")
	}
}
