package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseMoney(t *testing.T) {
	for in, want := range map[string]MicroUSD{
		"0": 0, "1": 1_000_000, "12.50": 12_500_000, "0.000001": 1, ".5": 500_000, "5.": 5_000_000, "+1": 1_000_000,
		"-0.25": -250_000, "0.10": 100_000, "000.1000000000": 100_000, "9223372036854.775807": 1<<63 - 1,
	} {
		if got, err := parseMoney(in); got != want || err != nil {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ".", "a", "1e3", "1,5", "0.0000001", "9223372036854.775808", "--1", "+-1", "1.-1", "0x1", " 1", "NaN"} {
		if got, err := parseMoney(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}

// Money survives being written and read.
func TestMoneyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := MicroUSD(rapid.Int64Min(-1<<63+1).Draw(t, "micro"))
		if got, err := parseMoney(m.String()); got != m || err != nil {
			t.Fatalf("%d became %q became %d (%v)", m, m.String(), got, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		one  time.Duration
		want time.Duration
		err  error
	}{
		{"5m", 0, 5 * time.Minute, nil},
		{"0", 0, 0, nil},
		{"30", 0, 0, errNoUnit},
		{"30", time.Second, 30 * time.Second, nil},
		{"0.25", time.Second, 250 * time.Millisecond, nil},
		{"2", time.Minute, 2 * time.Minute, nil},
		{"1h", time.Minute, time.Hour, nil},
		{"1500", time.Millisecond, 1500 * time.Millisecond, nil},
		{"-1s", 0, 0, errNegative},
		{"-1", time.Second, 0, errNegative},
		{"NaN", time.Second, 0, errNotSec},
		{"Inf", time.Second, 0, errTooLong},
		{"-Inf", time.Second, 0, errNegative},
		{"1e300", time.Second, 0, errTooLong},
		{"9000h", 0, 0, errTooLong},
		{"soon", 0, 0, errNoTime},
		{"soon", time.Millisecond, 0, errNotMillis},
		{"", time.Second, 0, errNotSec},
	} {
		if got, err := parseDuration(c.in, c.one); got != c.want || err != c.err { //nolint:errorlint // these are not wrapped
			t.Errorf("%q: got %s, %v, want %s, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(longest)).Draw(t, "nanoseconds"))
		if rapid.Bool().Draw(t, "round") {
			d = d.Truncate(time.Minute)
		}
		if got, err := parseDuration(formatDuration(d), 0); got != d || err != nil {
			t.Fatalf("%s became %q became %s (%v)", d, formatDuration(d), got, err)
		}
	})
}

func TestParseRatio(t *testing.T) {
	for in, want := range map[string]float64{"0": 0, "1": 1, "0.05": 0.05, "5%": 0.05, "99.9%": 0.999, "100 %": 1} {
		if got, err := parseRatio(in); got < want-1e-12 || got > want+1e-12 || err != nil {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "%", "1.01", "101%", "-1%", "NaN", "half"} {
		if got, err := parseRatio(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func TestParseQuantile(t *testing.T) {
	for in, want := range map[string]float64{"mean": 0, "p50": 0.5, "p95": 0.95, "p99.9": 0.999, "p99.5": 0.995} {
		if got, ok := parseQuantile(in); got != want || !ok {
			t.Errorf("%q: got %v, %v", in, got, ok)
		}
		if name := (Objective{Quantile: want}).Name(); name != in {
			t.Errorf("%q is called %q", in, name)
		}
	}
	for _, in := range []string{"", "p", "p49", "p99.99", "p100", "95", "pe1", "p9e1", "p-50", "p5.0.0", "median"} {
		if got, ok := parseQuantile(in); ok {
			t.Errorf("%q: got %v", in, got)
		}
	}
}

func TestExpand(t *testing.T) {
	getenv := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": "", "DOLLAR": "${A}"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"":                "",
		"plain $A $":      "plain $A $",
		"${A}":            "1",
		"x${A}y${A}z":     "x1y1z",
		"${EMPTY}":        "",
		"${EMPTY:-d}":     "d",
		"${NONE:-d e:-f}": "d e:-f",
		"${NONE:-}":       "",
		"$${A}":           "${A}",
		"$$${A}":          "$${A}",
		"${A}$${A}":       "1${A}",
		"${DOLLAR}":       "${A}", // once is enough
	} {
		got, err := expand(in, getenv)
		if err != nil || got.text != want {
			t.Errorf("%q: got %q, %v, want %q", in, got.text, err, want)
		}
	}
	for in, offset := range map[string]int{"${": 0, "ab${A": 2, "${}": 0, "${1A}": 0, "${A-b}": 0, "${A:b}": 0, "x${NONE}": 1, "$${A}${NONE}": 5} {
		if got, err := expand(in, getenv); err == nil || err.offset != offset {
			t.Errorf("%q: got %q, %+v", in, got.text, err)
		}
	}
}
