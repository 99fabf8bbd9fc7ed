// SPDX-License-Identifier: Apache-2.0

// Pods, nodes, namespaces and endpoints as this program keeps them: what selects, and what
// templates read. Compared as wholes, so that the many updates that change nothing of it (status,
// heartbeats) cause no work. Immutable; any thread.

#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/template/projection.h"
#include "lib/kube/selector.h"

namespace steeple::controller {

// Labels in one string: a pod has a handful, and there are many pods.
class PackedLabels {
 public:
  PackedLabels() = default;
  explicit PackedLabels(const kube::Labels& labels);

  std::optional<std::string_view> find(std::string_view key) const;
  bool match(const kube::LabelSelector& selector) const;
  friend bool operator==(const PackedLabels&, const PackedLabels&) = default;

 private:
  std::string text_;  // key NUL value NUL ...
};

struct Pod {
  std::string name_space = {};
  std::string name = {};
  std::string uid = {};
  std::string node_name = {};
  PackedLabels labels = {};
  std::string spiffe_id = {};  // of the registration annotation
  std::string meta = {};       // projected JSON
  std::string spec = {};

  std::string key() const { return name_space + "/" + name; }
  friend bool operator==(const Pod&, const Pod&) = default;
};
using PodPtr = std::shared_ptr<const Pod>;

struct Node {
  std::string meta = {};  // projected JSON
  std::string spec = {};

  friend bool operator==(const Node&, const Node&) = default;
};

struct Endpoints {
  std::string name_space = {};
  std::string name = {};
  std::vector<std::string> pod_uids = {};  // sorted

  friend bool operator==(const Endpoints&, const Endpoints&) = default;
};

// `annotation` empty: none registers. Nothing for an object without name or uid.
PodPtr decode_pod(const nlohmann::json& object, const Projection& projection,
                  const std::string& annotation);
Node decode_node(const nlohmann::json& object, const Projection& projection);
Endpoints decode_endpoints(const nlohmann::json& object);

}  // namespace steeple::controller
