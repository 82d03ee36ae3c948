package loadpattern

import "math"

// Ramp is the shape of the way from one number of users, a, to another, b,
// while x goes from 0 to 1 over the phase. Every ramp is monotone, stays
// between a and b, and is rounded to the nearest whole user.
type Ramp string

const (
	// None is no ramp: the number jumps to b when the phase begins, and stays.
	None Ramp = ""
	// Linear adds users at a constant rate: a + (b−a)·x.
	Linear Ramp = "linear"
	// Exponential multiplies their number at a constant rate:
	// (a+1)·((b+1)/(a+1))^x − 1. Counting one more than there are lets a ramp
	// begin or end with nobody, and hardly shows otherwise.
	Exponential Ramp = "exponential"
	// Step goes in equal steps, n of them, equally long: a + (b−a)·(⌊n·x⌋+1)/n.
	// The first comes at once, and the last one is b, held for 1/n of the phase.
	Step Ramp = "step"
)

const defaultSteps = 5

func (r Ramp) known() bool {
	switch r {
	case None, Linear, Exponential, Step:
		return true
	default:
		return false
	}
}

// value is the real-valued number of users at x, 0 ≤ x ≤ 1.
func (r Ramp) value(from, to int, x float64, steps int) float64 {
	a, b := float64(from), float64(to)
	switch r {
	case Linear:
		return a + (b-a)*x
	case Exponential:
		return (a+1)*math.Pow((b+1)/(a+1), x) - 1
	case Step:
		if steps <= 0 {
			steps = defaultSteps
		}
		n := float64(steps)
		return a + (b-a)*min(math.Floor(n*x)+1, n)/n
	default:
		return b
	}
}

func (r Ramp) between(from, to int, x float64, steps int) int {
	n := int(math.Round(r.value(from, to, x, steps)))
	return min(max(n, min(from, to)), max(from, to))
}
