package monitor

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is a server that collects the metrics of workers.
type Prometheus struct{ api prometheus.API }

// NewPrometheus makes no call.
func NewPrometheus(url string) (*Prometheus, error) {
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		return nil, fmt.Errorf("spec.metrics.prometheusUrl: %w", err)
	}
	return &Prometheus{prometheus.NewAPI(client)}, nil
}

// Ask returns what it has of a run: at least what was last scraped or pushed. A
// run that is there by several jobs is not counted twice.
func (p *Prometheus) Ask(ctx context.Context, run string) (*Measured, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	of := "{test_run_id=" + strconv.Quote(run) + "}"
	var m Measured
	for into, query := range map[*float64]string{
		&m.Requests: "max(sum by (job) (loadtest_user_requests_total" + of + "))",
		&m.Errors:   "max(sum by (job) (loadtest_user_errors_total" + of + "))",
		&m.Users:    "max(sum by (job) (loadtest_worker_users_active" + of + "))",
	} {
		answer, _, _, err := p.api.Query(ctx, query, time.Now())
		if err != nil {
			return nil, fmt.Errorf("ask Prometheus for %s: %w", query, err)
		}
		if sums, ok := answer.(model.Vector); ok && len(sums) == 1 {
			*into = float64(sums[0].Value)
		}
	}
	return &m, nil
}
