// SPDX-License-Identifier: Apache-2.0

// Asks the kubelet for its pods, as seldom as possible: whoever wants a list at the same time
// shares one request, requests begin at least one interval apart, and none begins while the present
// list is fresh enough for everybody. On the loop.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/workloadattestor/pod_list.h"
#include "lib/base/result.h"
#include "lib/kube/client.h"

namespace steeple::agent {

inline constexpr auto kKubeletTimeout = std::chrono::seconds(10);  // the reference's

// One state of the pods. `version` grows with each; 0: none came yet.
struct PodSnapshot {
  std::shared_ptr<const PodList> pods;
  std::uint64_t version = 0;
  SteadyTime asked_at{};
};

class Kubelet {
 public:
  // `told` hears of the end of each request, on the loop; it may want the next one.
  // What is borrowed outlives this.
  Kubelet(kube::Client& client, Duration interval, std::function<void(Result<void>)> told);
  Kubelet(const Kubelet&) = delete;
  Kubelet& operator=(const Kubelet&) = delete;

  const PodSnapshot& latest() const { return latest_; }
  Duration age() const;  // of `latest`, from when it was asked for
  // Now, or as soon as the interval allows; nothing more when a request runs or is due already.
  void want();
  // Nobody waits any more: a request that has not begun does not begin.
  void unwant() { timer_.cancel(); }
  std::uint64_t requests() const { return requests_; }  // begun

 private:
  void begin();
  void ended(Result<void> how);

  kube::Client& client_;
  const Duration interval_;
  const std::function<void(Result<void>)> told_;
  PodSnapshot latest_;
  std::optional<SteadyTime> begun_at_;
  std::unique_ptr<PodListReader> reader_;  // of the request under way
  kube::CallPtr call_;
  std::uint64_t requests_ = 0;
  io::Timer timer_;
};

}  // namespace steeple::agent
