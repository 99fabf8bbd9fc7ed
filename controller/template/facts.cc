// SPDX-License-Identifier: Apache-2.0

#include "controller/template/facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/kube/json.h"

namespace steeple::controller {

using nlohmann::json;

PackedLabels::PackedLabels(const kube::Labels& labels) {
  for (const auto& [key, value] : labels) {
    text_ += key;
    text_ += '\0';
    text_ += value;
    text_ += '\0';
  }
  text_.shrink_to_fit();
}

std::optional<std::string_view> PackedLabels::find(std::string_view key) const {
  std::string_view rest = text_;
  while (!rest.empty()) {
    std::size_t key_end = rest.find('\0');
    std::size_t value_end = rest.find('\0', key_end + 1);
    if (rest.substr(0, key_end) == key) {
      return rest.substr(key_end + 1, value_end - key_end - 1);
    }
    rest.remove_prefix(value_end + 1);
  }
  return {};
}

bool PackedLabels::match(const kube::LabelSelector& selector) const {
  return selector.empty() || selector.matches([this](std::string_view key) { return find(key); });
}

PodPtr decode_pod(const json& object, const Projection& projection, const std::string& annotation) {
  Pod pod{.name_space = kube::string_at(object, {"metadata", "namespace"}),
          .name = kube::string_at(object, {"metadata", "name"}),
          .uid = kube::string_at(object, {"metadata", "uid"}),
          .node_name = kube::string_at(object, {"spec", "nodeName"}),
          .labels = PackedLabels(kube::string_map_at(object, {"metadata", "labels"}))};
  if (pod.name.empty() || pod.uid.empty()) {
    return nullptr;
  }
  if (!annotation.empty()) {
    pod.spiffe_id = kube::string_at(object, {"metadata", "annotations", annotation.c_str()});
  }
  pod.meta = projection.pod_meta.project(kube::find(object, {"metadata"}));
  pod.spec = projection.pod_spec.project(kube::find(object, {"spec"}));
  return std::make_shared<const Pod>(std::move(pod));
}

Node decode_node(const json& object, const Projection& projection) {
  return {.meta = projection.node_meta.project(kube::find(object, {"metadata"})),
          .spec = projection.node_spec.project(kube::find(object, {"spec"}))};
}

Endpoints decode_endpoints(const json& object) {
  Endpoints out{.name_space = kube::string_at(object, {"metadata", "namespace"}),
                .name = kube::string_at(object, {"metadata", "name"})};
  const json* subsets = kube::find(object, {"subsets"});
  if (subsets != nullptr && subsets->is_array()) {
    for (const json& subset : *subsets) {
      for (const char* list : {"addresses", "notReadyAddresses"}) {
        const json* addresses = kube::find(subset, {list});
        if (addresses == nullptr || !addresses->is_array()) {
          continue;
        }
        for (const json& address : *addresses) {
          if (kube::view_at(address, {"targetRef", "kind"}) == "Pod") {
            out.pod_uids.push_back(kube::string_at(address, {"targetRef", "uid"}));
          }
        }
      }
    }
  }
  std::ranges::sort(out.pod_uids);
  out.pod_uids.erase(std::ranges::unique(out.pod_uids).begin(), out.pod_uids.end());
  return out;
}

}  // namespace steeple::controller
