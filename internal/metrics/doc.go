// Package metrics shows a run from outside while it lasts: as Prometheus
// metrics, under the names that dashboards and alerts expect.
//
// [Metrics] folds records like any other [record.Sink], into sums and
// histograms of its own, and turns them into metrics only when somebody
// gathers them. A request therefore costs the same whatever is exported, and
// no exporter can hold one up: [Exporter] gathers and pushes from a goroutine of
// its own, and what it cannot deliver is counted.
//
// What a number means is what docs/load-testing/measurement.md says: counters
// are of all requests, latencies of measured successes. At the end of a run
// the sums equal those of the result file exactly. docs/load-testing/metrics.md
// lists the names.
//
// The number of series is bounded whatever the load: see [Room].
package metrics
