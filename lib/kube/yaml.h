// SPDX-License-Identifier: Apache-2.0

// YAML as Kubernetes reads it (YAML 1.1 core types, as sigs.k8s.io/yaml): one or more documents to
// JSON values. libyaml is seen in yaml.cc only. Refused: duplicate keys, anchors that repeat
// more than the limit allows, keys that are no scalars, tags of our own.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace steeple::kube {

struct YamlLimits {
  std::size_t bytes_max = std::size_t{4} << 20;
  std::size_t nodes_max = 200'000;  // after aliases are expanded
  std::size_t depth_max = 64;
  std::size_t documents_max = 1000;
};

// Exactly one document; an empty text is null.
Result<nlohmann::json> parse_yaml(std::string_view text, const YamlLimits& limits = {});
// Documents divided by "---"; empty ones are left out.
Result<std::vector<nlohmann::json>> parse_yaml_documents(std::string_view text,
                                                         const YamlLimits& limits = {});

}  // namespace steeple::kube
