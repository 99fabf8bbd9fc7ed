#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A real Kubernetes of one node on this machine: etcd, API server, controller manager, scheduler,
# kube-proxy, kubelet, containerd, CoreDNS, and of kube-router what enforces network policies. It
# lives in namespaces of its own (network, mounts, processes) on an overlay of this machine's root
# folder: it has the usual paths and ports, sends nothing to the outside, and `down` leaves nothing
# behind.
#
#   cluster.sh up | down | status        cluster.sh exec COMMAND...     run in it
#   cluster.sh load ARCHIVE...           import images
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../../.." && pwd)
state=${STEEPLE_K8S_STATE:-/var/tmp/steeple-k8s}
programs=${STEEPLE_K8S_PROGRAMS:-${XDG_CACHE_HOME:-$HOME/.cache}/steeple/kubernetes}

die() { printf 'k8s: %s\n' "$*" >&2; exit 1; }

# The first process of the cluster, as this side numbers it; empty when there is none. A number alone
# could by now be somebody else's process, so its start time is kept as well.
node_pid() {
  local pid start
  read -r pid start 2>/dev/null <"$state/node.pid" || return 0
  [ "$(start_time "$pid")" = "$start" ] && echo "$pid" || true
}
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

in_node() { # COMMAND...
  local pid
  pid=$(node_pid)
  [ -n "$pid" ] || die "no cluster runs; ./dev k8s up"
  nsenter -t "$pid" -m -n -p -r -- env -C "$1" \
    PATH="$programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    KUBECONFIG=/etc/kubernetes/admin.conf "${@:2}"
}

up() {
  [ "$(id -u)" = 0 ] || die "root is needed: namespaces, mounts, containers"
  [ -z "$(node_pid)" ] || { in_node / "$here/node.sh" wait; return; }
  down
  "$here/build.sh" "$programs"
  "$here/images.py" "$programs/images"
  mkdir -p "$state"/{root,containerd,kubelet,etcd} "$programs"
  setsid unshare --mount --net --pid --fork --kill-child \
    "$here/node.sh" init "$state" "$programs" "$checkout" </dev/null >"$state/node.log" 2>&1 &
  local outer=$! child="" tries=100
  while [ -z "$child" ] && [ $((tries -= 1)) -gt 0 ]; do
    sleep 0.05
    child=$(cut -d' ' -f1 "/proc/$outer/task/$outer/children" 2>/dev/null || true)
  done
  [ -n "$child" ] || { cat "$state/node.log" >&2; die "the cluster's first process did not start"; }
  echo "$child $(start_time "$child")" >"$state/node.pid"
  tries=100
  until [ -e "$state/ready" ]; do # made when the new root stands
    [ -n "$(node_pid)" ] && [ $((tries -= 1)) -gt 0 ] || { cat "$state/node.log" >&2; die "the node's root did not come up"; }
    sleep 0.1
  done
  in_node / "$here/node.sh" wait || { down; die "the cluster did not come up"; }
}

down() {
  local pid
  pid=$(node_pid)
  if [ -n "$pid" ]; then
    kill -KILL "$pid" # the first process of a namespace takes all others with it
    while [ -d "/proc/$pid" ] && [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1)" != Z ]; do sleep 0.05; done
  fi
  local top
  for top in /sys/fs/cgroup/*/steeple-k8s /sys/fs/cgroup/steeple-k8s; do
    [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  rm -rf "$state"
}

case ${1-} in
  up) up ;;
  down) down ;;
  status) [ -n "$(node_pid)" ] && in_node / kubectl get nodes,pods -A -o wide ;;
  exec) in_node "$PWD" "${@:2}" ;;
  load) for archive in "${@:2}"; do in_node / ctr -n k8s.io images import "$(realpath "$archive")" >/dev/null; done ;;
  *) sed -n '4,11p' "$0" | cut -c3- >&2; exit 2 ;;
esac
