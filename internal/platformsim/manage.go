package platformsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/platformsim/llm"
)

// State is what the platform holds at the moment.
type State struct {
	Seed       uint64               `json:"seed"`
	Quirks     []string             `json:"quirks"`
	Orgs       int                  `json:"orgs"`
	Users      int                  `json:"users"` // service accounts included
	ActiveKeys int                  `json:"activeKeys"`
	Slugs      []string             `json:"slugs"` // of the organizations, in order of creation
	Suspended  []string             `json:"suspended"`
	Models     map[string]llm.Stats `json:"models"`
}

// State returns what the platform holds. The administrator is not counted.
func (p *Platform) State() State {
	s := State{Seed: p.seed, Quirks: p.quirks.Names(), Slugs: []string{}, Suspended: []string{}, Models: map[string]llm.Stats{}}
	d := p.dir.Load()
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, o := range d.sortedOrgs() {
		s.Orgs++
		s.Users += len(o.users)
		s.Slugs = append(s.Slugs, o.slug)
		if o.status == suspended {
			s.Suspended = append(s.Suspended, o.slug)
		}
		for _, k := range o.keys {
			if k.status == active {
				s.ActiveKeys++
			}
		}
	}
	for _, b := range p.models {
		s.Models[b.Name] = b.engine.Load().Stats()
	}
	return s
}

// Management returns the API by which tests steer the platform. It has no
// authentication.
//
//	GET  /healthz        200
//	GET  /state          State
//	GET  /faults         the faults in force      PUT /faults: new ones, from request 0 on
//	GET  /outages        what is down             PUT /outages: {"userOrg":bool,"backends":bool}
//	GET  /truth          the last entries, a line each, after a header line
//	GET  /truth/totals   Totals
//	DELETE /truth        forget entries and totals
//	POST /reset          forget everything
func (p *Platform) Management() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.State()) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.Faults()) })
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		if accept(w, r, &f, func() error { return p.SetFaults(f) }) {
			writeJSON(w, http.StatusOK, p.Faults())
		}
	})
	mux.HandleFunc("GET /outages", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.Outages()) })
	mux.HandleFunc("PUT /outages", func(w http.ResponseWriter, r *http.Request) {
		var o Outages
		if accept(w, r, &o, func() error { p.SetOutages(o); return nil }) {
			writeJSON(w, http.StatusOK, p.Outages())
		}
	})
	mux.HandleFunc("GET /truth", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		line := p.truthHeader()
		for _, e := range p.Truth() {
			if line = e.append(line); len(line) > 1<<16 {
				if _, err := w.Write(line); err != nil {
					return
				}
				line = line[:0]
			}
		}
		_, _ = w.Write(line) // the client went away
	})
	mux.HandleFunc("DELETE /truth", func(w http.ResponseWriter, _ *http.Request) {
		p.ClearTruth()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /truth/totals", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, p.Totals()) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		p.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// accept reads the body into v, strictly, and applies it; on false it has
// answered with the fault.
func accept(w http.ResponseWriter, r *http.Request, v any, apply func() error) bool {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxDocument))
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err = dec.Decode(v); err == nil && dec.More() {
			err = errors.New("there is more than one JSON value")
		}
	}
	if err == nil {
		err = apply()
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
	return err == nil
}
