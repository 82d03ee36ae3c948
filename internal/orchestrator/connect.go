// Package orchestrator brings a run into a Kubernetes cluster, ends it, and
// takes it away again.
//
// All of it is level-based: look at what is there, do the next step that is
// missing, look again ([Cluster.Reconcile]). Whoever is killed between two steps
// leaves something from which the same call goes on. Nothing is remembered
// outside the cluster, and nothing in it but the objects of package jobs.
package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// How long the API server is waited for.
const (
	callTime = 10 * time.Second // one call
	patience = 2 * time.Minute  // calls again and again
)

// Cluster is a namespace of a cluster, as one user sees it.
type Cluster struct {
	Client    kubernetes.Interface
	Namespace string
	Server    string // its URL, for messages
	// Say tells the user what takes long, in a line.
	Say func(string)
}

// Where says which cluster is meant.
type Where struct {
	// Context is one of the kubeconfig's; empty: the current one.
	Context string
	// Namespaces are tried in order: the first that is not empty. Between them and
	// the last resort comes the context's own.
	Namespaces []string
	LastResort string
}

// Connect finds the cluster by the kubeconfig, as kubectl does, or from inside a
// pod. It makes no call. Its error is a mistake in what the user has set up.
func Connect(w Where, say func(string)) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: w.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if _, there := raw.Contexts[w.Context]; w.Context != "" && !there {
		var names []string
		for name := range raw.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("the kubeconfig has no context %q; it has: %s", w.Context, strings.Join(names, ", "))
	}
	config, err := loader.ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("no cluster is known here: there is no kubeconfig in %s: set KUBECONFIG to one, or say loadtest run for a run on this machine", looked(rules))
		}
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "loadtest"
	config.WarningHandler = rest.NoWarnings{} // they are asked for, once, by the dry run
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	c := &Cluster{Client: client, Server: config.Host, Say: say}
	for _, name := range w.Namespaces {
		if name != "" {
			c.Namespace = name
			return c, nil
		}
	}
	c.Namespace = w.LastResort
	if name, explicit, err := loader.Namespace(); err == nil && (explicit || name != "default") {
		c.Namespace = name
	}
	return c, nil
}

func looked(rules *clientcmd.ClientConfigLoadingRules) string {
	if named := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); named != "" {
		return named + " ($KUBECONFIG)"
	}
	return rules.GetDefaultFilename()
}

// Reach reports whether the API server answers at all, without patience.
func (c *Cluster) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := c.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	switch {
	case err == nil, apierrors.IsForbidden(err):
		return nil
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server %s does not know you (401): log in again, or choose another context with --context", c.Server)
	}
	return fmt.Errorf("the API server %s cannot be reached: %w; see whether kubectl version answers", c.Server, err)
}

// ErrAway marks errors of an API server that did not answer for so long that
// nobody wants to wait on.
var ErrAway = errors.New("the API server does not answer")

// call asks the API server, again and again for some time if it is away.
func call[T any](ctx context.Context, c *Cluster, what string, ask func(context.Context) (T, error)) (T, error) {
	said := false
	began := time.Now()
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 200*time.Millisecond, 5*time.Second
	for {
		asking, cancel := context.WithTimeout(ctx, callTime)
		answer, err := ask(asking)
		cancel()
		switch {
		case err == nil || !away(err) || ctx.Err() != nil:
			if err == nil && said {
				c.Say("the API server answers again")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", what, err)
			}
			return answer, err
		case time.Since(began) > patience:
			return answer, fmt.Errorf("%s: %w: %s has been away for %s (%w)", what, ErrAway, c.Server, time.Since(began).Round(time.Second), err)
		case !said:
			said = true
			c.Say(fmt.Sprintf("the API server does not answer (%v); it is asked again for %v", err, patience))
		}
		select {
		case <-time.After(waits.NextBackOff()):
		case <-ctx.Done():
			return answer, context.Cause(ctx)
		}
	}
}

// away reports whether a call that failed may work later.
func away(err error) bool {
	var network net.Error
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= 500
	case errors.Is(err, context.DeadlineExceeded):
		return true
	}
	return errors.As(err, &network)
}
