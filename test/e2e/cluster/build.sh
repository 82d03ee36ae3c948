#!/usr/bin/env bash
# Builds a one-node Kubernetes from source, once: its versions are those of the
# go.mod files beside this script. The programs go to folders of the user's
# cache, each named for what it is made from; links to all are in
# loadtest-e2e/cluster there.
set -euo pipefail
cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/loadtest-e2e"
mkdir -p "$cache/cluster"
exec 9>"$cache/cluster.lock"
flock 9 # another checkout may be building the same
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

# made NAME: runs build_NAME in a new folder, unless what comes in on standard
# input, from which its programs are made, is what they were made from.
made() {
  local dir
  dir="$cache/$1-$(sha256sum | cut -c1-12)"
  if [ ! -d "$dir" ]; then
    echo "building $1" >&2
    rm -rf "$dir.part"
    mkdir "$dir.part"
    "build_$1" "$dir.part"
    mv "$dir.part" "$dir"
  fi
  ln -sf "$dir"/* "$cache/cluster/"
}
compile() { # folder of the module, where to, what, more linker flags
  (cd "$1" && nice go build -trimpath -ldflags "-s -w ${4-}" -o "$2/" "$3")
}

build_etcd() {
  compile etcd "$1" tool
  mv "$1/server" "$1/etcd"
}
build_containerd() { compile containerd "$1" tool; }
build_pause() { compile . "$1" ./pause; }
build_kube() { # minutes
  local v=k8s.io/component-base/version
  compile kube "$1" tool "-X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$version") -X k8s.io/client-go/pkg/version.gitVersion=$version"
}
build_tools() {
  for tool in "${tools[@]}"; do GOBIN="$1" nice go install -trimpath -ldflags '-s -w' "$tool"; done
}
build_monitors() { # what Prometheus' operator tells the API server of a PodMonitor
  local dir
  dir=$(go mod download -json "$operator" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
  cp "$dir/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml" "$1/podmonitors.yaml"
}
operator=github.com/prometheus-operator/prometheus-operator@v0.85.0
version=$(sed -n 's/^require k8s.io\/kubernetes //p' kube/go.mod)
tools=( # nodes that exist in name only, charts, and a judge of manifests
  sigs.k8s.io/kwok/cmd/kwok@v0.7.0
  helm.sh/helm/v3/cmd/helm@v3.22.0
  github.com/zegl/kube-score/cmd/kube-score@v1.20.0
)

made pause <pause/main.go
made etcd <etcd/go.mod
made containerd <containerd/go.mod
made kube <kube/go.mod
made tools <<<"${tools[*]}"
made monitors <<<"$operator"
