#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh FOLDER: the cluster's programs, from Go modules, into FOLDER. What is there already for
# the same sources is left as it is.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOWORK=off

version_in() { sed -n "s|^	$2 v\([^ ]*\).*|\1|p" "$1/go.mod"; }

# build FOLDER PROGRAM PACKAGE [LINKER-FLAGS]
build() {
  sum=$(cat "$1"/go.* "$1"/*.go build.sh 2>/dev/null | sha256sum | cut -d' ' -f1)
  [ "$(cat "$out/$2.sum" 2>/dev/null)" = "$sum" ] && [ -x "$out/$2" ] && return 0
  echo "building $2"
  (cd "$1" && go build -mod=readonly -trimpath -ldflags "-s -w ${4-}" -o "$out/$2" "$3")
  echo "$sum" >"$out/$2.sum"
}

# Without a version, charts (kubeVersion) and clients reject the cluster.
kubernetes=$(version_in kube k8s.io/kubernetes)
minor=${kubernetes#1.} minor=${minor%%.*}
flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags="$flags -X $package.gitVersion=v$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  flags="$flags -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done
build kube kube . "$flags"
for name in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubelet kubectl; do
  ln -sf kube "$out/$name"
done

build coredns coredns .
build network-policy network-policy .

# The same holds for helm where it has no cluster to ask (helm template).
client=$(version_in helm k8s.io/client-go)
flags="-X helm.sh/helm/v3/internal/version.version=v$(version_in helm helm.sh/helm/v3)"
for package in chartutil lint/rules; do
  flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1"
  minor=${client#0.}
  flags="$flags -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=${minor%%.*}"
done
build helm helm helm.sh/helm/v3/cmd/helm "$flags"
build csi-sanity csi-sanity github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity
