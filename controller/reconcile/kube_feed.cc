// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/kube_feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

namespace {

std::string query_of(const std::map<std::string, std::string>& pairs) {
  std::string out;
  for (const auto& [key, value] : pairs) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", key, value);
  }
  return out;
}

// Where namespaced objects are looked for: everywhere, or in each of the configured places.
struct Place {
  std::string name_space;
  kube::ReflectorOptions options;
};
std::vector<Place> places(const std::map<std::string, CacheSelectors>& cache) {
  std::vector<Place> out;
  for (const auto& [name, selectors] : cache) {
    out.push_back({name,
                   {.label_selector = query_of(selectors.labels),
                    .field_selector = query_of(selectors.fields)}});
  }
  if (out.empty()) {
    out.emplace_back();
  }
  return out;
}

}  // namespace

KubeFeed::KubeFeed(Deps deps, Options options, Hooks hooks)
    : deps_(deps),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      wanted_(options_.needs),
      restart_timer_(deps.loop) {}

KubeFeed::~KubeFeed() = default;

template <class T>
kube::InformerHandlers<T> KubeFeed::handlers(std::string what) {
  kube::InformerHandlers<T> out;
  out.troubled = [this, what](const Error& error, Duration wait) {
    LOG_WARN(deps_.log, "Watching the API server failed", {"resource", what}, {"error", error},
             {"retry_in", format_go_duration(wait)});
  };
  return out;
}

// --- custom resources --------------------------------------------------------------------------

void KubeFeed::start() {
  start_resources();
  if (!spiffe_ids_ && !static_entries_) {
    resources_synced();
  }
}

void KubeFeed::start_resources() {
  kube::Reflector::Deps with{deps_.client, deps_.random};
  auto seen = [this](SourceKind kind, const json& object) {
    if (hooks_.seen) {
      const json* status = kube::find(object, {"status"});
      hooks_.seen({kind, kube::string_at(object, {"metadata", "name"})},
                  status == nullptr ? json() : *status);
    }
  };
  if (options_.reconcile.spiffe_ids) {
    auto on = handlers<SpiffeIdPtr>("clusterspiffeids");
    on.added = [this](const std::string&, const SpiffeIdPtr& now) { put_spiffe_id(now); };
    on.changed = [this](const std::string&, const SpiffeIdPtr& old, const SpiffeIdPtr& now) {
      // Our own status write comes back, too.
      if (old->meta.uid != now->meta.uid || old->meta.generation != now->meta.generation ||
          old->meta.deleted != now->meta.deleted || now->meta.generation == 0) {
        put_spiffe_id(now);
      }
    };
    on.deleted = [this](const std::string& name, const SpiffeIdPtr&) { remove_spiffe_id(name); };
    on.synced = [this] { resources_synced(); };
    spiffe_ids_ = std::make_unique<kube::Informer<SpiffeIdPtr>>(
        with, kube::Target{.resource = kClusterSpiffeIds}, kube::InformerOptions{},
        [seen](const json& object) -> std::optional<SpiffeIdPtr> {
          seen(SourceKind::kSpiffeId, object);
          return std::make_shared<const ClusterSpiffeId>(parse_cluster_spiffe_id(object));
        },
        std::move(on));
  }
  if (options_.reconcile.static_entries) {
    auto on = handlers<StaticEntryPtr>("clusterstaticentries");
    on.added = [this](const std::string&, const StaticEntryPtr& now) {
      deps_.engine.desired().put_static_entry(*now);
      deps_.engine.changed();
    };
    on.changed = [this](const std::string&, const StaticEntryPtr& old, const StaticEntryPtr& now) {
      if (old->meta.uid != now->meta.uid || old->meta.generation != now->meta.generation ||
          old->meta.deleted != now->meta.deleted || now->meta.generation == 0) {
        deps_.engine.desired().put_static_entry(*now);
        deps_.engine.changed();
      }
    };
    on.deleted = [this](const std::string& name, const StaticEntryPtr&) {
      deps_.engine.desired().remove_static_entry(name);
      deps_.engine.changed();
      if (hooks_.gone) {
        hooks_.gone({SourceKind::kStaticEntry, name});
      }
    };
    on.synced = [this] { resources_synced(); };
    static_entries_ = std::make_unique<kube::Informer<StaticEntryPtr>>(
        with, kube::Target{.resource = kClusterStaticEntries}, kube::InformerOptions{},
        [seen](const json& object) -> std::optional<StaticEntryPtr> {
          seen(SourceKind::kStaticEntry, object);
          return std::make_shared<const ClusterStaticEntry>(parse_cluster_static_entry(object));
        },
        std::move(on));
  }
  if (spiffe_ids_) {
    spiffe_ids_->start();
  }
  if (static_entries_) {
    static_entries_->start();
  }
}

void KubeFeed::resources_synced() {
  bool ids = !spiffe_ids_ || spiffe_ids_->synced();
  bool entries = !static_entries_ || static_entries_->synced();
  if (!ids || !entries || std::exchange(resources_synced_, true)) {
    return;
  }
  if (spiffe_ids_) {
    restart_timer_.start(Duration::zero(), [this] { start_objects(); });
  } else {
    objects_synced();
  }
}

bool KubeFeed::covered(const ClusterSpiffeId& resource) const {
  if (!resource.spec.ok() || !options_.class_rule.takes(resource.class_name)) {
    return true;  // its templates will not run
  }
  bool endpoints = !resource.spec->service_dns_names ||
                   (!endpoints_.empty() &&
                    std::ranges::all_of(endpoints_, [](const auto& of) { return of->synced(); }));
  return endpoints && kept_.covers(needs_of(*resource.spec));
}

void KubeFeed::put_spiffe_id(const SpiffeIdPtr& resource) {
  const std::string& name = resource->meta.name;
  if (resource->spec.ok() && options_.class_rule.takes(resource->class_name)) {
    wanted_.add(needs_of(*resource->spec));
    endpoints_wanted_ = endpoints_wanted_ || resource->spec->service_dns_names;
  }
  waiting_[name] = resource;
  if (!objects_started_) {
    return;
  }
  if (all_synced() && covered(*resource)) {
    release();
    return;
  }
  if (!kept_.covers(wanted_) && !std::exchange(restarting_, true)) {
    // Not from inside the handler of an informer.
    restart_timer_.start(Duration::zero(), [this] { restart_objects(); });
  } else if (endpoints_wanted_ && endpoints_.empty()) {
    start_endpoints();
  }
}

void KubeFeed::remove_spiffe_id(const std::string& name) {
  waiting_.erase(name);
  deps_.engine.desired().remove_spiffe_id(name);
  deps_.engine.changed();
  if (hooks_.gone) {
    hooks_.gone({SourceKind::kSpiffeId, name});
  }
}

// --- pods, nodes, name spaces, endpoints ---------------------------------------------------------

void KubeFeed::start_objects() {
  objects_started_ = true;
  kept_ = wanted_;
  auto on = handlers<kube::Labels>("namespaces");
  on.added = [this](const std::string& name, const kube::Labels& labels) {
    deps_.engine.desired().put_namespace(name, labels);
    deps_.engine.changed();
  };
  on.changed = [this](const std::string& name, const kube::Labels&, const kube::Labels& labels) {
    deps_.engine.desired().put_namespace(name, labels);
    deps_.engine.changed();
  };
  on.deleted = [this](const std::string& name, const kube::Labels&) {
    deps_.engine.desired().remove_namespace(name);
    deps_.engine.changed();
  };
  on.synced = [this] { objects_synced(); };
  namespaces_ = std::make_unique<kube::Informer<kube::Labels>>(
      kube::Reflector::Deps{deps_.client, deps_.random},
      kube::Target{.resource = kube::kNamespaces},
      kube::InformerOptions{.reflector = {.metadata_only = true}},
      [](const json& object) -> std::optional<kube::Labels> {
        return kube::string_map_at(object, {"metadata", "labels"});
      },
      std::move(on));
  namespaces_->start();
  start_nodes();
  start_pods();
  if (endpoints_wanted_) {
    start_endpoints();
  }
}

void KubeFeed::start_nodes() {
  auto on = handlers<Node>("nodes");
  on.added = [this](const std::string& name, const Node& node) {
    deps_.engine.desired().put_node(name, node);
    deps_.engine.changed();
  };
  on.changed = [this](const std::string& name, const Node& old, const Node& node) {
    if (old != node) {  // heartbeats
      deps_.engine.desired().put_node(name, node);
      deps_.engine.changed();
    }
  };
  on.deleted = [this](const std::string& name, const Node&) {
    deps_.engine.desired().remove_node(name);
    deps_.engine.changed();
  };
  on.synced = [this] { objects_synced(); };
  nodes_ = std::make_unique<kube::Informer<Node>>(
      kube::Reflector::Deps{deps_.client, deps_.random}, kube::Target{.resource = kube::kNodes},
      kube::InformerOptions{},
      [kept = kept_](const json& object) -> std::optional<Node> {
        return decode_node(object, kept);
      },
      std::move(on));
  nodes_->start();
}

void KubeFeed::start_pods() {
  pods_.clear();
  for (Place& place : places(options_.cache_namespaces)) {
    auto on = handlers<PodPtr>("pods");
    on.added = [this](const std::string&, const PodPtr& pod) {
      deps_.engine.desired().put_pod(pod);
      deps_.engine.changed();
    };
    on.changed = [this](const std::string&, const PodPtr&, const PodPtr& pod) {
      deps_.engine.desired().put_pod(pod);
      deps_.engine.changed();
    };
    on.deleted = [this](const std::string& key, const PodPtr&) {
      deps_.engine.desired().remove_pod(key);
      deps_.engine.changed();
    };
    on.synced = [this] { objects_synced(); };
    pods_.push_back(std::make_unique<kube::Informer<PodPtr>>(
        kube::Reflector::Deps{deps_.client, deps_.random},
        kube::Target{.resource = kube::kPods, .name_space = place.name_space},
        kube::InformerOptions{.reflector = std::move(place.options)},
        [this, kept = kept_](const json& object) -> std::optional<PodPtr> {
          PodPtr pod = decode_pod(object, kept, options_.annotation);
          return pod ? std::optional(std::move(pod)) : std::nullopt;
        },
        std::move(on)));
  }
  for (auto& informer : pods_) {
    informer->start();
  }
}

void KubeFeed::start_endpoints() {
  for (const Place& place : places(options_.cache_namespaces)) {
    auto on = handlers<Endpoints>("endpoints");
    on.added = [this](const std::string& key, const Endpoints& now) {
      deps_.engine.desired().put_endpoints(key, now);
      deps_.engine.changed();
    };
    on.changed = [this](const std::string& key, const Endpoints&, const Endpoints& now) {
      deps_.engine.desired().put_endpoints(key, now);
      deps_.engine.changed();
    };
    on.deleted = [this](const std::string& key, const Endpoints&) {
      deps_.engine.desired().remove_endpoints(key);
      deps_.engine.changed();
    };
    on.synced = [this] { objects_synced(); };
    endpoints_.push_back(std::make_unique<kube::Informer<Endpoints>>(
        kube::Reflector::Deps{deps_.client, deps_.random},
        kube::Target{.resource = kube::kEndpoints, .name_space = place.name_space},
        kube::InformerOptions{},
        [](const json& object) -> std::optional<Endpoints> { return decode_endpoints(object); },
        std::move(on)));
  }
  for (auto& informer : endpoints_) {
    informer->start();
  }
}

// A resource reads more than is kept: everything is listed once more.
void KubeFeed::restart_objects() {
  restarting_ = false;
  ++relists_;
  kept_ = wanted_;
  start_nodes();
  start_pods();
  if (endpoints_wanted_ && endpoints_.empty()) {
    start_endpoints();
  }
}

bool KubeFeed::all_synced() const {
  auto synced = [](const auto& informer) { return informer->synced(); };
  if (!resources_synced_) {
    return false;
  }
  if (!spiffe_ids_) {
    return true;
  }
  return !restarting_ && objects_started_ && namespaces_->synced() && nodes_->synced() &&
         std::ranges::all_of(pods_, synced) && std::ranges::all_of(endpoints_, synced);
}

void KubeFeed::objects_synced() {
  if (!all_synced()) {
    return;
  }
  if (complete_told_) {
    sweep();
  }
  release();
  if (!std::exchange(complete_told_, true)) {
    deps_.engine.complete();
  }
}

// What went while the objects were listed anew.
void KubeFeed::sweep() {
  std::vector<std::string> gone;
  deps_.engine.desired().for_each_pod([&](const Pod& pod) {
    std::string key = pod.key();
    if (std::ranges::none_of(pods_, [&](const auto& of) { return of->find(key) != nullptr; })) {
      gone.push_back(std::move(key));
    }
  });
  for (const std::string& key : gone) {
    deps_.engine.desired().remove_pod(key);
  }
  gone.clear();
  deps_.engine.desired().for_each_node([&](const std::string& name) {
    if (nodes_->find(name) == nullptr) {
      gone.push_back(name);
    }
  });
  for (const std::string& name : gone) {
    deps_.engine.desired().remove_node(name);
  }
  deps_.engine.changed();
}

// Those resources whose templates find all that they read.
void KubeFeed::release() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (covered(*it->second)) {
      deps_.engine.desired().put_spiffe_id(*it->second);
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
  deps_.engine.changed();
}

}  // namespace steeple::controller
