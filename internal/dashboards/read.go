package dashboards

import (
	"fmt"
	"os"
	"sync"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// known tells the SDK's decoder of the panels and queries that are used here.
// It has a list of all that exist, which takes long to compile.
var known = sync.OnceFunc(func() {
	runtime := cog.NewRuntime()
	for _, panel := range []variants.PanelcfgConfig{
		bargauge.VariantConfig(), heatmap.VariantConfig(), stat.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
	} {
		runtime.RegisterPanelcfgVariant(panel)
	}
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
})

// Read reads a dashboard from its file. A field that Grafana does not know, or
// that has another type there, is an error.
func Read(file string) (d dashboard.Dashboard, err error) {
	known()
	text, err := os.ReadFile(file) // #nosec G304 -- the caller's choice
	if err != nil {
		return d, err
	}
	if err := d.UnmarshalJSONStrict(text); err != nil {
		return d, fmt.Errorf("%s is no dashboard: %w", file, err)
	}
	return d, nil
}
