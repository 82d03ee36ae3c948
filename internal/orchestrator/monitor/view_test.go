package monitor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
)

func job() *batchv1.Job {
	r := jobs.Run{ID: "r", Namespace: "n", Scenario: "s", Started: time.Unix(1e9, 0), Workers: 2, Image: "i", OnLoss: jobs.ContinueOnLoss, OnLate: jobs.FailOnLate, StartTimeout: time.Minute}
	j := r.Job()
	j.Spec.Suspend = new(false)
	j.Status.StartTime = new(metav1.Now())
	return j
}

func pod(worker string, phase corev1.PodPhase, container corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p" + worker, Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: worker, jobs.Attempt: "1"}},
		Status:     corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Image: "i", State: container}}},
	}
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "text"}}
}

func ending(code int32, reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}
}

func TestRead(t *testing.T) {
	var none corev1.ContainerState
	unscheduled := pod("1", corev1.PodPending, none)
	unscheduled.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes"}}
	running := pod("0", corev1.PodRunning, none)
	for name, c := range map[string]struct {
		change func(*batchv1.Job)
		pods   []*corev1.Pod
		events []*corev1.Event
		state  State
		detail string
	}{
		"suspended":   {change: func(j *batchv1.Job) { j.Spec.Suspend = new(true) }, state: Prepared, detail: "start with --run goes on"},
		"all run":     {pods: []*corev1.Pod{running, pod("1", corev1.PodRunning, none)}, state: Running},
		"unscheduled": {pods: []*corev1.Pod{running, unscheduled}, state: Waiting, detail: "1 of 2 workers not running yet: no node takes it: 0/3 nodes"},
		"image":       {pods: []*corev1.Pod{running, pod("1", corev1.PodPending, waiting("ErrImagePull"))}, state: Waiting, detail: "its image i is not to be had: text (ErrImagePull)"},
		"no pods": {
			events: []*corev1.Event{{Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "exceeded quota"}},
			state:  Waiting, detail: "2 of 2 workers not running yet: pods cannot be created: exceeded quota",
		},
		"no pods yet": {
			change: func(j *batchv1.Job) { j.Status.StartTime = nil }, // the Job controller has not looked at it
			state:  Waiting, detail: "2 of 2 workers not running yet",
		},
		"complete": {change: func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		}, state: Completed},
		"failed": {change: func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "FailedIndexes", Message: "too many"}}
		}, state: Failed, detail: "too many (FailedIndexes)"},
	} {
		j := job()
		if c.change != nil {
			c.change(j)
		}
		v, err := Read(j, c.pods, c.events)
		if err != nil || v.State != c.state || !strings.Contains(v.Detail, c.detail) || (c.detail == "") != (v.Detail == "") {
			t.Errorf("%s: %s %q, %v", name, v.State, v.Detail, err)
		}
	}
}

func TestHowAPodEnded(t *testing.T) {
	for want, state := range map[string]corev1.ContainerState{
		"it was taken away":                  ending(143, "Error", ""),
		"it used more memory than":           ending(137, "OOMKilled", ""),
		"it was killed":                      ending(137, "Error", ""),
		"its input is wrong: last":           ending(2, "Error", "first\nlast\n"),
		"it ended with exit code 1: it said": ending(1, "Error", ""),
	} {
		p := readPod(pod("1", corev1.PodFailed, state))
		if !strings.Contains(p.Why, want) || p.Worker != 1 || p.Attempt != 1 {
			t.Errorf("%+v, want %q", p, want)
		}
	}
}

// A run is given up for its image only if no pod has it, and not at once if
// another attempt may get it.
func TestImageGone(t *testing.T) {
	young, old := time.Unix(1e9, 0), time.Unix(1e9, 0).Add(imagePatience+1)
	one := func(reason string) *corev1.Pod {
		p := pod("0", corev1.PodPending, waiting(reason))
		p.CreationTimestamp = metav1.NewTime(young)
		return p
	}
	for _, c := range []struct {
		pods []*corev1.Pod
		now  time.Time
		gone bool
	}{
		{[]*corev1.Pod{one("ErrImagePull")}, young, false},
		{[]*corev1.Pod{one("ImagePullBackOff")}, old, true},
		{[]*corev1.Pod{one("ErrImageNeverPull")}, young, true},
		{[]*corev1.Pod{one("InvalidImageName")}, young, true},
		{[]*corev1.Pod{one("ContainerCreating")}, old, false},
		{[]*corev1.Pod{one("ErrImageNeverPull"), pod("1", corev1.PodRunning, corev1.ContainerState{})}, old, false},
		{nil, old, false},
	} {
		if err := ImageGone(c.pods, c.now); (err != nil) != c.gone || c.gone && !errors.Is(err, ErrImage) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestIndexes(t *testing.T) {
	if got := indexes("1,3-5,7"); !slices.Equal(got, []int{1, 3, 4, 5, 7}) {
		t.Error(got)
	}
	if got := indexes(""); got != nil {
		t.Error(got)
	}
}
