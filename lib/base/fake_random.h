// SPDX-License-Identifier: Apache-2.0

// Seeded randomness (SplitMix64): the same seed gives the same bytes. Never for real keys.

#pragma once

#include "lib/base/random.h"

namespace steeple {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

  void fill(std::span<std::uint8_t> out) override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (i % 8 == 0) {
        word_ = next();
      }
      out[i] = static_cast<std::uint8_t>(word_ >> (i % 8 * 8));
    }
  }

 private:
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
  std::uint64_t word_ = 0;
};

}  // namespace steeple
