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

// NewQuantiles reads the usual quantiles; nil from an empty histogram.
func NewQuantiles(h *stats.Histogram) *Quantiles {
	if h.Count() == 0 {
		return nil
	}
	return &Quantiles{
		Count: h.Count(), Mean: h.Mean(), Min: h.Min(), Max: h.Max(),
		P50: h.Quantile(0.50), P90: h.Quantile(0.90), P95: h.Quantile(0.95), P99: h.Quantile(0.99),
	}
}
