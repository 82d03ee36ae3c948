// Package monitor says how a run in a cluster stands: its Job and its pods, by a
// watch; the load, as the leading worker tells it, or else Prometheus.
//
// [Read] is a pure function of what the API server has; a [Monitor] keeps that
// up to date and asks the leader.
package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/human"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/rendezvous"
)

// State is how far a run is, as its Job tells.
type State string

// The states of a run.
const (
	Prepared  State = "prepared"  // the Job is suspended: not all of it was created
	Waiting   State = "waiting"   // for pods that do not run yet
	Running   State = "running"   // all pods run, or have ended
	Completed State = "completed" // all workers have ended and handed over
	Failed    State = "failed"    // the cluster has given up
	Removed   State = "removed"   // the Job is gone
)

// Over reports whether no worker will run any more.
func (s State) Over() bool { return s == Completed || s == Failed || s == Removed }

// View is a run at one moment.
type View struct {
	Run       string    `json:"run"`
	Namespace string    `json:"namespace"`
	Scenario  string    `json:"scenario"`
	Started   time.Time `json:"started"`
	State     State     `json:"state"`
	// Detail is why the state is what it is, in words; empty if that needs none.
	Detail  string `json:"detail,omitempty"`
	Stop    string `json:"stop,omitempty"` // why somebody wants it to end
	Workers int    `json:"workers"`
	Ended   int    `json:"ended"`          // workers that have handed over
	Lost    []int  `json:"lost,omitempty"` // workers that will not come again
	Pods    []Pod  `json:"pods"`
	// Leader is what the leading worker tells; nil if it could not be asked, and
	// then Unasked is why.
	Leader  *rendezvous.View `json:"leader,omitempty"`
	Unasked string           `json:"unasked,omitempty"`
	// Measured is what Prometheus has, where the leader could not be asked.
	Measured *Measured `json:"measured,omitempty"`
	// NoImage is the error of [ImageGone]; nil while the run may begin.
	NoImage error `json:"-"`
}

// Pod is an attempt at a worker's part.
type Pod struct {
	Name    string `json:"name"`
	Worker  int    `json:"worker"`
	Attempt int    `json:"attempt"`
	Phase   string `json:"phase"` // Pending, Running, Succeeded, Failed; Terminating
	// Why it does not run, or did not end well, in words.
	Why  string `json:"why,omitempty"`
	Node string `json:"node,omitempty"`
}

// Measured is what Prometheus knows of all workers together.
type Measured struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"`
	Users    float64 `json:"users"`
}

// Read makes a view of a run's Job and pods; events are those of its Job.
func Read(job *batchv1.Job, pods []*corev1.Pod, events []*corev1.Event) (View, error) {
	r, err := jobs.FromJob(job)
	if err != nil {
		return View{}, err
	}
	v := View{
		Run: r.ID, Namespace: r.Namespace, Scenario: r.Scenario, Started: r.Started, Workers: r.Workers, Ended: int(job.Status.Succeeded),
		Stop: job.Annotations[jobs.StopAnnotation],
	}
	if job.Status.FailedIndexes != nil {
		v.Lost = indexes(*job.Status.FailedIndexes)
	}
	for _, p := range pods {
		v.Pods = append(v.Pods, readPod(p))
	}
	slices.SortFunc(v.Pods, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.Name, b.Name))
	})
	v.State, v.Detail = state(job, v.Pods, events)
	return v, nil
}

func state(job *batchv1.Job, pods []Pod, events []*corev1.Event) (State, string) {
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			return Completed, ""
		case batchv1.JobFailed:
			return Failed, sentence(c.Reason, c.Message)
		}
	}
	if job.Spec.Suspend != nil && *job.Spec.Suspend {
		return Prepared, "the rest of it was not created: the same loadtest start with --run goes on, loadtest cleanup removes it"
	}
	var why []string
	waiting, there := 0, map[int]bool{}
	for _, p := range pods {
		there[p.Worker] = true
		if p.Phase == string(corev1.PodPending) {
			waiting++
			if p.Why != "" && !slices.Contains(why, p.Why) {
				why = append(why, p.Why)
			}
		}
	}
	if missing := int(*job.Spec.Completions) - len(there); missing > 0 {
		waiting += missing
		if refused := refusal(events); refused != "" {
			why = append(why, refused)
		}
	}
	if waiting == 0 {
		return Running, ""
	}
	detail := fmt.Sprintf("%d of %s not running yet", waiting, human.Plural(int(*job.Spec.Completions), "worker"))
	if len(why) > 0 {
		detail += ": " + strings.Join(why, "; ")
	}
	return Waiting, detail
}

// refusal is why the Job controller's latest attempt to make a pod failed.
func refusal(events []*corev1.Event) string {
	var last *corev1.Event
	for _, e := range events {
		if e.Type == corev1.EventTypeWarning && e.Reason == "FailedCreate" && (last == nil || e.LastTimestamp.After(last.LastTimestamp.Time)) {
			last = e
		}
	}
	if last == nil {
		return ""
	}
	return "pods cannot be created: " + last.Message
}

func readPod(p *corev1.Pod) Pod {
	out := Pod{Name: p.Name, Phase: string(p.Status.Phase), Node: p.Spec.NodeName}
	out.Worker, _ = strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation]) // the Job controller's own number
	out.Attempt, _ = strconv.Atoi(p.Annotations[jobs.Attempt])                        // as above
	switch p.Status.Phase {
	case corev1.PodPending, "":
		out.Phase = string(corev1.PodPending)
		out.Why, _ = pending(p)
	case corev1.PodFailed:
		out.Why = ended(p)
	case corev1.PodRunning, corev1.PodSucceeded, corev1.PodUnknown:
	}
	if p.DeletionTimestamp != nil && !terminal(p) {
		out.Phase = "Terminating"
	}
	return out
}

func terminal(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// imageReasons are those for which a container waits whose image is not there.
var imageReasons = []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable"}

// ErrImage marks errors of a run whose image is not to be had.
var ErrImage = errors.New("the image is not to be had")

// imagePatience is how long a pod may lack its image: a registry that is away for
// a moment is asked again by the kubelet.
const imagePatience = 20 * time.Second

// ImageGone says that none of the pods runs and one lacks its image, as it has
// for some time, or will for ever. Where one pod has the image, others may get it.
func ImageGone(pods []*corev1.Pod, now time.Time) error {
	var gone error
	for _, p := range pods {
		if p.Status.Phase != corev1.PodPending && p.Status.Phase != "" {
			return nil
		}
		why, image := pending(p)
		if image && gone == nil && (now.Sub(p.CreationTimestamp.Time) > imagePatience || strings.Contains(why, "ErrImageNeverPull") || strings.Contains(why, "InvalidImageName")) {
			gone = fmt.Errorf("%w: the pod %s does not start, since %s; say another with --image or spec.workers.image", ErrImage, p.Name, why)
		}
	}
	return gone
}

// pending says why a pod does not run yet.
func pending(p *corev1.Pod) (why string, image bool) {
	for _, c := range p.Status.ContainerStatuses {
		w := c.State.Waiting
		switch {
		case w == nil, w.Reason == "ContainerCreating", w.Reason == "PodInitializing":
		case slices.Contains(imageReasons, w.Reason):
			return fmt.Sprintf("its image %s is not to be had: %s", c.Image, sentence(w.Reason, w.Message)), true
		default:
			return sentence(w.Reason, w.Message), false
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "no node takes it: " + sentence("", c.Message), false
		}
	}
	return "", false
}

// ended says how a pod ended that failed.
func ended(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		t := c.State.Terminated
		if t == nil {
			continue
		}
		switch t.ExitCode {
		case 143:
			return "it was taken away"
		case 137:
			if t.Reason == "OOMKilled" {
				return "it was killed: it used more memory than spec.workers.resources.limits.memory allows"
			}
			return "it was killed"
		case 2:
			return "its input is wrong: " + last(t.Message)
		}
		return fmt.Sprintf("it ended with exit code %d: %s", t.ExitCode, last(t.Message))
	}
	return sentence(p.Status.Reason, p.Status.Message)
}

// last is the last line of what a container said.
func last(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return "it said nothing"
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// sentence joins a reason of one word and a message.
func sentence(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return message + " (" + reason + ")"
}

// indexes reads "1,3-5", the form in which the Job controller writes them.
func indexes(text string) (all []int) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		end := first
		if ranged {
			if end, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for i := first; i <= end; i++ {
			all = append(all, i)
		}
	}
	return all
}
