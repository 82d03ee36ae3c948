package loadpattern

import "math"

// Ramp is the shape of the way from one number of users, a, to another, b,
// while x goes from 0 to 1 over the phase. Every ramp is monotone, stays
// between a and b, and is rounded to the nearest whole user. Rates of arrivals
// take the same ways, and are not rounded.
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
	// Smooth starts and ends gently, as half a wave: a + (b−a)·(1−cos πx)/2.
	Smooth Ramp = "smooth"
	// Step goes in equal steps, n of them, equally long: a + (b−a)·(⌊n·x⌋+1)/n.
	// The first comes at once, and the last one is b, held for 1/n of the phase.
	Step Ramp = "step"
)

const defaultSteps = 5

func (r Ramp) known() bool {
	switch r {
	case None, Linear, Exponential, Smooth, Step:
		return true
	default:
		return false
	}
}

// value is the real-valued number at x, 0 ≤ x ≤ 1.
func (r Ramp) value(a, b, x float64, steps int) float64 {
	switch r {
	case Linear:
		return a + (b-a)*x
	case Exponential:
		return (a+1)*math.Pow((b+1)/(a+1), x) - 1
	case Smooth:
		return a + (b-a)*(1-math.Cos(math.Pi*x))/2
	case Step:
		n := stepsOf(steps)
		return a + (b-a)*min(math.Floor(n*x)+1, n)/n
	default:
		return b
	}
}

// area is the integral of value from 0 to x.
func (r Ramp) area(a, b, x float64, steps int) float64 {
	switch r {
	case Linear:
		return a*x + (b-a)*x*x/2
	case Exponential:
		k := math.Log((b + 1) / (a + 1))
		if k == 0 {
			return a * x
		}
		return (a+1)*math.Expm1(k*x)/k - x
	case Smooth:
		return a*x + (b-a)*(x-math.Sin(math.Pi*x)/math.Pi)/2
	case Step:
		n := stepsOf(steps)
		whole := min(math.Floor(n*x), n-1) // steps that have passed
		return a*x + (b-a)*(whole*(whole+1)/2+(whole+1)*(n*x-whole))/(n*n)
	default:
		return b * x
	}
}

func stepsOf(steps int) float64 {
	if steps <= 0 {
		return defaultSteps
	}
	return float64(steps)
}

func (r Ramp) between(from, to int, x float64, steps int) int {
	n := int(math.Round(r.value(float64(from), float64(to), x, steps)))
	return min(max(n, min(from, to)), max(from, to))
}
