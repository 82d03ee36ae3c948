package dashboards

var models = board{
	name: "model-comparison", title: "Models",
	about: "Which model is faster, cheaper and more reliable under the same users?",
	rows: []row{
		{6, []panel{
			{kind: rows, title: "Models side by side", unit: seconds, sort: "Requests",
				about:  "The whole run so far. Latencies are of measured successes; requests and errors of all. Paid is what prompt and completion tokens cost together.",
				labels: []label{{"model", "Model"}},
				queries: []query{
					{total("model", "user_requests_total"), "Requests", plain},
					{errorRatio("model", total), "Errors", ratio},
					{ttft.all(0.5, "model"), "TTFT p50", ""}, {ttft.all(0.95, "model"), "TTFT p95", ""},
					{tpot.all(0.5, "model"), "TPOT p50", ""},
					{e2e.all(0.5, "model"), "Latency p50", ""}, {e2e.all(0.95, "model"), "Latency p95", ""},
					{mean("model", "llm_tokens_per_second", total), "Mean speed", speed},
					{mean("model", "llm_completion_tokens", total), "Mean tokens", plain},
					{aggregate("max", "model", last("llm_cost_per_million_tokens_usd", `token_type="total"`)), "Paid, per million tokens", dollars},
				}},
		}},
		{9, []panel{
			{kind: lines, title: "Time to first token, p95", unit: seconds,
				about: "TTFT of measured successes that stream.", links: "streaming",
				queries: []query{{expr: ttft.over(0.95, "model"), legend: "{{model}}"}}},
			{kind: lines, title: "Latency, p95", unit: seconds,
				about: "End-to-end latency of measured successes.", links: "performance",
				queries: []query{{expr: e2e.over(0.95, "model"), legend: "{{model}}"}}},
			{kind: lines, title: "Speed of an answer", unit: speed,
				about:   "Completion tokens of a measured success divided by its end-to-end latency: the mean.",
				queries: []query{{expr: mean("model", "llm_tokens_per_second", rate), legend: "{{model}}"}}},
		}},
		{8, []panel{
			{kind: bars, title: "Price of a million tokens", unit: dollars,
				about:   "By type of token, as the scenario or the platform says. total is what was really paid for prompt and completion together.",
				queries: []query{{expr: aggregate("max", "model, token_type", last("llm_cost_per_million_tokens_usd")), legend: "{{model}} {{token_type}}"}}},
			{kind: bars, title: "How answers end", unit: plain,
				about:   "Successes by finish reason. Many that end by length are cut off by maxTokensPerRequest.",
				queries: []query{{expr: total("model, finish_reason", "llm_finish_reason_total"), legend: "{{model}} {{finish_reason}}"}}},
			{kind: bars, title: "Context window used, p95", unit: percent, max: 100, warn: 75, bad: 90,
				about:   "Tokens of a measured success as a share of the model's context window, where the platform's list of models says how long that is. As exact as the buckets: 10, 25, 50, 75, 90 and 100%.",
				queries: []query{{expr: quantile(0.95, "model", "llm_context_window_utilization_percent", total), legend: "{{model}}"}}},
			{kind: lines, title: "Requests waiting on the backend", unit: ratio, max: 1, warn: 0.1, bad: 0.5,
				about:   "Share of the requests on a backend that wait for a place in the batch, where the platform exposes vLLM's metrics. As each worker sees it, the highest.",
				queries: []query{{expr: aggregate("max", "model", of("llm_backend_saturation_ratio")), legend: "{{model}}"}}},
		}},
	},
}
