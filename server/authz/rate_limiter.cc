// SPDX-License-Identifier: Apache-2.0

#include "server/authz/rate_limiter.h"

#include <fmt/format.h>

#include <algorithm>

namespace steeple::server {
namespace {

// Above this many addresses every call first drops the full buckets: a full bucket says nothing.
constexpr std::size_t kAddressesBeforeSweep = 1024;

}  // namespace

Result<Duration> RateLimiter::reserve(const std::string& address, std::size_t count,
                                      SteadyTime deadline) {
  if (count > rate_) {
    return resource_exhausted(fmt::format("rate ({}) exceeds burst size ({})", count, rate_));
  }
  SteadyTime now = clock_.steady();
  auto buckets = buckets_.lock();
  if (buckets->size() > kAddressesBeforeSweep) {
    forget_idle(*buckets, now);
  }
  auto rate = static_cast<double>(rate_);
  auto [at, fresh] = buckets->try_emplace(address, Bucket{rate, now});
  Bucket& bucket = at->second;
  double elapsed = std::chrono::duration<double>(now - bucket.updated).count();
  double tokens = std::min(rate, bucket.tokens + elapsed * rate) - static_cast<double>(count);
  Duration wait{0};
  if (tokens < 0) {
    wait = std::chrono::ceil<Duration>(std::chrono::duration<double>(-tokens / rate));
    if (deadline != SteadyTime::max() && now + wait > deadline) {
      return resource_exhausted(
          fmt::format("rate: Wait(n={}) would exceed context deadline", count));
    }
  }
  bucket = {tokens, now};
  return wait;
}

void RateLimiter::forget_idle(Buckets& buckets, SteadyTime now) const {
  auto rate = static_cast<double>(rate_);
  std::erase_if(buckets, [&](const auto& item) {
    double elapsed = std::chrono::duration<double>(now - item.second.updated).count();
    return item.second.tokens + elapsed * rate >= rate;
  });
}

}  // namespace steeple::server
