package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// What the page shows of long lists; result.json has all.
const (
	maxOrgRows  = 100
	maxUserRows = 25 // each in the slowest and the failing
	maxCostBars = 10
)

// page is everything the template shows, formatted.
type page struct {
	CSP           string
	Style, Script template.HTML
	Icon          template.URL
	Tool          string

	Scenario   string
	Status     verdict.Status
	StatusWord string
	Glyph      string // the path of the verdict's sign
	Reasons    []string
	Doubts     []link // to findings and warnings
	Facts      []string
	Nav        []link
	Thresholds table
	Tiles      []tile

	TimeLede  string
	Time      []figure
	Dist      []figure
	HasLimits bool
	Charts    charts
	Latency   table
	// Confidence is of the headline percentiles.
	Confidence table
	// SlowAnswers are single requests.
	SlowAnswers table

	ErrorLede string
	Errors    table
	ChaosLede string
	Recovery  table

	SearchLede   string // "": the load was the scenario's
	Search       table
	SearchCurves []template.HTML

	Isolation      []table // none: nothing was tested
	IsolationWords []string
	Keys           table // without an ID: none were withdrawn
	KeyWords       []string

	Orgs                         table
	CostLede                     string
	OrgCost, ModelCost, UserCost table

	Models, Endpoints, TestTypes, Phases table
	Checks, Values                       table

	UserLede         string
	Slowest, Failing table

	Findings    []export.Finding
	Warnings    []string
	Meta        []fact
	Definitions []export.Finding
}

type link struct{ ID, Title string }

type tile struct{ Label, Value, Unit, Sub string }

type fact struct {
	Name   string
	Values []string
}

// moments write when something happened, in the run's own UTC offset.
type moments struct{ started time.Time }

func (m moments) clock(d time.Duration) string {
	if m.started.IsZero() {
		return ""
	}
	return m.started.Add(d).Format("15:04:05")
}

func newPage(b *export.Bundle) *page {
	s := b.Summary
	if s == nil {
		s = stats.NewSummary()
	}
	timeline := s.Timeline
	if timeline == nil {
		timeline = stats.NewTimeline()
	}
	all := s.Overall()
	at := moments{b.Run.Started}
	p := &page{
		Tool:     cmp.Or(b.Tool.Version, "of unknown version"),
		Scenario: cmp.Or(b.Run.Scenario, b.Run.ID, "Load test"),
		Findings: b.Findings, Warnings: warnings(b), Definitions: definitions,
		Nav: []link{{"time", "Over time"}, {"latency", "Latency"}, {"errors", "Errors"}, {"orgs", "Organizations"},
			{"cost", "Cost"}, {"slices", "Models"}, {"users", "Users"}, {"run", "The run"}},
	}
	if len(b.KeyLifecycle) > 0 {
		p.Nav = slices.Insert(p.Nav, 3, link{"keys", "Keys"})
	}
	if b.Search != nil {
		p.Nav = slices.Insert(p.Nav, 0, link{"search", "Load"})
	}
	if len(b.Isolation) > 0 {
		p.Nav = slices.Insert(p.Nav, len(p.Nav)-5, link{"isolation", "Isolation"})
	}
	p.addVerdict(b, all.Measured.Refused+all.Measured.Failed > 0)
	p.addSearch(b.Search)
	p.addFacts(b, s)
	if b.Search == nil { // over all steps, most of these say nothing
		p.addTiles(b, all, s)
	}
	p.addTime(b, drawable(timeline), all)
	p.addSpread(b.Verdict.Checks, all)
	if len(p.Charts.Time) > 0 {
		p.TimeLede = fmt.Sprintf("Each point is %s of the run; a request belongs to the moment it ended. Drag to zoom, double-click to see all.",
			span(time.Duration(p.Charts.Interval*float64(time.Second))))
	}
	p.addLatency(all, b)
	p.addSlowAnswers(s.Slowest, at)
	p.addErrors(all, at)
	p.addChaos(b.Chaos)
	p.addIsolation(b.Isolation)
	p.addKeys(b.KeyLifecycle)
	p.addOrgs(b, s)
	p.addCost(b, s, all)
	p.addSlices(b, s)
	p.addUsers(s)
	p.addMeta(b, at)
	return p
}

// How each verdict looks: its word, its sign, and the colour of the icon,
// which cannot follow the page's theme.
var looks = map[verdict.Status]struct{ word, glyph, color string }{
	verdict.Passed:      {"Passed", "M6.8 12.4l3.6 3.6 6.8-7.4", "%231a7f4b"},
	verdict.Failed:      {"Failed", "M8 8l8 8M16 8l-8 8", "%23c8321f"},
	verdict.Interrupted: {"Interrupted", "M9.5 7.5v9M14.5 7.5v9", "%23a86400"},
	verdict.Broken:      {"Broken", "M12 6.5v7M12 16.6v.4", "%23c8321f"},
	"":                  {"No verdict", "M8 12h8", "%236b7078"},
}

// addVerdict fills the answer; late is whether any measured request failed.
func (p *page) addVerdict(b *export.Bundle, late bool) {
	look, known := looks[b.Verdict.Status]
	if !known {
		look = looks[""]
		look.word = string(b.Verdict.Status)
	}
	p.Status, p.StatusWord, p.Glyph = b.Verdict.Status, look.word, look.glyph
	if b.Verdict.GeneratorLimited {
		p.StatusWord += ", generator-limited"
	}
	p.Icon = template.URL("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Ccircle cx='12' cy='12' r='12' fill='" + // #nosec G203 -- constants only
		look.color + "'/%3E%3Cpath d='" + look.glyph + "' fill='none' stroke='%23fff' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E")
	for _, r := range b.Verdict.Reasons {
		p.Reasons = append(p.Reasons, metricName(r))
	}
	if n := len(p.Warnings); n > 0 {
		p.Doubts = append(p.Doubts, link{"warnings", human.Plural(n, "warning") + " about this run"})
	}
	if n := len(b.Findings); n > 0 {
		p.Doubts = append(p.Doubts, link{"findings", human.Plural(n, "finding") + " about the platform"})
	}

	t := table{
		ID: "thresholds", Caption: "Thresholds", Headed: true, Empty: "The scenario sets no thresholds. Set slo in the scenario to have the run judged.",
		Columns: []column{{Name: "Threshold"}, {Name: "Promised", Numeric: true}, {Name: "Observed", Numeric: true}, {Name: "Result"}, {Name: "Samples", Numeric: true}},
	}
	if b.Verdict.Status == verdict.Broken {
		t.Empty = "No threshold was judged: there is nothing to judge it by."
	}
	if b.Search != nil {
		t.Empty = "Every step was judged by the promises of the scenario by itself."
	}
	for _, c := range b.Verdict.Checks {
		result := cell{Text: "held", Class: "held", Mark: "pass"}
		if !c.Passed {
			result = cell{Text: "crossed", Class: "crossed", Mark: "fail"}
		}
		samples := counted(c.Samples)
		samples.Class = "num"
		result.Sub = c.Doubt
		t.Rows = append(t.Rows, []cell{
			text(checkName(c.Name)), {Text: apart(c.Limit), Class: "num"}, {Text: apart(c.Observed), Class: "num strong"}, result, samples,
		})
	}
	if late && len(t.Rows) > 0 {
		t.Note = "Here a failed request counts as infinitely late, so a percentile may be above that of the answers alone."
	}
	p.Thresholds = t
}

// metricName writes what begins with a check's name for people: "ttft p95"
// becomes "TTFT p95", "error rate" becomes "Error rate".
func metricName(s string) string {
	first, rest, more := strings.Cut(s, " ")
	if !more {
		return s
	}
	words := map[verdict.Metric]string{verdict.TTFT: "TTFT", verdict.ITL: "ITL", verdict.TPOT: "TPOT", verdict.E2E: "End-to-end"}
	if w, ok := words[verdict.Metric(first)]; ok {
		return w + " " + rest
	}
	if strings.ContainsFunc(first, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return s // no plain word
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func checkName(name string) string { return strings.TrimSpace(metricName(name + " ")) }

// apart puts a space between the number and the unit of a simple duration:
// "≤ 800ms" becomes "≤ 800 ms". Neither space breaks the line. Anything else
// stays as it is.
func apart(s string) string {
	sign, d := "", s
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		sign, d = s[:i]+space, s[i+1:]
	}
	number := strings.TrimRight(d, "nµms")
	switch _, err := strconv.ParseFloat(strings.TrimSuffix(number, "%"), 64); {
	case err != nil:
		return s
	case number == d:
		return sign + d
	}
	return sign + number + space + d[len(number):]
}

func (p *page) addFacts(b *export.Bundle, s *stats.Summary) {
	add := func(s string) {
		if s != "" {
			p.Facts = append(p.Facts, s)
		}
	}
	if !b.Run.Started.IsZero() {
		add(b.Run.Started.Format("2 January 2006, 15:04 -07:00"))
	}
	if b.Run.Duration > 0 {
		add(span(b.Run.Duration))
	}
	if n := len(s.Users); n > 0 {
		add(human.Plural(n, "user") + " in " + human.Plural(len(s.Rollup(stats.ByOrg)), "organization"))
	}
	add(target(b.Run.Target))
	if b.Run.ID != "" {
		add("run " + b.Run.ID)
	}
}

func target(t export.Target) string {
	if t.Embedded {
		return "the simulated platform"
	}
	return t.RouterURL
}

func (p *page) addTiles(b *export.Bundle, all *stats.Group, s *stats.Summary) {
	m, h := all.Measured, b.Headline
	add := func(label, value, unit, sub string) {
		if value == human.Unknown {
			unit = ""
		}
		p.Tiles = append(p.Tiles, tile{label, value, unit, sub})
	}
	known := func(ok bool, v string) string {
		if !ok {
			return human.Unknown
		}
		return v
	}
	measured := m.Requests > 0 && b.Run.MeasuredDuration > 0
	sub := "no request was measured"
	if measured {
		sub = human.Count(m.Requests) + " measured of " + human.Count(all.All.Requests)
	}
	add("Requests", known(measured, significant(h.RequestsPerSecond)), "/s", sub)

	sub = "no request succeeded"
	if m.Succeeded > 0 {
		sub = human.Percent(float64(m.Good)/float64(m.Succeeded)) + " kept every promise"
	}
	add("Goodput", known(measured, significant(h.GoodputPerSecond)), "/s", sub)

	usage := m.Succeeded > m.UsageUnknown
	switch {
	case m.Succeeded == 0:
		sub = "no request succeeded"
	case !usage:
		sub = "the platform reported no usage"
	default:
		sub = human.Short(m.CompletionTokens) + " tokens generated"
	}
	add("Output tokens", known(measured && usage, significant(h.TokensPerSecond)), "/s", sub)

	sub = "no request was answered"
	if m.Answered() > 0 {
		sub = human.Count(m.Refused) + " refused, " + human.Count(m.Failed) + " failed"
	}
	add("Error rate", known(m.Answered() > 0, human.Percent(h.ErrorRate)), "", sub)

	sub = ""
	if n := len(s.Rollup(stats.ByOrg)); n > 0 {
		sub = "most at once, in " + human.Plural(n, "organization")
	}
	if u := h.Users; u != nil {
		sub += "; on average " + significant(u.Delivered) + " of " + significant(u.Intended) + " intended"
		sub = strings.TrimPrefix(sub, "; ")
	}
	users := "Users"
	if export.SumArrivals(b.Phases) != nil {
		users = "In flight"
	}
	if a := h.Arrivals; a != nil {
		dropped := "none dropped"
		if a.Dropped > 0 {
			dropped = human.Count(a.Dropped) + " of " + human.Count(a.Intended) + " dropped"
		}
		add("Arrivals", significant(a.DeliveredPerSecond), "/s", "of "+significant(a.IntendedPerSecond)+"/s intended, "+dropped)
	}
	add(users, known(h.MaxUsers > 0, human.Count(uint64(max(0, h.MaxUsers)))), "", sub)

	quantiles := func(label, metric string, l *stats.Histogram, empty string) {
		if l.Count() == 0 {
			add(label, human.Unknown, "", empty)
			return
		}
		marked := func(q float64) string { return marked(l, q, judgement(b).Marked(metric, q) != nil) }
		value, unit, _ := strings.Cut(marked(0.95), space)
		add(label, value, unit, "p50"+space+marked(0.5)+" · p99"+space+marked(0.99))
	}
	quantiles("TTFT p95", "ttft", &all.Latency.TTFT, brief(m, "no streams were requested"))
	quantiles("ITL p95", "itl", &all.Latency.ITL, brief(m, "no streams were requested"))
	quantiles("End-to-end p95", "e2e", &all.Latency.E2E, brief(m, ""))

	t := all.All
	switch {
	case t.Succeeded == 0:
		sub = "no request succeeded"
	case !priced(t):
		sub = "no price is known for the models"
	case t.CostUnknown > 0:
		sub = "plus " + human.Plural(int(t.CostUnknown), "answer") + " without a price"
	default:
		sub = human.Money(h.CostMicroUSD*1000/int64(t.Succeeded)) + " per 1,000 answers"
	}
	add("Cost", known(priced(t), human.Money(h.CostMicroUSD)), "", sub)

	sub = "no request succeeded"
	value := human.Unknown
	switch {
	case t.Succeeded > 0 && t.UsageUnknown == t.Succeeded:
		sub = "the platform reported no usage"
	case t.PromptTokens > 0 && t.CachedReported == 0:
		sub = "the platform does not say"
	case t.PromptTokens > 0:
		value, sub = human.Percent(float64(t.CachedTokens)/float64(t.PromptTokens)), "of "+human.Short(t.PromptTokens)+" prompt tokens"
	}
	add("Cached", value, "", sub)
}

// marked is a percentile, if it is known, with a question mark if it is not
// firm and an exclamation mark if this tool is a notable part of it.
func marked(h *stats.Histogram, q float64, ours bool) string {
	d, known := h.Known(q)
	if !known {
		return human.Unknown
	}
	s := latency(d)
	if ours {
		return s + "!"
	}
	if h.Count() < verdict.SamplesWanted(q) {
		s += "?"
	}
	return s
}

// judgement is what the generator found about itself; nil if nothing.
func judgement(b *export.Bundle) *health.Judgement {
	if b.Generator == nil {
		return nil
	}
	return &b.Generator.Judgement
}

// brief says in a tile's few words why there is no latency.
func brief(t stats.Totals, streams string) string {
	switch {
	case t.Requests == 0:
		return "no request was measured"
	case t.Streams == 0 && streams != "":
		return streams
	default:
		return "no request succeeded"
	}
}

func (p *page) addMeta(b *export.Bundle, at moments) {
	add := func(name string, values ...string) {
		values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		if len(values) == 0 {
			values = []string{human.Unknown}
		}
		p.Meta = append(p.Meta, fact{name, values})
	}
	r := b.Run
	add("Run", r.ID)
	add("Scenario", r.Scenario, prefixed("sha256 ", r.ScenarioSHA256))
	if len(r.Labels) > 0 {
		var labels []string
		for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
			labels = append(labels, k+" = "+r.Labels[k])
		}
		add("Labels", labels...)
	}
	add("Seed", strconv.FormatUint(r.Seed, 10))
	if r.Target.Embedded {
		add("Target", "the simulated platform of this tool", r.Target.RouterURL)
	} else {
		add("Target", r.Target.RouterURL, prefixed("User/Org Service ", r.Target.UserOrgURL))
	}
	if !r.Started.IsZero() {
		add("Started", r.Started.Format("2006-01-02 15:04:05 -07:00"))
	}
	if r.Duration > 0 {
		add("Lasted", span(r.Duration), span(r.MeasuredDuration)+" of it measured")
	}
	add("Stopped", cmp.Or(b.Stop.Reason, human.Unknown), b.Stop.Detail)
	if len(b.Throttled) > 0 {
		var lines []string
		for _, t := range b.Throttled {
			lines = append(lines, fmt.Sprintf("%s by limits.%s, for %s together and %s at most; send lag and latency count it",
				human.Plural(int(t.Requests), "request"), t.Limit, span(t.Total), span(t.Longest)))
		}
		add("Held back by us", lines...)
	}
	if b.Generator != nil && b.Generator.Observed != nil {
		add("Load generator", generatorFacts(b)...)
	}
	if words := statistics(b); len(words) > 0 {
		add("Statistics", words...)
	}
	if r.Workers > 0 {
		lost, replaced := r.Losses()
		add("Workers", slices.Concat([]string{workers(&r)}, lost, replaced)...)
	}
	if bs := b.Bootstrap; bs == nil {
		add("Bootstrap", "none: the users brought their own keys")
	} else {
		lines := []string{fmt.Sprintf("%s, %s and %s in %s",
			human.Plural(bs.Orgs, "organization"), human.Plural(bs.Users, "user"), human.Plural(bs.Keys, "key"), span(bs.Duration))}
		if bs.Retries > 0 {
			lines = append(lines, human.Plural(bs.Retries, "call")+" tried again")
		}
		add("Bootstrap", append(lines, bs.Notes...)...)
	}
	if c := b.Cleanup; c == nil {
		add("Cleanup", "not recorded")
	} else {
		lines := []string{c.Status}
		for _, part := range []struct {
			n          int
			noun, done string
		}{
			{c.DeletedOrgs, "organization", "deleted"}, {c.DeletedUsers, "user", "deleted"}, {c.DeletedKeys, "key", "deleted"},
			{c.RevokedKeys, "key", "revoked"}, {c.Suspended, "account", "suspended, since the platform cannot delete them"},
		} {
			if part.n > 0 {
				lines = append(lines, human.Plural(part.n, part.noun)+" "+part.done)
			}
		}
		if c.Remaining > 0 {
			lines = append(lines, human.Plural(c.Remaining, "tenant")+" still usable on the platform; finish with: loadtest cleanup --run "+r.ID)
		}
		add("Cleanup", append(lines, c.Notes...)...)
	}
	t := b.Tool
	add("Tool", "loadtest "+cmp.Or(t.Version, "of unknown version"), prefixed("commit ", t.Commit))
	if t.Go != "" {
		add("Made with", t.Go+" on "+t.OS+"/"+t.Arch, human.Plural(t.CPUs, "CPU"))
	}
}

// statistics say what was found of the numbers as such.
func statistics(b *export.Bundle) (words []string) {
	q := b.Quality
	if q == nil {
		return nil
	}
	if c := q.Concurrency; c != nil {
		words = append(words, fmt.Sprintf("%s requests under way on average as seen, %s by Little's law", significant(c.Seen), significant(c.Implied)))
	}
	if s := q.Steady; s != nil && s.Settled {
		words = append(words, fmt.Sprintf("phase %s was steady from %s after its beginning", s.Phase, span(time.Duration(s.From)*s.Interval)))
	}
	return words
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// definitions are short; docs/load-testing/measurement.md has the formulas.
var definitions = []export.Finding{
	{Title: "Measured", Detail: "Requests outside warm-up and cool-down. Latencies, rates and the verdict are about these; cost, tokens and totals are about all."},
	{Title: "End-to-end (E2E)", Detail: "From the moment a request was meant to leave to its complete answer, so that waiting inside this tool counts. Successes only."},
	{Title: "TTFT", Detail: "Time to first token: from the moment a request was meant to leave to the first chunk with content. Streams only."},
	{Title: "ITL", Detail: "Inter-token latency: the time between one content chunk and the next, one value for every gap, so that a stall is not averaged away."},
	{Title: "TPOT", Detail: "Time per output token of a request: (last − first chunk) / (tokens − tokens in the first chunk), with the token count the platform reports."},
	{Title: "Percentiles", Detail: "Nearest rank, from histograms that are merged before a percentile is taken; off by at most 0.4%. In a threshold a failed request counts as infinitely late."},
	{Title: "Confidence", Detail: "The true percentile lies between the two durations with 95% certainty, whatever the distribution (ranks of a binomial), if requests do not depend on one another. A percentile from fewer values than such an interval takes is not shown: 6 for p50, 72 for p95, 368 for p99."},
	{Title: "Generator-limited", Detail: "This tool itself may have added more than a tenth, and more than 1 ms, to a percentile, by sending or reading late. Such a percentile has an exclamation mark; the verdict says what was short."},
	{Title: "Requests", Detail: "One attempt on the wire; a retry is a request of its own. Requests/s is measured requests over the measured time."},
	{Title: "Goodput", Detail: "Successes that kept every objective of the scenario, per second of the measured time. Without objectives every success is good."},
	{Title: "Error rate", Detail: "(Refused + failed) / answered. Refused is the platform saying no on purpose: 402, 403, 429 or 503. Requests given up when the run ended are not answered."},
	{Title: "Availability", Detail: "1 − failed / answered: a refusal is an answer."},
	{Title: "Tokens", Detail: "As the platform's usage reports them, never counted from chunks. Cached is the part of the prompt tokens served from a prefix cache."},
	{Title: "Cost", Detail: "Tokens times the scenario's prices, in whole millionths of a dollar. An answer without a price is left out and counted."},
	{Title: "Send lag", Detail: "How late requests left this tool, compared with their schedule. If it is large, the load generator was the bottleneck."},
	{Title: "A dash (–)", Detail: "Not known or not measured. It is never zero."},
}
