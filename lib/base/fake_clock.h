// SPDX-License-Identifier: Apache-2.0

// A clock that tests move. Wall and steady time move together unless the wall jumps. Any thread.

#pragma once

#include <atomic>

#include "lib/base/clock.h"

namespace steeple {

class FakeClock final : public Clock {
 public:
  // Starts at 2030-01-01 00:00:00 UTC.
  explicit FakeClock(WallTime start = from_unix_seconds(1'893'456'000))
      : wall_(start.time_since_epoch().count()) {}

  WallTime now() const override { return WallTime(Duration(wall_.load())); }
  SteadyTime steady() const override { return SteadyTime(Duration(steady_.load())); }
  void advance(Duration by) {
    wall_ += by.count();
    steady_ += by.count();
  }
  // What an operator or NTP does: the wall moves, waits do not.
  void jump_wall(Duration by) { wall_ += by.count(); }

 private:
  std::atomic<std::int64_t> wall_;
  std::atomic<std::int64_t> steady_ = 0;
};

}  // namespace steeple
