// SPDX-License-Identifier: Apache-2.0

// experimental.ratelimit: a token bucket for each method and set of selectors (`limit` per second,
// burst of as many). Buckets that are full again are forgotten. On the loop.

#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "lib/base/clock.h"

namespace steeple::agent {

inline constexpr std::size_t kRateBucketsMax = 10'000;

class RateLimit {
 public:
  // 0: no limit.
  RateLimit(int per_second, Clock& clock) : per_second_(per_second), clock_(clock) {}

  bool enabled() const { return per_second_ > 0; }
  bool allow(const std::string& key);
  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    SteadyTime at{};
  };
  void forget_full(SteadyTime now);

  int per_second_;
  Clock& clock_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace steeple::agent
