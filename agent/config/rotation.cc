// SPDX-License-Identifier: Apache-2.0

#include "agent/config/rotation.h"

#include <algorithm>

namespace steeple::agent {

bool falls_back_to_half_life(const RotationPolicy& policy, Duration lifetime) {
  return policy.availability_target != Duration::zero() &&
         lifetime - policy.availability_target <= kAvailabilityGrace;
}

WallTime rotation_time(const RotationPolicy& policy, WallTime not_before, WallTime not_after,
                       Random& random) {
  Duration lifetime = not_after - not_before;
  if (lifetime <= Duration::zero()) {
    return not_before;
  }
  Duration remaining = random.jitter(lifetime / 2, 0.1);
  if (policy.availability_target != Duration::zero() &&
      !falls_back_to_half_life(policy, lifetime)) {
    auto jitter = static_cast<std::uint64_t>(Duration(kAvailabilityJitter).count());
    Duration target =
        policy.availability_target + Duration(static_cast<std::int64_t>(random.below(jitter)));
    remaining = std::max(remaining, target);
  }
  return not_after - std::min(remaining, lifetime);
}

}  // namespace steeple::agent
