package live

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/record"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// The narrowest widths at which a frame shows more.
const (
	withWholeRun  = 72  // the whole run's percentiles beside the recent ones
	withSparkline = 110 // and how each p95 went
)

// page is what a frame is drawn from, beside the trail.
type page struct {
	human.Ink
	title string
	// interrupts is how often Ctrl-C was pressed; keys whether it can be.
	interrupts    int
	keys          bool
	width, height int
}

// draw returns the frame: at most height-1 lines of at most width columns.
// The most important lines come first, since the last go when there is no room.
func (p page) draw(t *trail) string {
	s, r := t.now(), t.recent()
	lines := p.head(s)
	if s.Totals.Requests > 0 || s.Stage == Running {
		lines = append(lines, "")
		lines = append(lines, p.load(t, s, r)...)
		lines = append(lines, "")
		lines = append(lines, p.latency(t, s, r)...)
		lines = append(lines, "")
		lines = append(lines, p.errors(s, r)...)
	}
	switch {
	case !p.keys:
	case p.interrupts == 0:
		lines = append(lines, "", p.Dim("Ctrl-C stops the run and cleans up"))
	default:
		// What to do next must be seen even where little fits.
		lines = slices.Insert(lines, 1, p.Warn("stopping; Ctrl-C again stops at once"))
	}
	if room := p.height - 1; p.height > 0 && len(lines) > room {
		lines = lines[:max(1, room)]
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(human.Cut(l, p.width), " ")
	}
	return strings.Join(lines, "\n")
}

// spread writes left and right at the ends of a line, right only if it fits.
func (p page) spread(left, right string) string {
	gap := p.width - human.Width(left) - human.Width(right)
	if gap < 2 {
		return left
	}
	return left + strings.Repeat(" ", gap) + right
}

// head says what is going on and how far it is.
func (p page) head(s Snapshot) []string {
	what := human.Clean(s.Stage)
	if s.Stage == Running && s.Phase != "" {
		what = human.Clean(s.Phase)
		if s.Phases > 1 {
			what += fmt.Sprintf(" %d/%d", s.PhaseIndex+1, s.Phases)
		}
	}
	clock := human.Clock(s.Elapsed)
	if s.Total > 0 {
		clock += " of " + human.Clock(s.Total)
	}
	title := p.Bold(human.Cut(human.Clean(p.title), p.width/2))
	if title != "" {
		title += "  "
	}
	lines := []string{p.spread(title+p.Accent(what), clock)}
	if s.Total <= 0 {
		return lines
	}
	done := min(1, max(0, float64(s.Elapsed)/float64(s.Total)))
	after := fmt.Sprintf(" %3.0f%%", math.Floor(done*100))
	if l := left(s); l != "" {
		after += human.Right(l+" left", 12)
	}
	return append(lines, p.Bar(done, p.width-human.Width(after))+after)
}

func (p page) load(t *trail, s Snapshot, r recent) []string {
	label := func(name string) string { return p.Dim(human.Left(name, 10)) }
	row := label("req/s") + human.Left(human.Rate(r.requests), 8)
	total := human.Count(s.Totals.Requests) + " requests"
	if room := p.width - human.Width(row) - human.Width(total) - 2; room >= 8 {
		row += p.Accent(human.Sparkline(tail(t.requests, room)))
	}
	requests := p.spread(row, p.Dim(total))

	users := label("users") + strconv.Itoa(s.Users)
	if s.TargetUsers > 0 {
		users += fmt.Sprintf(" of %d", s.TargetUsers)
	}
	if s.Open != nil {
		users = label("in flight") + human.Count(uint64(max(0, s.Users))) + p.Dim("  at ") + human.Rate(s.Open.Rate) + p.Dim(" arrivals/s")
		if n := s.Open.Dropped; n > 0 {
			users = p.spread(users, p.Warn(fmt.Sprintf("%s of %s arrivals dropped", human.Count(n), human.Count(s.Open.Arrivals))))
		}
	}
	tokens := label("tokens/s") + human.Rate(r.tokens)

	cost := label("cost") + spent(s)
	if s.CostLimitMicroUSD > 0 {
		used := float64(s.Totals.CostMicroUSD) / float64(s.CostLimitMicroUSD)
		after := "  " + human.Percent(used)
		if used >= 0.8 {
			after = p.Warn(after)
		}
		if room := min(40, p.width-human.Width(cost)-2-human.Width(after)); room >= 6 {
			cost += "  " + p.Bar(used, room)
		}
		cost += after
	}
	return []string{users, requests, tokens, cost}
}

// latency is a table of percentiles. A column says what it covers; a
// percentile that so few values cannot support is unknown.
func (p page) latency(t *trail, s Snapshot, r recent) []string {
	quantile := func(h *stats.Histogram, q float64) string {
		if float64(h.Count())*(1-q) < 1 {
			return human.Right(human.Unknown, 8)
		}
		return human.Right(human.Duration(h.Quantile(q)), 8)
	}
	block := func(h *stats.Histogram) string {
		return quantile(h, 0.5) + quantile(h, 0.95) + quantile(h, 0.99) + p.Dim(human.Right(human.Short(h.Count()), 7))
	}
	heading := func() string {
		return p.Dim(human.Right("p50", 8) + human.Right("p95", 8) + human.Right("p99", 8) + human.Right("n", 7))
	}
	whole, lines := p.width >= withWholeRun, p.width >= withSparkline
	room := p.width - 6 - 2*31 - 4 - 3

	head := human.Left("", 6) + heading()
	rule := func(covers string) string {
		return "   " + covers + " " + strings.Repeat("─", 31-4-human.Width(covers))
	}
	over := human.Left("", 6) + rule("last "+human.Duration(recently))
	if whole {
		head += "   " + heading()
		over += "   " + rule("whole run")
	}
	if lines {
		over += "    p95 by the second"
	}
	out := []string{p.Dim(over), head}
	for _, row := range []struct {
		name        string
		recent, all *stats.Histogram
		history     []float64
	}{{"TTFT", r.ttft, &s.Latency.TTFT, t.ttft}, {"e2e", r.e2e, &s.Latency.E2E, t.e2e}} {
		l := p.Dim(human.Left(row.name, 6)) + block(row.recent)
		if whole {
			l += "   " + block(row.all)
		}
		if lines {
			l += "    " + p.Accent(human.Sparkline(tail(row.history, room)))
		}
		out = append(out, l)
	}
	switch {
	case s.Latency.SendLag.Count() == 0 && s.Totals.Requests > 0:
		out = append(out, p.Dim("nothing measured yet: requests of a warm-up are not"))
	case !lines && whole:
		const name = "e2e p95 by the second  "
		out = append(out, p.Dim(name)+p.Accent(human.Sparkline(tail(t.e2e, p.width-len(name)))))
	}
	return out
}

func (p page) errors(s Snapshot, r recent) []string {
	n := s.Totals.Refused + s.Totals.Failed
	head := p.Dim(human.Left("errors", 10)) + human.Percent(s.Totals.ErrorRate())
	if s.Totals.Answered() == 0 {
		head = p.Dim(human.Left("errors", 10)) + human.Unknown
	}
	if n > 0 {
		head = p.Dim(human.Left("errors", 10)) + p.Bad(human.Percent(s.Totals.ErrorRate())) +
			fmt.Sprintf("  %s of %s", human.Count(n), human.Count(s.Totals.Answered()))
		head = p.spread(head, p.Dim("last "+human.Duration(recently)+" ")+human.Percent(r.errors))
	}
	lines := []string{head}
	// As many kinds as are useful at a glance.
	const most = 4
	kinds := s.Errors[:min(len(s.Errors), most)]
	width := 0
	for _, e := range kinds {
		width = max(width, human.Width(errorName(e.Kind, e.Status)))
	}
	for _, e := range kinds {
		lines = append(lines, human.Right(human.Short(e.Count), 8)+"  "+p.Bad(human.Left(errorName(e.Kind, e.Status), width))+
			"  "+p.Dim(human.Clean(e.Example)))
	}
	if more := len(s.Errors) - len(kinds); more > 0 {
		lines = append(lines, p.Dim(human.Left("", 10)+human.Plural(more, "more kind")))
	}
	return lines
}

func errorName(k record.Kind, status int) string {
	if status == 0 {
		return string(k)
	}
	return fmt.Sprintf("%s %d", k, status)
}

func tail(values []float64, n int) []float64 { return values[max(0, len(values)-max(0, n)):] }
