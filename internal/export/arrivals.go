package export

import "time"

// SumArrivals adds up the arrivals of phases; nil if none had any to count.
func SumArrivals(phases []Phase) *Arrivals {
	var sum *Arrivals
	for _, p := range phases {
		if p.Arrivals == nil {
			continue
		}
		if sum == nil {
			sum = &Arrivals{}
		}
		sum.Intended += p.Arrivals.Intended
		sum.Dropped += p.Arrivals.Dropped
	}
	return sum
}

// MeasuredArrivals are the arrivals of the measured phases, over their time;
// nil under closed load, and if nothing was measured.
func MeasuredArrivals(phases []Phase) *ArrivalRates {
	var measured []Phase
	var length time.Duration
	for _, p := range phases {
		if p.Measured {
			measured = append(measured, p)
			length += p.End - p.Start
		}
	}
	sum := SumArrivals(measured)
	if sum == nil || length <= 0 {
		return nil
	}
	return &ArrivalRates{
		Arrivals:           *sum,
		IntendedPerSecond:  float64(sum.Intended) / length.Seconds(),
		DeliveredPerSecond: float64(sum.Intended-sum.Dropped) / length.Seconds(),
	}
}
