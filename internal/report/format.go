package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

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
	return significant(v) + space + unit
}

// significant writes v with three significant figures, and all the figures
// of a larger whole number.
func significant(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return "0"
	}
	if math.Abs(v) >= 999.5 {
		return human.Rate(v)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	s := strconv.FormatFloat(v, 'f', min(max(digits, 0), 9), 64)
	// 9.999 is rounded to 10.00: one figure too many.
	if digits > 0 && len(strings.TrimLeft(strings.Replace(s, ".", "", 1), "0-")) > 3 {
		s = s[:len(s)-1]
	}
	return s
}

// compact shortens a large count: "1.24 M".
func compact(n uint64) string {
	switch v := float64(n); {
	case v >= 1e9:
		return significant(v/1e9) + space + "G"
	case v >= 1e6:
		return significant(v/1e6) + space + "M"
	default:
		return human.Count(n)
	}
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
