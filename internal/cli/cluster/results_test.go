package cluster

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob/blobtest"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/stats"
)

// part is the document of a worker that was interrupted.
func part(worker, attempt int, why string) *export.Bundle {
	return &export.Bundle{
		Schema: export.Schema, Run: export.Run{ID: "r", Workers: 2, Worker: worker, Attempt: attempt, ScenarioSHA256: "sum"}, Summary: stats.NewSummary(),
		Stop: export.Stop{Reason: "interrupted", Detail: why},
	}
}

func encoded(t *testing.T, b *export.Bundle) []byte {
	t.Helper()
	data, err := export.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// gathering is a harvest of a run of two workers with what one has said.
func gathering(t *testing.T, s3 *blobtest.Server) (*harvest, *strings.Builder) {
	t.Helper()
	var said strings.Builder
	h := &harvest{
		run: &jobs.Run{ID: "r", Workers: 2, SHA256: "sum"}, place: &place{log: live.NewLog(&said)}, scenario: &config.Scenario{}, folder: t.TempDir(),
		documents: map[string]*export.Bundle{}, heard: map[string]rendezvous.WorkerView{}, tried: map[string]bool{},
	}
	if err := os.Mkdir(filepath.Join(h.folder, workersFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if s3 != nil {
		h.run.Export = "s3://docs/runs/{testRunId}"
		h.getenv = func(name string) (string, bool) {
			value := map[string]string{"AWS_ENDPOINT_URL": s3.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}[name]
			return value, value != ""
		}
	}
	return h, &said
}

// What is in the bucket has come through whole before its manifest says so.
func TestTheManifestIsLast(t *testing.T) {
	s3 := blobtest.New(t, "docs")
	h, _ := gathering(t, s3)
	one, two := encoded(t, part(0, 0, "enough")), encoded(t, part(1, 2, "enough"))
	for name, data := range map[string][]byte{"0-0": one, "1-2": two} {
		if err := h.keep(name, data); err != nil {
			t.Fatal(err)
		}
	}
	s3.Put("runs/r/workers/0-0.json", string(one))
	where, err := h.upload(t.Context(), []object{{"result.json", "application/json", []byte("{}")}})
	if err != nil || where != "s3://docs/runs/r/manifest.json" {
		t.Fatal(where, err)
	}
	if diff := cmp.Diff([]string{"runs/r/result.json", "runs/r/workers/1-2.json", "runs/r/manifest.json"}, s3.Written()); diff != "" {
		t.Error(diff)
	}
	var manifest struct {
		SHA256 map[string]string `json:"sha256"`
	}
	if err := json.Unmarshal([]byte(s3.Object("runs/r/manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	sum := func(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
	if diff := cmp.Diff(map[string]string{"result.json": sum([]byte("{}")), "workers/0-0.json": sum(one), "workers/1-2.json": sum(two)}, manifest.SHA256); diff != "" {
		t.Error(diff)
	}

	for _, damaged := range []string{"runs/r/result.json", "runs/r/workers/1-2.json"} {
		s3 := blobtest.New(t, "docs")
		s3.Damages = func(key string) bool { return key == damaged }
		again, _ := gathering(t, s3)
		again.folder, again.documents = h.folder, h.documents
		if _, err := again.upload(t.Context(), []object{{"result.json", "application/json", []byte("{}")}}); err == nil || !strings.Contains(err.Error(), damaged+" in the bucket docs at "+s3.URL+" is damaged") {
			t.Errorf("%s was damaged: %v", damaged, err)
		}
		if slices.Contains(s3.Keys(), "runs/r/manifest.json") {
			t.Errorf("%s was damaged, and the manifest says that all is there", damaged)
		}
	}
}

// A bucket that is away is needed only by those of whom nothing else is here.
func TestTheBucketIsAway(t *testing.T) {
	s3 := blobtest.New(t, "docs")
	s3.Put("runs/r/workers/1-0.json", string(encoded(t, part(1, 0, "enough"))))
	s3.Put("runs/r/workers/notes.txt", "of somebody else")
	over := monitor.View{State: monitor.Completed}
	h, _ := gathering(t, s3)
	h.documents["0-0"] = part(0, 0, "enough")
	if err := h.take(t.Context(), over); err != nil || h.documents["1-0"] == nil {
		t.Errorf("%v: %v", err, h.documents)
	}
	away, said := gathering(t, s3)
	away.documents["0-0"] = h.documents["0-0"]
	s3.Close()
	if err := away.take(t.Context(), over); err == nil || !strings.Contains(err.Error(), "what workers [1] measured is not here: say the same again") {
		t.Errorf("of one worker nothing is here: %v", err)
	}
	away.documents["1-0"] = h.documents["1-0"]
	if err := away.take(t.Context(), over); err != nil || !strings.Contains(said.String(), "the workers kept what they measured, and it is here") {
		t.Errorf("all is here: %v, %s", err, said)
	}
}

// A worker hears that a document is safe when it is, and not of others.
func TestWhatIsCollected(t *testing.T) {
	good := encoded(t, part(0, 0, "enough"))
	stranger := part(1, 0, "enough")
	stranger.Run.ID = "other"
	offers := map[string][]byte{"0-0": good, "1-0": encoded(t, part(1, 0, "cut off"))[:100], "1-1": encoded(t, stranger), "1-2": encoded(t, part(1, 2, "damaged")), "..": good}
	var collected string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ours := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/n/pods/p:8080/proxy/")
		name, one := strings.CutPrefix(path, "documents/")
		switch {
		case !ours || r.Header.Get(rendezvous.TokenHeader) != "the-token":
			w.WriteHeader(http.StatusForbidden)
		case path == "documents":
			_ = json.NewEncoder(w).Encode([]string{"0-0", "1-0", "1-1", "1-2", ".."})
		case path == "collected":
			data, _ := io.ReadAll(r.Body)
			collected = string(data)
		case one:
			sum := sha256.Sum256(offers[name])
			if name == "1-2" {
				sum[0]++
			}
			w.Header().Set(rendezvous.ChecksumHeader, fmt.Sprintf("%x", sum))
			_, _ = w.Write(offers[name])
		}
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	h, said := gathering(t, nil)
	h.workers = monitor.Workers{Client: client, Namespace: "n", Token: secret.New("the-token")}
	if err := h.take(t.Context(), monitor.View{State: monitor.Running, Pods: []monitor.Pod{{Name: "p", Phase: "Running"}}}); err != nil {
		t.Fatal(err)
	}
	if collected != `["0-0"]` || len(h.documents) != 1 {
		t.Errorf("collected %s, kept %v: %s", collected, h.documents, said)
	}
	if data, err := os.ReadFile(filepath.Join(h.folder, workersFolder, "0-0.json")); err != nil || string(data) != string(good) {
		t.Errorf("%v: %s", err, data)
	}
	if files, _ := filepath.Glob(filepath.Join(h.folder, "*", "*")); len(files) != 1 {
		t.Errorf("kept %v", files)
	}
	for _, name := range []string{"../2-0", "2-0/x", "2"} {
		if err := h.keep(name, good); err != nil || h.documents[name] != nil || !strings.Contains(said.String(), fmt.Sprintf("%q offers is not a document of this run", name)) {
			t.Errorf("%s: %v, kept: %s", name, err, said)
		}
	}
	// What cannot be written down is not safe.
	collected = ""
	full, _ := gathering(t, nil)
	full.workers, full.folder = h.workers, filepath.Join(h.folder, "not", "there")
	if err := full.take(t.Context(), monitor.View{State: monitor.Running, Pods: []monitor.Pod{{Name: "p", Phase: "Running"}}}); err == nil || collected != "" {
		t.Errorf("%v, and collected %s", err, collected)
	}
}

// A pod that was taken away ends the run as broken under fail, and not else.
func TestLossPolicies(t *testing.T) {
	for policy, want := range map[jobs.LossPolicy]export.Stop{
		jobs.FailOnLoss:     {Reason: "broken", Detail: "the pod of worker 1 was taken away, which ends the run (--on-worker-loss fail)"},
		jobs.ContinueOnLoss: {Reason: "interrupted", Detail: "enough (worker 0); " + export.TakenAway + " (worker 1)"},
	} {
		h, _ := gathering(t, nil)
		h.run.OnLoss = policy
		h.view.Lost = []int{1}
		h.documents["0-0"], h.documents["1-0"] = part(0, 0, "enough"), part(1, 0, export.TakenAway)
		b, err := h.merge("v1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.Stop); diff != "" || len(b.Run.Lost) > 0 {
			t.Errorf("%s: %s, lost %v", policy, diff, b.Run.Lost)
		}
	}
}

// Whoever left no document is told, attempt by attempt, with what was last heard
// of it, by whoever knew it.
func TestLost(t *testing.T) {
	document := func(worker, attempt int) *export.Bundle {
		return &export.Bundle{Run: export.Run{Worker: worker, Attempt: attempt}}
	}
	h := &harvest{
		run:       &jobs.Run{Workers: 5},
		documents: map[string]*export.Bundle{"0-0": document(0, 0), "1-1": document(1, 1), "2-0": document(2, 0)},
		heard: map[string]rendezvous.WorkerView{
			"0-0": {Requests: 90},
			"1-0": {Worker: 1, Requests: 30},
			"1-1": {Worker: 1, Attempt: 1, Requests: 70, Before: 31},
			"2-1": {Worker: 2, Attempt: 1, Requests: 50, Before: 42}, // the first attempt's are in its document
			"3-0": {Worker: 3, Failed: "no keys"},
		},
		view: monitor.View{Pods: []monitor.Pod{{Worker: 1, Why: "it was killed"}, {Worker: 3, Why: "it ended with exit code 1"}, {Worker: 4, Attempt: 1, Why: "its node went"}}},
	}
	want := []export.Lost{
		{Worker: 1, Reason: "it was killed", Requests: 30},
		{Worker: 2, Attempt: 1, Reason: "its pod was lost", Requests: 8},
		{Worker: 3, Reason: "no keys"},
		{Worker: 4, Reason: "its pod was lost"}, {Worker: 4, Attempt: 1, Reason: "its node went"},
	}
	if diff := cmp.Diff(want, h.lost()); diff != "" {
		t.Error(diff)
	}
}

// The Job names those who failed a moment after it has ended the pods of the
// others for it: until then their documents tell who went first.
func TestGone(t *testing.T) {
	document := func(worker int, load time.Duration, why string) *export.Bundle {
		return &export.Bundle{Run: export.Run{Worker: worker, Duration: load}, Stop: export.Stop{Reason: "interrupted", Detail: why}}
	}
	h := &harvest{documents: map[string]*export.Bundle{
		"0-0": document(0, 2*time.Second, export.TakenAway), "1-0": document(1, time.Second, export.TakenAway), "2-0": document(2, time.Millisecond, "enough seen"),
	}}
	if got := h.gone(); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("by their documents %v went, want 1 and then 0", got)
	}
	h.view.Lost = []int{2}
	if got := h.gone(); !slices.Equal(got, []int{2}) {
		t.Errorf("by the Job %v went, want 2", got)
	}
}
