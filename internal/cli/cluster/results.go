package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/export"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/report"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/results"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// The files of a run beside those of a local one.
const (
	workersFolder = "workers"
	manifestFile  = "manifest.json"
)

// collecting is how results are fetched.
type collecting struct {
	output string
	logs   bool
}

func (c *collecting) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.output, "output-dir", cli.DefaultOutput, "folder in which the run gets a folder of its own")
	cmd.Flags().BoolVar(&c.logs, "with-logs", false, "fetch the logs of the workers too")
}

func resultsCommand(version string) *cobra.Command {
	var p place
	var c collecting
	var follow bool
	cmd := &cobra.Command{
		Use:   "results RUN",
		Short: "Fetch what the workers of a run in a cluster measured, and judge it",
		Long: `Results fetches the documents of a run's workers, from their pods or from the
bucket of cleanup.exportResultsTo, merges them, and leaves the folder and the
verdict that a run on this machine leaves. What is missing is said.

It may be said again: what is in the folder is not fetched twice.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cluster, err := p.connect(cmd, "")
			if err != nil {
				return err
			}
			return c.collect(cmd, &p, cluster, args[0], version, follow)
		},
	}
	p.flags(cmd)
	c.flags(cmd)
	cmd.Flags().BoolVar(&follow, "follow", false, "show the run until it ends")
	return cmd
}

// harvest is what was fetched of a run.
type harvest struct {
	collecting
	place    *place
	cluster  *orchestrator.Cluster
	run      *jobs.Run
	scenario *config.Scenario
	getenv   func(string) (string, bool)
	workers  monitor.Workers
	folder   string
	tried    map[string]bool // documents that are no good

	documents map[string]*export.Bundle        // by name
	heard     map[string]rendezvous.WorkerView // by the same: what the leader told last of an attempt
	view      monitor.View                     // the latest
}

// collect fetches the documents of a run until none is expected any more, and
// delivers the result.
func (c *collecting) collect(cmd *cobra.Command, p *place, cluster *orchestrator.Cluster, id, version string, follow bool) error {
	ctx := cmd.Context()
	h, err := c.open(ctx, p, cluster, id)
	if follow && ctx.Err() != nil {
		return p.detach(id)
	}
	if err != nil {
		return err
	}
	m := &monitor.Monitor{Workers: h.workers, ID: id}
	if url := h.scenario.Spec.Metrics.PrometheusURL; url != "" {
		if m.Prometheus, err = monitor.NewPrometheus(url); err != nil {
			return cli.Usage(err)
		}
	}
	if follow {
		err = h.follow(cmd, m)
	} else {
		err = h.once(ctx, m)
	}
	if err != nil {
		return err
	}
	return h.deliver(ctx, cmd.OutOrStdout(), version)
}

// open finds out what the run is, and what of it is here already.
func (c *collecting) open(ctx context.Context, p *place, cluster *orchestrator.Cluster, id string) (*harvest, error) {
	job, err := cluster.Job(ctx, id)
	if err != nil {
		return nil, known(err)
	}
	h := &harvest{collecting: *c, place: p, cluster: cluster, documents: map[string]*export.Bundle{}, heard: map[string]rendezvous.WorkerView{}, tried: map[string]bool{}, folder: filepath.Join(c.output, id)}
	if h.run, err = jobs.FromJob(job); err != nil {
		return nil, err
	}
	s, text, err := cluster.Inputs(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case text == nil:
		return nil, cli.Usage(fmt.Errorf("run %s was not wholly created, so that there are no results: go on with loadtest start --run %s and what was said then, or remove it with: loadtest cleanup --run %s%s", id, id, id, p.where()))
	}
	h.workers = cluster.Workers(s)
	h.getenv = lookup(s)
	if h.scenario, err = config.Parse("the scenario of run "+id, text, h.getenv); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(h.folder, workersFolder), 0o755); err != nil { //nolint:gosec // a folder of results; the files inside are 0600
		return nil, cli.Usage(fmt.Errorf("make the run's folder: %w; choose another with --output-dir", err))
	}
	there, err := filepath.Glob(filepath.Join(h.folder, workersFolder, "*-*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range there {
		b, err := export.Read(file)
		if err == nil && b.Run.ID == id && b.Run.ScenarioSHA256 == h.run.SHA256 {
			h.documents[strings.TrimSuffix(filepath.Base(file), ".json")] = b
		}
	}
	return h, nil
}

// lookup is the environment that the workers have: first of the run's Secret, and
// then of this machine.
func lookup(s *corev1.Secret) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if value, ok := s.Data[jobs.VariablePrefix+name]; ok {
			return string(value), true
		}
		return os.LookupEnv(name)
	}
}

// once fetches what there is now, which must be all.
func (h *harvest) once(ctx context.Context, m *monitor.Monitor) error {
	v, err := m.Look(ctx)
	if err != nil {
		return err
	}
	if err := cmp.Or(h.take(ctx, v), v.NoImage); err != nil {
		return err
	}
	if h.awaited() {
		return fmt.Errorf("run %s is not over: it is %s%s; wait with --follow, or end it with: loadtest stop %s%s", h.run.ID, v.State, detail(v.Detail), h.run.ID, h.place.where())
	}
	return nil
}

// follow shows the run and fetches documents as soon as they are there.
func (h *harvest) follow(cmd *cobra.Command, m *monitor.Monitor) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	detached := false
	viewing, stopView := context.WithCancel(context.Background())
	var view sync.WaitGroup
	keyboard, _ := cmd.InOrStdin().(*os.File)
	var viewErr error
	view.Go(func() {
		viewErr = live.Run(viewing, live.Options{
			Snapshot: m.Snapshot, Interrupt: cancel, Title: h.run.Scenario, Out: cmd.ErrOrStderr(), In: keyboard, Color: cli.Colored(cmd.ErrOrStderr()), Log: h.place.log,
		})
	})
	told := ""
	var takeErr error
	err := m.Follow(ctx, func(v monitor.View) bool {
		if takeErr = cmp.Or(h.take(ctx, v), v.NoImage); takeErr != nil {
			return false
		}
		// Somebody wanted it to stop, and died before all had heard.
		if v.Stop != "" && told != v.Stop && v.Leader != nil && v.Leader.Stop == "" {
			if _, err := h.cluster.Tell(ctx, h.run.ID, v.Stop); err == nil {
				told = v.Stop
			}
		}
		return h.awaited()
	})
	detached = ctx.Err() != nil
	stopView()
	view.Wait()
	if viewErr != nil {
		h.place.say("warning: the live view failed: %v\n", viewErr)
	}
	switch {
	case detached:
		return h.place.detach(h.run.ID)
	case takeErr != nil:
		return takeErr
	}
	return err
}

// take fetches documents that are not here. Its error is one of this machine.
func (h *harvest) take(ctx context.Context, v monitor.View) error {
	h.view = v
	if v.Leader != nil {
		for _, w := range v.Leader.Workers {
			h.heard[rendezvous.DocumentName(w.Worker, w.Attempt)] = w
		}
	}
	if h.run.Export != "" && v.State.Over() {
		err := h.takeFromBucket(ctx)
		if err == nil || !errors.Is(err, blob.ErrAway) {
			return err
		}
		if left := h.absent(); len(left) > 0 {
			return fmt.Errorf("%w; what workers %v measured is not here: say the same again when the bucket is back", err, left)
		}
		h.place.say("warning: %v: the workers kept what they measured, and it is here\n", err)
		return nil
	}
	leaderHas := v.Leader != nil && v.Unasked == ""
	for _, p := range v.Pods {
		// The leader has what others have handed over; who cannot reach it keeps it.
		if p.Phase != string(corev1.PodRunning) && p.Phase != "Terminating" || p.Worker > 0 && leaderHas && p.Phase == string(corev1.PodRunning) {
			continue
		}
		names, err := h.workers.Documents(ctx, p.Name)
		if err != nil {
			continue // it is asked again
		}
		var safe []string
		for _, name := range names {
			if err := h.fetch(ctx, p.Name, name); err != nil {
				return err
			}
			if h.documents[name] != nil {
				safe = append(safe, name)
			}
		}
		if len(safe) > 0 {
			_ = h.workers.Collected(ctx, p.Name, safe) // else it offers them again
		}
	}
	return nil
}

// fetch gets one document, if it is not here; one that cannot be got or read is
// tried again with the next look.
func (h *harvest) fetch(ctx context.Context, pod, name string) error {
	if h.documents[name] != nil {
		return nil
	}
	data, err := h.workers.Document(ctx, pod, name)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	return h.keep(name, data)
}

// keep writes a document down before anybody hears that it is safe.
func (h *harvest) keep(name string, data []byte) error {
	b, err := export.Decode(data)
	if err != nil || b.Run.ID != h.run.ID || !named(name) {
		if !h.tried[name] {
			h.tried[name] = true
			h.place.say("warning: what worker and attempt %q offers is not a document of this run: %v\n", name, err)
		}
		return nil
	}
	if err := export.WriteFile(filepath.Join(h.folder, workersFolder, name+".json"), data); err != nil {
		return fmt.Errorf("keep the document of worker and attempt %s: %w; make room, or choose another folder with --output-dir, and say it again", name, err)
	}
	h.documents[name] = b
	return nil
}

// named reports whether a name is that of a document, and no path.
func named(name string) bool {
	w, a, ok := strings.Cut(name, "-")
	_, err1 := strconv.ParseUint(w, 10, 31)
	_, err2 := strconv.ParseUint(a, 10, 31)
	return ok && err1 == nil && err2 == nil
}

// awaited reports whether more documents may come.
func (h *harvest) awaited() bool {
	if h.view.State.Over() {
		return false
	}
	if h.run.Export != "" {
		return true
	}
	return slices.ContainsFunc(h.absent(), func(w int) bool { return !slices.Contains(h.view.Lost, w) })
}

// absent are the workers of whose latest attempt there is no document here.
func (h *harvest) absent() (workers []int) {
	latest := make([]int, h.run.Workers)
	for _, p := range h.view.Pods {
		if p.Worker < len(latest) {
			latest[p.Worker] = max(latest[p.Worker], p.Attempt)
		}
	}
	for w, attempt := range latest {
		if h.documents[rendezvous.DocumentName(w, attempt)] == nil {
			workers = append(workers, w)
		}
	}
	return workers
}

// lost says of attempts without a document what is known of them. A worker whose
// latest attempt left none has not done its part; of an earlier one the merge
// decides whether it had made load.
func (h *harvest) lost() (all []export.Lost) {
	latest := make([]int, h.run.Workers)
	seen := func(w, attempt int) {
		if w < len(latest) {
			latest[w] = max(latest[w], attempt)
		}
	}
	why := map[string]string{}
	for _, p := range h.view.Pods {
		seen(p.Worker, p.Attempt)
		why[rendezvous.DocumentName(p.Worker, p.Attempt)] = p.Why
	}
	for _, b := range h.documents {
		seen(b.Run.Worker, b.Run.Attempt)
	}
	for _, s := range h.heard {
		seen(s.Worker, s.Attempt)
	}
	for w := range latest {
		for attempt := range latest[w] + 1 {
			name := rendezvous.DocumentName(w, attempt)
			if h.documents[name] != nil {
				continue
			}
			s := h.heard[name]
			all = append(all, export.Lost{
				Worker: w, Attempt: attempt, Reason: cmp.Or(s.Failed, why[name], "its pod was lost"), Requests: s.Requests - min(s.Requests, s.Before),
			})
		}
	}
	return all
}

// gone are workers whose pods were lost. The Job says so a moment after it has
// ended the pods of the others for it: until then their documents do, of which
// that of the first to go is the shortest.
func (h *harvest) gone() (workers []int) {
	if len(h.view.Lost) > 0 {
		return h.view.Lost
	}
	var taken []*export.Bundle
	for _, b := range h.documents {
		if b.Stop.Detail == export.TakenAway {
			taken = append(taken, b)
		}
	}
	slices.SortFunc(taken, func(a, b *export.Bundle) int {
		return cmp.Or(cmp.Compare(a.Run.Late+a.Run.Duration, b.Run.Late+b.Run.Duration), cmp.Compare(a.Run.Worker, b.Run.Worker))
	})
	for _, b := range taken {
		workers = append(workers, b.Run.Worker)
	}
	return workers
}

// merge makes one document of those that were fetched, which is not judged yet.
func (h *harvest) merge(version string) (*export.Bundle, error) {
	var parts []*export.Bundle
	for _, name := range slices.Sorted(maps.Keys(h.documents)) {
		parts = append(parts, h.documents[name])
	}
	targets := h.scenario.Spec.Targets
	whole := &export.Bundle{Schema: export.Schema, Tool: cli.Tool(version), Run: export.Run{
		ID: h.run.ID, Scenario: h.run.Scenario, ScenarioSHA256: h.run.SHA256, Labels: h.scenario.Metadata.Labels, Annotations: h.scenario.Metadata.Annotations,
		Seed: h.run.Seed, Target: export.Target{RouterURL: targets.APIRouterURL, UserOrgURL: targets.UserOrgURL}, Started: h.run.Started,
		Workers: h.run.Workers, CostLimitMicroUSD: int64(h.scenario.Spec.Limits.MaxCost),
	}}
	if len(parts) > 0 {
		whole.Run = parts[0].Run
	}
	b, err := results.Merge(whole, parts, h.lost())
	if err != nil {
		return nil, fmt.Errorf("%w; the documents are in %s", err, filepath.Join(h.folder, workersFolder))
	}
	if gone := h.gone(); h.run.OnLoss == jobs.FailOnLoss && len(gone) > 0 && b.Stop.Reason != "broken" { // what it measured was handed over
		b.Stop = export.Stop{Reason: "broken", Detail: fmt.Sprintf("the pod of worker %d was taken away, which ends the run (--on-worker-loss fail)", gone[0])}
	}
	return b, nil
}

// deliver merges the documents, judges the result, and leaves and prints it.
func (h *harvest) deliver(ctx context.Context, out io.Writer, version string) error {
	b, err := h.merge(version)
	if err != nil {
		return err
	}
	worker.Judge(h.scenario, b)

	cleanup := "loadtest cleanup --run " + h.run.ID + h.place.where()
	files, err := h.write(ctx, b)
	err = errors.Join(err, cli.Summary(out, b, files, cleanup))
	var broken error
	if b.Stop.Reason == "broken" {
		broken = errors.New(b.Stop.Detail)
		if d := h.view.Detail; h.view.State == monitor.Failed && d != "" {
			broken = fmt.Errorf("%s; the Job failed: %s", b.Stop.Detail, d)
		}
	}
	return cli.Outcome(b, err, broken, cleanup)
}

// object is a file of the results.
type object struct {
	name, kind string
	data       []byte
}

// write leaves the result, the report and the scenario in the run's folder, and
// where the scenario wants it in its bucket.
func (h *harvest) write(ctx context.Context, b *export.Bundle) (files []string, err error) {
	var page, text bytes.Buffer
	result, err := export.Encode(b)
	if err = errors.Join(err, report.HTML(&page, b), config.Explain(&text, h.scenario)); err != nil {
		return nil, err
	}
	objects := []object{
		{cli.ResultFile, "application/json", result}, {cli.ReportFile, "text/html; charset=utf-8", page.Bytes()}, {cli.ScenarioFile, "application/yaml", text.Bytes()},
	}
	if h.logs {
		objects = append(objects, h.fetchLogs(ctx)...)
	}
	for _, o := range objects {
		file := filepath.Join(h.folder, filepath.FromSlash(o.name))
		if err := export.WriteFile(file, o.data); err != nil {
			return files, fmt.Errorf("%w; choose another folder with --output-dir, and say it again", err)
		}
		if o.kind != "application/yaml" {
			files = append(files, file)
		}
	}
	if h.run.Export == "" {
		return files, nil
	}
	where, err := h.upload(ctx, objects)
	if err != nil {
		return files, fmt.Errorf("export the results: %w; they are in %s: say the same again to go on", err, h.folder)
	}
	return append(files, where), nil
}

// fetchLogs gets what the pods that are still there have said.
func (h *harvest) fetchLogs(ctx context.Context) (all []object) {
	for _, p := range h.view.Pods {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		data, err := h.cluster.Client.CoreV1().Pods(h.cluster.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		cancel()
		if err != nil {
			h.place.say("warning: the log of worker %d, attempt %d is not to be had: %v\n", p.Worker, p.Attempt, err)
			continue
		}
		all = append(all, object{fmt.Sprintf("%s/%d-%d.log", workersFolder, p.Worker, p.Attempt), "text/plain; charset=utf-8", data})
	}
	return all
}

// bucket opens the bucket of the run, and the folder in it.
func (h *harvest) bucket() (b *blob.Bucket, name, folder string, err error) {
	to := strings.NewReplacer("{testRunId}", h.run.ID, "{name}", h.scenario.Metadata.Name, "{timestamp}", h.run.Started.UTC().Format("20060102T150405Z")).Replace(h.run.Export)
	name, folder, _ = strings.Cut(strings.TrimPrefix(to, "s3://"), "/")
	if folder = strings.Trim(folder, "/"); folder != "" {
		folder += "/"
	}
	b, err = blob.Open(blob.Location{Bucket: name}.Or(h.getenv))
	return b, name, folder, err
}

func (h *harvest) takeFromBucket(ctx context.Context) error {
	b, _, folder, err := h.bucket()
	if err != nil {
		return err
	}
	there, err := b.List(ctx, folder+workersFolder+"/")
	if err != nil {
		return err
	}
	for _, o := range there {
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, folder+workersFolder+"/"), ".json")
		if !ok || h.documents[name] != nil {
			continue
		}
		data, err := b.Get(ctx, o)
		if err != nil {
			return err
		}
		if err := h.keep(name, data); err != nil {
			return err
		}
	}
	return nil
}

// upload puts the results beside the workers' documents, each read back, and the
// manifest last: where it is, the run is complete.
func (h *harvest) upload(ctx context.Context, objects []object) (string, error) {
	b, name, folder, err := h.bucket()
	if err != nil {
		return "", err
	}
	sums := map[string]string{}
	sum := func(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }
	put := func(o object) error {
		if err := b.Put(ctx, folder+o.name, o.kind, o.data); err != nil {
			return err
		}
		_, err := b.Get(ctx, blob.Object{Key: folder + o.name, Size: int64(len(o.data))}) // which looks at the checksum
		return err
	}
	for _, o := range objects {
		if err := put(o); err != nil {
			return "", err
		}
		sums[o.name] = sum(o.data)
	}
	there, err := b.List(ctx, folder+workersFolder+"/")
	if err != nil {
		return "", err
	}
	for document := range h.documents {
		file := workersFolder + "/" + document + ".json"
		data, err := os.ReadFile(filepath.Join(h.folder, filepath.FromSlash(file)))
		if err != nil {
			return "", err
		}
		sums[file] = sum(data)
		if slices.ContainsFunc(there, func(o blob.Object) bool { return o.Key == folder+file }) {
			continue
		}
		// Its worker could not put it there.
		if err := put(object{file, "application/json", data}); err != nil {
			return "", err
		}
	}
	manifest, err := json.MarshalIndent(map[string]any{"run": h.run.ID, "scenarioSha256": h.run.SHA256, "sha256": sums}, "", "  ")
	if err != nil {
		return "", err
	}
	return "s3://" + name + "/" + folder + manifestFile, put(object{manifestFile, "application/json", manifest})
}
