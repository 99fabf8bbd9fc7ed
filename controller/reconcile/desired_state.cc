// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/desired_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/reconcile/desired_records.h"

namespace steeple::controller {

DesiredState::DesiredState(Renderer renderer, Options options)
    : renderer_(std::move(renderer)), options_(std::move(options)) {
  source({SourceKind::kAnnotation, ""}, {});
  order_sources();
}

DesiredState::~DesiredState() = default;

// --- facts -------------------------------------------------------------------------------------

DesiredState::NodeRecord& DesiredState::node_record(const std::string& name) {
  std::unique_ptr<NodeRecord>& record = nodes_[name];
  if (!record) {
    record = std::make_unique<NodeRecord>();
  }
  return *record;
}

DesiredState::NamespaceRecord& DesiredState::namespace_record(const std::string& name) {
  std::unique_ptr<NamespaceRecord>& record = namespaces_[name];
  if (!record) {
    record = std::make_unique<NamespaceRecord>();
    record->ignored = options_.ignored && options_.ignored(name);
  }
  return *record;
}

void DesiredState::mark(PodRecord& pod, bool urgent) {
  if (urgent) {
    marked_.erase(&pod);
    urgent_.insert(&pod);
  } else if (!urgent_.contains(&pod)) {
    marked_.insert(&pod);
  }
}

void DesiredState::mark_all(const PodSet& pods) {
  for (PodRecord* pod : pods) {
    mark(*pod, false);
  }
}

void DesiredState::place(PodRecord& record) {
  const Pod& pod = *record.pod;
  record.name_space = &namespace_record(pod.name_space);
  record.name_space->pods.insert(&record);
  record.node = nullptr;
  if (!pod.node_name.empty()) {
    record.node = &node_record(pod.node_name);
    record.node->pods.insert(&record);
  }
  pods_by_uid_[pod.uid] = &record;
}

void DesiredState::displace(PodRecord& record) {
  const Pod& pod = *record.pod;
  record.name_space->pods.erase(&record);
  if (!record.name_space->known && record.name_space->pods.empty()) {
    namespaces_.erase(pod.name_space);
  }
  if (record.node != nullptr) {
    record.node->pods.erase(&record);
    if (!record.node->node && record.node->pods.empty()) {
      nodes_.erase(pod.node_name);
    }
  }
  auto by_uid = pods_by_uid_.find(pod.uid);
  if (by_uid != pods_by_uid_.end() && by_uid->second == &record) {
    pods_by_uid_.erase(by_uid);
  }
}

void DesiredState::put_pod(const PodPtr& pod) {
  std::unique_ptr<PodRecord>& record = pods_[pod->key()];
  if (!record) {
    record = std::make_unique<PodRecord>();
    record->pod = pod;
  } else if (*record->pod == *pod) {
    record->pod = pod;  // one copy of equal facts is enough
    return;
  } else {
    displace(*record);
    record->pod = pod;
  }
  place(*record);
  mark(*record, true);
}

void DesiredState::remove_pod(const std::string& key) {
  auto found = pods_.find(key);
  if (found == pods_.end()) {
    return;
  }
  PodRecord& record = *found->second;
  drop_outcomes(record, nullptr);
  displace(record);
  urgent_.erase(&record);
  marked_.erase(&record);
  pods_.erase(found);
}

void DesiredState::put_node(const std::string& name, Node node) {
  NodeRecord& record = node_record(name);
  if (record.node == node) {
    return;
  }
  record.node = std::move(node);
  record.parent.emplace(renderer_.parent_id(*record.node));
  mark_all(record.pods);
}

void DesiredState::remove_node(const std::string& name) {
  auto found = nodes_.find(name);
  if (found == nodes_.end()) {
    return;
  }
  NodeRecord& record = *found->second;
  record.node.reset();
  record.parent.reset();
  mark_all(record.pods);
  if (record.pods.empty()) {
    nodes_.erase(found);
  }
}

void DesiredState::put_namespace(const std::string& name, kube::Labels labels) {
  NamespaceRecord& record = namespace_record(name);
  if (std::exchange(record.known, true) && record.labels == labels) {
    return;
  }
  record.labels = std::move(labels);
  mark_all(record.pods);
  touch_all();
}

void DesiredState::remove_namespace(const std::string& name) {
  auto found = namespaces_.find(name);
  if (found == namespaces_.end()) {
    return;
  }
  NamespaceRecord& record = *found->second;
  record.known = false;
  record.labels.clear();
  mark_all(record.pods);
  touch_all();
  if (record.pods.empty()) {
    namespaces_.erase(found);
  }
}

void DesiredState::put_endpoints(const std::string& key, Endpoints endpoints) {
  auto found = endpoints_.find(key);
  if (found != endpoints_.end() && found->second == endpoints) {
    return;
  }
  remove_endpoints(key);
  for (const std::string& uid : endpoints.pod_uids) {
    endpoints_of_uid_[uid].insert(key);
    if (auto pod = pods_by_uid_.find(uid); pod != pods_by_uid_.end()) {
      mark(*pod->second, true);
    }
  }
  endpoints_.emplace(key, std::move(endpoints));
}

void DesiredState::remove_endpoints(const std::string& key) {
  auto found = endpoints_.find(key);
  if (found == endpoints_.end()) {
    return;
  }
  for (const std::string& uid : found->second.pod_uids) {
    auto of_uid = endpoints_of_uid_.find(uid);
    if (of_uid != endpoints_of_uid_.end()) {
      of_uid->second.erase(key);
      if (of_uid->second.empty()) {
        endpoints_of_uid_.erase(of_uid);
      }
    }
    if (auto pod = pods_by_uid_.find(uid); pod != pods_by_uid_.end()) {
      mark(*pod->second, true);
    }
  }
  endpoints_.erase(found);
}

// --- evaluation --------------------------------------------------------------------------------

bool DesiredState::work(std::size_t pods_max) {
  for (std::size_t done = 0; done < pods_max && marked() > 0; ++done) {
    PodSet& from = urgent_.empty() ? marked_ : urgent_;
    PodRecord* pod = *from.begin();
    from.erase(from.begin());
    evaluate(*pod);
  }
  return marked() > 0;
}

bool DesiredState::selects(const Source& source, const PodRecord& record) const {
  if (!record.name_space->known || record.name_space->ignored) {
    return false;
  }
  if (source.name.kind == SourceKind::kAnnotation) {
    return !record.pod->spiffe_id.empty();
  }
  const ClusterSpiffeIdSpec* spec = source.pod_spec();
  return spec != nullptr && record.pod->labels.match(spec->pods) &&
         spec->namespaces.matches(record.pod->name_space, record.name_space->labels);
}

std::optional<PodFailure> DesiredState::unplaced(const PodRecord& record) const {
  if (record.node == nullptr) {
    return PodFailure{FailureKind::kUnscheduled, "the pod is not scheduled to a node yet"};
  }
  if (!record.node->node) {
    return PodFailure{FailureKind::kNodeUnknown,
                      fmt::format("node {} not found in cache", record.pod->node_name)};
  }
  if (!record.node->parent->ok()) {
    return PodFailure{FailureKind::kRender, record.node->parent->error().message};
  }
  return {};
}

std::vector<std::string> DesiredState::service_names(const PodRecord& record) const {
  auto keys = endpoints_of_uid_.find(record.pod->uid);
  if (keys == endpoints_of_uid_.end()) {
    return {};
  }
  std::vector<const Endpoints*> of;
  for (const std::string& key : keys->second) {
    const Endpoints& endpoints = endpoints_.at(key);
    if (endpoints.name_space == record.pod->name_space) {
      of.push_back(&endpoints);
    }
  }
  return renderer_.service_names(of);
}

// `data` is made when first needed, for all sources of one pod.
Result<Entry> DesiredState::entry_of(const Source& source, const PodRecord& record,
                                     std::optional<gotemplate::Value>& data) const {
  if (auto failure = unplaced(record)) {
    return failed_precondition(failure->message);
  }
  const spiffe::SpiffeId& parent = **record.node->parent;
  if (source.name.kind == SourceKind::kAnnotation) {
    return renderer_.annotated_entry(*record.pod, parent);
  }
  if (!data) {
    data = TRY(renderer_.data(*record.pod, *record.node->node));
  }
  const ClusterSpiffeIdSpec& spec = *source.pod_spec();
  return renderer_.pod_entry(
      spec, *record.pod, *data, parent,
      spec.service_dns_names ? service_names(record) : std::vector<std::string>(),
      source.federates_with);
}

std::vector<DesiredState::Outcome> DesiredState::outcomes_of(PodRecord& record) const {
  std::vector<Outcome> out;
  std::optional<gotemplate::Value> data;
  bool has_entry = false;
  for (Source* source : pod_sources_) {
    if (!selects(*source, record)) {
      continue;
    }
    Outcome outcome{.source = source};
    const ClusterSpiffeIdSpec* spec = source->pod_spec();
    bool fallback = spec != nullptr && spec->fallback;
    if (!fallback || !has_entry) {
      Result<Entry> entry = entry_of(*source, record, data);
      if (entry.ok()) {
        outcome.declared = true;
        outcome.key = entry_key(*entry);
        outcome.content = entry_content(*entry);
        has_entry = has_entry || !fallback;
      } else {
        std::optional<PodFailure> why = unplaced(record);
        outcome.failure = std::make_shared<const PodFailure>(
            why ? *why : PodFailure{FailureKind::kRender, std::move(entry.error().message)});
      }
    }
    out.push_back(std::move(outcome));
  }
  return out;
}

void DesiredState::evaluate(PodRecord& record) {
  std::vector<Outcome> now = outcomes_of(record);
  // What stays as it is is not withdrawn, not even for a moment.
  auto same = [](const Outcome& a, const Outcome& b) {
    return a.source == b.source && a.declared == b.declared && a.key == b.key &&
           a.content == b.content && !a.failure == !b.failure &&
           (!a.failure || *a.failure == *b.failure);
  };
  std::vector<Outcome> before = std::exchange(record.outcomes, {});
  std::vector<Outcome> gone, kept;
  for (Outcome& old : before) {
    auto again = std::ranges::find_if(now, [&](const Outcome& o) { return same(o, old); });
    if (again == now.end()) {
      gone.push_back(std::move(old));
    } else {
      now.erase(again);
      kept.push_back(std::move(old));
    }
  }
  record.outcomes = std::move(gone);
  drop_outcomes(record, nullptr);
  record.outcomes = std::move(kept);
  for (Outcome& outcome : now) {
    add_outcome(record, std::move(outcome));
  }
  record.outcomes.shrink_to_fit();
}

void DesiredState::add_outcome(PodRecord& record, Outcome outcome) {
  Source& source = *outcome.source;
  source.selected.insert(&record);
  if (outcome.failure) {
    source.failing.insert(&record);
  }
  if (outcome.declared) {
    declare(outcome.key, {&source, &record, outcome.content});
  }
  touch(source);
  record.outcomes.push_back(std::move(outcome));
}

void DesiredState::drop_outcomes(PodRecord& record, const Source* of) {
  std::erase_if(record.outcomes, [&](const Outcome& outcome) {
    if (of != nullptr && outcome.source != of) {
      return false;
    }
    Source& source = *outcome.source;
    source.selected.erase(&record);
    source.failing.erase(&record);
    if (outcome.declared) {
      withdraw(outcome.key, &source, &record);
    }
    touch(source);
    return true;
  });
}

void DesiredState::for_each_pod(const std::function<void(const Pod&)>& visit) const {
  for (const auto& [key, record] : pods_) {
    visit(*record->pod);
  }
}

void DesiredState::for_each_node(const std::function<void(const std::string&)>& visit) const {
  for (const auto& [name, record] : nodes_) {
    if (record->node) {
      visit(name);
    }
  }
}

}  // namespace steeple::controller
