package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// kind is how a panel shows its queries.
type kind int

const (
	lines           kind = iota // over time
	areas                       // over time, stacked
	columnsOverTime             // over time, stacked: what is new at each point
	number                      // one, with a line of how it came about
	word                        // the legend of whatever the query finds
	bars                        // one for each series
	shares                      // bars of what came into each bucket of a histogram
	heat                        // buckets over time
	rows                        // a table; each query is a column
)

// Units of Grafana that are used.
const (
	seconds   = units.Seconds
	ratio     = units.PercentUnit
	percent   = units.Percent
	dollars   = units.Dollars
	bytes     = units.BytesIEC
	perSecond = units.RequestsPerSecond
	speed     = "suffix: tokens/s"
	plain     = units.Short
	millis    = units.Milliseconds
)

// panel is one picture of a dashboard.
type panel struct {
	kind  kind
	title string
	unit  string
	about string // says what the numbers are, and what to do about them
	// queries, each of which needs a legend unless it gives one series.
	queries []query
	// warn and bad are from where on a value is yellow and red; 0: never.
	// Where less is worse, bad is below warn.
	warn, bad float64
	min, max  float64 // of the axis, or of bars; both 0: from 0 to whatever comes
	labels    []label // columns of a table, before its queries
	sort      string  // the column that a table is sorted by
	links     string  // the dashboard that says more
	width     uint32  // 0: a share of the row
	none      string  // what stands there if there is no data; empty: Grafana's words
	paint     []paint // series whose colour means something
}

// query is an expression and what its series are called. In tables the legend
// is the column's title, and unit its unit if it is not the panel's.
type query struct{ expr, legend, unit string }

// paint is the colour of a series.
type paint struct{ name, colour string }

// label is a label and the title of its column.
type label struct{ name, title string }

// builder is what the builders of all kinds of panels have in common.
type builder[B any] interface {
	Id(uint32) B
	Title(string) B
	Description(string) B
	Datasource(common.DataSourceRef) B
	GridPos(dashboard.GridPos) B
	Unit(string) B
	Max(float64) B
	NoValue(string) B
	Min(float64) B
	Thresholds(cog.Builder[dashboard.ThresholdsConfig]) B
	ColorScheme(cog.Builder[dashboard.FieldColor]) B
	WithTarget(cog.Builder[variants.Dataquery]) B
	Links([]cog.Builder[dashboard.DashboardLink]) B
}

func (p panel) build(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	switch p.kind {
	case number, word:
		return p.stat(id, at)
	case bars, shares:
		return p.bars(id, at)
	case heat:
		return p.heat(id, at)
	case rows:
		return p.table(id, at)
	}
	return p.overTime(id, at)
}

// frame gives a panel what every panel has.
func frame[B builder[B]](b B, p panel, id uint32, at dashboard.GridPos) B {
	b.Id(id)
	b.Title(p.title)
	b.Description(p.about)
	b.Datasource(source())
	b.GridPos(at)
	b.Unit(p.unit)
	b.Thresholds(p.thresholds())
	for i, q := range p.queries {
		b.WithTarget(p.target(q, string(rune('A'+i))))
	}
	b.Min(p.min)
	if p.max != 0 {
		b.Max(p.max)
	}
	if p.none != "" {
		b.NoValue(p.none)
	}
	if p.links != "" {
		for _, to := range boards {
			if to.name == p.links {
				b.Links([]cog.Builder[dashboard.DashboardLink]{link{dashboard.NewDashboardLinkBuilder(to.title).
					Type(dashboard.DashboardLinkTypeLink).Url("/d/" + uid(to.name) + "?${__url_time_range}&${__all_variables}")}})
			}
		}
	}
	return b
}

func (p panel) target(q query, ref string) *prometheus.DataqueryBuilder {
	b := prometheus.NewDataqueryBuilder().Expr(q.expr).RefId(ref).EditorMode(prometheus.QueryEditorModeCode).Datasource(source())
	legend := q.legend
	if legend == "" && p.kind != number {
		legend = p.title
	}
	b.LegendFormat(legend)
	switch p.kind {
	case word, bars:
		return b.Instant()
	case rows:
		return b.Instant().Format(prometheus.PromQueryFormatTable)
	case shares:
		return b.Instant().Format(prometheus.PromQueryFormatHeatmap)
	case heat:
		return b.Range().Format(prometheus.PromQueryFormatHeatmap)
	}
	return b.Range()
}

// Colours of Grafana that mean something.
const good, careful, wrong, neutral = "green", "yellow", "red", "blue"

func (p panel) thresholds() cog.Builder[dashboard.ThresholdsConfig] {
	steps := []dashboard.Threshold{{Color: neutral}}
	switch {
	case p.bad != 0 && p.warn > p.bad: // less is worse
		steps = []dashboard.Threshold{{Color: wrong}, {Value: &p.bad, Color: careful}, {Value: &p.warn, Color: good}}
	case p.bad != 0 && p.warn != 0:
		steps = []dashboard.Threshold{{Color: good}, {Value: &p.warn, Color: careful}, {Value: &p.bad, Color: wrong}}
	case p.bad != 0:
		steps = []dashboard.Threshold{{Color: good}, {Value: &p.bad, Color: wrong}}
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func byThreshold() cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)
}

func byName() cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdPaletteClassic)
}

// lastValue reduces series to what they were last.
func lastValue() cog.Builder[common.ReduceDataOptions] {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Fields("").Values(false)
}

func (p panel) overTime(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := frame(timeseries.NewPanelBuilder(), p, id, at).ColorScheme(byName()).LineWidth(1.5).ShowPoints(common.VisibilityModeNever).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).
			Calcs([]string{"lastNotNull", "max"})).
		FillOpacity(8)
	for _, c := range p.paint {
		b.OverrideByName(c.name, []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": c.colour}}})
	}
	if p.bad != 0 {
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.kind == areas || p.kind == columnsOverTime {
		b.Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A")).FillOpacity(40)
	}
	if p.kind == columnsOverTime {
		b.DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).LineWidth(0)
	}
	return b
}

func (p panel) stat(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := frame(stat.NewPanelBuilder(), p, id, at).ColorScheme(byThreshold()).ReduceOptions(lastValue()).
		ColorMode(common.BigValueColorModeValue).GraphMode(common.BigValueGraphModeArea).TextMode(common.BigValueTextModeValue)
	if p.kind == word {
		b.GraphMode(common.BigValueGraphModeNone).TextMode(common.BigValueTextModeName)
	}
	return b
}

func (p panel) bars(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := frame(bargauge.NewPanelBuilder(), p, id, at).ColorScheme(byThreshold()).ReduceOptions(lastValue()).
		Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).ShowUnfilled(true).
		NamePlacement(common.BarGaugeNamePlacementLeft).ValueMode(common.BarGaugeValueModeColor)
	if p.kind == shares {
		b.Orientation(common.VizOrientationVertical).NamePlacement(common.BarGaugeNamePlacementAuto)
	}
	return b
}

func (p panel) heat(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	return frame(heatmap.NewPanelBuilder(), p, id, at).Calculate(false).CellGap(1).ShowLegend().
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(p.unit).AxisPlacement(common.AxisPlacementLeft)).
		CellValues(heatmap.NewCellValuesBuilder().Unit(plain)).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").Fill("dark-orange").
			Exponent(0.5).Steps(64).Reverse(false))
}

func (p panel) table(id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	b := frame(table.NewPanelBuilder(), p, id, at).ShowHeader(true).CellHeight(common.TableCellHeightSm).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{}))
	names, order := map[string]string{}, map[string]int{}
	for i, l := range p.labels {
		names[l.name], order[l.name] = l.title, i
	}
	for i, q := range p.queries {
		field := fmt.Sprintf("Value #%c", 'A'+i)
		if len(p.queries) == 1 {
			field = "Value"
		}
		names[field], order[field] = q.legend, len(p.labels)+i
		if q.unit != "" {
			b.OverrideByName(q.legend, []dashboard.DynamicConfigValue{{Id: "unit", Value: q.unit}})
		}
	}
	if len(p.queries) > 1 {
		b.WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}})
	}
	b.WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
		"excludeByName": map[string]bool{"Time": true}, "indexByName": order, "renameByName": names,
	}})
	if p.sort != "" {
		b.SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(p.sort).Desc(true)})
	}
	return b
}
