package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/health"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// TerminalOptions says what the summary is written on.
type TerminalOptions struct {
	// Width is the number of columns, 0 for 80. From 60 on nothing is wrapped
	// by the terminal; from 100 on there is more to see.
	Width int
	// Color allows escape sequences; nothing is said by colour alone.
	Color bool
	// CostLimitMicroUSD is what the run was allowed to spend, 0 if anything.
	CostLimitMicroUSD int64
	// Files are where the results were written.
	Files []string
	// CleanupCommand is what to type if something is left on the platform,
	// "" for the command without options.
	CleanupCommand string
}

// The summary is for ten seconds: longer lists are cut, and say so.
const (
	terminalOrgs   = 8
	terminalSlices = 16
	terminalErrors = 5
	terminalNotes  = 8
	terminalChecks = 12
)

// Terminal writes the summary of a run for the person who waited for it: the
// verdict and why, then the evidence, then what is left to do. Unknown is "–".
// The error is that of w.
func Terminal(w io.Writer, b *export.Bundle, o TerminalOptions) error {
	if o.Width <= 0 {
		o.Width = 80
	}
	t := &terminal{Ink: human.Ink{Color: o.Color}, b: b, o: o, summary: b.Summary}
	if t.summary == nil {
		t.summary = stats.NewSummary()
	}
	t.overall = t.summary.Overall()
	t.verdict()
	t.thresholds()
	t.search()
	t.load()
	if b.Search == nil { // over all steps, latencies say nothing
		t.latencies()
	}
	t.generator()
	t.orgs()
	t.slices("Test types", stats.ByTestType, func(k stats.Key) string { return k.TestType })
	t.slices("Endpoints", func(k stats.Key) stats.Key { return stats.Key{Endpoint: k.Endpoint} }, func(k stats.Key) string { return k.Endpoint })
	t.checks()
	t.errors()
	t.isolation()
	t.keys()
	t.chaos()
	t.notes("Findings about the platform", t.findings())
	t.notes("Warnings", warnings(b))
	t.end()
	_, err := io.WriteString(w, t.out.String())
	return err
}

// terminal is a summary being written.
type terminal struct {
	human.Ink
	b       *export.Bundle
	o       TerminalOptions
	summary *stats.Summary
	overall *stats.Group
	out     strings.Builder
}

func (t *terminal) wide() bool { return t.o.Width >= 100 }

// line writes one line, cut to the width as a last resort.
func (t *terminal) line(s string) {
	t.out.WriteString(strings.TrimRight(human.Cut(s, t.o.Width), " ") + "\n")
}

// section starts a part: an empty line, a title and perhaps a remark.
func (t *terminal) section(title, remark string) {
	t.out.WriteByte('\n')
	s := t.Bold(title)
	if remark != "" {
		s += "  " + t.Dim(human.Clean(remark))
	}
	t.line(s)
}

// text writes s in as many lines as it needs, all but the first indented
// under the end of lead.
func (t *terminal) text(lead, s string, ink func(string) string) {
	indent := human.Width(lead)
	for i, l := range human.Wrap(s, max(20, t.o.Width-indent)) {
		if i > 0 {
			lead = strings.Repeat(" ", indent)
		}
		t.line(lead + ink(l))
	}
}

func asIs(s string) string { return s }

func (t *terminal) verdict() {
	marks := map[verdict.Status]string{
		verdict.Passed:      t.Good("✓ " + t.Bold("PASSED")),
		verdict.Failed:      t.Bad("✗ " + t.Bold("FAILED")),
		verdict.Interrupted: t.Warn("■ " + t.Bold("INTERRUPTED")),
		verdict.Broken:      t.Bad("‼ " + t.Bold("BROKEN")),
	}
	mark, known := marks[t.b.Verdict.Status]
	if !known {
		mark = t.Warn("? " + t.Bold("NO VERDICT"))
	}
	head := mark + "  " + human.Clean(t.b.Run.Scenario)
	id := human.Clean(t.b.Run.ID)
	if gap := t.o.Width - human.Width(head) - human.Width(id); gap >= 2 {
		head += strings.Repeat(" ", gap) + t.Dim(id)
	}
	t.line(head)
	for _, r := range t.b.Verdict.Reasons {
		ink := asIs
		if t.b.Verdict.GeneratorLimited && strings.HasPrefix(r, "generator-limited") || strings.HasPrefix(r, "incomplete: ") {
			ink = t.Warn
		}
		t.text("  ", r, ink)
	}
	stop := cmp.Or(t.b.Stop.Reason, human.Unknown)
	if t.b.Stop.Detail != "" && !slices.Contains(t.b.Verdict.Reasons, t.b.Stop.Detail) { // long, if it is there already
		stop += ": " + t.b.Stop.Detail
	}
	ran := "ended after " + human.Duration(t.b.Run.Duration)
	if t.b.Run.Duration <= 0 {
		ran = "no load was made"
	}
	if m := t.b.Run.MeasuredDuration; m != t.b.Run.Duration {
		ran += " (" + human.Duration(m) + " measured)"
	}
	t.text("  ", ran+", "+stop, t.Dim)
	target := t.b.Run.Target.RouterURL
	if t.b.Run.Target.Embedded {
		target = "the simulated platform"
	}
	facts := "against " + cmp.Or(target, human.Unknown) + fmt.Sprintf(", seed %d", t.b.Run.Seed)
	if t.b.Run.Workers > 1 {
		facts += ", " + workers(&t.b.Run)
	}
	t.text("  ", facts, t.Dim)
}

func (t *terminal) thresholds() {
	checks := t.b.Verdict.Checks
	if len(checks) == 0 {
		return
	}
	t.section("Thresholds", "")
	var name, observed, limit int
	for _, c := range checks {
		name = max(name, human.Width(c.Name))
		observed = max(observed, human.Width(c.Observed))
		limit = max(limit, human.Width(c.Limit))
	}
	for _, c := range checks {
		mark, ink := t.Good("✓"), asIs
		if !c.Passed {
			mark, ink = t.Bad("✗"), t.Bad
		}
		row := "  " + mark + " " + human.Left(c.Name, name) + "   " + ink(human.Right(c.Observed, observed)) + "   " + human.Left(c.Limit, limit)
		switch {
		case c.Doubt == "":
			t.line(row + "   " + t.Dim(human.Plural(int(c.Samples), "sample")))
		case human.Width(row+c.Doubt)+3 <= t.o.Width:
			t.line(row + "   " + t.Warn(c.Doubt))
		default:
			t.line(row)
			t.text("    ", c.Doubt, t.Warn)
		}
	}
}

// load writes the numbers people ask for first, as aligned cells.
func (t *terminal) load() {
	h, m := t.b.Headline, t.overall.Measured
	known := func(ok bool, s string) string {
		if !ok {
			return human.Unknown
		}
		return s
	}
	ran := m.Requests > 0 && t.b.Run.MeasuredDuration > 0
	cells := [][2]string{
		{"requests", human.Count(h.Requests)},
		{"req/s", known(ran, human.Rate(h.RequestsPerSecond))},
		{"goodput/s", known(ran, human.Rate(h.GoodputPerSecond))},
		{"users", known(h.MaxUsers > 0 || h.Requests == 0, human.Count(uint64(max(0, h.MaxUsers))))},
		{"errors", known(m.Answered() > 0, human.Percent(h.ErrorRate))},
		{"tokens/s", known(ran && m.UsageUnknown < m.Succeeded, human.Rate(h.TokensPerSecond))},
	}
	if export.SumArrivals(t.b.Phases) != nil { // open load, measured or not
		cells[3][0] = "in flight"
	}
	remark := ""
	if all := t.overall.All.Requests; all > m.Requests {
		checks := ""
		if len(t.b.Isolation) > 0 {
			checks = "tests of isolation, "
		}
		remark = "not in the rates: " + human.Count(all-m.Requests) + " of pre-flight, " + checks + "warm-up and cool-down"
	}
	t.section("Load", remark)
	columns := 3
	if t.wide() {
		columns = len(cells)
	}
	for row := range slices.Chunk(cells, columns) {
		s := ""
		for _, c := range row {
			s += "  " + t.Dim(human.Left(c[0], 9)) + human.Right(c[1], 8)
		}
		t.line(s)
	}
	if u := h.Users; u != nil {
		ink := t.Dim
		if u.Delivered < 0.95*u.Intended {
			ink = t.Warn
		}
		t.text("  ", "closed load: "+human.Rate(u.Delivered)+" users on average, of "+human.Rate(u.Intended)+" intended", ink)
	}
	if a := h.Arrivals; a != nil {
		ink, dropped := t.Dim, "none dropped"
		if a.Dropped > 0 {
			ink, dropped = t.Warn, human.Count(a.Dropped)+" of "+human.Count(a.Intended)+" dropped"
		}
		t.text("  ", "open load: "+human.Rate(a.DeliveredPerSecond)+" arrivals/s delivered of "+human.Rate(a.IntendedPerSecond)+" intended, "+dropped, ink)
	}
}

func (t *terminal) latencies() {
	if h := t.b.Headline; h.TTFT == nil && h.ITL == nil && h.E2E == nil && h.TPOT == nil {
		return // nothing succeeded
	}
	type column struct {
		title string
		q     float64 // 0 for the mean, whose firmness is not judged
		of    func(*export.Quantiles) time.Duration
	}
	columns := []column{
		{"p50", 0.50, func(q *export.Quantiles) time.Duration { return q.P50 }},
		{"p95", 0.95, func(q *export.Quantiles) time.Duration { return q.P95 }},
		{"p99", 0.99, func(q *export.Quantiles) time.Duration { return q.P99 }},
		{"max", 0, func(q *export.Quantiles) time.Duration { return q.Max }},
	}
	if t.wide() {
		columns = slices.Insert(columns, 1, column{"p90", 0.90, func(q *export.Quantiles) time.Duration { return q.P90 }})
		columns = slices.Insert(columns, 0, column{"min", 0, func(q *export.Quantiles) time.Duration { return q.Min }},
			column{"mean", 0, func(q *export.Quantiles) time.Duration { return q.Mean }})
	}
	head := t.Bold("Latency")
	for _, c := range columns {
		head += t.Dim(human.Right(c.title, 9)) + " "
	}
	t.out.WriteByte('\n')
	t.line(head + t.Dim(human.Right("samples", 10)))
	weak, ours, unknown := false, false, false
	for _, row := range []struct {
		name string
		q    *export.Quantiles
	}{{"TTFT", t.b.Headline.TTFT}, {"ITL", t.b.Headline.ITL}, {"e2e", t.b.Headline.E2E}, {"TPOT", t.b.Headline.TPOT}} {
		var judged *health.Judgement
		if t.b.Generator != nil {
			judged = &t.b.Generator.Judgement
		}
		s, samples := "  "+human.Left(row.name, 5), human.Unknown
		for _, c := range columns {
			value, mark := human.Unknown, " "
			if row.q != nil {
				samples = human.Count(row.q.Count)
				if c.q > 0 && row.q.Count < stats.Enough(c.q) {
					s += human.Right(value, 9) + mark
					unknown = true
					continue
				}
				value = human.Duration(c.of(row.q))
				switch {
				case judged.Marked(strings.ToLower(row.name), c.q) != nil:
					mark, ours = t.Warn("!"), true
				case row.q.Count < verdict.SamplesWanted(c.q):
					mark, weak = t.Warn("?"), true
				}
			}
			s += human.Right(value, 9) + mark
		}
		t.line(s + human.Right(samples, 10))
	}
	if m := t.overall.Measured; m.Refused+m.Failed > 0 && len(t.b.Verdict.Checks) > 0 {
		t.text("  ", "of successes; the thresholds count a failed request as infinitely late", t.Dim)
	}
	t.confidence()
	if slow := t.summary.Slowest; len(slow) > 0 && !slow[0].TraceID.IsZero() {
		t.line("  " + t.Dim("slowest "+human.Duration(slow[0].E2E)+", trace "+slow[0].TraceID.String()))
	}
	if ours {
		t.text("  ", fmt.Sprintf("! this tool itself may be more than %.0f%% of it: see the verdict", 100*health.Share), t.Warn)
	}
	if unknown {
		t.text("  ", fmt.Sprintf("– from too few samples to be known: p50 takes %d, p95 %d, p99 %d",
			stats.Enough(0.50), stats.Enough(0.95), stats.Enough(0.99)), t.Dim)
	}
	if weak {
		t.text("  ", fmt.Sprintf("? from too few samples to be firm: p95 wants about %d, p99 about %d",
			verdict.SamplesWanted(0.95), verdict.SamplesWanted(0.99)), t.Dim)
	}
}

// anyDropped reports whether an organization had arrivals that could not start.
func anyDropped(orgs []export.Org) bool {
	return slices.ContainsFunc(orgs, func(o export.Org) bool { return o.Arrivals != nil && o.Arrivals.Dropped > 0 })
}

// confidence writes how far the percentiles of whole requests can be trusted.
func (t *terminal) confidence() {
	for _, row := range []struct {
		name string
		q    *export.Quantiles
	}{{"TTFT", t.b.Headline.TTFT}, {"e2e", t.b.Headline.E2E}} {
		if row.q == nil {
			continue
		}
		var known []string
		for _, p := range []struct {
			name string
			ci   *export.Range
		}{{"p50", row.q.P50CI}, {"p95", row.q.P95CI}, {"p99", row.q.P99CI}} {
			if p.ci != nil {
				known = append(known, p.name+" "+human.Duration(p.ci[0])+" to "+human.Duration(p.ci[1]))
			}
		}
		if len(known) > 0 {
			t.text("  ", "95% sure: "+row.name+" "+strings.Join(known, ", "), t.Dim)
		}
	}
}

// generator writes how this tool itself was.
func (t *terminal) generator() {
	if g := t.b.Generator; g == nil || g.Observed == nil {
		return
	}
	t.section("Generator", "")
	for _, line := range generatorFacts(t.b) {
		t.text("  ", line, t.Dim)
	}
}

// generatorFacts say how this tool itself was, in lines that are always the same.
func generatorFacts(b *export.Bundle) []string {
	o := b.Generator.Observed
	work := human.Rate(o.Cores()) + " of " + human.Rate(o.CPUs) + " CPUs used"
	if t := o.Throttled; t != nil && t.Periods > 0 {
		work += ", quota used up in " + human.Percent(float64(t.Throttled)/float64(t.Periods)) + " of its periods"
	}
	if q := b.Quality; q != nil && q.Concurrency != nil {
		work += ", " + human.Rate(q.Concurrency.Seen) + " requests under way on average"
	}
	late := func(h *stats.Histogram) string {
		if d, known := h.Known(0.99); known {
			return human.Duration(d)
		}
		return human.Unknown
	}
	sending := human.Unknown
	if lag := b.Headline.SendLag; lag != nil && lag.P99 > 0 {
		sending = human.Duration(lag.P99)
	}
	facts := []string{work, "late, p99: sending " + sending + ", reading " + late(&o.ReadLag) +
		", scheduler " + late(&o.Scheduling) + ", GC pauses " + late(&o.Pauses)}
	var rooms []string
	room := func(name string, r *health.Room) {
		if r != nil {
			rooms = append(rooms, human.Count(r.Used)+" of "+human.Count(r.Limit)+" "+name)
		}
	}
	room("descriptors", o.Descriptors)
	room("local ports", o.Ports)
	if len(rooms) > 0 {
		facts = append(facts, strings.Join(rooms, ", ")+" in use at most")
	}
	return facts
}

// orgs compares the tenants, if there are several: all in order, or, if they
// are many, those in most trouble.
func (t *terminal) orgs() {
	groups := t.summary.Rollup(stats.ByOrg)
	if len(groups) < 2 {
		return
	}
	known := map[string]export.Org{}
	for _, o := range t.b.Orgs {
		known[o.Name] = o
	}
	byIndex := func(a, b *stats.Group) int {
		return cmp.Or(cmp.Compare(known[a.Key.Org].Index, known[b.Key.Org].Index), cmp.Compare(a.Key.Org, b.Key.Org))
	}
	remark := ""
	slices.SortStableFunc(groups, byIndex)
	if all := len(groups); all > terminalOrgs {
		slices.SortStableFunc(groups, func(a, b *stats.Group) int {
			return cmp.Or(cmp.Compare(b.Measured.ErrorRate(), a.Measured.ErrorRate()),
				cmp.Compare(b.Latency.E2E.Quantile(0.95), a.Latency.E2E.Quantile(0.95)))
		})
		groups = groups[:terminalOrgs]
		remark = fmt.Sprintf("the %d of %s with most errors, then slowest", terminalOrgs, human.Count(uint64(all)))
	}
	t.section("Organizations", remark)
	budgets := slices.ContainsFunc(t.b.Orgs, func(o export.Org) bool { return o.BudgetMicroUSD > 0 })
	type column struct {
		title string
		width int
		of    func(*stats.Group) string
	}
	p95 := func(h *stats.Histogram) string {
		d, known := h.Known(0.95)
		if !known {
			return human.Unknown
		}
		return human.Duration(d)
	}
	columns := []column{
		{"requests", 10, func(g *stats.Group) string { return human.Short(g.All.Requests) }},
		{"errors", 8, func(g *stats.Group) string {
			if g.Measured.Answered() == 0 {
				return human.Unknown
			}
			return human.Percent(g.Measured.ErrorRate())
		}},
		{"cost", 12, func(g *stats.Group) string { return spent(g.All) }},
		{"ttft p95", 10, func(g *stats.Group) string { return p95(&g.Latency.TTFT) }},
		{"e2e p95", 9, func(g *stats.Group) string { return p95(&g.Latency.E2E) }},
	}
	if budgets {
		columns = slices.Insert(columns, 3, column{"budget", 9, func(g *stats.Group) string {
			if m := known[g.Key.Org].BudgetMicroUSD; m > 0 {
				return human.Money(m)
			}
			return human.Unknown
		}})
	}
	if anyDropped(t.b.Orgs) {
		columns = slices.Insert(columns, 1, column{"dropped", 9, func(g *stats.Group) string {
			if a := known[g.Key.Org].Arrivals; a != nil {
				return human.Short(a.Dropped)
			}
			return human.Unknown
		}})
	}
	if t.wide() {
		columns = slices.Insert(columns, 0, column{"users", 7, func(g *stats.Group) string {
			if o, ok := known[g.Key.Org]; ok {
				return human.Count(uint64(max(0, o.Users)))
			}
			return human.Unknown
		}})
		columns = slices.Insert(columns, 2, column{"req/s", 8, func(g *stats.Group) string {
			if t.b.Run.MeasuredDuration <= 0 {
				return human.Unknown
			}
			return human.Rate(float64(g.Measured.Requests) / t.b.Run.MeasuredDuration.Seconds())
		}})
	}
	name := 0
	for _, g := range groups {
		name = max(name, human.Width(human.Clean(g.Key.Org)))
	}
	// Where it is narrow the columns go first, from the right, but the name
	// keeps at most half of the room.
	room := t.o.Width - 2
	for _, c := range columns {
		room -= c.width
	}
	for room < min(name, t.o.Width/2) && len(columns) > 2 {
		last := len(columns) - 1
		room += columns[last].width
		columns = columns[:last]
	}
	name = max(8, min(name, room))
	head := "  " + human.Left("", name)
	for _, c := range columns {
		head += human.Right(c.title, c.width)
	}
	t.line(t.Dim(head))
	for _, g := range groups {
		s := "  " + human.Left(cmp.Or(human.Clean(g.Key.Org), human.Unknown), name)
		for _, c := range columns {
			cell := human.Right(c.of(g), c.width)
			if c.title == "errors" && g.Measured.ErrorRate() > 0 {
				cell = t.Warn(cell)
			}
			s += cell
		}
		t.line(s)
	}
}

// slices compares kinds of request, if there are several.
func (t *terminal) slices(title string, by func(stats.Key) stats.Key, name func(stats.Key) string) {
	var groups []*stats.Group
	width := 8
	for _, g := range t.summary.Rollup(by) {
		// What was sent before the load, to see whether all is well, is of no kind.
		if n := human.Clean(name(g.Key)); n != "" && g.All.Requests > 0 {
			groups = append(groups, g)
			width = max(width, human.Width(n))
		}
	}
	if len(groups) < 2 {
		return
	}
	remark := ""
	if all := len(groups); all > terminalSlices {
		slices.SortStableFunc(groups, func(a, b *stats.Group) int { return cmp.Compare(b.All.Requests, a.All.Requests) })
		groups = groups[:terminalSlices]
		remark = fmt.Sprintf("the %d of %d with most requests", terminalSlices, all)
	}
	t.section(title, remark)
	p95 := func(h *stats.Histogram) string {
		d, known := h.Known(0.95)
		if !known {
			return human.Unknown
		}
		return human.Duration(d)
	}
	width = min(width, max(8, t.o.Width-2-10-8-8-9-10-10))
	row := func(name, requests, share, errors, cached, ttft, e2e string) string {
		return "  " + human.Left(name, width) + human.Right(requests, 10) + human.Right(share, 8) + human.Right(errors, 8) + human.Right(cached, 9) + human.Right(ttft, 10) + human.Right(e2e, 10)
	}
	t.line(t.Dim(row("", "requests", "share", "errors", "cached", "ttft p95", "e2e p95")))
	for _, g := range groups {
		share, errors, cached := human.Unknown, human.Unknown, human.Unknown
		if all := t.overall.Measured.Requests; all > 0 {
			share = human.Percent(float64(g.Measured.Requests) / float64(all))
		}
		if g.Measured.Answered() > 0 {
			errors = human.Percent(g.Measured.ErrorRate())
		}
		if g.All.PromptTokens > 0 {
			cached = human.Percent(float64(g.All.CachedTokens) / float64(g.All.PromptTokens))
		}
		t.line(row(human.Clean(name(g.Key)), human.Short(g.All.Requests), share, errors, cached, p95(&g.Latency.TTFT), p95(&g.Latency.E2E)))
	}
}

// checks shows the scenario's checks of answers, the failed ones first, and
// the numbers that it takes from them.
func (t *terminal) checks() {
	type row struct {
		of string
		c  stats.CheckCount
	}
	var rows []row
	var values [][2]string
	for _, g := range t.summary.Rollup(stats.ByTestType) {
		of := human.Clean(g.Key.TestType)
		for _, c := range g.Checks {
			rows = append(rows, row{of, c})
		}
		for _, v := range g.Values {
			values = append(values, [2]string{of + ": " + human.Clean(v.Name), fmt.Sprintf("mean %s, %s to %s, of %s",
				plainNumber(v.Mean()), plainNumber(v.Min), plainNumber(v.Max), human.Count(v.Count))})
		}
	}
	if len(rows) > 0 {
		var failed uint64
		for _, r := range rows {
			failed += r.c.Failed
		}
		t.section("Checks", human.Count(failed)+" failed; an answer that fails one is an error, and in no latency")
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.c.Failed, a.c.Failed) })
		for i, r := range rows {
			if i == terminalChecks {
				t.line("  " + t.Dim(human.Plural(len(rows)-i, "other check")+", all of them in the report"))
				break
			}
			mark, name := t.Good("✓")+human.Right(human.Short(r.c.Passed), 8), r.of+": "+human.Clean(r.c.Name)
			if r.c.Failed > 0 {
				mark = t.Bad("✗") + t.Bad(human.Right(human.Short(r.c.Failed), 8))
				name += fmt.Sprintf(" (failed %s of %s times: %s)", human.Count(r.c.Failed), human.Count(r.c.Passed+r.c.Failed), human.Clean(r.c.Example))
			}
			t.text("  "+mark+"  ", name, asIs)
		}
	}
	if len(values) > 0 {
		t.section("Numbers from answers", "")
		for _, v := range values[:min(len(values), terminalChecks)] {
			t.text("  ", v[0]+"   "+v[1], asIs)
		}
		if rest := len(values) - terminalChecks; rest > 0 {
			t.line("  " + t.Dim(human.Plural(rest, "other number")+", all of them in the report"))
		}
	}
}

// plainNumber writes a number of unknown unit.
func plainNumber(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

// spent writes a cost, "≥" in front if it misses answers without a price, and
// unknown if it misses all.
func spent(c stats.Totals) string {
	switch {
	case c.CostUnknown > 0 && c.CostUnknown == c.Succeeded && c.CostMicroUSD == 0:
		return human.Unknown
	case c.CostUnknown > 0:
		return "≥ " + human.Money(c.CostMicroUSD)
	}
	return human.Money(c.CostMicroUSD)
}

func (t *terminal) errors() {
	errs := t.overall.Errors
	if len(errs) == 0 {
		return
	}
	var n uint64
	for _, e := range errs {
		n += e.Count
	}
	remark := human.Count(n) + " of " + human.Count(t.overall.All.Requests) + " requests"
	if m := t.overall.Measured; m.Refused+m.Failed < n {
		remark += ", " + human.Count(m.Refused+m.Failed) + " measured"
	}
	if r := t.overall.All.Retried; r > 0 {
		noun := " retries"
		if r == 1 {
			noun = " retry"
		}
		remark += ", " + human.Count(r) + noun
	}
	t.section("Errors", remark)
	rest := errs[min(len(errs), terminalErrors):]
	errs = errs[:len(errs)-len(rest)]
	kind := 0
	for _, e := range errs {
		kind = max(kind, human.Width(errorName(e.Kind, e.Status)))
	}
	for _, e := range errs {
		s := human.Right(human.Short(e.Count), 7) + "  " + t.Bad(human.Left(errorName(e.Kind, e.Status), kind)) + "  "
		if t.wide() {
			s += t.Dim("first at "+human.Clock(e.FirstAt)) + "  "
		}
		t.line(s + human.Clean(e.Example))
	}
	if len(rest) > 0 {
		n = 0
		for _, e := range rest {
			n += e.Count
		}
		t.line(human.Right(human.Short(n), 7) + "  " + t.Dim("of "+human.Plural(len(rest), "other kind")))
	}
}

func errorName(k record.Kind, status int) string {
	if status == 0 {
		return string(k)
	}
	return fmt.Sprintf("%s %d", k, status)
}

func (t *terminal) findings() []string {
	out := make([]string, 0, len(t.b.Findings))
	for _, f := range t.b.Findings {
		if f.Detail == "" {
			out = append(out, f.Title)
		} else {
			out = append(out, f.Title+": "+f.Detail)
		}
	}
	return out
}

func (t *terminal) notes(title string, notes []string) {
	if len(notes) == 0 {
		return
	}
	t.section(title, "")
	for i, n := range notes {
		if i == terminalNotes {
			t.line("  " + t.Dim("… and "+human.Plural(len(notes)-i, "more note")))
			return
		}
		t.text("  "+t.Warn("!")+" ", n, asIs)
	}
}

// end says what the run cost, what is left on the platform, and where the
// results are.
func (t *terminal) end() {
	t.out.WriteByte('\n')
	label := func(s string) string { return t.Bold(human.Left(s, 9)) }

	cost := spent(t.overall.All)
	if l := t.o.CostLimitMicroUSD; l > 0 {
		cost += " of " + human.Money(l)
		if c := t.overall.All.CostMicroUSD; c <= l {
			cost += " allowed (" + human.Percent(float64(c)/float64(l)) + ")"
		} else {
			cost += " allowed: over the limit"
		}
	}
	if n := t.overall.All.CostUnknown; n > 0 {
		cost += ", " + human.Count(n) + " answers without a price"
	}
	t.text(label("Cost"), cost, asIs)
	// A command or a path is never cut or broken: it is there to be copied.
	copyable := func(lead, s string) { t.out.WriteString(lead + human.Clean(s) + "\n") }
	indent := strings.Repeat(" ", 9)
	if s, ink, todo := t.cleanup(); s != "" {
		t.text(label("Cleanup"), s, ink)
		if todo {
			copyable(indent, cmp.Or(t.o.CleanupCommand, "loadtest cleanup --run "+t.b.Run.ID))
		}
	}
	lead := label("Results")
	for _, f := range t.o.Files {
		copyable(lead, f)
		lead = indent
	}
}

// cleanup says what became of the tenants, how to write it, and whether there
// is something left to do about them.
func (t *terminal) cleanup() (text string, ink func(string) string, todo bool) {
	c := t.b.Cleanup
	if c == nil {
		if t.b.Bootstrap == nil {
			return "", asIs, false
		}
		return human.Unknown + " what was created may still be there; to remove it:", t.Warn, true
	}
	var done []string
	for _, part := range []struct {
		n    int
		what string
	}{{c.DeletedOrgs, "org"}, {c.DeletedUsers, "user"}, {c.DeletedKeys, "key"}} {
		if part.n > 0 {
			done = append(done, human.Plural(part.n, part.what))
		}
	}
	s := ""
	if len(done) > 0 {
		s = strings.Join(done, ", ") + " deleted"
	}
	if c.RevokedKeys > 0 {
		s = strings.TrimPrefix(s+", "+human.Plural(c.RevokedKeys, "key")+" revoked", ", ")
	}
	if c.Suspended > 0 {
		s = strings.TrimPrefix(s+fmt.Sprintf(", %s suspended (they cannot be deleted)", human.Count(uint64(c.Suspended))), ", ")
	}
	if s != "" && c.Duration > 0 {
		s += " in " + human.Duration(c.Duration)
	}
	ink = asIs
	for _, n := range c.Notes {
		if slices.ContainsFunc(t.b.Findings, func(f export.Finding) bool { return f.Detail == n }) {
			continue // told already
		}
		s = strings.TrimPrefix(s+"; "+n, "; ")
	}
	switch c.Status {
	case "done":
		s = cmp.Or(s, "nothing was left to delete")
	case "retained":
		s, ink, todo = "everything was kept, as the scenario asks; to remove it:", t.Warn, true
	case "incomplete":
		left := "nothing is left on the platform, as far as is known; to make sure:"
		if c.Remaining > 0 {
			left = human.Count(uint64(c.Remaining)) + " still usable on the platform; to finish:"
		}
		s, ink, todo = strings.TrimPrefix(s+"; "+left, "; "), t.Bad, true
	case "unneeded":
		s = cmp.Or(s, "nothing was created")
	}
	return s, ink, todo
}

// warnings are those about the run and about its statistics.
func warnings(b *export.Bundle) []string {
	if b.Quality == nil {
		return b.Warnings
	}
	return slices.Concat(b.Warnings, b.Quality.Doubts)
}
