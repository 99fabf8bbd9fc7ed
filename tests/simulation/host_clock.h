// SPDX-License-Identifier: Apache-2.0

// The wall clock of one simulated machine: the world's time and an offset of its own. Steady time
// is the same everywhere. On the simulation's thread.

#pragma once

#include "lib/base/fake_clock.h"

namespace steeple::simulation {

class HostClock final : public Clock {
 public:
  explicit HostClock(const FakeClock& world) : world_(world) {}
  WallTime now() const override { return world_.now() + offset_; }
  SteadyTime steady() const override { return world_.steady(); }
  void set_offset(Duration offset) { offset_ = offset; }

 private:
  const FakeClock& world_;
  Duration offset_{};
};

}  // namespace steeple::simulation
