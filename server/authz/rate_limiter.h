// SPDX-License-Identifier: Apache-2.0

// Token buckets per client address, as the reference limits callers on TCP: a caller waits for its
// turn rather than being refused, unless the wait would outlast its deadline or the count can never
// fit the bucket. Nobody sleeps here: `reserve` says how long to wait, the caller sets a timer.
// Memory is bounded: idle addresses are forgotten. Any thread.

#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "lib/base/clock.h"
#include "lib/base/guarded.h"
#include "lib/base/result.h"

namespace steeple::server {

class RateLimiter {
 public:
  // `per_second` tokens flow in; the bucket holds as many.
  RateLimiter(Clock& clock, std::size_t per_second) : clock_(clock), rate_(per_second) {}

  // Takes `count` tokens for this address and gives the wait until they are there (0: go on now).
  // kResourceExhausted: `rate (n) exceeds burst size (m)`, or the wait would pass the deadline.
  Result<Duration> reserve(const std::string& address, std::size_t count, SteadyTime deadline);

  std::size_t addresses() { return buckets_.lock()->size(); }

 private:
  struct Bucket {
    double tokens = 0;  // below 0: reserved ahead
    SteadyTime updated;
  };
  using Buckets = std::unordered_map<std::string, Bucket>;

  void forget_idle(Buckets& buckets, SteadyTime now) const;

  Clock& clock_;
  std::size_t rate_;
  Guarded<Buckets> buckets_;
};

}  // namespace steeple::server
