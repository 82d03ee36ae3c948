package config

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MicroUSD is an amount of money in millionths of a dollar.
type MicroUSD int64

const microPerUSD = 1_000_000

// String returns the amount in dollars, with as many decimals as it needs.
func (m MicroUSD) String() string {
	sign, n := "", uint64(m)
	if m < 0 {
		sign, n = "-", uint64(-m)
	}
	s := sign + strconv.FormatUint(n/microPerUSD, 10)
	if f := n % microPerUSD; f != 0 {
		s += "." + strings.TrimRight(pad(f), "0")
	}
	return s
}

func pad(f uint64) string {
	s := strconv.FormatUint(f, 10)
	return strings.Repeat("0", 6-len(s)) + s
}

var (
	errNotMoney  = errors.New("an amount in dollars, such as 12.50")
	errTooFine   = errors.New("an amount in whole millionths of a dollar (at most 6 decimals)")
	errTooMuch   = errors.New("an amount below 9 trillion dollars")
	errNoTime    = errors.New("a duration such as 30s, 5m or 1h30m")
	errNoUnit    = errors.New("a duration with its unit, such as 30s or 5m")
	errTooLong   = errors.New("a duration of at most 366 days")
	errNegative  = errors.New("a duration that is not negative")
	errNotRatio  = errors.New("a ratio from 0 to 1, or a percentage such as 1%")
	errNotSec    = errors.New("a number of seconds, or a duration such as 30s or 5m")
	errNotMillis = errors.New("a number of milliseconds, or a duration such as 500ms")
)

// parseMoney reads a decimal number of dollars exactly.
func parseMoney(s string) (MicroUSD, error) {
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" && fraction == "" || !isDigits(whole) || !isDigits(fraction) {
		return 0, errNotMoney
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > 6 {
		return 0, errTooFine
	}
	n, err := strconv.ParseInt(cmp.Or(strings.TrimLeft(whole, "0"), "0")+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
	if err != nil {
		return 0, errTooMuch
	}
	if negative {
		n = -n
	}
	return MicroUSD(n), nil
}

func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// longest is the longest duration a scenario may give: sums of a hundred of
// them are still far from overflowing.
const longest = 366 * 24 * time.Hour

// parseDuration reads a Go duration or, if one is not zero, also a plain
// number which counts ones.
func parseDuration(s string, one time.Duration) (time.Duration, error) {
	expected := errNoTime
	switch one {
	case time.Millisecond:
		expected = errNotMillis
	case 0:
	default:
		expected = errNotSec
	}
	d, err := time.ParseDuration(s)
	if n, failed := strconv.ParseFloat(s, 64); failed == nil && s != "0" {
		if one == 0 {
			return 0, errNoUnit
		}
		if math.IsNaN(n) {
			return 0, expected
		}
		if n*float64(one) > float64(longest) {
			return 0, errTooLong
		}
		d, err = time.Duration(math.Round(n*float64(one))), nil
		if n < 0 {
			d = -1
		}
	}
	switch {
	case err != nil:
		return 0, expected
	case d < 0:
		return 0, errNegative
	case d > longest:
		return 0, errTooLong
	}
	return d, nil
}

// formatDuration is d.String() without the zeros at its end: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// parseRatio reads 0.01 or 1%.
func parseRatio(s string) (float64, error) {
	if number, percent := strings.CutSuffix(s, "%"); percent {
		s = strings.TrimSpace(number) + "e-2" // the nearest to the decimal, which a division may miss
	}
	r, err := strconv.ParseFloat(s, 64)
	if err != nil || !(r >= 0 && r <= 1) {
		return 0, errNotRatio
	}
	return r, nil
}

// UserCount is a number of active users.
type UserCount int

// AllUsers is every user there is.
const AllUsers UserCount = -1

// Of returns the number of users it stands for, where total is all of them.
func (n UserCount) Of(total int) int {
	if n == AllUsers {
		return total
	}
	return int(n)
}

// Objective is a promise about a latency.
type Objective struct {
	Quantile float64 // 0.5 to 0.999; 0 is the mean
	Latency  time.Duration
}

// Name is the objective as a scenario writes it: p95, p99.9, mean.
func (o Objective) Name() string {
	if o.Quantile == 0 {
		return "mean"
	}
	return "p" + strconv.FormatFloat(math.Round(o.Quantile*1e6)/1e4, 'f', -1, 64)
}

// Latencies are promises about one latency: the mean first, then by quantile.
type Latencies []Objective

func (l Latencies) sort() {
	slices.SortFunc(l, func(a, b Objective) int { return cmp.Compare(a.Quantile, b.Quantile) })
}

// parseQuantile reads p50 to p99.9, or mean.
func parseQuantile(s string) (float64, bool) {
	if s == "mean" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(s, "p")
	if !ok || len(digits) > 8 || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	q, err := strconv.ParseFloat(digits+"e-2", 64) // the nearest to the decimal, which a division may miss
	if err != nil || q < 0.5 || q > 0.999 {
		return 0, false
	}
	return q, true
}
