package dashboards

var overview = board{
	name: "overview", title: "Overview",
	about: "Is the run all right? Where it is, how much load there is, and how the platform answers.",
	rows: []row{
		{4, []panel{
			{kind: word, title: "Current phase", unit: plain,
				about: "The phase of the load; if no user is at work, what the workers do instead: bootstrap, preflight, running until the last answer is there, cleanup, finished.",
				queries: []query{{
					expr: aggregate("max", "phase", last("run_active_users")) + " > 0 or on () " +
						aggregate("max", "phase", last("worker_status")) + " == 1",
					legend: "{{phase}}"}}},
			{kind: number, title: "Active users", unit: plain, about: "Users at work, of all workers; under open load, requests under way.",
				queries: []query{{expr: sum("", of("worker_users_active"))}}},
			{kind: number, title: "Requests a second", unit: perSecond, about: "Requests of any outcome, retries among them.",
				queries: []query{{expr: rate("", "user_requests_total")}}},
			{kind: number, title: "Error rate", unit: ratio, warn: 0.01, bad: 0.05, links: "errors",
				about:   "(refused + failed) / (requests − cancelled), of the whole run so far. Requests that chaos harmed are in neither.",
				queries: []query{{expr: errorRatio("", total)}}},
			{kind: number, title: "Latency, p95", unit: seconds, links: "performance",
				about:   "End-to-end latency of measured successes: 95% were as fast as this or faster.",
				queries: []query{{expr: e2e.over(0.95, "")}}},
			{kind: number, title: "Cost", unit: dollars, links: "cost", about: "Spent so far, as far as prices are known.",
				queries: []query{{expr: sum("", of("user_cost_usd"))}}},
		}},
		{9, []panel{
			{kind: areas, title: "Active users", unit: plain,
				about:   "Users at work in each phase, of all workers; under open load, requests under way.",
				queries: []query{{expr: sum("phase", of("run_active_users")), legend: "{{phase}}"}}},
			{kind: areas, title: "Requests a second by outcome", unit: perSecond,
				about:   "success; refused: the platform said no, such as 429; failed; cancelled: the run ended, or a user gave up.",
				queries: []query{{expr: rate("status", "user_requests_total"), legend: "{{status}}"}},
				paint:   []paint{{"success", good}, {"refused", careful}, {"failed", wrong}, {"cancelled", neutral}}},
		}},
		{9, []panel{
			{kind: lines, title: "Error rate", unit: ratio, warn: 0.01, bad: 0.05, links: "errors",
				about:   "(refused + failed) / (requests − cancelled), at the moment.",
				queries: []query{{expr: errorRatio("", rate), legend: "error rate"}}},
			{kind: lines, title: "Latency", unit: seconds, links: "performance",
				about:   "Percentiles of the end-to-end latency of measured successes, of the buckets of all workers together.",
				queries: e2e.percentiles(0.5, 0.95, 0.99)},
		}},
		{7, []panel{
			{kind: lines, title: "Tokens a second", unit: speed, links: "streaming",
				about:   "Tokens read and written by the models. Cached ones are part of prompt.",
				queries: []query{{expr: rate("token_type", "user_tokens_total", `token_type!="cached"`), legend: "{{token_type}}"}}},
			{kind: bars, title: "Limits used", unit: ratio, max: 1, warn: 0.8, bad: 1, none: "no limits",
				about: "How much of the scenario's limits is used up, by the worker that is nearest; at 100% the run ends. A limit that the scenario does not set has no bar.",
				queries: []query{
					{expr: aggregate("max", "", last("limit_cost_utilization_ratio")), legend: "cost"},
					{expr: aggregate("max", "", last("limit_error_rate_utilization_ratio")), legend: "error rate"},
				}},
			{kind: number, title: "Limits that ended the run", unit: plain, bad: 1, width: 4,
				about:   "0 as long as no limit of the scenario has stopped a worker. Which one did is said at the end of the run.",
				queries: []query{{expr: sum("", of("limit_breached"))}}},
		}},
	},
}
