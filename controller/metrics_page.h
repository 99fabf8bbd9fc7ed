// SPDX-License-Identifier: Apache-2.0

// The metrics page: controller-runtime's names where they mean the same here, names of our own
// (spire_controller_manager_*) for the rest, and the process. Pure function.

#pragma once

#include <cstdint>
#include <string>

#include "controller/reconcile/counters.h"

namespace steeple::controller {

struct MetricsView {
  Counters counters = {};
  std::string leader_election_name = {};  // empty: no election
  bool leading = false;
  std::size_t pods = 0;
  std::size_t declared_entries = 0;
  std::size_t server_entries = 0;
  std::size_t pods_waiting = 0;  // to be rendered
};

std::string metrics_page(const MetricsView& view);

}  // namespace steeple::controller
