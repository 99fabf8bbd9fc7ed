// SPDX-License-Identifier: Apache-2.0

// Time as an argument. WallTime dates certificates and tokens and may jump; SteadyTime measures
// waits and never goes back. Nothing outside this file and clock.cc asks the system.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include "lib/base/result.h"

namespace steeple {

using Duration = std::chrono::nanoseconds;
using WallTime = std::chrono::sys_time<Duration>;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual SteadyTime steady() const = 0;
};

// The machine's clock. Any thread.
Clock& system_clock();

constexpr std::int64_t to_unix_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}
// Nanoseconds in 64 bits end in 2262. Times that foreign bytes name are brought between these two:
// no difference of two such times overflows, nor does a year added to one.
inline constexpr WallTime kEarliestTime{};  // 1970
inline constexpr WallTime kLatestTime = std::chrono::sys_days(std::chrono::year(2261) / 1 / 1);
inline constexpr std::int64_t kLatestUnixSeconds = to_unix_seconds(kLatestTime);

// The nearest time from kEarliestTime to kLatestTime; any number may be given.
constexpr WallTime from_unix_seconds(std::int64_t seconds) {
  return WallTime(std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kLatestUnixSeconds)));
}
// A length of `seconds`, at least 0 and at most what lies between those two times.
constexpr Duration seconds_within_limits(std::int64_t seconds) {
  return from_unix_seconds(seconds) - kEarliestTime;
}
inline WallTime truncate_to_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time);
}

// "2030-01-02 03:04:05 +0000 UTC": Go's time.String of a UTC time with whole seconds.
std::string format_go_utc(WallTime time);
// "2030-01-02T03:04:05Z" (RFC 3339, whole seconds, UTC).
std::string format_rfc3339(WallTime time);

// Go duration text: "1h30m", "500ms", "1.5s", "0". Negative allowed, as in Go.
Result<Duration> parse_go_duration(std::string_view text);
// Go's Duration.String: "1h0m0s", "1m30s", "500ms", "0s".
std::string format_go_duration(Duration duration);

}  // namespace steeple
