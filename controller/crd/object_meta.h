// SPDX-License-Identifier: Apache-2.0

// What our custom resources have in common: who they are, how old, and whether they concern this
// controller.

#pragma once

#include <compare>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "lib/kube/resource.h"

namespace steeple::controller {

inline constexpr kube::Resource kClusterSpiffeIds{"spire.spiffe.io", "v1alpha1", "clusterspiffeids",
                                                  "ClusterSPIFFEID", false};
inline constexpr kube::Resource kClusterStaticEntries{
    "spire.spiffe.io", "v1alpha1", "clusterstaticentries", "ClusterStaticEntry", false};
inline constexpr kube::Resource kClusterFederatedTrustDomains{"spire.spiffe.io", "v1alpha1",
                                                              "clusterfederatedtrustdomains",
                                                              "ClusterFederatedTrustDomain", false};

struct ObjectMeta {
  std::string name = {};
  std::string uid = {};
  std::int64_t generation = 0;
  // As the API server writes them ("2030-01-02T03:04:05Z"), which sorts by age; empty: not set.
  std::string created = {};
  std::string deleted = {};

  static ObjectMeta of(const nlohmann::json& object);
};

// Of several that declare the same thing the first wins: the oldest, then who is not being deleted
// (or later), then by uid.
std::strong_ordering precedence(const ObjectMeta& a, const ObjectMeta& b);

// spec.className against the configuration: our class, or none when we take those, too.
struct ClassRule {
  std::string class_name = {};
  bool watch_classless = false;

  bool takes(std::string_view name) const {
    return name == class_name || (name.empty() && watch_classless);
  }
};

}  // namespace steeple::controller
