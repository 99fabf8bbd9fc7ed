// SPDX-License-Identifier: Apache-2.0

// The `k8s` workload attestor: which pod and container a process belongs to, by its cgroup, and
// what the kubelet says of them. A process outside of Kubernetes has no selectors.
//
// The list of pods is kept. A container that is in it is answered at once; when the list is older
// than kPodsRefreshAfter a new one is fetched on the side, and one older than kPodsKnownFor is not
// trusted unless the kubelet does not answer. A container that is not in it waits for the next
// list, up to max_poll_attempts of them, while its process lives. Nothing waits on a worker.
//
// The kubelet lists a pod before its containers start, and a container up to some seconds after it
// did. The pod is named by the process's cgroup, so that it is enough while no entry asks for what
// is known of containers (LateSelectors).

#pragma once

#include <memory>

#include "agent/workloadattestor/workload_attestor.h"
#include "lib/base/random.h"
#include "lib/hcl/value.h"
#include "lib/kube/access.h"
#include "lib/telemetry/log.h"

namespace steeple::agent {

inline constexpr auto kPodsRefreshAfter = std::chrono::seconds(5);
inline constexpr auto kPodsKnownFor = std::chrono::minutes(1);
inline constexpr std::size_t kPodWaitersMax = 10'000;

struct K8sAttestorOptions {
  kube::AccessConfig kubelet = {};  // empty server: disable_kubelet_client
  int poll_attempts_max = 60;
  Duration poll_interval = std::chrono::milliseconds(500);
  bool container_selectors = true;
  bool namespace_labels = false;
  bool follow_namespaces = false;  // by a watch instead of a request each time
  bool legacy_locator = false;     // cgroups only
  bool verbose_locator = false;
};

struct K8sAttestorDeps {
  io::Loop& loop;
  kube::Transport& transport;
  Random& random;
  kube::Environment environment;
  Logger log = {};
  std::shared_ptr<const LateSelectors> late = {};  // null: always wanted
};

// The plugin's settings; reads no file. What is not built is refused by name.
Result<K8sAttestorOptions> k8s_attestor_options(const hcl::Value& data,
                                                const kube::Environment& environment);

// What is borrowed must outlive the attestor, which is destroyed on the loop.
std::unique_ptr<WorkloadAttestor> k8s_attestor(K8sAttestorOptions options, K8sAttestorDeps deps);

}  // namespace steeple::agent
