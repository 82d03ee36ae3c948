package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/live"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
)

// every is how often the leader is asked.
const every = time.Second

// Monitor follows one run.
type Monitor struct {
	Workers
	ID string
	// Prometheus, if any, is asked where the leader does not answer.
	Prometheus *Prometheus

	jobs batchlisters.JobLister
	pods corelisters.PodLister

	mu       sync.Mutex // guards what follows
	view     View
	asked    time.Time // when the leader answered last
	away     error     // why the API server does not
	warnings []string
}

// Look looks once: at the Job, the pods, and the leader.
func (m *Monitor) Look(ctx context.Context) (View, error) {
	job, pods, err := m.there(ctx)
	if err != nil {
		return View{}, err
	}
	return m.complete(ctx, job, pods)
}

// LookAtPods looks once, and asks nobody.
func (m *Monitor) LookAtPods(ctx context.Context) (View, error) {
	job, pods, err := m.there(ctx)
	if err != nil {
		return View{}, err
	}
	v, err := Read(job, pods, m.events(ctx, job, len(pods)))
	v.NoImage = ImageGone(pods, time.Now())
	return v, err
}

func (m *Monitor) there(ctx context.Context) (*batchv1.Job, []*corev1.Pod, error) {
	job, err := m.Client.BatchV1().Jobs(m.Namespace).Get(ctx, jobs.ObjectName(m.ID), metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	list, err := m.Client.CoreV1().Pods(m.Namespace).List(ctx, metav1.ListOptions{LabelSelector: jobs.WorkerSelector(m.ID)})
	if err != nil {
		return nil, nil, err
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		pods = append(pods, &list.Items[i])
	}
	return job, pods, nil
}

// complete makes a view of what the API server has, and asks the leader.
func (m *Monitor) complete(ctx context.Context, job *batchv1.Job, pods []*corev1.Pod) (View, error) {
	v, err := Read(job, pods, m.events(ctx, job, len(pods)))
	if err != nil {
		return v, err
	}
	v.NoImage = ImageGone(pods, time.Now())
	v.Unasked = "its pod does not run"
	for _, p := range pods {
		if p.Annotations[batchv1.JobCompletionIndexAnnotation] != "0" || !Answers(p) {
			continue
		}
		if v.Leader, err = m.Run(ctx, p.Name); err != nil {
			v.Unasked = err.Error()
			if refused := (*net.OpError)(nil); errors.As(err, &refused) {
				m.note(err) // there is no way to the pod but by the API server
			}
			continue
		}
		v.Unasked = ""
	}
	if v.Leader == nil && m.Prometheus != nil {
		if measured, err := m.Prometheus.Ask(ctx, m.ID); err == nil {
			v.Measured = measured
		} else {
			v.Unasked += "; " + err.Error()
		}
	}
	return v, nil
}

// events are those of a Job that does not get its pods; they say why.
func (m *Monitor) events(ctx context.Context, job *batchv1.Job, pods int) (all []*corev1.Event) {
	if job.Status.StartTime == nil || pods >= int(*job.Spec.Completions) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	list, err := m.Client.CoreV1().Events(m.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Job,involvedObject.name=" + job.Name})
	if err != nil {
		return nil // they explain, and are not needed
	}
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all
}

// Follow keeps the view up to date until ctx is done or changed returns false,
// which is called after every look. An API server that is away is waited for:
// the run does not need it.
func (m *Monitor) Follow(ctx context.Context, changed func(View) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(m.Client, 0, informers.WithNamespace(m.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = jobs.WorkerSelector(m.ID) }))
	ofJobs, ofPods := factory.Batch().V1().Jobs(), factory.Core().V1().Pods()
	m.jobs, m.pods = ofJobs.Lister(), ofPods.Lister()
	look := make(chan struct{}, 1)
	nudge := func(any) {
		select {
		case look <- struct{}{}:
		default: // it is about to look
		}
	}
	for _, i := range []cache.SharedIndexInformer{ofJobs.Informer(), ofPods.Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: nudge, UpdateFunc: func(_, now any) { nudge(now) }, DeleteFunc: nudge,
		}); err != nil {
			return err
		}
		if err := i.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { m.note(err) }); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	factory.WaitForCacheSync(ctx.Done())
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !changed(m.refresh(ctx)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-look:
		case <-ctx.Done():
		}
	}
}

// note keeps why a watch broke off; it is taken up again by itself.
func (m *Monitor) note(err error) {
	if apierrors.IsResourceExpired(err) {
		return // the ordinary end of an old watch
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

func (m *Monitor) refresh(ctx context.Context) View {
	job, err := m.jobs.Jobs(m.Namespace).Get(jobs.ObjectName(m.ID))
	m.mu.Lock()
	v := m.view
	m.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err):
		v.Run, v.Namespace, v.State, v.Detail = m.ID, m.Namespace, Removed, "the run's Job is not there any more"
	case err == nil:
		pods, _ := m.pods.Pods(m.Namespace).List(labels.Everything()) // from memory
		if fresh, err := m.complete(ctx, job, pods); err == nil {
			v = fresh
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Leader != nil {
		m.asked, m.away = time.Now(), nil
		m.say(v.Leader.Snapshot.Warnings...)
	} else {
		v.Leader = m.view.Leader // what it told last
	}
	for _, p := range v.Pods {
		if p.Why != "" && p.Phase != string(corev1.PodPending) {
			m.say(fmt.Sprintf("worker %d, attempt %d: %s", p.Worker, p.Attempt, p.Why))
		}
	}
	m.view = v
	return v
}

// say keeps a warning; each is kept once.
func (m *Monitor) say(texts ...string) {
	for _, text := range texts {
		if !slices.Contains(m.warnings, text) {
			m.warnings = append(m.warnings, text)
		}
	}
}

// stale is after how long a leader's silence is shown.
const stale = 5 * time.Second

// Snapshot is the run for the live view: the leader's sum, or what is waited for.
func (m *Monitor) Snapshot() live.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := live.Snapshot{Stage: "looking for the run"}
	if m.view.Leader != nil {
		s = m.view.Leader.Snapshot
	}
	s.Warnings = slices.Clone(m.warnings)
	switch v := m.view; {
	case v.State == "":
	case v.State == Waiting && (v.Leader == nil || v.Leader.Start == nil):
		s.Stage = v.Detail
	case v.State.Over():
		s.Stage = "finished"
	case m.away != nil && time.Since(m.asked) > stale:
		s.Stage = "the API server does not answer; the run goes on"
	case v.Leader == nil && v.Measured != nil:
		s.Stage = live.Running
		s.Users = int(v.Measured.Users)
		s.Totals.Requests, s.Totals.Failed = uint64(v.Measured.Requests), uint64(v.Measured.Errors)
		s.Totals.Succeeded = s.Totals.Requests - min(s.Totals.Requests, s.Totals.Failed)
	case v.Leader == nil:
		s.Stage = "all workers run; the first does not answer yet"
	case v.Unasked != "" && time.Since(m.asked) > stale && v.Leader.Stop == "":
		s.Stage = "worker 0 does not answer; the others go on"
	}
	return s
}
