package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/monitor"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

// ErrNoRun marks errors of a run that is not in the namespace.
var ErrNoRun = errors.New("no such run")

// Job returns the Job of a run. Its error is an [ErrNoRun] if there is none.
func (c *Cluster) Job(ctx context.Context, run string) (*batchv1.Job, error) {
	if err := jobs.CheckID(run); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRun, err)
	}
	job, err := find(ctx, c, "look for the run", c.Client.BatchV1().Jobs(c.Namespace).Get, jobs.ObjectName(run))
	if err == nil && job == nil {
		err = fmt.Errorf("%w: there is no run %s in the namespace %s; loadtest list shows those that are there", ErrNoRun, run, c.Namespace)
	}
	return job, err
}

// Runs returns the Jobs of all runs in the namespace.
func (c *Cluster) Runs(ctx context.Context) ([]batchv1.Job, error) {
	list, err := call(ctx, c, "list the runs", func(ctx context.Context) (*batchv1.JobList, error) {
		return c.Client.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: jobs.WorkerSelector("")})
	})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Inputs returns the Secret of a run, and its scenario, which is there or in
// the ConfigMap. Both are nil for a run that was not let go.
func (c *Cluster) Inputs(ctx context.Context, run string) (*corev1.Secret, []byte, error) {
	s, err := find(ctx, c, "read the run's Secret", c.Client.CoreV1().Secrets(c.Namespace).Get, jobs.ObjectName(run))
	if err != nil || s == nil {
		return nil, nil, err
	}
	if text, ok := s.Data[jobs.ScenarioKey]; ok {
		return s, text, nil
	}
	m, err := find(ctx, c, "read the run's ConfigMap", c.Client.CoreV1().ConfigMaps(c.Namespace).Get, jobs.ObjectName(run))
	if err != nil || m == nil {
		return s, nil, err
	}
	return s, []byte(m.Data[jobs.ScenarioKey]), nil
}

// Workers returns the way to the workers of a run.
func (c *Cluster) Workers(s *corev1.Secret) monitor.Workers {
	w := monitor.Workers{Client: c.Client, Namespace: c.Namespace}
	if s != nil {
		w.Token = secret.New(string(s.Data[jobs.TokenKey]))
	}
	return w
}

// Pods returns the pods of a run's workers, or of its clean-up.
func (c *Cluster) Pods(ctx context.Context, run, part string) ([]*corev1.Pod, error) {
	list, err := call(ctx, c, "list the pods", func(ctx context.Context) (*corev1.PodList, error) {
		return c.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: jobs.Selector(run) + "," + jobs.PartLabel + "=" + part})
	})
	if err != nil {
		return nil, err
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		pods = append(pods, &list.Items[i])
	}
	return pods, nil
}

// Stop wants a run to end in order: it says so on the Job, and to the workers. A
// reason that is there already stays. It returns how many workers were told.
func (c *Cluster) Stop(ctx context.Context, run, reason, by string) (told int, err error) {
	job, err := c.Job(ctx, run)
	if err != nil {
		return 0, err
	}
	if there := job.Annotations[jobs.StopAnnotation]; there != "" {
		reason = there
	} else {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{jobs.StopAnnotation: reason, jobs.StopByAnnotation: by}}})
		if err != nil {
			return 0, err
		}
		if _, err := call(ctx, c, "say on the Job that the run is to stop", func(ctx context.Context) (*batchv1.Job, error) {
			return c.Client.BatchV1().Jobs(c.Namespace).Patch(ctx, job.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}); err != nil {
			return 0, err
		}
	}
	return c.Tell(ctx, run, reason)
}

// Tell tells all workers of a run that can be asked to stop. One who cannot be
// told, and is asked, is an error.
func (c *Cluster) Tell(ctx context.Context, run, reason string) (told int, err error) {
	s, _, err := c.Inputs(ctx, run)
	if err != nil {
		return 0, err
	}
	pods, err := c.Pods(ctx, run, jobs.Worker)
	if err != nil {
		return 0, err
	}
	workers := c.Workers(s)
	var errs []error
	for _, pod := range pods {
		if !monitor.Answers(pod) {
			continue
		}
		if err := workers.Stop(ctx, pod.Name, reason); err != nil {
			errs = append(errs, err)
			continue
		}
		told++
	}
	return told, errors.Join(errs...)
}

// Remove takes a run's objects out of the cluster and waits until they are gone.
func (c *Cluster) Remove(ctx context.Context, run string) error {
	name := jobs.ObjectName(run)
	_, err := call(ctx, c, "remove the Job", func(ctx context.Context) (struct{}, error) {
		err := c.Client.BatchV1().Jobs(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)})
		if apierrors.IsNotFound(err) {
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	return c.await(ctx, "the run's objects are being removed", removalTime, func(ctx context.Context) (bool, error) {
		s, err := c.look(ctx, run)
		return s.job == nil && s.secret == nil && s.configMap == nil && s.service == nil, err
	})
}

// The bounds of what is waited for.
const (
	removalTime = 5 * time.Minute
	cleanupTime = 35 * time.Minute // a little more than the cluster gives the Job
	glance      = 500 * time.Millisecond
)

// await looks until what is looked for is there.
func (c *Cluster) await(ctx context.Context, what string, most time.Duration, there func(context.Context) (bool, error)) error {
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		if ok, err := there(waiting); err != nil || ok {
			return err
		}
		select {
		case <-time.After(glance):
		case <-waiting.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s, which takes longer than %v: say the same again later to go on", what, most)
		}
	}
}

// RemoveTenants lets a Job remove from the platform what the plan of a run names
// and is still there, and returns what it said.
func (c *Cluster) RemoveTenants(ctx context.Context, of *batchv1.Job) (string, error) {
	run := of.Labels[jobs.RunLabel]
	name := jobs.CleanupName(run)
	job, err := jobs.CleanupJob(of)
	if err != nil {
		return "", err
	}
	if err := c.make(ctx, "create the Job that removes the tenants", func(ctx context.Context) error {
		_, err := c.Client.BatchV1().Jobs(c.Namespace).Create(ctx, job, metav1.CreateOptions{})
		return err
	}); err != nil {
		return "", err
	}
	failed := ""
	err = c.await(ctx, "the Job "+name+" removes the run's tenants", cleanupTime, func(ctx context.Context) (bool, error) {
		now, err := find(ctx, c, "look at the Job that removes the tenants", c.Client.BatchV1().Jobs(c.Namespace).Get, name)
		if err != nil || now == nil {
			return false, err
		}
		for _, cond := range now.Status.Conditions {
			if cond.Status == corev1.ConditionTrue && cond.Type == batchv1.JobFailed {
				failed = cond.Message
			}
			if cond.Status == corev1.ConditionTrue && (cond.Type == batchv1.JobFailed || cond.Type == batchv1.JobComplete) {
				return true, nil
			}
		}
		pods, err := c.Pods(ctx, run, jobs.Cleanup)
		if err != nil {
			return false, err
		}
		return false, monitor.ImageGone(pods, time.Now())
	})
	said := c.said(ctx, run)
	if err == nil && failed != "" {
		err = fmt.Errorf("the Job %s could not remove the run's tenants (%s): %s", name, failed, said)
		// The next call is to make a new attempt, and not to find this one.
		_, deleteErr := call(ctx, c, "remove the Job "+name, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, c.Client.BatchV1().Jobs(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
		})
		err = errors.Join(err, deleteErr)
	}
	return said, err
}

// said is the end of the log of the latest clean-up pod; empty if that cannot be read.
func (c *Cluster) said(ctx context.Context, run string) string {
	pods, err := c.Pods(ctx, run, jobs.Cleanup)
	if err != nil || len(pods) == 0 {
		return ""
	}
	latest := pods[0]
	for _, p := range pods {
		if p.CreationTimestamp.After(latest.CreationTimestamp.Time) {
			latest = p
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	log, err := c.Client.CoreV1().Pods(c.Namespace).GetLogs(latest.Name, &corev1.PodLogOptions{TailLines: new(int64(10))}).Stream(ctx)
	if err != nil {
		return ""
	}
	defer log.Close() //nolint:errcheck // only read from
	text, _ := io.ReadAll(io.LimitReader(log, 1<<16))
	return strings.TrimSpace(string(text))
}

// AwaitStart waits until all pods of a run that was let go run, but not for long:
// what they wait for, and that an image is not there, should be seen at once.
// A [monitor.ErrImage] means that the run cannot begin.
func (c *Cluster) AwaitStart(ctx context.Context, run string, most time.Duration) (monitor.View, error) {
	m := &monitor.Monitor{Workers: monitor.Workers{Client: c.Client, Namespace: c.Namespace}, ID: run}
	var v monitor.View
	deadline := time.Now().Add(most)
	err := c.await(ctx, "the pods start", most+patience, func(ctx context.Context) (bool, error) {
		var err error
		if v, err = call(ctx, c, "look at the run", m.LookAtPods); err != nil {
			return false, err
		}
		if v.NoImage != nil {
			return false, v.NoImage
		}
		return v.State != monitor.Waiting || time.Now().After(deadline), nil
	})
	return v, err
}

// Begun reports whether a worker of a run ever ran, and may have made tenants. In
// doubt it did.
func (c *Cluster) Begun(ctx context.Context, job *batchv1.Job) (bool, error) {
	switch s := &job.Status; {
	case !jobs.Released(job):
		return false, nil
	case s.StartTime == nil || s.Succeeded > 0 || s.Failed > 0: // with its StartTime a Job that is held back forgets its pods
		return true, nil
	}
	pods, err := c.Pods(ctx, job.Labels[jobs.RunLabel], jobs.Worker)
	return slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending }), err
}

// Suspend ends the workers of a run by taking their pods away, which loses what
// was measured and nobody keeps: the last resort. Nobody waits for it to be fetched.
func (c *Cluster) Suspend(ctx context.Context, run string) error {
	s, _, err := c.Inputs(ctx, run)
	if err != nil {
		return err
	}
	workers := c.Workers(s)
	_, err = call(ctx, c, "suspend the Job", func(ctx context.Context) (*batchv1.Job, error) {
		return c.Client.BatchV1().Jobs(c.Namespace).Patch(ctx, jobs.ObjectName(run), types.MergePatchType, []byte(`{"spec":{"suspend":true}}`), metav1.PatchOptions{})
	})
	if err != nil {
		return err
	}
	return c.await(ctx, "the workers are being ended", removalTime, func(ctx context.Context) (bool, error) {
		pods, err := c.Pods(ctx, run, jobs.Worker)
		left := false
		for _, pod := range pods {
			if !monitor.Answers(pod) {
				continue
			}
			left = true
			if names, err := workers.Documents(ctx, pod.Name); err == nil && len(names) > 0 {
				_ = workers.Collected(ctx, pod.Name, names) // else the pod goes a little later
			}
		}
		return !left, err
	})
}
