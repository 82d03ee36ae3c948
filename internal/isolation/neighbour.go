package isolation

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
)

const (
	// MinRounds is the fewest rounds whose interval has a bound at Level: 2⁻¹⁰ < 0.001.
	MinRounds = 10
	// MinWindow is how many requests of the others a window needs, so that
	// their 95th percentile is not their maximum.
	MinWindow = 20
	// MinDelay is a difference of TTFT that nobody minds.
	MinDelay = 50 * time.Millisecond
)

// Answer is what one request of the others showed.
type Answer struct {
	TTFT   time.Duration // from sending; of one that failed, the longest that it could have taken
	Failed bool
	Lag    time.Duration // how late it was sent, by our own fault
}

// Round is two windows of time next to each other, in random order, in which
// the others sent alike: one without the aggressor and one with.
type Round struct{ Quiet, Loud []Answer }

// Neighbour is the verdict on a noisy neighbour, and the evidence for it.
type Neighbour struct {
	Verdict Verdict
	Reason  string // in words, with the numbers that decided
	// Quiet and Loud are the 95th percentiles of the others' TTFT, over all
	// rounds; a failed request counts as slow.
	Quiet, Loud time.Duration
	// Ratio is how many times as long the 95th percentile is with the
	// aggressor, and Low and High are the bounds of its interval, of a chance of
	// Level each to be wrong. All are 0 with too few rounds.
	Ratio, Low, High float64
	// Bar is the ratio from which on it is harm.
	Bar float64
	// Rounds are the ratios of the single rounds.
	Rounds []float64
	// Lag is the 95th percentile of the delay by which we sent late in windows
	// with the aggressor.
	Lag time.Duration
}

// NoisyNeighbour judges whether others are harmed: whether their 95th
// percentile of TTFT is longer with the aggressor by more than tolerance, a
// ratio, and by more than MinDelay.
func NoisyNeighbour(rounds []Round, tolerance float64) Neighbour {
	r := Neighbour{Verdict: Undecided, Bar: 1 + tolerance}
	var quiet, loud, lag []time.Duration
	var logs []float64
	for _, round := range rounds {
		if len(round.Quiet) < MinWindow || len(round.Loud) < MinWindow {
			continue
		}
		q, l := times(round.Quiet), times(round.Loud)
		quiet, loud = append(quiet, q...), append(loud, l...)
		for _, a := range round.Loud {
			lag = append(lag, a.Lag)
		}
		ratio := float64(p95(l)) / float64(max(1, p95(q)))
		r.Rounds, logs = append(r.Rounds, ratio), append(logs, math.Log(ratio))
	}
	if len(r.Rounds) < MinRounds {
		r.Reason = fmt.Sprintf("only %s had %d answers in each of its windows, and a verdict wants %d", human.Plural(len(r.Rounds), "round"), MinWindow, MinRounds)
		return r
	}
	r.Quiet, r.Loud, r.Lag = p95(quiet), p95(loud), p95(lag)
	r.Bar = max(r.Bar, 1+float64(MinDelay)/float64(max(1, r.Quiet)))
	middle, low, high := interval(logs)
	r.Ratio, r.Low, r.High = math.Exp(middle), math.Exp(low), math.Exp(high)
	numbers := fmt.Sprintf("p95 of TTFT %s with the aggressor and %s without it, %.2f times as long (%.2f to %.2f with 99.8%% confidence)",
		human.Duration(r.Loud), human.Duration(r.Quiet), r.Ratio, r.Low, r.High)
	failed := 0
	for _, round := range rounds {
		for _, a := range round.Quiet {
			if a.Failed {
				failed++
			}
		}
	}
	switch {
	case 20*failed > len(quiet):
		r.Reason = fmt.Sprintf("%d of %d requests of the others failed without the aggressor", failed, len(quiet))
	case r.Low > r.Bar && (r.Low-r.Bar)*float64(r.Quiet) <= float64(r.Lag):
		r.Reason = fmt.Sprintf("%s, but this tool was itself up to %s late with 95%% of its requests then", numbers, human.Duration(r.Lag))
	case r.Low > r.Bar:
		r.Verdict = Harmed
		r.Reason = fmt.Sprintf("%s, where harm begins at %.2f", numbers, r.Bar)
	case r.High < r.Bar:
		r.Verdict = NotHarmed
		r.Reason = fmt.Sprintf("%s, where harm begins at %.2f", numbers, r.Bar)
	default:
		r.Reason = fmt.Sprintf("%s, and whether that is below or above %.2f, where harm begins, cannot be told", numbers, r.Bar)
		if r.Lag > MinDelay {
			r.Reason += fmt.Sprintf("; this tool was itself up to %s late with 95%% of its requests", human.Duration(r.Lag))
		}
	}
	return r
}

func times(answers []Answer) []time.Duration {
	out := make([]time.Duration, len(answers))
	for i, a := range answers {
		out[i] = a.TTFT
	}
	return out
}

// p95 is the smallest value that at least 95% of the values do not exceed.
func p95(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[(95*len(sorted)+99)/100-1]
}

// interval is the estimate of Hodges and Lehmann for the middle of a
// symmetric distribution, and its exact confidence interval, which comes of
// turning the signed-rank test of Wilcoxon round: ordered means of all pairs
// of values, each with itself too. Either bound is wrong with a chance of Level at most.
func interval(values []float64) (middle, low, high float64) {
	var means []float64
	for i, x := range values {
		for _, y := range values[i:] {
			means = append(means, (x+y)/2)
		}
	}
	slices.Sort(means)
	m := len(means)
	// ways[s] is how many sets of the ranks so far sum to s.
	ways := make([]float64, m+1)
	ways[0] = 1
	for rank := 1; rank <= len(values); rank++ {
		for s := m; s >= rank; s-- {
			ways[s] += ways[s-rank]
		}
	}
	// The k-th mean is a bound if the chance of a rank sum below k is small.
	k, below := 0, 0.0
	for all := math.Exp2(float64(len(values))); k < m/2 && below+ways[k] <= Level*all; k++ {
		below += ways[k]
	}
	middle = (means[(m-1)/2] + means[m/2]) / 2
	if k == 0 { // too few values for any bound
		return middle, math.Inf(-1), math.Inf(1)
	}
	return middle, means[k-1], means[m-k]
}

// FairShares divides capacity so that nobody gets more than he wants, and who
// gets less than that gets no less than anybody: max-min fairness.
func FairShares(wanted []float64, capacity float64) []float64 {
	order := make([]int, len(wanted))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(wanted[a], wanted[b]) })
	shares := make([]float64, len(wanted))
	for n, i := range order {
		shares[i] = min(wanted[i], capacity/float64(len(order)-n))
		capacity -= shares[i]
	}
	return shares
}

// Jain is the fairness index of Jain, Chiu and Hawe: 1 if all values are
// alike, 1/n if all but one of n are 0. Of nothing it is 1.
func Jain(x []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range x {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(x)) * squares)
}
