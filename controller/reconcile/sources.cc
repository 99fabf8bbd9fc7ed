// SPDX-License-Identifier: Apache-2.0

// The half of DesiredState that deals with what declares entries: custom resources, who wins a key,
// federation, and what their status says.

#include <algorithm>
#include <utility>

#include "controller/reconcile/desired_records.h"
#include "controller/reconcile/desired_state.h"

namespace steeple::controller {

// --- keys --------------------------------------------------------------------------------------

void DesiredState::touch(const Source& source) { touched_.insert(source.name); }

void DesiredState::touch_all() {
  for (const auto& [name, source] : sources_) {
    touch(*source);
  }
}

void DesiredState::count(const Group& group, int sign) {
  for (std::size_t i = 0; i < group.size(); ++i) {
    std::size_t& counter = i == 0 ? group[i].source->to_set : group[i].source->masked;
    counter = sign > 0 ? counter + 1 : counter - 1;
    touch(*group[i].source);
  }
}

void DesiredState::declare(const EntryKey& key, Declared declared) {
  Group& group = groups_[key];
  count(group, -1);
  auto place = std::ranges::find_if(
      group, [&](const Declared& other) { return declared.source->before(*other.source); });
  group.insert(place, declared);
  group.shrink_to_fit();
  count(group, +1);
  changed_.insert(key);
}

void DesiredState::withdraw(const EntryKey& key, const Source* source, const PodRecord* pod) {
  auto found = groups_.find(key);
  if (found == groups_.end()) {
    return;
  }
  Group& group = found->second;
  count(group, -1);
  std::erase_if(group, [&](const Declared& declared) {
    return declared.source == source && declared.pod == pod;
  });
  count(group, +1);
  if (group.empty()) {
    groups_.erase(found);
  }
  changed_.insert(key);
}

std::vector<EntryKey> DesiredState::take_changed() {
  std::vector<EntryKey> out(changed_.begin(), changed_.end());
  changed_.clear();
  return out;
}

std::set<SourceName> DesiredState::take_touched() { return std::exchange(touched_, {}); }

std::optional<DesiredState::Winner> DesiredState::winner(const EntryKey& key) const {
  auto found = groups_.find(key);
  if (found == groups_.end()) {
    return {};
  }
  const Declared& first = found->second.front();
  return Winner{first.source->name, first.pod == nullptr ? "" : first.pod->pod->key(),
                first.content};
}

Result<Entry> DesiredState::render(const EntryKey& key) const {
  auto found = groups_.find(key);
  if (found == groups_.end()) {
    return not_found("nothing declares the entry any more");
  }
  const Declared& first = found->second.front();
  if (first.pod == nullptr) {
    return Renderer::static_entry(*first.source->static_spec(), first.source->federates_with);
  }
  if (first.source->name.kind == SourceKind::kSpiffeId && first.source->pod_spec() == nullptr) {
    return failed_precondition("the ClusterSPIFFEID has become invalid");
  }
  std::optional<gotemplate::Value> data;
  return entry_of(*first.source, *first.pod, data);
}

void DesiredState::for_each_key(const std::function<void(const EntryKey&)>& visit) const {
  for (const auto& [key, group] : groups_) {
    visit(key);
  }
}

// --- resources ---------------------------------------------------------------------------------

const DesiredState::Source* DesiredState::find(const SourceName& name) const {
  auto found = sources_.find(name);
  return found == sources_.end() ? nullptr : found->second.get();
}

// The record of this name; a new one when the object is another one than before.
DesiredState::Source& DesiredState::source(const SourceName& name, const ObjectMeta& meta) {
  const Source* old = find(name);
  if (old != nullptr && precedence(old->meta, meta) != 0) {
    remove_source(name);
  }
  std::unique_ptr<Source>& record = sources_[name];
  if (!record) {
    record = std::make_unique<Source>(Source{.name = name});
  }
  record->meta = meta;
  return *record;
}

void DesiredState::remove_source(const SourceName& name) {
  auto found = sources_.find(name);
  if (found == sources_.end()) {
    return;
  }
  Source& gone = *found->second;
  PodSet pods = gone.selected;
  for (PodRecord* pod : pods) {
    drop_outcomes(*pod, &gone);
    mark(*pod, false);  // a fallback may be needed now
  }
  if (gone.static_key) {
    withdraw(*gone.static_key, &gone, nullptr);
  }
  touch(gone);
  sources_.erase(found);
  order_sources();
}

void DesiredState::order_sources() {
  pod_sources_.clear();
  for (const auto& [name, source] : sources_) {
    if (source->pod_spec() != nullptr || name.kind == SourceKind::kAnnotation) {
      pod_sources_.push_back(source.get());
    }
  }
  std::ranges::stable_partition(pod_sources_, [](const Source* source) {
    return source->pod_spec() == nullptr || !source->pod_spec()->fallback;
  });
}

void DesiredState::mark_concerned(const Source& source) {
  mark_all(source.selected);
  for (const auto& [key, pod] : pods_) {
    if (selects(source, *pod)) {
      mark(*pod, false);
    }
  }
}

bool DesiredState::federate(Source& source) const {
  const std::vector<std::string>* wanted = nullptr;
  if (const ClusterSpiffeIdSpec* spec = source.pod_spec()) {
    wanted = &spec->federates_with;
  } else if (const ClusterStaticEntrySpec* of_static = source.static_spec()) {
    wanted = &of_static->federates_with;
  }
  std::vector<std::string> present, missing;
  if (wanted != nullptr) {
    for (const std::string& domain : *wanted) {
      (!bundles_ || bundles_->contains(domain) ? present : missing).push_back(domain);
    }
  }
  bool changed = present != source.federates_with || missing != source.missing;
  source.federates_with = std::move(present);
  source.missing = std::move(missing);
  return changed;
}

void DesiredState::put_spiffe_id(ClusterSpiffeId resource) {
  SourceName name{SourceKind::kSpiffeId, resource.meta.name};
  if (!options_.class_rule.takes(resource.class_name)) {
    remove_source(name);
    return;
  }
  Source& record = source(name, resource.meta);
  mark_all(record.selected);  // by what it was
  record.spiffe_id = std::make_unique<const ClusterSpiffeId>(std::move(resource));
  federate(record);
  order_sources();
  mark_concerned(record);  // by what it is now
  touch(record);
}

void DesiredState::remove_spiffe_id(const std::string& name) {
  remove_source({SourceKind::kSpiffeId, name});
}

void DesiredState::declare_static(Source& source) {
  std::optional<EntryKey> key;
  ContentDigest content;
  if (const ClusterStaticEntrySpec* spec = source.static_spec()) {
    Entry entry = Renderer::static_entry(*spec, source.federates_with);
    key = entry_key(entry);
    content = entry_content(entry);
  }
  if (source.static_key) {
    withdraw(*source.static_key, &source, nullptr);
  }
  source.static_key = key;
  if (key) {
    declare(*key, {&source, nullptr, content});
  }
  touch(source);
}

void DesiredState::put_static_entry(ClusterStaticEntry resource) {
  SourceName name{SourceKind::kStaticEntry, resource.meta.name};
  if (!options_.class_rule.takes(resource.class_name)) {
    remove_source(name);
    return;
  }
  Source& record = source(name, resource.meta);
  record.static_entry = std::make_unique<const ClusterStaticEntry>(std::move(resource));
  federate(record);
  declare_static(record);
}

void DesiredState::remove_static_entry(const std::string& name) {
  remove_source({SourceKind::kStaticEntry, name});
}

void DesiredState::put_bundles(std::optional<std::set<std::string>> domains) {
  if (bundles_ == domains) {
    return;
  }
  bundles_ = std::move(domains);
  for (const auto& [name, source] : sources_) {
    if (federate(*source)) {
      mark_all(source->selected);
      if (name.kind == SourceKind::kStaticEntry) {
        declare_static(*source);
      }
      touch(*source);
    }
  }
}

// --- status ------------------------------------------------------------------------------------

const ClusterSpiffeId* DesiredState::spiffe_id(const std::string& name) const {
  const Source* source = find({SourceKind::kSpiffeId, name});
  return source == nullptr ? nullptr : source->spiffe_id.get();
}

const ClusterStaticEntry* DesiredState::static_entry(const std::string& name) const {
  const Source* source = find({SourceKind::kStaticEntry, name});
  return source == nullptr ? nullptr : source->static_entry.get();
}

SourceStats DesiredState::stats(const SourceName& name) const {
  SourceStats out;
  const Source* source = find(name);
  if (source == nullptr) {
    return out;
  }
  if (const ClusterSpiffeIdSpec* spec = source->pod_spec()) {
    for (const auto& [space, record] : namespaces_) {
      if (record->known && spec->namespaces.matches(space, record->labels)) {
        ++out.namespaces_selected;
        out.namespaces_ignored += record->ignored ? 1 : 0;
      }
    }
  }
  out.pods_selected = source->selected.size();
  out.render_failures = source->failing.size();
  out.entries_masked = source->masked;
  out.entries_to_set = source->to_set;
  return out;
}

std::vector<std::pair<std::string, PodFailure>> DesiredState::failures(const SourceName& name,
                                                                       std::size_t most) const {
  std::vector<std::pair<std::string, PodFailure>> out;
  const Source* source = find(name);
  if (source == nullptr) {
    return out;
  }
  for (const PodRecord* pod : source->failing) {
    for (const Outcome& outcome : pod->outcomes) {
      if (outcome.source == source && outcome.failure) {
        out.emplace_back(pod->pod->key(), *outcome.failure);
      }
    }
  }
  // Those that will not pass by themselves first.
  std::ranges::sort(out, [](const auto& a, const auto& b) {
    return std::pair(a.second.kind != FailureKind::kRender, std::string_view(a.first)) <
           std::pair(b.second.kind != FailureKind::kRender, std::string_view(b.first));
  });
  if (out.size() > most) {
    out.resize(most, {std::string(), PodFailure{}});
  }
  return out;
}

std::vector<std::string> DesiredState::missing_bundles(const SourceName& name) const {
  const Source* source = find(name);
  return source == nullptr ? std::vector<std::string>() : source->missing;
}

std::optional<EntryKey> DesiredState::static_key(const std::string& name) const {
  const Source* source = find({SourceKind::kStaticEntry, name});
  return source == nullptr ? std::nullopt : source->static_key;
}

bool DesiredState::wants_bundles() const {
  return std::ranges::any_of(sources_, [](const auto& item) {
    return !item.second->federates_with.empty() || !item.second->missing.empty();
  });
}

bool DesiredState::wants_endpoints() const {
  return std::ranges::any_of(pod_sources_, [](const Source* source) {
    return source->pod_spec() != nullptr && source->pod_spec()->service_dns_names;
  });
}

}  // namespace steeple::controller
