// SPDX-License-Identifier: Apache-2.0

// Fuzz target: kubeconfigs, and any YAML.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/kube/access.h"
#include "lib/kube/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  kube::YamlLimits limits;
  limits.nodes_max = 2000;
  (void)kube::parse_yaml_documents(text, limits);
  if (auto config = kube::parse_kubeconfig(text, "/folder"); config.ok()) {
    CHECK(config->server.starts_with("https://"));
    CHECK(config->ca_file.empty() || config->ca_file.front() == '/');
  }
  return 0;
}
