// SPDX-License-Identifier: Apache-2.0

// metav1.MicroTime: "2030-01-02T03:04:05.000000Z", as Leases want it.

#pragma once

#include <fmt/format.h>

#include <string>

#include "lib/base/clock.h"

namespace steeple::kube {

inline std::string micro_time(WallTime time) {
  std::string text = format_rfc3339(time);
  auto fraction =
      std::chrono::floor<std::chrono::microseconds>(time - truncate_to_seconds(time)).count();
  text.back() = '.';
  return fmt::format("{}{:06}Z", text, fraction);
}

}  // namespace steeple::kube
