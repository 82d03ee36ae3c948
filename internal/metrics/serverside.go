package metrics

import (
	"context"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/crash"
)

// ServerSide reads what the platform says of itself at its own /metrics, where
// it has one. What it does not say stays unknown.
type ServerSide struct {
	stop context.CancelFunc
	done chan struct{}
}

// WatchServer begins to read, now and at every interval. Stop must be called.
func (m *Metrics) WatchServer(base string, interval time.Duration) *ServerSide {
	ctx, stop := context.WithCancel(context.Background())
	s := &ServerSide{stop: stop, done: make(chan struct{})}
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: pushTime}
	go func() {
		defer close(s.done)
		defer client.CloseIdleConnections()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for ctx.Err() == nil {
			var found []gauge
			_ = crash.Guard("the reader of the platform's metrics", func() error { // what others wrote stays unknown, then
				found = serverSide(ctx, client, strings.TrimSuffix(base, "/")+"/metrics")
				return nil
			})
			m.own.Lock()
			m.server = found
			m.own.Unlock()
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return s
}

// Stop ends the reading; what was read last stays.
func (s *ServerSide) Stop() {
	s.stop()
	<-s.done
}

// mostServerSide bounds the series of one name that a platform can cause.
const mostServerSide = 50

func serverSide(ctx context.Context, client *http.Client, address string) []gauge {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	const most = 8 << 20
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(http.MaxBytesReader(nil, resp.Body, most))
	if err != nil {
		return nil
	}
	return translated(families)
}

// translated are our names for what vLLM and NVIDIA's DCGM exporter say.
func translated(families map[string]*dto.MetricFamily) (out []gauge) {
	of := func(name string, label string) map[string]*dto.Metric {
		found := map[string]*dto.Metric{}
		for _, m := range families[name].GetMetric() {
			if len(found) == mostServerSide {
				break
			}
			for _, l := range m.Label {
				if l.GetName() == label {
					found[l.GetValue()] = m
				}
			}
		}
		return found
	}
	for name, m := range of("vllm:request_queue_time_seconds", "model_name") {
		if h := m.GetHistogram(); h.GetSampleCount() > 0 {
			out = append(out, gauge{"llm_backend_queue_time_milliseconds", 1000 * h.GetSampleSum() / float64(h.GetSampleCount()), []string{name, ""}})
		}
	}
	waiting := of("vllm:num_requests_waiting", "model_name")
	for name, m := range of("vllm:num_requests_running", "model_name") {
		if w := waiting[name]; w != nil {
			queued, all := w.GetGauge().GetValue(), m.GetGauge().GetValue()+w.GetGauge().GetValue()
			out = append(out, gauge{"llm_backend_saturation_ratio", queued / max(1, all), []string{name, ""}})
		}
	}
	free := of("DCGM_FI_DEV_FB_FREE", "gpu")
	for gpu, m := range of("DCGM_FI_DEV_FB_USED", "gpu") {
		if f := free[gpu]; f != nil {
			used, all := m.GetGauge().GetValue(), m.GetGauge().GetValue()+f.GetGauge().GetValue()
			out = append(out, gauge{"llm_gpu_memory_utilization_percent", 100 * used / max(1, all), []string{gpu, ""}})
		}
	}
	return out
}
