// Package stats folds records into aggregates that merge exactly.
//
// A [Histogram] keeps counts in fixed buckets, so that the histogram of two
// workers together is the sum of their histograms, and a percentile is taken
// once, after merging. A [Group] is the totals and latency histograms of one
// slice of the traffic; a [Summary] holds a Group for every combination of
// phase, org, model and endpoint that occurred, the totals of every user, and
// a [Timeline]. Coarser views are sums of these ([Summary.Rollup]).
//
// A [Collector] is the [record.Sink] that many goroutines may feed at once.
// Memory grows with the number of combinations and users and, slowly, with the
// run's duration; never with the number of requests.
package stats
