// SPDX-License-Identifier: Apache-2.0

// How SPIRE's SQLite databases hold times: text such as "2026-11-22 07:56:55.916038692+00:00", the
// fraction without trailing zeros, any zone. Internal to server/datastore.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/result.h"

namespace steeple::server {

struct TimeValue {
  std::int64_t seconds = 0;  // Unix, rounded down
  std::int32_t nanoseconds = 0;

  std::int64_t rounded() const { return seconds + (nanoseconds >= 500'000'000 ? 1 : 0); }
};

std::string time_text(WallTime time);
// Years 0 to 9999 only.
Result<std::string> time_text(std::int64_t unix_seconds);
// Also takes 'T' between date and time, 'Z', no zone (UTC), no seconds, no time.
Result<TimeValue> parse_time_text(std::string_view text);

}  // namespace steeple::server
