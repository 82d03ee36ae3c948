package export_test

import (
	"testing"
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
)

func TestArrivals(t *testing.T) {
	phases := []export.Phase{
		{End: 10 * time.Second, Arrivals: &export.Arrivals{Intended: 70, Dropped: 7}},
		{Start: 10 * time.Second, End: 30 * time.Second, Measured: true, Arrivals: &export.Arrivals{Intended: 2000, Dropped: 100}},
	}
	if got := export.SumArrivals(phases); got == nil || *got != (export.Arrivals{Intended: 2070, Dropped: 107}) {
		t.Errorf("sum %+v", got)
	}
	want := export.ArrivalRates{Arrivals: export.Arrivals{Intended: 2000, Dropped: 100}, IntendedPerSecond: 100, DeliveredPerSecond: 95}
	if got := export.MeasuredArrivals(phases); got == nil || *got != want {
		t.Errorf("measured %+v, want %+v", got, want)
	}
	if export.MeasuredArrivals(phases[:1]) != nil || export.SumArrivals([]export.Phase{{Measured: true, End: 1}}) != nil {
		t.Error("there are arrivals where none are measured, or of closed load")
	}
}
