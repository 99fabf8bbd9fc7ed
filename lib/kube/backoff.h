// SPDX-License-Identifier: Apache-2.0

// Waits that double, with jitter, between attempts. Not thread safe.

#pragma once

#include <algorithm>
#include <optional>

#include "lib/base/clock.h"
#include "lib/base/random.h"

namespace steeple::kube {

struct BackoffOptions {
  Duration first = std::chrono::milliseconds(200);
  Duration most = std::chrono::seconds(30);
  double jitter = 0.5;  // share of the wait, up and down
};

class Backoff {
 public:
  Backoff(Random& random, BackoffOptions options) : random_(random), options_(options) {}
  explicit Backoff(Random& random) : Backoff(random, BackoffOptions{}) {}

  // `at_least`: what the server asked for (Retry-After).
  Duration next(std::optional<Duration> at_least = {}) {
    wait_ = wait_ == Duration::zero() ? options_.first : std::min(wait_ * 2, options_.most);
    return std::max(random_.jitter(wait_, options_.jitter), at_least.value_or(Duration::zero()));
  }
  void reset() { wait_ = Duration::zero(); }

 private:
  Random& random_;
  const BackoffOptions options_;
  Duration wait_{};
};

}  // namespace steeple::kube
