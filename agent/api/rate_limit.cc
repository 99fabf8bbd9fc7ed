// SPDX-License-Identifier: Apache-2.0

#include "agent/api/rate_limit.h"

#include <algorithm>

namespace steeple::agent {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

bool RateLimit::allow(const std::string& key) {
  if (!enabled()) {
    return true;
  }
  SteadyTime now = clock_.steady();
  if (buckets_.size() >= kRateBucketsMax && !buckets_.contains(key)) {
    forget_full(now);
    if (buckets_.size() >= kRateBucketsMax) {
      return false;  // fail closed: all of them are in use
    }
  }
  double burst = per_second_;
  auto [slot, added] = buckets_.try_emplace(key, Bucket{burst, now});
  Bucket& bucket = slot->second;
  bucket.tokens = std::min(burst, bucket.tokens + seconds(now - bucket.at) * per_second_);
  bucket.at = now;
  if (bucket.tokens < 1) {
    return false;
  }
  bucket.tokens -= 1;
  return true;
}

void RateLimit::forget_full(SteadyTime now) {
  std::erase_if(buckets_, [&](const auto& item) {
    const Bucket& bucket = item.second;
    return bucket.tokens + seconds(now - bucket.at) * per_second_ >= per_second_;
  });
}

}  // namespace steeple::agent
