package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

// workers says how many there were, and how closely together they began.
func workers(r *export.Run) string {
	text := human.Plural(r.Workers, "worker")
	if r.Workers > 1 && r.Duration > 0 && len(r.Lost) < r.Workers {
		text += ", which began within " + human.Duration(r.StartSpread)
	}
	return text
}

// space joins a number to its unit so that no line breaks between them.
const space = "\u00a0"

// latency writes a duration in the unit that suits it, with three significant
// figures: "850 µs", "61.2 ms", "1.24 s".
func latency(d time.Duration) string {
	if d == 0 {
		return "0" + space + "ms"
	}
	v, unit := float64(d), "ns"
	for _, next := range []string{"µs", "ms", "s"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	return human.Rate(v) + space + unit
}

// significant writes a rate with about three significant figures; unlike
// [human.Rate] also a small one, which must not look like zero.
func significant(v float64) string {
	if !(v > 0 && v < 0.995) {
		return human.Rate(v)
	}
	return strconv.FormatFloat(v, 'f', min(2-int(math.Floor(math.Log10(v))), 9), 64)
}

// money writes micro-dollars for a column, where every amount must have the
// same decimals: four of them.
func money(micro int64) string {
	if micro > 0 && micro < 50 {
		return "<$0.0001"
	}
	micro = (micro + 50) / 100
	return fmt.Sprintf("$%s.%04d", human.Count(uint64(micro/10_000)), micro%10_000)
}

// span writes how long something took: "4m 40s", "1h 02m 05s", "12.5 s", "2 s".
func span(d time.Duration) string {
	if d < time.Minute {
		if d%time.Second == 0 {
			return strconv.Itoa(int(d/time.Second)) + space + "s"
		}
		return latency(d)
	}
	d = d.Round(time.Second)
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	if h > 0 {
		return fmt.Sprintf("%dh%s%02dm%s%02ds", h, space, m, space, s)
	}
	return fmt.Sprintf("%dm%s%02ds", m, space, s)
}
