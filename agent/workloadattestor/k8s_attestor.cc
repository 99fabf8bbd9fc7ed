// SPDX-License-Identifier: Apache-2.0

#include "agent/workloadattestor/k8s_attestor.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "agent/workloadattestor/container.h"
#include "agent/workloadattestor/kubelet.h"
#include "agent/workloadattestor/namespace_labels.h"

namespace steeple::agent {
namespace {

using ProcessPtr = std::shared_ptr<const WorkloadProcess>;

constexpr std::string_view kName = "k8s";

Selectors as_selectors(std::vector<std::string> values) {
  Selectors out;
  out.reserve(values.size());
  for (std::string& value : values) {
    out.push_back({std::string(kName), std::move(value)});
  }
  return out;
}

struct Waiter {
  ProcessPtr process;
  ContainerRef container;
  SelectorsHandler handler;
  int attempts = 0;  // lists that did not have it, and requests that failed
};

// All that waits and is known. On the loop.
class Pods : public std::enable_shared_from_this<Pods> {
 public:
  Pods(K8sAttestorOptions options, K8sAttestorDeps deps)
      : options_(std::move(options)),
        deps_(std::move(deps)),
        access_(kube::make_access(options_.kubelet, deps_.loop.clock())),
        client_({deps_.loop, deps_.transport, *access_},
                {.user_agent = "spire-agent", .timeout = kKubeletTimeout}),
        kubelet_(client_, options_.poll_interval,
                 [this](Result<void> how) { list_ended(std::move(how)); }),
        namespaces_(options_.follow_namespaces, {.loop = deps_.loop,
                                                 .transport = deps_.transport,
                                                 .random = deps_.random,
                                                 .environment = deps_.environment,
                                                 .log = deps_.log}) {}

  void find(ProcessPtr process, ContainerRef container, SelectorsHandler handler) {
    if (stopped_) {
      handler(stopping());
      return;
    }
    Waiter waiter{std::move(process), std::move(container), std::move(handler)};
    const Duration age = kubelet_.age();
    if (age < Duration(kPodsKnownFor) && answer(waiter)) {
      if (age >= std::max<Duration>(options_.poll_interval, kPodsRefreshAfter)) {
        kubelet_.want();
      }
      return;
    }
    if (age < options_.poll_interval && ++waiter.attempts >= options_.poll_attempts_max) {
      waiter.handler(not_found_in_time(waiter));
      return;
    }
    if (waiters_.size() >= kPodWaitersMax) {
      waiter.handler(resource_exhausted("too many workloads wait for their containers"));
      return;
    }
    waiters_.push_back(std::move(waiter));
    kubelet_.want();
  }

  void stop() {
    stopped_ = true;
    kubelet_.unwant();
    for (Waiter& waiter : std::exchange(waiters_, {})) {
      waiter.handler(stopping());
    }
  }

 private:
  static Error stopping() { return {Code::kCancelled, "the agent is stopping"}; }

  Error not_found_in_time(const Waiter& waiter) const {
    LOG_WARN(deps_.log, "Container id not found; giving up", {"pod_uid", waiter.container.pod_uid},
             {"container_id", waiter.container.container_id}, {"attempt", waiter.attempts});
    return deadline_exceeded("no selectors found after max poll attempts");
  }

  // Looks into the present list. True when the waiter has its answer, or will have.
  bool answer(Waiter& waiter) {
    const PodList* pods = kubelet_.latest().pods.get();
    if (pods == nullptr) {
      return false;
    }
    const ContainerRef& wanted = waiter.container;
    const Pod* pod = nullptr;
    if (!wanted.pod_uid.empty()) {
      pod = pods->find_pod(wanted.pod_uid);
    } else {
      auto found = pods->find_pod_of(wanted.container_id);
      if (!found.ok()) {
        LOG_WARN(deps_.log, "Two pods found with same container Id",
                 {"container_id", wanted.container_id});
        waiter.handler(std::move(found).error());
        return true;
      }
      pod = *found;
    }
    const PodContainer* container = pod != nullptr ? pod->find(wanted.container_id) : nullptr;
    const bool early = deps_.late && !deps_.late->wanted;
    const bool pod_is_enough =
        pod != nullptr && !wanted.pod_uid.empty() && (early || !options_.container_selectors);
    if (container == nullptr && !pod_is_enough) {
      return false;
    }
    std::vector<std::string> values = pod_selectors(*pod, container != nullptr || !early);
    if (container != nullptr && options_.container_selectors) {
      std::ranges::move(container_selectors(*container), std::back_inserter(values));
    }
    finish(pod->name_space, std::move(values), std::move(waiter.handler));
    return true;
  }

  void finish(const std::string& name_space, std::vector<std::string> values,
              SelectorsHandler handler) {
    if (!options_.namespace_labels) {
      handler(as_selectors(std::move(values)));
      return;
    }
    namespaces_.get(
        name_space, [name_space, values = std::move(values),
                     handler = std::move(handler)](Result<kube::Labels> labels) mutable {
          if (!labels.ok()) {
            handler(internal(fmt::format("unable to get namespace labels for \"{}\": {}",
                                         name_space, labels.error().message)));
            return;
          }
          for (const auto& [key, value] : *labels) {
            values.push_back(fmt::format("ns-label:{}:{}", key, value));
          }
          handler(as_selectors(std::move(values)));
        });
  }

  void list_ended(Result<void> how) {
    if (stopped_) {
      return;
    }
    // Handlers may begin other attestations.
    auto self = shared_from_this();
    auto waiting = std::exchange(waiters_, {});
    if (!how.ok() && !waiting.empty()) {
      LOG_WARN(deps_.log, "Unable to get pod list; will retry after backoff",
               {"error", how.error()},
               {"retry_interval", format_go_duration(options_.poll_interval)});
    }
    for (Waiter& waiter : waiting) {
      settle(waiter, how);
    }
    if (!waiters_.empty() && !stopped_) {
      kubelet_.want();
    }
  }

  // Answers, or lets it wait on. An older list has to do while the kubelet does not answer.
  void settle(Waiter& waiter, const Result<void>& how) {
    if (stopped_) {
      waiter.handler(stopping());
      return;
    }
    if (answer(waiter)) {
      return;
    }
    if (++waiter.attempts >= options_.poll_attempts_max) {
      waiter.handler(how.ok() ? not_found_in_time(waiter)
                              : unavailable("unable to get pod list: " + how.error().message));
      return;
    }
    if (auto alive = waiter.process->alive(); !alive.ok()) {
      waiter.handler(std::move(alive).error());
      return;
    }
    waiters_.push_back(std::move(waiter));
  }

  const K8sAttestorOptions options_;
  K8sAttestorDeps deps_;
  std::unique_ptr<kube::Access> access_;
  kube::Client client_;
  Kubelet kubelet_;
  NamespaceLabels namespaces_;
  std::vector<Waiter> waiters_;
  bool stopped_ = false;
};

class K8sAttestor final : public WorkloadAttestor {
 public:
  K8sAttestor(K8sAttestorOptions options, K8sAttestorDeps deps)
      : disabled_(options.kubelet.server.empty()),
        legacy_(options.legacy_locator),
        verbose_(options.verbose_locator),
        loop_(deps.loop),
        log_(deps.log),
        pods_(std::make_shared<Pods>(std::move(options), std::move(deps))) {}
  ~K8sAttestor() override { pods_->stop(); }

  const std::string& name() const override { return name_; }

  void start(io::Workers& workers, ProcessPtr process, SelectorsHandler handler) override {
    if (disabled_) {
      handler(failed_precondition("kubelet client is disabled"));
      return;
    }
    // The kernel's word on the cgroup is one small file: not worth a hop.
    auto cgroup = process->read("cgroup").during("unable to obtain cgroups");
    if (!cgroup.ok()) {
      handler(internal(std::move(cgroup).error().message));
      return;
    }
    auto found = container_in_cgroups(*cgroup);
    if (legacy_) {
      leave_unknown_shapes(*cgroup, found);
    } else if (found.ok() && found->container_id.empty()) {
      look_at_mounts(workers, std::move(process), std::move(handler));
      return;
    }
    located(std::move(process), std::move(found), std::move(handler));
  }

  void stop() override { pods_->stop(); }

 private:
  // The old matchers know pods, and CRI-O's containers without a pod.
  static void leave_unknown_shapes(ByteView cgroup, Result<ContainerRef>& found) {
    if (found.ok() && found->pod_uid.empty() && !cgroup.contains("crio")) {
      found->container_id.clear();
    }
  }

  // On a crowded node this file is long.
  void look_at_mounts(io::Workers& workers, ProcessPtr process, SelectorsHandler handler) {
    auto shared = std::make_shared<SelectorsHandler>(std::move(handler));
    auto submitted = workers.submit([this, process, shared]() mutable {
      auto mounts = process->read("mountinfo").during("unable to obtain mountinfo");
      auto found = mounts.ok() ? container_in_mounts(*mounts)
                               : Result<ContainerRef>(internal(mounts.error().message));
      located(std::move(process), std::move(found), std::move(*shared));
    });
    if (!submitted.ok()) {
      (*shared)(std::move(submitted).error());
    }
  }

  void located(ProcessPtr process, Result<ContainerRef> found, SelectorsHandler handler) {
    if (!found.ok() || found->container_id.empty()) {
      handler(found.ok() ? Result<Selectors>(Selectors()) : std::move(found).error());
      return;
    }
    if (verbose_) {
      LOG_INFO(log_, "Container located", {"pid", process->pid()}, {"pod_uid", found->pod_uid},
               {"container_id", found->container_id});
    }
    if (loop_.on_loop()) {
      pods_->find(std::move(process), std::move(*found), std::move(handler));
      return;
    }
    loop_.post([pods = pods_, process = std::move(process), ref = std::move(*found),
                handler = std::move(handler)]() mutable {
      pods->find(std::move(process), std::move(ref), std::move(handler));
    });
  }

  const std::string name_{kName};
  const bool disabled_;
  const bool legacy_;
  const bool verbose_;
  io::Loop& loop_;
  Logger log_;
  std::shared_ptr<Pods> pods_;
};

}  // namespace

std::unique_ptr<WorkloadAttestor> k8s_attestor(K8sAttestorOptions options, K8sAttestorDeps deps) {
  return std::make_unique<K8sAttestor>(std::move(options), std::move(deps));
}

}  // namespace steeple::agent
