//go:build linux

// Package cluster is a real Kubernetes of one node, for tests: etcd, the API
// server, its controllers, the scheduler, kubelet, kube-proxy and containerd,
// built by build.sh and run as processes of this machine. It wants root.
//
// It has a network namespace of its own, to which a cable leads, so that a test
// reaches the API server, pods and services by their addresses, and pods reach
// what listens on [Cluster.Host]. There is no DNS, nothing can be pulled
// (images are imported), and NetworkPolicy is stored but not enforced.
//
// Several may run side by side. What a killed test leaves is killed by the
// kernel or cleared by the next one.
package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a part may take to be ready on a busy machine.
const patience = 3 * time.Minute

// Cluster is a running one.
type Cluster struct {
	Kubeconfig string // the path of an administrator's
	Server     string // the API server's URL
	CA         string // the path of the certificate that it is known by
	Host       string // this machine's address, as pods, the node and tests see it
	Logs       string // the folder of the parts' logs

	bin     string
	slot    *slot
	thread  thread
	daemons []*daemon // in the order in which they were started
	client  *http.Client
}

// Start starts a cluster and waits until its node is ready.
func Start(ctx context.Context) (*Cluster, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a test cluster needs root: it makes namespaces, control groups and mounts")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "loadtest-e2e")
	bin := filepath.Join(cache, "cluster")
	if _, err := os.Stat(filepath.Join(bin, "kubelet")); err != nil {
		return nil, fmt.Errorf("there is no Kubernetes (test/e2e/install.sh builds it): %w", err)
	}
	s, err := takeSlot(ctx, cache)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Kubeconfig: filepath.Join(s.state(), "admin.conf"),
		Server:     "https://" + s.node() + ":6443",
		CA:         filepath.Join(s.state(), "ca.crt"),
		Host:       s.host(),
		Logs:       s.logs(),
		bin:        bin, slot: s, thread: newThread(),
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.slot.furnish(ctx); err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return err
	}
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}

	for _, name := range []string{"etcd", "containerd", "kube-apiserver"} {
		if err := c.StartDaemon(name); err != nil {
			return err
		}
	}
	if err := c.Wait(ctx, "the API server is ready", func(ctx context.Context) error { return c.get(ctx, "/readyz", nil) }); err != nil {
		return err
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if err := c.StartDaemon(name); err != nil {
			return err
		}
	}
	// kubelet gives up if containerd does not answer, and needs this image for every pod.
	pause := filepath.Join(c.slot.state(), "pause.tar")
	if err := writeImage(pause, pauseImage, filepath.Join(c.bin, "pause")); err != nil {
		return err
	}
	if err := c.Wait(ctx, "containerd takes an image", func(ctx context.Context) error { return c.Import(ctx, pause) }); err != nil {
		return err
	}
	if err := c.StartDaemon("kubelet"); err != nil {
		return err
	}
	return c.Wait(ctx, "the node is ready", func(ctx context.Context) error {
		var node struct {
			Status struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
		if err := c.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", node.Status.Conditions)
	})
}

// Stop ends the cluster and removes what was in it. The logs stay until the
// place is used again.
func (c *Cluster) Stop() error {
	err := c.slot.free(context.Background())
	for _, d := range c.daemons {
		<-d.ended
	}
	close(c.thread)
	return err
}

// Wait repeats f until it returns nil. If that takes minutes or a part of the
// cluster has ended, the error says so, with what f said last and the end of a
// log.
func (c *Cluster) Wait(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		for _, d := range c.daemons {
			if !d.running() {
				return fmt.Errorf("wait until %s: %s has ended; %s", what, d.name, d.tail())
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			logs := ""
			if last := len(c.daemons) - 1; last >= 0 {
				logs = c.daemons[last].tail()
			}
			return fmt.Errorf("wait until %s: %w (%w); %s", what, err, context.Cause(ctx), logs)
		}
	}
}

// StartDaemon starts a part of the cluster by its program's name, after
// KillDaemon again.
func (c *Cluster) StartDaemon(name string) error {
	args, known := c.commands()[name]
	if !known {
		return fmt.Errorf("the cluster has no part %q", name)
	}
	d := &daemon{name: name, args: append([]string{filepath.Join(c.bin, name)}, args...), log: filepath.Join(c.Logs, name+".log")}
	if err := d.start(c.thread, c.slot, c.path()); err != nil {
		return err
	}
	c.daemons = append(c.daemons, d)
	return nil
}

// KillDaemon kills a part as a crash would.
func (c *Cluster) KillDaemon(name string) error {
	for i, d := range c.daemons {
		if d.name == name {
			d.kill()
			c.daemons = append(c.daemons[:i:i], c.daemons[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("%s does not run", name)
}

// Kubectl runs kubectl as the administrator and returns what it prints. in is
// its standard input, for -f -.
func (c *Cluster) Kubectl(ctx context.Context, in string, args ...string) (string, error) {
	return c.run(ctx, in, "kubectl", args...)
}

// run runs a program of the cluster's with the administrator's kubeconfig. The
// error of one that fails has what it wrote on its standard error.
func (c *Cluster) run(ctx context.Context, in, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...) // #nosec G204 -- ours
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = strings.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// Import makes the image in an archive of docker save known to the node. Pods
// use it with imagePullPolicy Never or IfNotPresent.
func (c *Cluster) Import(ctx context.Context, archive string) error {
	_, err := c.run(ctx, "", "ctr", "--address", c.socket(), "--namespace", "k8s.io", "images", "import", archive)
	return err
}

// AddNodes adds nodes that exist in name only, fake-0 and so on: pods there
// are Running at once and run nothing. They carry the taint
// kwok.x-k8s.io/node=fake:NoSchedule, which such pods must tolerate.
func (c *Cluster) AddNodes(ctx context.Context, count int) error {
	if err := c.StartDaemon("kwok"); err != nil {
		return err
	}
	var nodes strings.Builder
	for n := range count {
		fmt.Fprintf(&nodes, `---
apiVersion: v1
kind: Node
metadata: {name: fake-%d, annotations: {kwok.x-k8s.io/node: fake}, labels: {type: kwok}}
spec: {taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]}
status:
  allocatable: {cpu: "16", memory: 64Gi, pods: "110"}
  capacity: {cpu: "16", memory: 64Gi, pods: "110"}
`, n)
	}
	if _, err := c.Kubectl(ctx, nodes.String(), "apply", "-f", "-"); err != nil {
		return err
	}
	return c.Wait(ctx, "the added nodes are ready", func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "", "wait", "--for=condition=Ready", "nodes", "-l", "type=kwok", "--timeout=2s")
		return err
	})
}

// get asks the API server as the administrator.
func (c *Cluster) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+administrator)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}
