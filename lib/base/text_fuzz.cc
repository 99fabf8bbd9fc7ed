// SPDX-License-Identifier: Apache-2.0

// Fuzz target: the strict decoders of lib/base. What they accept, the encoder gives back.

#include "lib/base/bytes.h"
#include "lib/base/check.h"
#include "lib/base/clock.h"
#include "lib/base/fuzz_seeds.h"

std::vector<std::string> steeple::fuzz_seeds() {
  return {"00ff7f", "AAECAw==", "AAECAw", "1h30m", "-1.5h", "2540400h10m10.000000000s", "1us"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto bytes = hex_decode(text); bytes.ok()) {
    CHECK(hex_encode(*bytes).size() == text.size());
  }
  if (auto bytes = base64_decode(text); bytes.ok()) {
    CHECK(base64_encode(*bytes) == text);
  }
  if (auto bytes = base64url_decode(text); bytes.ok()) {
    CHECK(base64url_encode(*bytes) == text);
  }
  if (auto duration = parse_go_duration(text); duration.ok()) {
    CHECK(parse_go_duration(format_go_duration(*duration)).take() == *duration);
  }
  return 0;
}
