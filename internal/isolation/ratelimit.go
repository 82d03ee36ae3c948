package isolation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// RateSlack is how far the enforced rate may be from the promised one.
	RateSlack = 0.1
	// OtherAnswers is the part of all requests that may neither pass nor be
	// refused for the rate before nothing can be said.
	OtherAnswers = 0.05
	// WrongWaits is how many requests must be refused after their Retry-After.
	WrongWaits = 2
)

// Try is one request to a limiter. Moments are offsets: it decided in between.
type Try struct {
	Sent, Done time.Duration
	Passed     bool
	Limited    bool          // refused for the rate; neither: the request failed
	RetryAfter time.Duration // with a refusal; 0 if none was given
}

// Wait is a refusal, and what a request met that was sent when the refusal's
// Retry-After was over, nothing else having been sent meanwhile.
type Wait struct{ Refused, After Try }

// Limiter is a limiter as promised, and as it was met: Drain are requests far
// above the rate until one was refused, Steady evenly spaced ones above the
// rate right after.
type Limiter struct {
	Rate          float64 // per second
	Burst         int     // at once, after a pause
	Drain, Steady []Try
	Waits         []Wait
}

// RateResult is a verdict and the evidence for it.
type RateResult struct {
	Verdict Verdict
	Reason  string
	// Offered and Allowed are counts of steady requests between two refusals,
	// Over how long that took. Low and High bound the rate that was enforced;
	// they are certain for a bucket of tokens, not estimates.
	Offered, Allowed int
	Over             time.Duration
	Low, High        float64 // per second; 0 if not known
	// AtOnce is how many passed before the first refusal.
	AtOnce int
	// Waits counts refusals whose Retry-After was waited for, WrongWaits the
	// requests refused after that. RetryAfter is the longest that was asked for.
	Waits, WrongWaits int
	RetryAfter        time.Duration
}

// Overshoot is how much more than the promised rate was let through, as a part
// of it: the least and the most. Negative is less.
func (r RateResult) Overshoot(rate float64) (low, high float64) {
	return r.Low/rate - 1, r.High/rate - 1
}

// Rate judges whether a limiter lets through what was promised, no more and no
// less, and whether its Retry-After is true.
func Rate(l Limiter) RateResult {
	r := RateResult{Verdict: Undecided}
	var guilty, unsure []string
	accuse := func(format string, args ...any) { guilty = append(guilty, fmt.Sprintf(format, args...)) }
	doubt := func(format string, args ...any) { unsure = append(unsure, fmt.Sprintf(format, args...)) }

	other := 0
	all := slices.Concat(l.Drain, l.Steady)
	for _, t := range all {
		if !t.Passed && !t.Limited {
			other++
		}
		r.RetryAfter = max(r.RetryAfter, t.RetryAfter)
	}
	if len(all) == 0 || float64(other) > OtherAnswers*float64(len(all)) {
		r.Reason = fmt.Sprintf("%d of %d requests failed for other reasons than the rate", other, len(all))
		return r
	}

	refused := l.atOnce(&r, accuse)
	switch {
	case refused:
		l.steady(&r, accuse, doubt)
		l.waits(&r, accuse, doubt)
	case len(guilty) == 0:
		doubt("none of %d requests was refused, and there were not more of them than the limit allows", len(l.Drain))
	}
	switch {
	case len(guilty) > 0:
		r.Verdict, r.Reason = Violated, strings.Join(guilty, "; ")
	case len(unsure) > 0:
		r.Reason = strings.Join(unsure, "; ")
	default:
		r.Verdict = Held
		low, high := r.Overshoot(l.Rate)
		r.Reason = fmt.Sprintf("of %d requests above the rate %d passed in %v: from %s to %s per second, where %s are promised (%+.1f%% to %+.1f%%)",
			r.Offered, r.Allowed, round(r.Over), figure(r.Low), figure(r.High), figure(l.Rate), 100*low, 100*high)
		if r.Waits > 0 {
			r.Reason += fmt.Sprintf("; after Retry-After %d of %d requests passed", r.Waits-r.WrongWaits, r.Waits)
		} else {
			r.Reason += "; no Retry-After is given"
		}
	}
	return r
}

// atOnce looks at the way to the first refusal, and reports whether there was
// one. However a limiter counts, from a standstill it may let a burst through,
// and what the time brings.
func (l *Limiter) atOnce(r *RateResult, accuse func(string, ...any)) (refused bool) {
	first := slices.IndexFunc(l.Drain, func(t Try) bool { return t.Limited })
	way := l.Drain
	if first >= 0 {
		way = l.Drain[:first]
	}
	end := time.Duration(0)
	for _, t := range way {
		if t.Passed {
			r.AtOnce++
			end = max(end, t.Done)
		}
	}
	if r.AtOnce == 0 {
		return first >= 0
	}
	took := end - way[0].Sent
	may := float64(l.Burst) + (1+RateSlack)*l.Rate*took.Seconds() + 1
	if float64(r.AtOnce) > may*(1+RateSlack) {
		what := "before the first refusal"
		if first < 0 {
			what = "and none was refused"
		}
		accuse("%d requests passed within %v %s, where a burst of %d and %s per second allow %.0f", r.AtOnce, round(took), what, l.Burst, figure(l.Rate), may)
	}
	return first >= 0
}

// steady bounds the enforced rate. Whenever a bucket of tokens refuses, it
// holds less than one. So between two refusals as many tokens came as requests
// passed, give or take one, unless the bucket ran over.
func (l *Limiter) steady(r *RateResult, accuse, doubt func(string, ...any)) {
	const candidates = 3 // on either side: the quickest answers bound the time best
	var refusals []Try
	for _, t := range l.Steady {
		if t.Limited {
			refusals = append(refusals, t)
		}
	}
	if len(refusals) < 2*candidates {
		doubt("only %d of %d requests above the rate were refused", len(refusals), len(l.Steady))
		return
	}
	starved := false
	for _, a := range refusals[:candidates] {
		for _, b := range refusals[len(refusals)-candidates:] {
			most := (b.Done - a.Sent).Seconds()
			least := (b.Sent - a.Done).Seconds()
			if least <= 0 {
				continue
			}
			offered, surely, maybe := 0, 0, 0
			lost, held, previous := 0.0, 1.0, a
			for _, t := range l.Steady {
				if t.Done > a.Sent && t.Sent < b.Done {
					offered++
					if !t.Limited {
						maybe++
					}
					if t.Passed && t.Sent >= a.Done && t.Done <= b.Sent {
						surely++
					}
					lost += max(0, held+l.Rate*(t.Done-previous.Sent).Seconds()-float64(l.Burst))
					held, previous = 1, t
					if !t.Limited {
						held = float64(l.Burst - 1)
					}
				}
			}
			if low := float64(surely-1) / most; low > r.Low {
				r.Low = low
			}
			if high := float64(maybe+1) / least; r.High == 0 || high < r.High {
				r.High, r.Offered, r.Allowed, r.Over = high, offered, surely, b.Done-a.Sent
			}
			starved = starved || float64(maybe+1)+lost < (1-RateSlack)*l.Rate*least
		}
	}
	if r.High == 0 {
		doubt("the requests above the rate were answered too slowly")
		return
	}
	low, high := r.Overshoot(l.Rate)
	switch {
	case low > RateSlack:
		accuse("the limit is too lax: of %d requests above the rate %d passed in %v, at least %s per second, where %s are promised (%+.1f%% at least)",
			r.Offered, r.Allowed, round(r.Over), figure(r.Low), figure(l.Rate), 100*low)
	case starved && r.RetryAfter > r.Over/2:
		doubt("%d requests passed in %v, which is too few, but refusals ask to wait for %v", r.Allowed, round(r.Over), r.RetryAfter)
	case starved:
		accuse("the limit starves who asks often: of %d requests above the rate only %d passed in %v, at most %s per second, where %s are promised (%+.1f%% at most)",
			r.Offered, r.Allowed, round(r.Over), figure(r.High), figure(l.Rate), 100*high)
	case low < -RateSlack || high > RateSlack:
		doubt("the rate that is enforced lies between %s and %s per second, where %s are promised: that is too vague", figure(r.Low), figure(r.High), figure(l.Rate))
	}
}

// waits looks at what Retry-After is worth.
func (l *Limiter) waits(r *RateResult, accuse, doubt func(string, ...any)) {
	for _, w := range l.Waits {
		switch {
		case w.After.Passed:
			r.Waits++
		case w.After.Limited:
			r.Waits++
			r.WrongWaits++
		}
	}
	switch {
	case r.WrongWaits >= WrongWaits:
		accuse("Retry-After is wrong: %d of %d requests that were sent when it was over were refused", r.WrongWaits, r.Waits)
	case r.WrongWaits > 0:
		doubt("one of %d requests that were sent when their Retry-After was over was refused", r.Waits)
	case r.RetryAfter > 0 && r.Waits == 0:
		doubt("Retry-After could not be tried")
	}
}

func figure(f float64) string { return fmt.Sprintf("%.4g", f) }
