package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/blob"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/cli"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/config"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/worker"
)

// startPatience is how long start waits for the pods to run before it says what
// they wait for.
const startPatience = time.Minute

// slack is what the cluster gives a run beyond its planned time: for tenants, the
// start, the clean-up, and documents that are not fetched at once.
const slack = 3 * time.Hour

// starting is one `loadtest start`.
type starting struct {
	place
	format
	version        string
	config, run    string
	image          string
	workers        int
	onLoss, onLate string
	startTimeout   time.Duration
	follow         bool
	results        collecting
}

func startCommand(version string) *cobra.Command {
	s := &starting{version: version}
	cmd := &cobra.Command{
		Use:   "start --config SCENARIO",
		Short: "Run a scenario in a Kubernetes cluster",
		Long: `Start lets pods of a Kubernetes cluster carry out a run. It looks whether the
cluster has what the run needs and says all that it lacks before anything is
created; then it creates a Job, whose pods are the workers. From there on the run
needs nobody: status, results and stop look after it from anywhere.

--follow shows the run while it goes on, and fetches its results. Ctrl-C then ends
the looking, not the run.

Said again with the --run of a run whose start was broken off, it goes on where
that ended.

What the scenario takes from the environment of this command, ${NAME} and others,
goes into a Secret of the run, and so does what opens the User/Org API.`,
		Example: `  loadtest start --config scenario.yaml --namespace load-testing --follow`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.start(cmd) },
	}
	s.flags(cmd)
	s.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&s.config, "config", "", "the `scenario`; - is the standard input")
	f.StringVar(&s.run, "run", "", "`name` of the run (default metadata.testRunId, or made up)")
	f.StringVar(&s.image, "image", "", "container `image` of the workers (default spec.workers.image, or load-test-worker:VERSION)")
	f.IntVar(&s.workers, "workers", 0, "let `N` pods make the load (default spec.workers.replicas, or else by usersPerWorker)")
	f.StringVar(&s.onLoss, "on-worker-loss", string(jobs.ReplaceOnLoss), "when a worker's pod is lost: fail, continue or replace")
	f.StringVar(&s.onLate, "on-late-worker", string(jobs.FailOnLate), "when a worker is not ready in time: fail or continue")
	f.DurationVar(&s.startTimeout, "start-timeout", 5*time.Minute, "how long after the first worker the last one may be ready")
	f.BoolVar(&s.follow, "follow", false, "show the run until it ends, and fetch its results")
	s.results.flags(cmd)
	return cmd
}

func (s *starting) start(cmd *cobra.Command) error {
	ctx, began := cmd.Context(), time.Now()
	if s.config == "" {
		return cli.Usage(errors.New("which scenario? say --config FILE"))
	}
	text, err := cli.ReadScenario(cmd.InOrStdin(), s.config)
	if err != nil {
		return err
	}
	env := &environment{used: map[string]string{}}
	scenario, err := config.Parse(s.config, text, env.lookup)
	if err != nil {
		return err
	}
	namespace := ""
	if scenario.Gave("metadata.namespace") {
		namespace = scenario.Metadata.Namespace
	}
	c, err := s.connect(cmd, namespace)
	if err != nil {
		return err
	}
	for _, w := range scenario.Warnings() {
		s.say("warning: %s\n", w)
	}
	for _, u := range scenario.Unsupported() {
		s.say("warning: %s has no effect yet: %s\n", u.Path, u.Sentence)
	}
	r, err := s.describe(scenario, text, env)
	if err != nil {
		return cli.Usage(fmt.Errorf("%s: %w", s.config, err))
	}
	if err := c.Reach(ctx); err != nil {
		return err
	}
	resume := false
	if s.run != "" {
		job, err := c.Job(ctx, r.ID)
		switch {
		case err == nil: // what it was begun with decides
			there, err := jobs.FromJob(job)
			if err != nil {
				return err
			}
			resume, r.Seed, r.Started, r.Workers = true, there.Seed, there.Started, there.Workers
			s.say("run %s is there already: going on with it\n", r.ID)
		case !errors.Is(err, orchestrator.ErrNoRun) && !apierrors.IsForbidden(err): // of which pre-flight says more
			return err
		}
	}
	targets := scenario.Spec.Targets
	if err := c.Preflight(ctx, r, slices.Compact([]string{targets.APIRouterURL, cmp.Or(targets.UserOrgURL, targets.APIRouterURL)}), resume); err != nil {
		return err
	}
	s.say("run %s, seed %d, %d workers in the namespace %s\n", r.ID, r.Seed, r.Workers, c.Namespace)
	if _, err := c.Reconcile(ctx, r); err != nil {
		if ctx.Err() != nil || errors.Is(err, orchestrator.ErrAway) {
			return fmt.Errorf("%w\nthe run is not complete in the cluster: go on with the same command and --run %s, or remove it with: loadtest cleanup --run %s%s", err, r.ID, r.ID, s.where())
		}
		return err
	}
	s.say("everything is created, in %s\n", time.Since(began).Round(time.Millisecond))
	v, err := c.AwaitStart(ctx, r.ID, startPatience)
	if errors.Is(err, monitor.ErrImage) && !resume {
		return s.takeBack(ctx, c, r.ID, err)
	}
	switch {
	case ctx.Err() != nil && s.follow:
		return s.detach(r.ID)
	case ctx.Err() == nil && err != nil:
		return err
	}
	if !s.follow {
		return s.print(cmd.OutOrStdout(), v, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "run %s is %s%s\n\n  loadtest status %s%s\n  loadtest results %s%s --follow\n  loadtest stop %s%s\n",
				r.ID, v.State, detail(v.Detail), r.ID, s.where(), r.ID, s.where(), r.ID, s.where())
			return err
		})
	}
	err = s.results.collect(cmd, &s.place, c, r.ID, s.version, true)
	if errors.Is(err, monitor.ErrImage) && !resume {
		return s.takeBack(ctx, c, r.ID, err)
	}
	return err
}

// takeBack removes a run of which nothing has begun, nor will.
func (s *starting) takeBack(ctx context.Context, c *orchestrator.Cluster, run string, why error) error {
	if err := c.Remove(context.WithoutCancel(ctx), run); err != nil {
		return fmt.Errorf("the run %s cannot begin: %w\nremove it with: loadtest cleanup --run %s%s, since that failed now: %w", run, why, run, s.where(), err)
	}
	return fmt.Errorf("the run %s cannot begin, and is removed: %w", run, why)
}

func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// environment looks variables up and remembers which were there.
type environment struct{ used map[string]string }

func (e *environment) lookup(name string) (string, bool) {
	value, set := os.LookupEnv(name)
	if set {
		e.used[name] = value
	}
	return value, set
}

// variables are those that were used, by their names.
func (e *environment) variables() (all []jobs.Variable) {
	for name, value := range e.used {
		if value != "" {
			all = append(all, jobs.Variable{Name: name, Value: secret.New(value)})
		}
	}
	slices.SortFunc(all, func(a, b jobs.Variable) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// describe makes a run of the scenario.
func (s *starting) describe(scenario *config.Scenario, text []byte, env *environment) (*jobs.Run, error) {
	spec := &scenario.Spec
	if spec.Targets.Embedded() {
		return nil, errors.New("spec.targets is missing: pods share no embedded platform; give the address of one that they reach, such as loadtest platform in a pod")
	}
	sum := sha256.Sum256(text)
	now := time.Now().UTC()
	r := &jobs.Run{
		ID: cmp.Or(s.run, scenario.Metadata.TestRunID, cli.NewRunID(now)), Namespace: s.namespace, Scenario: scenario.Metadata.Name, SHA256: hex.EncodeToString(sum[:]),
		Started: now, Image: cmp.Or(s.image, spec.Workers.Image, "load-test-worker:"+s.version), OnLoss: jobs.LossPolicy(s.onLoss), OnLate: jobs.LatePolicy(s.onLate),
		StartTimeout: s.startTimeout, Regions: spec.Workers.Regions, Text: text, Secretive: scenario.Secretive(), Token: cli.NewToken(),
	}
	if spec.Seed != nil {
		r.Seed = *spec.Seed
	} else {
		r.Seed = cli.NewSeed()
	}
	if err := s.share(scenario, r); err != nil {
		return nil, err
	}
	if err := size(spec, r); err != nil {
		return nil, err
	}
	if err := opens(&spec.Targets, r, env); err != nil {
		return nil, err
	}
	if strings.HasPrefix(spec.Cleanup.ExportResultsTo, "s3://") {
		r.Export = spec.Cleanup.ExportResultsTo
	}
	if r.Export != "" || spec.DocumentLibrary.Enabled || slices.ContainsFunc(spec.TestTypes, func(t config.TestType) bool { return t.DocumentLibrary.Enabled }) {
		_ = blob.Location{}.Or(env.lookup) // for what it looks up
	}
	if err := carry(s.config, spec, r); err != nil {
		return nil, err
	}
	r.Variables = env.variables()
	r.Deadline = deadline(spec)
	for _, v := range spec.Workers.Env {
		r.Env = append(r.Env, jobs.Variable{Name: v.Name, Value: v.Value})
	}
	return r, r.Validate()
}

// share settles how many workers there are.
func (s *starting) share(scenario *config.Scenario, r *jobs.Run) error {
	spec := &scenario.Spec
	most, each, err := worker.MostWorkers(scenario)
	if err != nil {
		return err
	}
	if s.workers < 0 {
		return fmt.Errorf("--workers must be at least 1, not %d", s.workers)
	}
	w := jobs.Wanted{Replicas: cmp.Or(s.workers, spec.Workers.Replicas), Users: users(spec, most), UsersPerWorker: spec.Workers.UsersPerWorker, Most: most, Each: each}
	var remark string
	if r.Workers, remark = w.Workers(); remark != "" {
		s.say("%s\n", remark)
	}
	r.Resources = jobs.Size((w.Users + r.Workers - 1) / r.Workers)
	return nil
}

// users is how many users there are at most.
func users(spec *config.Spec, credentials int) (n int) {
	if spec.Targets.Credentials != nil {
		return credentials
	}
	special := map[int]int{}
	for _, o := range spec.Organizations.Overrides {
		if o.Users != nil {
			special[o.Index] = o.Users.Max
		}
	}
	n = (spec.Organizations.Count - len(special)) * spec.Users.PerOrg.Max
	for _, of := range special {
		n += of
	}
	return n
}

// size takes over what the scenario says of resources.
func size(spec *config.Spec, r *jobs.Run) error {
	given := spec.Workers.Resources
	if given == nil {
		return nil
	}
	read := func(field, text string, into *resource.Quantity) error {
		if text == "" {
			return nil
		}
		q, err := resource.ParseQuantity(text)
		if err != nil || q.Sign() <= 0 {
			return fmt.Errorf("spec.workers.resources.%s: %q is no quantity such as 500m or 512Mi", field, text)
		}
		*into = q
		return nil
	}
	res := &r.Resources
	err := errors.Join(read("requests.cpu", given.Requests.CPU, &res.CPU), read("requests.memory", given.Requests.Memory, &res.Memory),
		read("limits.cpu", given.Limits.CPU, &res.CPULimit), read("limits.memory", given.Limits.Memory, &res.MemoryLimit))
	// What was computed gives way to what was said.
	if given.Requests.CPU == "" && !res.CPULimit.IsZero() && res.CPU.Cmp(res.CPULimit) > 0 {
		res.CPU = res.CPULimit
	}
	if given.Requests.Memory == "" && res.Memory.Cmp(res.MemoryLimit) > 0 {
		res.Memory = res.MemoryLimit
	}
	if given.Limits.Memory == "" && res.MemoryLimit.Cmp(res.Memory) < 0 {
		res.MemoryLimit = res.Memory
	}
	return err
}

// opens finds what opens the User/Org API.
func opens(t *config.Targets, r *jobs.Run, env *environment) error {
	if err := cli.Administrator(t, cli.AdminFromEnv()); err != nil {
		return err
	}
	ref := func(s *config.SecretSource) *jobs.KeyRef {
		if s == nil || s.SecretKeyRef == nil {
			return nil
		}
		return &jobs.KeyRef{Secret: s.SecretKeyRef.Name, Key: s.SecretKeyRef.Key}
	}
	var err error
	switch login := t.AdminLogin; {
	case t.Credentials != nil:
		_, err = t.Credentials.Resolve(env.lookup) // for what it looks up, and its complaints
	case login != nil:
		r.Admin.Email = login.Email
		if r.Admin.From = ref(login.PasswordFrom); r.Admin.From == nil {
			r.Admin.Password, err = login.Secret(os.LookupEnv)
		}
	default:
		if r.Admin.From = ref(t.AdminAPIKeyFrom); r.Admin.From == nil {
			r.Admin.Key, err = t.AdminKey(os.LookupEnv)
		}
	}
	return err
}

// carry takes along the files that the scenario names, which must lie beside it.
func carry(path string, spec *config.Spec, r *jobs.Run) error {
	var errs []error
	add := func(field, file string) {
		if file == "" {
			return
		}
		rel, err := filepath.Rel(filepath.Dir(path), file)
		if path == "-" || err != nil || !filepath.IsLocal(rel) {
			errs = append(errs, fmt.Errorf("%s: %s must lie beside the scenario or below it, to be taken into the cluster with it", field, file))
			return
		}
		data, err := os.ReadFile(file) //nolint:gosec // the user names it
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
			return
		}
		r.Files = append(r.Files, jobs.File{Path: filepath.ToSlash(rel), Data: data})
	}
	add("spec.targets.caFile", spec.Targets.CAFile)
	if spec.Targets.Credentials != nil {
		add("spec.targets.credentials.file", spec.Targets.Credentials.File)
	}
	if source := spec.ScenarioMix.ScenarioSource; source != nil {
		if source.Type == "configmap" {
			errs = append(errs, errors.New("spec.scenarioMix.scenarioSource: ConfigMaps are not read: use a file"))
		}
		add("spec.scenarioMix.scenarioSource.path", source.Path)
	}
	libraries := []config.DocumentLibrary{spec.DocumentLibrary}
	for _, t := range spec.TestTypes {
		libraries = append(libraries, t.DocumentLibrary)
	}
	for _, l := range libraries {
		if l.Enabled && l.Storage.Type == "file" {
			errs = append(errs, errors.New("documentLibrary.storage: the workers do not have the folder of documents: put them into a bucket"))
			break
		}
	}
	return errors.Join(errs...)
}

// deadline is after how long the cluster ends the run; 0 if nobody knows how long
// it is meant to take.
func deadline(spec *config.Spec) time.Duration {
	planned := time.Duration(0)
	for _, p := range spec.LoadPattern.Phases {
		planned += p.Duration
	}
	planned *= time.Duration(max(1, spec.LoadPattern.Repeat))
	if most := spec.Limits.MaxDuration; most > 0 && (planned == 0 || most < planned) {
		planned = most
	}
	if planned == 0 {
		return 0
	}
	return planned + slack
}
