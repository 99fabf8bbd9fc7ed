// SPDX-License-Identifier: Apache-2.0

// When a credential is replaced: at half its life with 10 % jitter either way, or, with
// availability_target, when no more than that (plus 0 to 10 min) is left, provided the lifetime
// leaves 12 h beyond it. X.509 (agent's and workloads') and JWT share this. Drawn once per
// credential, so a fleet spreads out and a test can say when. Pure functions, any thread.

#pragma once

#include "lib/base/clock.h"
#include "lib/base/random.h"

namespace steeple::agent {

struct RotationPolicy {
  Duration availability_target{};  // zero: half-life
};

inline constexpr auto kAvailabilityGrace = std::chrono::hours(12);
inline constexpr auto kAvailabilityJitter = std::chrono::minutes(10);

// The lifetime is too short for the target: the half-life rule holds, and users are warned.
bool falls_back_to_half_life(const RotationPolicy& policy, Duration lifetime);

WallTime rotation_time(const RotationPolicy& policy, WallTime not_before, WallTime not_after,
                       Random& random);

}  // namespace steeple::agent
