// SPDX-License-Identifier: Apache-2.0

// The status of our resources: the reference's fields, and Conditions that say in words what is
// wrong and with which pods. Pure functions of what is known.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "controller/reconcile/desired_state.h"
#include "controller/reconcile/entry_sync.h"

namespace steeple::controller {

inline constexpr std::size_t kPodsNamedMax = 5;  // in one message

// metav1.Condition without its time, which whoever writes it knows.
struct Condition {
  std::string type;
  bool status = false;
  std::string reason;   // UpperCamelCase
  std::string message;  // cut at 1024 bytes

  friend bool operator==(const Condition&, const Condition&) = default;
};

struct ResourceStatus {
  std::string fields;  // JSON: what stands beside the conditions
  std::vector<Condition> conditions = {};
  std::int64_t generation = 0;
};

// Ready: its entries stand. FederationReady: every domain of federatesWith has a bundle; only there
// when there are such domains.
ResourceStatus spiffe_id_status(const ClusterSpiffeId& resource, const DesiredState& desired,
                                const EntrySync& sync);
ResourceStatus static_entry_status(const ClusterStaticEntry& resource, const DesiredState& desired,
                                   const EntrySync& sync);

}  // namespace steeple::controller
