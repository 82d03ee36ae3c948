package dashboards

var performance = board{
	name: "performance", title: "Performance",
	about: "How fast does the platform answer, and what answers slowly?",
	rows: []row{
		{9, []panel{
			{kind: lines, title: "Latency percentiles", unit: seconds,
				about:   "End-to-end latency of measured successes. Percentiles are taken of the buckets of all workers, organizations and models together.",
				queries: e2e.percentiles(0.5, 0.9, 0.95, 0.99)},
			{kind: lines, title: "Latency by model, p95", unit: seconds, links: "model-comparison",
				about:   "Which model is slow? End-to-end latency of measured successes.",
				queries: []query{{expr: e2e.over(0.95, "model"), legend: "{{model}}"}}},
		}},
		{9, []panel{
			{kind: heat, title: "Latency heatmap", unit: seconds,
				about:   "How many measured successes took how long. Two bands are two kinds of answers, such as cached and not, where an average would show one in between.",
				queries: []query{{expr: buckets(e2e.classic, "$__rate_interval"), legend: "{{le}}"}}},
			{kind: shares, title: "Response-time distribution", unit: plain,
				about:   "Measured successes of the whole run so far, by end-to-end latency in seconds: those that took this long at most, and longer than the bucket before.",
				queries: []query{{expr: buckets(e2e.classic, ""), legend: "{{le}}"}}},
		}},
		{8, []panel{
			{kind: rows, title: "Slowest endpoints", unit: seconds, sort: "p95",
				about:  "Where answers come from: model, and the backend that the platform names in X-Routing-Backend (empty if it names none). End-to-end latency of measured successes, of the whole run so far.",
				labels: []label{{"model", "Model"}, {"backend_id", "Backend"}},
				queries: []query{
					{total("model, backend_id", e2e.classic+"_count"), "Answers", plain},
					{e2e.all(0.5, "model, backend_id"), "p50", ""}, {e2e.all(0.9, "model, backend_id"), "p90", ""},
					{e2e.all(0.95, "model, backend_id"), "p95", ""}, {e2e.all(0.99, "model, backend_id"), "p99", ""},
				}},
			{kind: lines, title: "Requests in flight", unit: plain,
				about:   "Requests under way, as this side sees them. If it grows while requests a second do not, the platform is at its limit.",
				queries: []query{{expr: sum("model", of("llm_backend_requests_in_flight")), legend: "{{model}}"}}, width: 9},
		}},
		{7, []panel{
			{kind: bars, title: "Distance from what is promised", none: "nothing is promised", unit: percent, min: -100, max: 100, bad: 0.001,
				about:   "How much more (+) or less (−) a percentile is than the scenario's slo allows, of the organization for which it is worst. −100 is at once, 0 just as promised. Without an slo there is nothing here.",
				queries: []query{{expr: aggregate("max", "model, metric", last("llm_performance_vs_baseline_percent")), legend: "{{model}} {{metric}}"}}},
			{kind: bars, title: "Objectives kept", unit: percent, max: 100, warn: 99, bad: 95,
				about:   "Share of measured requests that kept the objective for TTFT, ITL or end-to-end latency, and that did not fail (availability), of the organization for which it is worst.",
				queries: []query{{expr: aggregate("min", "model, metric_type", last("llm_performance_score")), legend: "{{model}} {{metric_type}}"}}},
		}},
	},
}
