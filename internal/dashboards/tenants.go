package dashboards

// successes are what each organization got done.
var successes = rate("org_id", "user_requests_total", `status="success"`)

var tenants = board{
	name: "tenants", title: "Tenants",
	about: "Does everybody get a fair share, or does one organization suffer from another?",
	rows: []row{
		{4, []panel{
			{kind: number, title: "Organizations", unit: plain, about: "Organizations that have sent requests, among those chosen above.",
				queries: []query{{expr: "count(" + sum("org_id", of("user_requests_total")) + ")"}}},
			{kind: number, title: "Fairness", unit: ratio, max: 1, warn: 0.9, bad: 0.7,
				about:   "Jain's index of the organizations' successes a second: 100% if all get the same, 1/n if one gets everything. It says something of the platform only if all ask for the same.",
				queries: []query{{expr: "sum(" + successes + ") ^ 2 / (count(" + successes + ") * sum((" + successes + ") ^ 2))"}}},
			{kind: number, title: "Slowest against fastest", unit: "suffix:×", warn: 1.5, bad: 3,
				about:   "p95 of the slowest organization divided by that of the fastest, of the whole run so far; end-to-end latency of measured successes.",
				queries: []query{{expr: "max(" + e2e.all(0.95, "org_id") + ") / min(" + e2e.all(0.95, "org_id") + ")"}}},
			{kind: number, title: "Rate-limited", unit: plain, warn: 1, bad: 100, none: "0", links: "errors",
				about:   "Requests that the platform refused with 429, in the whole run so far.",
				queries: []query{{expr: total("", "user_errors_total", `error_type="rate_limited"`)}}},
		}},
		{7, []panel{
			{kind: rows, title: "Organizations side by side", unit: seconds, sort: "Latency p95",
				about:  "The whole run so far. Latencies are of measured successes.",
				labels: []label{{"org_id", "Organization"}},
				queries: []query{
					{total("org_id", "user_requests_total"), "Requests", plain},
					{errorRatio("org_id", total), "Errors", ratio},
					{e2e.all(0.5, "org_id"), "Latency p50", ""}, {e2e.all(0.95, "org_id"), "Latency p95", ""}, {e2e.all(0.99, "org_id"), "Latency p99", ""},
					{ttft.all(0.95, "org_id"), "TTFT p95", ""},
					{total("org_id", "user_tokens_total", `token_type!="cached"`), "Tokens", plain},
					{total("org_id", "user_cost_usd"), "Cost", dollars},
				}},
		}},
		{9, []panel{
			{kind: areas, title: "Successes a second", unit: perSecond,
				about:   "What each organization gets done.",
				queries: []query{{expr: successes, legend: "{{org_id}}"}}},
			{kind: lines, title: "Latency, p95", unit: seconds, links: "performance",
				about:   "End-to-end latency of measured successes. Lines that part show a tenant that suffers.",
				queries: []query{{expr: e2e.over(0.95, "org_id"), legend: "{{org_id}}"}}},
			{kind: lines, title: "Error rate", unit: ratio, links: "errors",
				about:   "(refused + failed) / (requests − cancelled), at the moment.",
				queries: []query{{expr: errorRatio("org_id", rate), legend: "{{org_id}}"}}},
		}},
		{8, []panel{
			{kind: bars, title: "Users who wait longest", unit: seconds,
				about:   "Mean end-to-end latency of the slowest users. Each worker names ten at most, however many users there are; all are in the result file.",
				queries: []query{{expr: "topk(10, " + aggregate("max", "org_id, user_id", last("user_top_latency_seconds")) + ")", legend: "{{org_id}} {{user_id}}"}}},
			{kind: bars, title: "Tokens", unit: plain, links: "cost",
				about:   "Prompt and completion tokens of each organization in the whole run so far.",
				queries: []query{{expr: total("org_id", "user_tokens_total", `token_type!="cached"`), legend: "{{org_id}}"}}},
		}},
	},
}
