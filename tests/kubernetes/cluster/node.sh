#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The inside of the cluster; cluster.sh runs it.
#   node.sh init STATE PROGRAMS CHECKOUT   first process of the namespaces: makes the root, starts all
#   node.sh wait                           returns when the node is ready, or says what failed
set -euo pipefail

# Addresses of documentation ranges: nobody's (RFC 5737).
node=198.51.100.1
services=192.0.2.0/24 first_service=192.0.2.1 dns=192.0.2.10
pods=203.0.113.0/24
logs=/var/log/kubernetes pki=/etc/kubernetes/pki
kubectl() { command kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

new_root() { # STATE PROGRAMS CHECKOUT
  mount --make-rprivate /
  mount -t tmpfs root "$1/root"
  mkdir "$1"/root/{upper,work,merged}
  mount -t overlay root -o "lowerdir=/,upperdir=$1/root/upper,workdir=$1/root/work" "$1/root/merged"
  cd "$1/root/merged"
  local folder
  for folder in sys dev; do mount --rbind "/$folder" "$folder"; done
  mount -t proc proc proc
  mount -t tmpfs run run
  mount -t tmpfs tmp tmp
  # Overlays cannot stand on an overlay, and what is live outside must be so inside.
  mkdir -p var/lib/{containerd,kubelet,etcd} ".$2" ".$3" ".$1"
  for folder in containerd kubelet etcd; do mount --bind "$1/$folder" "var/lib/$folder"; done
  mount --bind "$2" ".$2"
  mount --bind "$3" ".$3"
  mount --bind "$1" ".$1"
  mkdir -p mnt/old run/lock
  pivot_root . mnt/old
  cd /
  umount -l /mnt/old
  # Bidirectional propagation, as CSI drivers ask for it, needs shared mounts.
  mount --make-rshared /
}

network() {
  sysctl -qw net.ipv4.ip_forward=1
  ip link set lo up
  ip link add node0 type veth peer name node1 # both ends here: an interface that is up, to nowhere
  ip address add "$node/32" dev node0
  ip link set node0 up
  ip link set node1 up
  ip route add default dev node0
  ip address add "$dns/32" dev lo
}

# --- certificates and kubeconfigs -----------------------------------------------------------------

authority() { # NAME COMMON-NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$2" \
    -keyout "$pki/$1.key" -out "$pki/$1.crt" 2>/dev/null
}
certificate() { # NAME SUBJECT USAGE [ALTERNATIVE-NAMES]
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "$2" \
    -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -keyout "$pki/$1.key" -out "$pki/$1.crt" \
    -addext "basicConstraints=critical,CA:false" -addext "keyUsage=critical,digitalSignature" \
    -addext "extendedKeyUsage=$3" ${4:+-addext "subjectAltName=$4"} 2>/dev/null
}
client() { # NAME SUBJECT: a certificate and /etc/kubernetes/NAME.conf with it
  certificate "$1" "$2" clientAuth
  cat >"/etc/kubernetes/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters:
- {name: steeple, cluster: {server: "https://$node:6443", certificate-authority: $pki/ca.crt}}
users:
- {name: $1, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}
contexts:
- {name: steeple, context: {cluster: steeple, user: $1}}
current-context: steeple
YAML
}
credentials() {
  mkdir -p "$pki"
  authority ca kubernetes
  authority front-proxy-ca front-proxy # of its own: else any client could pose as a front proxy
  certificate apiserver /CN=kube-apiserver serverAuth \
    "IP:$node,IP:$first_service,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate kubelet-server "/O=system:nodes/CN=system:node:node1" serverAuth "IP:$node,IP:127.0.0.1,DNS:node1,DNS:localhost"
  client admin /O=system:masters/CN=admin
  client controller-manager /CN=system:kube-controller-manager
  client scheduler /CN=system:kube-scheduler
  client kubelet /O=system:nodes/CN=system:node:node1
  client proxy /CN=system:kube-proxy
  openssl ecparam -genkey -name prime256v1 -noout -out "$pki/sa.key"
  openssl ec -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
}

# --- the daemons ----------------------------------------------------------------------------------

start() { # NAME COMMAND...
  local name=$1
  shift
  setsid "$@" </dev/null >>"$logs/$name.log" 2>&1 &
  echo $! >"/run/kubernetes/$name.pid"
}

runtime() {
  mkdir -p /etc/cni/net.d /etc/containerd /opt/cni
  ln -sfn /usr/lib/cni /opt/cni/bin
  # Pods are routed, not bridged, so that a service answers from the address that was asked.
  cat >/etc/cni/net.d/10-pods.conflist <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]],
    "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >/etc/containerd/config.toml <<TOML
version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  stream_server_address = "127.0.0.1"
  disable_apparmor = true
  # Where root lacks CAP_SYS_RESOURCE, no process may lower its own score, which runc would try.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    options = {SystemdCgroup = false}
TOML
  start containerd containerd
}

control_plane() {
  start etcd etcd --name=node1 --data-dir=/var/lib/etcd --unsafe-no-fsync \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=node1=http://127.0.0.1:2380
  start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$node" \
    --service-cluster-ip-range="$services" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --client-ca-file="$pki/ca.crt" --requestheader-client-ca-file="$pki/front-proxy-ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
}

# These end when the API server is not there yet.
controllers() {
  start kube-controller-manager kube-controller-manager --bind-address=127.0.0.1 \
    --kubeconfig=/etc/kubernetes/controller-manager.conf --leader-elect=false \
    --authentication-kubeconfig=/etc/kubernetes/controller-manager.conf \
    --authorization-kubeconfig=/etc/kubernetes/controller-manager.conf \
    --use-service-account-credentials=true --service-account-private-key-file="$pki/sa.key" \
    --root-ca-file="$pki/ca.crt" --cluster-signing-cert-file="$pki/ca.crt" \
    --cluster-signing-key-file="$pki/ca.key"
  start kube-scheduler kube-scheduler --bind-address=127.0.0.1 --leader-elect=false \
    --kubeconfig=/etc/kubernetes/scheduler.conf --authentication-kubeconfig=/etc/kubernetes/scheduler.conf \
    --authorization-kubeconfig=/etc/kubernetes/scheduler.conf
}

# The kubelet's cgroups stand below one folder, which `down` removes.
cgroups() {
  local top
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/steeple-k8s
  else
    for top in /sys/fs/cgroup/*/; do [ -L "${top%/}" ] || mkdir -p "$top/steeple-k8s"; done
  fi
}

workers() {
  cgroups
  printf 'nameserver %s\noptions timeout:1 attempts:1\n' "$dns" >/etc/kubernetes/resolv.conf
  cat >/etc/kubernetes/kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /steeple-k8s
cgroupsPerQOS: true
enforceNodeAllocatable: [none]
failCgroupV1: false
failSwapOn: false
maxOpenFiles: $(ulimit -Hn)
resolvConf: /etc/kubernetes/resolv.conf
clusterDNS: [$dns]
clusterDomain: cluster.local
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 2s
shutdownGracePeriod: 0s
YAML
  start kubelet kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
    --hostname-override=node1 --node-ip="$node"
  cat >/etc/kubernetes/proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: /etc/kubernetes/proxy.conf}
clusterCIDR: $pods
conntrack: {maxPerCore: 0}
hostnameOverride: node1
metricsBindAddress: 127.0.0.1:10249
YAML
  start kube-proxy kube-proxy --config=/etc/kubernetes/proxy.yaml
  cat >/etc/kubernetes/Corefile <<CONF
.:53 {
    bind $dns
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig /etc/kubernetes/admin.conf
        pods insecure
    }
    cache 5
}
CONF
  start coredns coredns -conf /etc/kubernetes/Corefile
  start network-policy network-policy /etc/kubernetes/admin.conf "$services"
}

# A volume is used once: who deletes its claim does not get it back.
storage() {
  local number
  {
    cat "$(dirname "$0")/storage.yaml"
    for number in {1..20}; do
      mkdir -p "/var/lib/volumes/$number"
      cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$number}
spec:
  storageClassName: standard
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local: {path: /var/lib/volumes/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}}
YAML
    done
  } | kubectl apply -f - >/dev/null
}

init() { # STATE PROGRAMS CHECKOUT
  new_root "$@"
  export PATH="$2:$PATH"
  mkdir -p "$logs" /run/kubernetes
  : >"$1/ready"
  network
  credentials
  runtime
  control_plane
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  for archive in "$2"/images/*.tar; do ctr -n k8s.io images import --no-unpack "$archive" >/dev/null; done
  until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
  controllers
  workers
  storage
  : >/run/kubernetes/started
  while :; do wait -n || sleep 1; done # reaps what others leave
}

# --- waiting --------------------------------------------------------------------------------------

check_alive() {
  local file name
  for file in /run/kubernetes/*.pid; do
    name=$(basename "$file" .pid)
    [ -e "$file" ] && [ ! -d "/proc/$(cat "$file")" ] || continue
    printf 'k8s: %s ended; the end of its log:\n' "$name" >&2
    tail -n 20 "$logs/$name.log" >&2
    exit 1
  done
}
wait_for() { # SECONDS WHAT COMMAND...
  local tries=$(($1 * 5)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    check_alive
    [ $((tries -= 1)) -gt 0 ] || { echo "k8s: $what did not happen in time" >&2; exit 1; }
    sleep 0.2
  done
}
waiting() {
  wait_for 120 "the API server's start" test -e /run/kubernetes/started
  wait_for 60 "the node's becoming ready" kubectl wait --for=condition=Ready node/node1 --timeout=1s
  wait_for 60 "the default service account" kubectl -n default get serviceaccount default
  wait_for 30 "cluster DNS" curl -fsS http://127.0.0.1:8181/ready
  wait_for 30 "enforcement of network policies" curl -fsS http://127.0.0.1:8182/
}

case ${1-} in
  init) init "${@:2}" ;;
  wait) waiting ;;
  *) sed -n '4,6p' "$0" | cut -c3- >&2; exit 2 ;;
esac
