package platformsim

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// usd is an amount of money in micro-dollars that JSON shows in dollars, with
// no more decimals than it needs and never rounded.
type usd int64

// MarshalJSON implements json.Marshaler.
func (u usd) MarshalJSON() ([]byte, error) { return appendUSD(nil, int64(u)), nil }

// UnmarshalJSON implements json.Unmarshaler; fractions of a micro-dollar are
// rounded.
func (u *usd) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("an amount in dollars must be a number, not %s", b)
	}
	if f < 0 || f > 1e12 {
		return errors.New("an amount in dollars must be from 0 to 1e12")
	}
	*u = usd(math.Round(f * 1e6))
	return nil
}

// appendUSD appends micro-dollars as dollars: 1_500_000 is 1.5.
func appendUSD(dst []byte, micro int64) []byte {
	if micro < 0 {
		dst, micro = append(dst, '-'), -micro
	}
	dst = strconv.AppendInt(dst, micro/1e6, 10)
	if rest := micro % 1e6; rest != 0 {
		var digits [7]byte
		n := copy(digits[:], strconv.AppendInt(nil, 1e6+rest, 10))
		for digits[n-1] == '0' {
			n--
		}
		dst = append(append(dst, '.'), digits[1:n]...)
	}
	return dst
}

// budget is what an organization may spend, as the API writes it. An amount
// of zero is not set: nobody is given nothing.
type budget struct {
	LimitUSD     usd  `json:"limitUSD,omitempty"`     // ever
	DailyUSD     usd  `json:"dailyUSD,omitempty"`     // in a day of UTC
	WarnAtUSD    usd  `json:"warnAtUSD,omitempty"`    // shown by GET …/budget as warning; refuses nothing
	EnableAlerts bool `json:"enableAlerts,omitempty"` // kept and shown
}

// account is what an organization has spent, guarded by its mutex.
type account struct {
	total int64 // micro-USD
	today int64
	day   int64 // of UTC, which today is about
}

func (a *account) roll(now time.Time) {
	if day := now.Unix() / 86400; day != a.day {
		a.day, a.today = day, 0
	}
}

func (a *account) spend(now time.Time, micro int64) {
	a.roll(now)
	a.total += micro
	a.today += micro
}

// exceeded names the limit that was reached.
type exceeded struct {
	field, quota string // limitUSD, budget
	used, limit  int64  // micro-USD
}

// check returns the limit that the account has reached, or nil.
func (b budget) check(a *account, now time.Time) *exceeded {
	a.roll(now)
	switch {
	case b.LimitUSD > 0 && a.total >= int64(b.LimitUSD):
		return &exceeded{"limitUSD", "budget", a.total, int64(b.LimitUSD)}
	case b.DailyUSD > 0 && a.today >= int64(b.DailyUSD):
		return &exceeded{"dailyUSD", "daily_budget", a.today, int64(b.DailyUSD)}
	}
	return nil
}
