#!/usr/bin/env bash
# Installs the real parts that the end-to-end tests talk to. Debian, root.
set -euo pipefail

# An S3 server, beside other things that can be made again.
version=v1.8.0
bin="${XDG_CACHE_HOME:-$HOME/.cache}/loadtest-e2e"
if [ ! -x "$bin/versitygw-$version" ]; then
  GOBIN="$bin" GOFLAGS= go install "github.com/versity/versitygw/cmd/versitygw@$version"
  mv "$bin/versitygw" "$bin/versitygw-$version"
fi
ln -sf "versitygw-$version" "$bin/versitygw"

# The loader of Docker Compose, which is what reads compose.yaml there.
version=v2.16.2
if [ ! -x "$bin/compose-$version" ]; then
  GOBIN="$bin" GOFLAGS= go install "github.com/compose-spec/compose-go/v2/cmd@$version"
  mv "$bin/cmd" "$bin/compose-$version"
fi
ln -sf "compose-$version" "$bin/compose"

# An OpenTelemetry Collector, from parts of its project.
(cd "$(dirname "$0")/collector" && GOFLAGS=-buildvcs=false go build -o "$bin/collector" .)

missing=()
need() { [ -x "$1" ] || command -v "$1" >/dev/null 2>&1 || missing+=("$2"); } # a program, its package
need chromium chromium
need prometheus prometheus
need prometheus-pushgateway prometheus-pushgateway
need runc runc
need dockerd docker.io
need /usr/lib/cni/bridge containernetworking-plugins
need ip iproute2
need nft nftables
need conntrack conntrack
[ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static) # not the one with libraries
if ((${#missing[@]} > 0)); then
  if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    echo "make e2e needs ${missing[*]}; install them, or run it as root on Debian" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# A Kubernetes, from source: minutes, the first time.
"$(dirname "$0")/cluster/build.sh"
