// SPDX-License-Identifier: Apache-2.0

// Fuzz target: lists as they arrive. The first byte says how the rest is cut. What the reader takes
// must be JSON to the parser too, with the same elements.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/kube/array_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace steeple;
  if (size == 0) {
    return 0;
  }
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::size_t piece = std::size_t{data[0]} + 1;
  std::vector<nlohmann::json> items;
  kube::ArrayReader reader("items",
                           [&items](const nlohmann::json& item) -> Result<void> {
                             items.push_back(item);
                             return {};
                           },
                           {.element_bytes_max = 10'000,
                            .rest_bytes_max = 10'000,
                            .elements_max = 1000,
                            .keep_managed_fields = true});
  for (std::size_t at = 0; at < text.size(); at += piece) {
    (void)reader.feed(text.substr(at, piece));
  }
  if (reader.finish().ok()) {
    nlohmann::json whole = nlohmann::json::parse(text, nullptr, false);
    CHECK(whole.is_object());
    if (!items.empty()) {
      CHECK(whole["items"] == nlohmann::json(items));
    }
  }
  return 0;
}
