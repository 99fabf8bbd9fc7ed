// SPDX-License-Identifier: Apache-2.0

// Follows the API server and feeds the engine: custom resources first, since their templates say
// which parts of pods and nodes are worth keeping; then pods, nodes and name spaces; endpoints only
// when a resource asks for service names. A resource that reads more than is kept waits until the
// objects have been listed once more, and its older self stays in force meanwhile. On the loop.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/config/controller_config.h"
#include "controller/reconcile/engine.h"
#include "lib/kube/informer.h"

namespace steeple::controller {

using SpiffeIdPtr = std::shared_ptr<const ClusterSpiffeId>;
using StaticEntryPtr = std::shared_ptr<const ClusterStaticEntry>;

class KubeFeed {
 public:
  struct Deps {
    io::Loop& loop;
    kube::Client& client;
    Random& random;
    Engine& engine;
    Logger log;
  };
  struct Options {
    ReconcileConfig reconcile = {};
    std::map<std::string, CacheSelectors> cache_namespaces = {};
    std::string annotation = {};
    Projection needs = {};  // of the parent's template
    ClassRule class_rule = {};
  };
  struct Hooks {
    // The status of a resource as it was when it was read.
    std::function<void(const SourceName&, const nlohmann::json& status)> seen = {};
    std::function<void(const SourceName&)> gone = {};
  };

  KubeFeed(Deps deps, Options options, Hooks hooks);
  ~KubeFeed();
  KubeFeed(const KubeFeed&) = delete;
  KubeFeed& operator=(const KubeFeed&) = delete;

  void start();
  // How often the pods were listed for a resource that reads more than was kept.
  std::uint64_t relists() const { return relists_; }

 private:
  template <class T>
  using Informers = std::vector<std::unique_ptr<kube::Informer<T>>>;

  void start_resources();
  void put_spiffe_id(const SpiffeIdPtr& resource);
  void remove_spiffe_id(const std::string& name);
  void resources_synced();
  void start_objects();
  void start_pods();
  void start_nodes();
  void start_endpoints();
  void restart_objects();
  void objects_synced();
  void release();
  bool covered(const ClusterSpiffeId& resource) const;
  bool all_synced() const;
  void sweep();
  template <class T>
  kube::InformerHandlers<T> handlers(std::string what);

  Deps deps_;
  const Options options_;
  const Hooks hooks_;
  Projection kept_;    // by the informers that run
  Projection wanted_;  // by all resources
  bool resources_synced_ = false;
  bool objects_started_ = false;
  bool restarting_ = false;
  bool endpoints_wanted_ = false;
  bool complete_told_ = false;
  std::uint64_t relists_ = 0;
  std::map<std::string, SpiffeIdPtr> waiting_;

  std::unique_ptr<kube::Informer<SpiffeIdPtr>> spiffe_ids_;
  std::unique_ptr<kube::Informer<StaticEntryPtr>> static_entries_;
  std::unique_ptr<kube::Informer<kube::Labels>> namespaces_;
  std::unique_ptr<kube::Informer<Node>> nodes_;
  Informers<PodPtr> pods_;
  Informers<Endpoints> endpoints_;
  io::Timer restart_timer_;
};

}  // namespace steeple::controller
