package dashboards

// spending is what is spent in an hour at this pace. Costs are gauges.
func spending(by string) string {
	return sum(by, "deriv("+of("user_cost_usd")+"[$__rate_interval])") + " * 3600"
}

var cost = board{
	name: "cost", title: "Cost",
	about: "What does the run cost, who spends it, and when is the money gone? Requests whose model has no price cost nothing here.",
	rows: []row{
		{4, []panel{
			{kind: number, title: "Total cost", unit: dollars, about: "Spent so far.",
				queries: []query{{expr: sum("", of("user_cost_usd"))}}},
			{kind: number, title: "Cost rate ($/hour)", unit: dollars, about: "What an hour costs at the present pace.",
				queries: []query{{expr: spending("")}}},
			{kind: number, title: "Cost of 1,000 requests", unit: dollars,
				about:   "Spent so far, divided by the requests so far, failed ones among them.",
				queries: []query{{expr: "1000 * " + total("", "user_cost_usd") + " / " + total("", "user_requests_total")}}},
			{kind: number, title: "Cost limit used", unit: ratio, max: 1, warn: 0.8, bad: 1, none: "no limit",
				about:   "Money spent of limits.maxCostUsd, by the worker that is nearest to its share. No data without that limit.",
				queries: []query{{expr: aggregate("max", "", of("limit_cost_utilization_ratio"))}}},
		}},
		{9, []panel{
			{kind: areas, title: "Total cost over time", unit: dollars,
				about:   "Spent so far, by organization.",
				queries: []query{{expr: sum("org_id", of("user_cost_usd")), legend: "{{org_id}}"}}},
			{kind: areas, title: "Cost rate over time ($/hour)", unit: dollars,
				about:   "What an hour costs at the pace of the moment, by organization.",
				queries: []query{{expr: spending("org_id"), legend: "{{org_id}}"}}},
		}},
		{9, []panel{
			{kind: bars, title: "Cost per organization", unit: dollars, links: "tenants",
				about:   "The whole run so far.",
				queries: []query{{expr: "sort_desc(" + total("org_id", "user_cost_usd") + ")", legend: "{{org_id}}"}}},
			{kind: bars, title: "Cost per user", unit: dollars,
				about:   "The 15 users who cost most. Users have series of their own up to metrics.perUser (200) of them; of more, the organization's total stands here as the user all, and every user is in the result file.",
				queries: []query{{expr: "topk(15, " + total("org_id, user_id", "user_cost_usd") + ")", legend: "{{org_id}} {{user_id}}"}}},
		}},
		{8, []panel{
			{kind: rows, title: "Models and their prices", unit: dollars, sort: "Paid", links: "model-comparison",
				about:  "Price of a million tokens by type, and what was really paid for a million of prompt and completion together. Efficiency is the mean speed of a request divided by its mean cost, for the organization with the most.",
				labels: []label{{"model", "Model"}},
				queries: []query{
					{aggregate("max", "model", last("llm_cost_per_million_tokens_usd", `token_type="prompt"`)), "Prompt", ""},
					{aggregate("max", "model", last("llm_cost_per_million_tokens_usd", `token_type="completion"`)), "Completion", ""},
					{aggregate("max", "model", last("llm_cost_per_million_tokens_usd", `token_type="total"`)), "Paid", ""},
					{total("model", "user_tokens_total", `token_type!="cached"`), "Tokens", plain},
					{aggregate("max", "model", last("llm_cost_efficiency_tps_per_usd")), "Efficiency", plain},
				}},
			{kind: lines, title: "Tokens a second", unit: speed,
				about:   "What the money is spent on. Cached tokens are part of prompt, and mostly cheaper.",
				queries: []query{{expr: rate("token_type", "user_tokens_total"), legend: "{{token_type}}"}}},
		}},
	},
}
