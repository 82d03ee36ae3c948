package rendezvous

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// The most that is read of what somebody sends.
const (
	mostWords    = 16 << 20
	mostDocument = 1 << 30
)

// Desk is where a worker answers over HTTP.
type Desk struct {
	Token  secret.String
	Shelf  *Shelf
	Leader *Leader // nil: another worker leads
	// Stop is told that somebody wants the run to end, and why.
	Stop func(reason string)
}

// Patterns are the patterns of [http.ServeMux] that [Desk.Handler] answers.
func (d Desk) Patterns() []string {
	return []string{"POST /rendezvous", "GET /run", "POST /stop", "GET /documents", "GET /documents/{name}", "POST /documents/{name}", "POST /collected"}
}

// Handler answers whoever has the token.
func (d Desk) Handler() http.Handler {
	mux := http.NewServeMux()
	for i, answer := range []http.HandlerFunc{
		d.led(d.rendezvous), d.led(func(w http.ResponseWriter, _ *http.Request) { tell(w, d.Leader.View()) }),
		d.stop, d.names, d.document, d.led(d.take), d.collected,
	} {
		mux.HandleFunc(d.Patterns()[i], answer)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Sums have one length, so that not even that of the token shows.
		want, got := sha256.Sum256([]byte(d.Token.Reveal())), sha256.Sum256([]byte(r.Header.Get(TokenHeader)))
		if d.Token.Empty() || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			http.Error(w, "the run's token is wanted in "+TokenHeader, http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// led lets in whoever speaks to the leader.
func (d Desk) led(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d.Leader == nil {
			http.Error(w, "another worker leads: ask worker 0", http.StatusMisdirectedRequest)
			return
		}
		answer(w, r)
	}
}

func (d Desk) rendezvous(w http.ResponseWriter, r *http.Request) {
	var b Beat
	if !hear(w, r, &b) {
		return
	}
	a, err := d.Leader.Beat(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tell(w, a)
}

func (d Desk) stop(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Reason string `json:"reason"`
	}
	if !hear(w, r, &asked) {
		return
	}
	if asked.Reason == "" {
		asked.Reason = "stopped by a request to a worker"
	}
	d.Stop(asked.Reason)
	w.WriteHeader(http.StatusNoContent)
}

func (d Desk) names(w http.ResponseWriter, _ *http.Request) { tell(w, d.Shelf.Names()) }

func (d Desk) document(w http.ResponseWriter, r *http.Request) {
	doc, here := d.Shelf.get(r.PathValue("name"))
	if !here {
		http.Error(w, "there is no such document here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(doc.data)))
	w.Header().Set(ChecksumHeader, doc.sum)
	_, _ = w.Write(doc.data) // who asked has gone
}

var documentName = regexp.MustCompile(`^[0-9]{1,6}-[0-9]{1,6}$`)

func (d Desk) take(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostDocument))
	switch {
	case !documentName.MatchString(name):
		http.Error(w, "a document is called WORKER-ATTEMPT", http.StatusBadRequest)
	case err != nil:
		http.Error(w, "the document did not come whole: "+err.Error(), http.StatusBadRequest)
	case checksum(data) != r.Header.Get(ChecksumHeader):
		http.Error(w, "the document does not have the checksum in "+ChecksumHeader, http.StatusBadRequest)
	default:
		d.Shelf.Put(name, data)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (d Desk) collected(w http.ResponseWriter, r *http.Request) {
	var names []string
	if hear(w, r, &names) {
		d.Shelf.Collected(names)
		w.WriteHeader(http.StatusNoContent)
	}
}

func hear(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostWords)).Decode(into)
	if err != nil {
		http.Error(w, "this is not understood: "+err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func tell(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // who asked has gone
}
