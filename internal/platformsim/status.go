package platformsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// routeOther serves what is not inference.
func (p *Platform) routeOther(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/v1/status/healthz" && get(r):
		writeJSON(w, http.StatusOK, map[string]any{
			"status": "healthy", "timestamp": stamp(time.Now()), "build": map[string]string{"version": "simulated"},
		})
		return
	case path == "/v1/status/readyz" && get(r):
		p.readyz(w)
		return
	case path == "/healthz" && !p.quirks.FewEndpoints && get(r):
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
		return
	case path == "/metrics" && get(r):
		p.metrics(w)
		return
	}

	// All else needs a key; only some of it a token of the rate limiter.
	c := p.begin(w, r, chat)
	defer c.release()
	if !c.authenticate() || p.quirks.LimiterCountsAll && !c.limit() {
		return
	}
	models := (path == "/v1/models" || strings.HasPrefix(path, "/v1/models/")) && !p.quirks.FewEndpoints
	switch {
	case models && !get(r), strings.HasPrefix(path, "/v1/audit/requests/") && !get(r):
		p.wrongMethod(w, http.MethodGet)
	case path == "/v1/models" && models:
		list := []any{}
		for _, b := range p.models {
			list = append(list, b.show(p.started))
		}
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": list})
	case models:
		name := strings.TrimPrefix(path, "/v1/models/")
		if b := p.backends[name]; b != nil {
			writeJSON(w, http.StatusOK, b.show(p.started))
			return
		}
		c.fail(http.StatusNotFound, "NOT_FOUND", "there is no model "+name)
	case strings.HasPrefix(path, "/v1/audit/requests/"):
		c.fail(http.StatusNotFound, "NOT_FOUND", "there is no undelivered record of this request")
	case strings.HasPrefix(path, "/v1/admin/routing/"):
		p.routing(c, strings.TrimPrefix(path, "/v1/admin/routing/"))
	case p.quirks.FewEndpoints:
		http.Error(w, "404 page not found", http.StatusNotFound)
	default:
		c.fail(http.StatusNotFound, "NOT_FOUND", "there is no path "+path)
	}
}

func get(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

func (p *Platform) wrongMethod(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	if p.quirks.FewEndpoints {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"error": "this path takes " + allowed, "code": "METHOD_NOT_ALLOWED"})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away
}

func (b *backend) show(started time.Time) map[string]any {
	return map[string]any{
		"id": b.Name, "object": "model", "created": started.Unix(), "owned_by": "platformsim", "max_model_len": b.ContextLength,
	}
}

// readyz tells whether the router can do its work; the real one looks at
// little of what that takes.
func (p *Platform) readyz(w http.ResponseWriter) {
	down, status, word := p.Outages(), http.StatusOK, "ready"
	state := func(down bool) string {
		if down && !p.quirks.BlindReadyz {
			status, word = http.StatusServiceUnavailable, "degraded"
			return "down"
		}
		return "up"
	}
	components := map[string]string{"user_org": state(down.UserOrg), "backend_registry": state(down.Backends)}
	writeJSON(w, status, map[string]any{"status": word, "components": components})
}

// routing shows how requests are routed: every model to its one backend.
// Changes are accepted and lost, as on the real router.
func (p *Platform) routing(c *call, what string) {
	if !get(c.r) {
		if what == "policies" || strings.HasSuffix(what, "/degrade") {
			writeJSON(c.w, http.StatusOK, map[string]string{"status": "ok"})
			return
		}
		p.wrongMethod(c.w, http.MethodGet)
		return
	}
	health := "healthy"
	if p.Outages().Backends && !p.quirks.BlindReadyz {
		health = "unhealthy"
	}
	part := strings.Split(what, "/")
	switch {
	case what == "backends":
		list := []any{}
		for _, b := range p.models {
			list = append(list, map[string]any{"id": b.routing[0], "model": b.Name, "status": health})
		}
		writeJSON(c.w, http.StatusOK, map[string]any{"backends": list})
	case what == "decisions":
		writeJSON(c.w, http.StatusOK, map[string]any{"decisions": []any{}})
	case len(part) == 3 && part[0] == "backends" && part[2] == "health":
		for _, b := range p.models {
			if b.routing[0] == part[1] {
				writeJSON(c.w, http.StatusOK, map[string]string{"backend_id": part[1], "status": health})
				return
			}
		}
		c.fail(http.StatusNotFound, "NOT_FOUND", "there is no backend "+part[1])
	case len(part) == 3 && part[0] == "policies" && p.backends[part[2]] != nil:
		writeJSON(c.w, http.StatusOK, map[string]any{
			"organization_id": part[1], "model": part[2],
			"backends": []any{map[string]any{"backend_id": p.backends[part[2]].routing[0], "weight": 100}},
		})
	default:
		c.fail(http.StatusNotFound, "NOT_FOUND", "there is no such routing entry")
	}
}

// metrics writes what the models are doing, under the names that vLLM uses.
func (p *Platform) metrics(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var out strings.Builder
	for _, m := range []struct {
		name, kind, help string
		value            func(b *backend) int64
	}{
		{"vllm:num_requests_running", "gauge", "Sequences in the batch.", func(b *backend) int64 { return int64(b.engine.Load().Stats().Running) }},
		{"vllm:num_requests_waiting", "gauge", "Sequences waiting for a place in the batch.", func(b *backend) int64 { return int64(b.engine.Load().Stats().Waiting) }},
		{"vllm:prompt_tokens_total", "counter", "Prompt tokens of admitted sequences.", func(b *backend) int64 { return b.engine.Load().Stats().PromptTokens }},
		{"vllm:generation_tokens_total", "counter", "Tokens generated.", func(b *backend) int64 { return b.engine.Load().Stats().OutputTokens }},
		{"vllm:prefix_cache_hits_total", "counter", "Prompt tokens served from the prefix cache.", func(b *backend) int64 { return b.engine.Load().Stats().CachedTokens }},
	} {
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, b := range p.models {
			fmt.Fprintf(&out, "%s{model_name=%q} %d\n", m.name, b.Name, m.value(b))
		}
	}
	_, _ = w.Write([]byte(out.String())) // the client went away
}
