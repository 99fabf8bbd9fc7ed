// SPDX-License-Identifier: Apache-2.0

// What DesiredState keeps of each thing. Only for desired_state.cc and sources.cc.

#pragma once

#include "controller/reconcile/desired_state.h"

namespace steeple::controller {

struct DesiredState::Source {
  SourceName name;
  ObjectMeta meta = {};
  // One of these, by kind; none for the annotation.
  std::unique_ptr<const ClusterSpiffeId> spiffe_id = {};
  std::unique_ptr<const ClusterStaticEntry> static_entry = {};

  std::vector<std::string> federates_with = {};  // those whose bundle is there
  std::vector<std::string> missing = {};         // the others
  PodSet selected = {};                          // pods with an outcome of this source
  PodSet failing = {};                           // of these, those without an entry
  std::size_t to_set = 0;
  std::size_t masked = 0;
  std::optional<EntryKey> static_key = {};

  const ClusterSpiffeIdSpec* pod_spec() const {
    return spiffe_id && spiffe_id->spec.ok() ? &*spiffe_id->spec : nullptr;
  }
  const ClusterStaticEntrySpec* static_spec() const {
    return static_entry && static_entry->spec.ok() ? &*static_entry->spec : nullptr;
  }
  // Who wins a key: resources by age, the pods' own wishes last.
  bool before(const Source& other) const {
    bool mine = name.kind == SourceKind::kAnnotation;
    bool theirs = other.name.kind == SourceKind::kAnnotation;
    return mine != theirs ? theirs : precedence(meta, other.meta) < 0;
  }
};

// What one source made of one pod: an entry, a failure, or nothing (a fallback not needed).
struct DesiredState::Outcome {
  Source* source;
  bool declared = false;
  EntryKey key = {};
  ContentDigest content = {};
  std::shared_ptr<const PodFailure> failure = {};
};

struct DesiredState::PodRecord {
  PodPtr pod;
  NodeRecord* node = nullptr;
  NamespaceRecord* name_space = nullptr;
  std::vector<Outcome> outcomes = {};
};

struct DesiredState::NodeRecord {
  std::optional<Node> node = {};
  std::optional<Result<spiffe::SpiffeId>> parent = {};
  PodSet pods = {};
};

struct DesiredState::NamespaceRecord {
  bool known = false;
  bool ignored = false;
  kube::Labels labels = {};
  PodSet pods = {};
};

}  // namespace steeple::controller
