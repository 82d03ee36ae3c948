package report

import (
	"fmt"
	"strconv"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/verdict"
)

// table is one table of the page. All are drawn by one template.
type table struct {
	ID, Caption string
	Columns     []column
	Rows        [][]cell // the first cell of a row names it
	Foot        [][]cell // stays at the bottom when the rows are sorted
	Note        string
	Empty       string // said instead when there are no rows
	Sortable    bool
	Headed      bool // a heading above says what the caption says
}

type column struct {
	Name    string
	Numeric bool
	Title   string // what the number is, on hovering
}

type cell struct {
	Text  string
	Sub   string // smaller, beneath
	Class string
	Sort  string // the value to sort by; empty sorts by Text
	Mark  string // a coloured dot: pass, fail
	Weak  string // why the value is not firm; empty if it is
	Ours  string // what this tool has to do with it; empty if little

	HasBar   bool
	Bar      string // percent of the column's largest
	BarClass string
}

func text(s string) cell {
	if s == "" {
		return nothing()
	}
	return cell{Text: s}
}

// nothing is the cell of what is not known. It sorts after everything.
func nothing() cell { return cell{Text: human.Unknown, Class: "num none"} }

// number is a numeric cell.
func number(s string, value float64) cell {
	return cell{Text: s, Class: "num", Sort: strconv.FormatFloat(value, 'g', -1, 64)}
}

func counted(n uint64) cell        { return number(human.Count(n), float64(n)) }
func timed(d time.Duration) cell   { return number(latency(d), float64(d)) }
func spanned(d time.Duration) cell { return number(span(d), float64(d)) }

// percentile is unknown of too few values, and marked if it is not firm.
func percentile(h *stats.Histogram, q float64) cell {
	d, known := h.Known(q)
	if !known {
		return nothing()
	}
	c := timed(d)
	if want := verdict.SamplesWanted(q); h.Count() < want {
		c.Weak = fmt.Sprintf("from %d samples; %s wants about %d", h.Count(), verdict.QuantileName(q), want)
	}
	return c
}

// ratio is a share; unknown of nothing.
func ratio(part, whole uint64) cell {
	if whole == 0 {
		return nothing()
	}
	r := float64(part) / float64(whole)
	return number(human.Percent(r), r)
}

// perSecond is a count as a rate; unknown without a duration.
func perSecond(n uint64, d time.Duration) cell {
	if d <= 0 {
		return nothing()
	}
	r := float64(n) / d.Seconds()
	return number(significant(r), r)
}

// errorRate is that of a set of requests; unknown if none was answered.
func errorRate(t stats.Totals) cell { return ratio(t.Refused+t.Failed, t.Answered()) }

// cost is what is known of the money spent; unknown if no success was priced.
func cost(t stats.Totals) cell {
	if !priced(t) {
		return nothing()
	}
	c := number(money(t.CostMicroUSD), float64(t.CostMicroUSD))
	if t.CostUnknown > 0 {
		c.Text = "≥ " + c.Text
	}
	return c
}

// priced reports whether the cost of any request is known.
func priced(t stats.Totals) bool { return t.Succeeded > t.CostUnknown || t.CostMicroUSD > 0 }

// tokens are a sum of tokens; unknown if no success came with usage.
func tokens(n uint64, t stats.Totals) cell {
	if t.Succeeded == t.UsageUnknown && n == 0 {
		return nothing()
	}
	return counted(n)
}

// cached is the share of the prompt tokens that came from the cache; unknown if
// the platform never spoke of it.
func cached(t stats.Totals) cell {
	if t.CachedReported == 0 {
		return nothing()
	}
	return ratio(t.CachedTokens, t.PromptTokens)
}

// withBar draws a bar of value against the column's largest.
func withBar(c cell, value, largest float64, class string) cell {
	if largest > 0 {
		c.HasBar, c.BarClass = true, class
		c.Bar = strconv.FormatFloat(100*value/largest, 'f', 2, 64)
	}
	return c
}
