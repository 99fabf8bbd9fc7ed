// SPDX-License-Identifier: Apache-2.0

// Goal: no command line and no configuration text makes its reader misbehave.

#include "helper/config/helper_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  auto nothing = [](std::string_view) { return std::optional<std::string>(); };
  (void)steeple::helper::split_arguments(input).ok();
  (void)steeple::helper::parse_config(input, {}, nothing).ok();
  return 0;
}
