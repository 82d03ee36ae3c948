package orchestrator

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
)

// seen is what there is of a run; what is nil is not there.
type seen struct {
	job       *batchv1.Job
	secret    *corev1.Secret
	configMap *corev1.ConfigMap
	service   *corev1.Service
}

// step is the next thing to do.
type step int

const (
	done step = iota
	createJob
	createSecret
	createConfigMap
	createService
	release
)

// next decides what is to be done about a run, of which this is there.
func next(r *jobs.Run, s seen) (step, error) {
	if s.job == nil {
		return createJob, nil
	}
	there, err := jobs.FromJob(s.job)
	if err != nil {
		return done, err
	}
	if there.SHA256 != r.SHA256 {
		return done, fmt.Errorf("there is a run %s in %s already, of the scenario %s with other contents: choose another name with --run, or remove it with: loadtest cleanup --run %s --namespace %s",
			r.ID, r.Namespace, there.Scenario, r.ID, r.Namespace)
	}
	if s.job.DeletionTimestamp != nil {
		return done, fmt.Errorf("the run %s is being removed: try again when it is gone, or choose another name with --run", r.ID)
	}
	for _, o := range []metav1.Object{s.secret, s.configMap, s.service} {
		if !nothing(o) && !metav1.IsControlledBy(o, s.job) {
			return done, fmt.Errorf("%s in %s is not of this run: it is being removed, or somebody else's; choose another name with --run", o.GetName(), r.Namespace)
		}
	}
	switch suspended := s.job.Spec.Suspend != nil && *s.job.Spec.Suspend; {
	case !suspended: // everything was there when it was let go
		return done, nil
	case s.secret == nil && !equality.Semantic.DeepEqual(s.job.Spec.Template.Spec.Volumes, r.Job().Spec.Template.Spec.Volumes):
		return done, fmt.Errorf("the run %s was begun with other secrets or files: give the same flags and the same environment as then, or remove it with: loadtest cleanup --run %s --namespace %s",
			r.ID, r.ID, r.Namespace)
	case s.secret == nil:
		return createSecret, nil
	case s.configMap == nil && !r.Secretive:
		return createConfigMap, nil
	case s.service == nil:
		return createService, nil
	}
	return release, nil
}

// nothing reports whether o is one of the nil pointers of [seen].
func nothing(o metav1.Object) bool {
	switch o := o.(type) {
	case *corev1.Secret:
		return o == nil
	case *corev1.ConfigMap:
		return o == nil
	case *corev1.Service:
		return o == nil
	}
	return o == nil
}

// Reconcile brings the run into the cluster, or the rest of it that is not
// there, and returns its Job, which is let go. What is there already decides: the
// seed and the moment of the start are those of the Job.
func (c *Cluster) Reconcile(ctx context.Context, r *jobs.Run) (*batchv1.Job, error) {
	for {
		now, err := c.look(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		todo, err := next(r, now)
		if err != nil {
			return nil, err
		}
		switch todo {
		case done:
			return now.job, nil
		case createJob:
			err = c.make(ctx, "create the Job", func(ctx context.Context) error {
				_, err := c.Client.BatchV1().Jobs(c.Namespace).Create(ctx, r.Job(), metav1.CreateOptions{})
				return err
			})
		case createSecret:
			err = c.make(ctx, "create the Secret", func(ctx context.Context) error {
				_, err := c.Client.CoreV1().Secrets(c.Namespace).Create(ctx, r.Secret(now.job), metav1.CreateOptions{})
				return err
			})
		case createConfigMap:
			err = c.make(ctx, "create the ConfigMap", func(ctx context.Context) error {
				_, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Create(ctx, r.ConfigMap(now.job), metav1.CreateOptions{})
				return err
			})
		case createService:
			err = c.make(ctx, "create the Service", func(ctx context.Context) error {
				_, err := c.Client.CoreV1().Services(c.Namespace).Create(ctx, r.Service(now.job), metav1.CreateOptions{})
				return err
			})
		case release:
			err = c.make(ctx, "let the workers go", func(ctx context.Context) error {
				_, err := c.Client.BatchV1().Jobs(c.Namespace).Update(ctx, jobs.Release(now.job, now.service), metav1.UpdateOptions{})
				return err
			})
		}
		if err != nil {
			return nil, err
		}
	}
}

// make does one step. That somebody else, or a call whose answer was lost, has
// done it is no failure: the next look shows what is there.
func (c *Cluster) make(ctx context.Context, what string, do func(context.Context) error) error {
	_, err := call(ctx, c, what, func(ctx context.Context) (struct{}, error) {
		err := do(ctx)
		if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// look finds out what there is of a run.
func (c *Cluster) look(ctx context.Context, run string) (s seen, err error) {
	name := jobs.ObjectName(run)
	if s.job, err = find(ctx, c, "look for the Job", c.Client.BatchV1().Jobs(c.Namespace).Get, name); err != nil {
		return s, err
	}
	if s.job != nil && s.job.Spec.Suspend != nil && !*s.job.Spec.Suspend {
		return s, nil // nothing else matters any more
	}
	if s.secret, err = find(ctx, c, "look for the Secret", c.Client.CoreV1().Secrets(c.Namespace).Get, name); err != nil {
		return s, err
	}
	if s.configMap, err = find(ctx, c, "look for the ConfigMap", c.Client.CoreV1().ConfigMaps(c.Namespace).Get, name); err != nil {
		return s, err
	}
	s.service, err = find(ctx, c, "look for the Service", c.Client.CoreV1().Services(c.Namespace).Get, name)
	return s, err
}

// find returns nil for what is not there.
func find[T any](ctx context.Context, c *Cluster, what string, get func(context.Context, string, metav1.GetOptions) (*T, error), name string) (*T, error) {
	found, err := call(ctx, c, what, func(ctx context.Context) (*T, error) { return get(ctx, name, metav1.GetOptions{}) })
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // what is not there is no error
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}
