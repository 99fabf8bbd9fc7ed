// SPDX-License-Identifier: Apache-2.0

// ClusterSPIFFEID: which pods get which identity. Parsed once, templates included; the webhook
// refuses what does not parse here. `ttl` takes Go's durations ("1h") and numbers of seconds,
// `namespaceSelector` takes `matchNames` beside the labels. Immutable; any thread.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "controller/crd/object_meta.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/gotemplate/template.h"
#include "lib/kube/selector.h"

namespace steeple::controller {

struct NamespaceSelector {
  std::optional<std::vector<std::string>> names = {};  // sorted; all requirements must hold
  kube::LabelSelector labels = {};

  bool matches(const std::string& name, const kube::Labels& of) const;
};

struct ClusterSpiffeIdSpec {
  gotemplate::Template spiffe_id;
  std::vector<gotemplate::Template> dns_names = {};
  std::vector<gotemplate::Template> selectors = {};
  std::int32_t x509_ttl = 0;  // seconds; 0: the server's default
  std::int32_t jwt_ttl = 0;
  std::vector<std::string> federates_with = {};
  NamespaceSelector namespaces = {};
  kube::LabelSelector pods = {};
  bool admin = false;
  bool downstream = false;
  bool service_dns_names = false;
  bool fallback = false;
  std::string hint = {};
};

struct ClusterSpiffeId {
  ObjectMeta meta;
  std::string class_name;
  Result<ClusterSpiffeIdSpec> spec;
};

// The whole object; what is wrong with its spec is in `spec`. `unknown` (may be null) gets the
// paths of members that no version has.
ClusterSpiffeId parse_cluster_spiffe_id(const nlohmann::json& object,
                                        std::vector<std::string>* unknown = nullptr);

}  // namespace steeple::controller
