// SPDX-License-Identifier: Apache-2.0

// The reference's backoff: first, x1.5 each time, up to a maximum, 10 % jitter either way. A value.

#pragma once

#include <algorithm>

#include "lib/base/clock.h"
#include "lib/base/random.h"

namespace steeple::agent {

class Backoff {
 public:
  Backoff(Duration first, Duration max) : first_(first), max_(max), next_(first) {}

  Duration next(Random& random) {
    Duration present = next_;
    next_ = std::min<Duration>(next_ + next_ / 2, max_);
    return random.jitter(present, 0.1);
  }
  void reset() { next_ = first_; }

 private:
  Duration first_, max_, next_;
};

}  // namespace steeple::agent
