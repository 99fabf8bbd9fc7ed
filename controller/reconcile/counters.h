// SPDX-License-Identifier: Apache-2.0

// What the metrics page tells of reconciliation. Plain numbers of the loop.

#pragma once

#include <cstdint>

namespace steeple::controller {

struct Counters {
  std::uint64_t entries_created = 0;
  std::uint64_t entries_updated = 0;
  std::uint64_t entries_deleted = 0;
  std::uint64_t entry_failures = 0;  // answers of the server that were refusals
  std::uint64_t rpc_failures = 0;    // calls that failed as a whole
  std::uint64_t full_lists = 0;
  std::uint64_t static_render_failures = 0;
  std::uint64_t status_updates = 0;
  std::uint64_t status_failures = 0;
  std::uint64_t pods_rendered = 0;
};

}  // namespace steeple::controller
