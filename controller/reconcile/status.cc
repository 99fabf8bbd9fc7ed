// SPDX-License-Identifier: Apache-2.0

#include "controller/reconcile/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace steeple::controller {

using nlohmann::json;

namespace {

constexpr std::size_t kMessageBytesMax = 1024;

Condition make(std::string type, bool status, std::string reason, std::string message) {
  if (message.size() > kMessageBytesMax) {
    message.resize(kMessageBytesMax - 3);
    // Not in the middle of a character.
    while (!message.empty() && (static_cast<unsigned char>(message.back()) & 0xC0U) == 0x80U) {
      message.pop_back();
    }
    if (!message.empty() && (static_cast<unsigned char>(message.back()) & 0x80U) != 0) {
      message.pop_back();
    }
    message += "...";
  }
  return {std::move(type), status, std::move(reason), std::move(message)};
}

void add_federation(const DesiredState& desired, const SourceName& name,
                    const std::vector<std::string>& federates_with,
                    std::vector<Condition>& conditions) {
  if (federates_with.empty()) {
    return;
  }
  std::vector<std::string> missing = desired.missing_bundles(name);
  if (missing.empty()) {
    conditions.push_back(make("FederationReady", true, "BundlesPresent",
                              "every federated trust domain has a bundle"));
  } else {
    conditions.push_back(make(
        "FederationReady", false, "BundleMissing",
        fmt::format("the server has no bundle of {}; entries are made without it until it arrives",
                    fmt::join(missing, ", "))));
  }
}

// What is wrong with pods, if it will not pass by itself.
std::string broken_pods(const DesiredState& desired, const SourceName& name) {
  auto failures = desired.failures(name, kPodsNamedMax + 1);
  std::erase_if(failures,
                [](const auto& item) { return item.second.kind != FailureKind::kRender; });
  if (failures.empty()) {
    return {};
  }
  bool more = failures.size() > kPodsNamedMax;
  std::vector<std::string> texts;
  for (const auto& [pod, failure] : failures) {
    if (texts.size() < kPodsNamedMax) {
      texts.push_back(fmt::format("pod {}: {}", pod, failure.message));
    }
  }
  return fmt::format("{}{}", fmt::join(texts, "; "), more ? "; and others" : "");
}

}  // namespace

ResourceStatus spiffe_id_status(const ClusterSpiffeId& resource, const DesiredState& desired,
                                const EntrySync& sync) {
  SourceName name{SourceKind::kSpiffeId, resource.meta.name};
  SourceStats stats = desired.stats(name);
  auto [entry_failures, first] = sync.failures(name);
  ResourceStatus out;
  out.generation = resource.meta.generation;
  out.fields = json{{"stats",
                     {{"namespacesSelected", stats.namespaces_selected},
                      {"namespacesIgnored", stats.namespaces_ignored},
                      {"podsSelected", stats.pods_selected},
                      {"podEntryRenderFailures", stats.render_failures},
                      {"entriesMasked", stats.entries_masked},
                      {"entriesToSet", stats.entries_to_set},
                      {"entryFailures", entry_failures}}}}
                   .dump();
  if (!resource.spec.ok()) {
    out.conditions.push_back(make("Ready", false, "InvalidSpec", resource.spec.error().message));
    return out;
  }
  std::string pods = broken_pods(desired, name);
  if (entry_failures > 0) {
    out.conditions.push_back(
        make("Ready", false, "EntriesRefused",
             fmt::format("{} {} could not be set: {}", entry_failures,
                         entry_failures == 1 ? "entry" : "entries", first.message)));
  } else if (!pods.empty()) {
    out.conditions.push_back(make("Ready", false, "RenderFailed", std::move(pods)));
  } else {
    out.conditions.push_back(
        make("Ready", true, "Reconciled", "every selected pod that has a node has its entry"));
  }
  add_federation(desired, name, resource.spec->federates_with, out.conditions);
  return out;
}

ResourceStatus static_entry_status(const ClusterStaticEntry& resource, const DesiredState& desired,
                                   const EntrySync& sync) {
  SourceName name{SourceKind::kStaticEntry, resource.meta.name};
  std::optional<EntryKey> key = desired.static_key(resource.meta.name);
  bool masked = desired.stats(name).entries_masked > 0;
  bool set = key && !masked && sync.stands(*key);
  ResourceStatus out;
  out.generation = resource.meta.generation;
  out.fields = json{{"rendered", resource.spec.ok()}, {"masked", masked}, {"set", set}}.dump();
  if (!resource.spec.ok()) {
    out.conditions.push_back(make("Ready", false, "InvalidSpec", resource.spec.error().message));
    return out;
  }
  auto [entry_failures, first] = sync.failures(name);
  if (masked) {
    auto winner = desired.winner(*key);
    out.conditions.push_back(make("Ready", false, "Masked",
                                  fmt::format("an older resource declares the same entry: {}",
                                              winner ? winner->source.name : std::string())));
  } else if (entry_failures > 0) {
    out.conditions.push_back(make("Ready", false, "EntriesRefused", first.message));
  } else if (set) {
    out.conditions.push_back(make("Ready", true, "Reconciled", "the entry is set"));
  } else {
    out.conditions.push_back(make("Ready", false, "Pending", "the entry is not set yet"));
  }
  add_federation(desired, name, resource.spec->federates_with, out.conditions);
  return out;
}

}  // namespace steeple::controller
