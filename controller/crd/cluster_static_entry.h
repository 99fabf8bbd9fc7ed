// SPDX-License-Identifier: Apache-2.0

// ClusterStaticEntry: one entry, written out. Immutable; any thread.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "controller/crd/object_meta.h"
#include "lib/base/result.h"
#include "spiffe/spiffe_id.h"

namespace steeple::controller {

struct ClusterStaticEntrySpec {
  spiffe::SpiffeId spiffe_id;
  spiffe::SpiffeId parent_id;
  std::vector<std::pair<std::string, std::string>> selectors = {};
  std::vector<std::string> federates_with = {};  // sorted
  std::int32_t x509_ttl = 0;                     // seconds
  std::int32_t jwt_ttl = 0;
  std::vector<std::string> dns_names = {};
  std::string hint = {};
  bool admin = false;
  bool downstream = false;
  bool store_svid = false;
};

struct ClusterStaticEntry {
  ObjectMeta meta;
  std::string class_name;
  Result<ClusterStaticEntrySpec> spec;
};

ClusterStaticEntry parse_cluster_static_entry(const nlohmann::json& object,
                                              std::vector<std::string>* unknown = nullptr);

}  // namespace steeple::controller
