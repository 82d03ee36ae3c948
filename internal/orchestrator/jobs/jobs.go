// Package jobs makes the Kubernetes objects of a run: a Job, and the Secret,
// the ConfigMap and the Service that it owns. It decides and does nothing: a
// [Run] goes in, objects come out, and [FromJob] reads a run back from its Job,
// which is the only place where a run is remembered.
package jobs

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// The labels and annotations by which a run's objects are known.
const (
	Name      = "loadtest" // the value of app.kubernetes.io/name
	NameLabel = "app.kubernetes.io/name"
	RunLabel  = "loadtest.ai-aas.dev/run"
	PartLabel = "app.kubernetes.io/component" // [Worker] or [Cleanup]

	ScenarioAnnotation     = "loadtest.ai-aas.dev/scenario"
	SHA256Annotation       = "loadtest.ai-aas.dev/scenario-sha256"
	SeedAnnotation         = "loadtest.ai-aas.dev/seed"
	StartedAnnotation      = "loadtest.ai-aas.dev/started"
	LossAnnotation         = "loadtest.ai-aas.dev/on-worker-loss"
	LateAnnotation         = "loadtest.ai-aas.dev/on-late-worker"
	StartTimeoutAnnotation = "loadtest.ai-aas.dev/start-timeout"
	ExportAnnotation       = "loadtest.ai-aas.dev/export"
	StopAnnotation         = "loadtest.ai-aas.dev/stop"    // why somebody wants it to end
	StopByAnnotation       = "loadtest.ai-aas.dev/stop-by" // and who
	leaderAnnotation       = "loadtest.ai-aas.dev/leader"  // of pods: where worker 0 is

	// Attempt is the annotation in which the Job controller counts how often a
	// pod's index failed before.
	Attempt = "batch.kubernetes.io/job-index-failure-count"
)

// The parts that pods play; see [PartLabel].
const (
	Worker  = "worker"
	Cleanup = "cleanup"
)

// Container is the name of the one container in a pod, Port where it listens.
const (
	Container = "worker"
	Port      = 8080
)

// TokenKey is where the run's token lies in its Secret; variables are there
// under their names after VariablePrefix.
const (
	TokenKey       = "token"
	VariablePrefix = "env."
	ScenarioKey    = "scenario.yaml"
)

// LossPolicy is what happens when a worker's pod is lost.
type LossPolicy string

// The policies of lost workers.
const (
	FailOnLoss     LossPolicy = "fail"     // the run ends
	ContinueOnLoss LossPolicy = "continue" // the others go on
	ReplaceOnLoss  LossPolicy = "replace"  // its index comes again
)

// LatePolicy is what happens when a worker is not ready in time.
type LatePolicy string

// The policies of late workers.
const (
	FailOnLate     LatePolicy = "fail"
	ContinueOnLate LatePolicy = "continue"
)

// The bounds of what Kubernetes does by itself.
const (
	replacements = 3         // of one index, after which it has failed
	remembered   = 7 * 86400 // seconds for which a finished run can be asked about
	// graceSeconds is how long a pod that is taken away has to hand over what it
	// measured and to remove its tenants.
	graceSeconds = 60
	user         = 65532 // whom the image's files belong to, and nobody else's
)

// Where things are in a pod.
const (
	mount     = "/etc/loadtest"
	secretDir = "secret" // below mount
	workDir   = "/work"
)

// Resources are what one worker asks for, and what it may not exceed. What is
// zero is not said.
type Resources struct {
	CPU, Memory           resource.Quantity
	CPULimit, MemoryLimit resource.Quantity
}

// Variable is an environment variable.
type Variable struct {
	Name  string
	Value secret.String
}

// File is a file that the scenario names, at a path relative to it.
type File struct {
	Path string
	Data []byte
}

// KeyRef is a key of a Secret that exists already.
type KeyRef struct{ Secret, Key string }

// Admin is what opens the User/Org API; all of it empty if the scenario says it
// by itself or nothing has to be opened.
type Admin struct {
	Key      secret.String
	Email    string
	Password secret.String
	From     *KeyRef // where the key, or with an e-mail address the password, is instead
}

// Run is a run as it is to be in the cluster.
type Run struct {
	ID        string
	Namespace string
	Scenario  string // its name
	SHA256    string // of its text
	Seed      uint64
	Started   time.Time // when it was asked for
	Workers   int
	Image     string
	OnLoss    LossPolicy
	OnLate    LatePolicy
	// StartTimeout is how long after the first worker the last one may be ready.
	StartTimeout time.Duration
	// Deadline is after how long the cluster ends the run, come what may; 0: never.
	Deadline  time.Duration
	Resources Resources
	Regions   []string
	// Export is where the workers put their documents, s3://…; empty: they keep
	// them until they are fetched.
	Export string

	// Text is the scenario as it was written, which may hold secrets. Variables
	// are those of this machine that it takes something from.
	Text      []byte
	Secretive bool
	Files     []File
	Variables []Variable
	Env       []Variable // of the workers, as the scenario says
	Admin     Admin
	Token     secret.String
}

// runID is what a Job's and a Service's name can hold, beside what is put
// before and after it.
var runID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

// CheckID says what is wrong with the ID of a run that is to live in a cluster.
func CheckID(id string) error {
	if runID.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%q cannot name a run in a cluster: use at most 40 of a–z, 0–9 and -, with a letter or digit at both ends", id)
}

// environmentName is what Kubernetes takes for the name of a variable here.
var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate says everything that is wrong with a run.
func (r *Run) Validate() error {
	errs := []error{CheckID(r.ID)}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Workers < 1 {
		wrong("a run needs at least one worker, not %d", r.Workers)
	}
	if r.Image == "" {
		wrong("no image is named: say --image or spec.workers.image")
	}
	if !slices.Contains([]LossPolicy{FailOnLoss, ContinueOnLoss, ReplaceOnLoss}, r.OnLoss) {
		wrong("--on-worker-loss is fail, continue or replace, and not %q", r.OnLoss)
	}
	if !slices.Contains([]LatePolicy{FailOnLate, ContinueOnLate}, r.OnLate) {
		wrong("--on-late-worker is fail or continue, and not %q", r.OnLate)
	}
	if r.StartTimeout <= 0 {
		wrong("--start-timeout must be more than nothing, not %v", r.StartTimeout)
	}
	for _, v := range slices.Concat(r.Env, r.Variables) {
		if !environmentName.MatchString(v.Name) {
			wrong("%q cannot name an environment variable: letters, digits and _ only", v.Name)
		}
	}
	for _, pair := range []struct {
		what         string
		asked, limit resource.Quantity
	}{{"cpu", r.Resources.CPU, r.Resources.CPULimit}, {"memory", r.Resources.Memory, r.Resources.MemoryLimit}} {
		if !pair.limit.IsZero() && pair.asked.Cmp(pair.limit) > 0 {
			wrong("spec.workers.resources: a worker asks for %s of %s and may use no more than %s", &pair.asked, pair.what, &pair.limit)
		}
	}
	size := len(r.Text)
	for _, f := range r.Files {
		size += len(f.Data)
	}
	const most = 900 << 10 // of the 1 MiB that an object may have, with room for the rest
	if size > most {
		wrong("the scenario and the files that it names are %d KiB together, and an object in the cluster holds %d: put the files into the image, or documents into a bucket", size>>10, most>>10)
	}
	return errors.Join(errs...)
}

// ObjectName is the name of all objects of a run.
func ObjectName(run string) string { return Name + "-" + run }

// CleanupName is the name of the Job that removes what a run left.
func CleanupName(run string) string { return ObjectName(run) + "-cleanup" }

// Selector selects the objects of a run, or of all runs if it is "".
func Selector(run string) string {
	s := NameLabel + "=" + Name
	if run != "" {
		s += "," + RunLabel + "=" + run
	}
	return s
}

// WorkerSelector selects the pods of a run's workers.
func WorkerSelector(run string) string { return Selector(run) + "," + PartLabel + "=" + Worker }

func (r *Run) labels() map[string]string {
	return map[string]string{NameLabel: Name, "app.kubernetes.io/managed-by": Name, RunLabel: r.ID}
}

func (r *Run) labelsOf(part string) map[string]string {
	l := r.labels()
	l[PartLabel] = part
	return l
}

// Job makes the Job that is the run. It is suspended: its workers are let go by
// [Release], when they find what they need.
func (r *Run) Job() *batchv1.Job {
	workers := int32(r.Workers)
	spec := batchv1.JobSpec{
		Suspend:                 new(true),
		CompletionMode:          new(batchv1.IndexedCompletion),
		Parallelism:             &workers,
		Completions:             &workers,
		TTLSecondsAfterFinished: new(int32(remembered)),
		PodReplacementPolicy:    new(batchv1.Failed), // one index at a time has one pod
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			// Its input is wrong, and would be again.
			Action:      batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{ContainerName: new(Container), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{2}},
		}}},
		Template: r.pod(),
	}
	switch r.OnLoss {
	case FailOnLoss:
		spec.BackoffLimitPerIndex, spec.MaxFailedIndexes = new(int32(0)), new(int32(0))
	case ContinueOnLoss:
		spec.BackoffLimitPerIndex, spec.MaxFailedIndexes = new(int32(0)), &workers
	case ReplaceOnLoss:
		spec.BackoffLimitPerIndex, spec.MaxFailedIndexes = new(int32(replacements)), &workers
	}
	if r.Deadline > 0 {
		spec.ActiveDeadlineSeconds = new(int64(r.Deadline / time.Second))
	}
	annotations := map[string]string{
		ScenarioAnnotation: r.Scenario, SHA256Annotation: r.SHA256, SeedAnnotation: strconv.FormatUint(r.Seed, 10),
		StartedAnnotation: r.Started.UTC().Format(time.RFC3339Nano), LossAnnotation: string(r.OnLoss), LateAnnotation: string(r.OnLate),
		StartTimeoutAnnotation: r.StartTimeout.String(),
	}
	if r.Export != "" {
		annotations[ExportAnnotation] = r.Export
	}
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: ObjectName(r.ID), Namespace: r.Namespace, Labels: r.labelsOf(Worker), Annotations: annotations},
		Spec:       spec,
	}
}

// CleanupJob makes the Job that removes from the platform what the plan of a
// run names and is still there. Its pod is like those of the run's own Job.
func CleanupJob(of *batchv1.Job) (*batchv1.Job, error) {
	r, err := FromJob(of)
	if err != nil {
		return nil, err
	}
	pod := of.Spec.Template.DeepCopy()
	pod.ObjectMeta = metav1.ObjectMeta{Labels: r.labelsOf(Cleanup)}
	pod.Spec.TopologySpreadConstraints = nil
	c := &pod.Spec.Containers[0]
	c.Args = []string{
		"cleanup", "--by-plan", "--config=" + path.Join(mount, ScenarioKey), "--run=" + r.ID, "--seed=" + strconv.FormatUint(r.Seed, 10),
		"--started=" + r.Started.UTC().Format(time.RFC3339Nano), "--workers=" + strconv.Itoa(r.Workers), "--output-dir=" + workDir,
	}
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe, c.Ports = nil, nil, nil, nil
	c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.ValueFrom != nil && v.ValueFrom.FieldRef != nil })
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: r.owned(CleanupName(r.ID), of, Cleanup),
		Spec: batchv1.JobSpec{
			BackoffLimit: new(int32(2)), ActiveDeadlineSeconds: new(int64(1800)), TTLSecondsAfterFinished: new(int32(remembered)), Template: *pod,
		},
	}, nil
}

func (r *Run) workerArgs() []string {
	return []string{
		"pod", "--config=" + path.Join(mount, ScenarioKey), "--run=" + r.ID, "--seed=" + strconv.FormatUint(r.Seed, 10),
		"--started=" + r.Started.UTC().Format(time.RFC3339Nano), "--workers=" + strconv.Itoa(r.Workers),
		"--leader=$(LOADTEST_LEADER)", "--listen=:" + strconv.Itoa(Port), "--output-dir=" + workDir,
		"--on-worker-loss=" + string(r.OnLoss), "--on-late-worker=" + string(r.OnLate), "--start-timeout=" + r.StartTimeout.String(),
	}
}

// pod is a worker.
func (r *Run) pod() corev1.PodTemplateSpec {
	annotation := func(name string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + name + "']"}}
	}
	env := []corev1.EnvVar{ // the disk has one place to write to
		{Name: "HOME", Value: workDir}, {Name: "TMPDIR", Value: workDir},
		{Name: "LOADTEST_LEADER", ValueFrom: annotation(leaderAnnotation)}, {Name: "LOADTEST_ATTEMPT", ValueFrom: annotation(Attempt)},
	}
	if limit := r.Resources.MemoryLimit; !limit.IsZero() {
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit.Value()/10*9, 10)})
	}
	for _, v := range r.Env {
		env = slices.DeleteFunc(env, func(have corev1.EnvVar) bool { return have.Name == v.Name })
		env = append(env, corev1.EnvVar{Name: v.Name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: ObjectName(r.ID)}, Key: workerPrefix + v.Name,
		}}})
	}
	probe := func(url string, every, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: url, Port: intstr.FromString("http")}},
			PeriodSeconds: every, FailureThreshold: failures, TimeoutSeconds: 5,
		}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: r.labelsOf(Worker)},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(graceSeconds)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(user)), RunAsGroup: new(int64(user)), FSGroup: new(int64(user)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Affinity: r.affinity(), TopologySpreadConstraints: r.spread(),
			Containers: []corev1.Container{{
				Name: Container, Image: r.Image, ImagePullPolicy: corev1.PullIfNotPresent, Args: r.workerArgs(), Env: env,
				Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: Port, Protocol: corev1.ProtocolTCP}},
				Resources: r.Resources.requirements(),
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
					Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				StartupProbe: probe("/healthz", 2, 60), LivenessProbe: probe("/healthz", 10, 6), ReadinessProbe: probe("/readyz", 5, 1),
				VolumeMounts: []corev1.VolumeMount{{Name: "input", MountPath: mount, ReadOnly: true}, {Name: "work", MountPath: workDir}},
				// What it said last is then in the pod's status, when its log is gone.
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
			Volumes: []corev1.Volume{r.input(), {Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
}

// input is the scenario, the files beside it, and what must not be in any
// environment, in one folder.
func (r *Run) input() corev1.Volume {
	own := corev1.LocalObjectReference{Name: ObjectName(r.ID)}
	items := []corev1.KeyToPath{{Key: TokenKey, Path: path.Join(secretDir, TokenKey)}}
	add := func(key, at string) { items = append(items, corev1.KeyToPath{Key: key, Path: at}) }
	for _, key := range r.adminKeys() {
		add(key, path.Join(secretDir, key))
	}
	for _, v := range r.Variables {
		add(VariablePrefix+v.Name, path.Join(secretDir, "env", v.Name))
	}
	for i, f := range r.Files {
		add(fileKey(i), f.Path)
	}
	var sources []corev1.VolumeProjection
	if r.Secretive {
		add(ScenarioKey, ScenarioKey)
	} else {
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: own, Items: []corev1.KeyToPath{{Key: ScenarioKey, Path: ScenarioKey}},
		}})
	}
	sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: own, Items: items}})
	if from := r.Admin.From; from != nil {
		at := "admin-api-key"
		if r.Admin.Email != "" {
			at = "admin-password"
		}
		sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: from.Secret}, Items: []corev1.KeyToPath{{Key: from.Key, Path: path.Join(secretDir, at)}},
		}})
	}
	return corev1.Volume{Name: "input", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: new(int32(0o440))},
	}}
}

// affinity keeps workers to the regions that the scenario names.
func (r *Run) affinity() *corev1.Affinity {
	if len(r.Regions) == 0 {
		return nil
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelTopologyRegion, Operator: corev1.NodeSelectorOpIn, Values: r.Regions},
		}}},
	}}}
}

// spread keeps workers out of each other's way, where there are several nodes.
func (r *Run) spread() []corev1.TopologySpreadConstraint {
	over := []string{corev1.LabelHostname}
	if len(r.Regions) > 0 {
		over = []string{corev1.LabelTopologyRegion, corev1.LabelHostname}
	}
	var all []corev1.TopologySpreadConstraint
	for _, key := range over {
		all = append(all, corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: r.labelsOf(Worker)},
		})
	}
	return all
}

func (r Resources) requirements() corev1.ResourceRequirements {
	list := func(cpu, memory resource.Quantity) corev1.ResourceList {
		l := corev1.ResourceList{}
		if !cpu.IsZero() {
			l[corev1.ResourceCPU] = cpu
		}
		if !memory.IsZero() {
			l[corev1.ResourceMemory] = memory
		}
		return l
	}
	return corev1.ResourceRequirements{Requests: list(r.CPU, r.Memory), Limits: list(r.CPULimit, r.MemoryLimit)}
}

const workerPrefix = "worker-env." // before the names of the workers' variables

func fileKey(i int) string { return "file." + strconv.Itoa(i) }

func (r *Run) adminKeys() []string {
	var keys []string
	switch a := r.Admin; {
	case !a.Key.Empty():
		keys = append(keys, "admin-api-key")
	case a.Email != "":
		keys = append(keys, "admin-email")
		if a.From == nil {
			keys = append(keys, "admin-password")
		}
	}
	return keys
}

// owned is the metadata of what belongs to the run's Job, and goes with it.
func (r *Run) owned(name string, owner *batchv1.Job, part string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: r.Namespace, Labels: r.labels(), OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "batch/v1", Kind: "Job", Name: owner.Name, UID: owner.UID, Controller: new(true),
	}}}
	if part != "" {
		m.Labels[PartLabel] = part
	}
	return m
}

// Secret makes the one object that holds secrets.
func (r *Run) Secret(owner *batchv1.Job) *corev1.Secret {
	data := map[string][]byte{TokenKey: []byte(r.Token.Reveal())}
	values := map[string]string{"admin-api-key": r.Admin.Key.Reveal(), "admin-email": r.Admin.Email, "admin-password": r.Admin.Password.Reveal()}
	for _, key := range r.adminKeys() {
		data[key] = []byte(values[key])
	}
	for _, v := range r.Variables {
		data[VariablePrefix+v.Name] = []byte(v.Value.Reveal())
	}
	for _, v := range r.Env {
		data[workerPrefix+v.Name] = []byte(v.Value.Reveal())
	}
	for i, f := range r.Files {
		data[fileKey(i)] = f.Data
	}
	if r.Secretive {
		data[ScenarioKey] = r.Text
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: r.owned(ObjectName(r.ID), owner, ""), Immutable: new(true), Type: corev1.SecretTypeOpaque, Data: data,
	}
}

// ConfigMap makes what holds the scenario; nil if that holds secrets, and so is
// in the Secret.
func (r *Run) ConfigMap(owner *batchv1.Job) *corev1.ConfigMap {
	if r.Secretive {
		return nil
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: r.owned(ObjectName(r.ID), owner, ""), Immutable: new(true), Data: map[string]string{ScenarioKey: string(r.Text)},
	}
}

// Service makes the way to worker 0, whom the others ask before any is ready.
func (r *Run) Service(owner *batchv1.Job) *corev1.Service {
	selector := r.labelsOf(Worker)
	selector[batchv1.JobCompletionIndexAnnotation] = "0"
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: r.owned(ObjectName(r.ID), owner, ""),
		Spec: corev1.ServiceSpec{
			Selector: selector, PublishNotReadyAddresses: true,
			Ports: []corev1.ServicePort{{Name: "http", Port: Port, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// Release returns the Job not suspended any more, its pods told where worker 0
// is: the address of the Service, so that no name service is needed.
func Release(job *batchv1.Job, service *corev1.Service) *batchv1.Job {
	job = job.DeepCopy()
	job.Spec.Suspend = new(false)
	if job.Spec.Template.Annotations == nil {
		job.Spec.Template.Annotations = map[string]string{}
	}
	job.Spec.Template.Annotations[leaderAnnotation] = "http://" + net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(Port))
	return job
}

// Released reports whether the workers were ever let go, even if they are held
// back again.
func Released(job *batchv1.Job) bool { return job.Spec.Template.Annotations[leaderAnnotation] != "" }

// FromJob reads back what a Job says of its run. What is secret, the scenario
// and the resources are not there.
func FromJob(job *batchv1.Job) (*Run, error) {
	a := job.Annotations
	r := &Run{
		ID: job.Labels[RunLabel], Namespace: job.Namespace, Scenario: a[ScenarioAnnotation], SHA256: a[SHA256Annotation],
		OnLoss: LossPolicy(a[LossAnnotation]), OnLate: LatePolicy(a[LateAnnotation]), Export: a[ExportAnnotation],
	}
	if r.ID == "" || ObjectName(r.ID) != job.Name || job.Spec.Completions == nil || len(job.Spec.Template.Spec.Containers) == 0 {
		return nil, fmt.Errorf("the Job %s in %s is not that of a run", job.Name, job.Namespace)
	}
	r.Workers, r.Image = int(*job.Spec.Completions), job.Spec.Template.Spec.Containers[0].Image
	if s := job.Spec.ActiveDeadlineSeconds; s != nil {
		r.Deadline = time.Duration(*s) * time.Second
	}
	var errs [3]error
	r.Seed, errs[0] = strconv.ParseUint(a[SeedAnnotation], 10, 64)
	r.Started, errs[1] = time.Parse(time.RFC3339Nano, a[StartedAnnotation])
	r.StartTimeout, errs[2] = time.ParseDuration(a[StartTimeoutAnnotation])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("the Job %s in %s says of its run what cannot be read: %w", job.Name, job.Namespace, err)
	}
	return r, nil
}
