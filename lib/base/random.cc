// SPDX-License-Identifier: Apache-2.0

#include "lib/base/random.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace steeple {
namespace {

class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      ssize_t got = getrandom(out.data(), out.size(), 0);
      if (got < 0) {
        CHECK(errno == EINTR);
        continue;
      }
      out = out.subspan(static_cast<std::size_t>(got));
    }
  }
};

}  // namespace

Bytes Random::bytes(std::size_t count) {
  Bytes out(count, '\0');
  fill({reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  return out;
}

std::uint64_t Random::number() {
  std::array<std::uint8_t, 8> raw{};
  fill(raw);
  std::uint64_t value = 0;
  std::memcpy(&value, raw.data(), raw.size());
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  CHECK(bound > 0);
  // Reject the tail so that every value is equally likely.
  std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = number();
  while (value >= limit) {
    value = number();
  }
  return value % bound;
}

Duration Random::jitter(Duration base, double share) {
  auto spread = static_cast<std::int64_t>(static_cast<double>(base.count()) * share);
  if (spread <= 0) {
    return base;
  }
  auto offset = static_cast<std::int64_t>(below(static_cast<std::uint64_t>(spread) * 2 + 1));
  return base + Duration(offset - spread);
}

std::string Random::uuid() {
  Bytes raw = bytes(16);
  raw[6] = static_cast<char>((raw[6] & 0x0f) | 0x40);
  raw[8] = static_cast<char>((raw[8] & 0x3f) | 0x80);
  std::string hex = hex_encode(raw);
  for (std::size_t at : {8U, 13U, 18U, 23U}) {
    hex.insert(at, 1, '-');
  }
  return hex;
}

std::string Random::alphanumeric(std::size_t count) {
  constexpr std::string_view kAlphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    out += kAlphabet[below(kAlphabet.size())];
  }
  return out;
}

Random& system_random() {
  static SystemRandom random;
  return random;
}

}  // namespace steeple
