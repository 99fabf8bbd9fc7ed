// SPDX-License-Identifier: Apache-2.0

// A mark of what a database holds at a moment; see Database::stamp.

#pragma once

#include <array>
#include <cstdint>

namespace steeple::sql {

struct Stamp {
  std::array<std::uint32_t, 12> words{};
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

}  // namespace steeple::sql
