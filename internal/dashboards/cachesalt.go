package dashboards

// found is the share of requests of whose prompt a part was in the cache.
func found(by string, count func(by, name string, more ...string) string) string {
	hits, misses := count(by, "user_cache_hits_total"), count(by, "user_cache_misses_total")
	return hits + " / (" + hits + " + " + misses + ")"
}

// cached is the share of prompt tokens that came from the cache.
func cached(by string, count func(by, name string, more ...string) string) string {
	return count(by, "user_tokens_total", `token_type="cached"`) + " / " + count(by, "user_tokens_total", `token_type="prompt"`)
}

var cacheSalt = board{
	name: "cache-salt", title: "Cache and salt",
	about: "Does the prefix cache help, and does the salt keep tenants apart? All of it as far as the platform says what was cached.",
	rows: []row{
		{4, []panel{
			{kind: number, title: "Salt violations", unit: plain, bad: 1, none: "not checked",
				about:   "Prompts sent under one salt that were found in the cache under another, in the whole run so far: a tenant could tell what another one asked. Needs cacheSalt.validation.",
				queries: []query{{expr: total("", "user_cache_salt_violations_total")}}},
			{kind: number, title: "Salts tried", unit: plain, none: "none", about: "Salts under which prompts were sent to be looked for under others.",
				queries: []query{{expr: "count(" + of("user_cache_salt_violations_total") + ")"}}},
			{kind: number, title: "Requests with a cache hit", unit: ratio, max: 1,
				about:   "Requests of whose prompt a part came from the cache, of those for which the platform says so; the whole run so far.",
				queries: []query{{expr: found("", total)}}},
			{kind: number, title: "Prompt tokens cached", unit: ratio, max: 1,
				about:   "Share of all prompt tokens that came from the cache: what was saved.",
				queries: []query{{expr: cached("", total)}}},
		}},
		{9, []panel{
			{kind: lines, title: "Requests with a cache hit", unit: ratio, max: 1,
				about:   "By organization, at the moment. It grows while conversations do.",
				queries: []query{{expr: found("org_id", rate), legend: "{{org_id}}"}}},
			{kind: lines, title: "Prompt tokens cached", unit: ratio, max: 1,
				about:   "By model, at the moment.",
				queries: []query{{expr: cached("model", rate), legend: "{{model}}"}}},
		}},
		{9, []panel{
			{kind: areas, title: "Hits and misses", unit: perSecond,
				about: "Requests a second of whose prompt a part came from the cache, and of whose nothing did.",
				queries: []query{
					{expr: rate("", "user_cache_hits_total"), legend: "hits"},
					{expr: rate("", "user_cache_misses_total"), legend: "misses"},
				}, paint: []paint{{"hits", good}, {"misses", neutral}}},
			{kind: lines, title: "Time to first token", unit: seconds, links: "streaming",
				about:   "What a cache is for: p50 and p95 of measured successes that stream. It should fall where the shares above rise.",
				queries: ttft.percentiles(0.5, 0.95)},
		}},
		{8, []panel{
			{kind: bars, title: "Cache hits by organization", unit: ratio, max: 1, links: "tenants",
				about:   "The whole run so far. Organizations that ask alike should have alike shares; one that has much more may be reading another's cache.",
				queries: []query{{expr: found("org_id", total), legend: "{{org_id}}"}}},
			{kind: rows, title: "Violations by salt", unit: plain, none: "not checked", sort: "Violations",
				about:  "0 is what should stand everywhere. Of more than 100 salts, only those with violations are listed.",
				labels: []label{{"cache_salt", "Salt"}},
				queries: []query{
					{total("cache_salt", "user_cache_salt_violations_total"), "Violations", ""},
				}},
		}},
	},
}
