package dashboards

var failures = board{
	name: "errors", title: "Errors",
	about: "What fails, since when, and for whom?",
	rows: []row{
		{4, []panel{
			{kind: number, title: "Errors", unit: plain, bad: 1, none: "0",
				about:   "Errors of all types in the whole run so far, those that chaos made among them.",
				queries: []query{{expr: total("", "user_errors_total")}}},
			{kind: number, title: "Error rate", unit: ratio, warn: 0.01, bad: 0.05,
				about:   "(refused + failed) / (requests − cancelled), of the whole run so far. Requests that chaos harmed are in neither.",
				queries: []query{{expr: errorRatio("", total)}}},
			{kind: number, title: "Refused", unit: plain, bad: 1, none: "0",
				about:   "Requests to which the platform said no: 429, a budget that is used up, a key that is not valid.",
				queries: []query{{expr: total("", "user_requests_total", `status="refused"`)}}},
			{kind: number, title: "Failed", unit: plain, bad: 1, none: "0",
				about:   "Requests that went wrong: 5xx, a connection that broke, an answer that cannot be read.",
				queries: []query{{expr: total("", "user_requests_total", `status="failed"`)}}},
		}},
		{9, []panel{
			{kind: columnsOverTime, title: "Error timeline", unit: plain, none: "no errors",
				about:   "Errors between two points, by type. Exact: the first of a type counts too.",
				queries: []query{{expr: fresh("error_type", "user_errors_total"), legend: "{{error_type}}"}}, width: 16},
			{kind: bars, title: "Errors by type", unit: plain, none: "no errors",
				about:   "The whole run so far. chaos_injected is what this side broke on purpose, cancelled requests are no errors.",
				queries: []query{{expr: "sort_desc(" + total("error_type", "user_errors_total") + ")", legend: "{{error_type}}"}}},
		}},
		{9, []panel{
			{kind: lines, title: "Error rate by organization", unit: ratio, links: "tenants",
				about:   "(refused + failed) / (requests − cancelled), at the moment.",
				queries: []query{{expr: errorRatio("org_id", rate), legend: "{{org_id}}"}}, width: 16},
			{kind: bars, title: "Errors by organization", unit: plain, none: "no errors", links: "tenants",
				about:   "The whole run so far.",
				queries: []query{{expr: "sort_desc(" + total("org_id", "user_errors_total") + ")", legend: "{{org_id}}"}}},
		}},
		{9, []panel{
			{kind: rows, title: "What was answered", unit: plain, none: "no errors", sort: "Errors",
				about:  "Errors of the whole run so far by type and HTTP status; status 0 if none arrived, other where there is no room for more series.",
				labels: []label{{"error_type", "Type"}, {"http_status", "Status"}, {"org_id", "Organization"}},
				queries: []query{
					{total("error_type, http_status, org_id", "user_errors_total"), "Errors", ""},
				}},
			{kind: bars, title: "Top failing users", unit: plain, none: "no errors",
				about:   "Users with the most errors. Each worker names ten at most, however many users there are, so that the number of series is bounded; all are in the result file.",
				queries: []query{{expr: "topk(10, " + aggregate("max", "org_id, user_id", last("user_top_errors")) + ")", legend: "{{org_id}} {{user_id}}"}}},
		}},
	},
}
