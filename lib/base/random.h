// SPDX-License-Identifier: Apache-2.0

// Randomness as an argument, so that a simulation can seed it. `system_random` is the kernel's.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"

namespace steeple {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;

  Bytes bytes(std::size_t count);
  std::uint64_t number();
  // Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [base - share*base, base + share*base]; share in [0, 1].
  Duration jitter(Duration base, double share);
  // RFC 9562 version 4, lower case with dashes.
  std::string uuid();
  // `count` characters of [0-9A-Za-z], as SPIRE's JWT key ids.
  std::string alphanumeric(std::size_t count);
};

// getrandom(2), buffered per thread; any thread.
Random& system_random();

}  // namespace steeple
