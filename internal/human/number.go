// Package human writes numbers the way people read them, and styles text for
// terminals. It never decides what is known: a caller with nothing to say
// writes [Unknown], because unknown is not zero.
package human

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Unknown stands where a number would, if there were one.
const Unknown = "–"

// Duration writes a latency with at most three significant figures and one
// unit up to a minute (612ms, 2.34s), and as minutes or hours above (1m05s,
// 2h03m).
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	switch {
	case d >= time.Hour-30*time.Second:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute-50*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// Clock writes how much of a run has passed: 02:14, or 1:02:14 from an hour on.
func Clock(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%02d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Money writes millionths of a dollar: to the cent from a dollar on, with
// four decimals from a cent on and with all six below, without trailing zeros
// beyond the cent ($1,234.56, $0.0123, $0.000123).
func Money(microUSD int64) string {
	if microUSD < 0 {
		return "-" + Money(-microUSD)
	}
	step := int64(1)
	switch {
	case microUSD >= 1_000_000:
		step = 10_000
	case microUSD >= 10_000:
		step = 100
	}
	microUSD = (microUSD + step/2) / step * step
	cents, rest := microUSD%1_000_000/10_000, microUSD%10_000
	decimals := fmt.Sprintf("%02d", cents)
	if rest > 0 {
		decimals += strings.TrimRight(fmt.Sprintf("%04d", rest), "0")
	}
	return "$" + Count(uint64(microUSD/1_000_000)) + "." + decimals
}

// Rate writes a number per second with about three significant figures, and
// all digits before the point: 0.25, 48.2, 3,120. What is not finite is unknown.
func Rate(r float64) string {
	switch a := math.Abs(r); {
	case math.IsNaN(r) || math.IsInf(r, 0):
		return Unknown
	case a == 0:
		return "0"
	case a < 9.995:
		return strconv.FormatFloat(r, 'f', 2, 64)
	case a < 99.95:
		return strconv.FormatFloat(r, 'f', 1, 64)
	case r > 0:
		return Count(uint64(math.Round(r)))
	}
	return "-" + Rate(-r)
}

// Count writes a whole number in groups of three digits: 1,234,567.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Plural writes a number of things whose name takes an s: 1 user, 3 users.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if n < 0 {
		return "-" + Plural(-n, noun)
	}
	return Count(uint64(n)) + " " + noun + "s"
}

// Short writes a whole number in at most five columns: 9,999, 12.3k, 1.2M.
func Short(n uint64) string {
	if n < 10_000 {
		return Count(n)
	}
	f := float64(n)
	for _, unit := range "kMGT" {
		f /= 1000
		switch {
		case f < 99.95:
			return strconv.FormatFloat(f, 'f', 1, 64) + string(unit)
		case f < 999.5:
			return strconv.FormatFloat(f, 'f', 0, 64) + string(unit)
		}
	}
	return strconv.FormatFloat(f/1000, 'f', 0, 64) + "P"
}

// Percent writes a ratio as a percentage. It keeps none and all apart from
// nearly none and nearly all: a single error in a million is <0.01%.
func Percent(ratio float64) string {
	p := ratio * 100
	switch {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return Unknown
	case p == 0:
		return "0%"
	case p == 100:
		return "100%"
	case p > 0 && p < 0.005:
		return "<0.01%"
	case p > 99.95 && p < 100:
		return strconv.FormatFloat(math.Floor(p*100)/100, 'f', 2, 64) + "%"
	case math.Abs(p) < 9.995:
		return strconv.FormatFloat(p, 'f', 2, 64) + "%"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + "%"
}
