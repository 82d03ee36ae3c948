// Package dashboards is the code of the Grafana dashboards in
// dashboards/load-testing: what is looked at when, with which queries.
//
//	go generate ./internal/dashboards
//
// writes them again; a test fails while they are not current. Every one is a
// [board] of rows of [panel]s in a file of its own here, and all have the same
// variables, links, colours and units, since those are made in one place.
//
// Three rules hold for every query, and a test holds the queries to them:
//
//   - It filters by whatever variable its metric has a label for; [of] sees to it.
//   - What happened in the whole run is the last value of a counter, not an
//     increase over the range: counters of a run begin at 0, and the last value
//     is exact where an increase is extrapolated.
//   - A percentile is taken once, of summed buckets. Of native histograms if
//     there are any, since theirs are 9% wide; else of the classic ones.
//
// Panels that show one number or a table look back over the dashboard's time
// range, so that they still say something when the run is over and its series
// have ended.
package dashboards

//go:generate go test -run TestCurrent -update .

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Dashboard is one of them.
type Dashboard struct {
	File string // its name in dashboards/load-testing
	dashboard.Dashboard
}

// board is a dashboard before it is Grafana's.
type board struct {
	name  string // of the file, and in the uid
	title string
	about string
	rows  []row
}

// row is a row of panels, which share its width unless they say theirs.
type row struct {
	height uint32 // in Grafana's units of 38 pixels
	panels []panel
}

// boards are in the order in which the links name them.
var boards = []board{overview, performance, streaming, models, tenants, failures, cost, cacheSalt, generator}

// uid is the stable name by which links find a dashboard.
func uid(name string) string { return "loadtest-" + name }

// All returns the dashboards, in the order in which they link to one another.
func All() ([]Dashboard, error) {
	all := make([]Dashboard, 0, len(boards))
	for _, b := range boards {
		d, err := b.build()
		if err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", b.name, err)
		}
		all = append(all, Dashboard{File: b.name + ".json", Dashboard: d})
	}
	return all, nil
}

func (b board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder("Load test: "+b.title).Uid(uid(b.name)).Description(b.about).Tags([]string{"loadtest"}).
		Editable().Tooltip(dashboard.DashboardCursorSyncCrosshair).Timezone("browser").Time("now-30m", "now").Refresh("10s").
		Variables(variables())
	for _, to := range boards {
		d.Link(link{dashboard.NewDashboardLinkBuilder(to.title).Type(dashboard.DashboardLinkTypeLink).Url("/d/" + uid(to.name)).
			Tooltip(to.about).Icon("dashboard").IncludeVars(true).KeepTime(true)})
	}
	id, y := uint32(0), uint32(0)
	for _, r := range b.rows {
		x := uint32(0)
		free, sharing := uint32(columns), uint32(0)
		for _, p := range r.panels {
			free -= p.width
			if p.width == 0 {
				sharing++
			}
		}
		for _, p := range r.panels {
			if p.width == 0 {
				p.width = free / sharing
				free, sharing = free-p.width, sharing-1
			}
			id++
			d.WithPanel(p.build(id, dashboard.GridPos{H: r.height, W: p.width, X: x, Y: y}))
			x += p.width
		}
		y += r.height
	}
	return d.Build()
}

// link is a link that stands where people see it, not in a menu.
type link struct {
	*dashboard.DashboardLinkBuilder
}

// Build implements [cog.Builder].
func (l link) Build() (dashboard.DashboardLink, error) {
	built, err := l.DashboardLinkBuilder.Build()
	built.Placement = nil
	return built, err
}

// columns is the width of Grafana's grid.
const columns = 24

// source is the data source that the variable names.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// variables choose what is looked at: one run as it came by one way, since what
// is scraped and pushed is there twice, and of it all or some workers,
// organizations and models. What was written without a job has the empty one,
// which Grafana takes where there is no other.
func variables() []cog.Builder[dashboard.VariableModel] {
	query := func(name, label, metric, of string) *dashboard.QueryVariableBuilder {
		text := "label_values(" + metric + ", " + of + ")"
		return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source()).Query(dashboard.StringOrMap{String: &text}).
			Definition(text).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc)
	}
	some := func(name, label, metric, of string) *dashboard.QueryVariableBuilder {
		all := dashboard.VariableOption{Selected: cog.ToPtr(true),
			Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}, Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}}
		return query(name, label, metric+`{test_run_id="$run",job="$job"}`, of).Multi(true).IncludeAll(true).AllValue(".*").Current(all)
	}
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"),
		query("run", "Run", "loadtest_worker_status", "test_run_id").Sort(dashboard.VariableSortNaturalDesc),
		query("job", "Job", `loadtest_worker_status{test_run_id="$run"}`, "job"),
		some("worker", "Worker", "loadtest_worker_status", "worker_id"),
		some("org", "Organization", "loadtest_user_requests_total", "org_id"),
		some("model", "Model", "loadtest_user_requests_total", "model"),
	}
}
