package orchestrator

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
	"github.com/otherjamesbrown/ai-aas/tests/load/internal/secret"
)

func run() *jobs.Run {
	return &jobs.Run{
		ID: "r", Namespace: "n", Scenario: "s", SHA256: "sum", Started: time.Unix(1e9, 0).UTC(), Workers: 2, Image: "i",
		OnLoss: jobs.ReplaceOnLoss, OnLate: jobs.FailOnLate, StartTimeout: time.Minute, Resources: jobs.Size(10), Text: []byte("t"), Token: secret.New("token"),
	}
}

// carryOut does a step as the API server would.
func carryOut(r *jobs.Run, s seen, todo step) seen {
	switch todo {
	case createJob:
		s.job = r.Job()
		s.job.UID = "uid"
	case createSecret:
		s.secret = r.Secret(s.job)
	case createConfigMap:
		s.configMap = r.ConfigMap(s.job)
	case createService:
		s.service = r.Service(s.job)
		s.service.Spec.ClusterIP = "10.0.0.1"
	case release:
		s.job = jobs.Release(s.job, s.service)
	case done:
	}
	return s
}

// From nothing, each step follows from what is there, and the last one changes
// nothing any more.
func TestStepsFollowFromWhatIsThere(t *testing.T) {
	for secretive, want := range map[bool]string{false: "[1 2 3 4 5 0 0]", true: "[1 2 4 5 0 0]"} {
		r := run()
		r.Secretive = secretive
		var s seen
		var steps []step
		for len(steps) < 2 || steps[len(steps)-2] != done {
			todo, err := next(r, s)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, todo)
			s = carryOut(r, s, todo)
		}
		if got := fmt.Sprint(steps); got != want {
			t.Errorf("secretive %t: %s, want %s", secretive, got, want)
		}
	}
}

func TestWhatIsInTheWay(t *testing.T) {
	for want, change := range map[string]func(*jobs.Run, *seen){
		"with other contents":        func(r *jobs.Run, _ *seen) { r.SHA256 = "other" },
		"is being removed":           func(_ *jobs.Run, s *seen) { s.job.DeletionTimestamp = new(metav1.Now()) },
		"is not of this run":         func(r *jobs.Run, s *seen) { s.secret = r.Secret(r.Job()) },
		"with other secrets or file": func(r *jobs.Run, _ *seen) { r.Variables = []jobs.Variable{{Name: "A", Value: secret.New("b")}} },
	} {
		r := run()
		s := carryOut(r, seen{}, createJob)
		change(r, &s)
		if _, err := next(r, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestRoom(t *testing.T) {
	node := func(name, cpu string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("3"),
		}}}
	}
	small, large, tainted := node("small", "200m"), node("large", "8"), node("tainted", "8")
	tainted.Spec.Taints = []corev1.Taint{{Effect: corev1.TaintEffectNoSchedule}}
	pod := corev1.Pod{Spec: corev1.PodSpec{NodeName: "large", Containers: []corev1.Container{{}}}}
	if got := room(run(), []corev1.Node{small, large, tainted}, []corev1.Pod{pod}); got != 1+2 { // of CPU on the one, of places on the other
		t.Errorf("room for %d", got)
	}
}

func TestServicesAreKnownByTheirAddress(t *testing.T) {
	for address, want := range map[string]string{
		"http://router:8080": "router/own", "http://router.prod.svc": "router/prod", "https://router.prod.svc.cluster.local.": "router/prod",
		"http://localhost": "/", "http://10.0.0.1:80": "/", "http://example.com": "/", "http://[::1]:80": "/",
	} {
		name, namespace, _ := service(address, "own")
		if got := name + "/" + namespace; got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&url.Error{Op: "Get", Err: errors.New("refused")}, true},
		{apierrors.NewTooManyRequests("busy", 1), true},
		{apierrors.NewInternalError(errors.New("etcd")), true},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, "r", nil), false},
		{apierrors.NewNotFound(schema.GroupResource{Resource: "jobs"}, "r"), false},
		{errors.New("other"), false},
	} {
		if got := away(fmt.Errorf("look: %w", c.err)); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
}
