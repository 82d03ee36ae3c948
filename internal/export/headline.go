package export

import (
	"time"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// NewHeadline derives the headline from a merged summary. measured is the time
// outside warm-up and cool-down, over which rates are taken.
func NewHeadline(s *stats.Summary, measured time.Duration) Headline {
	g := s.Overall()
	h := Headline{
		ErrorRate:    g.Measured.ErrorRate(),
		Requests:     g.All.Requests,
		CostMicroUSD: g.All.CostMicroUSD,
		E2E:          NewQuantiles(&g.Latency.E2E),
		TTFT:         NewQuantiles(&g.Latency.TTFT),
		ITL:          NewQuantiles(&g.Latency.ITL),
		TPOT:         NewQuantiles(&g.Latency.TPOT),
		Connect:      NewQuantiles(&g.Latency.Connect),
		SendLag:      NewQuantiles(&g.Latency.SendLag),
	}
	if h.ITL != nil { // the gaps of one answer are alike: their intervals would be too narrow
		h.ITL.P50CI, h.ITL.P95CI, h.ITL.P99CI = nil, nil, nil
	}
	if s := measured.Seconds(); s > 0 {
		h.RequestsPerSecond = float64(g.Measured.Requests) / s
		h.GoodputPerSecond = float64(g.Measured.Good) / s
		h.TokensPerSecond = float64(g.Measured.CompletionTokens) / s
	}
	if s.Timeline != nil {
		for _, in := range s.Timeline.Intervals {
			h.MaxUsers = max(h.MaxUsers, in.Users)
		}
	}
	return h
}

// NewQuantiles reads the usual quantiles, as far as they are known; nil from an
// empty histogram.
func NewQuantiles(h *stats.Histogram) *Quantiles {
	if h.Count() == 0 {
		return nil
	}
	known := func(q float64) time.Duration {
		d, ok := h.Known(q)
		if ok {
			d = max(1, d) // 0 says that it is not known
		}
		return d
	}
	interval := func(q float64) *Range {
		lo, hi, ok := h.Interval(q)
		if !ok {
			return nil
		}
		return &Range{lo, hi}
	}
	return &Quantiles{
		Count: h.Count(), Mean: h.Mean(), Min: h.Min(), Max: h.Max(),
		P50: known(0.50), P90: known(0.90), P95: known(0.95), P99: known(0.99),
		P50CI: interval(0.50), P95CI: interval(0.95), P99CI: interval(0.99),
	}
}
