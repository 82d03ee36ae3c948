//go:build linux

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	nodeName      = "node"
	administrator = "administrator" // her token, in a cluster that lives for minutes on this machine
	pauseImage    = "registry.k8s.io/pause:3.10"
)

func (c *Cluster) file(name string) string { return filepath.Join(c.slot.state(), name) }
func (c *Cluster) socket() string          { return c.file("containerd.sock") }

// path is where daemons find the programs that they start: shims, runc, nft.
func (c *Cluster) path() string { return c.bin + ":/usr/sbin:/usr/bin:/sbin:/bin" }

// commands are the arguments of every part.
func (c *Cluster) commands() map[string][]string {
	s := c.slot
	return map[string][]string{
		"etcd": {
			"--data-dir=" + c.file("etcd"),
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380",
			"--unsafe-no-fsync",
		},
		"containerd": {"--config=" + c.file("containerd.toml")},
		"kube-apiserver": {
			"--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0", "--advertise-address=" + s.node(),
			"--cert-dir=" + c.file("certs"), "--tls-cert-file=" + c.file("apiserver.crt"), "--tls-private-key-file=" + c.file("apiserver.key"),
			"--client-ca-file=" + c.CA, "--token-auth-file=" + c.file("tokens.csv"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.file("accounts.key"), "--service-account-signing-key-file=" + c.file("accounts.key"),
			"--service-cluster-ip-range=" + s.services(),
			"--kubelet-client-certificate=" + c.file("client.crt"), "--kubelet-client-key=" + c.file("client.key"), "--kubelet-certificate-authority=" + c.CA,
			"--kubelet-preferred-address-types=InternalIP",
		},
		"kube-controller-manager": {
			"--kubeconfig=" + c.file("controllers.conf"), "--authentication-kubeconfig=" + c.file("controllers.conf"), "--authorization-kubeconfig=" + c.file("controllers.conf"),
			"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + c.file("accounts.key"), "--root-ca-file=" + c.CA,
		},
		"kube-scheduler": {
			"--kubeconfig=" + c.file("scheduler.conf"), "--authentication-kubeconfig=" + c.file("scheduler.conf"), "--authorization-kubeconfig=" + c.file("scheduler.conf"),
			"--bind-address=127.0.0.1", "--leader-elect=false",
		},
		"kube-proxy": {"--config=" + c.file("proxy.yaml")},
		"kubelet": {
			"--config=" + c.file("kubelet.yaml"), "--kubeconfig=" + c.file("kubelet.conf"), "--hostname-override=" + nodeName, "--node-ip=" + s.node(),
			"--root-dir=" + c.file("kubelet"), "--cert-dir=" + c.file("certs"),
		},
		"kwok": {
			"--kubeconfig=" + c.Kubeconfig, "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
			"--cidr=198.18.255.0/24", "--node-ip=198.18.255.1",
		},
	}
}

// write makes the keys, and the files that the commands name.
func (c *Cluster) write() error {
	s := c.slot
	if err := c.certify(); err != nil {
		return err
	}
	const config = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "%s", certificate-authority: %s}}]
users: [{name: %[3]s, user: {token: %[3]s}}]
contexts: [{name: test, context: {cluster: test, user: %[3]s}}]
current-context: test
`
	files := map[string]string{
		"tokens.csv": administrator + `,admin,1,"system:masters"
controllers,system:kube-controller-manager,2
scheduler,system:kube-scheduler,3
proxy,system:kube-proxy,4
kubelet,system:node:` + nodeName + `,5,"system:nodes"
`,
		"admin.conf": fmt.Sprintf(config, c.Server, c.CA, administrator),
		"containerd.toml": `version = 3
root = "STATE/images"
state = "STATE/pods.run"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "SOCKET"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "` + pauseImage + `"
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "STATE/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`,
		"cni/10-bridge.conflist": `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "STATE/addresses", "ranges": [[{"subnet": "PODS"}]]}
}]}
`,
		"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://SOCKET
address: NODE
healthzBindAddress: 127.0.0.1
readOnlyPort: 0
failSwapOn: false
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /GROUP
makeIPTablesUtilChains: false
podLogsDir: STATE/pods.log
volumePluginDir: STATE/plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: CERTIFICATE}}
authorization: {mode: Webhook}
tlsCertFile: STATE/kubelet.crt
tlsPrivateKeyFile: STATE/kubelet.key
`,
		"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
bindAddress: 127.0.0.1
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: STATE/proxy.conf}
hostnameOverride: ` + nodeName + `
clusterCIDR: PODS
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
	}
	for _, who := range []string{"controllers", "scheduler", "proxy", "kubelet"} {
		files[who+".conf"] = fmt.Sprintf(config, c.Server, c.CA, who)
	}
	fill := strings.NewReplacer("STATE", s.state(), "SOCKET", c.socket(), "PODS", s.pods(), "NODE", s.node(), "GROUP", s.name(), "CERTIFICATE", c.CA)
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(c.file(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(c.file(name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
