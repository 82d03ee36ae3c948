package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otherjamesbrown/ai-aas/tests/load/internal/orchestrator/jobs"
)

// rule is what a user must be allowed to do in the namespace.
type rule struct {
	group, resource string
	verbs           []string
}

// rules are all that is needed from start to clean-up.
var rules = []rule{
	{"batch", "jobs", []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
	{"", "secrets", []string{"get", "create"}},
	{"", "configmaps", []string{"get", "create"}},
	{"", "services", []string{"get", "create"}},
	{"", "pods", []string{"get", "list", "watch"}},
	{"", "pods/log", []string{"get"}},
	{"", "pods/proxy", []string{"get", "create"}},
	{"", "events", []string{"list"}},
}

// role is the rules as an object to apply.
func role(namespace string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: loadtest, namespace: %s}\nrules:\n", namespace)
	for _, r := range rules {
		fmt.Fprintf(&b, "- {apiGroups: [%q], resources: [%s], verbs: [%s]}\n", r.group, r.resource, strings.Join(r.verbs, ", "))
	}
	return b.String()
}

// Missing is all that a run lacks in the cluster.
type Missing struct{ Problems []string }

// Error implements error.
func (m *Missing) Error() string {
	return "the cluster is not ready for this run, and nothing was created:\n  - " + strings.Join(m.Problems, "\n  - ")
}

// Preflight says everything that a run lacks, before anything is created: a
// [*Missing] with all of it. resume allows that the run is there already. What
// cannot be looked at is not judged. Remarks go to Say.
func (c *Cluster) Preflight(ctx context.Context, r *jobs.Run, platforms []string, resume bool) error {
	if err := c.Reach(ctx); err != nil {
		return err
	}
	p := &preflight{Cluster: c, run: r}
	if there, err := p.namespace(ctx); err != nil || !there {
		return cmpError(err, p.missing())
	}
	checks := []func(context.Context) error{p.permissions, p.quotas, p.limitRanges, p.nodes, p.secretRef}
	if !resume {
		checks = append(checks, p.names)
	}
	for _, check := range checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	for _, address := range platforms {
		if err := p.platform(ctx, address); err != nil {
			return err
		}
	}
	if len(p.problems) == 0 && !resume {
		if err := p.dryRun(ctx); err != nil {
			return err
		}
	}
	return p.missing()
}

func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// preflight is the checks under way.
type preflight struct {
	*Cluster
	run      *jobs.Run
	problems []string
}

func (p *preflight) lack(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *preflight) missing() error {
	if len(p.problems) == 0 {
		return nil
	}
	return &Missing{p.problems}
}

// unseen reports whether err only means that something may not be looked at.
func unseen(err error) bool { return apierrors.IsForbidden(err) }

func (p *preflight) namespace(ctx context.Context) (there bool, err error) {
	ns, err := find(ctx, p.Cluster, "look for the namespace", p.Client.CoreV1().Namespaces().Get, p.Namespace)
	switch {
	case unseen(err):
		return true, nil
	case err != nil:
		return false, err
	case ns == nil:
		p.lack("there is no namespace %s: create it with kubectl create namespace %s, or choose another with --namespace", p.Namespace, p.Namespace)
		return false, nil
	case ns.DeletionTimestamp != nil:
		p.lack("the namespace %s is being removed: wait until it is gone and create it again, or choose another with --namespace", p.Namespace)
		return false, nil
	}
	return true, nil
}

func (p *preflight) permissions(ctx context.Context) error {
	var lacking []string
	for _, r := range rules {
		name, sub, _ := strings.Cut(r.resource, "/")
		for _, verb := range r.verbs {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: p.Namespace, Verb: verb, Group: r.group, Resource: name, Subresource: sub},
			}}
			answer, err := call(ctx, p.Cluster, "ask what you may do", func(ctx context.Context) (*authorizationv1.SelfSubjectAccessReview, error) {
				return p.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			})
			if unseen(err) {
				return nil // who may not ask will hear by trying
			}
			if err != nil {
				return err
			}
			if !answer.Status.Allowed {
				lacking = append(lacking, verb+" "+r.resource)
			}
		}
	}
	if len(lacking) > 0 {
		p.lack("you may not %s in the namespace %s; let somebody apply this Role and bind it to you:\n%s",
			strings.Join(lacking, ", "), p.Namespace, indent(role(p.Namespace)))
	}
	return nil
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ")
}

// asked is what the run takes of what quotas count.
func asked(r *jobs.Run) map[corev1.ResourceName]resource.Quantity {
	times := func(q resource.Quantity) resource.Quantity {
		q = q.DeepCopy()
		q.Mul(int64(r.Workers))
		return q
	}
	n := func(n int) resource.Quantity { return *resource.NewQuantity(int64(n), resource.DecimalSI) }
	all := map[corev1.ResourceName]resource.Quantity{
		corev1.ResourcePods: n(r.Workers), "count/pods": n(r.Workers), "count/jobs.batch": n(1),
		corev1.ResourceSecrets: n(1), "count/secrets": n(1), corev1.ResourceServices: n(1), "count/services": n(1),
		corev1.ResourceRequestsCPU: times(r.Resources.CPU), corev1.ResourceCPU: times(r.Resources.CPU), corev1.ResourceLimitsCPU: times(r.Resources.CPULimit),
		corev1.ResourceRequestsMemory: times(r.Resources.Memory), corev1.ResourceMemory: times(r.Resources.Memory), corev1.ResourceLimitsMemory: times(r.Resources.MemoryLimit),
	}
	if !r.Secretive {
		all[corev1.ResourceConfigMaps], all["count/configmaps"] = n(1), n(1)
	}
	return all
}

func (p *preflight) quotas(ctx context.Context) error {
	quotas, err := call(ctx, p.Cluster, "look at the quotas", func(ctx context.Context) (*corev1.ResourceQuotaList, error) {
		return p.Client.CoreV1().ResourceQuotas(p.Namespace).List(ctx, metav1.ListOptions{})
	})
	if unseen(err) {
		return nil
	}
	if err != nil {
		return err
	}
	want := asked(p.run)
	for _, q := range quotas.Items {
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue // it may not be about these pods
		}
		var names []corev1.ResourceName
		for name := range q.Spec.Hard {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			need, counted := want[name]
			if of, unsaid := strings.CutPrefix(string(name), "limits."); unsaid && counted && need.IsZero() && !p.limited(ctx, corev1.ResourceName(of)) {
				p.lack("the quota %s wants every pod to say %s, and the workers do not: set spec.workers.resources.limits.%s", q.Name, name, of)
			}
			hard, used := q.Spec.Hard[name], q.Status.Used[name]
			left := hard.DeepCopy()
			left.Sub(used)
			if !counted || need.Cmp(left) <= 0 {
				continue
			}
			p.lack("the quota %s leaves %s of %s (%s of %s are used), and %d workers need %s: raise it, or ask for less by --workers or spec.workers.resources",
				q.Name, &left, name, &used, &hard, p.run.Workers, &need)
		}
	}
	return nil
}

// limited reports whether pods get a limit that they do not ask for.
func (p *preflight) limited(ctx context.Context, name corev1.ResourceName) bool {
	ranges, err := call(ctx, p.Cluster, "look at the limit ranges", func(ctx context.Context) (*corev1.LimitRangeList, error) {
		return p.Client.CoreV1().LimitRanges(p.Namespace).List(ctx, metav1.ListOptions{})
	})
	return err != nil || slices.ContainsFunc(ranges.Items, func(l corev1.LimitRange) bool {
		return slices.ContainsFunc(l.Spec.Limits, func(i corev1.LimitRangeItem) bool {
			_, given := i.Default[name]
			return given && i.Type == corev1.LimitTypeContainer
		})
	})
}

func (p *preflight) limitRanges(ctx context.Context) error {
	ranges, err := call(ctx, p.Cluster, "look at the limit ranges", func(ctx context.Context) (*corev1.LimitRangeList, error) {
		return p.Client.CoreV1().LimitRanges(p.Namespace).List(ctx, metav1.ListOptions{})
	})
	if unseen(err) {
		return nil
	}
	if err != nil {
		return err
	}
	res := p.run.Resources
	for _, l := range ranges.Items {
		for _, item := range l.Spec.Limits {
			if item.Type != corev1.LimitTypeContainer && item.Type != corev1.LimitTypePod {
				continue
			}
			for _, of := range []struct {
				name         corev1.ResourceName
				asked, limit resource.Quantity
			}{{corev1.ResourceCPU, res.CPU, res.CPULimit}, {corev1.ResourceMemory, res.Memory, res.MemoryLimit}} {
				most, least := item.Max[of.name], item.Min[of.name]
				greatest := of.limit
				if greatest.Cmp(of.asked) < 0 {
					greatest = of.asked
				}
				if !most.IsZero() && greatest.Cmp(most) > 0 {
					p.lack("the limit range %s lets a %s have %s of %s, and a worker wants %s: set spec.workers.resources.limits.%s", l.Name, strings.ToLower(string(item.Type)), &most, of.name, &greatest, of.name)
				}
				if !least.IsZero() && !of.asked.IsZero() && of.asked.Cmp(least) < 0 {
					p.lack("the limit range %s wants a %s to ask for %s of %s at least, and a worker asks for %s: set spec.workers.resources.requests.%s", l.Name, strings.ToLower(string(item.Type)), &least, of.name, &of.asked, of.name)
				}
			}
		}
	}
	return nil
}

// nodes looks whether there is room. Clusters grow, so that it only remarks.
func (p *preflight) nodes(ctx context.Context) error {
	nodes, err := call(ctx, p.Cluster, "look at the nodes", func(ctx context.Context) (*corev1.NodeList, error) {
		return p.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	})
	if unseen(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pods, err := call(ctx, p.Cluster, "look at the pods", func(ctx context.Context) (*corev1.PodList, error) {
		return p.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	})
	if err != nil && !unseen(err) {
		return err
	}
	if pods == nil {
		pods = &corev1.PodList{}
	}
	if room := room(p.run, nodes.Items, pods.Items); room < p.run.Workers {
		p.Say(fmt.Sprintf("warning: the nodes have room for %d of the %d workers, of %s CPUs and %s each: the others wait until the cluster grows, or --start-timeout is over",
			room, p.run.Workers, &p.run.Resources.CPU, &p.run.Resources.Memory))
	}
	return nil
}

// room is for how many workers nodes have room beside the pods on them.
func room(r *jobs.Run, nodes []corev1.Node, pods []corev1.Pod) (n int) {
	for _, node := range nodes {
		if node.Spec.Unschedulable || len(r.Regions) > 0 && !slices.Contains(r.Regions, node.Labels[corev1.LabelTopologyRegion]) ||
			slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }) {
			continue
		}
		cpu, memory, places := node.Status.Allocatable.Cpu().MilliValue(), node.Status.Allocatable.Memory().Value(), node.Status.Allocatable.Pods().Value()
		for _, pod := range pods {
			if pod.Spec.NodeName != node.Name {
				continue
			}
			places--
			for _, c := range pod.Spec.Containers {
				cpu -= c.Resources.Requests.Cpu().MilliValue()
				memory -= c.Resources.Requests.Memory().Value()
			}
		}
		fits := places
		if one := r.Resources.CPU.MilliValue(); one > 0 {
			fits = min(fits, cpu/one)
		}
		if one := r.Resources.Memory.Value(); one > 0 {
			fits = min(fits, memory/one)
		}
		n += int(max(0, fits))
	}
	return n
}

// secretRef looks for the Secret that the scenario names.
func (p *preflight) secretRef(ctx context.Context) error {
	from := p.run.Admin.From
	if from == nil {
		return nil
	}
	s, err := find(ctx, p.Cluster, "look for the Secret "+from.Secret, p.Client.CoreV1().Secrets(p.Namespace).Get, from.Secret)
	switch {
	case unseen(err):
		return nil
	case err != nil:
		return err
	case s == nil:
		p.lack("there is no Secret %s in %s, which the scenario names", from.Secret, p.Namespace)
	case len(s.Data[from.Key]) == 0:
		p.lack("the Secret %s in %s has no key %s, which the scenario names", from.Secret, p.Namespace, from.Key)
	}
	return nil
}

func (p *preflight) names(ctx context.Context) error {
	name := jobs.ObjectName(p.run.ID)
	taken := func(kind string) {
		p.lack("there is a %s %s in %s already: choose another name with --run, or remove it with: loadtest cleanup --run %s --namespace %s", kind, name, p.Namespace, p.run.ID, p.Namespace)
	}
	s, err := p.look(ctx, p.run.ID)
	switch {
	case unseen(err):
		return nil
	case err != nil:
		return err
	case s.job != nil:
		p.lack("there is a run %s in %s already: to go on with it say --run %s, or choose another name", p.run.ID, p.Namespace, p.run.ID)
	case s.secret != nil:
		taken("Secret")
	case s.configMap != nil:
		taken("ConfigMap")
	case s.service != nil:
		taken("Service")
	}
	return nil
}

// platform looks whether an address within the cluster leads anywhere. Others
// are for the workers to try.
func (p *preflight) platform(ctx context.Context, address string) error {
	name, namespace, inside := service(address, p.Namespace)
	if !inside {
		return nil
	}
	s, err := find(ctx, p.Cluster, "look for the platform", p.Client.CoreV1().Services(namespace).Get, name)
	switch {
	case unseen(err):
		return nil
	case err != nil:
		return err
	case s == nil:
		p.lack("the platform at %s would be the Service %s in the namespace %s, and there is none", address, name, namespace)
		return nil
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return nil
	}
	slicesOf, err := call(ctx, p.Cluster, "look behind the Service "+name, func(ctx context.Context) (*discoveryv1.EndpointSliceList, error) {
		return p.Client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	})
	switch {
	case unseen(err):
		return nil
	case err != nil:
		return err
	case !slices.ContainsFunc(slicesOf.Items, func(s discoveryv1.EndpointSlice) bool {
		return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready })
	}):
		p.lack("the platform at %s is the Service %s in the namespace %s, and no pod behind it is ready", address, name, namespace)
	}
	return nil
}

// service takes a URL apart whose host is the name of a Service.
func service(address, own string) (name, namespace string, inside bool) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", false
	}
	parts := strings.Split(strings.TrimSuffix(u.Hostname(), "."), ".")
	switch {
	case len(parts) == 1 && parts[0] != "localhost" && parts[0] != "" && !strings.Contains(parts[0], ":"):
		return parts[0], own, true
	case len(parts) >= 3 && parts[2] == "svc":
		return parts[0], parts[1], true
	}
	return "", "", false
}

// dryRun lets the API server say what it thinks of the Job, without keeping it.
func (p *preflight) dryRun(ctx context.Context) error {
	_, err := call(ctx, p.Cluster, "try to create the Job", func(ctx context.Context) (*batchv1.Job, error) {
		return p.Client.BatchV1().Jobs(p.Namespace).Create(ctx, p.run.Job(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	})
	switch {
	case err == nil, errors.Is(err, ErrAway), ctx.Err() != nil:
		return err
	}
	p.lack("the API server would refuse the Job: %v", err)
	return nil
}
